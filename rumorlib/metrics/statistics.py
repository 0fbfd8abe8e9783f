"""Intervals that stand alone: of a mean over a few values, and of a score over posts that no training stands behind."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from rumorlib.metrics.evaluation import group_codes
from rumorlib.metrics.left_out import of_sums, trainings


class Interval(NamedTuple):
    """A value and its confidence interval, same unit as the metric."""

    estimate: float
    low: float
    high: float


def cluster_bootstrap(
    predictions: pd.DataFrame,
    metric: str,
    clusters: str | None,
    n: int = 1000,
    seed: int = 0,
    weight: str | None = None,
) -> Interval:
    """95 % percentile interval of a rule's score, clusters drawn with replacement; of trained models see `estimates`.

    Args:
        predictions: label, prob_rumor. metric: of `left_out.METRICS` but auc. clusters: column ("" = its own cluster),
        or None: each post is one. n: resamples, of `seed`. weight: column of post weights; None: 1.
    Returns: low and high ignore resamples that lack a class, and are nan when more than half do.
    """
    (run,) = trainings(predictions, weight)
    codes = group_codes(predictions[clusters]) if clusters else np.arange(len(predictions))
    counts = _resamples(int(codes.max()) + 1, n, seed)
    values = of_sums(metric, run, lambda part: counts @ np.bincount(codes, weights=part, minlength=counts.shape[1]))
    defined = values[1:][~np.isnan(values[1:])]
    ends = np.quantile(defined, [0.025, 0.975]) if len(defined) > n / 2 else (np.nan, np.nan)
    return Interval(float(values[0]), *map(float, ends))


@lru_cache(maxsize=4)
def _resamples(n_clusters: int, n: int, seed: int) -> np.ndarray:
    """(1 + n, G) how often each cluster counts: once each, then n resamples. Kept, for a table draws them for every
    row and metric."""
    random = np.random.default_rng(seed)
    counts = random.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n).astype(float)
    return np.vstack([np.ones(n_clusters), counts])


def t_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean over seeds, std with ddof = 1 (seed noise alone).

    Args: values: (n_seeds,) one metric value per seed. confidence: in (0, 1).
    Returns: mean, low, high; nan bounds for a single seed.
    """
    values = np.asarray(values, dtype=float)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, np.nan, np.nan)
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(mean, float(mean - half), float(mean + half))
