"""A user's own posts: .csv, .json or .jsonl with text, label and image, as FaKnow and others have them (spec §6)."""

from __future__ import annotations

from pathlib import Path

from rumorlib.config import OnMissing
from rumorlib.data import missing, posts
from rumorlib.data.images import FolderImages
from rumorlib.data.posts import Corpus, PostsError
from rumorlib.data.tables import read_csv, read_json

NAMES = ("manifest.csv", "manifest.json", "manifest.jsonl")
LABEL_MEANS = "label 1 of the given manifest"
# Names seen in manifests of other projects (spec §6).
_COLUMNS = {
    "id": "post_id", "content": "text", "img": "image", "image_path": "image", "domain": "event", "lang": "language",
}  # fmt: skip


def recognise(folder: Path) -> bool:
    """A folder with one of NAMES."""
    return any((folder / name).is_file() for name in NAMES)


def read(folder: Path, on_missing_image: OnMissing = "drop") -> Corpus:
    """The manifest of a folder. Raises: PostsError: there is none or more than one, or `read_file` refuses it."""
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if not found:
        raise PostsError(f"none of {', '.join(NAMES)} lies in {folder}; put your manifest there")
    if len(found) > 1:
        raise PostsError(f"{folder} has {' and '.join(path.name for path in found)}; keep one")
    return read_file(found[0], on_missing_image)


def read_file(path: Path | str, on_missing_image: OnMissing = "drop") -> Corpus:
    """Posts of a .csv, .json or .jsonl with text, label and, where there are, image, id, split, event (spec §6).

    `image` is relative to the manifest; a manifest without any image is a corpus of texts. Without ids, a post is
    named by its row. Other columns are not read.

    Raises: PostsError: no manifest, a column is missing or double, or `posts.check` refuses a row.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".json", ".jsonl"):
        raise PostsError(f"{path}: a manifest is a .csv, .json or .jsonl file")
    frame = (read_csv if path.suffix == ".csv" else read_json)(path)
    frame = frame.rename(columns={old: new for old, new in _COLUMNS.items() if new not in frame.columns})
    if twice := sorted({str(name) for name in frame.columns[frame.columns.duplicated()]}):
        raise PostsError(f"{path}: more than one column could be {', '.join(twice)}; keep one")
    if "post_id" not in frame.columns and "text" in frame.columns:
        frame["post_id"] = [str(row) for row in range(1, len(frame) + 1)]
    frame = frame[[name for name in posts.COLUMNS if name in frame.columns]]
    if "split" in frame.columns:
        frame = frame.assign(split=frame["split"].map(lambda name: posts.SPLIT_SYNONYMS.get(name, name)))
    table, dropped, images = posts.check(frame, path.name), posts.no_drops(), None
    if table["image"].any():
        images = FolderImages(path.parent)
        table, dropped = missing.settle(table, images, path.name, on_missing_image)
    return Corpus("manifest", table, images, LABEL_MEANS, dropped)
