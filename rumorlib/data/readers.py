"""Published files -> tables, one function per format; nothing is decided here that is not a rule of the format.

Every reader returns the table and its dropped rows; layouts: spec §6 and the data guide of the README.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from rumorlib.data import posts, splits
from rumorlib.data.images import FolderImages
from rumorlib.data.posts import PostsError
from rumorlib.data.tables import read_csv, read_json

_SPLIT_NAMES = {"val": "dev", "valid": "dev", "validation": "dev"}
# Names seen in manifests of other projects (spec §6).
_MANIFEST_NAMES = {
    "id": "post_id", "content": "text", "img": "image", "image_path": "image", "domain": "event", "lang": "language",
}  # fmt: skip
_WEIBO_FILES = (
    ("train_rumor.txt", "train", 1),
    ("train_nonrumor.txt", "train", 0),
    ("test_rumor.txt", "test", 1),
    ("test_nonrumor.txt", "test", 0),
)


def read_manifest(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Generic manifest (spec §6): .csv, .json or .jsonl with text, label and, where there are, image, id, split, event.

    `image` is relative to the manifest. Posts whose image is missing are dropped (C26); so are posts without an image
    in a manifest that has images. Without ids, a post is named by its row. Other columns are not read.

    Returns: posts (checked), dropped rows. Raises: PostsError.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".json", ".jsonl"):
        raise PostsError(f"{path}: a manifest is a .csv, .json or .jsonl file")
    frame = (read_csv if path.suffix == ".csv" else read_json)(path)
    frame = frame.rename(columns={old: new for old, new in _MANIFEST_NAMES.items() if new not in frame.columns})
    if twice := sorted({str(name) for name in frame.columns[frame.columns.duplicated()]}):
        raise PostsError(f"{path}: more than one column could be {', '.join(twice)}; keep one")
    if "post_id" not in frame.columns and "text" in frame.columns:
        frame["post_id"] = [str(row) for row in range(1, len(frame) + 1)]
    frame = frame[[name for name in posts.COLUMNS if name in frame.columns]]
    if "split" in frame.columns:
        frame = frame.assign(split=frame["split"].map(lambda name: _SPLIT_NAMES.get(name, name)))
    table = posts.check(frame, path.name)
    if not table["image"].any():
        return table, posts.no_drops()
    return keep_pictured(table, FolderImages(path.parent), path.name)


def keep_pictured(table: pd.DataFrame, images: FolderImages, source: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Posts whose picture exists, and the others with the reason (C26: a missing image drops the post)."""
    exists = {key: images.has(key) for key in table["image"].unique()}
    kept = table["image"].map(exists).to_numpy(bool)
    if not kept.any():
        raise PostsError(f"{source}: none of {len(exists)} pictures exists below {images.root}; put them there")
    gone = table[~kept]
    reasons = [f"image {key} does not exist" if key else "no image" for key in gone["image"]]
    dropped = pd.DataFrame(
        {"post_id": gone["post_id"], "source": source, "row": gone.index + 1, "reason": reasons},
        columns=list(posts.DROPPED_COLUMNS),
    )
    return table[kept].reset_index(drop=True), dropped.reset_index(drop=True)


