"""COCO-CN: Chinese captions of MS-COCO photographs."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from rumorlib.config import OnMissing
from rumorlib.data.images import FolderImages
from rumorlib.data.posts import CaptionCorpus, PostsError
from rumorlib.data.readers import captions, missing
from rumorlib.data.readers.captions import COLUMNS
from rumorlib.data.readers.tables import read_lines

CAPTIONS = "imageid.human-written-caption.txt"
SPLITS = (("coco-cn_train.txt", "train"), ("coco-cn_val.txt", "dev"), ("coco-cn_test.txt", "test"))
_LINE = re.compile(r"(COCO_(?:train|val)2014_\d{12})(?:#(?:[a-z]+#)?(\d+))?[\t ]+(.*)")
_BARE = re.compile(r"(COCO_(?:train|val)2014_\d{12})(?:#\S*)?\s*")  # a caption that is not there


def recognise(folder: Path) -> bool:
    """A folder with the human-written captions and a split list."""
    return (folder / CAPTIONS).is_file() and any((folder / name).is_file() for name, _ in SPLITS)


def read(folder: Path, on_missing_image: OnMissing = "drop") -> CaptionCorpus:
    """The human-written captions with the published split (18,341/1,000/1,000 photographs).

    A line is <photograph>#<k>, a tab or a space, and the caption; k may start at 1 and may repeat in some copies, so
    caption_id is the position among the captions of the photograph. A photograph of no list is `unassigned`.
    Pictures are MS-COCO's: train2014/ and val2014/, or `images`, in or beside the folder. Machine-segmented and
    translated captions and tags are not read.

    Raises: PostsError: a line is not as published, a list is missing, or no picture is there.
    """
    split_of = {}
    for name, split in SPLITS:
        if not (folder / name).is_file():
            raise PostsError(f"{folder / name} does not exist; put the three lists of COCO-CN there")
        split_of |= {line.strip(): split for line in read_lines(folder / name) if line.strip()}
    rows, places, reasons = [], [], []
    count: dict[str, int] = {}
    for number, line in enumerate(read_lines(folder / CAPTIONS), 1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line)
        bare = None if found else _BARE.fullmatch(line)
        if not found and not bare:
            raise PostsError(f"{folder / CAPTIONS}, row {number}: expected <photograph>#<k> and a caption; restore it")
        key, text = (found[1], found[3]) if found else (bare[1], "")
        position = count[key] = count.get(key, -1) + 1
        rows.append((key, position, text, split_of.get(key, "unassigned"), "zh"))
        places.append((CAPTIONS, number))
        reasons.append("" if text.strip() else "empty caption")
    if not rows:
        raise PostsError(f"{folder / CAPTIONS}: no captions; use the file as published")
    table = pd.DataFrame(rows, columns=COLUMNS)
    root, below = _pictures(folder, list(dict.fromkeys(table["image"])))
    table["image"] = [below.format(part=_part(key), key=key) for key in table["image"]]
    table, places, left_out = missing.leave_out(table, reasons, CAPTIONS, places)
    return captions.build("coco-cn-zh", table, FolderImages(root), CAPTIONS, on_missing_image, places, left_out)


def _part(key: str) -> str:
    return "train2014" if "train2014" in key else "val2014"


def _pictures(folder: Path, keys: list[str]) -> tuple[Path, str]:
    """Folder of the pictures and the pattern of a path in it."""
    places = [place / name for place in (folder, folder.parent) for name in ("", "images", "coco", "mscoco", "COCO")]
    for place in places:
        for pattern in ("{part}/{key}.jpg", "{key}.jpg"):
            if any((place / pattern.format(part=_part(key), key=key)).is_file() for key in keys[:100]):
                return place, pattern
    return folder, "{part}/{key}.jpg"
