"""What the paper reads off its heat maps (§6.4): each reading as a number with an interval and a verdict.

Thresholds are round numbers fitted to nothing: a cell is dark above twice the even share of attention, dark areas are
there when they fill 5 % of the map, and two areas have one shape when half of their union is shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.config import same_pictures
from rumorlib.experiments import MAP_EPOCHS
from rumorlib.metrics.estimates import beside, verdict
from rumorlib.metrics.statistics import t_interval
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, run_names
from rumorlib.studies.explanations import maps
from rumorlib.studies.scores.verdicts import frame_of

SOME = 0.05  # share of a map, or of the attention, from which on there is something


SAME = 0.5  # overlap from which on two dark areas have one shape


FIGURE = {"en": "Fig 10", "zh": "Fig 11"}


# (what is said, statistic, epoch, epoch it is compared with: None = none, value, which side of the value)
READINGS = {
    "en": (
        ("epoch {0}: evenly light, no dark area", "dark_share", 0, None, SOME, "below"),
        ("dark areas have formed by epoch {1}", "dark_cells", 1, 0, 0, "above"),
        ("more dark cells at epoch {2} than at epoch {1}", "dark_cells", 2, 1, 0, "above"),
        ("the dark areas of epoch {3} have the shape of epoch {2}'s", "iou_previous", 3, None, SAME, "above"),
        ("more dark cells at epoch {3} than at epoch {2}", "dark_cells", 3, 2, 0, "above"),
    ),
    "zh": (
        ("epoch {0}: dark areas are there", "dark_share", 0, None, SOME, "above"),
        ("fewer dark cells at epoch {1} than at epoch {0}", "dark_cells", 1, 0, 0, "below"),
        ("the dark areas of epoch {1} have the shape of epoch {0}'s", "iou_previous", 1, None, SAME, "above"),
        ("the dark areas of epoch {2} are not those of epoch {0}", "iou_first", 2, None, SAME, "below"),
        ("the dark areas of epoch {3} have the shape of epoch {2}'s", "iou_previous", 3, None, SAME, "above"),
        ("fewer dark cells at epoch {3} than at epoch {2}", "dark_cells", 3, 2, 0, "below"),
    ),
}


SAYS = {
    "dark_share": "share of dark cells",
    "dark_cells": "dark cells",
    "iou_previous": "overlap",
    "iou_first": "overlap",
}


def claims(reports: Sequence[Report]) -> pd.DataFrame:
    """Verdict per reading of Figs 10 and 11 and corpus (d_e6_claims); 95 % t intervals over the posts of the batch.

    English corpora are held against the reading of Pheme, Chinese ones against Weibo's; the comparison of the two uses
    corpora that show the same pictures. Whether the map knows the picture at all, and whether the claim's words look at
    the claimed object, are our questions.
    """
    rows: list[dict[str, Any]] = []
    tables = {report.config.dataset: by_epoch(report) for report in reports}
    of = {report.config.dataset: run_names([report]) for report in reports}
    for report in reports:
        rows += _figure(report, tables[report.config.dataset])
    for english, chinese in same_pictures(tables):
        rows += _languages(english, tables[english], chinese, tables[chinese])
    rows += _pointing(maps.word_pointing(reports))
    return frame_of(
        [row | {RUNS: [run for name in row["corpus"].split(", ") for run in of.get(name, ())]} for row in rows]
    )


def by_epoch(report: Report) -> dict[str, pd.DataFrame]:
    """Statistic -> (posts, epochs) of a run's fixed batch."""
    frame = maps.read_maps(report)
    names = [name for name in frame if name not in ("post", "epoch")]
    return {name: frame.pivot(index="post", columns="epoch", values=name) for name in names}


