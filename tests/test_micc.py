"""MICC's claims and what its fusion discards: Top-K, limits of lambda, ablations that remove what they say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rumorlib.config import ControlConfig, MICCConfig, SCLIPConfig, SettingError, TextConfig, VisionConfig
from rumorlib.data.batches import Batch, Texts
from rumorlib.encoders.sclip import SCLIP
from rumorlib.models.micc import MICC, ScaleAwareFusion, align, mass_gate, noise, select_top_k

N_PATCHES = [16, 4]  # 32 px, receptive fields 8 and 16
D = 16


def new_sclip(fields: tuple[int, ...] = (8, 16)) -> SCLIP:
    torch.manual_seed(0)
    text = TextConfig(max_length=8, width=16, depth=1, n_heads=2)
    vision = VisionConfig(image_size_px=32, receptive_fields=fields, width=16, depth=1, n_heads=2)
    return SCLIP(SCLIPConfig((("en", text), ("zh", text)), vision, d_joint=D, dropout=0.0), {"en": 20, "zh": 20})


def new_micc(**changes) -> MICC:
    sclip = new_sclip()
    torch.manual_seed(1)
    return MICC(MICCConfig(width=8, dropout=0.0, freeze="nothing", **changes), sclip, "en")


def new_batch(n: int = 8, images: torch.Tensor | None = None) -> Batch:
    g = torch.Generator().manual_seed(2)
    ids = torch.randint(4, 20, (n, 6), generator=g)
    pixels = torch.randint(0, 256, (n, 3, 32, 32), generator=g, dtype=torch.uint8)
    label = torch.arange(n).remainder(2).float()
    shown = pixels if images is None else images
    return Batch(ids, torch.ones_like(ids, dtype=torch.bool), None, shown, label, torch.ones(n), torch.arange(n))


# --- Top-K (M9) -------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(k=st.integers(1, 20), seed=st.integers(0, 1000))
def test_top_k_keeps_the_most_relevant_of_each_scale(k: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    relevance, patches = torch.rand(3, 20, generator=g), torch.rand(3, 20, D, generator=g)
    kept = select_top_k(relevance, patches, N_PATCHES, k)
    start, column = 0, 0
    for n in N_PATCHES:
        size = min(k, n)
        expected = relevance[:, start : start + n].sort(descending=True).values[:, :size]
        torch.testing.assert_close(kept.rho[:, column : column + size], expected)
        chosen = kept.indices[:, column : column + size]
        assert (chosen >= start).all() and (chosen < start + n).all()
        start, column = start + n, column + size
    torch.testing.assert_close(kept.patches, patches[torch.arange(3)[:, None], kept.indices])


def test_k_of_all_patches_is_no_selection() -> None:
    """k >= N_s: the logit of a fusion that reads every patch in its own order, with no Top-K in it."""
    everything, nothing_removed = new_micc(top_k=16).eval(), new_micc(top_k=100).eval()
    batch = new_batch()
    sclip = everything.sclip
    with torch.no_grad():
        text = sclip.encode_text(Texts(batch.text_ids, batch.text_mask), "en")
        patches = sclip.encode_image(batch.images)
        image, _ = everything.fuse(patches, torch.einsum("bnd,bd->bn", patches, text))
        direct = everything.classifier(torch.cat([text, image], dim=1)).squeeze(1)
        for model in (everything, nothing_removed):
            torch.testing.assert_close(model(batch).logit, direct)
        assert not torch.allclose(new_micc(top_k=15).eval()(batch).logit, direct)


@pytest.mark.parametrize("k, n_patches", [(0, N_PATCHES), (2, [16, 5])])
def test_wrong_k_or_shapes_are_refused(k: int, n_patches: list[int]) -> None:
    with pytest.raises(ValueError, match="patches"):
        select_top_k(torch.rand(2, 20), torch.rand(2, 20, D), n_patches, k)


# --- fusion (Eqs 23-25) -----------------------------------------------------------------------------


@pytest.mark.parametrize("constant", [-0.7, 0.3, 5.0])
def test_a_constant_added_to_every_relevance_changes_nothing(constant: float) -> None:
    """Choice C5: how relevant the best patch is, the mismatch signal itself, never reaches the literal classifier."""
    fuse = ScaleAwareFusion(D, 8, fusion_weight=0.65)
    patches, relevance = torch.randn(5, 4, D), torch.rand(5, 4)
    image, weights = fuse(patches, relevance)
    shifted_image, shifted_weights = fuse(patches, relevance + constant)
    torch.testing.assert_close(shifted_image, image)
    torch.testing.assert_close(shifted_weights, weights)


# --- adaptive K -------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", ["mass", "threshold"])
def test_adaptive_weights_sum_to_one_and_each_scale_keeps_its_best_patch(keep: str) -> None:
    model = new_micc(top_k=8, controls=ControlConfig(keep=keep, relevance_mass=0.6)).eval()
    with torch.no_grad():
        output = model(new_batch())
    torch.testing.assert_close(output.weights.sum(1), torch.ones(8))
    first = [0, min(8, N_PATCHES[0])]
    assert (output.weights[:, first] > 0).all() and (output.weights == 0).any()


def test_all_the_mass_of_all_patches_is_no_selection() -> None:
    """k >= N_s and mass 1: the same logits as with nothing left out; so is a threshold that everything passes."""
    batch, plain = new_batch(), new_micc(top_k=16).eval()
    for controls in (ControlConfig(keep="mass", relevance_mass=1.0), ControlConfig(keep="threshold")):
        adaptive = new_micc(top_k=16, controls=controls).eval()
        adaptive.load_state_dict(plain.state_dict(), strict=False)
        if controls.keep == "threshold":
            torch.nn.init.constant_(adaptive.threshold, -2.0)
        with torch.no_grad():
            torch.testing.assert_close(adaptive(batch).logit, plain(batch).logit)


@given(mass=st.floats(0.05, 1.0), seed=st.integers(0, 200))
@settings(max_examples=30, deadline=None)
def test_the_mass_kept_is_enough_and_one_patch_less_is_not(mass: float, seed: int) -> None:
    relevance = torch.rand(4, 16, generator=torch.Generator().manual_seed(seed)).double() * 2 - 1
    gate = mass_gate(relevance, [16], 16, mass, 0.1).bool()
    shares = (relevance / 0.1).softmax(1).sort(dim=1, descending=True).values
    n_kept = gate.sum(1)
    for row, n in zip(shares, n_kept.tolist()):
        assert row[:n].sum() >= mass - 1e-9 and (n == 1 or row[: n - 1].sum() < mass + 1e-9)
    assert (gate == (torch.arange(16) < n_kept[:, None])).all(), "the most relevant ones"


def test_a_threshold_learns() -> None:
    model = new_micc(top_k=8, controls=ControlConfig(keep="threshold"))
    model.training_loss(new_batch())["loss"].backward()
    assert model.threshold.grad.abs().sum() > 0
    plain = {name for name, _ in new_micc(top_k=8).named_parameters()}
    assert {name for name, _ in model.named_parameters()} - plain == {"threshold"}


@pytest.mark.parametrize(
    "changes", [{"fusion": "mean"}, {"alignment": "global"}, {"controls": {"selection": "random"}}]
)
def test_adaptive_k_needs_ranked_patches_and_weights(changes: dict) -> None:
    with pytest.raises(ValueError, match="needs Top-K by relevance"):
        MICCConfig(**changes | {"controls": {"keep": "mass"} | changes.get("controls", {})})


@pytest.mark.parametrize("keep", ["k", "mass", "threshold"])
def test_the_order_of_the_patches_does_not_matter(keep: str) -> None:
    """Fusion sees a set: patches permuted within their scale give the same image vector."""
    model = new_micc(top_k=4, controls=ControlConfig(keep=keep)).eval()
    g = torch.Generator().manual_seed(5)
    patches = torch.nn.functional.normalize(torch.randn(3, 20, D, generator=g), dim=-1)
    text = torch.nn.functional.normalize(torch.randn(3, D, generator=g), dim=-1)
    order = torch.cat([torch.randperm(16, generator=g), 16 + torch.randperm(4, generator=g)])

    def fused(given: torch.Tensor) -> torch.Tensor:
        aligned = align(model.config, N_PATCHES, text, given, torch.arange(3))
        return model._fuse(aligned.patches, aligned.rho, model._gate(aligned))[0]

    with torch.no_grad():
        torch.testing.assert_close(fused(patches), fused(patches[:, order]))


@pytest.mark.parametrize("selection", ["random", "bottom", "saliency"])
def test_a_control_keeps_other_patches_and_their_own_relevance(selection: str) -> None:
    """Controls change which patches are kept, and nothing else: no parameter, and rho stays the kept patches' own."""
    model, control = new_micc().eval(), new_micc(controls=ControlConfig(selection)).eval()
    control.load_state_dict(model.state_dict())
    batch = new_batch()
    with torch.no_grad():
        ours, theirs = model(batch), control(batch)
    torch.testing.assert_close(ours.relevance, theirs.relevance)
    assert not torch.equal(ours.indices.sort().values, theirs.indices.sort().values)
    if selection == "bottom":
        start = 0
        for part, n in zip(theirs.relevance.split(N_PATCHES, dim=1), N_PATCHES, strict=True):
            kept = theirs.indices[(theirs.indices >= start) & (theirs.indices < start + n)].view(len(part), -1) - start
            torch.testing.assert_close(part.gather(1, kept).sort().values, part.sort().values[:, : kept.shape[1]])
            start += n


