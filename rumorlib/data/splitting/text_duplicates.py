"""Near-duplicate texts: which are the same one, edited a little (groups).

MinHash (datasketch) of character shingles narrows all pairs down; the Jaccard similarity of each candidate is then
computed exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rumorlib.data.splitting.duplicates import ROWS_PER_BLOCK, Pairs, all_pairs

N_CHARS = 4  # shingle length: one changed word of ten keeps a similarity above MIN_JACCARD, also in Chinese
MIN_JACCARD = 0.5
BANDS, ROWS_PER_BAND = 42, 3  # a pair at MIN_JACCARD shares a band with probability 1 - (1 - 0.5^3)^42 = 0.996
PAIRS_PER_BLOCK = 20_000  # measured at once


def text_pairs(texts: Sequence[str], min_jaccard: float = MIN_JACCARD, n_chars: int = N_CHARS, seed: int = 1) -> Pairs:
    """Pairs of texts whose sets of character shingles overlap.

    Candidates share a band of a MinHash signature; the Jaccard similarity of each is then computed exactly, so every
    pair returned is one, and one of `min_jaccard` >= 0.5 is missed with probability 0.004 at most.

    Args:
        texts: distinct, normalised as the caller sees fit (`keys.normalise_text`). One shorter than `n_chars` has no
            shingle and is in no pair.
        min_jaccard: shared shingles / all shingles of the two, in (0, 1].
        n_chars: characters per shingle.
        seed: of the hash functions.
    Returns: the pairs; score: their Jaccard similarity.
    """
    if not 0 < min_jaccard <= 1:
        raise ValueError(f"min_jaccard must lie in (0, 1], got {min_jaccard}")
    if len(texts) < 2:
        return all_pairs([])
    shingles = _shingles(texts, n_chars)
    size = np.diff(shingles.indptr)
    found = []
    for left, right in _sharing_bands(_signatures(shingles, seed), size > 0, min_jaccard):
        jaccard = _jaccard(shingles, left, right)
        alike = jaccard >= min_jaccard
        found.append((left[alike], right[alike], jaccard[alike]))
    return all_pairs(found)


def text_groups(texts: Sequence[str], seed: int = 1) -> np.ndarray:
    """Texts linked in steps of `text_pairs` at MIN_JACCARD, without listing the pairs: a template filled in 100,000
    times has five thousand million.

    Neighbours in a band are measured first. Bands whose texts are one group by then have nothing more to tell; what is
    left are the candidates of `text_pairs` between two groups.

    Args: texts, seed: as `text_pairs`.
    Returns: (n,) int64, equal for texts of one group.
    """
    shingles = _shingles(texts, N_CHARS) if len(texts) else None
    group = np.arange(len(texts))
    rows = np.flatnonzero(np.diff(shingles.indptr) > 0) if len(texts) else group
    if len(rows) < 2:
        return group
    buckets = _buckets(_signatures(shingles, seed)[rows])  # (rows, BANDS)
    for column in buckets.T:
        order = np.argsort(column, kind="stable")
        same = np.flatnonzero(np.diff(column[order]) == 0)
        group = _linked(group, shingles, rows[order[same]], rows[order[same + 1]])
    mixed = _mixed(buckets, group[rows])
    for left, right in _products(mixed):
        group = _linked(group, shingles, rows[left], rows[right])
    return group


def _linked(group: np.ndarray, shingles, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`group` (n,) after joining the groups of those of the pairs that are alike."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    for start in range(0, len(left), PAIRS_PER_BLOCK):
        one, other = left[start : start + PAIRS_PER_BLOCK], right[start : start + PAIRS_PER_BLOCK]
        apart = group[one] != group[other]
        one, other = one[apart], other[apart]
        if not len(one):
            continue
        alike = _jaccard(shingles, one, other) >= MIN_JACCARD
        if alike.any():
            edges = np.ones(int(alike.sum()), np.int8), (group[one[alike]], group[other[alike]])
            joined = connected_components(coo_matrix(edges, shape=(len(group), len(group))), directed=False)[1]
            group = joined[group].astype(np.int64)
    return group


def _mixed(buckets: np.ndarray, group: np.ndarray):
    """(rows, buckets) sparse membership in those buckets that hold more than one group."""
    from scipy.sparse import csr_matrix

    lowest = np.full(int(buckets.max()) + 1, len(group) + group.max() + 1)
    highest = np.full(len(lowest), -1)
    for column in buckets.T:
        np.minimum.at(lowest, column, group)
        np.maximum.at(highest, column, group)
    keep = (lowest < highest)[buckets]
    ends = np.concatenate([[0], np.cumsum(keep.sum(axis=1))])
    return csr_matrix((np.ones(int(ends[-1]), np.int8), buckets[keep], ends), shape=(len(buckets), len(lowest)))


def _products(member, n_shared: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of row pairs (left < right) that share `n_shared` buckets at least."""
    from scipy.sparse import triu

    for start in range(0, member.shape[0], ROWS_PER_BLOCK):
        if member.indptr[start] == member.indptr[min(start + ROWS_PER_BLOCK, member.shape[0])]:
            continue
        shared = triu(member[start : start + ROWS_PER_BLOCK] @ member.T, start + 1).tocoo()
        enough = shared.data >= n_shared
        yield shared.row[enough] + start, shared.col[enough]


