"""How far apart texts and images of the same posts lie, before and after DMFL aligns them (Eqs 15-17, choice C13).

The loss of Eq 17 alone says little: it is also small where both sides have shrunk to a point. So each measure compares
true pairs with shuffled ones, or one side with the other, and is free of scale where that matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.spatial.distance import cdist

from rumorlib.config import RunConfig
from rumorlib.data.batches import Batch, PostTensors, array, where_is
from rumorlib.metrics.statistics import t_interval
from rumorlib.models.attention import masked_mean
from rumorlib.models.dmfl import DMFL

N_PAIRS = 400  # true pairs measured: enough for the intervals, few enough for every run
N_LEAST = 20  # with fewer, nothing is measured
N_RESAMPLES = 1000
SEED = 0
Sides = tuple[np.ndarray, np.ndarray]  # text (n, d), image (n, d): row i of both is post i


def true_pairs(posts: pd.DataFrame) -> np.ndarray:
    """(n,) rows of non-rumor dev posts with a picture, each picture once: text and image belong together, and any other
    image is a wrong one. At most N_PAIRS, evenly spaced over the table."""
    chosen = posts["split"].eq("dev") & posts["label"].eq(0) & posts["image"].ne("")
    rows = np.flatnonzero(chosen.to_numpy() & ~posts["image"].where(chosen).duplicated().to_numpy())
    return rows[np.linspace(0, len(rows) - 1, min(N_PAIRS, len(rows))).astype(int)]


def are_measurable(config: RunConfig, posts: pd.DataFrame) -> bool:
    """Whether a DMFL variant has two sides to align (text and image rows after Eq 11), and dev enough true pairs."""
    return config.detector.parts in ("full", "semantic_only") and len(true_pairs(posts)) >= N_LEAST


@torch.inference_mode()
def sides(model: DMFL, batches: Iterable[Batch]) -> dict[str, Sides]:
    """The two sides of Eq 17, masked means over the words and over the patches of each post.

    Returns: "attended": T and I as Eq 11 leaves them; "aligned": W_t T and W_i I (Eqs 15-16), where there are heads.
    """
    model.eval()
    calls: list[Any] = []
    names = ("shared",) if model.config.share_attention else ("text", "image")
    hooks = [
        model.attention[name].register_forward_hook(lambda _, given, out: calls.append((given, out))) for name in names
    ]
    made: dict[str, list[Sides]] = {}
    try:
        for batch in batches:
            calls.clear()
            model(batch)
            (text_in, text), (_, image) = calls[:2]  # Eq 11: words first, then patches
            means = masked_mean(text.rows, text_in[2]), masked_mean(image.rows, None)
            made.setdefault("attended", []).append(_arrays(*means))
            if model.config.alignment != "none":  # linear without bias: the mean of rows is mapped as the rows are
                heads = model.align_text(means[0]), model.align_image(means[1])
                made.setdefault("aligned", []).append(_arrays(*heads))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: tuple(np.concatenate(part) for part in zip(*parts, strict=True)) for name, parts in made.items()}


def _arrays(text: torch.Tensor, image: torch.Tensor) -> Sides:
    return array(text.double()), array(image.double())


def of_model(model: DMFL, tensors: PostTensors, posts: pd.DataFrame, moment: str) -> pd.DataFrame:
    """`measure` of both places of a model as it stands: moment, place ("attended", "aligned"), and the measures."""
    rows = torch.from_numpy(true_pairs(posts))
    found = sides(model, tensors.in_order(rows, where=where_is(model)))
    return pd.DataFrame([{"moment": moment, "place": place} | measure(*pair) for place, pair in found.items()])


def measure(text: np.ndarray, image: np.ndarray) -> dict[str, float]:
    """Every measure of two sides of the same n posts.

    Args: text, image: (n, d), n >= N_LEAST.
    Returns:
        n: posts.
        matched, shuffled: mean squared distance per feature (Eq 17) of true pairs, and of all wrong ones.
        ratio, ratio_low, ratio_high: matched / shuffled with its 95 % bootstrap interval over posts; 1 = a text is no
            nearer to its own image than to others, whatever the loss says; nan where all points coincide.
        rank, rank_low, rank_high: place of the own image among all, nearest first, in [0, 1]; .5 = chance.
        rank_centred: the same after each side's mean was taken away: a gap hides what pairs have in common.
        recall_at_1, recall_at_10: share of texts whose own image is among the nearest; chance 1 / n and 10 / n.
        variance_text, variance_image: over posts, mean per feature. power_text, power_image: mean square.
        dimensions_text, dimensions_image: directions in use, (sum of eigenvalues)^2 / sum of their squares.
        centroid, centroid_low, centroid_high: distance of the two means over the root mean square distance of a point
            from its own side's mean, with its bootstrap interval; nan where both sides are points.
        cka, cka_shuffled: linear CKA of the sides, and with pairs shuffled: what small n alone makes of it.
        modality_accuracy: cross-validated accuracy of a logistic regression that tells text from image; .5 = one cloud.
    Raises: ValueError: shapes differ, or too few posts.
    """
    if text.shape != image.shape or text.ndim != 2 or len(text) < N_LEAST:
        raise ValueError(f"expected two sides of one shape (n >= {N_LEAST}, d), got {text.shape} and {image.shape}")
    n, d = text.shape
    distance = cdist(text, image, "sqeuclidean") / d
    matched = distance.diagonal()
    shuffled = (distance.sum(1) - matched) / (n - 1)
    below, level = _nearer(distance)
    rank = t_interval((below + level / 2) / (n - 1))
    centred = _nearer(cdist(text - text.mean(0), image - image.mean(0), "sqeuclidean"))
    return {
        "n": n, "matched": matched.mean(), "shuffled": shuffled.mean(), **_ratio(matched, shuffled),
        "rank": rank.estimate, "rank_low": rank.low, "rank_high": rank.high,
        "rank_centred": float((centred[0] + centred[1] / 2).mean() / (n - 1)),
        "recall_at_1": _recall(below, level, 1), "recall_at_10": _recall(below, level, 10),
        "variance_text": text.var(0).mean(), "variance_image": image.var(0).mean(),
        "power_text": np.square(text).mean(), "power_image": np.square(image).mean(),
        "dimensions_text": _dimensions(text), "dimensions_image": _dimensions(image),
        **_centroid(text, image), "cka": cka(text, image), "cka_shuffled": cka(text, np.roll(image, 1, 0)),
        "modality_accuracy": modality_accuracy(text, image),
    }  # fmt: skip


def _ratio(matched: np.ndarray, shuffled: np.ndarray) -> dict[str, float]:
    names = ("ratio", "ratio_low", "ratio_high")
    if not shuffled.sum() > 0:
        return dict.fromkeys(names, np.nan)
    drawn = np.random.default_rng(SEED).integers(0, len(matched), (N_RESAMPLES, len(matched)))
    resampled = matched[drawn].sum(1) / shuffled[drawn].sum(1)
    return dict(zip(names, (matched.sum() / shuffled.sum(), *np.quantile(resampled, (0.025, 0.975))), strict=True))


def _nearer(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per row of (n, n): images nearer than the own one on the diagonal, and others as near."""
    own = distance.diagonal()[:, None]
    return (distance < own).sum(1), (distance == own).sum(1) - 1


