"""Notebook 09: calibration per model from stored predictions, and its figures."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest

from rumorlib import config as cfg
from rumorlib.figures import waterfalls
from rumorlib.studies.protocol import believable, calibration

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
