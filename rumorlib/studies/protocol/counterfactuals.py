"""What a detector does when its pictures or its words are not the post's own (p_3).

A score that stays when pictures are exchanged did not come from text and picture together (exchanges.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rumorlib import results
from rumorlib.config import Settings
from rumorlib.experiments import benches, exchanged_runs, model_name
from rumorlib.metrics import evaluation
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.scores import comparison
from rumorlib.training import bench_runs
from rumorlib.training.exchange_runs import AS_IT_IS, INTERVENTIONS, reading


def table(settings: Settings) -> tuple[pd.DataFrame, list[Report]]:
    """Two detectors (`runs`) on every corpus under every intervention.

    Returns: dataset, model, intervention, exchanged (share of test posts that got another picture), primary, estimate,
        low, high (95 %, pictures drawn), auc, moved (mean change of the probability, absolute), flipped (share of posts
        called otherwise); and the runs.
    """
    rows, reports = [], []
    for dataset in benches.with_pictures(settings):
        for config, name in zip(
            exchanged_runs(settings, dataset), (benches.printed_name(dataset), dataset), strict=True
        ):
            reports.append(results.run_or_load(config, settings))
            rows += _rows(name, model_name(config), dataset, reports[-1])
    return by_runs(pd.DataFrame(rows), "dataset", "model"), reports


def _rows(name: str, model: str, dataset: str, report: Report) -> list[dict[str, Any]]:
    """A row per intervention the run has read, in their order."""
    stored, rows = bench_runs.stored(report), []
    first = stored.loc[stored["split"] == reading(AS_IT_IS), "prob_rumor"].to_numpy(float)
    shares = report.facts["exchanged"]
    for intervention in (name for name in INTERVENTIONS if name in shares):
        part = stored[stored["split"] == reading(intervention)].reset_index(drop=True)
        prob = part["prob_rumor"].to_numpy(float)
        auc = comparison.score(dataset, part, "auc").value
        found = comparison.score(dataset, part)
        called = (prob >= evaluation.THRESHOLD) != (first >= evaluation.THRESHOLD)
        rows.append({
            "dataset": name, "model": model, "intervention": intervention, "exchanged": shares[intervention],
            "primary": comparison.primary_name(dataset), "estimate": found.value, "low": found.low,
            "high": found.high, "auc": auc,
            "moved": float(np.abs(prob - first).mean()), "flipped": float(called.mean()),
            RUNS: run_names([report]),
        })  # fmt: skip
    return rows
