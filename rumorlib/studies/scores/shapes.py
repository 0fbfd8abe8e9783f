"""Shapes of sweep curves as statistics: "first rising, then falling" and "more tortuous" (DMFL §6.3), with intervals.

A curve is the primary metric on dev at each value of a setting. Its draws (`Measured.drawn`) are what it could be with
other posts, the same for every value, and other trainings, which are each value's own; with one training nothing is
known of these, and no claim is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from rumorlib import experiments
from rumorlib.config import RunConfig, Settings
from rumorlib.config.profiles import loss_weights, points
from rumorlib.experiments import corpus_name
from rumorlib.metrics.curves import rises_then_falls
from rumorlib.metrics.estimates import Measured, verdict
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, run_names
from rumorlib.studies.scores import sweeps
from rumorlib.studies.scores.verdicts import frame_of

FEWEST = 6  # points below which a curve has no shape worth naming
STEP = 0.4  # of the first sweep of lambda_c and lambda_a, the paper's


@dataclass(frozen=True)
class Curve:
    """The score over the values of a setting."""

    values: np.ndarray  # (m,) of the setting, rising
    measured: Measured  # of m models

    @property
    def scores(self) -> np.ndarray:
        """(m,) means over seeds."""
        return self.measured.means


def curves_of(reports: Sequence[Report], setting: str, metric: str = "") -> dict[str, Curve]:
    """The dev curve of each corpus that was swept. Args: setting: key of `sweeps.SETTINGS`. metric: "": primary."""
    found: dict[str, dict[str, float]] = {}
    for (dataset, variant), group in sweeps.by_variant(reports).items():
        found.setdefault(dataset, {})[variant] = sweeps.SETTINGS[setting](group[0].config)
    compared, made = sweeps.Compared(reports, "dev", metric), {}
    for dataset, values in found.items():
        order = sorted(values, key=values.__getitem__)
        made[dataset] = Curve(np.array([values[variant] for variant in order]), compared.curve(dataset, order))
    return made


def unimodality(accuracy: np.ndarray) -> tuple[float, int]:
    """How well a curve is told by rising to one point and falling after it: the share of its variance that the best
    such curve explains (isotonic regression up to the peak, antitonic from it), in [0, 1], and the place of that peak.
    1 and 0 for a flat curve."""
    y = np.asarray(accuracy, dtype=float)
    total = float(((y - y.mean()) ** 2).sum())
    if total < 1e-15:
        return 1.0, 0
    errors = []
    for peak in range(len(y)):
        rising = isotonic_regression(y[:peak]).x if peak else y[:0]
        fitted = np.concatenate([rising, isotonic_regression(y[peak:], increasing=False).x])
        errors.append(float(((y - fitted) ** 2).sum()))
    peak = int(np.argmin(errors))
    return 1 - errors[peak] / total, peak + int(np.argmax(y[peak:] == y[peak:].max()))


def roughness(values: np.ndarray, accuracy: np.ndarray) -> float:
    """Sum of absolute changes of slope, per mean step of the values, over the range of the curve: 0 for a straight
    line, larger the more it zigzags; nan for a flat one. It compares curves at the same values only."""
    x, y = np.asarray(values, dtype=float), np.asarray(accuracy, dtype=float)
    spread = float(y.max() - y.min())
    bends = np.diff(np.diff(y) / np.diff(x)) * np.diff(x).mean()
    return float(np.abs(bends).sum() / spread) if spread > 1e-15 else np.nan


def grid_note(frame: pd.DataFrame, setting: str) -> str:
    """The points there are, per corpus where they differ, and that few of them say nothing about the curve's shape."""
    found: dict[tuple, list[str]] = {}
    for dataset, part in frame.groupby("dataset", sort=False):
        values = list(dict.fromkeys(part[setting]))
        numeric = pd.api.types.is_numeric_dtype(frame[setting])
        found.setdefault(tuple(sorted(values) if numeric else values), []).append(dataset)
    told = []
    for values, datasets in found.items():
        where = f" on {', '.join(datasets)}" if len(found) > 1 else ""
        few = ", too few for the shape of a curve" if len(values) < FEWEST else ""
        told.append(f"{', '.join(map(str, values))}{where}{few}")
    return f"Points of {setting}: {'; '.join(told)}."


def claims(reports: Sequence[Report], setting: str) -> pd.DataFrame:
    """Verdicts on the shape of a sweep (`curves.rises_then_falls`) per corpus: columns of `verdicts.COLUMNS`. Fewer
    than FEWEST points: untestable here."""
    rows = []
    for corpus, curve in curves_of(reports, setting).items():
        about = {"claim": f"the score first rises, then falls with {setting}", "source": "§6.3, shape of the curve",
                 "corpus": corpus, "quantity": "share of the dev curve's variance told by one peak",
                 "reported": np.nan, RUNS: _runs_on(reports, corpus)}  # fmt: skip
        m = len(curve.values)
        if m < FEWEST:
            rows.append(about | {"verdict": "untestable here", "why": f"{m} points have no shape"})
            continue
        share, peak = unimodality(curve.scores)
        lone = "one seed of a value or more; " * bool(curve.measured.lone.any())
        rows.append(about | {
            "ours": share, "verdict": rises_then_falls(curve.measured),
            "why": f"{lone}peak at {setting} = {curve.values[peak]:g}; range of the curve {np.ptp(curve.scores):.3f}",
        })  # fmt: skip
    return frame_of(rows)


def _runs_on(reports: Sequence[Report], *corpora: str) -> tuple[str, ...]:
    return run_names(report for report in reports if corpus_name(report.config) in corpora)


