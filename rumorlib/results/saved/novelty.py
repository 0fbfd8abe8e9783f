"""How far a post lies from the training posts: its words and, where the detector reads it, its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import pandas as pd
import sklearn
import torch
from sklearn.feature_extraction.text import HashingVectorizer
from torch import Tensor

from rumorlib.data.keys import normalise_text

N_HASHED, N_DIRECTIONS = 4096, 64
MOST = 4000  # training posts kept, drawn once
QUANTILE = 0.95  # of dev's distances: beyond it a post counts as unlike them


@dataclass(frozen=True)
class Novelty:
    """Distances from the nearest training post, each 1 - cosine: of hashed character 1- to 3-grams, in the directions
    that the training posts span, and of pooled picture features.

    directions (k, N_HASHED), texts (m, k); center (d,), pictures (m, d): unit rows; None: not read. text_labels,
    picture_labels (m,) uint8: the labels of those posts, of which nothing else is kept; None: saved without.
    """

    directions: Tensor | None
    texts: Tensor | None
    center: Tensor | None
    pictures: Tensor | None
    text_labels: Tensor | None = None
    picture_labels: Tensor | None = None

    @classmethod
    def fit(
        cls, texts: list[str] | None, pictures: Tensor | None, text_labels: Sequence[int] = (),
        picture_labels: Sequence[int] = (),
    ) -> Novelty:  # fmt: skip
        """Of the training posts: texts, and pooled pictures (m, d) of those that have one, with their labels (none:
        not known). Raises nothing."""
        from sklearn.decomposition import TruncatedSVD

        directions = rows = center = seen = of_texts = of_pictures = None
        there = [row for row, text in enumerate(texts or ()) if text]
        texts = [texts[row] for row in there]
        if len(texts) > 2:
            chosen = np.random.default_rng(0).permutation(len(texts))[:MOST]
            hashed = _hashed([texts[row] for row in sorted(chosen)])
            svd = TruncatedSVD(min(N_DIRECTIONS, len(chosen) - 1), random_state=0).fit(hashed)
            directions = torch.from_numpy(svd.components_.astype(np.float32))
            rows = _unit(torch.from_numpy(np.asarray(hashed @ svd.components_.T, dtype=np.float32)))
            of_texts = _labels([text_labels[there[row]] for row in sorted(chosen)] if len(text_labels) else ())
        if pictures is not None and len(pictures) > 2:
            center = pictures.float().mean(0)
            seen = _unit(pictures[:MOST].float() - center)
            of_pictures = _labels(picture_labels[:MOST])
        return cls(directions, rows, center, seen, of_texts, of_pictures)

    def distances(self, texts: list[str], pictures: Tensor | None) -> np.ndarray:
        """(n, 2) distance of text and of picture from the nearest one of training; nan where there is none to compare.

        Args: pictures: (n, d) pooled, rows of nan where a post has none; None: not read.
        """
        found = np.full((len(texts), 2), np.nan)
        said = np.flatnonzero([bool(text) for text in texts])
        if self.directions is not None and len(said):
            found[said, 0] = 1 - self._like_texts([texts[row] for row in said]).amax(1).numpy()
        if self.pictures is not None and pictures is not None:
            found[:, 1] = 1 - self._like_pictures(pictures).amax(1).numpy()
        return found

    def nearest(self, text: str, pictures: Tensor | None, k: int = 5) -> pd.DataFrame:
        """Labels of the k training posts with the nearest words, and of those with the nearest picture: by, distance,
        label. Args: pictures: (1, d) pooled, or None."""
        frames = [pd.DataFrame(columns=["by", "distance", "label"])]
        for by, labels, found in (
            ("words", self.text_labels, self._like_texts([text])[0] if text and self.directions is not None else None),
            ("picture", self.picture_labels, None if pictures is None or self.pictures is None
             else self._like_pictures(pictures)[0]),
        ):  # fmt: skip
            if found is not None and labels is not None and not found.isnan().any():
                top = found.topk(min(k, len(found)))
                distance, label = 1 - top.values.numpy(), labels[top.indices].numpy().astype(int)
                frames.append(pd.DataFrame({"by": by, "distance": distance, "label": label}))
        return pd.concat(frames[1:] or frames, ignore_index=True)

    def _like_texts(self, texts: list[str]) -> Tensor:
        """(n, m) cosine with the texts of training; a new text has unit length before it is projected."""
        return torch.from_numpy(_hashed(texts).astype(np.float32) @ self._across) @ self.texts.T

    @cached_property
    def _across(self) -> np.ndarray:
        """(N_HASHED, k), its rows in memory one after the other: a post has some hundred of them."""
        return np.ascontiguousarray(self.directions.numpy().T)

    def _like_pictures(self, pictures: Tensor) -> Tensor:
        return _unit(pictures.float() - self.center) @ self.pictures.T

    def tensors(self) -> dict[str, Tensor]:
        """What is kept, by name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) is not None}

    @classmethod
    def of_tensors(cls, tensors: dict[str, Tensor]) -> Novelty:
        """Inverse of `tensors`."""
        return cls(*(tensors.get(one.name) for one in fields(cls)))


def limits(dev: np.ndarray) -> list[float | None]:
    """Per column of dev's distances (n, 2) the quantile beyond which a post is unlike; None: nothing to compare."""
    columns = [column[~np.isnan(column)] for column in dev.T]
    return [float(np.quantile(column, QUANTILE)) if len(column) else None for column in columns]


def unlike(distances: np.ndarray, limit: list[float | None]) -> np.ndarray:
    """(n,) bool: text or picture lies beyond its limit."""
    bounds = np.array([np.inf if value is None else value for value in limit])
    return (np.nan_to_num(distances, nan=-np.inf) > bounds).any(1)


_HASH = HashingVectorizer(analyzer="char", ngram_range=(1, 3), n_features=N_HASHED, alternate_sign=False)


def _hashed(texts: list[str]):
    with sklearn.config_context(skip_parameter_validation=True):  # a third of the time for one post
        return _HASH.transform([normalise_text(text) for text in texts])


def _labels(labels: Sequence[int]) -> Tensor | None:
    return torch.tensor(list(labels), dtype=torch.uint8) if len(labels) else None


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-9)
