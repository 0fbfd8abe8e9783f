"""The two sides of Eq 17: each measure on clouds whose answer is known, collapse among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from rumorlib.config import DMFLConfig, Word2VecConfig
from rumorlib.data.batches import Batch
from rumorlib.encoders.vocabulary import CLS, PAD, SEP
from rumorlib.metrics import modalities
from rumorlib.models.dmfl import DMFL

RANDOM = np.random.default_rng(0)
CLOUD = RANDOM.normal(size=(60, 8))
L, N, D = 9, 6, 10
TINY = DMFLConfig(
    word2vec=Word2VecConfig(d_word=8, max_length=L), d_model=12, n_heads=2, logic_width=12, logic_depth=1, logic_heads=3
)


def batch(n: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(3)
    ids = torch.full((n, L), PAD)
    for i in range(n):
        words = torch.randint(4, 30, (1 + i % (L - 3),), generator=generator).tolist()
        ids[i, : len(words) + 2] = torch.tensor([CLS, *words, SEP])
    images = torch.randn(n, N, D, generator=generator)
    return Batch(ids, ids != PAD, None, images, torch.zeros(n), torch.ones(n), torch.arange(n))


def build(config: DMFLConfig) -> DMFL:
    torch.manual_seed(0)
    return DMFL(config, torch.randn(30, 8), d_image=D, n_patches=N)


def test_equal_sides_are_matched_and_have_no_gap() -> None:
    found = modalities.measure(CLOUD, CLOUD)
    assert found["matched"] == 0 and found["ratio"] == 0 and found["rank"] == 0 and found["recall_at_1"] == 1
    assert found["cka"] == pytest.approx(1) and found["centroid"] == 0
    assert found["modality_accuracy"] == pytest.approx(0.5, abs=0.15)  # two equal clouds cannot be told apart


def test_independent_sides_are_no_nearer_than_chance() -> None:
    found = modalities.measure(CLOUD, RANDOM.normal(size=CLOUD.shape))
    assert found["ratio_low"] < 1 < found["ratio_high"] and found["rank_low"] < 0.5 < found["rank_high"]
    assert found["cka"] == pytest.approx(found["cka_shuffled"], abs=0.1)


def test_a_shift_is_a_gap_although_the_sides_agree() -> None:
    found = modalities.measure(CLOUD, CLOUD + 5)
    assert found["cka"] == pytest.approx(1) and found["rank_centred"] == 0  # the same geometry, elsewhere,
    assert found["rank"] > 0.2  # where the texts on the near side are near to everyone
    assert found["centroid_low"] < found["centroid"] < found["centroid_high"] and found["centroid"] > 3
    assert found["modality_accuracy"] == 1
    scaled = modalities.measure(10 * CLOUD, 10 * (CLOUD + 5))
    assert scaled["centroid"] == pytest.approx(found["centroid"]) and scaled["ratio"] == pytest.approx(found["ratio"])


@pytest.mark.parametrize("scale", [1e-4, 0.0])
def test_collapsed_heads_have_a_tiny_loss_and_know_nothing(scale: float) -> None:
    """W_t = W_i = 0 minimises Eq 17; the loss says success, pairs against shuffled pairs say none."""
    other = RANDOM.normal(size=CLOUD.shape)
    before, after = modalities.measure(CLOUD, other), modalities.measure(scale * CLOUD, scale * other)
    assert after["matched"] < 1e-6 * before["matched"]
    assert not after["ratio_high"] < 1 and after["rank"] == pytest.approx(before["rank"] if scale else 0.5)
    assert after["variance_text"] <= 1e-6 and (after["dimensions_text"] == 0) == (scale == 0)
    assert np.isnan(after["centroid"]) == (scale == 0)


def test_dimensions_count_directions() -> None:
    line = np.outer(RANDOM.normal(size=60), np.ones(8))
    assert modalities.measure(line, CLOUD)["dimensions_text"] == pytest.approx(1)
    assert 4 < modalities.measure(line, CLOUD)["dimensions_image"] <= 8


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        modalities.measure(CLOUD, CLOUD[:, :4])
    with pytest.raises(ValueError, match="n >= "):
        modalities.measure(CLOUD[:5], CLOUD[:5])


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("alignment", ["forward", "side", "none"])
@pytest.mark.parametrize("granularity", ["token", "pooled"])
def test_the_sides_are_those_of_the_loss(alignment: str, share: bool, granularity: str) -> None:
    """Mean squared distance of the aligned sides is the alignment loss the model reports."""
    config = replace(TINY, alignment=alignment, share_attention=share, granularity=granularity)
    model, posts = build(config), batch()
    found = modalities.sides(model, [posts])
    assert set(found) == ({"attended"} if alignment == "none" else {"attended", "aligned"})
    assert found["attended"][0].shape == found["attended"][1].shape == (8, config.d_model)
    if alignment != "none":
        text, image = found["aligned"]
        with torch.no_grad():
            stated = model(posts).alignment_loss.double().numpy()
        assert np.square(text - image).mean(1) == pytest.approx(stated, rel=1e-4)
    halves = [posts._replace(**{n: p[part] for n, p in posts._asdict().items() if p is not None})
              for part in (slice(0, 4), slice(4, 8))]  # fmt: skip
    assert modalities.sides(model, halves)["attended"][0] == pytest.approx(found["attended"][0], abs=1e-5)
    assert not model.attention["shared" if share else "text"]._forward_hooks  # none is left behind


def test_true_pairs_have_each_picture_once() -> None:
    posts = pd.DataFrame({
        "split": ["train", "dev", "dev", "dev", "dev", "dev"], "label": [0, 0, 1, 0, 0, 0],
        "image": ["a", "b", "c", "b", "", "c"],
    })  # fmt: skip
    assert modalities.true_pairs(posts).tolist() == [1, 5]
    many = pd.DataFrame({"split": "dev", "label": 0, "image": [str(i) for i in range(3000)]})
    rows = modalities.true_pairs(many)
    assert len(rows) == modalities.N_PAIRS and len(set(rows)) == len(rows) and rows[-1] == 2999
