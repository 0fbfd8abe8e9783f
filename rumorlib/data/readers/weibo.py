"""Weibo-17 (Jin et al. 2017) as published: four text files, two image folders, and EANN's event ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from rumorlib.config import CORPORA, OnMissing
from rumorlib.data import posts
from rumorlib.data.images import FolderImages, files_by_stem
from rumorlib.data.posts import Corpus, PostsError
from rumorlib.data.readers import event_ids, missing
from rumorlib.data.readers.tables import read_lines

LABEL_MEANS = CORPORA["weibo"].label_means
FILES = (
    ("train_rumor.txt", "train", 1),
    ("train_nonrumor.txt", "train", 0),
    ("test_rumor.txt", "test", 1),
    ("test_nonrumor.txt", "test", 0),
)
IMAGE_FOLDERS = ("nonrumor_images", "rumor_images")


def recognise(folder: Path) -> bool:
    """A folder with the four text files, in it or in `tweets`; one of them will do, so that a gap is named."""
    return any((place / name).is_file() for place in (folder, folder / "tweets") for name, _, _ in FILES)


def read(folder: Path, on_missing_image: OnMissing = "drop") -> Corpus:
    """Posts with the pictures of rumor_images/ and nonrumor_images/; without these folders, the texts alone.

    image = the first listed picture that opens; image_group = the key of the first listed one; event = EANN's
    event id, where its pickles lie there (few posts have one). Further columns, no model reads them: author, n_images,
    eann_split. Image count, publish time and its form give the label away; the
    other fields (name, verified or not, followers, device) are not read.

    Raises: PostsError: a file is missing or its lines are out of step; or one of the two picture folders is missing,
        unless the rule is "keep": whether a post has a picture would then tell its label.
    """
    there = [name for name in IMAGE_FOLDERS if (folder / name).is_dir()]
    if len(there) == 1 and on_missing_image != "keep":
        gone = next(name for name in IMAGE_FOLDERS if name not in there)
        raise PostsError(
            f"{folder} has {there[0]}/ but no {gone}/: put it there too, or read with on_missing_image='keep'"
        )
    return read_posts(folder, on_missing_image) if there else read_texts(folder)


def read_texts(folder: Path) -> Corpus:
    """All posts, no pictures."""
    table, _ = _table(folder, None)
    return Corpus("weibo-text", table, None, LABEL_MEANS)


def read_posts(folder: Path, on_missing_image: OnMissing = "drop") -> Corpus:
    """Posts and pictures; a post without a picture as `on_missing_image` says."""
    images = FolderImages(folder)
    table, places = _table(folder, images)
    table, dropped = missing.settle(table, images, folder.name, on_missing_image, places, headers=True)
    return Corpus("weibo", table, images, LABEL_MEANS, dropped)


def _table(folder: Path, images: FolderImages | None) -> tuple[pd.DataFrame, list[tuple[str, int]]]:
    homes = (folder / "tweets", folder)  # the one that has more of the files: archives leave empty folders behind
    inner = max(homes, key=lambda home: sum((home / name).is_file() for name, _, _ in FILES))
    records = [record for name, split, label in FILES for record in _records(inner / name, split, label)]
    files = _image_files(folder) if images else {}
    rows, places = [], []
    for record in records:
        image_keys = record.pop("image_keys")
        places.append(record.pop("place"))
        listed = [files[key] for key in image_keys if key in files]
        image = next((key for key in listed if images.header(key)), listed[0] if listed else "") if images else ""
        if images and not image and image_keys:
            image = image_keys[0]
        rows.append(
            record | {"image": image, "image_group": image_keys[0] if image_keys else "", "n_images": len(image_keys)}
        )
    frame = pd.DataFrame(rows)
    events, eann = event_ids.read_folder(folder)
    frame = frame.assign(language="zh", event=[events.get(name, "") for name in frame["post_id"]])
    if eann:
        frame["eann_split"] = [eann.get(name, "") for name in frame["post_id"]]
    return posts.check(frame, "Weibo", places=places), places


def _records(path: Path, split: str, label: int) -> list[dict[str, Any]]:
    lines = read_lines(path)
    while lines and not lines[-1].strip():  # blank lines below the last record, or its text, which may be empty
        lines.pop()
    if len(lines) % 3 == 2 and lines[-1].endswith("null"):
        lines.append("")
    records = []
    for start in range(0, len(lines), 3):
        fields = lines[start].split("|")
        if len(fields) != 15 or len(lines) < start + 3:
            raise PostsError(
                f"{path}, line {start + 1}: expected a record of three lines, the first with 15 fields between '|', "
                f"found {len(fields)} fields; use the file as published"
            )
        image_keys = [image_key(url) for url in lines[start + 1].split("|") if _given(url).strip()]
        records.append(
            {"post_id": fields[0], "text": lines[start + 2], "label": label, "split": split,
             "created_at": fields[4], "author": _given(fields[9]), "image_keys": image_keys,
             "place": (path.name, start + 1)}
        )  # fmt: skip
    return records


def _given(field: str) -> str:
    """A field of the published files; they write null where there is nothing: no author of all news posts."""
    return "" if field.strip() == "null" else field


def image_key(url: str) -> str:
    """Key of a Weibo image: last part of its URL without query and extension, lower case."""
    return url.strip().split("?")[0].rstrip("/").rsplit("/", 1)[-1].rsplit(".", 1)[0].lower()


def _image_files(folder: Path) -> dict[str, str]:
    """Image key -> path below `folder`, also where an archive nested the picture folder in one of its own name.

    A few published files have no extension; some archives add ._ files.
    """
    found = {}
    for name in IMAGE_FOLDERS:
        for stem, path in files_by_stem(folder / name).items():
            found[stem.lower()] = f"{name}/{path}"
    return found
