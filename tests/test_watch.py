"""What a DMFL run keeps: statistics of maps whose answer is known, controls, and the words that point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from rumorlib import config as cfg
from rumorlib import experiments, inputs
from rumorlib.config import DMFLConfig, Word2VecConfig
from rumorlib.data.batches import Batch, PostTensors, Texts
from rumorlib.encoders.vocabulary import CLS, PAD, SEP
from rumorlib.models.dmfl import DMFL
from rumorlib.training import evidence, watch

L, N, D = 9, 6, 10
TINY = DMFLConfig(
    word2vec=Word2VecConfig(d_word=8, max_length=L), d_model=12, n_heads=2, logic_width=12, logic_depth=1, logic_heads=3
)


def batch(same_image: bool = False, n: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(3)
    ids = torch.full((n, L), PAD)
    for i in range(n):
        words = torch.randint(4, 30, (2 + i % (L - 4),), generator=generator).tolist()
        ids[i, : len(words) + 2] = torch.tensor([CLS, *words, SEP])
    images = torch.randn(1 if same_image else n, N, D, generator=generator).expand(n, N, D)
    return Batch(ids, ids != PAD, None, images, torch.zeros(n), torch.ones(n), torch.arange(n))


def build(config: DMFLConfig = TINY) -> DMFL:
    torch.manual_seed(0)
    return DMFL(config, torch.randn(30, 8), d_image=D, n_patches=N).eval()


# --- statistics -----------------------------------------------------------------------------------


def sharpened(*factors: float) -> dict[int, watch.Maps]:
    """Maps of two posts over the epochs 1, 2, …: the same scores, ever larger."""
    scores = [np.random.default_rng(post).normal(size=(9, 6)) for post in range(2)]
    exp = {epoch: [np.exp(f * s) for s in scores] for epoch, f in enumerate(factors, 1)}
    return {epoch: [g / g.sum(1, keepdims=True) for g in grids] for epoch, grids in exp.items()}


def test_statistics_follow_the_sharpness() -> None:
    maps = sharpened(1e-4, 1.0, 1.0, 4.0)
    frame = watch.map_statistics(maps, maps).groupby("epoch").mean()
    assert (
        frame.loc[1, "entropy"] == pytest.approx(1, abs=1e-6) and frame.loc[1, "dark_cells"] == 0
    )  # even: noise is not dark
    assert frame.loc[4, "entropy"] < frame.loc[2, "entropy"] < 1 and frame.loc[4, "dark_share"] > 0
    assert frame.loc[3, "iou_previous"] == 1 and frame.loc[3, "moved_previous"] == 0
    assert frame[["iou_first", "dark_shift"]].loc[1].isna().all()  # nothing was dark, so there is no place
    assert (frame["moved_by_image"] == 0).all()
    assert set(frame["n_words"]) == {6}


def test_the_first_trained_epoch_is_the_yardstick_although_the_untrained_is_kept() -> None:
    maps = sharpened(1.0, 2.0)
    maps[0] = sharpened(3.0)[1]
    frame = watch.map_statistics(maps, maps)
    assert (frame.loc[frame["epoch"] == 1, ["iou_first", "dark_shift"]] == [1, 0]).all(axis=None)
    assert (frame.loc[frame["epoch"] == 0, "moved_first"] > 0).all()


def test_entropy_overlap_moved_and_shift() -> None:
    assert watch.entropy(np.full((2, 5), 0.2)) == pytest.approx(1)
    assert watch.entropy(np.eye(3)) == pytest.approx(0, abs=1e-9)
    assert np.isnan(watch.entropy(np.ones((3, 1))))  # one key: every weight is 1 by construction
    mask, other = np.array([[True, True, False]]), np.array([[False, True, True]])
    assert watch.overlap(mask, other) == pytest.approx(1 / 3)
    assert np.isnan(watch.overlap(mask & False, other & False))
    assert watch.moved(np.eye(3), np.eye(3)) == 0 and watch.moved(np.eye(3), np.roll(np.eye(3), 1, 0)) == 1
    assert watch.shift(mask, other) == pytest.approx(1 / 3) and np.isnan(watch.shift(mask & False, other))


# --- maps of a model --------------------------------------------------------------------------------


@pytest.mark.parametrize("swap", [False, True])
def test_weights_sum_to_one_over_the_words_and_padding_has_none(swap: bool) -> None:
    posts = batch()
    maps = watch.eq12(build(replace(TINY, swap_query=swap)), posts)
    n_words = (posts.text_mask.sum(1) - 2).tolist()
    assert [grid.shape for grid in maps] == [(N, n) for n in n_words]
    sums = [grid.sum(0 if swap else 1) for grid in maps]  # swapped, the words ask and the patches share
    assert all(part == pytest.approx(1, abs=1e-5) for part in sums)


def test_the_shuffled_control_changes_nothing_where_all_images_are_one() -> None:
    model, one, many = build(), batch(same_image=True), batch()
    for posts, changes in ((one, False), (many, True)):
        own, other = watch.eq12(model, posts), watch.eq12(model, watch.with_other_images(posts))
        moved = watch.map_statistics({1: own}, {1: other})["moved_by_image"]
        assert (moved > 1e-6).all() if changes else (moved == 0).all()


def test_dev_accuracy_counts_dev_posts_alone() -> None:
    model, posts = build(), batch()
    right = (model.eval().log_odds(posts) >= 0) == (posts.label > 0.5)
    split = np.where(np.arange(8) % 3 == 0, "dev", "train")
    tensors = PostTensors(
        Texts(posts.text_ids, posts.text_mask), posts.images, torch.arange(8), posts.label, posts.weight
    )
    found = watch.dev_accuracy(model, tensors, pd.DataFrame({"split": split}))
    assert found == pytest.approx(float(right[split == "dev"].double().mean()))


def test_every_weight_is_of_one_part_and_moves_as_far_as_it_is_moved() -> None:
    model = build()
    start = watch.weights_of(model)
    assert sum(map(len, start.values())) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert set(start) == set(watch.PARTS) and (watch.moved_weights(model, start)["moved"] == 0).all()
    with torch.no_grad():
        for parameter in model.attention["text_image"].attention.parameters():
            parameter.mul_(1.5)
    moved = watch.moved_weights(model, start).set_index("part")["moved"]
    assert moved["Eq 12, queries and keys"] == pytest.approx(0.5) and 0 < moved["Eq 12, the rest"] < 0.5
    assert (moved.drop(["Eq 12, queries and keys", "Eq 12, the rest"]) == 0).all()


def test_words_look_at_patches_with_one_unit_each() -> None:
    model, posts = build(), batch()
    for scores in (evidence.word_to_patch(model, posts), evidence.word_to_patch(model, posts, posts.text_ids > 15)):
        asking = (scores["swapped"].sum(1) > 0).numpy()
        assert set(scores) == {"swapped", "logic"} and scores["swapped"].shape == scores["logic"].shape == (8, N)
        for weights in scores.values():
            assert weights[asking].sum(1).numpy() == pytest.approx(1, abs=1e-5)
            assert (weights[~asking] == 0).all()  # no such word: nobody asks
    nobody = evidence.word_to_patch(model, posts, (posts.text_ids == CLS) | (posts.text_ids == SEP))
    assert all((weights == 0).all() for weights in nobody.values())
    only_chain = evidence.word_to_patch(build(replace(TINY, parts="logic_only", alignment="none")), posts)
    assert set(only_chain) == {"logic"}


def test_a_box_covers_patches_by_area() -> None:
    patches = np.array([[0, 0, 4, 4], [4, 0, 8, 4], [0, 4, 4, 8], [4, 4, 8, 8]], float)
    cover, inside = watch.on_box(np.array([[0, 0, 4, 4], [2, 0, 6, 4], [0, 0, 8, 8]], float), patches)
    assert cover.tolist() == [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [1, 1, 1, 1]]
    assert inside.tolist() == [[True, False, False, False], [True, False, False, False], [True] * 4]
    even = np.full(4, 1 / 4)
    assert cover @ even == pytest.approx([1 / 4, 1 / 4, 1])  # what even attention scores is the box's share of the area


# --- drawn posts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_claims_words_are_found_in_the_text(language: str) -> None:
    given = cfg.resolve(train="none")
    config = experiments.dmfl(given, f"demo-{language}")
    posts = inputs.corpus(f"demo-{language}", given).posts[:200]
    mask = watch.claim_mask(posts, config, config.detector.word2vec.max_length + 2)
    assert not mask[:, 0].any()  # [CLS]
    assert set(mask.sum(1).tolist()) <= {1, 2}  # shape and colour, one token where they were joined
    assert (mask.sum(1) == 2).float().mean() > 0.9


def test_both_languages_show_the_same_pictures() -> None:
    given = cfg.resolve(train="none")
    tables = [inputs.corpus(name, given).posts for name in ("demo-en", "demo-zh")]
    shown = [posts["image"].iloc[watch.fixed_batch(posts).numpy()].tolist() for posts in tables]
    assert shown[0] == shown[1] and len(set(shown[0])) == watch.N_BATCH