@pytest.mark.parametrize("selection", ["random", "saliency"])
def test_text_free_controls_do_not_read_the_text(selection: str) -> None:
    model, batch = new_micc(controls=ControlConfig(selection)).eval(), new_batch()
    other = batch._replace(text_ids=batch.text_ids.flip(0))
    with torch.no_grad():
        assert torch.equal(model(batch).indices, model(other).indices)


def test_random_choice_is_uniform_and_keeps_to_the_post() -> None:
    drawn = noise(torch.arange(20_000), 65)
    assert drawn.min() >= 0 and drawn.max() < 1
    counts = torch.bincount(drawn.argmax(1), minlength=65).double()
    assert ((counts - 20_000 / 65) ** 2 / (20_000 / 65)).sum() < 110  # chi-square, 64 degrees of freedom: p = 3e-4
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 0.03
    assert torch.equal(noise(torch.tensor([7, 19_999]), 65), drawn[[7, 19_999]])


def test_limits_of_lambda() -> None:
    patches, relevance = torch.randn(5, 4, D), torch.rand(5, 4)
    semantic_only = ScaleAwareFusion(D, 8, fusion_weight=1.0)
    torch.testing.assert_close(semantic_only(patches, relevance)[1], semantic_only(patches, None)[1])
    relevance_only = ScaleAwareFusion(D, 8, fusion_weight=0.0)
    torch.testing.assert_close(relevance_only(patches, relevance)[1], relevance.softmax(-1))


