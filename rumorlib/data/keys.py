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

# A link ends where the characters of a URL end (RFC 3986, section 2; brackets stand in hosts alone): Chinese posts go
# on behind it without a space. Punctuation at its end is the sentence's, and "//@" begins what was reposted. As people
# write them: blanks or a full-width colon in "http://", JSON's "\/", and without a scheme www. and the short ones.
_SCHEME = r"https?\s?[:\uff1a]\s?(?:\\?[/\uff0f]){2}"
_HOST = r"(?<![A-Za-z0-9@.-])(?:www\.(?=[A-Za-z0-9])|pic\.twitter\.com/|t\.c[on]/)"
_REST = r"(?:(?:(?!//@)[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%]|\\/)*(?!//@)[A-Za-z0-9\-_~/#$&+=%])?"
LINK = re.compile(f"(?:{_SCHEME}|{_HOST}){_REST}", re.ASCII | re.IGNORECASE)
# A name is at most 30 characters long (Weibo's limit; Twitter's is 15). The look-behind spares e-mail addresses.
MENTION = re.compile("(?<![A-Za-z0-9_.])[@\uff20][\\w-]{1,30}")
# What programs write for "none" into a file of texts. As the name of an event or a post it is a name all the same, for
# no file says otherwise; `posts.doubtful_names` says that it stands there.
DOUBTFUL = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "nat", "none", "null", "nil", "undefined"})
_RUN = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a cell begins with that a spreadsheet may run
# Columns of real corpora whose values name one post or picture: replaced by an opaque key in what is stored.
OPAQUE_COLUMNS = ("post_id", "image_group", "text_group", "image_id", "scene_id")


def normalise_text(text: str, link: str = " ", mention: str = " ") -> str:
    """The one normal text: NFKC, lower case, single spaces, every link and @name replaced (by nothing).

    Posts of one normal text are the same post to whoever looks for leaks, and to every encoder with a vocabulary of
    ours, which reads this text with marks in the place of links and names.
    """
    plain = unicodedata.normalize("NFKC", LINK.sub(link, text)).replace("\u2019", "'").lower()
    return " ".join(MENTION.sub(mention, plain).split())


def cell(value: Any) -> str:
    """A cell of a file as text; "" where it is missing.

    Missing are an empty cell, null (JSON) and None, NaN, NaT, NA (pandas), never a word: an event may be called NA, a
    post None. A published format that writes a word for it (Weibo-17: null) is its reader's to know.
    """
    if isinstance(value, str):
        return value
    return "" if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)) else str(value)


def letters_of(text: str) -> str:
    """`normalise_text` without punctuation and spaces: texts that are equal so say the same word for word, "rock
    climbing" or "rock-climbing"; Chinese has no spaces between words."""
    return "".join(c for c in normalise_text(text) if unicodedata.category(c)[0] not in "PZ")


def word_codes(texts: Sequence[str]) -> np.ndarray:
    """(n,) int64, equal for texts of the same words (`letters_of`); a text without words equals none."""
    said = [letters_of(text) or f"\0{row}" for row, text in enumerate(texts)]
    return pd.factorize(pd.Series(said, dtype=object))[0]


def components(columns: Sequence[Sequence[str]], n: int) -> np.ndarray:
    """Connected components of n rows, two rows being linked when they share a name in one column (missing: `cell`).

    Returns: (n,) int64; each row's component is named by the position of its first row.
    """
    rows, names, offset = [], [], n
    for column in columns:
        names_of = [cell(name) for name in column]
        codes, uniques = pd.factorize(pd.Series(names_of, dtype=object))
        keep = np.array([bool(name) for name in names_of], bool)
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
    return "'" + value if isinstance(value, str) and value.startswith(_RUN) else value


def printable(text: str) -> str:
    """Lines for a terminal or a table: escape codes, marks of direction and what else shows nothing become "?"."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def public_frame(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The frame with `post_id` and other names of single posts replaced by opaque keys."""
    opaque = [column for column in OPAQUE_COLUMNS if column in frame.columns]
    hidden = {
        column: [row_key(dataset, str(value)) if value != "" else "" for value in frame[column]] for column in opaque
    }
    return frame.assign(**hidden).rename(columns={"post_id": "row_key"})
