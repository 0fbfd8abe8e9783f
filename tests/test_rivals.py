"""Detectors of other authors: each does what its paper says, ignores padding and order, and can learn."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import published
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rumorlib import config as cfg
from rumorlib import inputs
from rumorlib.data import social_graph
from rumorlib.data.batches import Batch
from rumorlib.data.readers import pheme
from rumorlib.encoders.vocabulary import CLS, PAD, SEP
from rumorlib.experiments import rivals
from rumorlib.models import named
from rumorlib.models.named import Given
from rumorlib.models.others import carmn, eann, mfan, muse, safe
from rumorlib.results import store
from rumorlib.training import detector_runs

B, L, N, D, D_WORD, N_WORDS = 8, 7, 9, 12, 10, 20
SMALL = {
    "safe": {"n_filters": 6, "d_reduced": 8, "d_model": 10},
    "carmn": {"d_model": 12, "n_heads": 2, "d_head": 4, "dropout": 0.1},
    "mfan": {"d_model": 12, "n_heads": 2, "d_head": 4, "dropout": 0.1},
    "mfan with graph": {"d_model": 12, "n_heads": 2, "d_head": 4, "dropout": 0.1, "graph": True},
    "eann": {"n_filters": 5, "d_model": 8},
    "eann, no adversary": {"n_filters": 5, "d_model": 8, "adversary": False},
    "spotfake": {"d_hidden": 16, "d_model": 8, "d_fusion": 6, "dropout": 0.1},
    "muse": {"d_model": 8, "dropout": 0.1},
}
WORD_READERS = [name for name in SMALL if name not in ("spotfake", "muse")]


def posts(seed: int = 0) -> Batch:
    """Eight posts of different length, with word ids, frozen vectors and image rows."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, N_WORDS, (B, L), generator=draw)
    lengths = torch.arange(B) % (L - 2) + 3
    mask = torch.arange(L) < lengths[:, None]
    ids[:, 0] = CLS
    ids[torch.arange(B), lengths - 1] = SEP
    return Batch(
        ids.masked_fill(~mask, PAD), mask, torch.randn(B, D, generator=draw), torch.randn(B, N, D, generator=draw),
        (torch.arange(B) % 2).float(), torch.ones(B), torch.arange(B),
    )  # fmt: skip


def conversation() -> named.Conversation:
    features = torch.randn(B + 4, 6, generator=torch.Generator().manual_seed(1))
    return named.Conversation(features, torch.tensor([[0, B], [B, B + 3], [1, B + 1], [2, B + 2]]), B)


def class_of(name: str) -> type[nn.Module]:
    model = name.split(",")[0].split()[0]
    return named.loaded(f"rumorlib.models.others.{model}:{rivals.CLASSES[model]}")


