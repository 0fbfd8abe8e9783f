"""What accuracy loses from one model to another on the same posts, where each has seeds of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rumorlib.metrics.evaluation import THRESHOLD, group_codes
from rumorlib.metrics.statistics import Interval


def paired_drop(
    full: pd.DataFrame, variant: pd.DataFrame, clusters: str = "image_group", n: int = 1000, seed: int = 0,
    same_runs: bool = False,
) -> Interval:  # fmt: skip
    """Accuracy of `full` minus that of `variant` on the same posts, 95 % interval by the paired crossed bootstrap.

    Each resample draws images, the same for both, and seeds of each; the same, where both answer for the `same_runs`.
    Where one has fewer seeds and they differ less, their noise is drawn from the other's: a few seeds that happen to be
    alike tell little of it.

    Args: predictions with post_id, label, prob_rumor, seed. Returns: fractions. Raises: ValueError: not the same posts.
    """
    hits = [_hits(frame) for frame in (full, variant)]  # (posts, seeds) 0 or 1
    labels = [frame.drop_duplicates("post_id").set_index("post_id")["label"].sort_index() for frame in (full, variant)]
    if not labels[0].equals(labels[1]):
        raise ValueError("the two models were not evaluated on the same posts and labels")
    first = full.drop_duplicates("post_id").sort_values("post_id")
    codes = group_codes(first[clusters]) if clusters in first else np.arange(len(first))
    size = np.bincount(codes)
    random = np.random.default_rng(seed)
    counts = random.multinomial(len(size), np.full(len(size), 1 / len(size)), size=n)  # (n, G)
    counts = np.vstack([np.ones_like(size), counts])
    accuracies = []
    for hit in hits:
        sums = np.stack([np.bincount(codes, weights=hit[:, s], minlength=len(size)) for s in range(hit.shape[1])], 1)
        if not (same_runs and accuracies):
            even = np.full(hit.shape[1], 1 / hit.shape[1])
            share = np.vstack([even, random.multinomial(hit.shape[1], even, size=n) / hit.shape[1]])
        accuracies.append(((counts @ sums) * share).sum(1) / (counts @ size))
    few, many = sorted((0, 1), key=lambda which: hits[which].shape[1])
    if hits[few].shape[1] < hits[many].shape[1] and hits[few].mean(0).std() < hits[many].mean(0).std():
        sums = np.bincount(codes, weights=hits[few].mean(1), minlength=len(size))
        accuracies[few] = counts @ sums / (counts @ size) + _borrowed(hits[many], hits[few].shape[1], n, random)
    drop = accuracies[0] - accuracies[1]
    return Interval(float(drop[0]), *map(float, np.quantile(drop[1:], (0.025, 0.975))))


def _hits(frame: pd.DataFrame) -> np.ndarray:
    """(posts, seeds) whether the post was called right, posts in order of post_id."""
    right = (frame["prob_rumor"] >= THRESHOLD) == (frame["label"] == 1)
    return frame.assign(right=right.astype(float)).pivot(index="post_id", columns="seed", values="right").to_numpy()


def _borrowed(hits: np.ndarray, n_seeds: int, n: int, random: np.random.Generator) -> np.ndarray:
    """(1 + n,) seed noise of a mean over n_seeds, drawn from the seeds of `hits`; first 0, for the estimate itself."""
    noise = hits.mean(0) - hits.mean()
    return np.r_[0, random.choice(noise, (n, n_seeds)).mean(1)]
