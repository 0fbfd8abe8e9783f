"""The orders DMFL's paper states: among the drops of its variants (§6.2) and along its heads (§6.3, Figure 9).

Its two corpora have an order each. Ours are held against that of the same language: English Pheme's, Chinese Weibo's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.config import about
from rumorlib.metrics import statistics
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, run_names, with_runs
from rumorlib.studies.scores import sweeps, verdicts
from rumorlib.studies.scores.verdicts import ELSEWHERE, Paired, frame_of, together

# (loses more, loses less), and two that lose alike.
MORE = {
    "en": (("TB", "TL"), ("A", "ATT"), ("TTRAS", "TCNN"), ("I", "TCNN")),
    "zh": (("TL", "TB"), ("TTRAS", "TCNN"), ("I", "TCNN")),
}
ALIKE = {"en": (("TB", "A"), ("TTRAS", "I")), "zh": (("TB", "A"), ("A", "ATT"), ("TTRAS", "I"))}
WITHIN = 1.0  # points: ours; the pairs that the paper calls almost the same lie up to half a point apart
# How accuracy moves with the heads, besides being best at eight: (better, worse).
BEST_HEADS = 8
HEADS = {"en": ((2, 4), (2, 6), (8, 10)), "zh": ((4, 2), (4, 6), (8, 10))}


def ablation_claims(table: pd.DataFrame, paired: Paired) -> pd.DataFrame:
    """Is each part of DMFL useful (`verdicts.ablation_claims`), and the order of the drops. Arguments as there."""
    rows = []
    for corpus, part in table.groupby("dataset", sort=False):
        lines = {line["variant"]: line for line in with_runs(part)}
        for pairs, judge in ((MORE, verdicts.order), (ALIKE, _alike)):
            for one, two in pairs[about(corpus).language]:
                if one in lines and two in lines:
                    rows.append(judge(corpus, lines[one], lines[two], paired))
    useful = verdicts.ablation_claims(table, paired)
    return together([useful, frame_of(rows)]) if rows else useful


def _alike(corpus: str, one: dict[str, Any], two: dict[str, Any], paired: Paired) -> dict[str, Any]:
    """reproduced: the interval lies within WITHIN points of 0; not reproduced: without; else inconclusive."""
    row = verdicts.order(corpus, one, two, paired)
    inside, outside = max(-row["low"], row["high"]) <= WITHIN, max(row["low"], -row["high"]) > WITHIN
    verdict = "reproduced" if inside else "not reproduced" if outside else "inconclusive"
    return row | {"claim": f"{one['model']} and {two['model']} lose alike, within {WITHIN:g} point", "verdict": verdict}


def heads_claims(frame: pd.DataFrame, paired: Paired, split: str = "test") -> pd.DataFrame:
    """Eight heads are best, and the ups and downs that the paper reads from Figure 9, by the language of each corpus.

    Args: frame: of `sweeps.sweep` over n_heads. paired: of `sweeps.paired`, the same runs and split.
    Returns: COLUMNS; ours, low, high of an order: accuracy with the one number of heads minus that with the other.
    """
    rows = []
    scored = frame[(frame["split"] == split) & (frame["metric"] == "accuracy")]
    for corpus, part in scored.groupby("dataset", sort=False):
        variant = part.set_index("n_heads")["variant"]
        for more, less in HEADS[about(corpus).language]:
            row = {"claim": f"{more} heads are better than {less}", "source": "§6.3, Figure 9", "corpus": corpus,
                     "quantity": f"test accuracy at {more} minus at {less} heads", "reported": np.nan}  # fmt: skip
            if not {more, less} <= set(variant.index):
                rows.append(row | {"verdict": "untestable here", "why": "these numbers of heads were not run"})
                continue
            ahead, low, high = paired(corpus, variant[more], variant[less])
            rows.append(row | {"ours": ahead, "low": low, "high": high, "why": f"same posts; {ELSEWHERE}",
                                 "verdict": statistics.verdict(low, high, 0),
                                 RUNS: run_names(part[part["n_heads"].isin([more, less])])})  # fmt: skip
    best = verdicts.sweep_claims(frame, "n_heads", dict.fromkeys(frame["dataset"], BEST_HEADS), paired, split)
    return together([best, frame_of(rows)])


def by_one_seed(judged: pd.DataFrame, variants: Sequence[Report], full: Sequence[Report]) -> pd.DataFrame:
    """Verdicts on a sweep of one seed: inconclusive where the full model has several seeds on the corpus, and `why`
    says how far those alone lie apart. Unchanged where the sweep has several seeds, or the full model one.

    Args: judged: columns of `verdicts.COLUMNS`. variants: the runs judged. full: the full model, all seeds.
    """
    if any(len(seeds) > 1 for (_, variant), seeds in sweeps.by_variant(variants).items() if variant != "default"):
        return judged
    several = {dataset: seeds for (dataset, _), seeds in sweeps.by_variant(full).items() if len(seeds) > 1}
    scores = {name: [report.metrics["test"]["accuracy"] for report in seeds] for name, seeds in several.items()}
    rows = []
    for row in with_runs(judged):
        asked = [corpus for corpus in row["corpus"].split(", ") if corpus in scores]
        known = [scores[corpus] for corpus in asked]
        if known and row["verdict"] not in ("inconclusive", "untestable here"):
            widest = max(known, key=np.ptp)
            seeds = f"{len(widest)} seeds of the full model alone range from {min(widest):.3f} to {max(widest):.3f}"
            row |= {"why": f"one seed each: {seeds} on test; without that it would be {row['verdict']}"}
            row |= {"verdict": "inconclusive", RUNS: (*row[RUNS], *run_names(r for c in asked for r in several[c]))}
        rows.append(row)
    return frame_of(rows)