def model(name: str, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    vectors = torch.randn(N_WORDS, D_WORD)
    vectors[PAD] = 0
    given = Given(vectors, D, (N, D), torch.arange(B) % 3, conversation, posts(3).text_features)
    return class_of(name)(given._replace(**more), **SMALL[name])


# --- what holds for each --------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_probabilities_and_losses_have_their_shapes(name: str) -> None:
    made = model(name).eval()
    prob = made.prob_rumor(posts())
    assert prob.shape == (B,) and ((prob >= 0) & (prob <= 1)).all()
    losses = made.training_loss(posts())
    assert all(value.shape == () and torch.isfinite(value) for value in losses.values())


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_log_odds_are_the_difference_of_the_logits(name: str) -> None:
    made, batch = model(name).eval(), posts()
    logits = made.logits(batch)
    assert torch.allclose(made.log_odds(batch), logits[:, 1] - logits[:, 0], atol=1e-6)
    assert torch.allclose(made.prob_rumor(batch), logits.softmax(1)[:, 1], atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_the_order_of_posts_does_not_matter(name: str) -> None:
    made, batch, order = model(name).eval(), posts(), torch.randperm(B, generator=torch.Generator().manual_seed(0))
    mixed = Batch(*(None if part is None else part[order] for part in batch[:7]))
    assert torch.allclose(made.prob_rumor(mixed), made.prob_rumor(batch)[order], atol=1e-5)


@pytest.mark.parametrize("name", WORD_READERS)
def test_padding_does_not_matter(name: str) -> None:
    made, batch = model(name).eval(), posts()
    wide = batch._replace(text_ids=F.pad(batch.text_ids, (0, 5)), text_mask=F.pad(batch.text_mask, (0, 5)))
    assert torch.allclose(made.prob_rumor(wide), made.prob_rumor(batch), atol=1e-6)
    alone = Batch(*(None if part is None else part[:1] for part in batch[:7]))  # the shortest text, without padding
    assert torch.allclose(made.prob_rumor(alone), made.prob_rumor(batch)[:1], atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_part(name: str) -> None:
    made = model(name).train()
    made.training_loss(posts())["loss"].backward()
    silent = {n for n, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    if name.startswith("mfan"):  # a single key has weight 1 whatever its score: query and key learn nothing
        silent -= {"attention.attention.query.weight", "attention.attention.key.weight"}
    assert not silent, silent


def test_the_single_key_of_mfan_leaves_nothing_to_attend() -> None:
    made = model("mfan")
    query, key = torch.randn(4, 1, 12), torch.randn(4, 1, 12)
    assert (made.attention(query, key, need_weights=True).weights == 1).all()


@pytest.mark.parametrize("name", SMALL)
def test_a_post_of_weight_0_does_not_count(name: str) -> None:
    made, batch = model(name).eval(), posts()
    weight = torch.tensor([8 / 6] * 6 + [0.0] * 2)  # mean 1
    kept = Batch(*(None if part is None else part[:6] for part in batch[:7]))
    with torch.no_grad():
        whole, part = made.training_loss(batch._replace(weight=weight)), made.training_loss(kept)
    assert float(whole["loss"]) == pytest.approx(float(part["loss"]), abs=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_it_fits_eight_posts(name: str) -> None:
    made, batch = model(name).train(), posts()
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        made.training_loss(batch)["loss"].backward()
        optimizer.step()
    called = (made.eval().prob_rumor(batch) >= 0.5).float()
    assert (called == batch.label).all()


@pytest.mark.parametrize("name", [n for n in SMALL if n != "muse"])
def test_both_modalities_are_read(name: str) -> None:
    made, batch = model(name).eval(), posts()
    other = posts(seed=5)
    text = batch._replace(text_ids=other.text_ids, text_mask=other.text_mask, text_features=other.text_features)
    prob = made.prob_rumor(batch)
    assert not torch.allclose(prob, made.prob_rumor(batch._replace(images=other.images)), atol=1e-4)
    assert not torch.allclose(prob, made.prob_rumor(text), atol=1e-4)


def test_images_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="images must be"):
        model("safe").prob_rumor(posts()._replace(images=torch.zeros(B, N, D + 1)))


# --- SAFE -------------------------------------------------------------------------------------------


def test_safes_similarity_is_the_papers_formula() -> None:
    t, v = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    norms = t.norm(dim=1) * v.norm(dim=1)
    assert torch.allclose(safe.similarity(t, v).double(), ((t * v).sum(1) + norms) / (2 * norms), atol=1e-6)
    assert float(safe.similarity(t, t).min()) == pytest.approx(1) and float(safe.similarity(t, -t).max()) < 1e-6


def test_safes_loss_wants_rumors_dissimilar() -> None:
    near, far = torch.tensor([0.9]), torch.tensor([0.1])
    rumor, true = torch.tensor([1.0]), torch.tensor([0.0])
    assert float(safe.similarity_loss(near, rumor)) == pytest.approx(-math.log(0.1), rel=1e-5)
    assert float(safe.similarity_loss(near, true)) == pytest.approx(-math.log(0.9), rel=1e-5)
    assert safe.similarity_loss(far, rumor) < safe.similarity_loss(near, rumor)
    assert torch.isfinite(safe.similarity_loss(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))).all()


def test_safes_loss_is_alpha_and_beta_times_its_parts() -> None:
    made = model("safe").eval()
    made.alpha, made.beta = 0.3, 0.9
    with torch.no_grad():
        losses = made.training_loss(posts())
    assert float(losses["loss"]) == pytest.approx(float(0.3 * losses["classification"] + 0.9 * losses["similarity"]))


# --- CARMN ------------------------------------------------------------------------------------------


def test_carmns_residual_keeps_the_target_when_the_source_says_nothing() -> None:
    block = carmn.AttentionResidual(12, 2, 4)
    nn.init.zeros_(block.attention.out.weight)
    target, source = torch.randn(3, 5, 12), torch.randn(3, 4, 12)
    rows = block.norm(target)
    assert torch.allclose(block(target, source), block.ffn_norm(rows + block.ffn(rows)))
    assert torch.allclose(block(target, source), block(target, torch.randn(3, 4, 12)))


def test_carmn_reads_original_and_fused_words_as_two_channels() -> None:
    made = model("carmn").eval()
    assert made.convolutions.convs[0].in_channels == 2 * 12
    batch = posts()
    with torch.no_grad():
        for conv in made.convolutions.convs:
            conv.weight[:, 12:] = 0  # the fused channel silenced: text features no longer depend on the picture
        made.classifier.weight[:, 12:] = 0  # and so the fused image rows
    other = batch._replace(images=torch.randn(B, N, D))
    assert torch.allclose(made.prob_rumor(batch), made.prob_rumor(other))


# --- EANN -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_the_gradient_is_turned_round_and_scaled(strength: float) -> None:
    features = torch.randn(4, 3, requires_grad=True)
    weights = torch.randn(4, 3)
    out = eann.ReverseGradient.apply(features, strength)
    assert torch.equal(out, features)
    (out * weights).sum().backward()
    assert torch.allclose(features.grad, -strength * weights)


def test_the_adversary_learns_what_the_features_unlearn() -> None:
    """One loss serves both: the discriminator's gradient is that of L_e, the features' that of L_d - lambda L_e."""
    made, batch = model("eann").eval(), posts()
    made.training_loss(batch)["loss"].backward()
    features = made.features(batch)
    event = F.cross_entropy(made.discriminator(features), made.events[batch.row])
    detection = F.cross_entropy(made.detector(features), batch.label.long())
    ascent = torch.autograd.grad(detection - event, made.text_out.weight, retain_graph=True)[0]
    descent = torch.autograd.grad(event, made.discriminator[0].weight)[0]
    assert torch.allclose(made.text_out.weight.grad, ascent, atol=1e-6)
    assert torch.allclose(made.discriminator[0].weight.grad, descent, atol=1e-6)


def test_posts_without_a_train_event_do_not_feed_the_adversary() -> None:
    made, batch = model("eann").eval(), posts()
    made.events = torch.full((B,), -1)
    with torch.no_grad():
        losses = made.training_loss(batch)
    assert float(losses["event"]) == 0 and float(losses["loss"]) == float(losses["detection"])


def test_without_adversary_only_detection_is_left() -> None:
    made = model("eann, no adversary")
    assert set(made.training_loss(posts())) == {"loss"}
    assert not [name for name, _ in made.named_parameters() if "discriminator" in name]


# --- MFAN -------------------------------------------------------------------------------------------

FOUR = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.0]])  # cosines: 0-1 .99, 0-2 0, 1-2 .11, 0-3 -1


