"""The orders that DMFL's paper states among the drops of its variants (§6.2).

Its two corpora have an order each. Ours are held against that of the same language: English Pheme's, Chinese Weibo's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rumorlib.config import about
from rumorlib.metrics import estimates
from rumorlib.results.provenance import with_runs
from rumorlib.studies.scores import verdicts
from rumorlib.studies.scores.sweeps import Compared
from rumorlib.studies.scores.verdicts import frame_of, together

# (loses more, loses less), and two that lose alike.
MORE = {
    "en": (("TB", "TL"), ("A", "ATT"), ("TTRAS", "TCNN"), ("I", "TCNN")),
    "zh": (("TL", "TB"), ("TTRAS", "TCNN"), ("I", "TCNN")),
}
ALIKE = {"en": (("TB", "A"), ("TTRAS", "I")), "zh": (("TB", "A"), ("A", "ATT"), ("TTRAS", "I"))}
WITHIN = 1.0  # points: ours; the pairs that the paper calls almost the same lie up to half a point apart


def ablation_claims(table: pd.DataFrame, compared: Compared) -> pd.DataFrame:
    """Is each part of DMFL useful (`verdicts.ablation_claims`), and the order of the drops. Arguments as there."""
    rows = []
    for corpus, part in table.groupby("dataset", sort=False):
        lines = {line["variant"]: line for line in with_runs(part)}
        for pairs, judge in ((MORE, verdicts.order), (ALIKE, _alike)):
            for one, two in pairs[about(corpus).language]:
                if one in lines and two in lines:
                    rows.append(judge(corpus, lines[one], lines[two], compared))
    useful = verdicts.ablation_claims(table, compared)
    return together([useful, frame_of(rows)]) if rows else useful


def _alike(corpus: str, one: dict[str, Any], two: dict[str, Any], compared: Compared) -> dict[str, Any]:
    """Do two lose alike, within WITHIN points? Untestable where they score the same by construction."""
    row = verdicts.order(corpus, one, two, compared)
    row |= {"claim": f"{one['model']} and {two['model']} lose alike, within {WITHIN:g} point", "p_value": np.nan}
    if row["verdict"] != "untestable here":
        row["verdict"] = estimates.equivalence(row["low"], row["high"], WITHIN)
    return row
