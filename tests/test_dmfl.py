"""DMFL: the paper's claims as identities, and its ablations as exact differences of parameters."""

from dataclasses import replace

import pytest
import torch

from rumorlib.config import DMFLConfig, Word2VecConfig
from rumorlib.data.batches import Batch
from rumorlib.encoders.vocabulary import CLS, PAD, SEP
from rumorlib.models.dmfl import DMFL

N, D, V, L = 6, 10, 30, 9
TINY = DMFLConfig(
    word2vec=Word2VecConfig(d_word=8, max_length=L), d_model=12, n_heads=2, logic_width=12, logic_depth=2, logic_heads=3
)
VARIANTS = {
    "full": TINY,
    "TB": replace(TINY, parts="logic_only"),
    "TL": replace(TINY, parts="semantic_only"),
    "A": replace(TINY, alignment="none"),
    "ATT": replace(TINY, fusion="weighted_sum"),
    "TCNN": replace(TINY, parts="text_cnn"),
    "TTRAS": replace(TINY, parts="text_transformer"),
    "I": replace(TINY, parts="image"),
}
OPTIONS = VARIANTS | {
    "side": replace(TINY, alignment="side"),
    "pooled": replace(TINY, granularity="pooled"),
    "bare": replace(TINY, attention_ffn=False),
    "shared": replace(TINY, share_attention=True),
    "swapped": replace(TINY, swap_query=True),
    "positions": replace(TINY, image_positions=True),
}


def build(config: DMFLConfig, n_patches: int | None = N, seed: int = 0) -> DMFL:
    torch.manual_seed(seed)
    vectors = torch.randn(V, 8)
    vectors[PAD] = 0
    return DMFL(config, vectors, d_image=D, n_patches=n_patches)


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(3)
    n = 8
    ids = torch.full((n, L), PAD)
    for i in range(n):
        length = 2 + i % (L - 3)
        words = torch.randint(4, V, (length - 1,), generator=generator).tolist()
        ids[i, : length + 1] = torch.tensor([CLS, *words, SEP])
    images = torch.randn(n, N, D, generator=generator)
    label = torch.tensor([0.0, 1, 1, 0, 1, 0, 0, 1])
    return Batch(ids, ids != PAD, None, images, label, torch.ones(n), torch.arange(n))


def names(model: torch.nn.Module) -> set[str]:
    return {name for name, _ in model.named_parameters()}


def top(model: torch.nn.Module) -> set[str]:
    """First part of every parameter's name; of the attention blocks the first two."""
    return {".".join(n.split(".")[: 2 if n.startswith("attention") else 1]) for n in names(model)}


# --- what each variant is made of ---

IMAGE = {"image_norm"}
SELF = {"attention.text", "attention.image", "attention.text_image"}
FUSION = {"attention.fusion_semantic", "attention.fusion_logic"}
ALIGN = {"align_text", "align_image"}
SEMANTIC = {"word_vectors", "text_cnn", "image_projection", *SELF, *ALIGN, *IMAGE, "classifier"}
FULL = SEMANTIC | FUSION | {"logic", "fusion_logits"}


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("full", FULL),
        ("TB", {"word_vectors", "logic", "classifier"} | IMAGE),
        ("TL", SEMANTIC),
        ("A", FULL - ALIGN),
        ("ATT", FULL - FUSION),
        ("TCNN", {"word_vectors", "text_cnn", "classifier"}),
        ("TTRAS", {"word_vectors", "logic", "classifier"}),
        ("I", {"image_norm", "image_projection", "classifier"}),
    ],
)
def test_each_variant_has_exactly_its_parts(variant, expected):
    model = build(VARIANTS[variant])
    assert top(model) == expected
    assert names(model) <= names(build(TINY))


def test_ttras_loses_only_the_image_parts_of_the_logic_chain():
    lost = names(build(VARIANTS["TB"])) - names(build(VARIANTS["TTRAS"]))
    inside = {name for name in lost if name.startswith("logic")}
    assert lost - inside == {"image_norm.weight", "image_norm.bias"}
    assert inside == {
        "logic.patches.weight",
        "logic.patches.bias",
        *(f"logic.layers.{i}.cross_norm.{p}" for i in range(2) for p in ("weight", "bias")),
        *(f"logic.layers.{i}.cross_attention.{p}.weight" for i in range(2) for p in ("query", "key", "value", "out")),
    }


def test_sharing_keeps_one_block_and_side_adds_nothing():
    shared = top(build(OPTIONS["shared"]))
    assert {name for name in shared if name.startswith("attention")} == {"attention.shared"}
    assert names(build(OPTIONS["side"])) == names(build(TINY))


