"""Flickr30K in the forms it is handed out in, and the own files of Flickr8k and Flickr8k-CN."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from rumorlib.config import OnMissing
from rumorlib.data.images import FolderImages
from rumorlib.data.keys import cell
from rumorlib.data.posts import CaptionCorpus, PostsError
from rumorlib.data.readers import captions
from rumorlib.data.readers.captions import COLUMNS
from rumorlib.data.readers.tables import first_line, need, read_csv, read_lines, read_object

FLICKR30K_IMAGES = ("flickr30k-images", "flickr30k_images", "images", "Images", ".")
FLICKR8K_IMAGES = ("Flicker8k_Dataset", "Flickr8k_Dataset", "images", "Images", ".")
# Annotations by name, those that bring the split first.
KARPATHY, HF, TOKEN, KAGGLE = (
    "dataset_flickr30k.json", "flickr_annotations_30k.csv", "results_20130124.token", "results.csv",
)  # fmt: skip
FLICKR8K_TOKEN = "Flickr8k.token.txt"
FLICKR8K_SPLITS = (("Flickr_8k.trainImages.txt", "train"), ("Flickr_8k.devImages.txt", "dev"),
                   ("Flickr_8k.testImages.txt", "test"))  # fmt: skip
ENTITIES_SPLITS = (("train.txt", "train"), ("val.txt", "dev"), ("test.txt", "test"))
_TOKEN_LINE = re.compile(r"(\S+)#(\d+)\s(.*)")
_ZH_LINE = re.compile(r"(\S+?\.jpg)#zhc?#(\d+)\s+(.*)")
Rows = list[tuple[str, int, str, int]]  # picture, number of the caption, caption, line


# --- Flickr30K ------------------------------------------------------------------------------


def recognise_30k(folder: Path) -> bool:
    """A folder with Karpathy's JSON, the Hugging Face table, the token file, or Kaggle's results.csv."""
    if any((folder / name).is_file() for name in (KARPATHY, HF, TOKEN)):
        return True
    return (folder / KAGGLE).is_file() and first_line(folder / KAGGLE).replace(" ", "").startswith("image_name|")


def read_30k(folder: Path, on_missing_image: OnMissing = "drop") -> CaptionCorpus:
    """Flickr30K from the first of Karpathy's JSON, the Hugging Face table, the token file, Kaggle's results.csv.

    The split is Karpathy's (29,000/1,014/1,000) where the file or a JSON beside it has it, else that of the Entities
    lists train.txt, val.txt, test.txt; without either it is "". Pictures lie in flickr30k-images, flickr30k_images or
    images, maybe nested in a folder of the same name.

    Raises: PostsError: a line is not as published, or no picture is there.
    """
    kinds: tuple[tuple[str, Callable[[Path], tuple[Rows, dict[str, str]]]], ...] = (
        (KARPATHY, _karpathy), (HF, _hugging_face), (TOKEN, _token), (KAGGLE, _kaggle),
    )  # fmt: skip
    name, reader = next((name, reader) for name, reader in kinds if (folder / name).is_file())
    rows, split_of = reader(folder / name)
    split_of = split_of or _lists(folder, ENTITIES_SPLITS, ".jpg")
    return _build("flickr30k-en", folder, FLICKR30K_IMAGES, name, rows, split_of, on_missing_image)


def _karpathy(path: Path) -> tuple[Rows, dict[str, str]]:
    """images[] of filename, split, sentences[] of raw; the number is the position among the sentences."""
    found = read_object(path)
    rows, split_of = [], {}
    for number, image in enumerate(found.get("images") or [], 1):
        try:
            split_of[image["filename"]] = {"restval": "train"}.get(image["split"], image["split"])
            rows += [(image["filename"], k, s["raw"], number) for k, s in enumerate(image["sentences"])]
        except (KeyError, TypeError):
            raise PostsError(
                f"{path}, row {number}: filename, split or the raw of a sentence is missing; use the file as published"
            ) from None
    return rows, split_of


def _hugging_face(path: Path) -> tuple[Rows, dict[str, str]]:
    """One row per picture: raw is a JSON list of captions."""
    frame = read_csv(path)
    need(frame, ("raw", "split", "filename"), path)
    rows = []
    for number, (raw, picture) in enumerate(zip(frame["raw"], frame["filename"]), 1):
        try:
            rows += [(picture, k, cell(text), number) for k, text in enumerate(json.loads(raw))]
        except (ValueError, TypeError):
            raise PostsError(f"{path}, row {number}: raw is no JSON list of captions; restore the row") from None
    return rows, dict(zip(frame["filename"], frame["split"]))


def _token(path: Path) -> tuple[Rows, dict[str, str]]:
    """Lines <picture>#<k><TAB><caption>."""
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        if not (found := _TOKEN_LINE.fullmatch(line)):
            raise PostsError(f"{path}, row {number}: expected <picture>#<k>, a tab and a caption; restore the row")
        rows.append((found[1], int(found[2]), found[3], number))
    return rows, {}


