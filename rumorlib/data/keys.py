"""Keys of posts: which belong together, what names a post in public, what a cell may hold."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

_LINK = re.compile(r"(?:https?://|www\.)\S+")
_MENTION = re.compile(r"@\w+")


def normalise_text(text: str) -> str:
    """Lower case, without links and @names, single spaces: posts that differ only there are near-duplicates."""
    return " ".join(_MENTION.sub(" ", _LINK.sub(" ", text.lower())).split())


def words_of(text: str) -> str:
    """`normalise_text` without punctuation: texts that are equal so are word for word the same."""
    kept = "".join(c for c in normalise_text(text) if not unicodedata.category(c).startswith("P"))
    return " ".join(kept.split())


def word_codes(texts: Sequence[str]) -> np.ndarray:
    """(n,) int64, equal for texts of the same words (`words_of`); a text without words equals none."""
    words = [words_of(text) or f"\0{row}" for row, text in enumerate(texts)]
    return pd.factorize(pd.Series(words, dtype=object))[0]


def components(columns: Sequence[Sequence[str]], n: int) -> np.ndarray:
    """Connected components of n rows, two rows being linked when they share a non-empty name in one column.

    Returns: (n,) int64; each row's component is named by the position of its first row.
    """
    rows, names, offset = [], [], n
    for column in columns:
        codes, uniques = pd.factorize(pd.Series(column, dtype=object))
        keep = np.array([bool(name) for name in column], bool)
        rows.append(np.flatnonzero(keep))
        names.append(codes[keep] + offset)
        offset += len(uniques)
    if not rows:
        return np.arange(n)
    edges = (np.concatenate(rows), np.concatenate(names))
    graph = coo_matrix((np.ones(len(edges[0]), np.int8), edges), shape=(offset, offset))
    labels = connected_components(graph, directed=False)[1][:n]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse]


def smallest_ids(posts: pd.DataFrame, groups: Sequence[Any]) -> dict[Any, str]:
    """Group -> its smallest post_id, a name that does not depend on the order of posts; groups: (n,), one per post."""
    named = pd.DataFrame({"group": np.asarray(groups), "post_id": posts["post_id"].to_numpy()})
    first = named.sort_values("post_id").drop_duplicates("group")  # a min() by group is ten times slower on strings
    return dict(zip(first["group"].tolist(), first["post_id"].tolist(), strict=True))


def group_key(posts: pd.DataFrame) -> pd.Series:
    """Near-duplicate group of every post: posts linked by image_group or text_group, directly or in steps.

    Returns: 12 hex digits per post, the same for the same set of posts in any order; opaque, so it may be published.
    """
    found = components([posts["image_group"], posts["text_group"]], len(posts))
    smallest = smallest_ids(posts, found)
    opaque = {group: hashlib.sha256(f"group {name}".encode()).hexdigest()[:12] for group, name in smallest.items()}
    return pd.Series([opaque[group] for group in found], index=posts.index, name="group_key")


def posts_hash(posts: pd.DataFrame) -> str:
    """sha256 (hex) of which words stand beside which picture, under which id and label: equal for equal posts."""
    told = posts[["post_id", "label", "image", "text"]].itertuples(index=False)
    lines = sorted("\x1f".join(map(str, row)) for row in told)
    return hashlib.sha256("\x1e".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def groups_hash(posts: pd.DataFrame) -> str:
    """sha256 (hex) of who is a near-duplicate of whom, by text and by picture; group names do not matter."""
    digest = hashlib.sha256()
    for kind in ("image_group", "text_group"):
        found = components([posts[kind]], len(posts))
        smallest = smallest_ids(posts, found)
        lines = sorted(
            f"{post_id}\t{smallest[group]}\n" for post_id, group in zip(posts["post_id"], found, strict=True)
        )
        digest.update(f"{kind}\n{''.join(lines)}".encode())
    return digest.hexdigest()


def image_weights(posts: pd.DataFrame, group: str = "image_group") -> pd.Series:
    """1 / posts of the same picture, so that each picture counts once; 1 for posts without a group name."""
    named = posts[group].where(posts[group] != "")
    return (1.0 / named.map(named.value_counts()).fillna(1)).rename("weight")


def effective_number(names: pd.Series) -> float:
    """1 / sum of squared shares of the names: 10.0 = as spread as ten equal ones; nan without any."""
    counts = names.value_counts()
    return float(counts.sum() ** 2 / (counts**2).sum()) if len(counts) else float("nan")


def row_key(corpus: str, post_id: str) -> str:
    """Opaque key of a post in published predictions: first 12 hex digits of sha256(corpus + post_id)."""
    return hashlib.sha256((corpus + post_id).encode()).hexdigest()[:12]


def guard_cell(value: Any) -> Any:
    """`value`, with an apostrophe before it where a spreadsheet would run it as a formula (CWE-1236)."""
    return "'" + value if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
