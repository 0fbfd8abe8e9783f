"""Intervals and tests that respect clusters: posts of one image or event are not independent.

Every resample only changes how often each cluster counts, so a metric of all resamples is a few matrix products over
per-cluster sums (AUC: one sort, then weighted ranks); nothing is recomputed post by post.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from rumorlib.metrics.evaluation import THRESHOLD, check_predictions, group_codes, log_odds_of, ranks_of

Metric = Literal["accuracy", "balanced_accuracy", "f1_macro", "brier", "auc"]
METRICS: tuple[str, ...] = ("accuracy", "balanced_accuracy", "f1_macro", "brier", "auc")
RESAMPLES_PER_BLOCK = 64  # resamples held at once: 64 x posts doubles


class Interval(NamedTuple):
    """A value and its confidence interval, same unit as the metric."""

    estimate: float
    low: float
    high: float


class PairedTest(NamedTuple):
    """Metric of a minus metric of b, two-sided p-value, and how many clusters could be swapped."""

    difference: float
    p_value: float
    n_clusters: int


def verdict(low: float, high: float, value: float, above: bool = True) -> str:
    """Of "it lies above (or below) the value": by the interval's side; inconclusive where the value lies inside. An
    interval that ends at the value lies on neither side of it but denies the claim: nothing of it is above (below)."""
    yes, no = (low > value, high <= value) if above else (high < value, low >= value)
    return "reproduced" if yes else "not reproduced" if no else "inconclusive"


def cluster_bootstrap(
    predictions: pd.DataFrame,
    metric: Metric,
    clusters: str | None,
    n: int = 1000,
    seed: int = 0,
    weight: str | None = None,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval of a metric by the crossed bootstrap: clusters outer, seeds inner.

    Each resample draws clusters with replacement, the same ones for every seed, and seeds with replacement; its value
    is the mean of the metric over the drawn seeds. With few clusters (tens) such intervals are somewhat too narrow.

    Args:
        predictions: label, prob_rumor, log_odds where known, and a `seed` column if there are several runs (then the
            rows of all seeds).
        metric: one of METRICS, at threshold 0.5.
        clusters: column of the clusters ("" = its own cluster), or None: each post is one (post_id if seeds differ).
        n: resamples.
        seed: of the resampling.
        weight: column of post weights, e.g. 1 / posts of the image; None: 1.
        confidence: in (0, 1).
    Returns: estimate (mean over seeds on the data as they are), low, high; low and high ignore resamples that lack a
        class, and are nan when more than half do.
    Raises: ValueError: unknown metric, or the seeds do not hold the same posts.
    """
    runs, codes = _runs(predictions, clusters, weight)
    n_clusters = int(codes.max()) + 1
    counts = _resamples(n_clusters, n, seed)
    values = np.stack([_metric(metric, run, codes, counts) for run in runs])  # (S, 1 + n)
    draws = np.random.default_rng([seed, 1]).multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=n) / len(
        runs
    )  # (n, S)
    resampled = (draws.T * values[:, 1:]).sum(0)
    defined = resampled[~np.isnan(resampled)]
    if len(defined) <= n / 2:
        return Interval(float(values[:, 0].mean()), np.nan, np.nan)
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values[:, 0].mean()), float(low), float(high))


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


