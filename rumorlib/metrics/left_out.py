"""A metric of predictions, and what it would be without each cluster of posts: nothing is computed again post by post.

Every metric is made of sums over posts (AUC: over pairs), from which those of one cluster are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import logit

from rumorlib.metrics.evaluation import THRESHOLD, check_predictions, log_odds_of, mean_log_odds

METRICS: tuple[str, ...] = ("accuracy", "balanced_accuracy", "f1_macro", "brier", "auc")


@dataclass(frozen=True)
class Run:
    """One training's posts, each (n,), in order of post_id; `rank` is what the model said, as log-odds."""

    posts: list
    label: np.ndarray
    prob: np.ndarray
    rank: np.ndarray
    weight: np.ndarray


def by_seed(predictions: pd.DataFrame) -> list[pd.DataFrame]:
    """One frame per training, rows in order of post_id where there is one."""
    frames = [frame for _, frame in predictions.groupby("seed", sort=True)] if "seed" in predictions else [predictions]
    return [frame.sort_values("post_id") if "post_id" in frame else frame for frame in frames]


def trainings(predictions: pd.DataFrame, weight: str | None) -> list[Run]:
    """What each seed said. Args: weight: column of post weights; None: 1."""
    runs = []
    for frame in by_seed(predictions):
        base = np.ones(len(frame)) if weight is None else frame[weight].to_numpy(float)
        posts = frame["post_id"].tolist() if "post_id" in frame else []
        label, prob = check_predictions(frame["label"], frame["prob_rumor"])
        said = log_odds_of(frame)
        runs.append(Run(posts, label, prob, logit(prob.clip(1e-15, 1 - 1e-15)) if said is None else said, base))
    return runs


def averaged(runs: Sequence[Run]) -> Run:
    """The mean of their probabilities, exact where float64 would call it 0 or 1."""
    prob, rank = np.mean([run.prob for run in runs], axis=0), mean_log_odds(np.stack([run.rank for run in runs]))[0]
    return replace(runs[0], prob=prob, rank=rank)


def left_out(metric: str, run: Run, codes: np.ndarray) -> np.ndarray:
    """(1 + G,) metric of all posts, then without each cluster of `codes` (0..G-1); nan where a class is absent.

    Raises: ValueError: unknown metric.
    """

    def without(values: np.ndarray) -> np.ndarray:
        part = np.bincount(codes, weights=values)
        return part.sum() - np.r_[0, part]

    if metric == "auc":
        rumor, other = (without(run.weight * (run.label == label)) for label in (1, 0))
        return _ratio(_pairs(run, codes), rumor * other)
    return of_sums(metric, run, without)


def of_sums(metric: str, run: Run, sums: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(R,) a metric (not auc) of R selections of posts. Args: sums: values (n,) -> their sum over each selection, (R,).

    Raises: ValueError: unknown metric.
    """
    if metric not in METRICS or metric == "auc":
        raise ValueError(f"metric must be one of {', '.join(METRICS)}; got {metric!r}")

    def totals(values: np.ndarray) -> np.ndarray:
        return sums(run.weight * values)

    rumor, other = run.label == 1, run.label == 0
    if metric == "brier":
        return _ratio(totals((run.prob - run.label) ** 2), totals(np.ones_like(run.prob)))
    called = run.prob >= THRESHOLD
    tp, fn, tn, fp = totals(called & rumor), totals(~called & rumor), totals(~called & other), totals(called & other)
    if metric == "accuracy":
        return _ratio(tp + tn, tp + tn + fp + fn)
    if metric == "balanced_accuracy":
        return (_ratio(tp, tp + fn) + _ratio(tn, tn + fp)) / 2
    return sum(_ratio(2 * hit, 2 * hit + fp + fn, empty=0.0) for hit in (tp, tn)) / 2


def _ratio(numerator: np.ndarray, denominator: np.ndarray, empty: float = np.nan) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full_like(denominator, empty), where=denominator > 1e-12)


def _pairs(run: Run, codes: np.ndarray) -> np.ndarray:
    """(1 + G,) weight of (rumor, other) pairs in the right order, ties half: all, then without each cluster's."""
    rumor, other = run.weight * (run.label == 1), run.weight * (run.label == 0)
    everyone = np.zeros_like(codes)
    below, above = _below(run.rank, other, everyone), _below(-run.rank, rumor, everyone)
    own = rumor * (below - _below(run.rank, other, codes)) + other * above
    return (rumor @ below) - np.r_[0, np.bincount(codes, weights=own)]


def _below(rank: np.ndarray, weight: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(n,) weight of the posts of the same group that rank below each, of equals half."""
    order = np.lexsort((rank, group))
    r, g = rank[order], group[order]
    new = np.r_[True, (r[1:] != r[:-1]) | (g[1:] != g[:-1])]
    tied = np.add.reduceat(weight[order], np.flatnonzero(new))
    before = np.cumsum(tied) - tied
    start = np.maximum.accumulate(np.where(np.r_[True, g[1:] != g[:-1]], np.arange(len(g)), 0))  # of each one's group
    block = np.cumsum(new) - 1
    result = np.empty(len(rank))
    result[order] = before[block] - before[block[start]] + tied[block] / 2
    return result
