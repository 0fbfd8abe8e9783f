"""Metrics of stored predictions over a whole split, retrieval recall, and the pointing score.

A predictions frame has one row per post: post_id, label (1 = rumor), prob_rumor in [0, 1], log_odds of rumor where they
are known (runs of before stored probabilities alone), optional group columns. What the model said are its log-odds: a
float64 probability is 1 from 37 on, a float32 one from 17, and one of four decimals from 10. Intervals and tests live
in `statistics`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from sklearn import metrics

from rumorlib.data.keys import image_weights

THRESHOLD = 0.5  # headline accuracy; a dev threshold is a second column
CLASS_NAMES = {1: "rumor", 0: "non_rumor"}
DECIMALS = 4  # of stored log-odds; no metric sees more


def classification_metrics(
    label: ArrayLike, prob: ArrayLike | None, weight: ArrayLike | None = None, log_odds: ArrayLike | None = None
) -> dict[str, float]:
    """Metrics of one split under flat names, all from scikit-learn; log loss from log-odds is log(1 + exp(∓z)).

    Args:
        label: (n,) 1 = rumor, 0 = non-rumor.
        prob: (n,) probability of rumor in [0, 1]; a post is called a rumor at one half. Not read if log_odds are given.
        weight: (n,) weight of each post, or None for 1.
        log_odds: (n,) finite log-odds of rumor, or None where only `prob` is known. AUC ranks by them.
    Returns: accuracy, balanced_accuracy, precision_/recall_/f1_ of rumor and non_rumor (0 where undefined), f1_macro,
        f1_weighted, auc, brier, log_loss (nats), n, n_rumor. balanced_accuracy and auc are nan when a class is absent.
    Raises: ValueError: shapes differ, no posts, labels other than 0/1, probabilities outside [0, 1], or log-odds that
        are not finite.
    """
    label, prob = check_predictions(label, prob if log_odds is None else prob_of(log_odds))
    predicted = (prob >= THRESHOLD).astype(int)
    both = len(np.unique(label)) == 2
    options = {"sample_weight": None if weight is None else np.asarray(weight, dtype=float)}
    result = {
        "accuracy": metrics.accuracy_score(label, predicted, **options),
        "balanced_accuracy": metrics.balanced_accuracy_score(label, predicted, **options) if both else np.nan,
    }
    scores = metrics.precision_recall_fscore_support(label, predicted, labels=[1, 0], zero_division=0, **options)
    for row, name in enumerate(CLASS_NAMES.values()):
        for metric, values in zip(("precision", "recall", "f1"), scores[:3], strict=True):
            result[f"{metric}_{name}"] = values[row]
    f1, posts = scores[2:]
    result |= {"f1_macro": np.average(f1), "f1_weighted": np.average(f1, weights=posts)}
    result["auc"] = metrics.roc_auc_score(label, prob if log_odds is None else log_odds, **options) if both else np.nan
    result["brier"] = metrics.brier_score_loss(label, prob, labels=[0, 1], pos_label=1, **options)
    if log_odds is None:
        result["log_loss"] = metrics.log_loss(label, prob, labels=[0, 1], **options)
    else:
        result["log_loss"] = np.average(log_losses(label, log_odds), weights=weight)
    return {name: float(value) for name, value in result.items()} | {"n": len(label), "n_rumor": int(label.sum())}


def frame_metrics(predictions: pd.DataFrame, weight: ArrayLike | None = None) -> dict[str, float]:
    """`classification_metrics` of a predictions frame: of its log-odds where every row has them."""
    return classification_metrics(predictions["label"], predictions["prob_rumor"], weight, log_odds_of(predictions))


def prob_of(log_odds: ArrayLike) -> np.ndarray:
    """float64 sigmoid. Raises ValueError: a value is not finite."""
    log_odds = np.asarray(log_odds, dtype=float)
    if not np.isfinite(log_odds).all():
        raise ValueError("log-odds must be finite")
    return expit(log_odds)


def log_losses(label: ArrayLike, log_odds: ArrayLike) -> np.ndarray:
    """-log of the probability of the right label (nats) of each log-odds, shape (..., n), for labels (n,)."""
    return np.logaddexp(0, np.where(np.asarray(label) == 1, -1, 1) * np.asarray(log_odds, dtype=float))


def to_store(log_odds: ArrayLike) -> np.ndarray:
    """Log-odds as they are stored, and as everything is measured: float64 of DECIMALS, no negative zero."""
    return np.asarray(log_odds, dtype=float).round(DECIMALS) + 0.0


def with_prob(predictions: pd.DataFrame) -> pd.DataFrame:
    """The frame with `prob_rumor`, the sigmoid of its `log_odds`, before them; one without log-odds as it is."""
    if "log_odds" not in predictions:
        return predictions
    made, prob = predictions.drop(columns="prob_rumor", errors="ignore"), prob_of(predictions["log_odds"])
    made.insert(made.columns.get_loc("log_odds"), "prob_rumor", prob)
    return made


def log_odds_of(predictions: pd.DataFrame) -> np.ndarray | None:
    """(n,) log-odds of a predictions frame; None where a row has none, as of runs that stored probabilities alone.

    Raises: ValueError: `prob_rumor` is not their sigmoid: one of the two was changed and the other left.
    """
    if "log_odds" not in predictions or predictions["log_odds"].isna().any():
        return None
    found = predictions["log_odds"].to_numpy(float)
    if not np.allclose(expit(found), predictions["prob_rumor"], rtol=0, atol=1e-9):
        raise ValueError("prob_rumor is not the sigmoid of log_odds: change both, or drop log_odds")
    return found


def ranks_of(*predictions: pd.DataFrame) -> list[np.ndarray]:
    """What orders the posts of each frame, on one scale: log-odds, or probabilities where no frame has log-odds."""
    found = [log_odds_of(frame) for frame in predictions]
    prob = [frame["prob_rumor"].to_numpy(float) for frame in predictions]
    if all(one is None for one in found):
        return prob
    return [logit(p) if one is None else one for one, p in zip(found, prob, strict=True)]


def mean_log_odds(log_odds: np.ndarray, starts: ArrayLike = (0,)) -> np.ndarray:
    """Log-odds of the mean probability of each block of the first axis, exact where float64 would call it 0 or 1.

    Args: log_odds: (S, ...). starts: first row of each block, as `np.add.reduceat` takes them. Returns: (blocks, ...).
    """
    z = np.asarray(log_odds, dtype=float)
    rumor, other = (np.logaddexp.reduceat(-np.logaddexp(0, side), starts, axis=0) for side in (-z, z))
    return rumor - other


def check_predictions(label: ArrayLike, prob: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels as int and probabilities as float64. Raises ValueError as `classification_metrics`."""
    label, prob = np.asarray(label), np.asarray(prob, dtype=float)
    if label.shape != prob.shape or label.ndim != 1:
        raise ValueError(f"label and prob must be two vectors of one length, got {label.shape} and {prob.shape}")
    if not len(label):
        raise ValueError("no posts to evaluate")
    if not np.isin(label, (0, 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {sorted(set(label.tolist()) - {0, 1})[:5]}")
    if not ((prob >= 0) & (prob <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1] and not be nan")
    return label.astype(int), prob


def group_codes(groups: ArrayLike) -> np.ndarray:
    """(n,) integers 0..G-1, one per group; "" and missing are groups of their own (data/posts.py)."""
    names = pd.Series(np.asarray(groups, dtype=object)).reset_index(drop=True)
    alone = (names.isna() | (names == "")).to_numpy()
    codes = pd.factorize(names.where(~alone))[0]
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
    return codes


def image_macro_metrics(predictions: pd.DataFrame, group: str = "image_group") -> dict[str, float]:
    """Balanced accuracy and AUC with each image counting once (primary on Twitter).

    Args:
        predictions: one run's rows; `group` names the image of each post, "" = an image of its own.
        group: column.
    Returns: image_macro_balanced_accuracy, image_macro_auc (nan when a class is absent), n_images.
    Raises: ValueError: rows of several seeds.
    """
    if "seed" in predictions and predictions["seed"].nunique() > 1:
        raise ValueError("image_macro_metrics takes one seed at a time; average the results instead")
    weight = image_weights(predictions, group)
    scores = frame_metrics(predictions, weight)
    return {
        "image_macro_balanced_accuracy": scores["balanced_accuracy"],
        "image_macro_auc": scores["auc"],
        "n_images": int(group_codes(predictions[group]).max() + 1),
    }


def retrieval_recall(
    similarity: ArrayLike, owner: ArrayLike, ks: Sequence[int] = (1, 5, 10), belongs: ArrayLike | None = None
) -> dict[str, float]:
    """Recall at k of text-to-image and image-to-text retrieval (Flickr30K protocol).

    A hit is an expected rank <= k. Where similarities tie, the expected rank is that of the first right answer in a
    random order of the tied block, so the result depends neither on the order of rows nor favours the right answer:
    a constant similarity scores 0 at small k.

    The field takes one image, and the texts written for it, as right. Where texts stand word for word at several images
    that is a limit on every model; so `belongs` adds a second count in which these twins are right answers too.

    Args:
        similarity: (n_texts, n_images), larger = closer.
        owner: (n_texts,) column of the image each text describes.
        ks: cut-offs.
        belongs: (n_texts, n_images) bool, whether the image has a text of the same words; each text has its owner.
    Returns: t2i_recall_at_<k> (share of texts whose image is found), i2t_recall_at_<k> (share of captioned images with
        any of their texts found), in [0, 1]; t2i_median_rank, i2t_median_rank; n_texts, n_images (captioned ones). With
        `belongs` also <way>_twins_recall_at_<k> and <way>_twins_median_rank, in which twins are right answers too, and
        n_twins, texts that stand at another image too.
    Raises: ValueError: shapes disagree, an owner out of range, or nan similarities.
    """
    similarity, owner = np.asarray(similarity), np.asarray(owner)
    if similarity.ndim != 2 or owner.shape != similarity.shape[:1] or not owner.size:
        raise ValueError(
            f"need similarity (n_texts, n_images) and owner (n_texts,), got {similarity.shape} and {owner.shape}"
        )
    if owner.min() < 0 or owner.max() >= similarity.shape[1]:
        raise ValueError(f"owner must lie in 0..{similarity.shape[1] - 1}, got {owner.min()}..{owner.max()}")
    if np.isnan(similarity).any():
        raise ValueError("similarity contains nan")
    right = owner[:, None] == np.arange(similarity.shape[1])  # (n_texts, n_images)
    result = _recall(similarity, right, ks, "")
    if belongs is not None:
        belongs = np.asarray(belongs)
        if belongs.shape != right.shape or not belongs[right].all():
            raise ValueError(f"belongs must be {right.shape} and hold every text's owner, got {belongs.shape}")
        result |= _recall(similarity, belongs, ks, "twins_") | {"n_twins": int((belongs & ~right).any(1).sum())}
    return result | {"n_texts": len(right), "n_images": int(right.any(0).sum())}


def _recall(similarity: np.ndarray, right: np.ndarray, ks: Sequence[int], kind: str) -> dict[str, float]:
    result: dict[str, float] = {}
    for way, rank in (("t2i", _expected_rank(similarity, right)), ("i2t", _expected_rank(similarity.T, right.T))):
        result |= {f"{way}_{kind}recall_at_{k}": float((rank <= k).mean()) for k in ks}
        result[f"{way}_{kind}median_rank"] = float(np.median(rank))
    return result


def _expected_rank(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Expected rank (1 = best) of the first right column of each row that has one."""
    has_right = right.any(1)
    scores, right = scores[has_right], right[has_right]
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)
    tied = scores == best
    # first of m right answers among t tied ones in random order: (t + 1) / (m + 1)
    return (scores > best).sum(1) + (tied.sum(1) + 1) / ((tied & right).sum(1) + 1)


def pointing_accuracy(
    relevance: Sequence[ArrayLike],
    patch_boxes: Sequence[ArrayLike],
    support: ArrayLike,
    scales: Sequence[object] | None = None,
    k: int = 1,
) -> pd.DataFrame:
    """Does the most relevant patch lie on the region that decides the label (pointing game, per scale)?

    Only posts where some patch centre of that scale lies in the support box count ("reachable"): a region smaller than
    the grid's step may be missed by every patch. Tied top patches share the point, so constant relevance scores chance.

    Args:
        relevance: per scale (n, N_s), larger = more relevant.
        patch_boxes: per scale (N_s, 4) pixels [x0, y0, x1, y1].
        support: (n, 4) pixels [x0, y0, x1, y1]; nan rows have no region and never count.
        scales: names of the scales, e.g. receptive fields in px; default 0, 1, ...
        k: of recall at k: whether any of the k most relevant patches lies on the region.
    Returns: one row per scale and a "pooled" row over all reachable (post, scale) pairs: scale (str), n_reachable,
        pointing (share in [0, 1]), chance (mean share of patch centres inside over the same posts), recall (at k),
        recall_chance (of k patches drawn at random); nan where n is 0.
    Raises: ValueError: shapes disagree.
    """
    support = np.asarray(support, dtype=float)
    names = [str(name) for name in (range(len(relevance)) if scales is None else scales)]
    found: list[np.ndarray] = []  # per scale (n_reachable, 4)
    for scores, boxes, _ in zip(relevance, patch_boxes, names, strict=True):
        scores, boxes = np.asarray(scores, dtype=float), np.asarray(boxes, dtype=float)
        if scores.shape != (len(support), len(boxes)) or boxes.shape[1:] != (4,) or support.shape[1:] != (4,):
            raise ValueError(
                f"relevance {scores.shape}, patch boxes {boxes.shape} and support {support.shape} disagree"
            )
        inside = _centres_inside(boxes, support)  # (n, N_s)
        reachable = inside.any(1)
        scores, inside = scores[reachable], inside[reachable]
        equal = np.zeros_like(scores)
        columns = [expected_hits(values, inside, size) for size in (1, k) for values in (scores, equal)]
        found.append(np.stack(columns, axis=1))
    rows = [
        (name, len(part), *(part.mean(0) if len(part) else [np.nan] * 4))
        for name, part in zip([*names, "pooled"], [*found, np.concatenate(found)], strict=True)
    ]
    return pd.DataFrame(rows, columns=["scale", "n_reachable", "pointing", "chance", "recall", "recall_chance"])


def expected_hits(scores: np.ndarray, inside: np.ndarray, k: int) -> np.ndarray:
    """Probability that the k highest scores hold an inside patch, ties being broken at random: (n, N), (n, N) -> (n,).

    Equal scores everywhere give the chance level, 1 - C(N - m, k) / C(N, k) for m patches inside.
    """
    from scipy.special import comb

    k = min(k, scores.shape[1])
    last = -np.sort(-scores, axis=1)[:, k - 1 : k]  # the k-th highest
    above, tied = scores > last, scores == last
    free, n_tied, n_good = k - above.sum(1), tied.sum(1), (tied & inside).sum(1)
    missed = comb(n_tied - n_good, free) / comb(n_tied, free)
    return np.where((above & inside).any(1), 1.0, 1 - missed)


def _centres_inside(boxes: np.ndarray, support: np.ndarray) -> np.ndarray:
    """(n, N) whether the centre of patch box N lies in support box n, right and lower edges excluded."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2  # (N,)
    x0, y0, x1, y1 = support.T[:, :, None]  # each (n, 1)
    return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
