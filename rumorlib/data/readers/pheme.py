"""PHEME threads as published (versions 1 and 2), and its source tweets as one table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from rumorlib.config import CORPORA, OnMissing
from rumorlib.data import posts
from rumorlib.data.images import FolderImages, files_by_stem
from rumorlib.data.posts import Corpus, PostsError
from rumorlib.data.readers import missing
from rumorlib.data.readers.tables import first_line, need, read_csv, read_object

LABEL_MEANS = CORPORA["pheme"].label_means
LABEL_FOLDERS = {"rumours": 1, "non-rumours": 0, "rumors": 1, "non-rumors": 0}  # some copies are respelt
SUFFIX = "-all-rnr-threads"  # version 2 adds it to the name of an event
SOURCES = ("source-tweets", "source-tweet")  # version 2, version 1
IMAGE_FOLDERS = ("images", "pheme_images")


# --- threads --------------------------------------------------------------------------------


def recognise(folder: Path) -> bool:
    """A folder of events: in one of its folders lies `rumours` or `non-rumours`; or one event's folder itself."""
    return any(_events(folder))


def read(folder: Path, on_missing_image: OnMissing = "drop") -> Corpus:
    """Source tweets of all threads; label = rumours or non-rumours, event = the folder, without its suffix.

    PHEME ships no pictures: <tweet id>.jpg (or .png, .gif ...) is looked for in `images` in or beside the folder;
    without such a folder the corpus is one of texts. A tweet that stands in two threads is dropped the second time and
    reported. Further columns, for MFAN's graph and DMFL's replies alone: author, replies (JSON list
    of id, parent, author, created_at, text), n_replies. annotation.json and structure.json are not read: whether the
    rumor proved true is not known at posting time.

    Raises: PostsError: a thread has no source tweet, or a tweet is no JSON object with id and text.
    """
    rows, places = [], []
    for event, label, thread in _threads(folder):
        source = _source(thread)
        tweet = _tweet(source)
        replies = [_tweet(path) for path in _json_files(thread / "reactions")]
        row = {"post_id": tweet["id"], "text": tweet["text"], "label": label, "event": event}
        row |= {"created_at": tweet["created_at"], "author": tweet["author"], "language": tweet["language"] or "en"}
        row |= {"replies": json.dumps(replies, ensure_ascii=False), "n_replies": len(replies)}
        rows.append(row)
        places.append((str(source.relative_to(folder)), 1))
    if not rows:
        raise PostsError(f"{folder}: no thread in rumours or non-rumours; unpack the PHEME archive there")
    table = pd.DataFrame(rows)
    table, places, left_out = missing.leave_out(table, missing.repeats(table["post_id"]), "PHEME", places)
    images = _images(folder)
    if images is None:
        checked = posts.check(table.assign(split=""), "PHEME", places=places)
        return Corpus("pheme-text", checked, None, LABEL_MEANS, left_out)
    files = files_by_stem(images.root)
    keys = [files.get(name, f"{name}.jpg") for name in table["post_id"]]
    table = posts.check(table.assign(split="", image=keys), "PHEME", places=places)
    table, dropped = missing.settle(table, images, "PHEME", on_missing_image, places)
    return Corpus("pheme", table, images, LABEL_MEANS, pd.concat([left_out, dropped], ignore_index=True))


def _events(folder: Path) -> Iterator[Path]:
    if any((folder / name).is_dir() for name in LABEL_FOLDERS):
        yield folder
        return
    for event in sorted(folder.iterdir()):
        if not event.name.startswith(".") and any((event / name).is_dir() for name in LABEL_FOLDERS):
            yield event


def _threads(folder: Path) -> Iterator[tuple[str, int, Path]]:
    for event in _events(folder):
        for name, label in LABEL_FOLDERS.items():
            inner = event / name
            threads = sorted(inner.iterdir()) if inner.is_dir() else []
            for thread in threads:  # archives made on macOS hold ._* and .DS_Store
                if not thread.name.startswith(".") and thread.is_dir():
                    yield event.name.removesuffix(SUFFIX), label, thread


def _source(thread: Path) -> Path:
    found = [path for name in SOURCES for path in _json_files(thread / name)]
    if len(found) != 1:
        raise PostsError(
            f"{thread}: {len(found)} source tweets in source-tweets or source-tweet, expected one; "
            "restore the thread or remove its folder"
        )
    return found[0]


def _json_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith("."))


def _tweet(path: Path) -> dict[str, Any]:
    """The fields we keep of a tweet; ids as the exact strings the file has beside its numbers."""
    found = read_object(path)
    text = found.get("full_text") or found.get("text")
    name = found.get("id_str") or found.get("id")
    if not isinstance(text, str) or isinstance(name, (bool, float, type(None))):
        raise PostsError(f"{path}: no tweet with id_str and text; restore the file or remove its thread")
    user = found.get("user") if isinstance(found.get("user"), dict) else {}
    return {
        "id": str(name),
        "parent": str(found.get("in_reply_to_status_id_str") or ""),
        "author": str(user.get("id_str") or user.get("id") or ""),
        "created_at": str(found.get("created_at") or ""),
        "language": str(found.get("lang") or ""),
        "text": text,
    }


def _named_by_id(folder: Path) -> Iterator[Path]:
    """Files named as a tweet id is written: digits alone."""
    return (file for file in folder.iterdir() if file.stem.isdigit())


def _images(folder: Path) -> FolderImages | None:
    for place in (folder, folder.parent):
        for name in IMAGE_FOLDERS:
            # a folder of that name beside the corpus may be another corpus's: its files are then not named by tweet id
            if (place / name).is_dir() and (place == folder or any(_named_by_id(place / name))):
                return FolderImages(place / name)
    return None


# --- one table ------------------------------------------------------------------------------


def recognise_table(folder: Path) -> bool:
    """A posts.csv with a column `veracity`: the prepared source tweets."""
    path = folder / "posts.csv"
    return path.is_file() and "veracity" in first_line(path).split(",")


def read_table(folder: Path, on_missing_image: OnMissing = "drop") -> Corpus:
    """Source tweets as posts.csv (id, text, label, event, created_at); no images, no split of its own.

    Veracity and media columns are not read: they are not known at posting time.
    """
    source = folder / "posts.csv"
    frame = read_csv(source).rename(columns={"id": "post_id"})
    need(frame, ("post_id", "event", "created_at"), source)
    frame = frame[[n for n in ("post_id", "text", "label", "event", "created_at") if n in frame.columns]]
    return Corpus("pheme-text", posts.check(frame.assign(split="", language="en"), "posts.csv"), None, LABEL_MEANS)
