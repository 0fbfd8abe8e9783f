"""Near-duplicate pictures: which pairs are the same one, edited a little (groups).

The search narrows all pairs down by hashes, in numpy, and then measures each candidate: the perceptual hash of the
whole picture against the hashes of 25 windows of every other, then the correlation with the best window; features of a
frozen encoder name more candidates, whose windows may be smaller. The hash is imagehash.phash's, for all windows at
once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from rumorlib.data.images import ImageError, Images

SIDE_PX = 64  # of the grey thumbnails that pictures are compared by
HASH_PX, HASH_SIDE = 32, 8  # imagehash.phash's own: 64 bits, from an 8 x 8 corner of the cosine transform at 32 px
N_WAVES = 12  # side of the corner that is compared afterwards; each coefficient counts by its frequency
MAX_DISTANCE = 14  # of 64 bits, between a picture and a window of another
MIN_CORRELATION = 0.78  # Flickr8k: crops of 10 % per side 0.90 and more, different photographs at most 0.63
COARSE_SLACK = 0.28  # what a window up to 2.5 % beside the true crop may cost, before it is moved there
MIN_COSINE = (
    0.6  # of centred frozen features: crops that keep 80 % of each side lie above; then the pixels must agree too
)
ROWS_PER_BLOCK = 256

Window = tuple[float, float]  # first and last edge along one axis, as shares of the side
WINDOWS: tuple[Window, ...] = ((0, 1), (0, 0.9), (0.05, 0.95), (0.1, 1), (0.1, 0.9))
WIDE_WINDOWS: tuple[Window, ...] = tuple(  # for the few pairs whose features are alike
    (start / 20, start / 20 + size)
    for size in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
    for start in range(round((1 - size) * 20) + 1)
)
STEP = 1 / 60  # how far the edges of a window are moved, each way


class Pairs(NamedTuple):
    """Rows of two alike things, left < right, each pair once, and how alike they are in [0, 1]."""

    left: np.ndarray  # (m,) int64
    right: np.ndarray  # (m,) int64
    score: np.ndarray  # (m,) float64


def thumbnails(images: Images, keys: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Grey pictures small enough to hold all of a corpus, each read to its end.

    Args: images, keys: pictures and their keys.
    Returns: (n, 64, 64) uint8, and n times why the picture cannot be read, "" where it can; a row of zeros where not.
    """

    def thumbnail(key: str) -> tuple[np.ndarray | int, str]:
        try:
            return (images.pixels(key, SIDE_PX) @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8), ""
        except ImageError as error:
            return 0, str(error)

    grey, errors = np.zeros((len(keys), SIDE_PX, SIDE_PX), np.uint8), []
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for row, (picture, error) in enumerate(pool.map(thumbnail, keys)):
            grey[row] = picture
            errors.append(error)
    return grey, errors


def image_pairs(
    grey: np.ndarray,
    features: ArrayLike | None = None,
    min_correlation: float = MIN_CORRELATION,
    crops: bool = True,
) -> Pairs:
    """Pairs of pictures of which one is the other resized, recompressed or cropped.

    A picture is compared with 25 windows of every other: crops that take away up to 10 % of each side and, towards a
    corner, up to about 15 %, are found by pixels alone. Larger crops, up to half of each side, and bars around a
    picture need `features`. Mirrored and rotated copies are not looked for. A flat picture is in no pair.

    Args:
        grey: (n, 64, 64) of `thumbnails`.
        features: (n, d) of a frozen encoder, pooled; None: pixels only.
        min_correlation: of the frequency-weighted cosine coefficients in the best window, in (0, 1].
        crops: False compares whole pictures only, 25 times as fast.
    Returns: the pairs; score: the correlation.
    """
    if not len(grey):
        return all_pairs([])
    windows = WINDOWS if crops else WINDOWS[:1]
    waves = np.concatenate([_waves(block, windows) for block in _blocks(grey)])  # (n, 25 or 1, 12, 12)
    hashes, unit = _bits(waves), _weighted(waves)
    found = []
    for left, right in _within_distance(hashes):
        coarse = np.einsum("kwd,kd->kw", unit[left], unit[right, 0])
        near = coarse.max(axis=1) >= min_correlation - COARSE_SLACK
        left, right, window = left[near], right[near], coarse[near].argmax(axis=1)
        correlation = _moved(grey, left, unit[right, 0], window, windows)
        alike = correlation >= min_correlation
        found.append((left[alike], right[alike], correlation[alike]))
    if features is not None:
        for left, right in _alike_features(np.asarray(features, np.float32)):
            views = _weighted(_waves(grey[left], WIDE_WINDOWS))
            window = np.einsum("kwd,kd->kw", views, unit[right, 0]).argmax(axis=1)
            correlation = _moved(grey, left, unit[right, 0], window, WIDE_WINDOWS)
            alike = correlation >= min_correlation
            found.append((left[alike], right[alike], correlation[alike]))
    return all_pairs(found)


def _blocks(grey: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(grey), ROWS_PER_BLOCK):
        yield grey[start : start + ROWS_PER_BLOCK]


