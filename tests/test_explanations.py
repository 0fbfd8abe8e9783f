"""The scores of explanations: the exact effect itself scores best, a blind one what chance gives."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from rumorlib import config, experiments
from rumorlib import config as cfg
from rumorlib.config import DMFLConfig, Word2VecConfig
from rumorlib.config.profiles import SIZES
from rumorlib.data.batches import Batch
from rumorlib.data.drawn_scenes import drawn
from rumorlib.data.drawn_scenes.claims import DrawnConfig
from rumorlib.encoders.vision import patch_boxes
from rumorlib.encoders.vocabulary import CLS, SEP
from rumorlib.models.dmfl import DMFL
from rumorlib.results import Report
from rumorlib.studies.explanations import explanations, interventions, looking
from rumorlib.studies.explanations import word_explanations as words
from rumorlib.studies.scores import verdicts

SMALL = DrawnConfig(n_caption_scenes=10, n_train=20, n_dev=60, n_test=4, n_unseen=2, n_pairs=2, n_undetectable=4,
                    n_fingerprint=4)  # fmt: skip


@pytest.fixture(scope="module")
def posed() -> interventions.ScenePosts:
    known, table = drawn.scenes_of(SMALL), drawn.load("en", config=SMALL).posts
    part = table[table["split"] == "dev"].reset_index(drop=True)
    return interventions.of_scenes(part, torch.arange(len(part)), [known[key] for key in part["image"]])


@pytest.fixture(scope="module")
def effects(posed: interventions.ScenePosts) -> np.ndarray:
    random = np.random.default_rng(0)
    return np.where(posed.present, random.normal(size=posed.present.shape), np.nan)


@pytest.fixture(scope="module")
def touches(posed: interventions.ScenePosts) -> np.ndarray:
    return interventions.touches(posed.boxes, patch_boxes(SIZES["demo"].vision)[0].numpy())


def test_rank_correlation_is_scipys_and_passes_over_absent_objects() -> None:
    random = np.random.default_rng(1)
    a, b = random.integers(0, 4, (40, 6)).astype(float), random.normal(size=(40, 6))
    a[3], b[::2, 5] = 1.0, np.nan
    found = explanations.rank_correlation(a, b)
    for i in range(len(a)):
        there = ~np.isnan(b[i])
        expected = 0.0 if len(set(a[i, there])) < 2 else spearmanr(a[i, there], b[i, there]).statistic
        assert found[i] == pytest.approx(expected)


def test_the_exact_effect_explains_itself(effects: np.ndarray, touches: np.ndarray) -> None:
    ideal = np.where(touches, np.nan_to_num(np.abs(effects))[:, :, None], 0).max(1)
    found = explanations.score_patches(ideal, effects, touches)
    np.testing.assert_allclose(found["rank"], 1)
    np.testing.assert_allclose(found["pointing"], 1)


def test_a_blind_explanation_gets_what_chance_gives(effects: np.ndarray, touches: np.ndarray) -> None:
    constant = explanations.score_patches(np.zeros(touches[:, 0].shape), effects, touches)
    np.testing.assert_allclose(constant["rank"], 0)
    np.testing.assert_allclose(constant["pointing"], constant["chance"])
    random = np.random.default_rng(2)
    scores = [explanations.score_patches(random.random(touches[:, 0].shape), effects, touches) for _ in range(100)]
    assert abs(np.mean([s["rank"].mean() for s in scores])) < 0.03
    assert np.mean([s["pointing"].mean() for s in scores]) == pytest.approx(constant["chance"].mean(), abs=0.02)


def test_wrong_shapes_are_refused(effects: np.ndarray, touches: np.ndarray) -> None:
    with pytest.raises(ValueError, match="disagree"):
        explanations.score_patches(np.zeros((len(effects), 35)), effects, touches)


def test_deleting_an_object_changes_the_logit_by_its_effect(
    posed: interventions.ScenePosts, touches: np.ndarray
) -> None:
    """Patches of one object away = the object away, for a model of the pixels."""

    def darkness(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return images.float().mean((1, 2, 3))

    chosen = touches[:, 0]  # of each scene's first object; another may stand in the same patch? no: places differ
    moved = explanations.deletion(posed, chosen, darkness, darkness(posed.images, torch.arange(len(chosen))))
    exact = np.abs(interventions.object_effects(darkness, posed)[:, 0])
    np.testing.assert_allclose(moved, exact, atol=1e-3)
    assert (exact > 0.01).mean() > 0.8


def test_top_patches_are_k_of_the_highest() -> None:
    scores = np.array([[0.1, 0.9, 0.9, 0.2], [0.0, 0.0, 0.0, 0.0]])
    assert explanations.top_patches(scores, 2).tolist() == [[False, True, True, False], [True, True, False, False]]


# --- words ----------------------------------------------------------------------------------------


def test_a_word_table_scores_the_exact_effect_best() -> None:
    effects = np.random.default_rng(0).random((50, 5))
    run = experiments.micc(config.resolve("demo"), "demo-en")
    blind = np.random.default_rng(1).random((50, 5))
    one = words.ExplainedWords(run, effects, {("trained", "itself"): effects, ("trained", "blind"): blind})
    table = words.word_table([one]).set_index("explanation")
    assert table.loc["itself", "rank"] == pytest.approx(1) and table.loc["itself", "pointing"] == 1
    assert table.loc["itself", "effect_of_top"] == pytest.approx(table.loc["itself", "effect_best"])
    assert table.loc["blind", "rank_low"] < 0 < table.loc["blind", "rank_high"]
    kinds = words.word_effect_table([one])
    assert kinds["most_effective"].sum() == pytest.approx(1) and len(kinds) == 5


def test_words_are_compared_in_english() -> None:
    settings = config.resolve("demo")
    with pytest.raises(ValueError, match="English"):
        words.explain(SimpleNamespace(config=experiments.micc(settings, "demo-zh")), settings)


# --- DMFL's maps against exact effects: the plumbing on a model whose effects are known.


L, N, D = 7, 4, 10
TINY = DMFLConfig(
    word2vec=Word2VecConfig(d_word=8, max_length=L), d_model=12, n_heads=2, logic_width=12, logic_depth=1, logic_heads=3
)


def batch(n: int) -> Batch:
    ids = torch.tensor([[CLS, 5 + i, 6, 7, SEP] for i in range(n)])
    images = torch.randn(n, N, D, generator=torch.Generator().manual_seed(1))
    return Batch(**dict.fromkeys(Batch._fields) | {
        "text_ids": ids, "text_mask": ids > 0, "images": images, "label": torch.zeros(n), "weight": torch.ones(n),
        "row": torch.arange(n),
    })  # fmt: skip


def test_each_picture_is_read_with_its_own_text() -> None:
    torch.manual_seed(0)
    model, posts = DMFL(TINY, torch.randn(30, 8), d_image=D).eval(), batch(6)
    post = torch.tensor([3, 0, 3, 5])
    found = looking.logit(model, posts, posts.images[post], post)
    with torch.no_grad():
        one_by_one = model(posts).logits
    assert torch.allclose(found, (one_by_one[:, 1] - one_by_one[:, 0])[post], atol=1e-5)


def test_a_map_of_the_effects_scores_highest_and_says_so() -> None:
    config = experiments.map_runs(cfg.resolve(train="none"))[0]
    effects = np.array([[0.1, -2.0, 0.5], [1.0, 0.2, np.nan]])
    touches = np.zeros((2, 3, N), bool)
    touches[:, [0, 1, 2], [0, 1, 2]] = True
    touches[1, 2] = False
    right = np.array([[0.1, 2.0, 0.5, 0], [1.0, 0.2, 0, 0]])
    report = Report(config, {"dev": {"accuracy": 0.9}}, folder=None)
    line = {"map": "logic", "mass": 0.4, "low": 0.35, "high": 0.45, "chance": 0.05, "other_words": 0.1}
    scores = {"logic, the claim's words": right, "wrong": -right}
    made = looking.Looked(report, effects, touches, scores, pd.DataFrame([line]))
    frame = looking.table([made]).set_index("explanation").rename({"logic, the claim's words": "right"})
    assert (frame.loc["right", "rank"], frame.loc["right", "pointing"]) == (1, 1)
    assert (frame.loc["wrong", "rank"], frame.loc["wrong", "pointing"]) == (-1, 0)
    assert frame["pointing_chance"].tolist() == [1 / N, 1 / N] and set(frame["dev_accuracy"]) == {0.9}
    said = looking.claims([made])
    assert list(said) == verdicts.COLUMNS and said["ours"].tolist() == [0.4, 1.0]
    assert said["verdict"].tolist() == ["reproduced", "reproduced"]
    assert "3000 train posts" in said["corpus"].iloc[0] and "dev accuracy 0.900" in said["why"].iloc[0]


def test_only_drawn_scenes_are_asked() -> None:
    for profile in cfg.PROFILES:
        plans = experiments.asked_runs(cfg.resolve(profile, train="none"))
        assert bool(plans) == (profile == "demo")
        assert looking.table([]).empty and looking.claims([]).empty
    assert {c.n_train for c in experiments.asked_runs(cfg.resolve(train="none", grid="full"))} >= {None, 12_000}