def _shingles(texts: Sequence[str], n_chars: int):
    """(n, 2^22) sparse 0/1: the hashed character shingles of every text."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        analyzer="char", ngram_range=(n_chars, n_chars), lowercase=False, binary=True, norm=None,
        alternate_sign=False, n_features=2**22, dtype=np.float32,
    )  # fmt: skip
    return hashing.transform(texts)


def _jaccard(shingles, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(k,) shared shingles / all shingles of the rows left[i] and right[i]."""
    size, shared = np.diff(shingles.indptr), np.zeros(len(left))
    for start in range(0, len(left), PAIRS_PER_BLOCK):
        some = slice(start, start + PAIRS_PER_BLOCK)
        shared[some] = np.asarray(shingles[left[some]].multiply(shingles[right[some]]).sum(axis=1)).ravel()
    return shared / (size[left] + size[right] - shared)


def _signatures(shingles, seed: int) -> np.ndarray:
    """(n, BANDS * ROWS_PER_BAND) MinHash signatures of the rows of a sparse matrix."""
    from datasketch import MinHash

    rows = [shingles.indices[start:end].tolist() for start, end in zip(shingles.indptr, shingles.indptr[1:])]
    hashes = MinHash.generator(rows, num_perm=BANDS * ROWS_PER_BAND, seed=seed, hashfunc=int)
    return np.stack([minhash.hashvalues for minhash in hashes])


def _sharing_bands(
    signatures: np.ndarray, usable: np.ndarray, min_jaccard: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of row pairs (left < right) that agree on whole bands, as many as a pair at `min_jaccard` has with
    probability 0.999, one at least: a product of the rows x buckets matrix."""
    from scipy.sparse import csr_matrix
    from scipy.stats import binom

    n_shared = max(1, int(binom.ppf(0.001, BANDS, min_jaccard**ROWS_PER_BAND)))

    rows = np.flatnonzero(usable)
    bucket = _buckets(signatures[rows])
    entries = np.ones(bucket.size, np.int8), bucket.ravel(), np.arange(len(rows) + 1) * BANDS
    member = csr_matrix(entries, shape=(len(rows), BANDS * max(len(rows), 1)))
    for left, right in _products(member, n_shared):
        yield rows[left], rows[right]


def _buckets(signatures: np.ndarray) -> np.ndarray:
    """(n, BANDS) numbers, equal in a column for rows that agree on that band, and distinct between columns."""
    bands = signatures.reshape(len(signatures), BANDS, ROWS_PER_BAND).astype(np.uint64)
    odd = np.array([1, 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)[:ROWS_PER_BAND]
    keys = (bands * odd).sum(axis=2, dtype=np.uint64)  # wraps; a collision costs one needless candidate
    bucket = np.stack([np.unique(column, return_inverse=True)[1] for column in keys.T], axis=1)
    return bucket + np.arange(BANDS) * len(signatures)