def _recall(below: np.ndarray, level: np.ndarray, k: int) -> float:
    """Share of posts whose own image is among the k nearest; images at the same distance share their places."""
    return float(np.clip((k - below) / (level + 1), 0, 1).mean())


def _dimensions(points: np.ndarray) -> float:
    values = np.linalg.svd(points - points.mean(0), compute_uv=False) ** 2
    return float(values.sum() ** 2 / np.square(values).sum()) if values.sum() > 0 else 0.0


def _centroid(text: np.ndarray, image: np.ndarray) -> dict[str, float]:
    """`centroid` of `measure`: posts are resampled whole, text and image together."""
    names, n = ("centroid", "centroid_low", "centroid_high"), len(text)
    counts = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES)
    weights = np.vstack([np.ones(n), counts]) / n  # the first row: the posts as they are
    means = weights @ text, weights @ image
    squares = weights @ (np.square(text).sum(1) + np.square(image).sum(1))
    spread = (squares - np.square(means[0]).sum(1) - np.square(means[1]).sum(1)) / 2
    if not spread[0] > 1e-20 * max(squares[0], 1e-300):
        return dict.fromkeys(names, np.nan)
    gaps = np.linalg.norm(means[0] - means[1], axis=1) / np.sqrt(spread.clip(min=1e-300))
    return dict(zip(names, (gaps[0], *np.quantile(gaps[1:], (0.025, 0.975))), strict=True))


def debiased(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of `measure` whose `centroid` and its interval are those of the distance without noise.

    Means of n points lie apart by chance alone, and bootstrapped ones by twice that. So the squared distance loses its
    expectation under no gap, and its interval is the basic bootstrap's, mirrored at the estimate; both end at 0.
    """
    spread = (frame["variance_text"] + frame["variance_image"]) / 2  # per feature, as `matched`
    square = frame["centroid"] ** 2
    chance = (frame["matched"] / spread - square) / (frame["n"] - 1)
    low, high = (2 * square - frame[f"centroid_{end}"] ** 2 for end in ("high", "low"))
    made = {"centroid": square - chance, "centroid_low": low, "centroid_high": high}
    return frame.assign(**{name: value.clip(lower=0) ** 0.5 for name, value in made.items()})


def cka(one: np.ndarray, other: np.ndarray) -> float:
    """Linear centred kernel alignment in [0, 1]: 1 = the same up to rotation and scale; nan where a side is one point.

    Blind to shifts and scale: it says whether both sides order the posts alike, not how far apart they lie.
    """
    one, other = one - one.mean(0), other - other.mean(0)
    norms = np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other)
    return float(np.square(one.T @ other).sum() / norms) if norms > 0 else float("nan")


def modality_accuracy(text: np.ndarray, image: np.ndarray, n_folds: int = 5) -> float:
    """Share of points whose side a logistic regression names right; text and image of a post are in the same fold."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    points, n = np.concatenate([text, image]), len(text)
    side, post = np.repeat([0, 1], n), np.tile(np.arange(n), 2)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(cross_val_score(model, points, side, groups=post, cv=GroupKFold(n_folds)).mean())
