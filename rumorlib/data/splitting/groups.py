"""Posts that must not stand on two sides of a split: the same text or picture, edited a little.

Readers name what a file says: the picture's key, the text without links and names. Here every corpus read from files
gets the near-duplicates too, and pictures that cannot be decoded are settled as missing ones are: both need every
picture read once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from rumorlib.config import OnMissing
from rumorlib.data import keys
from rumorlib.data.posts import Corpus, doubtful_names
from rumorlib.data.readers import missing
from rumorlib.data.splitting.duplicates import Pairs, image_pairs, thumbnails
from rumorlib.data.splitting.text_duplicates import text_groups

_log = logging.getLogger(__name__)


def link_duplicates(corpus: Corpus, on_missing_image: OnMissing = "drop") -> Corpus:
    """The corpus with near-duplicates in one `text_group` and one `image_group`, and without unreadable pictures.

    text_group: the reader's groups, linked in steps where two texts share half of their character 4-grams or more.
    image_group: the reader's groups, linked where two pictures have the same bytes, or one is the other resized,
    recompressed or cropped by 10 % (`duplicates`). A `weight` column becomes 1 / posts of the image_group.

    Args: on_missing_image: what becomes of a post whose picture cannot be decoded (choice C26).
    Raises: PostsError: a picture cannot be decoded and the rule is "error".
    """
    corpus, names, grey, contents = _decoded(corpus, on_missing_image)
    for doubt in doubtful_names(corpus.posts):
        _log.warning("%s: %s", corpus.name, doubt)
    posts = corpus.posts.reset_index(drop=True)
    changed = {"text_group": linked_texts(posts)}
    if names:
        copies = dict(zip(names, contents, strict=True))
        first = np.sort(np.unique(contents, return_index=True)[1])  # copies are linked by their bytes, not compared
        alike = _chained([names[row] for row in first], image_pairs(grey[first]))
        columns = [posts["image"].map(column).fillna("") for column in (copies, alike)]
        changed["image_group"] = _merged("image", posts["image_group"], *columns)
    posts = posts.assign(**changed)
    if "weight" in posts:
        posts["weight"] = keys.image_weights(posts)
    return replace(corpus, posts=posts)


def linked_texts(posts: pd.DataFrame) -> list[str]:
    """The reader's text groups of n posts, linked in steps where two normal texts are near-duplicates; "" = alone."""
    texts = posts["text"].map(keys.normalise_text)
    distinct = list(dict.fromkeys(text for text in texts if text))
    alike = dict(zip(distinct, map(str, text_groups(distinct)), strict=True))
    return _merged("text", posts["text_group"], texts.map(alike).fillna(""))


def _decoded(corpus: Corpus, on_missing_image: OnMissing) -> tuple[Corpus, list[str], np.ndarray, list[str]]:
    """The corpus with its unreadable pictures settled, and keys, thumbnails and content hashes of the readable ones."""
    if corpus.images is None:
        return corpus, [], np.zeros((0, 0, 0), np.uint8), []
    names = [key for key in dict.fromkeys(corpus.posts["image"]) if key and corpus.images.has(key)]
    grey, errors = thumbnails(corpus.images, names)
    if bad := {key: error for key, error in zip(names, errors, strict=True) if error}:
        reasons = corpus.posts["image"].map(bad).fillna("")
        posts, dropped = missing.settle_reasons(corpus.posts, reasons, corpus.name, on_missing_image)
        corpus = replace(corpus, posts=posts, dropped=pd.concat([corpus.dropped, dropped], ignore_index=True))
    good = [row for row, error in enumerate(errors) if not error]
    names = [names[row] for row in good]
    return corpus, names, grey[good], [corpus.images.content_hash(key) for key in names]


def _chained(names: Sequence[str], pairs: Pairs) -> dict[str, str]:
    """Name -> the first name it is linked to in steps of pairs."""
    if not len(pairs.left):
        return {name: name for name in names}
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = (np.ones(len(pairs.left), np.int8), (pairs.left, pairs.right))
    cluster = connected_components(coo_matrix(edges, shape=(len(names), len(names))), directed=False)[1]
    _, first = np.unique(cluster, return_index=True)
    return {name: names[first[cluster[row]]] for row, name in enumerate(names)}


def _merged(kind: str, *columns: Sequence[str]) -> list[str]:
    """One group name per post, the same for posts that share a name in any column; "" where none has one."""
    found = keys.components(columns, len(columns[0]))
    named = np.any([[bool(name) for name in column] for column in columns], axis=0)
    return [f"{kind}-{group}" if has else "" for group, has in zip(found, named, strict=True)]
