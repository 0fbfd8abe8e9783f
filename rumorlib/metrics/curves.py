"""Claims about a curve, the score over the values of a setting, corrected for its many points; and its shape."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

from rumorlib.metrics.estimates import ALPHA, Measured, at_top, equivalence, holm

FEWEST = 6  # points below which a curve has no shape worth naming
SURE = 0.95  # share of draws in which what is claimed must hold


class Best(NamedTuple):
    """Verdict on "this point is best", and what it rests on."""

    verdict: str
    better: int  # other points that are better, of Holm's correction over all others
    worse: int
    on_top: float  # share of draws in which the point is on top


def best(curve: Measured, place: int) -> Best:
    """reproduced: the point is on top in 95 % of draws; not reproduced: another is better, Holm over the others."""
    if curve.lone.any():
        return Best("inconclusive", 0, 0, np.nan)
    better, worse = _told(curve, place, ALPHA)
    share = at_top(curve, place)
    verdict = "not reproduced" if better else "reproduced" if share >= SURE else "inconclusive"
    return Best(verdict, better, worse, share)


def may_be_best(curve: Measured, alpha: float = ALPHA) -> np.ndarray:
    """(m,) which points no other is better than, Holm over the others: the best is among them but in `alpha` of cases.
    None may be the best of a flat curve alone, so all of them stay."""
    return np.array([not _told(curve, place, alpha)[0] for place in range(len(curve.values))])


def _told(curve: Measured, place: int, alpha: float) -> tuple[int, int]:
    """How many other points are better than one, and how many worse, of Holm's correction over all others."""
    ahead = [curve.ahead(place, other) for other in range(len(curve.values)) if other != place]
    told = holm([one.p_value() for one in ahead]) < alpha
    better, worse = (sum(t and sign * one.value > 0 for one, t in zip(ahead, told, strict=True)) for sign in (-1, 1))
    return better, worse


def rises_then_falls(curve: Measured) -> str:
    """reproduced: an inner point is above both ends; not reproduced: one is below both, or an end above all inner ones.

    Each is a pair of differences (or more) that must all be told apart from 0; Bonferroni over the points or ends that
    could show it.
    """
    m = len(curve.values)
    if curve.lone.any() or m < 3:
        return "inconclusive"
    up = np.array([[_above(curve, inner, end) for end in (0, m - 1)] for inner in range(1, m - 1)])  # one-sided p
    peak, valley = ((m - 2) * p.max(1).min() for p in (up, 1 - up))
    end = 2 * (1 - up).max(0).min()
    if peak < ALPHA / 2 and valley >= ALPHA / 2:
        return "reproduced"
    return "not reproduced" if min(valley, end) < ALPHA / 2 and peak >= ALPHA / 2 else "inconclusive"


def _above(curve: Measured, one: int, other: int) -> float:
    """One-sided p of "above"."""
    found = curve.ahead(one, other)
    p = found.p_value()
    return p / 2 if found.value > 0 else 1 - p / 2


def flat(curve: Measured, place: int, margin: float) -> tuple[str, int, tuple[float, float, float]]:
    """Is every point within the margin of the one at `place`? The verdict, the point furthest away and its difference.

    reproduced: all intervals lie inside; not reproduced: one lies outside, Bonferroni over the points.
    """
    others = [other for other in range(len(curve.values)) if other != place]
    found = {other: curve.ahead(other, place) for other in others}
    far = max(others, key=lambda k: max(-found[k].low, found[k].high))
    said = {equivalence(one.low, one.high, margin) for one in found.values()}
    halves = {other: one.half(ALPHA / len(others)) for other, one in found.items()}
    moved = any(abs(one.value) - halves[other] > margin for other, one in found.items())
    verdict = "reproduced" if said == {"reproduced"} else "not reproduced" if moved else "inconclusive"
    return verdict, far, tuple(found[far])


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
