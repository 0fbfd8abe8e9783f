"""Adaptive K: does a detector gain by keeping more patches where there is more to look at?

A crowded scene has more candidates for the claimed object; fixed K keeps two patches per scale whatever is there. K by
relevance mass keeps as many as make up half of the relevance; a learned threshold lets training say what is relevant.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from rumorlib.config import ControlConfig, RunConfig, Settings
from rumorlib.data.batches import array, where_is
from rumorlib.encoders.vision import grid_sides
from rumorlib.metrics import estimates
from rumorlib.results import Report, trained
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.scores.comparison import clusterings, pooled, score

RULES = {"k": "fixed K = {top_k}", "mass": "mass {relevance_mass}, K <= {top_k}",
         "threshold": "learned threshold, K <= {top_k}"}  # fmt: skip


def rule(config: RunConfig) -> str:
    """Printed name of how a run chooses its patches."""
    how, controls = config.detector, config.detector.controls
    return RULES[controls.keep].format(top_k=how.top_k, relevance_mass=controls.relevance_mass)


def n_kept(config: RunConfig, settings: Settings) -> pd.Series:
    """Patches that have a weight, of all scales together, by post_id; of a rule that looks at the post."""
    model, tensors, posts = trained.micc(config, settings)
    everyone = torch.arange(len(posts))
    with torch.inference_mode():  # only here: a run that is missing is trained on the way
        batches = tensors.in_order(everyone, where=where_is(model))
        kept = torch.cat([(model(batch).weights > 0).sum(1) for batch in batches])
    return pd.Series(array(kept), posts["post_id"])


def table(reports: list[Report], settings: Settings, split: str = "test") -> pd.DataFrame:
    """Accuracy and patches kept by clutter (objects in the scene) for every rule (x_4).

    Returns: dataset, rule, clutter ("all" or a number), n, kept (mean patches per post, all scales), accuracy, low,
        high (95 %, pictures and seeds); gain, gain_low, gain_high (accuracy minus that of fixed K = 2 on
        the same posts, paired; nan for itself).
    """
    rows, kept = [], {}
    for config in (r.config for r in reports if r.config.detector.controls.keep != "k"):
        kept.setdefault((config.dataset, rule(config)), []).append(n_kept(config, settings))
    of_rule = [(config, predictions[predictions["split"] == split]) for config, predictions in pooled(reports)]
    for config, predictions in of_rule:
        plain = next(p for c, p in of_rule if c.dataset == config.dataset and rule(c) == rule(_default(config)))
        for level in ("all", *sorted(predictions["clutter"].unique())):
            part, other = (p if level == "all" else p[p["clutter"] == level] for p in (predictions, plain))
            part = part.reset_index(drop=True)
            found = score(config.dataset, part, "accuracy")
            row = {"dataset": config.dataset, "rule": rule(config), "clutter": str(level)}
            counted = [
                series[part["post_id"].unique()].mean() for series in kept.get((config.dataset, rule(config)), [])
            ]
            fixed = sum(min(config.detector.top_k, side**2) for side in grid_sides(config.stage1.sclip.vision))
            row |= {"n": part["post_id"].nunique(), "kept": float(np.mean(counted)) if counted else float(fixed)}
            row |= {"accuracy": found.value, "low": found.low, "high": found.high}
            same = predictions is plain
            gain = (np.nan,) * 3 if same else _gain(config, part, other)
            row |= dict(zip(("gain", "gain_low", "gain_high"), gain, strict=True))
            rows.append(row | {RUNS: (*run_names(predictions), *run_names(plain))})
    return by_runs(pd.DataFrame(rows), "dataset", "rule")


def _gain(config: RunConfig, part: pd.DataFrame, other: pd.DataFrame) -> estimates.Estimate:
    return estimates.difference(part, other, "accuracy", clusterings(config.dataset, part))


def _default(config: RunConfig) -> RunConfig:
    """The run's fixed-K rival, K as the paper has it."""
    return replace(config, detector=replace(config.detector, controls=ControlConfig(), top_k=2))
