"""How far probabilities can be trusted: the parts of Brier's score, reliability curves, and what is mere sampling.

A perfectly calibrated model too shows gaps between its probabilities and the shares it meets, the more the fewer posts
there are and the more of them share one picture. Each number here stands beside that floor, found by simulation: labels
drawn from the model's own probabilities, one draw per cluster, which its rumors read from one end and its other posts
from the other: posts of a picture go together where they share their label and apart where they do not.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rumorlib.metrics.evaluation import THRESHOLD, check_predictions, group_codes, log_odds_of, ranks_of

N_BINS = 10  # equal steps of probability, the usual number of the field
N_SIMULATED = 500


def brier_parts(
    label: ArrayLike, prob: ArrayLike, weight: ArrayLike | None = None, rank: ArrayLike | None = None
) -> dict[str, float]:
    """Brier's score = reliability - resolution + uncertainty (Murphy 1973), without bins.

    The recalibrated probabilities are the isotonic regression of the labels on `prob` (Dimitriadis et al., PNAS 2021),
    so the identity is exact: reliability is what recalibration would gain, resolution what the recalibrated model
    knows beyond the share of rumors, uncertainty that share's own score.

    Args:
        label: (n,) 1 = rumor. prob: (n,) in [0, 1]. weight: (n,) of each post; None: 1.
        rank: (n,) what orders the posts (`evaluation.ranks_of`); None: prob.
    Returns: brier, reliability (0 is best), resolution (larger is better), uncertainty; each in [0, 1].
    Raises: ValueError: as `evaluation.classification_metrics`.
    """
    from sklearn.isotonic import IsotonicRegression

    label, prob = check_predictions(label, prob)
    weight = np.ones(len(label)) if weight is None else np.asarray(weight, dtype=float)
    rank = prob if rank is None else np.asarray(rank, dtype=float)
    recalibrated = IsotonicRegression(y_min=0, y_max=1).fit_transform(rank, label, sample_weight=weight)
    share = np.average(label, weights=weight)
    brier, best = (float(np.average((p - label) ** 2, weights=weight)) for p in (prob, recalibrated))
    uncertainty = float(share * (1 - share))
    return {"brier": brier, "reliability": brier - best, "resolution": uncertainty - best, "uncertainty": uncertainty}


def expected_calibration_error(label: ArrayLike, prob: ArrayLike, n_bins: int = N_BINS) -> float:
    """Mean distance of probability and share of rumors over `n_bins` equal steps of probability, weighted by posts."""
    label, prob = check_predictions(label, prob)
    return float(_gaps(label[None].astype(float), prob, n_bins)[0])


def perfect_labels(
    label: np.ndarray, prob: np.ndarray, clusters: np.ndarray, n: int = N_SIMULATED, seed: int = 0
) -> np.ndarray:
    """(n, posts) labels that a model with these probabilities would meet if it were perfectly calibrated.

    A cluster shares one uniform draw, its rumors u, its other posts 1 - u. So posts of one picture that have one label
    meet one label again, and a photograph at its own caption and at another's meets one of each.

    Args: label: (posts,) true ones, 1 = rumor. prob: (posts,). clusters: (posts,) integers 0, 1, ... n, seed: draws.
    """
    draws = np.random.default_rng(seed).random((n, int(clusters.max()) + 1))[:, clusters]
    return (np.where(label == 1, draws, 1 - draws) < prob).astype(float)


def ece_floor(prob: np.ndarray, perfect: np.ndarray) -> float:
    """95 % quantile of the ECE that a perfectly calibrated model shows. Args: perfect: of `perfect_labels`."""
    return float(np.quantile(_gaps(perfect, prob, N_BINS), 0.95))


def summary(predictions: pd.DataFrame, clusters: str | None) -> dict[str, float]:
    """Calibration of one run on one split, each number beside its floor.

    Args:
        predictions: label, prob_rumor, log_odds where known, and the column `clusters`; None: each post by itself.
    Returns: brier and its parts; ece; reliability_floor and ece_floor: the 95 % quantile of each for a perfectly
        calibrated model of these probabilities and clusters.
    """
    label, prob = check_predictions(predictions["label"], predictions["prob_rumor"])
    codes = group_codes(predictions[clusters]) if clusters else np.arange(len(label))
    (rank,), perfect = ranks_of(predictions), perfect_labels(label, prob, codes)
    parts = [brier_parts(row.astype(int), prob, rank=rank)["reliability"] for row in perfect[:200]]
    floors = {"reliability_floor": np.quantile(parts, 0.95), "ece_floor": ece_floor(prob, perfect)}
    found = brier_parts(label, prob, rank=rank) | {"ece": expected_calibration_error(label, prob)}
    return found | {name: float(value) for name, value in floors.items()}


def reliability_curve(predictions: pd.DataFrame, clusters: str | None, n_bins: int = N_BINS) -> pd.DataFrame:
    """Share of rumors met in each step of probability, beside what a perfectly calibrated model would show.

    Returns: one row per step that holds posts: bin (its lower edge), n, prob (mean), observed (share of rumors),
        floor_low, floor_high (95 % of the shares a perfect model would meet there), within (observed lies between).
    """
    label, prob = check_predictions(predictions["label"], predictions["prob_rumor"])
    codes = group_codes(predictions[clusters]) if clusters else np.arange(len(label))
    perfect, place = perfect_labels(label, prob, codes), _bins(prob, n_bins)
    rows = []
    for step in np.unique(place):
        inside = place == step
        low, high = np.quantile(perfect[:, inside].mean(1), (0.025, 0.975))
        observed = label[inside].mean()
        rows.append({"bin": step / n_bins, "n": int(inside.sum()), "prob": prob[inside].mean(), "observed": observed,
                     "floor_low": low, "floor_high": high, "within": bool(low <= observed <= high)})  # fmt: skip
    return pd.DataFrame(rows)


def dev_threshold(label: ArrayLike, prob: ArrayLike, log_odds: ArrayLike | None = None) -> float:
    """The threshold with the highest accuracy on these (dev) posts; of several the one nearest to one half.

    Returns: a probability; where `log_odds` are given, log-odds."""
    label, prob = check_predictions(label, prob)
    rank, half = (prob, THRESHOLD) if log_odds is None else (np.asarray(log_odds, dtype=float), 0.0)
    values, place = np.unique(rank, return_inverse=True)
    rumors, posts = np.bincount(place, weights=label), np.bincount(place)
    missed = np.r_[0, np.cumsum(rumors)]  # rumors below each candidate, called non-rumor
    wrong = missed + np.r_[np.cumsum((posts - rumors)[::-1])[::-1], 0]  # and non-rumors at or above it
    below = values[0] / 2 if log_odds is None else values[0] - 1
    candidates = np.r_[below, (values[1:] + values[:-1]) / 2, values[-1] + 1e-9]
    candidates[np.searchsorted(values, half)] = half  # the candidate that splits the posts as one half does
    best = candidates[wrong == wrong.min()]
    return float(best[np.abs(best - half).argmin()])


def accuracy_at_dev_threshold(dev: pd.DataFrame, test: pd.DataFrame) -> float:
    """Accuracy on `test` with each seed's threshold taken from its `dev` posts; mean over seeds."""
    right = at_dev_threshold(dev, test)["prob_rumor"] == test["label"]
    return float(right.groupby(test["seed"]).mean().mean() if "seed" in test else right.mean())