def test_hidden_links_join_similar_nodes_only() -> None:
    links = mfan.hidden_links(torch.arange(4), FOUR, 0.5)
    assert links.nonzero().tolist() == [[0, 1], [1, 0]]
    assert torch.equal(mfan.hidden_links(torch.tensor([1]), FOUR, 0.5), links[1:2])
    assert mfan.hidden_links(torch.arange(4), FOUR, 0.05).nonzero().tolist() == [[0, 1], [1, 0], [1, 2], [2, 1]]


def test_stated_links_come_before_hidden_ones() -> None:
    edges = torch.tensor([[0, 3]])  # opposite features, yet linked in the data
    table = mfan.neighbours(FOUR, edges, n_posts=3, threshold=0.5, most=2)
    assert table.tolist() == [[0, 3, 1], [1, 0, -1], [2, -1, -1]]
    assert mfan.neighbours(FOUR, edges, 1, 0.5, most=1).tolist() == [[0, 3]]


def test_signed_attention_weighs_agreement_and_disagreement() -> None:
    attention = mfan.SignedAttention(2, 3, n_heads=1, d_head=2)
    with torch.no_grad():
        attention.node.weight.copy_(torch.eye(2))
        attention.own.zero_()
        attention.other.copy_(torch.tensor([[1.0, 0.0]]))
        attention.out.weight.copy_(torch.eye(3, 4))
        attention.out.bias.zero_()
    nodes = torch.tensor([[[1.0, 2.0], [3.0, -1.0]]])
    score = torch.tensor([1.0, 3.0])
    agree, differ = score.softmax(0), -(-score).softmax(0)
    expected = torch.cat([agree @ nodes[0], differ @ nodes[0]])[:3]
    assert torch.allclose(attention(nodes, torch.ones(1, 2, dtype=torch.bool))[0], F.elu(expected), atol=1e-6)
    padded = torch.cat([nodes, torch.full((1, 1, 2), 9.0)], dim=1)
    mask = torch.tensor([[True, True, False]])
    assert torch.allclose(attention(padded, mask)[0], F.elu(expected), atol=1e-6)


