"""Adaptive K: does a detector gain by keeping more patches where there is more to look at?

A crowded scene has more candidates for the claimed object; fixed K keeps two patches per scale whatever is there. K by
relevance mass keeps as many as make up half of the relevance; a learned threshold lets training say what is relevant.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from rumorlib.config import ControlConfig, RunConfig
from rumorlib.encoders.vision import grid_sides
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.scores.comparison import ahead, pooled, score

RULES = {"k": "fixed K = {top_k}", "mass": "mass {relevance_mass}, K <= {top_k}",
         "threshold": "learned threshold, K <= {top_k}"}  # fmt: skip


def rule(config: RunConfig) -> str:
    """Printed name of how a run chooses its patches."""
    how, controls = config.detector, config.detector.controls
    return RULES[controls.keep].format(top_k=how.top_k, relevance_mass=controls.relevance_mass)


def table(reports: list[Report]) -> pd.DataFrame:
    """Accuracy and patches kept by clutter for every rule, test posts (x_4, m_e4_adaptive): objects in a drawn scene,
    the third by density of edges of photographs.

    Returns: dataset, rule, clutter ("all" or a number), n, kept (mean patches per post, all scales), accuracy, low,
        high (95 %, pictures and seeds); gain, gain_low, gain_high (accuracy minus that of fixed K = 2 on
        the same posts, paired; nan for itself).
    """
    rows, kept, levels = [], {}, {}
    for report in reports:
        if (config := report.config).detector.controls.keep != "k":
            kept.setdefault((config.dataset, rule(config)), []).append(
                report.extra("kept").set_index("clutter")["kept"]
            )
            of_post = report.predictions().set_index("row_key")["clutter"]
            levels[config.dataset] = of_post[~of_post.index.duplicated()]
    of_rule = [(config, part[part["split"] == "test"]) for config, part in pooled(reports)]
    of_rule = [(c, part.assign(clutter=part["post_id"].map(levels[c.dataset]))) for c, part in of_rule]
    for config, predictions in of_rule:
        plain = next(p for c, p in of_rule if c.dataset == config.dataset and rule(c) == rule(_default(config)))
        for level in ("all", *sorted(predictions["clutter"].unique())):
            part, other = (p if level == "all" else p[p["clutter"] == level] for p in (predictions, plain))
            part = part.reset_index(drop=True)
            found = score(config.dataset, part, "accuracy")
            row = {"dataset": config.dataset, "rule": rule(config), "clutter": str(level)}
            counted = [by_level[str(level)] for by_level in kept.get((config.dataset, rule(config)), [])]
            fixed = sum(min(config.detector.top_k, side**2) for side in grid_sides(config.stage1.sclip.vision))
            row |= {"n": part["post_id"].nunique(), "kept": float(np.mean(counted)) if counted else float(fixed)}
            row |= {"accuracy": found.value, "low": found.low, "high": found.high}
            same = predictions is plain
            gain = (np.nan,) * 3 if same else ahead(config.dataset, part, other)
            row |= dict(zip(("gain", "gain_low", "gain_high"), gain, strict=True))
            rows.append(row | {RUNS: (*run_names(predictions), *run_names(plain))})
    return by_runs(pd.DataFrame(rows), "dataset", "rule")


def _default(config: RunConfig) -> RunConfig:
    """The run's fixed-K rival, K as the paper has it."""
    return replace(config, detector=replace(config.detector, controls=ControlConfig(), top_k=2))