def _figure(report: Report, table: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    dataset, language = report.config.dataset, report.config.language
    at = MAP_EPOCHS[language]
    source = f"§6.4, {FIGURE[language]}"
    rows = []
    for claim, name, one, other, value, side in READINGS[language]:
        found, quantity = table[name][at[one]], f"{SAYS[name]}, epoch {at[one]}"
        if other is not None:
            found, quantity = found - table[name][at[other]], f"{quantity} minus epoch {at[other]}"
        rows.append(_line(claim.format(*at), source, dataset, quantity, found, value, side))
    accuracy = {epoch: value for epoch, value in maps.dev_accuracy(report).items() if epoch in at}
    others = [value for epoch, value in accuracy.items() if epoch != at[2]]
    level = np.sign(accuracy[at[2]] - max(others)) if others else np.nan
    rows.append({
        "claim": f"dev is best at epoch {at[2]} and worse at epoch {at[3]}", "source": source, "corpus": dataset,
        "quantity": "shown epoch with the highest dev accuracy", "reported": at[2],
        "ours": max(accuracy, key=accuracy.get, default=np.nan),
        "verdict": {1: "reproduced", -1: "not reproduced", 0: "inconclusive"}.get(level, "untestable here"),
        "why": "one run; " + ", ".join(f"{value:.3f} at epoch {epoch}" for epoch, value in accuracy.items()),
    })  # fmt: skip
    moved = table["moved_by_image"][at[2]]
    quantity = f"share of the attention that moves with another post's image, epoch {at[2]}"
    line = _line("the map shows how the words fit this image", "§6.4", dataset, quantity, moved, SOME, "above")
    own = table["moved_first"][at[2]].mean()
    return [*rows, line | {"why": f"{line['why']}; {own:.3f} moved since epoch {at[0]}"}]


def _languages(english: str, en: dict, chinese: str, zh: dict) -> list[dict[str, Any]]:
    """The comparison of the two figures, on the same pictures: positive = as the paper says."""
    corpus, source = f"{english}, {chinese}", "§6.4, both figures"
    early = zh["dark_share"][1] - en["dark_share"][1]
    quantity = "share of dark cells at epoch 1, Chinese minus English, same pictures"
    line = _line(
        "early maps are light in English and have dark areas in Chinese", source, corpus, quantity, early, 0, "above"
    )
    entropies = f"entropy at epoch 1: English {en['entropy'][1].mean():.4f}, Chinese {zh['entropy'][1].mean():.4f}"
    rows = [line | {"why": f"{line['why']}; {entropies}"}]
    gains = [t["dark_share"][max(t["dark_share"])] - t["dark_share"][1] for t in (en, zh)]
    claim, quantity = (
        "English gains dark cells while it trains, Chinese loses them",
        "growth of the share of dark cells",
    )
    line = _line(claim, source, corpus, f"{quantity}, English minus Chinese", gains[0] - gains[1], 0, "above")
    if line["verdict"] == "reproduced" and not gains[0].mean() > 0 > gains[1].mean():
        line["verdict"] = "not reproduced"
    return [*rows, line | {"why": f"English {gains[0].mean():+.3f}, Chinese {gains[1].mean():+.3f}"}]


def _line(claim: str, source: str, corpus: str, quantity: str, found: pd.Series, value: float, side: str,
          ) -> dict[str, Any]:  # fmt: skip
    """A reading about the mean of one number per post; posts without it (no dark cell anywhere) are left out."""
    about = {"claim": claim, "source": source, "corpus": corpus, "quantity": quantity, "reported": np.nan}
    known = found.dropna()
    if len(known) < 2:
        return about | {"verdict": "untestable here", "why": "no posts with dark cells at both epochs"}
    mean, low, high = t_interval(known)
    return about | {"ours": mean, "low": low, "high": high, "verdict": verdict(low, high, value, side == "above"),
                    "why": f"{side} {value:g} over {len(known)} posts of one batch"}  # fmt: skip


def _pointing(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """After the last epoch, on drawn posts."""
    about = {"claim": "the claim's words look at the claimed object", "source": "ours, §6.4", "reported": np.nan}
    rows = []
    for (dataset, name), part in frame.groupby(["dataset", "map"], sort=False):
        last = part.loc[part["epoch"].idxmax()]
        ends = beside(last["mass"], last["low"], last["high"])
        rows.append(about | {
            "corpus": dataset, "quantity": f"weight on its box, {name} map, epoch {last['epoch']}",
            "ours": last["mass"], "low": last["low"], "high": last["high"],
            "verdict": verdict(*ends, max(last["chance"], last["other_words"])),
            "why": f"chance {last['chance']:.3f}; the post's other words {last['other_words']:.3f}; "
                   f"before training {part.loc[part['epoch'].idxmin(), 'mass']:.3f}",
        })  # fmt: skip
    missing = {"corpus": "-", "quantity": "weight on its box", "verdict": "untestable here", "why": "no truth boxes"}
    return rows or [about | missing]