def test_fusion_weights_sum_to_one_over_all_scales() -> None:
    weights = new_micc()(new_batch()).weights
    assert weights.shape == (8, 4)  # two per scale, jointly (choice C8)
    torch.testing.assert_close(weights.sum(1), torch.ones(8))


def test_relevance_input_hands_the_level_over() -> None:
    """The fix sees what the literal model cannot: classifier inputs differ when every relevance shifts."""
    text, image, relevance = torch.randn(3, D), torch.randn(3, D), torch.rand(3, 20)
    literal, fixed = new_micc(), new_micc(classifier_input="relevance")
    shifted = relevance + 0.2
    assert torch.equal(
        literal._classifier_input(text, image, relevance), literal._classifier_input(text, image, shifted)
    )
    assert not torch.equal(
        fixed._classifier_input(text, image, relevance), fixed._classifier_input(text, image, shifted)
    )


# --- variants -----------------------------------------------------------------------------------------


def trainable(model: MICC) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("changes, gone, classifier_width", [
    ({"alignment": "all_patches"}, set(), 2 * D),
    ({"alignment": "global"}, set(), 2 * D),
    ({"fusion": "mean"}, {"fuse"}, 2 * D),
    ({"fusion": "concat"}, {"fuse"}, D + 4 * D),
    ({"classifier_input": "product"}, set(), 4 * D),
    ({"classifier_input": "relevance"}, set(), 2 * D + 4),
])  # fmt: skip
def test_a_variant_removes_exactly_its_parameters(changes: dict, gone: set[str], classifier_width: int) -> None:
    full, variant = trainable(new_micc()), trainable(new_micc(**changes))
    assert {name.split(".")[0] for name in full.keys() - variant.keys()} == gone
    assert not variant.keys() - full.keys()
    changed = {name for name in variant if variant[name] != full[name]}
    assert changed <= {"classifier.0.weight"}
    assert variant["classifier.0.weight"] == (8, classifier_width)