def paired_permutation(
    predictions_a: pd.DataFrame,
    predictions_b: pd.DataFrame,
    clusters: str | None,
    metric: Metric = "accuracy",
    n: int = 10_000,
    seed: int = 0,
    weight: str | None = None,
) -> PairedTest:
    """Two-sided permutation test of a difference: whole clusters swap models (comparisons).

    Under the null hypothesis the two models are exchangeable within a cluster; for accuracy the swap is the sign flip
    of the cluster's difference. Probabilities are first averaged over seeds. All 2^G swaps are enumerated when there
    are at most n of them (exact test), else n random ones: p = (1 + as extreme) / (1 + n).

    Args:
        predictions_a, predictions_b: post_id, label, prob_rumor, log_odds where known (and seed) of the same posts.
        clusters: column of `predictions_a`; None: each post by itself.
        metric: one of METRICS.
        n, seed: random swaps and their seed.
        weight: column of `predictions_a` with post weights; None: 1.
    Returns: difference (a - b), p_value, n_clusters.
    Raises: ValueError: not the same posts and labels.
    """
    a, b = seed_mean(predictions_a), seed_mean(predictions_b)
    if not a.index.equals(b.index) or not a["label"].equals(b["label"]):
        raise ValueError("the two models were not evaluated on the same posts and labels")
    codes = group_codes(a[clusters]) if clusters else np.arange(len(a))
    n_clusters = int(codes.max()) + 1
    stacked = pd.concat([a, b])
    base = np.ones(len(a)) if weight is None else a[weight].to_numpy(float)
    arrays = Arrays(
        *check_predictions(stacked["label"], stacked["prob_rumor"]), np.concatenate(ranks_of(a, b)), np.tile(base, 2)
    )
    both = np.concatenate([codes, codes + n_clusters])  # a's copy of each cluster, then b's: swap = which copy counts
    blocks = []
    for swap in _swaps(n_clusters, n, seed):  # (r, G)
        first = _metric(metric, arrays, both, np.hstack([1 - swap, swap]))
        blocks.append(first - _metric(metric, arrays, both, np.hstack([swap, 1 - swap])))
    difference = np.concatenate(blocks)  # the observed one first: it counts, hence 1 + ... in p
    extreme = np.abs(difference) >= np.abs(difference[0]) - 1e-12  # equal up to rounding counts as extreme
    return PairedTest(float(difference[0]), float(extreme.mean()) if np.isfinite(difference[0]) else np.nan, n_clusters)


def paired_interval(
    a: pd.DataFrame, b: pd.DataFrame, clusters: str | None, metric: Metric, weight: str | None = None
) -> Interval:
    """The difference of `paired_permutation` with its 95 % interval: clusters drawn again, the same for both models.
    Seeds are averaged first, so it tells what other posts would change and not what other seeds would."""
    frames = [seed_mean(frame).reset_index().drop(columns="seed", errors="ignore") for frame in (a, b)]
    (one, codes), (other, _) = (_runs(frame, clusters, weight) for frame in frames)
    counts = _resamples(int(codes.max()) + 1, 1000, 0)
    values = _metric(metric, one[0], codes, counts) - _metric(metric, other[0], codes, counts)
    return Interval(float(values[0]), *map(float, np.nanquantile(values[1:], (0.025, 0.975))))


