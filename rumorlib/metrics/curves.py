"""Claims about a curve, the score over the values of a setting: corrected for its many points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rumorlib.metrics.estimates import ALPHA, Measured, at_top, equivalence, holm

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
    ahead = [curve.ahead(place, other) for other in range(len(curve.values)) if other != place]
    told = holm([one.p_value() for one in ahead]) < ALPHA
    better, worse = (sum(t and sign * one.value > 0 for one, t in zip(ahead, told, strict=True)) for sign in (-1, 1))
    share = at_top(curve, place)
    verdict = "not reproduced" if better else "reproduced" if share >= SURE else "inconclusive"
    return Best(verdict, better, worse, share)


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
