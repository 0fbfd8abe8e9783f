"""Shapes of sweep curves as statistics: "first rising, then falling" and "more tortuous" (DMFL §6.3), with intervals.

A curve is the dev accuracy at each value of a setting. Its uncertainty is that of the posts: pictures are drawn again,
the same ones for every value, so what is easy or hard about a post moves the curve as a whole and not its shape.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from rumorlib import experiments
from rumorlib.config import RunConfig, Settings
from rumorlib.config.profiles import loss_weights, points
from rumorlib.experiments import corpus_name
from rumorlib.metrics import statistics
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, run_names
from rumorlib.studies.scores import sweeps
from rumorlib.studies.scores.verdicts import frame_of

ALPHA = 0.05
# points below which no order is rare enough: one peak have 2^(m-1) of m! orders, .13 of five points, .044 of six
FEWEST = 6
STEP = 0.4  # of the first sweep of lambda_c and lambda_a, the paper's


@dataclass(frozen=True)
class Curve:
    """Accuracy over the values of a setting, and again on resampled pictures."""

    values: np.ndarray  # (m,) of the setting, rising
    accuracy: np.ndarray  # (m,) mean over seeds
    drawn: np.ndarray  # (n, m)


def curves(
    reports: Sequence[Report], setting: str, split: str = "dev", n: int = 500, seed: int = 0
) -> dict[str, Curve]:
    """The curve of each corpus that was swept. Args: setting: key of `sweeps.SETTINGS`."""
    found: dict[str, list[tuple[float, pd.DataFrame]]] = {}
    for (dataset, _), group in sweeps.by_variant(reports).items():
        value = sweeps.SETTINGS[setting](group[0].config)
        found.setdefault(dataset, []).append((value, sweeps.predictions(group, split)))
    made = {}
    for dataset, swept in found.items():
        swept = sorted(swept, key=lambda point: point[0])
        hits = np.column_stack([_hits(frame) for _, frame in swept])  # (posts, m)
        posts = swept[0][1].drop_duplicates("post_id").sort_values("post_id")
        names = posts["image_group"] if "image_group" in posts else posts["post_id"]
        codes = names.astype("category").cat.codes.to_numpy()
        sums = np.stack([np.bincount(codes, weights=column) for column in hits.T], axis=1)  # (clusters, m)
        size = np.bincount(codes)
        counts = np.random.default_rng(seed).multinomial(len(size), np.full(len(size), 1 / len(size)), size=n)
        drawn = counts @ sums / (counts @ size)[:, None]
        made[dataset] = Curve(np.array([value for value, _ in swept]), hits.mean(0), drawn)
    return made


def _hits(frame: pd.DataFrame) -> np.ndarray:
    """(posts,) share of seeds that call the post right, posts in order of post_id."""
    right = (frame["prob_rumor"] >= statistics.THRESHOLD) == (frame["label"] == 1)
    return right.astype(float).groupby(frame["post_id"]).mean().sort_index().to_numpy()


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


def unimodality_p(accuracy: np.ndarray, n: int = 1000, seed: int = 0) -> float:
    """Share of orders of the same points that are as unimodal, of all there are if at most n, else of n random ones:
    small if the shape is more than chance."""
    random, found = np.random.default_rng(seed), unimodality(accuracy)[0]
    if math.factorial(len(accuracy)) <= n:
        return float(np.mean([unimodality(order)[0] >= found - 1e-12 for order in itertools.permutations(accuracy)]))
    as_good = sum(unimodality(random.permutation(accuracy))[0] >= found - 1e-12 for _ in range(n))
    return (1 + as_good) / (1 + n)


def claims(reports: Sequence[Report], setting: str, n: int = 500) -> pd.DataFrame:
    """Verdicts on the shape of a sweep: columns of `verdicts.COLUMNS`.

    "rises, then falls" per corpus. reproduced: the order of the points is more unimodal than chance (p < .05) and the
    peak of at least 95 % of the resampled curves lies inside; not reproduced: it lies inside in at most 5 %, or the
    order is no better than half of the random ones; else inconclusive. Fewer than FEWEST points: untestable
    here.
    """
    rows = []
    for corpus, curve in curves(reports, setting, n=n).items():
        about = {"claim": f"accuracy first rises, then falls with {setting}", "source": "§6.3, shape of the curve",
                 "corpus": corpus, "quantity": "share of the dev curve's variance told by one peak",
                 "reported": np.nan, RUNS: _runs_on(reports, corpus)}  # fmt: skip
        m = len(curve.values)
        if m < FEWEST:
            rows.append(about | {"verdict": "untestable here", "why": f"{m} points have no shape"})
            continue
        share, peak = unimodality(curve.accuracy)
        again = [unimodality(one) for one in curve.drawn]
        inside = float(np.mean([0 < place < m - 1 for _, place in again]))
        low, high = np.quantile([value for value, _ in again], [0.025, 0.975])
        p = unimodality_p(curve.accuracy)
        verdict = "reproduced" if p < ALPHA and inside >= 0.95 else "inconclusive"
        verdict = "not reproduced" if inside <= 0.05 or p > 0.5 else verdict
        rows.append(about | {
            "ours": share, "low": low, "high": high, "verdict": verdict,
            "why": f"peak at {setting} = {curve.values[peak]:g}; inside in {inside:.0%} of resampled curves; {p:.0%} "
                   f"of random orders are as unimodal; range of the curve {np.ptp(curve.accuracy):.3f}",
        })  # fmt: skip
    return frame_of(rows)


def _runs_on(reports: Sequence[Report], *corpora: str) -> tuple[str, ...]:
    return run_names(report for report in reports if corpus_name(report.config) in corpora)


def tortuosity_claim(reports: Sequence[Report], setting: str, more: str, less: str, n: int = 500) -> pd.DataFrame:
    """Is the curve of corpus `more` rougher than that of `less`? Difference of `roughness`, 95 % interval over pictures
    of both. One row of `verdicts.COLUMNS`; untestable here: a corpus was not swept, or too few or unequal points."""
    found = curves(reports, setting, n=n)
    claim = f"the {setting} curve of {more} is more tortuous than that of {less}"
    about = {"claim": claim, "corpus": f"{more}, {less}", "source": "§6.3, shape of the curve",
             "quantity": "difference of roughness", "reported": np.nan,
             RUNS: _runs_on(reports, more, less)}  # fmt: skip
    both = [found[name] for name in (more, less) if name in found]
    if len(both) < 2 or not np.array_equal(*(one.values for one in both)) or len(both[0].values) < FEWEST:
        why = f"needs both corpora at the same {FEWEST} points or more"
        return frame_of([about | {"verdict": "untestable here", "why": why}])
    rough = [roughness(one.values, one.accuracy) for one in both]
    drawn = [[roughness(one.values, accuracy) for accuracy in one.drawn] for one in both]
    low, high = np.nanquantile(np.subtract(*drawn), [0.025, 0.975])
    verdict = statistics.verdict(low, high, 0)
    row = about | {"ours": rough[0] - rough[1], "low": low, "high": high, "verdict": verdict,
                   "why": f"roughness {rough[0]:.2f} against {rough[1]:.2f}"}  # fmt: skip
    return frame_of([row])


def ratio_claims(reports: Sequence[Report], more: str, less: str, n: int = 500) -> pd.DataFrame:
    """What §6.3(3) concludes from the two optima: lambda_c / lambda_a is best below 1, and at a larger value on corpus
    `more` than on `less`. The best is that on dev; 95 % interval: the best of resampled pictures.

    Args: reports: both sweeps; under Adam only the ratio counts, so they are one (choice C21).
    Returns: columns of `verdicts.COLUMNS`; untestable here: fewer than FEWEST ratios, or a corpus not swept.
    """
    found, rows, drawn = curves(reports, "ratio", n=n), [], {}
    source = "§6.3(3), both weights"
    for corpus, curve in found.items():
        about = {"claim": "the best lambda_c is smaller than the best lambda_a", "source": source, "corpus": corpus,
                 "quantity": "lambda_c / lambda_a that is best on dev", "reported": np.nan,
                 RUNS: _runs_on(reports, corpus)}  # fmt: skip
        if (m := len(set(curve.values))) < FEWEST:
            rows.append(about | {"verdict": "untestable here", "why": f"{m} ratios are too few"})
            continue
        drawn[corpus] = curve.values[np.r_[curve.accuracy[None], curve.drawn].argmax(1)]
        low, high = np.quantile(drawn[corpus][1:], [0.025, 0.975])
        rows.append(about | {"ours": drawn[corpus][0], "low": low, "high": high,
                             "verdict": statistics.verdict(low, high, 1, above=False),
                             "why": f"of {m} ratios from {curve.values[0]:g} to {curve.values[-1]:g}"})  # fmt: skip
    about = {"claim": f"the best lambda_c / lambda_a is larger on {more} than on {less}", "source": source,
             "corpus": f"{more}, {less}", "quantity": "difference of the best ratios on dev", "reported": np.nan,
             RUNS: _runs_on(reports, more, less)}  # fmt: skip
    if not {more, less} <= set(drawn):
        nothing = {"verdict": "untestable here", "why": f"needs both corpora at {FEWEST} ratios or more"}
        return frame_of([*rows, about | nothing])
    apart = drawn[more] - drawn[less]
    low, high = np.quantile(apart[1:], [0.025, 0.975])
    row = about | {"ours": apart[0], "low": low, "high": high, "verdict": statistics.verdict(low, high, 0)}
    return frame_of([*rows, row | {"why": "pictures of both drawn again"}])


def halved(reports: Sequence[Report], setting: str, settings: Settings) -> list[RunConfig]:
    """The second step of the paper's search (§6.3; choice C21): the values half a step below and above the one that is
    best on dev, per corpus and seed, without those there are; nothing where the grid has few points.

    Args: reports: the first sweep, in even steps. setting: "lambda_c" or "lambda_a".
    """
    if not points(settings).halved:
        return []
    plans, whole = [], points(settings).loss_weights
    for dataset, curve in curves(reports, setting, n=1).items():
        if loss_weights(settings, dataset) != whole:
            continue
        best, half = curve.values[int(np.argmax(curve.accuracy))], STEP / 2
        seeds = sorted({report.config.seed for report in reports if corpus_name(report.config) == dataset})
        for value in (round(best - half, 2), round(best + half, 2)):
            if value > 0 and value not in curve.values.round(2):
                make = partial(experiments.dmfl, settings, dataset, variant=f"{setting}={value}")
                plans += [make(seed=seed, **{setting: value}) for seed in seeds]
    return plans
