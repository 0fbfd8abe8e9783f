"""The papers' claims that the main runs can test, each with the numbers used and a verdict (spec §15).

Claims about ablations and sweeps are judged beside their own tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib import comparison, controls, experiments
from rumorlib.results import Report

BASELINES = tuple(("baseline", variant) for variant in experiments.BASELINES)
ARTIFACT = {"MICC": "m_e2", "DMFL": "d_e1"}
ALPHA = 0.05


def claims(reports: Sequence[Report], paper: str) -> pd.DataFrame:
    """Verdict per claim and corpus: reproduced, not reproduced, inconclusive, or untestable here.

    Comparisons are named beforehand: the model against the baseline that is best on dev, and for MICC our two inputs
    against the literal one (choice C5); paired by picture on test, two-sided, Holm over the corpora of a claim.

    Args:
        reports: main runs and baselines.
        paper: "MICC" or "DMFL".
    Returns: claim, source, corpus, quantity, reported, ours, low, high, p_holm, verdict, why. ours: a score, or a
        difference where quantity says so.
    """
    rows = _stated(reports, paper)
    model = (paper.lower(), "default")
    rows += _ahead(reports, model, BASELINES, f"{paper} is ahead of every baseline", "main results")
    if paper == "MICC":
        rows += _pointing(reports)
        for variant in ("product", "relevance"):
            claim = f"the {variant} input is ahead of the literal model"
            rows += _ahead(reports, ("micc", variant), [model], claim, "ours, choice C5")
    else:
        rows += _orders(paper)
    columns = ["claim", "source", "corpus", "quantity", "reported", "ours", "low", "high", "p_holm", "verdict", "why"]
    return pd.DataFrame(rows, columns=columns)


def _stated(reports: Sequence[Report], paper: str) -> list[dict[str, Any]]:
    """The accuracies a paper states for its own model, beside ours on the same corpus."""
    frame = comparison.against_reported(reports, ARTIFACT[paper])
    frame = frame[(frame["row"] == paper) & (frame["metric"] == "accuracy")]
    rows = []
    for corpus, part in frame.groupby("corpus", sort=False):
        same = part[part["our_corpus"] == corpus]
        found = (same if len(same) else part).iloc[0]
        verdict, _, why = found["verdict"].partition(": ")
        numbers = {key: found[key] if len(same) else np.nan for key in ("ours", "low", "high")}
        rows.append({"claim": f"{paper} reaches {found['reported']:.4g}", "source": found["source"], "corpus": corpus,
                     "quantity": "test accuracy", "reported": found["reported"], "verdict": verdict,
                     "why": why or "reported value against our 95 % interval"} | numbers)  # fmt: skip
    return rows


def _ahead(reports: Sequence[Report], model: tuple[str, str], rivals: Sequence[tuple[str, str]], claim: str,
           source: str) -> list[dict[str, Any]]:  # fmt: skip
    rows = []
    for line in comparison.compare(reports, model, rivals).to_dict("records"):
        if line["p_holm"] < ALPHA:
            verdict = "reproduced" if line["difference"] > 0 else "not reproduced"
        else:
            verdict = "inconclusive"
        why = f"{line['model']} {line['ours']:.3f}, {line['rival']} (best on dev) {line['theirs']:.3f}"
        if verdict == "reproduced" and line["highest_score"] > line["ours"]:  # dev may choose badly
            verdict, why = "inconclusive", f"{why}, but {line['highest']} has {line['highest_score']:.3f}"
        rows.append({
            "claim": claim, "source": source, "corpus": line["dataset"], "reported": np.nan,
            "quantity": f"difference of test {line['metric'].replace('_', ' ')}", "ours": line["difference"],
            "p_holm": line["p_holm"], "verdict": verdict,
            "why": f"{why}; {line['n_clusters']} pictures swapped",
        })  # fmt: skip
    return rows


def _pointing(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """The literal model's finest scale, fine-tuned, against chance: truth boxes exist on drawn scenes only."""
    about = {"claim": "Top-K keeps the region the text speaks of", "source": "§3.3", "reported": np.nan}
    table = controls.pointing_table([r for r in reports if (r.config.model, r.config.variant) == ("micc", "default")])
    tuned = table[(table["stage"] == "fine-tuned") & (table["scale"] != "pooled")]
    rows = []
    for dataset, part in tuned.groupby("dataset", sort=False):
        line = part.iloc[0]
        verdict = "reproduced" if line["low"] > line["chance"] else "inconclusive"
        verdict = "not reproduced" if line["high"] < line["chance"] else verdict
        rows.append(about | {
            "corpus": dataset, "quantity": f"dev pointing accuracy at {line['scale']} px", "ours": line["pointing"],
            "low": line["low"], "high": line["high"], "verdict": verdict,
            "why": f"against chance {line['chance']:.3f}; stage 1 alone: see the pointing table",
        })  # fmt: skip
    nothing = {"corpus": "-", "quantity": "pointing accuracy", "verdict": "untestable here", "why": "no truth boxes"}
    return rows or [about | nothing]


def _orders(paper: str) -> list[dict[str, Any]]:
    """Stated orders among models of others, which are not run here."""
    frame = comparison.reported(ARTIFACT[paper])
    return [
        {"claim": line.row, "source": line.source, "corpus": line.dataset, "quantity": line.metric,
         "reported": line.value, "verdict": "untestable here", "why": "models of others, not run"}
        for line in frame[frame["unit"].eq("order")].itertuples()
    ]  # fmt: skip