def _kaggle(path: Path) -> tuple[Rows, dict[str, str]]:
    """Lines <picture>| <k>| <caption>; in the published file line 20,000 lacks its second bar."""
    rows = []
    for number, line in enumerate(read_lines(path)[1:], 1):
        cells = [cell.strip() for cell in line.split("|", 2)]
        if len(cells) == 2 and (found := re.fullmatch(r"(\d+)\s+(.*)", cells[1])):
            cells = [cells[0], found[1], found[2]]
        if len(cells) != 3 or not cells[1].isdigit():
            raise PostsError(f"{path}, row {number}: expected <picture>| <k>| <caption>; restore the row")
        rows.append((cells[0], int(cells[1]), cells[2], number))
    return rows, {}


# --- Flickr8k -------------------------------------------------------------------------------


def recognise_8k(folder: Path) -> bool:
    """A folder with Flickr8k.token.txt, in it or in Flickr8k_text."""
    return any((place / FLICKR8K_TOKEN).is_file() for place in (folder, folder / "Flickr8k_text"))


def read_8k(folder: Path, on_missing_image: OnMissing = "drop") -> CaptionCorpus:
    """Flickr8k's own files: Flickr8k.token.txt, the lists Flickr_8k.{train,dev,test}Images.txt, and the pictures.

    A picture in no list is `unassigned`. The published token file names one picture that does not exist
    (....jpg.1): its captions are dropped and reported.

    Raises: PostsError: a line is not as published, a list is missing, or no picture is there.
    """
    text = folder if (folder / FLICKR8K_TOKEN).is_file() else folder / "Flickr8k_text"
    rows, _ = _token(text / FLICKR8K_TOKEN)
    split_of = _lists(text, FLICKR8K_SPLITS, "")
    if set(split_of.values()) != {"train", "dev", "test"}:
        names = ", ".join(name for name, _ in FLICKR8K_SPLITS)
        raise PostsError(f"{text}: the split needs {names}; put them beside {FLICKR8K_TOKEN}")
    return _build("flickr8k-en", folder, FLICKR8K_IMAGES, FLICKR8K_TOKEN, rows, split_of, on_missing_image)


# --- Flickr8k-CN ----------------------------------------------------------------------------


def recognise_8k_cn(folder: Path) -> bool:
    """A folder with a text file of lines <picture>.jpg#zhc#<k> <caption>."""
    return _zh_captions(folder) is not None


def read_8k_cn(folder: Path, on_missing_image: OnMissing = "drop") -> CaptionCorpus:
    """Flickr8k-CN: lines <picture>.jpg#zhc#<k> <caption>; lists *train.txt, *val.txt, *test.txt without .jpg.

    A picture in no list is `unassigned`; without lists the split is "".

    Raises: PostsError: a line is not as published, or no picture is there.
    """
    path, rows, lists = _zh_captions(folder), [], []
    for number, line in enumerate(read_lines(path), 1):
        if not (found := _ZH_LINE.fullmatch(line)):
            raise PostsError(f"{path}, row {number}: expected <picture>#zhc#<k> and a caption; restore the row")
        rows.append((found[1], int(found[2]), found[3], number))
    for side, split in (("train", "train"), ("val", "dev"), ("test", "test")):
        lists += [(found.name, split) for found in sorted(folder.glob(f"*{side}.txt")) if found != path]
    split_of = _lists(folder, tuple(lists), ".jpg")
    return _build("flickr8k-zh", folder, FLICKR8K_IMAGES, path.name, rows, split_of, on_missing_image, "zh")


def _zh_captions(folder: Path) -> Path | None:
    files = sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))
    return next((path for path in files if _ZH_LINE.fullmatch(first_line(path))), None)


# --- both -----------------------------------------------------------------------------------


def _lists(folder: Path, files: tuple[tuple[str, str], ...], suffix: str) -> dict[str, str]:
    """Picture -> split from one list per split, one name per line."""
    found = {}
    for name, split in files:
        for line in read_lines(folder / name) if (folder / name).is_file() else []:
            if line.strip():
                found[line.strip().removesuffix(suffix) + suffix] = split
    return found


def _build(
    name: str,
    folder: Path,
    image_folders: tuple[str, ...],
    source: str,
    rows: Rows,
    split_of: dict[str, str],
    on_missing_image: OnMissing,
    language: str = "en",
) -> CaptionCorpus:
    root = image_root(folder, image_folders, dict.fromkeys(row[0] for row in rows))
    rest = "unassigned" if split_of else ""
    table = pd.DataFrame([(p, k, text, split_of.get(p, rest), language) for p, k, text, _ in rows], columns=COLUMNS)
    places = [(source, row[3]) for row in rows]
    return captions.build(name, table, FolderImages(root), source, on_missing_image, places)


def image_root(folder: Path, names: tuple[str, ...], pictures: dict[str, None]) -> Path:
    """The folder that has the first of `pictures` found anywhere: below or beside `folder`, maybe nested twice."""
    places = [place / name for place in (folder, folder.parent) for name in names]
    places += [place / name for place in places for name in names if name != "."]
    first = list(pictures)[:100]  # some may be missing, hardly a hundred
    for place in places:
        if place.is_dir() and any((place / picture).is_file() for picture in first):
            return place
    return next((place for place in places if place.is_dir() and place not in (folder, folder.parent)), folder)
