"""The posts table: its columns, its label codes and its checks.

Label 1 = rumor, 0 = non-rumor. What "rumor" stands for differs by corpus: `Corpus.label_means` says it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.data import keys
from rumorlib.data.images import Images

COLUMNS = (
    "post_id", "text", "label", "split", "event", "image", "language", "created_at", "image_group", "text_group",
)  # fmt: skip
REQUIRED = ("post_id", "text", "label")
NAMES = ("event", "image_group", "text_group")  # posts of one name belong together
# Some corpora bring more, for audits and graph models. Only MFAN's graph row reads them: they may give the label away.
OPTIONAL = {
    "author": "id of who posted, as the platform has it",
    "n_images": "how many pictures were attached",
    "n_replies": "how many replies or reposts are known",
    "replies": "JSON list of objects with id, parent, author, created_at, text",
    "eann_split": "EANN's own split of Weibo-17: train, dev, test or empty",
}
SPLITS = ("train", "dev", "test", "unassigned", "")  # "" = the corpus has no split of its own
PROBES = ("undetectable", "fingerprint")  # never trained on; besides them test_... and pairs...
DROPPED_COLUMNS = ("post_id", "source", "row", "reason")

# Words seen in published files. "false" and "true" speak of the claim, as MFAN's do: false news = rumor.
LABEL_WORDS = {
    "1": 1, "fake": 1, "rumor": 1, "rumour": 1, "rumors": 1, "rumours": 1, "false": 1,
    "0": 0, "real": 0, "non-rumor": 0, "nonrumor": 0, "non_rumor": 0, "non-rumour": 0, "nonrumour": 0,
    "non-rumors": 0, "non-rumours": 0, "true": 0,
}  # fmt: skip

SPLIT_SYNONYMS = {"val": "dev", "valid": "dev", "validation": "dev", "validate": "dev", "training": "train"}
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_FLOAT = re.compile(r"\d(\.\d+)?[eE]\+\d{2}|\d{16,}\.0*")  # an id after a spreadsheet or a float column


class PostsError(ValueError):
    """A corpus cannot be read; the message names the file, the row and what to do."""


def no_drops() -> pd.DataFrame:
    """An empty table of dropped rows."""
    return pd.DataFrame(columns=list(DROPPED_COLUMNS))


def place(source: str, row: int, places: Sequence[tuple[str, int]] | None = None) -> str:
    """Where the row-th post (1 = first) was read: "file, row n"; `places` has (file, row) of every post."""
    name, number = places[row - 1] if places else (source, row)
    return f"{name}, row {number}"


@dataclass(frozen=True, eq=False)  # eq=False: compared and cached as the object it is
class Corpus:
    """Posts with labels, and the pictures they refer to.

    posts: checked by `check`, index 0..n-1, columns COLUMNS and maybe more; `image` is a key of `images`.
    label_means: what label 1 means here; dropped: rows of the source that are not in `posts`, with the reason.
    split_file: name of the stored split the sides were read from; "" = the sides the corpus comes with.
    """

    name: str
    posts: pd.DataFrame
    images: Images | None
    label_means: str
    dropped: pd.DataFrame = field(default_factory=no_drops)
    split_file: str = ""


@dataclass(frozen=True)
class CaptionCorpus:
    """Photographs with captions; captions has columns image, caption_id, text, split, language."""

    name: str
    captions: pd.DataFrame
    images: Images
    dropped: pd.DataFrame = field(default_factory=no_drops)


# --- checks ---------------------------------------------------------------------------------


def check(
    frame: pd.DataFrame,
    source: str,
    extra_splits: Sequence[str] = (),
    places: Sequence[tuple[str, int]] | None = None,
) -> pd.DataFrame:
    """Return `frame` as a posts table, or say exactly what is wrong with it.

    Missing optional columns are filled: split, event, image, language, created_at with ""; image_group with the image
    key; text_group with the normal text. A missing name (`keys.cell`, or blanks) of an event or a group means "a group
    of its own". Columns beyond COLUMNS are kept, after them. Split names are SPLITS, PROBES, "test_...", "pairs..." and
    `extra_splits`.

    Args:
        frame: one row per post; label as `parse_label` takes it; ids as strings or whole numbers.
        source: file the rows come from, for the messages; row 1 is the first post.
        places: (file, row) of every post, where the rows come from several files.
    Returns: a new table, index 0..n-1, label int64, all other COLUMNS str.
    Raises: PostsError: a required column is missing, no rows, an id is empty, repeated or read as a float, a label is
        not 0/1, a split name is unknown, or the training posts have one class only.
    """
    if missing := [name for name in REQUIRED if name not in frame.columns]:
        raise PostsError(
            f"{source}: column {', '.join(missing)} is missing (found: {', '.join(map(str, frame.columns))}); "
            f"a posts file needs {', '.join(REQUIRED)}"
        )
    if frame.empty:
        raise PostsError(f"{source}: no posts; give a file with at least one row below its header")
    at = partial(place, source, places=places)
    table: dict[str, Any] = {"post_id": _ids(frame["post_id"], at)}
    table["text"] = _texts(frame["text"])
    table["label"] = _labels(frame["label"], at)
    for name in ("split", "event", "image", "language", "created_at"):
        table[name] = _texts(frame[name]) if name in frame.columns else [""] * len(frame)
    fallback = {"image_group": table["image"], "text_group": map(keys.normalise_text, table["text"])}
    for name, values in fallback.items():
        table[name] = _texts(frame[name]) if name in frame.columns else list(values)
    for name in NAMES:
        table[name] = [value if value.strip() else "" for value in table[name]]
    _check_splits(table["split"], at, extra_splits)
    extra = {str(name): frame[name].to_numpy() for name in frame.columns if name not in COLUMNS}
    checked = pd.DataFrame({name: table[name] for name in COLUMNS} | extra)
    trained = checked["split"].eq("train") if any(table["split"]) else slice(None)
    _need_both(checked["label"][trained], "training", source)
    return checked


def doubtful_names(posts: pd.DataFrame) -> list[str]:
    """What to say of events, pictures and texts that are a word which programs write for "none" (`keys.DOUBTFUL`).

    They are kept as names, so such posts belong together; only the one who holds the file knows better.
    """
    told = []
    for column in ("event", "image_group", "text"):
        names = posts[column][posts[column].str.strip().str.lower().isin(keys.DOUBTFUL)].value_counts().sort_index()
        told += [
            f"{column} {name!r}, in {n:,} posts, is kept as a name; leave the cell empty if it means that there is none"
            for name, n in names.items()
        ]
    return told


def of_texts(posts: pd.DataFrame) -> bool:
    """Whether no post has a picture: a corpus of texts, whose posts belong together by `text_group` alone."""
    return bool((posts["image"] == "").all())


def parse_label(value: Any) -> int:
    """1 for a rumor, 0 for a non-rumor, from 0/1 or one of LABEL_WORDS in any case ("false" = false news = 1).

    Raises: ValueError: anything else. Booleans (JSON's, True/False in a CSV) are refused: they may mean either.
    """
    if isinstance(value, (bool, np.bool_)) or value in ("True", "False"):  # in a CSV, as pandas writes bools
        raise ValueError(f"label {value} can mean 'is a rumor' or 'is true'; write 1 or 0")
    word = _text(value).strip().lower()
    word = {"0.0": "0", "1.0": "1"}.get(word, word)  # a whole number that went through a float column
    if not word:
        raise ValueError("the label is empty; write 1 or 0")
    if word not in LABEL_WORDS:
        raise ValueError(
            f"label {value!r} is neither 0 nor 1; use one of {', '.join(sorted(LABEL_WORDS))}"
            " (python -m rumorlib import --rumor WORD,WORD reads others)"
        )
    return LABEL_WORDS[word]


def parse_label_or_none(value: Any) -> int | None:
    """`parse_label`, or None for what it refuses."""
    try:
        return parse_label(value)
    except ValueError:
        return None


def _labels(values: pd.Series, at: Callable[[int], str]) -> np.ndarray:
    """(n,) int64 labels; each distinct word is read once, other types row by row (1 == True, but they differ here)."""
    known: dict[Any, int] = {}
    labels = np.empty(len(values), np.int64)
    for row, value in enumerate(values):
        label = known.get(value) if isinstance(value, str) else None
        if label is None:
            try:
                label = parse_label(value)
            except ValueError as error:
                raise PostsError(f"{at(row + 1)}: {error}, or remove the row") from None
            if isinstance(value, str):
                known[value] = label
        labels[row] = label
    return labels


def _ids(values: pd.Series, at: Callable[[int], str]) -> list[str]:
    """Ids as exact strings: 16 to 19 digits do not survive a float. A clean column of strings is taken as it is."""
    if all(type(value) is str for value in values):
        names = pd.Series(_texts(values), dtype=object)
        clean = names.str.strip().ne("") & ~names.str.fullmatch(_FLOAT)
        if not names.duplicated().any() and clean.all():
            return names.tolist()
    ids: list[str] = []
    first: dict[str, int] = {}
    for row, value in enumerate(values, 1):
        name = _text(value)
        if name and (isinstance(value, (float, np.floating)) or _FLOAT.fullmatch(name)):
            raise PostsError(
                f"{at(row)}: id {value!r} was read as a float and may have lost digits; "
                "read the file with dtype=str and write it anew, or quote the ids"
            )
        if not name.strip():
            raise PostsError(f"{at(row)}: the id is empty; give every post an id of its own")
        if name in first:
            raise PostsError(f"{at(row)}: id {name!r} stands in row {first[name]} already; ids must be unique")
        first[name] = row
        ids.append(name)
    return ids


def _texts(values: pd.Series) -> list[str]:
    """`_text` of every cell; a column of clean strings is taken as it is."""
    cells = values.tolist()
    if all(type(cell) is str for cell in cells):
        try:
            "".join(cells).encode()
            return cells
        except UnicodeEncodeError:  # half of a surrogate pair
            pass
    return [_text(value) for value in cells]


def _text(value: Any) -> str:
    """`keys.cell` as a string that can be encoded."""
    text = keys.cell(value)
    return _SURROGATE.sub("\ufffd", text) if _SURROGATE.search(text) else text


def split_name(name: str) -> str:
    """The split as we write it: `Test`, `val` and such are read as manifests may write them; others stay."""
    lower = name.strip().lower()
    return SPLIT_SYNONYMS.get(lower, lower)


def is_split(name: str, extra: Sequence[str] = ()) -> bool:
    """Whether a split may have this name: SPLITS, PROBES, test_... and pairs..., or one of `extra`."""
    return name in (*SPLITS, *PROBES, *extra) or name.startswith(("test_", "pairs"))


def _check_splits(splits: list[str], at: Callable[[int], str], extra: Sequence[str]) -> None:
    for name in dict.fromkeys(splits):
        if not is_split(name, extra):
            remedy = f"write {SPLIT_SYNONYMS.get(name.lower(), 'train, dev or test')!r}"
            raise PostsError(f"{at(splits.index(name) + 1)}: unknown split {name!r}; {remedy}")


def _need_both(labels: pd.Series, name: str, source: str) -> None:
    if labels.nunique() == 1:
        only = "rumor (1)" if labels.iloc[0] else "non-rumor (0)"
        raise PostsError(f"{source}: all {len(labels)} {name} posts are {only}; both classes are needed, add the other")


def check_splits(corpus: Corpus, source: str) -> None:
    """A corpus read from files, after its drops: training posts, and both classes in train, dev and test.

    Raises: PostsError: there are splits but no training posts, or one of the three has one class only.
    """
    labels, split = corpus.posts["label"], corpus.posts["split"]
    source += f", after dropping {len(corpus.dropped)} rows" if len(corpus.dropped) else ""
    if (split != "").any() and not (split == "train").any():
        raise PostsError(f"{source}: no training posts; give some posts the split 'train', or none of them a split")
    for value, name in (("train", "training"), ("dev", "dev"), ("test", "test")):
        _need_both(labels[split == value], name, source)
    _need_both(labels, "remaining", source)