@pytest.mark.parametrize("n_heads", [2, 4, 6, 8, 10])
def test_head_sweep_of_the_paper_fits_300(n_heads, batch):
    config = replace(DMFLConfig(), n_heads=n_heads, parts="semantic_only")
    model = DMFL(config, torch.randn(V, 300), d_image=D).eval()
    assert model.attention["text_image"].attention.out.weight.shape == (300, 16 * n_heads)
    assert model(batch, need_maps=True).weights.shape == (8, n_heads, N, L)


# --- identities ---


@pytest.mark.parametrize("variant", OPTIONS)
def test_loss_is_eq_21_and_probabilities_are_probabilities(variant, batch):
    model = build(OPTIONS[variant]).eval()
    losses = model.training_loss(batch)
    expected = 1.8 * losses["classification"] + 2.4 * losses["alignment"]
    torch.testing.assert_close(losses["loss"], expected)
    probabilities = model.prob_rumor(batch)
    assert probabilities.shape == (8,) and ((probabilities > 0) & (probabilities < 1)).all()
    log_likelihood = torch.where(batch.label == 1, probabilities, 1 - probabilities).log()
    torch.testing.assert_close(losses["classification"], -log_likelihood.mean())


@pytest.mark.parametrize("variant", OPTIONS)
def test_padding_changes_nothing(variant, batch):
    model = build(OPTIONS[variant]).double().eval()
    more = torch.full((8, 2), PAD)
    longer = batch._replace(
        text_ids=torch.cat([batch.text_ids, more], 1), text_mask=torch.cat([batch.text_mask, more.bool()], 1)
    )
    for need_maps in (False, True):  # with maps, the padding columns are really computed
        a, b = model(batch), model(longer, need_maps)
        torch.testing.assert_close(a.logits, b.logits)
        torch.testing.assert_close(a.alignment_loss, b.alignment_loss)


@pytest.mark.parametrize("variant", OPTIONS)
def test_posts_do_not_see_each_other(variant, batch):
    model = build(OPTIONS[variant]).double().eval()
    order = torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])
    mixed = Batch(*(None if part is None else part[order] for part in batch))
    torch.testing.assert_close(model(mixed).logits, model(batch).logits[order])
    alone = Batch(*(None if part is None else part[2:3] for part in batch))
    torch.testing.assert_close(model(alone).logits, model(batch).logits[2:3])


def test_the_cnn_does_not_see_cls_and_sep(batch):
    model = build(VARIANTS["TL"]).eval()
    before = model(batch).logits
    with torch.no_grad():
        model.word_vectors.weight[[CLS, SEP]] += 5
    torch.testing.assert_close(model(batch).logits, before)


def test_word_order_matters_to_both_chains(batch):
    ids = batch.text_ids.clone()
    ids[5, 1:6] = ids[5, 1:6].flip(0)
    for variant in ("TL", "TB", "TTRAS", "TCNN"):
        model = build(VARIANTS[variant]).eval()
        assert not torch.allclose(model(batch._replace(text_ids=ids)).logits[5], model(batch).logits[5])


def test_feature_map_equals_its_cells(batch):
    model = build(TINY).eval()
    as_map = batch.images.transpose(1, 2).unflatten(2, (2, 3)).half()  # (B, D, 2, 3)
    cells = batch._replace(images=batch.images.half().float())
    torch.testing.assert_close(model(batch._replace(images=as_map)).logits, model(cells).logits)


def test_an_encoders_own_cls_row_is_used_and_is_no_patch(batch):
    """C37: Eq 10's [CLS] row stands for the image where one vector does; chains of rows never see it."""
    with_cls = batch._replace(images=torch.cat([torch.randn(8, 1, D), batch.images], 1))
    for variant in ("full", "TB", "TL"):
        own, mean = (build(replace(VARIANTS[variant], **more)).eval() for more in ({"image_cls": True}, {}))
        torch.testing.assert_close(own(with_cls).logits, mean(batch).logits)
        assert own(with_cls, need_maps=True).logic_map is None or own(with_cls, True).logic_map.shape[-1] == N
    for config in (VARIANTS["I"], OPTIONS["pooled"]):
        own, mean = (build(replace(config, **more)).eval() for more in ({"image_cls": True}, {}))
        assert not torch.allclose(own(with_cls).logits, mean(batch).logits)
        torch.testing.assert_close(own.read_images(with_cls.images)[1], own.image_norm(with_cls.images[:, :1]))
        rows = mean.image_norm(batch.images).mean(1, keepdim=True)
        torch.testing.assert_close(mean.read_images(batch.images)[1], rows)