def test_mfan_with_a_graph_needs_a_conversation() -> None:
    with pytest.raises(ValueError, match="none is given"):
        model("mfan with graph", conversation=None)


def threads(tmp_path: Path) -> Any:
    return pheme.read(published.pheme(tmp_path), "keep").posts


def test_the_social_graph_of_published_threads(tmp_path: Path) -> None:
    table = threads(tmp_path)
    social = social_graph.build(table)
    n, n_comments = len(table), 2 * len(table)
    assert (social.n_posts, len(social.texts)) == (n, n + n_comments)
    assert social.n_nodes == n + n_comments + 1, "one user wrote everything in the fixture"
    pairs = {tuple(edge) for edge in social.edges.tolist()}
    user = social.n_nodes - 1
    assert pairs == {(post, n + 2 * post + k) for post in range(n) for k in (0, 1)} | {(i, user) for i in range(user)}
    features = social_graph.node_features(social, torch.arange(float(user))[:, None].numpy())
    assert features[user, 0] == pytest.approx((user - 1) / 2), "a user is the mean of what he wrote"


def test_a_corpus_without_replies_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no-graph"):
        social_graph.build(threads(tmp_path).drop(columns="replies"))


def test_mfans_loss_is_classification_and_alignment_in_the_papers_weights() -> None:
    made, batch = model("mfan").eval(), posts()
    made.lambda_c, made.lambda_a = 0.7, 1.9
    sides = {}
    for name in ("align_text", "align_other"):
        getattr(made, name).register_forward_hook(lambda _, __, out, name=name: sides.__setitem__(name, out))
    with torch.no_grad():
        losses = made.training_loss(batch)
        cross = F.cross_entropy(made.logits(batch), batch.label.long())
    distance = F.mse_loss(sides["align_text"], sides["align_other"])  # mean over posts and features, as its code has it
    assert float(losses["classification"]) == pytest.approx(float(cross), rel=1e-5)
    assert float(losses["alignment"]) == pytest.approx(float(distance), rel=1e-5)
    assert float(losses["loss"]) == pytest.approx(float(0.7 * cross + 1.9 * distance), rel=1e-5)


