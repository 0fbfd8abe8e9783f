"""Adaptive K: the runs differ in how patches are chosen and in nothing else; the table compares on the same posts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rumorlib import config, experiments
from rumorlib.results import Report
from rumorlib.studies.scores import adaptive

SETTINGS = config.resolve("demo", ["demo-en"], [0], grid="full")


def test_runs_differ_in_the_rule_alone() -> None:
    runs = experiments.adaptive_runs(SETTINGS)
    detectors = {dataclasses.replace(c.detector, top_k=2, controls=config.ControlConfig()) for c in runs}
    assert len(detectors) == 1 and len({c.path for c in runs}) == len(runs)
    names = [adaptive.rule(c) for c in runs if (c.dataset, c.seed) == ("demo-en", 0)]
    assert len(set(names)) == len(names) and {"fixed K = 2", "mass 0.5, K <= 8"} < set(names)


def test_only_drawn_scenes_have_a_known_clutter() -> None:
    assert experiments.adaptive_runs(config.resolve("laptop", train="none")) == []


class Stored(Report):
    """A report with predictions in memory."""

    def predictions(self) -> pd.DataFrame:
        return self.facts["predictions"].rename(columns={"post_id": "row_key"})

    def extra(self, name: str) -> pd.DataFrame:
        return pd.DataFrame({"clutter": ["all", "3", "6"], "n": [120, 60, 60], "kept": [1.5, 1.0, 2.0]})


def test_the_gain_is_of_the_same_posts_and_by_clutter() -> None:
    """A rule that is right on all crowded scenes, where fixed K always errs, gains 1 there and 0 elsewhere."""
    label = np.tile([0, 1], 60)
    clutter = np.repeat([3, 6], 60)
    frame = pd.DataFrame({"post_id": [f"p{i}" for i in range(120)], "split": "test", "label": label,
                          "clutter": clutter, "image_group": [f"i{i}" for i in range(120)]})  # fmt: skip
    prob = {"product": np.where(clutter == 6, 1 - label, label), "product-mass": label}
    runs = [c for c in experiments.adaptive_runs(SETTINGS) if c.variant in prob]
    reports = [Stored(c, {}, Path(), {"predictions": frame.assign(prob_rumor=prob[c.variant].astype(float))})
               for c in runs]  # fmt: skip
    table = adaptive.table(reports).set_index(["rule", "clutter"])
    rule = "mass 0.5, K <= 8"
    assert table.loc[(rule, "3"), "gain"] == 0 and table.loc[(rule, "6"), "gain"] == 1
    assert table.loc[(rule, "all"), "gain"] == pytest.approx(0.5)
    assert table.loc[(rule, "3"), "kept"] == 1 and table.loc[(rule, "6"), "kept"] == 2
    assert np.isnan(table.loc[("fixed K = 2", "6"), "gain"]) and table.loc[("fixed K = 2", "6"), "accuracy"] == 0