def test_learned_positions_start_as_none_and_tell_places_apart(batch):
    """C37: without them patches are a bag; with them the order of the patches counts."""
    positions, bag = build(OPTIONS["positions"]).double().eval(), build(TINY).double().eval()
    assert names(positions) - names(bag) == {"image_positions"} and not positions.image_positions.any()
    torch.testing.assert_close(positions(batch).logits, bag(batch).logits)
    assert "image_positions" not in names(build(replace(VARIANTS["I"], image_positions=True)))
    torch.nn.init.normal_(positions.image_positions)
    turned = batch._replace(images=batch.images.flip(1))
    torch.testing.assert_close(bag(turned).logits, bag(batch).logits)
    assert not torch.allclose(positions(turned).logits, positions(batch).logits)


def test_posts_without_words_or_image_stay_finite(batch):
    empty = torch.full_like(batch.text_ids, PAD)
    empty[:, 0], empty[:, 1] = CLS, SEP
    for bare in (empty, torch.full_like(empty, PAD)):
        for config in OPTIONS.values():
            model = build(config)
            posts = batch._replace(text_ids=bare, text_mask=bare != PAD, images=torch.zeros_like(batch.images))
            loss = model.training_loss(posts)["loss"]
            loss.backward()
            assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


# --- Eq. 12 and its map ---


def test_map_of_eq_12(batch):
    model = build(TINY).eval()
    out = model(batch, need_maps=True)
    assert out.scores.shape == out.weights.shape == (8, 2, N, L) and out.swapped.shape == (8, 2, L, N)
    assert out.logic_map.shape == (8, 3, L, N)
    ones = torch.ones(8, 2, N)
    torch.testing.assert_close(out.weights.sum(-1), ones)  # each patch over the words
    torch.testing.assert_close(out.swapped.sum(-1), torch.ones(8, 2, L))  # each word over the patches
    words = batch.text_mask & (batch.text_ids > SEP)
    assert not out.weights.masked_select(~words[:, None, None]).any()
    torch.testing.assert_close(model(batch).logits, out.logits)
    assert model(batch).scores is None


def test_swapped_query_turns_the_map(batch):
    out = build(OPTIONS["swapped"]).eval()(batch, need_maps=True)
    assert out.weights.shape == (8, 2, L, N) and out.swapped.shape == (8, 2, N, L)
    words = batch.text_mask & (batch.text_ids > SEP)
    assert not out.swapped.masked_select(~words[:, None, None]).any()


def test_pooled_attention_is_a_linear_map(batch):
    """C11: with one row per modality every weight is 1, so the maps are blank and queries and keys learn nothing."""
    model = build(OPTIONS["pooled"])
    out = model(batch, need_maps=True)
    assert out.weights.shape == (8, 2, 1, 1) and (out.weights == 1).all()
    model.training_loss(batch)["loss"].backward()
    for block in model.attention.values():
        learnt, *dead = (block.attention.get_submodule(name).weight.grad for name in ("value", "query", "key"))
        assert learnt.abs().max() > 1e-4
        assert all(grad.abs().max() < 1e-7 for grad in dead)  # rounding only


# --- alignment ---


def test_alignment_is_the_mean_over_posts_and_features(batch):
    model = build(OPTIONS["side"]).eval()
    rows = {}
    model.align_text.register_forward_hook(lambda _m, _i, o: rows.update(text=o))
    model.align_image.register_forward_hook(lambda _m, _i, o: rows.update(image=o))
    loss = model.training_loss(batch)["alignment"]
    words = batch.text_mask & (batch.text_ids > SEP)
    length = int(batch.text_mask.sum(1).max())
    text = torch.stack([row[w[:length]].mean(0) for row, w in zip(rows["text"], words, strict=True)])
    torch.testing.assert_close(loss, torch.nn.functional.mse_loss(text, rows["image"].mean(1)))


def test_side_heads_can_collapse_without_touching_the_classifier_but_forward_heads_cannot(batch):
    """C13: W_t = W_i = 0 makes the loss 0; only with `forward` does the classifier notice."""
    for alignment, same in (("side", True), ("forward", False)):
        model = build(replace(TINY, alignment=alignment)).eval()
        before = model(batch).logits
        with torch.no_grad():
            model.align_text.weight.zero_()
            model.align_image.weight.zero_()
        assert model.training_loss(batch)["alignment"] == 0
        assert torch.allclose(model(batch).logits, before) is same


def test_posts_without_a_picture_pay_no_alignment_loss(batch):
    model = build(TINY).eval()
    whole = model(batch).alignment_loss
    batch.images[:3] = 0
    assert model.training_loss(batch)["alignment"].item() == pytest.approx(whole[3:].sum().item() / 8, rel=1e-5)


