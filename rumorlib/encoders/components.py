"""Rows of frozen maps in few numbers: the principal components of their channels (choice C27)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS_FITTED = 40_000  # rows that components are fitted on at most
MAPS_AT_ONCE = 512  # the maps of a corpus in float32 fill gigabytes


def principal_rows(maps: Tensor, fit_on: Tensor, n_components: int) -> tuple[Tensor, float]:
    """Rows of frozen maps as the principal components of their channels (choice C27).

    Each row is first brought to mean 0 and variance 1 over its channels, as the LayerNorm of DMFL's Eq. 10 would: a
    component then stands for a direction of what that norm lets through. Components are not scaled.

    Args:
        maps: (I, C, h, w) frozen maps, one per distinct picture; all zeros where a post has none.
        fit_on: (J,) long, pictures of the training posts: dev and test take no part in the fit.
        n_components: k, at most C and at most the rows fitted on.
    Returns: (I, h * w, k) fp16, zeros where a map is all zeros, and the share of variance kept on the rows fitted on.
    Raises: ValueError: too few channels or rows for k components.
    """
    components, mean, kept = principal_components(maps, fit_on, n_components)
    return in_components(maps, components, mean), kept


def principal_components(maps: Tensor, fit_on: Tensor, n_components: int) -> tuple[Tensor, Tensor, float]:
    """The components (k, C) and mean (C,) that `principal_rows` brings rows into, float32, and the variance kept."""
    from sklearn.decomposition import PCA

    _, C, h, w = maps.shape
    per_picture = max(1, -(-ROWS_FITTED // max(1, len(fit_on))))
    places = torch.linspace(0, h * w - 1, min(per_picture, h * w)).round().long()
    step = max(1, len(fit_on) * len(places) // ROWS_FITTED)
    sample = maps[fit_on[::step]].flatten(2)[..., places].transpose(1, 2).reshape(-1, C)
    if n_components > min(C, len(sample)):
        raise ValueError(f"{n_components} components need as many channels and rows, there are {C} and {len(sample)}")
    pca = PCA(n_components, svd_solver="covariance_eigh").fit(_standard(sample).numpy())
    components, mean = (torch.from_numpy(part).float() for part in (pca.components_, pca.mean_))
    return components, mean, float(pca.explained_variance_ratio_.sum())


def in_components(maps: Tensor, components: Tensor, mean: Tensor) -> Tensor:
    """Maps (I, C, h, w) as rows (I, h * w, k) fp16, zeros where a map is all zeros."""
    I, _, h, w = maps.shape  # noqa: E741
    rows = torch.empty(I, h * w, len(components), dtype=torch.float16)
    for start in range(0, I, MAPS_AT_ONCE):
        part = maps[start : start + MAPS_AT_ONCE].flatten(2).transpose(1, 2)  # (i, h * w, C)
        has_picture = part.flatten(1).any(dim=1)[:, None, None]
        rows[start : start + MAPS_AT_ONCE] = ((_standard(part) - mean) @ components.T * has_picture).half()
    return rows


def _standard(rows: Tensor) -> Tensor:
    """(…, C) to mean 0 and variance 1 over C, float32."""
    return F.layer_norm(rows.float(), rows.shape[-1:])