def read_twitter(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Twitter set (MediaEval 2016): posts.csv (id, text, label, split, event, image, lang, created_at) and images/.

    image_group = image key; text_group = normalised text; weight = 1 / posts of the image (spec §15).
    """
    source = folder / "posts.csv"
    frame = read_csv(source).rename(columns={"id": "post_id", "lang": "language"})
    need(frame, ("post_id", "split", "event", "image", "language", "created_at"), source)
    table = posts.check(frame[[name for name in posts.COLUMNS if name in frame.columns]], "posts.csv")
    table, dropped = keep_pictured(table, FolderImages(folder), "posts.csv")
    return table.assign(weight=splits.image_weights(table)), dropped


def read_pheme(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """PHEME source tweets as posts.csv (id, text, label, event, created_at); no images, no split of its own.

    Veracity, reactions and media columns are not read: they are not known at posting time.
    """
    source = folder / "posts.csv"
    frame = read_csv(source).rename(columns={"id": "post_id"})
    need(frame, ("post_id", "event", "created_at"), source)
    frame = frame[[n for n in ("post_id", "text", "label", "event", "created_at") if n in frame.columns]]
    return posts.check(frame.assign(split="", language="en"), "posts.csv"), posts.no_drops()


def read_weibo(folder: Path, image_folders: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Weibo-17 (Jin et al. 2017): {train,test}_{rumor,nonrumor}.txt, three lines per post (spec §6).

    Of the 15 fields only id and publish time are read, of the images only the first that exists: author fields, image
    count and the form of the time give the label away, and the time is never an input. text_group = near-duplicate
    texts; image_group = the key of the first listed image.

    Args: image_folders: keep posts with a picture in rumor_images/ or nonrumor_images/; False: texts only.
    Returns: posts (checked), dropped rows. Raises: PostsError: a file is missing or its lines are out of step.
    """
    inner = folder / "tweets" if (folder / "tweets").is_dir() else folder
    records = [record for name, split, label in _WEIBO_FILES for record in _weibo_records(inner / name, split, label)]
    files = _weibo_files(folder) if image_folders else {}
    rows = []
    for record in records:
        keys = record.pop("keys")
        found = next((files[key] for key in keys if key in files), keys[0] if image_folders and keys else "")
        rows.append(record | {"image": found, "image_group": keys[0] if keys else ""})
    frame = pd.DataFrame(rows)
    groups = splits.near_duplicates([posts.normalise_text(text) for text in frame["text"]])
    table = posts.check(frame.assign(language="zh", event="", text_group=groups), folder.name)
    return keep_pictured(table, FolderImages(folder), folder.name) if image_folders else (table, posts.no_drops())


def _weibo_records(path: Path, split: str, label: int) -> list[dict[str, Any]]:
    try:  # split at \n only: str.splitlines would also cut at separators inside texts
        lines = [line.rstrip("\r") for line in path.read_bytes().decode("utf-8-sig").split("\n")]
    except FileNotFoundError:
        raise PostsError(f"{path} does not exist; put the four Weibo text files there") from None
    except UnicodeDecodeError as error:
        raise PostsError(f"{path} is not UTF-8 (byte {error.start}); use the file as published") from None
    if len(lines) % 3 == 1 and not lines[-1]:
        lines.pop()
    records = []
    for start in range(0, len(lines), 3):
        fields = lines[start].split("|")
        if len(fields) != 15 or len(lines) < start + 3:
            raise PostsError(
                f"{path}, line {start + 1}: expected a record of three lines, the first with 15 fields between '|', "
                f"found {len(fields)} fields; use the file as published"
            )
        keys = [image_key(url) for url in lines[start + 1].split("|") if url.strip() not in ("", "null")]
        records.append(
            {"post_id": fields[0], "text": lines[start + 2], "label": label, "split": split,
             "created_at": fields[4], "keys": keys}
        )  # fmt: skip
    return records


def image_key(url: str) -> str:
    """Key of a Weibo image: last part of its URL without query and extension, lower case (spec §6)."""
    return url.strip().split("?")[0].rstrip("/").rsplit("/", 1)[-1].rsplit(".", 1)[0].lower()


def _weibo_files(folder: Path) -> dict[str, str]:
    """Image key -> path below `folder`; a few published files have no extension, some archives add ._ files."""
    found = {}
    for name in ("nonrumor_images", "rumor_images"):
        if (folder / name).is_dir():
            entries = sorted(entry.name for entry in (folder / name).iterdir() if not entry.name.startswith("."))
            found |= {image_key(entry): f"{name}/{entry}" for entry in entries}
    return found


def read_captions(folder: Path, language: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """captions_<language>.csv (image, caption_id, caption, split) and its images; split `val` is called dev.

    Returns: captions (image, caption_id int, text, split, language) sorted by image and caption_id; dropped captions.
    Raises: PostsError: a column is missing, a caption repeats its id, or an image stands in two splits.
    """
    source = folder / f"captions_{language}.csv"
    frame = read_csv(source)
    need(frame, ("image", "caption_id", "caption", "split"), source)
    ids = pd.to_numeric(frame["caption_id"], errors="coerce")
    if ids.isna().any():
        row = int(ids.isna().argmax())
        raise PostsError(f"{source.name}, row {row + 1}: caption_id {frame['caption_id'][row]!r} is no whole number")
    table = pd.DataFrame({"image": frame["image"], "caption_id": ids.astype(int), "text": frame["caption"].str.strip()})
    table["split"] = frame["split"].map(lambda name: _SPLIT_NAMES.get(name, name))
    table["language"] = language
    if (twice := table.duplicated(["image", "caption_id"])).any():
        raise PostsError(f"{source.name}, row {int(twice.argmax()) + 1}: image and caption_id repeat; remove one")
    if (torn := table.groupby("image")["split"].nunique() > 1).any():
        raise PostsError(f"{source.name}: {torn.idxmax()} stands in two splits; keep an image's captions together")
    images = FolderImages(folder)
    exists = {key: images.has(key) for key in table["image"].unique()}
    kept = table["image"].map(exists).astype(bool) & (table["text"] != "")
    reasons = ["empty caption" if exists[key] else f"image {key} does not exist" for key in table["image"][~kept]]
    names = table["image"][~kept] + "#" + table["caption_id"][~kept].astype(str)
    dropped = pd.DataFrame({"post_id": names, "source": source.name, "row": names.index + 1, "reason": reasons})
    if not kept.any():
        raise PostsError(f"{source.name}: none of its pictures exists below {folder}; put them there")
    table = table[kept].sort_values(["image", "caption_id"], kind="stable").reset_index(drop=True)
    return table, dropped.reset_index(drop=True)


def need(frame: pd.DataFrame, columns: tuple[str, ...], source: Path) -> None:
    """Raises PostsError when a column of the published format is absent."""
    if missing := [name for name in columns if name not in frame.columns]:
        raise PostsError(f"{source}: column {', '.join(missing)} is missing; use the file as published")
