"""CED, the Chinese rumor set with its reposts, and the tables that MFAN made of it and of PHEME."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rumorlib.config import CORPORA, OnMissing
from rumorlib.data import posts
from rumorlib.data.images import FolderImages, files_by_stem
from rumorlib.data.posts import Corpus, PostsError
from rumorlib.data.readers import missing, pheme
from rumorlib.data.readers.tables import need, read_csv, read_json, read_lines, read_object

_log = logging.getLogger(__name__)
LABEL_MEANS = CORPORA["ced-text"].label_means
ORIGINALS = "original-microblog"
REPOSTS = {"rumor-repost": 1, "non-rumor-repost": 0}


# --- CED as published -----------------------------------------------------------------------


def recognise(folder: Path) -> bool:
    """A folder with original-microblog and a repost folder."""
    return (folder / ORIGINALS).is_dir() and any((folder / name).is_dir() for name in REPOSTS)


def read(folder: Path, on_missing_image: OnMissing = "drop") -> Corpus:
    """Original posts; the label is the repost folder that holds the file of the same name.

    A post in neither or in both is dropped and reported. File names are <number>_<post id>_<author>.json. CED ships no
    pictures: `images/<number or post id>.jpg` is used where there is such a folder, else the corpus is one of texts.
    Further columns, for MFAN's graph and DMFL's replies alone: author, n_images, replies (JSON list), n_replies.

    Raises: PostsError: a file is no JSON, has no text, or has another name.
    """
    rows, places, reasons = [], [], []
    for path in _json_files(folder / ORIGINALS):
        row, reason = _post(folder, path)
        rows.append(row)
        reasons.append(reason)
        places.append((path.relative_to(folder).as_posix(), 1))
    if not rows:
        raise PostsError(f"{folder / ORIGINALS} has no .json file; unpack CED there")
    table = pd.DataFrame(rows)
    reasons = [reason or again for reason, again in zip(reasons, missing.repeats(table["post_id"]), strict=True)]
    table, places, left_out = missing.leave_out(table, reasons, "CED", places)
    images = FolderImages(folder / "images") if (folder / "images").is_dir() else None
    numbers = table.pop("number")
    if images:
        files = files_by_stem(images.root)
        pairs = zip(numbers, table["post_id"], strict=True)
        table["image"] = [files.get(number) or files.get(name) or f"{name}.jpg" for number, name in pairs]
    return _corpus("ced", table, images, LABEL_MEANS, "CED", on_missing_image, places, left_out)


def _post(folder: Path, path: Path) -> tuple[dict[str, Any], str]:
    """One post and the reason to leave it out, "" if there is none."""
    number, _, rest = path.stem.partition("_")
    name, _, author = rest.partition("_")
    found = read_object(path)
    if not name or not isinstance(found.get("text"), str):
        raise PostsError(f"{path}: expected <number>_<post id>_<author>.json with a text; use the file as published")
    homes = [home for home in REPOSTS if (folder / home / path.name).is_file()]
    replies = _replies(folder / homes[0] / path.name) if len(homes) == 1 else []
    row = {
        "post_id": name, "number": number, "text": found["text"], "label": REPOSTS[homes[0]] if homes else 0,
        "split": "", "language": "zh", "created_at": str(found.get("time") or ""), "author": author,
        "n_images": found.get("pics"), "n_replies": len(replies),
        "replies": json.dumps([_reply(reply) for reply in replies], ensure_ascii=False),
    }  # fmt: skip
    return row, "" if len(homes) == 1 else f"stands in {' and '.join(homes) or 'no repost folder'}"


def _replies(path: Path) -> list[dict[str, Any]]:
    """The reposts of a post; none, and a warning, where their file is damaged: the label is the folder it lies in."""
    try:
        return read_json(path).to_dict("records")
    except PostsError as error:
        _log.warning("%s; its post is kept, without reposts", error)
        return []


def _reply(found: dict[str, Any]) -> dict[str, str]:
    names = {"id": "mid", "parent": "parent", "author": "uid", "created_at": "date", "text": "text"}
    return {ours: str(found.get(theirs) or "") for ours, theirs in names.items()}


def _json_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith("."))


# --- MFAN's tables --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mfan:
    """Where MFAN keeps one of its two corpora, below its folder."""

    name: str
    content: tuple[str, ...]  # the table, one of these
    images: tuple[str, ...]
    splits: tuple[str, ...]  # patterns of the split files, the first that has a train file
    language: str
    label_means: str


_IDS = "{}_ids.txt"  # as republished: one id or picture number a line
_MFAN_WORDS = {"non-rumor": 0, "false": 1}
_WEIBO = _Mfan(
    "mfan-weibo", ("weibocontentwithimage/weibo_content.csv", "weibo_content.csv"),
    ("weibo_images", "weibo_images_all"), ("weibo_files/weibo.{}", "weibo.{}", _IDS), "zh", LABEL_MEANS,
)  # fmt: skip
_PHEME = _Mfan(
    "mfan-pheme", ("content.csv", "content_noid.csv"), ("pheme_image", "pheme_images", "pheme_images_jpg"),
    ("pheme_files/pheme.{}", "pheme.{}", _IDS), "en", pheme.LABEL_MEANS,
)  # fmt: skip


def recognise_mfan_weibo(folder: Path) -> bool:
    """MFAN's dataset/weibo: weibocontentwithimage/weibo_content.csv."""
    return (folder / _WEIBO.content[0]).is_file() or ((folder / _WEIBO.content[1]).is_file() and not recognise(folder))