def tortuosity_claim(reports: Sequence[Report], setting: str, more: str, less: str) -> pd.DataFrame:
    """Is the curve of corpus `more` rougher than that of `less`? Difference of `roughness`, 95 % basic interval of the
    draws of both. One row of `verdicts.COLUMNS`; untestable here: a corpus was not swept, or too few or unequal points.
    """
    found = curves_of(reports, setting)
    claim = f"the {setting} curve of {more} is more tortuous than that of {less}"
    about = {"claim": claim, "corpus": f"{more}, {less}", "source": "§6.3, shape of the curve",
             "quantity": "difference of roughness", "reported": np.nan,
             RUNS: _runs_on(reports, more, less)}  # fmt: skip
    both = [found[name] for name in (more, less) if name in found]
    if len(both) < 2 or not np.array_equal(*(one.values for one in both)) or len(both[0].values) < FEWEST:
        why = f"needs both corpora at the same {FEWEST} points or more"
        return frame_of([about | {"verdict": "untestable here", "why": why}])
    rough = [roughness(one.values, one.scores) for one in both]
    row = about | {"ours": rough[0] - rough[1], "verdict": "inconclusive",
                   "why": f"roughness {rough[0]:.2f} against {rough[1]:.2f}"}  # fmt: skip
    if any(one.measured.lone.any() for one in both):
        return frame_of([row | {"why": f"one seed of a value or more; {row['why']}"}])
    drawn = [[roughness(one.values, scores) for scores in one.measured.drawn(seed=seed)]
             for seed, one in enumerate(both)]  # fmt: skip
    low, high = 2 * row["ours"] - np.nanquantile(np.subtract(*drawn), [0.975, 0.025])  # noise roughens every draw
    return frame_of([row | {"low": low, "high": high, "verdict": verdict(low, high)}])


def ratio_claims(reports: Sequence[Report], more: str, less: str) -> pd.DataFrame:
    """What §6.3(3) concludes from the two optima: lambda_c / lambda_a is best below 1, and at a larger value on corpus
    `more` than on `less`. The best is that on dev; 95 % interval: the best of the curve's draws.

    Args: reports: both sweeps; under Adam only the ratio counts, so they are one (choice C21).
    Returns: columns of `verdicts.COLUMNS`; untestable here: fewer than FEWEST ratios, or a corpus not swept.
    """
    found, rows, drawn = curves_of(reports, "ratio"), [], {}
    source = "§6.3(3), both weights"
    for seed, (corpus, curve) in enumerate(found.items()):
        about = {"claim": "the best lambda_c is smaller than the best lambda_a", "source": source, "corpus": corpus,
                 "quantity": "lambda_c / lambda_a that is best on dev", "reported": np.nan,
                 RUNS: _runs_on(reports, corpus)}  # fmt: skip
        if (m := len(set(curve.values))) < FEWEST:
            rows.append(about | {"verdict": "untestable here", "why": f"{m} ratios are too few"})
            continue
        again = np.full_like(curve.values, np.nan, shape=1) if curve.measured.lone.any() else (
            curve.values[curve.measured.drawn(seed=seed).argmax(1)])  # fmt: skip
        drawn[corpus] = float(curve.values[curve.scores.argmax()]), again
        why = f"of {m} ratios from {curve.values[0]:g} to {curve.values[-1]:g}"
        rows.append(about | _of_draws(*drawn[corpus], 1, above=False) | {"why": why + _lone(again)})
    about = {"claim": f"the best lambda_c / lambda_a is larger on {more} than on {less}", "source": source,
             "corpus": f"{more}, {less}", "quantity": "difference of the best ratios on dev", "reported": np.nan,
             RUNS: _runs_on(reports, more, less)}  # fmt: skip
    if not {more, less} <= set(drawn):
        nothing = {"verdict": "untestable here", "why": f"needs both corpora at {FEWEST} ratios or more"}
        return frame_of([*rows, about | nothing])
    apart = tuple(one - other for one, other in zip(drawn[more], drawn[less], strict=True))
    return frame_of([*rows, about | _of_draws(*apart, 0) | {"why": "posts of both drawn again" + _lone(apart[1])}])


def _of_draws(ours: float, drawn: np.ndarray, value: float, above: bool = True) -> dict[str, Any]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"ours": ours, "low": low, "high": high, "verdict": verdict(low, high, value, above)}


def _lone(drawn: np.ndarray) -> str:
    return "; one seed of a value or more" * bool(np.isnan(drawn).any())


def halved(reports: Sequence[Report], setting: str, settings: Settings) -> list[RunConfig]:
    """The second step of the paper's search (§6.3; choice C21): the values half a step below and above the one that is
    best by dev accuracy, per corpus and seed, without those there are; nothing where the grid has few points.

    Args: reports: the first sweep, in even steps. setting: "lambda_c" or "lambda_a".
    """
    if not points(settings).halved:
        return []
    plans, whole = [], points(settings).loss_weights
    for dataset, curve in curves_of(reports, setting, "accuracy").items():
        if loss_weights(settings, dataset) != whole:
            continue
        best, half = curve.values[int(np.argmax(curve.scores))], STEP / 2
        seeds = sorted({report.config.seed for report in reports if corpus_name(report.config) == dataset})
        for value in (round(best - half, 2), round(best + half, 2)):
            if value > 0 and value not in curve.values.round(2):
                make = partial(experiments.dmfl, settings, dataset, variant=f"{setting}={value}")
                plans += [make(seed=seed, **{setting: value}) for seed in seeds]
    return plans
