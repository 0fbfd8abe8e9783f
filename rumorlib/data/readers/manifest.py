"""A user's own posts: .csv, .json or .jsonl with text, label and image, as FaKnow and others have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from rumorlib import config
from rumorlib.config import OnMissing
from rumorlib.data import posts
from rumorlib.data.images import FolderImages
from rumorlib.data.posts import Corpus, PostsError
from rumorlib.data.readers import missing
from rumorlib.data.readers.tables import IMPORT, first_line, plain_names, read_csv, read_json

SUFFIXES = (".csv", ".json", ".jsonl")
NAMES = tuple(f"manifest{suffix}" for suffix in SUFFIXES)
PARTS = {
    "train": "train",
    **{name: "dev" for name in ("dev", "val", "valid", "validation", "validate")},
    "test": "test",
}
LABEL_MEANS = "label 1 of the given manifest"
# Names seen in manifests of other projects, in lower case.
_COLUMNS = {
    "id": "post_id", "content": "text", "img": "image", "image_path": "image", "domain": "event", "lang": "language",
}  # fmt: skip
_TEXTS = ("text", *(old for old, new in _COLUMNS.items() if new == "text"))


def recognise(folder: Path) -> bool:
    """A folder with one of NAMES, or with one file per split (train.json, val.json, test.json) of texts and labels."""
    return any((folder / name).is_file() for name in NAMES) or any(split == "train" for split, _ in _parts(folder))


def read(place: Path, on_missing_image: OnMissing = "drop") -> Corpus:
    """The manifest of a folder, one file or one per split; or the file itself.

    Raises: PostsError: there is none or more than one, or `read_file` refuses it.
    """
    if place.is_file():
        return read_file(place, on_missing_image)
    found = [place / name for name in NAMES if (place / name).is_file()]
    if len(found) > 1:
        raise PostsError(f"{place} has {' and '.join(path.name for path in found)}; keep one")
    if found:
        return read_file(found[0], on_missing_image)
    parts = _parts(place)
    if not parts:
        raise PostsError(f"none of {', '.join(NAMES)} lies in {place}; put your manifest there")
    sides = [split for split, _ in parts]
    if twice := next((split for split in sides if sides.count(split) > 1), None):
        names = [path.name for split, path in parts if split == twice]
        raise PostsError(f"{place} has {' and '.join(names)}; keep one")
    frames = [_table(path, f"{path.stem}-").assign(split=split) for split, path in parts]
    places = [(path.name, row) for frame, (_, path) in zip(frames, parts) for row in range(1, len(frame) + 1)]
    names = " + ".join(path.name for _, path in parts)
    return _corpus(pd.concat(frames, ignore_index=True), names, place, on_missing_image, places)


def read_file(path: Path | str, on_missing_image: OnMissing = "drop") -> Corpus:
    """Posts of a .csv, .json or .jsonl with text, label and, where there are, image, id, split, event.

    `image` is relative to the manifest, with / or \\\\ between folders; of a list the first counts. A manifest without
    any image is a corpus of texts. Without ids, a post is named by its row. Other columns are not read. What label 1
    means, a corpus.toml beside it says in a line label_means = "...".

    Raises: PostsError: no manifest, a column is missing or double, `posts.check` refuses a row, or corpus.toml is no
        TOML or says no text.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise PostsError(f"{path}: a manifest is a .csv, .json or .jsonl file")
    return _corpus(_table(path), path.name, path.parent, on_missing_image)


def _parts(folder: Path) -> list[tuple[str, Path]]:
    """Split and path of every file that is named as a split and speaks of texts and labels."""
    paths = [(split, folder / f"{name}{suffix}") for name, split in PARTS.items() for suffix in SUFFIXES]
    return [(split, path) for split, path in paths if path.is_file() and _has_posts(path)]


def _has_posts(path: Path) -> bool:
    if path.suffix == ".csv":
        names = {name.strip().strip('"').lower() for name in first_line(path).split(",")}
        return "label" in names and not names.isdisjoint(_TEXTS)
    with path.open("rb") as file:
        start = file.read(100_000).lower()
    return b'"label"' in start and any(f'"{name}"'.encode() in start for name in _TEXTS)


def _table(path: Path, prefix: str = "") -> pd.DataFrame:
    """The rows of one file under our column names; prefix: of the names of posts without an id."""
    frame = (read_csv if path.suffix == ".csv" else read_json)(path)
    given = [str(name) for name in frame.columns]
    frame = plain_names(frame, _COLUMNS, path)
    if missing_columns := [name for name in ("text", "label") if name not in frame.columns]:
        raise PostsError(
            f"{path}: column {', '.join(missing_columns)} is missing (found: {', '.join(given)}); name the columns "
            f"text, label and, where you have them, id, image, split, event, {IMPORT}"
        )
    if "post_id" not in frame.columns:
        frame["post_id"] = [f"{prefix}{row}" for row in range(1, len(frame) + 1)]
    if "split" in frame.columns:
        frame["split"] = [_split(value) for value in frame["split"]]
    if "image" in frame.columns:
        frame["image"] = [_first(value) for value in frame["image"]]
    return frame[[name for name in posts.COLUMNS if name in frame.columns]]


def _split(value: Any) -> Any:
    return posts.split_name(value) if isinstance(value, str) else value


def _first(value: Any) -> Any:
    """One picture per post: the first of a list; folders as everywhere but on Windows."""
    if isinstance(value, list):
        value = next((name for name in value if name), "")
    return value.strip().replace("\\", "/") if isinstance(value, str) else value


def _corpus(
    frame: pd.DataFrame,
    source: str,
    folder: Path,
    on_missing_image: OnMissing,
    places: list[tuple[str, int]] | None = None,
) -> Corpus:
    table, dropped, images = posts.check(frame, source, places=places), posts.no_drops(), None
    if table["image"].any():
        images = FolderImages(folder)
        table, dropped = missing.settle(table, images, source, on_missing_image, places)
    return Corpus("manifest", table, images, _label_means(folder), dropped)


def _label_means(folder: Path) -> str:
    """What the corpus.toml in a folder says that label 1 means."""
    try:
        return config.record_file(folder).get("label_means", LABEL_MEANS)
    except config.SettingError as error:
        raise PostsError(str(error)) from None