def holm(p_values: Mapping[str, float], alpha: float = 0.05) -> pd.DataFrame:
    """Holm's correction over a named set of comparisons (statsmodels).

    Args: p_values: comparison -> p-value in [0, 1]. alpha: family-wise error rate.
    Returns: comparison, p_value, p_holm, significant (bool), in the given order.
    Raises: ValueError: a p-value is nan or outside [0, 1].
    """
    from statsmodels.stats.multitest import multipletests

    values = np.array(list(p_values.values()), dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values must lie in [0, 1], got {dict(p_values)}")
    significant, adjusted = multipletests(values, alpha, method="holm")[:2] if len(values) else (values > 1, values)
    return pd.DataFrame(
        {"comparison": list(p_values), "p_value": values, "p_holm": adjusted, "significant": significant}
    )


# --- metrics under cluster counts -----------------------------------------------------------


class Arrays(NamedTuple):
    """One run's posts, each (n,); `rank` orders them as the run does (`evaluation.ranks_of`)."""

    label: np.ndarray
    prob: np.ndarray
    rank: np.ndarray
    weight: np.ndarray


def _runs(predictions: pd.DataFrame, clusters: str | None, weight: str | None) -> tuple[list[Arrays], np.ndarray]:
    """Arrays per seed, rows in the same order, and the cluster of each row."""
    frames = [predictions]
    if "seed" in predictions and predictions["seed"].nunique() > 1:
        frames = [frame.sort_values("post_id") for _, frame in predictions.groupby("seed", sort=True)]
        if any(frame["post_id"].tolist() != frames[0]["post_id"].tolist() for frame in frames):
            raise ValueError("every seed must hold the same posts")
    codes = group_codes(frames[0][clusters]) if clusters else np.arange(len(frames[0]))
    runs = []
    for frame in frames:
        base = np.ones(len(frame)) if weight is None else frame[weight].to_numpy(float)
        runs.append(Arrays(*check_predictions(frame["label"], frame["prob_rumor"]), *ranks_of(frame), base))
    return runs, codes


def seed_mean(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per post, ordered by post_id (the index), probabilities averaged over seeds; the rest is the first's.

    log_odds are those of the averaged probability, where every row has them; otherwise the column is dropped.
    """
    frame = predictions.drop_duplicates("post_id").set_index("post_id").sort_index()
    frame = frame.assign(prob_rumor=predictions.groupby("post_id")["prob_rumor"].mean())
    found = log_odds_of(predictions)
    if found is None:
        return frame.drop(columns="log_odds", errors="ignore")
    names = predictions["post_id"].to_numpy()
    order = np.argsort(names, kind="stable")
    starts = np.flatnonzero(np.r_[True, names[order][1:] != names[order][:-1]])
    return frame.assign(log_odds=mean_log_odds(found[order], starts))


def mean_log_odds(log_odds: np.ndarray, starts: ArrayLike = (0,)) -> np.ndarray:
    """Log-odds of the mean probability of each block of the first axis, exact where float64 would call it 0 or 1.

    Args: log_odds: (S, ...). starts: first row of each block, as `np.add.reduceat` takes them. Returns: (blocks, ...).
    """
    z = np.asarray(log_odds, dtype=float)
    rumor, other = (np.logaddexp.reduceat(-np.logaddexp(0, side), starts, axis=0) for side in (-z, z))
    return rumor - other


def _swaps(n_clusters: int, n: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of 0/1 rows, 1 = the cluster swaps models: all 2^G if at most n, else n; the first row swaps nothing."""
    if n_clusters < 31 and 2**n_clusters <= n:
        yield ((np.arange(2**n_clusters)[:, None] >> np.arange(n_clusters)) & 1).astype(float)
        return
    yield np.zeros((1, n_clusters))
    random = np.random.default_rng(seed)
    for start in range(0, n, RESAMPLES_PER_BLOCK):
        yield random.integers(0, 2, (min(RESAMPLES_PER_BLOCK, n - start), n_clusters)).astype(float)


def _metric(metric: str, run: Arrays, codes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R,) metric when cluster g of `codes` counts `counts[r, g]` times; nan where a class it needs is absent."""
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}; got {metric!r}")
    label, prob, rank, weight = run
    if metric == "auc":
        return _auc(label, rank, weight, codes, counts)

    def totals(values: np.ndarray) -> np.ndarray:
        return counts @ np.bincount(codes, weights=weight * values, minlength=counts.shape[1])

    if metric == "brier":
        return _ratio(totals((prob - label) ** 2), totals(np.ones_like(prob)))
    called = prob >= THRESHOLD
    tp, fn = totals(called & (label == 1)), totals(~called & (label == 1))
    tn, fp = totals(~called & (label == 0)), totals(called & (label == 0))
    if metric == "accuracy":
        return _ratio(tp + tn, tp + tn + fp + fn)
    if metric == "balanced_accuracy":
        return (_ratio(tp, tp + fn) + _ratio(tn, tn + fp)) / 2
    f1 = [_ratio(2 * hit, 2 * hit + fp + fn, empty=0.0) for hit in (tp, tn)]
    return (f1[0] + f1[1]) / 2


def _ratio(numerator: np.ndarray, denominator: np.ndarray, empty: float = np.nan) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full_like(denominator, empty), where=denominator > 1e-12)


def _auc(label: np.ndarray, rank: np.ndarray, weight: np.ndarray, codes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R,) share of (rumor, non-rumor) pairs in the right order, ties half, pairs weighted by the product."""
    order = np.argsort(rank, kind="stable")
    label, weight, codes, rank = label[order], weight[order], codes[order], rank[order]
    starts = np.flatnonzero(np.r_[True, rank[1:] != rank[:-1]])  # first row of each distinct answer
    result = np.empty(len(counts))
    for start in range(0, len(counts), RESAMPLES_PER_BLOCK):
        block = slice(start, start + RESAMPLES_PER_BLOCK)
        weights = counts[block][:, codes] * weight  # (r, n)
        rumor = np.add.reduceat(weights * label, starts, axis=1)
        other = np.add.reduceat(weights * (1 - label), starts, axis=1)
        below = np.cumsum(other, axis=1) - other / 2
        result[block] = _ratio((rumor * below).sum(1), rumor.sum(1) * other.sum(1))
    return result