# --- SpotFake ---------------------------------------------------------------------------------------


def test_spotfake_joins_two_layers_of_each_modality() -> None:
    made, batch = model("spotfake").eval(), posts()

    def branch(layers: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        norm, first, _, _, second, _, _ = layers
        return F.relu(second(F.relu(first(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias)))))

    with torch.no_grad():
        joined = torch.cat([branch(made.text, batch.text_features), branch(made.image, batch.images.mean(1))], dim=1)
        expected = made.classifier(F.relu(made.fuse(joined)))
        assert torch.allclose(made.logits(batch), expected, atol=1e-6)
        assert torch.allclose(made.prob_rumor(batch), expected.softmax(1)[:, 1], atol=1e-6)
        loss = made.training_loss(batch)["loss"]
    assert float(loss) == pytest.approx(float(F.cross_entropy(expected, batch.label.long())), rel=1e-5)


# --- MUSE-style -------------------------------------------------------------------------------------


def test_similarity_features_are_cosines_products_and_differences() -> None:
    text = F.normalize(torch.randn(2, 6), dim=-1)
    patches = F.normalize(torch.randn(2, 5, 6), dim=-1)
    made = muse.similarity_features(text, patches, [4, 1])
    assert made.shape == (2, 3 * 2 + 2 * 6)
    relevance = torch.einsum("bnd,bd->bn", patches, text)
    assert torch.allclose(made[:, 1:3], torch.stack([relevance[:, :4].amax(1), relevance[:, :4].mean(1)], 1))
    assert torch.allclose(made[:, 3:6], relevance[:, 4:].expand(-1, 3), atol=1e-6), "one patch: all three are its own"
    same = muse.similarity_features(text, text[:, None].expand(-1, 5, -1), [4, 1])
    assert torch.allclose(same[:, :6], torch.ones(2, 6), atol=1e-6)
    assert torch.allclose(same[:, 12:], torch.zeros(2, 6), atol=1e-6)


# --- plans ------------------------------------------------------------------------------------------


def test_every_rival_can_be_built() -> None:
    assert set(rivals.CLASSES) == set(cfg.OTHERS)
    for profile in cfg.PROFILES:
        given = cfg.resolve(profile, train="none")
        for dataset in given.datasets:
            for name in cfg.OTHERS:
                assert name in rivals.rival(given, dataset, name).path.as_posix()


def test_labels_say_what_a_corpus_cannot_give() -> None:
    given = cfg.resolve("laptop", train="none", grid="full")
    variants = {(run.dataset, run.model): run.variant for run in rivals.main(given)}
    assert variants["photo-en", "eann"] == "no-adversary" and variants["twitter", "eann"] == "default"
    assert {variants[name, "mfan"] for name in given.datasets} == {"no-graph"}
    full = [run.variant for run in rivals.main(cfg.resolve("paper", train="none", grid="full")) if run.model == "mfan"]
    assert set(full) == {"no-graph", "default"}


def test_rivals_read_the_words_and_rows_that_dmfl_reads() -> None:
    from rumorlib import experiments

    for profile in cfg.PROFILES:
        given = cfg.resolve(profile, train="none")
        for dataset in given.datasets:
            dmfl = experiments.dmfl(given, dataset).detector
            for name in ("safe", "carmn", "mfan", "eann"):
                read = rivals.rival(given, dataset, name).detector
                for field in ("word2vec", "image", "image_components"):
                    assert getattr(read, field) == getattr(dmfl, field)


def single_scale_variants(given: cfg.Settings) -> set[str]:
    return {run.variant for run in rivals.single_scale(given)}


def test_the_single_scale_row_is_the_ablations_run() -> None:
    assert single_scale_variants(cfg.resolve("demo")) == {"fields-16"}
    full = single_scale_variants(cfg.resolve("laptop", train="none", grid="full"))
    assert full >= {"fields-32-en", "fields-32-zh"}, full


