"""K × λ: the decomposition finds what was put in, and the gap is train minus test."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.stats.anova import anova_lm

from rumorlib import config, experiments
from rumorlib import config as cfg
from rumorlib.results import Report
from rumorlib.studies.scores import adaptive, grids, pretraining

GRID = list(itertools.product((1, 2, 4), (0.3, 0.7)))


def frame(value, n_seeds: int = 3) -> pd.DataFrame:
    rows = [
        {"dataset": "d", "top_k": k, "fusion_weight": weight, "seed": seed,
         **{split: value(k, weight, seed) for split in grids.SPLITS}}
        for (k, weight), seed in itertools.product(GRID, range(n_seeds))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_two_settings_that_only_add_up_do_not_interact() -> None:
    noise = np.random.default_rng(0).normal(0, 1e-6, 100)
    found = grids.interaction(
        frame(lambda k, w, seed: 0.6 + 0.01 * k - 0.1 * w + noise[k * 7 + seed]), "top_k", "fusion_weight"
    )
    assert (found["share_interaction"] < 1e-3).all() and (found["interaction_points"] < 0.01).all()
    assert found.filter(like="share_").sum(axis=1).to_numpy() == pytest.approx(1)


def test_the_decomposition_is_statsmodels_analysis_of_variance() -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, (5, 10, 3))
    data = frame(lambda k, w, seed: 0.6 + 0.01 * k * w + noise[k, int(10 * w), seed])
    found = grids.interaction(data, "top_k", "fusion_weight").set_index("split").loc["test"]
    table = anova_lm(smf.ols("test ~ C(top_k) * C(fusion_weight)", data).fit())
    assert found["f"] == pytest.approx(table.loc["C(top_k):C(fusion_weight)", "F"])
    assert found["p"] == pytest.approx(table.loc["C(top_k):C(fusion_weight)", "PR(>F)"])
    shares = table["sum_sq"] / table["sum_sq"].sum()
    names = ["share_top_k", "share_fusion_weight", "share_interaction", "share_seed"]
    assert found[names].to_numpy(float) == pytest.approx(shares.to_numpy())


def test_one_seed_has_no_test_and_a_hole_is_refused() -> None:
    single = frame(lambda k, w, seed: k * w / 10, n_seeds=1)
    assert grids.interaction(single, "top_k", "fusion_weight")["p"].isna().all()
    with pytest.raises(ValueError, match="not complete"):
        grids.interaction(single.iloc[1:], "top_k", "fusion_weight")


def test_the_gap_is_train_minus_test_of_every_point(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = cfg.resolve("demo", ["demo-en"], seeds=[0, 1])
    scores = {"train": 0.9, "dev": 0.8, "test": 0.7}
    reports = [
        SimpleNamespace(
            name="a",
            config=config,
            metrics={s: {"accuracy": v - 0.1 * config.seed * (s == "test")} for s, v in scores.items()},
        )
        for config in experiments.micc_grid(settings)
    ]
    monkeypatch.setattr(grids, "by_variant", lambda given: {r.config.path: [r] for r in given})
    table = grids.gaps(grids.points(reports, "top_k", "fusion_weight"), "top_k", "fusion_weight")
    assert len(table) == 4 and (table["n_seeds"] == 2).all()
    assert table["gap"].to_numpy() == pytest.approx(0.25) and table["train"].to_numpy() == pytest.approx(0.9)


def test_retrieval_after_stage_2_shows_both_stages_of_the_runs_that_stored_it() -> None:
    def run(name: str, seed: int, recalls: list[float]) -> SimpleNamespace:
        stored = pd.DataFrame({"language": "en", "split": "dev", "t2i_recall_at_1": recalls, "stage": ["a", "b"]})
        config = cfg.RunConfig("micc", "photo-en", "text-top", seed)
        return SimpleNamespace(config=config, name=name, hashes={"extras/retrieval.csv": ""}, extra=lambda _: stored)

    frozen = SimpleNamespace(hashes={})
    found = pretraining.retrieval_after([frozen, run("a", 0, [0.1, 0.2]), run("b", 1, [0.1, 0.4])])
    assert found["t2i_recall_at_1"].tolist() == pytest.approx([0.1, 0.3]) and found["n_seeds"].tolist() == [2, 2]
    assert found["stage"].tolist() == ["a", "b"] and found["model"].nunique() == 1
    assert pretraining.retrieval_after([frozen]).empty


def test_a_threshold_of_one_half_loses_what_the_threshold_of_dev_gains_back() -> None:
    """Trained on known pictures every probability is .2 too high: at one half, all from .3 on are called rumors."""
    prob = np.array([0.1, 0.4, 0.6, 0.8])

    def report(which: str, seed: int) -> SimpleNamespace:
        shift = 0.2 if which == "known" else 0.0
        frame = pd.DataFrame({"post_id": [f"p{i}" for i in range(8)], "label": [0, 0, 1, 1] * 2, "image_group": "",
                              "split": ["dev"] * 4 + ["test"] * 4, "prob_rumor": np.tile(prob, 2) + shift})  # fmt: skip
        config = cfg.RunConfig("micc", "photo-en", "relevance", seed, "laptop", train_on=which)
        return SimpleNamespace(config=config, name=config.path.as_posix(), facts={}, predictions=lambda: frame)

    found = pretraining.known_table([report(which, seed) for which in ("known", "new") for seed in (0, 1)])
    assert found["train_on"].tolist() == ["known", "new"] and (found["n_seeds"] == 2).all()
    assert found["share_called"].tolist() == [0.75, 0.5] and found["accuracy"].tolist() == [0.75, 1.0]
    assert found["accuracy_dev_threshold"].tolist() == [1.0, 1.0] and found["lost"].tolist() == [25.0, 0.0]


def test_what_a_doubling_of_the_train_pictures_is_worth() -> None:
    def report(n_train: int | None, recall: float) -> SimpleNamespace:
        config = replace(experiments.sclip(cfg.resolve("laptop", train="none"), "en"), n_train=n_train)
        values = {f"{way}_recall_at_{k}": recall for way in ("t2i", "i2t") for k in (1, 5, 10)}
        metrics = {split: {"en": values} for split in ("dev", "test")}
        return SimpleNamespace(config=config, name="a", metrics=metrics, facts={"best_epoch": 1})

    frame, told = pretraining.pictures_table([report(1500, 0.1), report(3000, 0.15), report(None, 0.25)])
    assert frame["pictures"].tolist() == [1500, 3000, 6000] and frame["t2i_R@1"].tolist() == [0.1, 0.15, 0.25]
    assert told.count("7.5 points on average, 10.0 the last one") == 2


# --- Adaptive K: the runs differ in how patches are chosen and in nothing else; the table compa ---


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