def recognise_mfan_pheme(folder: Path) -> bool:
    """MFAN's dataset/pheme: content.csv (republished: content_noid.csv) beside its pictures or split files."""
    return any((folder / name).is_file() for name in _PHEME.content) and (
        any((folder / name).is_dir() for name in _PHEME.images) or _split_pattern(_PHEME, folder) != ""
    )


def read_mfan_weibo(folder: Path, on_missing_image: OnMissing = "drop") -> Corpus:
    """MFAN's Weibo: weibo_content.csv (imgnum, mid, text, label), weibo_images/*/<imgnum>.jpg, weibo_files/weibo.*."""
    return _read_mfan(_WEIBO, folder, on_missing_image)


def read_mfan_pheme(folder: Path, on_missing_image: OnMissing = "drop") -> Corpus:
    """MFAN's PHEME: content.csv (imgnum, mid, text, label), pheme_image/*/<imgnum>.jpg or .png, pheme_files/pheme.*."""
    return _read_mfan(_PHEME, folder, on_missing_image)


def _read_mfan(kind: _Mfan, folder: Path, on_missing_image: OnMissing) -> Corpus:
    """The table with MFAN's split; a post of the table that no split file names is `unassigned`.

    As republished, the number is called image_id, stands for a mid that is not there, and lists of numbers are splits.
    Dropped and reported: ids that repeat, a label that differs between table and split file, an id that only a split
    file has.
    """
    source = next(folder / name for name in kind.content if (folder / name).is_file())
    frame = read_csv(source)
    frame = frame.rename(columns={} if "imgnum" in frame else {"image_id": "imgnum"})
    need(frame, ("imgnum", "text", "label"), source)
    numbers = frame["imgnum"].str.strip()
    table = pd.DataFrame({"post_id": frame["mid"].str.strip() if "mid" in frame else numbers, "text": frame["text"],
                          "label": frame["label"], "language": kind.language, "imgnum": numbers})  # fmt: skip
    named = dict(zip(table["imgnum"], table["post_id"], strict=True))
    split_of, label_of, split_rows = _mfan_splits(folder, _split_pattern(kind, folder), named)
    table["split"] = [split_of.get(name, "unassigned" if split_of else "") for name in table["post_id"]]
    reasons = [
        again or ("label differs from that of its split file" if label_of.get(name, label) != label else "")
        for again, name, label in zip(
            missing.repeats(table["post_id"]), table["post_id"], map(posts.parse_label_or_none, table["label"])
        )
    ]
    places = [(source.name, row) for row in range(1, len(table) + 1)]
    known = set(table["post_id"])
    table, places, left_out = missing.leave_out(table, reasons, source.name, places)
    lost = [(name, *place, f"not in {source.name}") for name, place in split_rows.items() if name not in known]
    left_out = pd.concat([left_out, pd.DataFrame(lost, columns=left_out.columns)], ignore_index=True)
    images = next((FolderImages(folder / name) for name in kind.images if (folder / name).is_dir()), None)
    numbers = table.pop("imgnum")
    if images:
        files = files_by_stem(images.root)
        table["image"] = [files.get(number, f"{number}.jpg") for number in numbers]
    return _corpus(kind.name, table, images, kind.label_means, source.name, on_missing_image, places, left_out)


def _split_pattern(kind: _Mfan, folder: Path) -> str:
    return next((pattern for pattern in kind.splits if (folder / pattern.format("train")).is_file()), "")


def _mfan_splits(
    folder: Path, pattern: str, named: dict[str, str]
) -> tuple[dict[str, str], dict[str, int], dict[str, tuple[str, int]]]:
    """Of every post in a split file (mid, text, label between tabs, or an id alone): its split, label, (file, line).

    named: post id of each picture number, which lists of ids may give instead.
    """
    split_of, label_of, rows = {}, {}, {}
    for split in ("train", "dev", "test"):
        path = folder / pattern.format(split)
        for number, line in enumerate(read_lines(path) if path.is_file() else [], 1):
            if not line.strip():
                continue
            name, _, rest = line.partition("\t")
            name = named.get(name.strip(), name.strip()) if pattern == _IDS else name.strip()
            if pattern != _IDS and "\t" not in rest:
                raise PostsError(f"{path}, row {number}: expected id, text and label between tabs; restore the row")
            if split_of.setdefault(name, split) != split:
                raise PostsError(f"{path}, row {number}: {name} also stands in {split_of[name]}; keep one")
            word = rest.rpartition("\t")[2].strip().lower()
            if word in _MFAN_WORDS:  # PHEME's files may speak of the truth of a rumor instead
                label_of[name] = _MFAN_WORDS[word]
            rows[name] = (path.name, number)
    return split_of, label_of, rows


def _corpus(
    name: str,
    table: pd.DataFrame,
    images: FolderImages | None,
    label_means: str,
    source: str,
    on_missing_image: OnMissing,
    places: list[tuple[str, int]],
    left_out: pd.DataFrame,
) -> Corpus:
    table = posts.check(table, source, places=places)
    if images is None:
        return Corpus(f"{name}-text", table, None, label_means, left_out)
    table, dropped = missing.settle(table, images, source, on_missing_image, places)
    return Corpus(name, table, images, label_means, pd.concat([left_out, dropped], ignore_index=True))