def test_the_reduced_grid_of_laptop_has_the_committed_rivals_alone() -> None:
    """Its tables are made from committed runs, without data: a planned run that is missing would stop that."""
    there = store.entries(cfg.PROJECT_ROOT / "results" / "laptop" / "store")
    assert {run.path.as_posix() for run in rivals.main(cfg.resolve("laptop", train="none"))} <= set(there)


# --- from a corpus to a detector --------------------------------------------------------------------


def small_run(name: str, **changes: Any) -> cfg.RunConfig:
    given = cfg.resolve("paper", train="none")
    words = cfg.Word2VecConfig(d_word=D_WORD, epochs=1, max_length=12)
    run = rivals.rival(given, "pheme", name, **changes)
    return dataclasses.replace(run, detector=dataclasses.replace(run.detector, word2vec=words))


def source(run: cfg.RunConfig, corpus: Any) -> inputs.Source:
    return inputs.Source(run, corpus, cfg.resolve("paper", train="none"))


@pytest.fixture
def pheme_posts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The fixture's threads as a corpus, split by event, with image rows made up."""
    corpus = pheme.read(published.pheme(tmp_path), "keep")
    split = corpus.posts["event"].map({"charliehebdo": "train", "ferguson": "dev"})
    rows = torch.randn(len(corpus.posts), N, D), torch.arange(len(corpus.posts))
    monkeypatch.setattr(detector_runs.dmfl_inputs, "image_rows", lambda *_: rows)
    return dataclasses.replace(corpus, posts=corpus.posts.assign(split=split))


def test_mfan_trains_on_the_graph_of_threads(pheme_posts: Any) -> None:
    config = small_run("mfan", graph=True, d_model=12, n_heads=2, d_head=4)
    assert config.variant == "default"
    made = detector_runs.on_posts(source(config, pheme_posts))
    n = len(pheme_posts.posts)
    assert len(made.model.nodes) == 3 * n + 1
    assert made.model.neighbours.shape[0] == n and (made.model.neighbours[:, 0] == torch.arange(n)).all()
    batch = made.tensors.batch(torch.arange(n))
    made.model.training_loss(batch)["loss"].backward()
    assert made.model.social.node.weight.grad.abs().sum() > 0
    made.model.eval()
    before = made.model.prob_rumor(batch)
    made.model.nodes += torch.randn(made.model.nodes.shape, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(before, made.model.prob_rumor(batch)), "the conversation is read"


def test_an_adversary_needs_two_train_events(pheme_posts: Any) -> None:
    model, tensors, _ = detector_runs.on_posts(source(small_run("eann"), pheme_posts))
    with pytest.raises(ValueError, match="two train events"):
        model.training_loss(tensors.batch(torch.arange(2)))
    model, tensors, _ = detector_runs.on_posts(source(small_run("eann", adversary=False), pheme_posts))
    assert set(model.training_loss(tensors.batch(torch.arange(2)))) == {"loss"}


def test_events_of_dev_posts_are_not_learnt(pheme_posts: Any) -> None:
    posts_ = pheme_posts.posts.copy()
    posts_.loc[posts_.index[0], "split"] = "train"
    event = ["a", "b", "c", "d"][: len(posts_)]
    corpus = dataclasses.replace(pheme_posts, posts=posts_.assign(event=event))
    made = detector_runs.on_posts(source(small_run("eann"), corpus))
    train = torch.tensor((posts_["split"] == "train").to_numpy())
    assert torch.equal(made.model.events >= 0, train)


def test_one_image_vector_is_the_mean_of_its_rows(pheme_posts: Any) -> None:
    read = detector_runs.words(source(small_run("eann"), pheme_posts), one_vector=True)
    rows = detector_runs.words(source(small_run("safe"), pheme_posts))
    assert torch.allclose(read.tensors.images, rows.tensors.images.mean(dim=1, keepdim=True), atol=1e-6)
