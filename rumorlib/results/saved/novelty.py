"""How far a post lies from the training posts: its words and, where the detector reads it, its picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
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

    directions (k, N_HASHED), texts (m, k); center (d,), pictures (m, d): unit rows; None: not read.
    """

    directions: Tensor | None
    texts: Tensor | None
    center: Tensor | None
    pictures: Tensor | None

    @classmethod
    def fit(cls, texts: list[str] | None, pictures: Tensor | None) -> Novelty:
        """Of the training posts: texts, and pooled pictures (m, d) of those that have one. Raises nothing."""
        from sklearn.decomposition import TruncatedSVD

        directions = rows = center = seen = None
        texts = [text for text in texts or () if text]
        if len(texts) > 2:
            chosen = np.random.default_rng(0).permutation(len(texts))[:MOST]
            hashed = _hashed([texts[row] for row in sorted(chosen)])
            svd = TruncatedSVD(min(N_DIRECTIONS, len(chosen) - 1), random_state=0).fit(hashed)
            directions = torch.from_numpy(svd.components_.astype(np.float32))
            rows = _unit(torch.from_numpy(np.asarray(hashed @ svd.components_.T, dtype=np.float32)))
        if pictures is not None and len(pictures) > 2:
            center = pictures.float().mean(0)
            seen = _unit(pictures[:MOST].float() - center)
        return cls(directions, rows, center, seen)

    def distances(self, texts: list[str], pictures: Tensor | None) -> np.ndarray:
        """(n, 2) distance of text and of picture from the nearest one of training; nan where there is none to compare.

        Args: pictures: (n, d) pooled, rows of nan where a post has none; None: not read.
        """
        found = np.full((len(texts), 2), np.nan)
        said = np.flatnonzero([bool(text) for text in texts])
        if self.directions is not None and len(said):
            hashed = _hashed([texts[row] for row in said])
            projected = torch.from_numpy(np.asarray(hashed @ self.directions.numpy().T, dtype=np.float32))
            found[said, 0] = 1 - (projected @ self.texts.T).amax(1).numpy()  # of unit length before it was projected
        if self.pictures is not None and pictures is not None:
            found[:, 1] = 1 - (_unit(pictures.float() - self.center) @ self.pictures.T).amax(1).numpy()
        return found

    def tensors(self) -> dict[str, Tensor]:
        """What is kept, by name."""
        named = {name: getattr(self, name) for name in ("directions", "texts", "center", "pictures")}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    @classmethod
    def of_tensors(cls, tensors: dict[str, Tensor]) -> Novelty:
        """Inverse of `tensors`."""
        return cls(*(tensors.get(name) for name in ("directions", "texts", "center", "pictures")))


def limits(dev: np.ndarray) -> list[float | None]:
    """Per column of dev's distances (n, 2) the quantile beyond which a post is unlike; None: nothing to compare."""
    columns = [column[~np.isnan(column)] for column in dev.T]
    return [float(np.quantile(column, QUANTILE)) if len(column) else None for column in columns]


def unlike(distances: np.ndarray, limit: list[float | None]) -> np.ndarray:
    """(n,) bool: text or picture lies beyond its limit."""
    bounds = np.array([np.inf if value is None else value for value in limit])
    return (np.nan_to_num(distances, nan=-np.inf) > bounds).any(1)


def _hashed(texts: list[str]):
    vectors = HashingVectorizer(analyzer="char", ngram_range=(1, 3), n_features=N_HASHED, alternate_sign=False)
    return vectors.transform([normalise_text(text) for text in texts])


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-9)