def test_a_single_scale_removes_exactly_the_other_scales_embedding() -> None:
    """MICC-SCLIP: one receptive field; patch weights, positions and one row of the scale embedding go, nothing else."""
    single = MICC(MICCConfig(width=8, dropout=0.0, freeze="nothing"), new_sclip((8,)), "en")
    full, one = trainable(new_micc()), trainable(single)
    tower = "sclip.image_tower."
    assert full.keys() - one.keys() == {f"{tower}{n}" for n in ("patch.1.weight", "patch.1.bias", "position.1")}
    assert not one.keys() - full.keys()
    assert {name for name in one if one[name] != full[name]} == {f"{tower}scale"} and one[f"{tower}scale"] == (1, D)


def test_product_and_concat_fusion_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="product"):
        new_micc(fusion="concat", classifier_input="product")


@pytest.mark.parametrize("changes", [{}, {"classifier_input": "product"}, {"classifier_input": "relevance"},
                                     {"alignment": "all_patches"}, {"alignment": "global"}, {"fusion": "concat"},
                                     {"fusion": "mean"}])  # fmt: skip
def test_gradients_reach_every_trainable_parameter(changes: dict) -> None:
    model = new_micc(**changes)
    model.training_loss(new_batch())["loss"].backward()
    silent = [
        n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)
    ]
    # A bias before softmax moves every score alike.
    assert set(silent) <= {"fuse.score.3.bias"}


def test_at_lambda_0_the_semantic_score_alone_gets_no_gradient() -> None:
    """The exception among the limits of Eq 24: the FFN of Eq 23 plays no part there, everything else still does."""

    def silent(fusion_weight: float) -> set[str]:
        model = new_micc(fusion_weight=fusion_weight)
        model.training_loss(new_batch())["loss"].backward()
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        return {name for name, p in trained if p.grad is None or not p.grad.abs().sum() > 0}

    ffn = {name for name, _ in new_micc().named_parameters() if name.startswith("fuse.")}
    assert silent(0.0) == ffn and len(ffn) == 4
    assert silent(1.0) <= {"fuse.score.3.bias"}


def test_frozen_tokens_leave_the_tower_as_it_was() -> None:
    sclip = new_sclip()
    before = {name: p.clone() for name, p in sclip.image_tower.named_parameters()}
    model = MICC(MICCConfig(width=8, freeze="tokens"), sclip, "en")
    with torch.no_grad():
        tokens = sclip.image_tower(new_batch().images)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.training_loss(new_batch(images=tokens))["loss"].backward()
    optimizer.step()
    for name, p in sclip.image_tower.named_parameters():
        assert torch.equal(p, before[name]) and not p.requires_grad, name
    assert not any(p.requires_grad for n, p in model.named_parameters() if ".zh." in n)


def test_cached_tokens_give_the_same_result_as_pixels() -> None:
    model = new_micc().eval()
    cached = MICC(dataclasses.replace(model.config, freeze="tokens"), model.sclip, "en")
    cached.load_state_dict(model.state_dict())
    batch = new_batch()
    with torch.no_grad():
        tokens = model.sclip.image_tower(batch.images)
        torch.testing.assert_close(cached.eval()(new_batch(images=tokens)).logit, model(batch).logit)


def test_frozen_sclip_reads_joint_vectors_and_trains_fusion_and_classifier_only() -> None:
    whole = new_micc().eval()
    model = MICC(dataclasses.replace(whole.config, freeze="sclip"), whole.sclip, "en").eval()
    model.load_state_dict(whole.state_dict())
    batch = new_batch()
    with torch.no_grad():
        patches = whole.sclip.encode_image(batch.images)
        text = whole.sclip.encode_text(Texts(batch.text_ids, batch.text_mask), "en")
        made_once = new_batch(images=patches)._replace(text_ids=None, text_mask=None, text_features=text)
        torch.testing.assert_close(model(made_once).logit, whole(batch).logit)
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"fuse", "classifier"}


@pytest.mark.parametrize("classifier_input", ["concat", "product", "relevance"])
@pytest.mark.parametrize("changes", [{}, {"alignment": "global"}, {"alignment": "all_patches"}, {"fusion": "mean"},
                                     *({"controls": {"selection": how}} for how in ("random", "bottom", "saliency")),
                                     ])  # fmt: skip
