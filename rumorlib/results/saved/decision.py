"""From log-odds to an answer: weights of parts, calibration and threshold, chosen on dev, and what they come to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from rumorlib.metrics import evaluation

FEWEST = 20  # dev posts, and 5 of each class, that a calibration needs
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)  # of rumors in a stream, for which precision is told


def joined(each: np.ndarray, dev: np.ndarray, label: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How several detectors become one: the weighted mean of their log-odds, each standardised on dev.

    Weights are those of a ridge regression of dev's labels, none below zero (stacking, Breiman 1996): one that is at
    chance gets little, one that runs against the labels none. Alike where dev is too small or no detector has a say.

    Args: each: (parts, n) log-odds; dev: rows of the n that are dev posts; label: (n,), read of dev alone.
    Returns: mean, spread and weight of each part, (parts,); weights sum to 1.
    """
    from sklearn.linear_model import Ridge

    own, label = each[:, dev], np.asarray(label)[dev].astype(int)
    mean, spread, alike = own.mean(1), np.maximum(own.std(1), 1e-9), np.full(len(each), 1 / len(each))
    if len(label) < FEWEST or np.bincount(label, minlength=2).min() < 5:
        return mean, spread, alike
    weights = Ridge(positive=True).fit(((own - mean[:, None]) / spread[:, None]).T, label).coef_
    return mean, spread, weights / weights.sum() if weights.sum() > 1e-9 else alike


def platt(log_odds: ArrayLike, label: ArrayLike) -> tuple[float, float]:
    """Slope and intercept of a logistic regression of dev's labels on its log-odds (Platt 1999); 1, 0 where dev is too
    small, its log-odds do not differ, or its labels run against them."""
    from sklearn.linear_model import LogisticRegression

    z, label = np.asarray(log_odds, dtype=float), np.asarray(label).astype(int)
    counts = np.bincount(label, minlength=2)
    spread = float(z.std())
    if len(z) < FEWEST or counts.min() < 5 or spread < 1e-9:
        return 1.0, 0.0
    fitted = LogisticRegression(C=10.0).fit(((z - z.mean()) / spread)[:, None], label)
    slope = float(fitted.coef_[0, 0]) / spread
    return (slope, float(fitted.intercept_[0]) - slope * float(z.mean())) if slope > 0 else (1.0, 0.0)


def calibrated(log_odds: ArrayLike, slope: float, intercept: float) -> np.ndarray:
    """Probability of a rumor after calibration."""
    return expit(slope * np.asarray(log_odds, dtype=float) + intercept)


def parse_goal(goal: str) -> tuple[str, float]:
    """A goal in a word: "0.5" (a probability), "f1", "precision=.9", "cost=5:1" (a missed rumor to a false alarm).

    Returns: value, f1, precision or cost; and its number (cost: the ratio). Raises: ValueError: none of these.
    """
    name, equals, number = goal.partition("=")
    try:
        if not equals and name != "f1":
            name, value = "value", float(name)
        elif name == "cost":
            missed, _, alarm = number.partition(":")
            value = float(missed) / float(alarm or 1)
        else:
            value = float(number or 0)
    except (ValueError, ZeroDivisionError):
        name, value = "", 0.0
    inside = {"value": 0 < value < 1, "f1": not equals, "precision": 0 < value <= 1, "cost": 0 < value < np.inf}
    if not inside.get(name):
        raise ValueError(f"threshold {goal!r}: write a probability as 0.5, or f1, precision=.9 or cost=5:1")
    return name, value


def threshold(prob: ArrayLike, label: ArrayLike, goal: str) -> float:
    """The probability from which a post is called a rumor, for a goal on these (dev) posts; ties go to the middle.

    Raises: ValueError: no such goal, or no threshold reaches the precision.
    """
    name, value = parse_goal(goal)
    if name == "value":
        return value
    prob, label = np.asarray(prob, dtype=float), np.asarray(label).astype(int)
    levels = np.unique(prob)
    tried = np.concatenate([[levels[0] / 2], (levels[1:] + levels[:-1]) / 2, [(1 + levels[-1]) / 2]])
    called = prob >= tried[:, None]  # (T, n)
    right, alarms = (called & (label == 1)).sum(1), (called & (label == 0)).sum(1)
    missed = (label == 1).sum() - right
    if name == "f1":
        gain = 2 * right / np.maximum(2 * right + alarms + missed, 1)
    elif name == "cost":
        gain = -(value * missed + alarms)
    else:
        reaches = right >= value * np.maximum(right + alarms, 1)
        reaches &= right > 0
        if not reaches.any():
            best = (right / np.maximum(right + alarms, 1)).max()
            raise ValueError(f"no threshold has a precision of {value:g} on dev; the highest is {best:.2f}")
        gain = np.where(reaches, right, -1)
    best = np.flatnonzero(gain == gain.max())
    return float(tried[best[len(best) // 2]])


def figures(log_odds: ArrayLike, prob: ArrayLike, label: ArrayLike, limit: float) -> dict[str, Any]:
    """What the answers of a split are worth: counts, accuracy, precision, recall, F1 at the threshold; AUC, Brier."""
    label, prob = np.asarray(label).astype(int), np.asarray(prob, dtype=float)
    called = prob >= limit
    right, alarms, rumors = int((called & (label == 1)).sum()), int((called & (label == 0)).sum()), int(label.sum())
    ranked = evaluation.classification_metrics(label, prob, log_odds=log_odds)
    return {
        "n": len(label),
        "n_rumor": rumors,
        "accuracy": float((called == (label == 1)).mean()),
        "precision": right / (right + alarms) if right + alarms else None,
        "recall": right / rumors if rumors else None,
        "f1": 2 * right / (right + alarms + rumors) if right + alarms + rumors else None,
        "false_alarms": alarms / (len(label) - rumors) if len(label) > rumors else None,
        "auc": ranked["auc"],
        "brier": float(np.mean((prob - label) ** 2)),
    }


def at_shares(recall: float | None, false_alarms: float | None) -> dict[str, float | None]:
    """Precision where another share of the posts are rumors, for the same recall and false alarms (Bayes)."""
    if recall is None or false_alarms is None:
        return {}
    found = {share: (share * recall, (1 - share) * false_alarms) for share in SHARES}
    return {f"{share:g}": hits / (hits + alarms) if hits + alarms else None for share, (hits, alarms) in found.items()}
