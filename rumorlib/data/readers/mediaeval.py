"""Twitter set of MediaEval's Verifying Multimedia Use: the organisers' text files, and one prepared table."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pandas as pd

from rumorlib.config import CORPORA, OnMissing
from rumorlib.data import keys, posts
from rumorlib.data.images import FolderImages, files_by_stem
from rumorlib.data.posts import Corpus, PostsError
from rumorlib.data.readers import missing
from rumorlib.data.readers.tables import first_line, need, read_csv, read_lines

LABEL_MEANS = CORPORA["twitter"].label_means
# Folder, its files in order of preference (2016 and 2015 name them differently), split.
PARTS = (
    ("devset", ("posts.txt", "tweets.txt"), "train"),
    ("testset", ("posts_groundtruth.txt", "tweets.txt", "posts.txt"), "test"),
    (".", ("posts.txt", "tweets.txt"), ""),
)
# Columns by their names in 2015 and 2016, without case, underscores and "(s)"; their order differs between the files.
_COLUMNS = {
    "postid": "post_id", "tweetid": "post_id", "posttext": "text", "tweettext": "text", "imageid": "images",
    "userid": "author", "timestamp": "created_at", "label": "label",
}  # fmt: skip
# sandy_fake_03 and sandyA_fake_03 -> sandy; attacks_paris_1 -> attacks_paris
_NUMBER = re.compile(r"((?<=[a-z])[A-Z])?(_(fake|real))?_?\d+$")


# --- as published ---------------------------------------------------------------------------


def recognise(folder: Path) -> bool:
    """A folder with devset/ or testset/, or with posts.txt or tweets.txt itself, tab-separated with an image column."""
    return any(_is_ours(folder / place / name) for place, names, _ in PARTS for name in names)


def read(folder: Path, on_missing_image: OnMissing = "drop") -> Corpus:
    """Posts of devset (train) and testset (test); a file in the folder itself has no split.

    The third label, humor, is no statement about the media: these posts are dropped and reported, as are rows with
    another number of cells and ids that repeat. image = the first listed one that exists, in whatever folder below,
    with whatever extension and in whatever case; without any picture below, the corpus is one of texts. event = the
    image id without number, and without the letter that cuts an event in two (sandyA, sandyB). Further columns, no
    model reads them: author, n_images. Texts stay as written, with \\\\n and &amp;.

    Raises: PostsError: no labels, or an unknown one.
    """
    frames = [_rows(folder, folder / place, names, split) for place, names, split in PARTS]
    table = pd.concat([frame for frame in frames if frame is not None], ignore_index=True)
    places = list(zip(table.pop("source"), table.pop("row"), strict=True))
    reasons = [
        cells or ("label humor, neither fake nor real" if label == "humor" else again)
        for cells, label, again in zip(table.pop("cells"), table["label"], missing.repeats(table["post_id"]))
    ]
    table, places, left_out = missing.leave_out(table, reasons, "MediaEval", places)
    files = {stem.lower(): path for stem, path in files_by_stem(folder).items() if PurePosixPath(path).suffix}
    image_keys = table.pop("keys")
    table["n_images"] = image_keys.map(len)
    first = [listed[0] if listed else "" for listed in image_keys]
    table["event"] = [_NUMBER.sub("", key) for key in first]
    table["image_group"] = first
    if files:
        table["image"] = [
            next((files[k.lower()] for k in listed if k.lower() in files), listed[0] if listed else "")
            for listed in image_keys
        ]
    table = posts.check(table, "MediaEval", places=places)
    if not files:
        return Corpus("twitter-text", table, None, LABEL_MEANS, left_out)
    images = FolderImages(folder)
    table, dropped = missing.settle(table, images, "MediaEval", on_missing_image, places)
    return _weighted(table, images, pd.concat([left_out, dropped], ignore_index=True))


def _is_ours(path: Path) -> bool:
    return path.is_file() and {"post_id", "text", "images"} <= set(_names(first_line(path)))


def _names(header: str) -> list[str]:
    cleaned = [re.sub(r"\(s\)|[\s_]", "", name).lower() for name in header.split("\t")]
    return [_COLUMNS.get(name, name) for name in cleaned]


def _rows(root: Path, folder: Path, names: tuple[str, ...], split: str) -> pd.DataFrame | None:
    """Rows of the first labelled file of `names`; None: the folder has none of them."""
    found = [folder / name for name in names if _is_ours(folder / name)]
    if not found:
        return None
    path = next((path for path in found if "label" in _names(first_line(path))), None)
    if path is None:
        raise PostsError(
            f"{found[0]}: no column label; put the file with labels ({names[0]}) there, as published after the task"
        )
    lines = read_lines(path)
    header, rows = _names(lines[0]), []
    source = path.relative_to(root).as_posix()
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        row = dict(zip(header, cells))  # a quote is a character of the text here, not a delimiter
        wrong = "" if len(cells) == len(header) else f"{len(cells)} cells below a header of {len(header)}"
        kept = {name: row.get(name, "") for name in ("post_id", "text", "author", "created_at", "label")}
        kept["label"] = kept["label"].strip().lower()
        kept["keys"] = [key.strip() for key in row.get("images", "").split(",") if key.strip()]
        rows.append(kept | {"split": split, "cells": wrong, "source": source, "row": number})
    return pd.DataFrame(rows)


# --- one table ------------------------------------------------------------------------------


def recognise_table(folder: Path) -> bool:
    """A posts.csv with columns `image` and `lang`."""
    path = folder / "posts.csv"
    return path.is_file() and {"image", "lang"} <= set(first_line(path).split(","))


def read_table(folder: Path, on_missing_image: OnMissing = "drop") -> Corpus:
    """posts.csv (id, text, label, split, event, image, lang, created_at) and its pictures.

    image_group = image key; text_group = normalised text; weight = 1 / posts of the image.
    """
    source = folder / "posts.csv"
    frame = read_csv(source).rename(columns={"id": "post_id", "lang": "language"})
    need(frame, ("post_id", "split", "event", "image", "language", "created_at"), source)
    table = posts.check(frame[[name for name in posts.COLUMNS if name in frame.columns]], "posts.csv")
    images = FolderImages(folder)
    table, dropped = missing.settle(table, images, "posts.csv", on_missing_image)
    return _weighted(table, images, dropped)


def _weighted(table: pd.DataFrame, images: FolderImages, dropped: pd.DataFrame) -> Corpus:
    return Corpus("twitter", table.assign(weight=keys.image_weights(table)), images, LABEL_MEANS, dropped)