def test_posts_aligned_beforehand_give_the_same_result(changes: dict, classifier_input: str) -> None:
    whole = new_micc(classifier_input=classifier_input, **changes).eval()
    model = MICC(dataclasses.replace(whole.config, freeze="sclip"), whole.sclip, "en").eval()
    model.load_state_dict(whole.state_dict())
    batch = new_batch()
    with torch.no_grad():
        text = whole.sclip.encode_text(Texts(batch.text_ids, batch.text_mask), "en")
        patches = whole.sclip.encode_image(batch.images)
        everyone = align(model.config, N_PATCHES, text, patches, batch.row)
        rows = torch.tensor([5, 0, 3])  # a batch of some of them
        texts = batch._replace(text_ids=None, text_mask=None, text_features=text)
        some = Batch(*(None if part is None else part[rows] for part in texts))
        cached, present = model(some._replace(images=everyone.rows(rows))), model(some._replace(images=patches[rows]))
    torch.testing.assert_close(cached.logit, present.logit, atol=1e-5, rtol=0)
    torch.testing.assert_close(cached.relevance, present.relevance, atol=1e-5, rtol=0)
    torch.testing.assert_close(cached.logit, whole(batch).logit[rows], atol=1e-5, rtol=0)


def test_towers_reach_the_classifier_beside_the_joint_space_whatever_is_made_once() -> None:
    whole = new_micc(classifier_input="towers").eval()
    batch = new_batch()
    with torch.no_grad():
        texts, tokens = Texts(batch.text_ids, batch.text_mask), whole.sclip.image_tower(batch.images)
        joint = new_batch(images=whole.sclip.project_patches(tokens))._replace(
            text_features=whole.sclip.encode_text(texts, "en"),
            towers=torch.cat([whole.sclip.text_towers["en"](texts), tokens.mean(1)], dim=1),
        )
        for freeze, given in (("tokens", new_batch(images=tokens)), ("sclip", joint)):
            model = MICC(dataclasses.replace(whole.config, freeze=freeze), whole.sclip, "en").eval()
            model.load_state_dict(whole.state_dict())
            torch.testing.assert_close(model(given).logit, whole(batch).logit, atol=1e-5, rtol=0)
        moved = joint._replace(towers=joint.towers.flip(0))
        assert not torch.allclose(model(moved).logit, model(joint).logit)


def test_relevance_over_the_temperature_sharpens_eq_24_and_nothing_else() -> None:
    plain, sharp = (new_micc(relevance_scale=how, fusion_weight=0.0) for how in ("cosine", "temperature"))
    sharp.load_state_dict(plain.state_dict())
    batch, scale = new_batch(), plain.sclip.logit_scale.exp()
    with torch.no_grad():
        before, after = plain.eval()(batch), sharp.eval()(batch)
        kept = before.relevance.gather(1, before.indices)
    assert torch.equal(before.indices, after.indices) and torch.equal(before.relevance, after.relevance)
    torch.testing.assert_close(after.weights, (scale * kept).softmax(1))


def test_the_unnormalised_product_is_what_eq_24_reads_and_nothing_else() -> None:
    plain, raw = (new_micc(relevance_scale=how, fusion_weight=0.0) for how in ("cosine", "product"))
    raw.load_state_dict(plain.state_dict())
    batch, sclip = new_batch(), plain.eval().sclip
    with torch.no_grad():
        before, after = plain(batch), raw.eval()(batch)
        text = sclip.text_heads["en"](sclip.text_towers["en"](Texts(batch.text_ids, batch.text_mask)))
        patches = sclip.image_head(sclip.image_tower(batch.images))
        dots = torch.einsum("bnd,bd->bn", patches, text).gather(1, before.indices)
    assert torch.equal(before.indices, after.indices) and torch.equal(before.relevance, after.relevance)
    torch.testing.assert_close(after.weights, dots.softmax(1), atol=1e-5, rtol=1e-4)
    with pytest.raises(SettingError, match="needs the heads of SCLIP"):
        MICCConfig(relevance_scale="product", freeze="sclip")


# --- the whole ------------------------------------------------------------------------------------------


def test_order_of_posts_does_not_matter() -> None:
    model, batch = new_micc().eval(), new_batch()
    order = torch.randperm(8)
    shuffled = Batch(*(None if part is None else part[order] for part in batch))
    torch.testing.assert_close(model(shuffled).logit, model(batch).logit[order])


def test_weights_of_posts_count() -> None:
    model, batch = new_micc().eval(), new_batch()
    only_first = batch._replace(weight=torch.tensor([8.0] + [0.0] * 7))
    first = Batch(*(None if part is None else part[:1] for part in batch))
    torch.testing.assert_close(model.training_loss(only_first)["loss"], model.training_loss(first)["loss"])


def test_fits_eight_posts() -> None:
    model, batch = new_micc(classifier_input="product"), new_batch()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(60):
        loss = model.training_loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((model.prob_rumor(batch) > 0.5).float() == batch.label).all()
