"""Rows of scikit-learn as tensors and words, and back: nothing is pickled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from rumorlib.models import baselines
from rumorlib.models.baselines import Row

AT_ONCE = 256  # posts whose sparse words are made dense for the trees
_LEAF = -1


class Trees:
    """The trees of a forest as arrays: what scikit-learn's `predict_proba` says, without its objects.

    Args: tensors: of `tensors_of`: node arrays of all trees, one after the other, and where each tree begins.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.left, self.right, self.feature, self.threshold, self.prob, self.start = (
            tensors[name].numpy() for name in ("left", "right", "feature", "threshold", "prob", "start")
        )

    def predict_proba(self, rows: Any) -> np.ndarray:
        """(n, 2) mean over the trees of the share of each class in the leaf a row falls into."""
        parts = [self._share(rows[start : start + AT_ONCE]) for start in range(0, rows.shape[0], AT_ONCE)]
        share = np.concatenate(parts) if parts else np.zeros(0)
        return np.column_stack([1 - share, share])

    def _share(self, rows: Any) -> np.ndarray:
        dense = np.asarray(rows.todense() if hasattr(rows, "todense") else rows, dtype=np.float32)
        total = np.zeros(len(dense))
        for start in self.start:
            node = np.full(len(dense), start)
            while (inner := self.left[node] != _LEAF).any():
                at = node[inner]
                goes_left = dense[inner, self.feature[at]] <= self.threshold[at]
                node[inner] = start + np.where(goes_left, self.left[at], self.right[at])
            total += self.prob[node]
        return total / len(self.start)


def tensors_of(row: Row) -> tuple[dict[str, Tensor], list[str] | None]:
    """A fitted row's numbers by name, and the words of its columns where it reads words."""
    found: dict[str, Any] = {"share": np.array(row.share)}
    words = None
    if row.transform is not None and hasattr(row.transform, "idf_"):
        words = sorted(row.transform.vocabulary_, key=row.transform.vocabulary_.get)
        found["idf"] = row.transform.idf_
    elif row.transform is not None:
        found |= {"mean": row.transform.mean_, "scale": row.transform.scale_}
    if isinstance(row.model, Trees):
        found |= {name: getattr(row.model, name) for name in ("left", "right", "feature", "threshold", "prob", "start")}
    elif hasattr(row.model, "estimators_"):
        trees = [tree.tree_ for tree in row.model.estimators_]
        joined = {"left": "children_left", "right": "children_right", "feature": "feature", "threshold": "threshold"}
        found |= {name: np.concatenate([getattr(t, attribute) for t in trees]) for name, attribute in joined.items()}
        found["prob"] = np.concatenate([t.value[:, 0, 1] / t.value[:, 0].sum(1) for t in trees])
        found["start"] = np.cumsum([0, *(t.node_count for t in trees)])[:-1]
    elif row.model is not None:
        found |= {"coef": row.model.coef_, "intercept": row.model.intercept_}
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in found.items()}, words


def row_of(kind: str, language: str, tensors: dict[str, Tensor], words: list[str] | None) -> Row:
    """The row that `tensors_of` took apart: the same numbers in, the same log-odds out."""
    share = float(tensors["share"])
    if kind == "majority":
        return Row(kind, share=share)
    if words is not None:
        transform: Any = baselines.tfidf(language)
        transform.set_params(vocabulary={word: column for column, word in enumerate(words)})
        transform.idf_ = tensors["idf"].numpy()
    else:
        transform = StandardScaler()
        transform.mean_, transform.scale_ = tensors["mean"].numpy(), tensors["scale"].numpy()
        transform.var_, transform.n_features_in_ = transform.scale_**2, len(transform.mean_)
        transform.n_samples_seen_ = 1
    if "left" in tensors:
        return Row(kind, transform, Trees(tensors), share)
    model = LogisticRegression()
    model.coef_, model.intercept_ = tensors["coef"].numpy(), tensors["intercept"].numpy()
    model.classes_, model.n_features_in_ = np.array([0, 1]), tensors["coef"].shape[1]
    return Row(kind, transform, model, share)