@lru_cache(maxsize=16)
def _along(windows: tuple[Window, ...]) -> np.ndarray:
    """(W, N_WAVES, SIDE_PX): cut a window out of one axis, resize it with PIL's Lanczos filter, cosine transform."""
    from scipy.fft import dct

    identity = Image.fromarray(np.eye(SIDE_PX, dtype=np.float32))
    boxes = [(0, SIDE_PX * low, SIDE_PX, SIDE_PX * high) for low, high in windows]
    cut = [identity.resize((SIDE_PX, HASH_PX), Image.Resampling.LANCZOS, box=box) for box in boxes]
    return dct(np.eye(HASH_PX, dtype=np.float32), axis=0)[:N_WAVES] @ np.stack([np.asarray(matrix) for matrix in cut])


def _waves(grey: np.ndarray, down: tuple[Window, ...], across: tuple[Window, ...] | None = None) -> np.ndarray:
    """(n, windows, 12, 12) first cosine coefficients of every window of (n, 64, 64) pictures, row windows outer."""
    rows, columns = _along(down), _along(across or down)
    product = rows.reshape(-1, SIDE_PX) @ grey.astype(np.float32) @ columns.reshape(-1, SIDE_PX).T
    split = product.reshape(len(grey), len(rows), N_WAVES, len(columns), N_WAVES)
    return split.transpose(0, 1, 3, 2, 4).reshape(len(grey), -1, N_WAVES, N_WAVES)


def _bits(waves: np.ndarray) -> np.ndarray:
    """(n, windows) uint64: imagehash.phash of every window (a test compares them)."""
    corner = waves[..., :HASH_SIDE, :HASH_SIDE].reshape(*waves.shape[:2], -1)
    bits = corner > np.median(corner, axis=-1, keepdims=True)
    return np.packbits(bits, axis=-1).view(np.uint64)[..., 0]


def _weighted(waves: np.ndarray) -> np.ndarray:
    """(n, windows, 144) coefficients times their frequency, at length 1; zeros for a picture of one flat colour.

    Pictures lose power with frequency; without the weights a bright sky over dark ground is like any other.
    """
    frequency = np.hypot(*np.meshgrid(np.arange(N_WAVES), np.arange(N_WAVES)))
    weighted = (waves * frequency).reshape(*waves.shape[:2], -1)
    length = np.linalg.norm(weighted, axis=-1, keepdims=True)
    return np.where(length > 1.0, weighted / np.maximum(length, 1.0), 0).astype(np.float32)


def _within_distance(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of (picture, other): the hash of the other is within MAX_DISTANCE bits of a window of the picture."""
    whole = hashes[:, 0]

    def near(row: int) -> np.ndarray:
        distance = np.bitwise_count(hashes[row][:, None] ^ whole)
        other = np.unique(np.flatnonzero(distance <= MAX_DISTANCE) % len(whole))
        return other[other != row]

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(whole), ROWS_PER_BLOCK):
            rows = np.arange(start, min(start + ROWS_PER_BLOCK, len(whole)))
            others = list(pool.map(near, rows.tolist()))
            yield np.repeat(rows, [len(other) for other in others]), np.concatenate(others)


def _moved(
    grey: np.ndarray, left: np.ndarray, target: np.ndarray, window: np.ndarray, windows: tuple[Window, ...]
) -> np.ndarray:
    """(k,) best correlation of `target` (k, 144) with a window of `left`, each edge moved by up to STEP."""
    moved = [
        tuple((max(0.0, low + a), min(1.0, high + b)) for a in (-STEP, 0, STEP) for b in (-STEP, 0, STEP))
        for low, high in windows
    ]
    best = np.zeros(len(left))
    for number in np.unique(window):
        down, across = moved[number // len(windows)], moved[number % len(windows)]
        rows = np.flatnonzero(window == number)
        for start in range(0, len(rows), ROWS_PER_BLOCK):
            some = rows[start : start + ROWS_PER_BLOCK]
            views = _weighted(_waves(grey[left[some]], down, across))
            best[some] = np.einsum("kwd,kd->kw", views, target[some]).max(axis=1)
    return best


def _alike_features(features: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of row pairs, in both orders, whose centred features point the same way."""
    centred = features - features.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    for start in range(0, len(unit), ROWS_PER_BLOCK):
        left, right = np.nonzero(unit[start : start + ROWS_PER_BLOCK] @ unit.T >= MIN_COSINE)
        left, right = left[left + start != right] + start, right[left + start != right]
        for some in range(0, len(left), ROWS_PER_BLOCK):
            block = slice(some, some + ROWS_PER_BLOCK)
            yield left[block], right[block]


def all_pairs(found: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Pairs:
    """All blocks of (left, right, score) as one, each pair once with its best score."""
    empty = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    left, right, score = (np.concatenate(parts) for parts in zip(empty, *found))
    low, high = np.minimum(left, right), np.maximum(left, right)
    order = np.lexsort((-score, high, low))
    low, high, score = low[order], high[order], score[order]
    first = np.r_[True, (np.diff(low) != 0) | (np.diff(high) != 0)][: len(low)]
    return Pairs(low[first].astype(np.int64), high[first].astype(np.int64), np.minimum(score[first], 1.0))
