"""Calibration: Brier's identity, reliability against what sampling alone shows, thresholds from dev."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from rumorlib import config as cfg
from rumorlib.figures import waterfalls
from rumorlib.metrics import evaluation
from rumorlib.studies.protocol import believable, calibration

POSTS = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1).map(lambda p: round(p, 3))), min_size=1, max_size=60)


def frame(n: int = 3000, slope: float = 1.0, seed: int = 0, group: int = 1) -> pd.DataFrame:
    """Probabilities that are `slope` times too sure; `group` posts share a picture and its label."""
    random = np.random.default_rng(seed)
    logit = np.repeat(random.normal(0, 1, n // group), group)
    label = np.repeat(random.random(n // group), group) < 1 / (1 + np.exp(-logit))
    prob = 1 / (1 + np.exp(-slope * logit))
    groups = np.repeat(np.arange(n // group), group).astype(str)
    return pd.DataFrame({"label": label.astype(int), "prob_rumor": prob, "image_group": groups})


@given(POSTS)
def test_the_parts_add_up_to_briers_score(posts: list[tuple[int, float]]) -> None:
    label, prob = (np.array(column) for column in zip(*posts, strict=True))
    parts = calibration.brier_parts(label, prob)
    assert parts["brier"] == pytest.approx(brier_score_loss(label, prob, labels=[0, 1], pos_label=1))
    assert parts["brier"] == pytest.approx(parts["reliability"] - parts["resolution"] + parts["uncertainty"], abs=1e-12)
    assert parts["reliability"] >= -1e-12 and parts["resolution"] >= -1e-12


def test_parts_of_known_forecasts() -> None:
    label = np.array([0, 1, 1, 1])
    constant = calibration.brier_parts(label, np.full(4, 0.75))
    assert constant == pytest.approx({"brier": 0.1875, "reliability": 0, "resolution": 0, "uncertainty": 0.1875})
    perfect = calibration.brier_parts(label, label.astype(float))
    assert perfect["reliability"] == 0 and perfect["resolution"] == perfect["uncertainty"]


def test_weights_count_like_copies() -> None:
    label, prob = np.array([0, 1, 1]), np.array([0.2, 0.4, 0.9])
    copied = calibration.brier_parts(np.array([0, 1, 1, 1]), np.array([0.2, 0.4, 0.9, 0.9]))
    assert calibration.brier_parts(label, prob, [1, 1, 2]) == pytest.approx(copied)


def test_a_calibrated_model_stays_near_the_floor_and_a_bold_one_does_not() -> None:
    inside = [calibration.summary(frame(600, seed=seed), None) for seed in range(20)]
    assert sum(found["ece"] <= found["ece_floor"] for found in inside) >= 16, "about 19 of 20"
    bold = calibration.summary(frame(600, slope=3.0), None)
    assert bold["ece"] > bold["ece_floor"] and bold["reliability"] > bold["reliability_floor"]
    curve = calibration.reliability_curve(frame(slope=3.0), None)
    assert curve["n"].sum() == 3000 and not curve["within"].all()


def test_the_floor_rises_when_posts_share_pictures() -> None:
    posts = frame(600, group=20)
    alone, shared = (calibration.summary(posts, clusters)["ece_floor"] for clusters in (None, "image_group"))
    assert shared > 2 * alone
    label, prob = posts["label"].to_numpy(), posts["prob_rumor"].to_numpy()
    labels = calibration.perfect_labels(np.repeat(label[::20], 20), prob, np.repeat(np.arange(30), 20), n=50)
    assert (labels.reshape(50, 30, 20).std(2) == 0).all(), "one picture, one label"


def pairs(n: int, random: np.random.Generator) -> pd.DataFrame:
    """A calibrated model of n pictures at two captions each, one of each label."""
    prob = random.beta(1, 1, n)
    first = random.random(n) < prob
    return pd.DataFrame({"label": np.stack([first, ~first], 1).ravel().astype(int),
                         "prob_rumor": np.stack([prob, 1 - prob], 1).ravel(),
                         "image_group": np.repeat(np.arange(n), 2).astype(str)})  # fmt: skip


def test_the_posts_of_a_picture_with_both_labels_meet_one_of_each() -> None:
    """A photograph stands at its own caption and at another's: what is drawn for one is drawn for the other."""
    posts = pairs(200, np.random.default_rng(0))
    label, prob = posts["label"].to_numpy(), posts["prob_rumor"].to_numpy()
    labels = calibration.perfect_labels(label, prob, np.repeat(np.arange(200), 2), n=2000)
    assert (labels.reshape(2000, 200, 2).sum(2) == 1).all()
    assert labels.mean(0) == pytest.approx(prob, abs=0.05), "each post meets its own probability"


def test_a_calibrated_model_of_pictures_with_both_labels_is_seldom_above_the_floor() -> None:
    above = []
    for k in range(60):
        posts = pairs(20, np.random.default_rng([1, k]))
        label, prob = posts["label"].to_numpy(), posts["prob_rumor"].to_numpy()
        perfect = calibration.perfect_labels(label, prob, np.repeat(np.arange(20), 2), n=100)
        floor = np.quantile([calibration.expected_calibration_error(row, prob) for row in perfect], 0.95)
        above.append(calibration.expected_calibration_error(label, prob) > floor)
    assert np.mean(above) < 0.1, "1 in 20; post by post the floor is too low"


