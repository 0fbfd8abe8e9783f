"""What is read off heat maps and sides, on runs written by the test: each verdict where the answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.results import runs
from rumorlib.studies.explanations import maps, readings
from rumorlib.studies.scores import verdicts
from rumorlib.training import watch

DEMO = cfg.resolve(train="none", grid="full", seeds=[0])
N_POSTS, PATCHES, WORDS = 24, 9, 6
VERDICTS = {"reproduced", "not reproduced", "inconclusive", "untestable here"}


def finished(config: cfg.RunConfig, extras: dict[str, pd.DataFrame], best: int = 7) -> results.Report:
    """A run on disk whose dev accuracy is highest at epoch `best`; its dev loss is lowest at the first."""
    accuracy = 0.9 - 0.01 * (extras["attention_posts"]["epoch"] - best).abs()
    extras = extras | {"attention_posts": extras["attention_posts"].assign(dev_accuracy=accuracy)}
    epochs = range(1, (config.train.record_epochs or (3,))[-1] + 1)
    history = pd.DataFrame({"epoch": epochs, "dev_loss": [0.5 + 0.01 * epoch for epoch in epochs]})
    predictions = pd.DataFrame({"post_id": ["test-0"], "label": [1], "split": ["test"], "log_odds": [0.7]})
    outcome = SimpleNamespace(metrics={"test": {"accuracy": 0.75}}, history=history, predictions=predictions,
                              extras=extras, state=None, facts={"split_hash": "ab"})  # fmt: skip
    runs.write_run(results.run_folder(config), config, outcome, 1.0)
    return results.run_or_load(config, replace(DEMO, profile=config.profile))


def a_map(seed: int, n_dark: int, start: int = 0) -> np.ndarray:
    """Weights that are even but for `n_dark` dark rows from `start` on, where one word has nearly all."""
    weights = np.full((PATCHES, WORDS), 1.0) + 1e-3 * np.random.default_rng(seed).random((PATCHES, WORDS))
    weights[start : start + n_dark, 2] = 100
    return weights / weights.sum(1, keepdims=True)


def kept(n_dark: dict[int, int], start: dict[int, int] | None = None, image: bool = False) -> dict[str, pd.DataFrame]:
    """Extras of a run with so many dark rows per epoch; `image`: another image darkens other rows."""
    start = start or {}
    grids = {e: [a_map(p, n, start.get(e, 0)) for p in range(N_POSTS)] for e, n in n_dark.items()}
    other = {e: [a_map(p, n, 4 if image else start.get(e, 0)) for p in range(N_POSTS)] for e, n in n_dark.items()}
    patch, position = np.indices((PATCHES, WORDS))
    raw = [
        pd.DataFrame({"post": 0, "patch": patch.ravel(), "position": 1 + position.ravel(), "score": 0.0,
                      "weight": grid[0].ravel(), "epoch": epoch})
        for epoch, grid in grids.items() if epoch
    ]  # fmt: skip
    return {"attention": pd.concat(raw), "attention_posts": watch.map_statistics(grids, other)}


@pytest.fixture
def as_the_paper_says(output: Path) -> list[results.Report]:
    english, chinese = experiments.map_runs(DEMO)
    en = kept({0: 0, 1: 0, 5: 2, 7: 3, 10: 4}, image=True)
    zh = kept({0: 0, 1: 4, 5: 3, 9: 3, 20: 2}, {9: 5, 20: 5})
    pointed = pd.DataFrame({
        "map": ["swapped", "logic"] * 2, "n": 50, "mass": [0.05, 0.05, 0.05, 0.2], "low": [0.04, 0.04, 0.04, 0.15],
        "high": [0.06, 0.06, 0.06, 0.25], "chance": 0.05, "other_words": 0.05, "top": 0.1, "top_chance": 0.06,
        "epoch": [0, 0, 10, 10],
    })  # fmt: skip
    return [finished(english, en | {"word_pointing": pointed}), finished(chinese, zh, best=9)]


def test_english_maps_run_at_phemes_epochs_and_chinese_ones_at_weibos() -> None:
    for profile in cfg.PROFILES:
        given = cfg.resolve(profile, train="none", grid="full")
        at = {c.dataset: c.train.record_epochs for c in experiments.map_runs(given)}
        assert set(at) == set(given.datasets)
        for dataset, epochs in at.items():
            assert epochs == ((1, 5, 9, 20) if cfg.record(dataset).language == "zh" else (1, 5, 7, 10))


def test_statistics_and_pictures_come_from_the_stored_maps(as_the_paper_says: list[results.Report]) -> None:
    frame = maps.attention_statistics(as_the_paper_says).set_index(["dataset", "epoch"])
    assert frame.loc[("demo-en", 1), "entropy"] == pytest.approx(1, abs=1e-4)
    assert frame.loc[("demo-en", 10), "entropy"] < frame.loc[("demo-en", 5), "entropy"]
    assert np.isnan(frame.loc[("demo-en", 0), "dev_loss"]) and frame.loc[("demo-en", 7), "dev_loss"] == pytest.approx(
        0.57
    )
    assert set(frame["n_posts"]) == {N_POSTS}
    shown = maps.attention(as_the_paper_says, post=0)
    grids = maps.attention_grids(shown, as_the_paper_says)
    named = [f"epoch {epoch}, dev {value:.3f}" for epoch, value in ((1, 0.84), (5, 0.88), (7, 0.9), (10, 0.87))]
    assert list(grids["demo-en"]) == named and len(grids["demo-zh"]) == 4
    assert all(np.allclose(grid.sum(1), 1, atol=1e-3) for row in grids.values() for grid in row.values())


def test_maps_as_the_paper_describes_them_reproduce_its_readings(as_the_paper_says: list[results.Report]) -> None:
    frame = readings.claims(as_the_paper_says)
    assert list(frame) == verdicts.COLUMNS and set(frame["verdict"]) <= VERDICTS
    said = frame.set_index(["corpus", "claim"])["verdict"]
    of_paper = frame[frame["source"].str.contains("Fig")]
    wrong = of_paper[of_paper["verdict"] != "reproduced"]
    assert wrong.empty, wrong[["claim", "ours", "why"]]
    assert len(of_paper) == sum(len(lines) + 1 for lines in readings.READINGS.values())
    pair = "demo-en, demo-zh"
    assert said[pair, "early maps are light in English and have dark areas in Chinese"] == "reproduced"
    assert said["demo-en", "the map shows how the words fit this image"] == "reproduced"
    assert said["demo-zh", "the map shows how the words fit this image"] == "not reproduced"  # image changed nothing
    pointing = frame[frame["claim"].str.contains("claimed object")].set_index("quantity")["verdict"]
    assert pointing.tolist() == ["inconclusive", "reproduced"]


def test_maps_of_no_change_reproduce_nothing_that_needs_one(output: Path) -> None:
    english, chinese = experiments.map_runs(DEMO)
    even = {epoch: 0 for epoch in (0, 1, 5, 7, 9, 10, 20)}
    frame = readings.claims([finished(english, kept(even), best=1), finished(chinese, kept(even), best=20)])
    changes = frame[frame["quantity"].str.contains("minus|moves")]
    assert len(changes) > 5 and "reproduced" not in set(changes["verdict"])
    said = frame.set_index(["corpus", "claim"])["verdict"]
    assert said["demo-zh", "epoch 1: dark areas are there"] == "not reproduced"
    assert said["demo-en", "dev is best at epoch 7 and worse at epoch 10"] == "not reproduced"


@pytest.mark.parametrize(("accuracy", "verdict"), [
    ({1: 0.6, 5: 0.7, 7: 0.8, 10: 0.8}, "inconclusive"), ({1: 0.6, 5: 0.7, 7: 0.8, 10: 0.7}, "reproduced"),
    ({1: 0.9, 5: 0.7, 7: 0.8, 10: 0.7}, "not reproduced"), ({}, "untestable here"),
])  # fmt: skip
def test_the_trend_of_dev_is_judged_by_accuracy_and_a_tie_decides_nothing(
    monkeypatch: pytest.MonkeyPatch, as_the_paper_says: list[results.Report], accuracy: dict, verdict: str
) -> None:
    monkeypatch.setattr(maps, "dev_accuracy", lambda _: accuracy)
    frame = readings.claims(as_the_paper_says[:1]).set_index("claim")
    assert frame.loc["dev is best at epoch 7 and worse at epoch 10", "verdict"] == verdict


def test_real_posts_have_no_boxes(output: Path) -> None:
    given = cfg.resolve("laptop", ["photo-en"], train="none")
    report = finished(experiments.map_runs(given)[0], kept({0: 0, 1: 0, 5: 2, 7: 3, 10: 4}))
    assert maps.word_pointing([report]).empty
    line = readings.claims([report]).iloc[-1]
    assert (line["verdict"], line["why"]) == ("untestable here", "no truth boxes")