def test_without_alignment_there_is_no_alignment_loss(batch):
    losses = build(VARIANTS["A"]).eval().training_loss(batch)
    assert losses["alignment"] == 0
    torch.testing.assert_close(losses["loss"], 1.8 * losses["classification"])


def test_lambda_a_zero_leaves_side_heads_without_gradient(batch):
    model = build(replace(TINY, alignment="side", lambda_a=0.0))
    model.training_loss(batch)["loss"].backward()
    assert not model.align_text.weight.grad.any() and not model.align_image.weight.grad.any()


def test_weights_of_posts(batch):
    model = build(TINY).eval()
    few = Batch(*(None if part is None else part[:3] for part in batch))
    zeros = batch._replace(weight=torch.tensor([8 / 3] * 3 + [0.0] * 5))
    for key, value in model.training_loss(few).items():
        torch.testing.assert_close(model.training_loss(zeros)[key], value)
        torch.testing.assert_close(model.training_loss(few._replace(weight=None))[key], value)


# --- learning ---


@pytest.mark.parametrize("variant", [v for v in OPTIONS if v != "pooled"])
def test_gradients_reach_every_parameter(variant, batch):
    model = build(OPTIONS[variant])
    model.training_loss(batch)["loss"].backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    if variant != "I":
        assert not model.word_vectors.weight.grad[PAD].any()


@pytest.mark.parametrize("variant", OPTIONS)
def test_fits_eight_posts(variant, batch):
    model = build(replace(OPTIONS[variant], dropout=0.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        model.training_loss(batch)["loss"].backward()
        optimizer.step()
    assert ((model.eval().prob_rumor(batch) > 0.5) == batch.label.bool()).all()


def train_adam(lambda_c: float, lambda_a: float, eps: float, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Parameters and probabilities after each of 15 Adam steps in float64."""
    model = build(replace(TINY, dropout=0.0, lambda_c=lambda_c, lambda_a=lambda_a)).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=eps)
    double = batch._replace(weight=batch.weight.double())
    parameters, probabilities = [], []
    for _ in range(15):
        optimizer.zero_grad()
        model.training_loss(double)["loss"].backward()
        optimizer.step()
        parameters.append(torch.nn.utils.parameters_to_vector(model.parameters()).detach())
        probabilities.append(model.prob_rumor(double).detach())
    return torch.stack(parameters), torch.stack(probabilities)


def test_only_the_ratio_of_the_lambdas_matters_under_adam(batch):
    """C21: (1.8, 2.4) and (0.9, 1.2) follow one trajectory, so the paper's two sweeps are one.

    Adam's eps is the only thing that breaks it: with torch's 1e-8 the predictions agree far below 1e-4, parameters
    with hardly any gradient a little less; with a smaller eps the parameters agree too.
    """
    for eps, largest in ((1e-8, 1e-3), (1e-12, 1e-6)):
        paper, half = (train_adam(*lambdas, eps, batch) for lambdas in ((1.8, 2.4), (0.9, 1.2)))
        assert (paper[0] - half[0]).abs().max() < largest
        assert (paper[1] - half[1]).abs().max() < 1e-4
    other = train_adam(1.8, 0.6, 1e-8, batch)
    assert (paper[1] - other[1]).abs().max() > 1e-3


def test_word_vectors_are_fine_tuned_on_a_copy(batch):
    vectors = torch.randn(V, 8)
    model = DMFL(TINY, vectors, D)
    before = vectors.clone()
    with torch.no_grad():
        model.word_vectors.weight.zero_()
    assert torch.equal(vectors, before) and model.word_vectors.weight.requires_grad


def test_autocast_gives_full_precision_losses(batch):
    with torch.autocast("cpu", torch.bfloat16):
        losses = build(TINY).training_loss(batch)
    assert all(value.dtype == torch.float32 for value in losses.values())


# --- refusals ---


def test_refuses_what_does_not_fit(batch):
    with pytest.raises(ValueError, match="images must be"):
        build(TINY)(batch._replace(images=torch.randn(8, N, D + 1)))
    with pytest.raises(ValueError, match="6 positions, the images 5"):
        build(OPTIONS["positions"])(batch._replace(images=torch.randn(8, N - 1, D)))
    with pytest.raises(ValueError, match="needs n_patches"):
        build(OPTIONS["positions"], n_patches=None)
    long = torch.full((8, L + 3), 5)
    with pytest.raises(ValueError, match="do not fit"):
        build(TINY)(batch._replace(text_ids=long, text_mask=long > 0))
    with pytest.raises(ValueError, match="logic_heads"):
        build(replace(TINY, logic_heads=5))
    with pytest.raises(ValueError, match="kernel sizes"):
        build(replace(TINY, d_model=10))