@given(POSTS)
def test_no_threshold_is_better_on_dev(posts: list[tuple[int, float]]) -> None:
    label, prob = (np.array(column) for column in zip(*posts, strict=True))
    best = calibration.dev_threshold(label, prob)
    accuracy = ((prob >= best) == label).mean()
    tried = [((prob >= cut) == label).mean() for cut in [*prob, -1.0, 2.0]]
    assert accuracy == pytest.approx(max(tried))
    if ((prob >= 0.5) == label).mean() == pytest.approx(max(tried)):
        assert ((prob >= best) == (prob >= 0.5)).all(), "one half wins a tie"


@given(POSTS)
def test_nor_is_one_on_log_odds(posts: list[tuple[int, float]]) -> None:
    label, prob = (np.array(column) for column in zip(*posts, strict=True))
    said = 80 + np.round(200 * (prob - 0.3), 2)  # float64 calls most of them 1
    best = calibration.dev_threshold(label, evaluation.prob_of(said), said)
    accuracy = ((said >= best) == label).mean()
    tried = [((said >= cut) == label).mean() for cut in [*said, -1e3, 1e3]]
    assert accuracy == pytest.approx(max(tried))
    if ((said >= 0) == label).mean() == pytest.approx(max(tried)):
        assert ((said >= best) == (said >= 0)).all(), "even odds win a tie"


def test_a_sure_models_threshold_and_reliability_are_of_what_it_said() -> None:
    said = pd.Series([45.0, 46.0, 48.0, 49.0])
    dev = pd.DataFrame({"label": [0, 0, 1, 1], "log_odds": said, "prob_rumor": evaluation.prob_of(said), "seed": 0})
    test = dev.assign(log_odds=said + 0.5)
    assert calibration.dev_threshold(dev["label"], dev["prob_rumor"], said) == pytest.approx(47)
    assert calibration.accuracy_at_dev_threshold(dev, test) == 1
    assert calibration.accuracy_at_dev_threshold(dev.drop(columns="log_odds"), test.drop(columns="log_odds")) == 0.5
    assert "log_odds" not in calibration.at_dev_threshold(dev, test), "0 and 1 are no probabilities with log-odds"
    found = calibration.summary(dev, None)
    assert found["resolution"] == pytest.approx(found["uncertainty"]), "recalibrated, it would know everything"


def test_the_threshold_comes_from_dev_alone() -> None:
    dev = pd.DataFrame({"label": [0, 0, 1, 1], "prob_rumor": [0.1, 0.6, 0.7, 0.9], "seed": 0})
    test = pd.DataFrame({"label": [0, 1, 1], "prob_rumor": [0.62, 0.68, 0.2], "seed": 0})
    assert calibration.dev_threshold(dev["label"], dev["prob_rumor"]) == pytest.approx(0.65)
    assert calibration.accuracy_at_dev_threshold(dev, test) == pytest.approx(2 / 3)


# --- Notebook 09: calibration per model from stored predictions, and its figures.


matplotlib.use("agg")


def report(seed: int) -> SimpleNamespace:
    random = np.random.default_rng(seed)
    label = np.tile([0, 1], 60)
    frame = pd.DataFrame({
        "post_id": [f"p{i:03d}" for i in range(120)], "label": label, "split": ["dev"] * 40 + ["test"] * 80,
        "prob_rumor": np.clip(0.3 * label + 0.7 * random.random(120), 0, 1), "image_group": "",
    })  # fmt: skip
    config = cfg.RunConfig("micc", "demo-en", seed=seed, detector=cfg.MICCConfig())
    return SimpleNamespace(config=config, name=config.path.as_posix(), facts={}, predictions=lambda: frame)


def test_calibration_is_the_mean_over_seeds_on_test() -> None:
    reports = [report(0), report(1)]
    (row,) = believable.calibration_table(reports).to_dict("records")
    tests = [r.predictions()[lambda f: f["split"] == "test"] for r in reports]
    eces = [calibration.expected_calibration_error(t["label"], t["prob_rumor"]) for t in tests]
    assert row["ece"] == pytest.approx(np.mean(eces)) and row["n_seeds"] == 2
    assert row["within_floor"] == (row["ece"] <= row["ece_floor"])
    curve = believable.reliability_frame(reports)
    assert curve["n"].sum() == 80, "the first seed alone"
    assert len(waterfalls.reliability(curve).axes) == 1


def test_a_waterfall_draws_each_gain() -> None:
    frame = pd.DataFrame({"dataset": "a", "step": ["honest", "random posts", "seed on test"],
                          "accuracy": [0.6, 0.8, 0.85], "low": [0.5, 0.7, 0.8], "high": [0.7, 0.9, 0.9],
                          "majority": [0.55, 0.5, 0.5]})  # fmt: skip
    (axes,) = waterfalls.waterfall(frame).axes
    assert [line[0][0] for line in axes.collections[1].get_segments()] == [0.55, 0.5, 0.5], "dashed: the majority"
    told = [text.get_text().strip() for text in axes.texts]
    assert told == ["0.600", "+20.0", "+5.0"]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == pytest.approx([0, 0.2, 0.05])


def test_doses_draw_a_line_per_leak() -> None:
    frame = pd.DataFrame({"dataset": "a", "leak": ["x", "x", "y", "y"], "dose": [0, 1, 0, 1],
                          "accuracy": [0.5, 0.9, 0.5, 0.6], "low": 0.4, "high": 0.95})  # fmt: skip
    (axes,) = waterfalls.dose_response(frame).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0.5, 0.9], [0.5, 0.6]]
    with pytest.raises(ValueError, match="lacks the column"):
        waterfalls.dose_response(frame.drop(columns="dose"))