def at_dev_threshold(dev: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Test predictions as 0 and 1, by the threshold that is best on the `dev` posts, of each seed where there are."""
    called = pd.Series(0.0, index=test.index)
    for _, part in test.groupby("seed") if "seed" in test else [(None, test)]:
        own = dev[dev["seed"].isin(part["seed"])] if "seed" in test else dev
        known = [log_odds_of(own), log_odds_of(part)]
        if any(one is None for one in known):
            above = part["prob_rumor"] >= dev_threshold(own["label"], own["prob_rumor"])
        else:
            above = known[1] >= dev_threshold(own["label"], own["prob_rumor"], known[0])
        called.loc[part.index] = np.asarray(above, dtype=float)
    return test.assign(prob_rumor=called).drop(columns="log_odds", errors="ignore")


def _bins(prob: np.ndarray, n_bins: int) -> np.ndarray:
    return np.minimum((prob * n_bins).astype(int), n_bins - 1)


def _gaps(labels: np.ndarray, prob: np.ndarray, n_bins: int) -> np.ndarray:
    """(n,) expected calibration error of each row of labels (n, posts)."""
    place = np.eye(n_bins)[_bins(prob, n_bins)]  # (posts, bins)
    return np.abs((labels - prob) @ place).sum(1) / len(prob)
