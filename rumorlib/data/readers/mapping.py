"""Foreign columns, label words and picture names -> those of a manifest; what is in doubt is asked for, not guessed."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from rumorlib.data import keys, posts
from rumorlib.data.images import EXTENSIONS, FolderImages, ImageError
from rumorlib.data.posts import PostsError

# Names seen for each column, lower case, letters and digits only.
COLUMNS: dict[str, tuple[str, ...]] = {
    "text": ("text", "content", "tweettext", "tweet", "posttext", "post", "body", "message", "fulltext", "caption",
             "文本", "正文", "内容", "微博正文", "微博内容", "微博", "推文"),
    "label": ("label", "verdict", "class", "target", "rumor", "rumour", "isrumor", "isrumour", "fake", "isfake",
              "veracity", "groundtruth", "2waylabel", "标签", "类别", "是否谣言", "真假", "谣言"),
    "id": ("id", "postid", "tweetid", "mid", "weiboid", "编号", "序号"),
    "image": ("image", "img", "images", "imgs", "imagepath", "imgpath", "imagename", "imagefile", "imageid", "picture",
              "pictures", "pic", "pics", "photo", "photos", "图片", "图像", "配图", "图片路径"),
    "split": ("split", "subset", "划分"),
    "event": ("event", "topic", "story", "domain", "事件", "话题"),
    "language": ("language", "lang", "语言"),
    "created_at": ("createdat", "date", "time", "timestamp", "publishtime", "发布时间", "时间", "日期"),
}  # fmt: skip
YES = {"谣言", "假", "虚假", "假新闻", "假消息", "不实", "不实信息", "fake news", "hoax", "misinformation"}
NO = {"非谣言", "真", "真实", "真新闻", "事实", "正常", "real news", "genuine", "legit", "authentic"}
TRUTHS = {"true": 1, "yes": 1, "是": 1, "false": 0, "no": 0, "否": 0}
SAYS_RUMOR = {"rumor", "rumour", "isrumor", "isrumour", "fake", "isfake", "是否谣言", "谣言"}
_SPLIT = re.compile(r"[|;,\n\t]+")


@dataclass(frozen=True, eq=False)
class Imported:
    """Posts under a manifest's column names, index 0..n-1; `rows`: their rows in the file, 1 = first; what was done."""

    frame: pd.DataFrame
    rows: list[int]
    columns: dict[str, str]  # ours -> theirs
    labels: dict[str, int | None]  # their word -> 1, 0, or None: its rows are left out
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # posts or pictures lost


def columns_of(names: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
    """Ours -> theirs: `given` where the user said it, else the one column whose name is known for it.

    Raises: PostsError: a column named is not there, text or label is not found, or two could be it.
    """
    names = list(names)
    chosen: dict[str, str] = {}
    for ours, known in COLUMNS.items():
        if theirs := given.get(ours):
            if theirs not in names:
                raise PostsError(f"--{ours} {theirs}: no such column; there are {', '.join(names)}")
            chosen[ours] = theirs
            continue
        exact = [name for name in names if name.lower() == ours]
        fits = exact or [name for name in names if _plain(name) in known and name not in given.values()]
        if len(fits) > 1:
            raise PostsError(f"{ours} could be column {' or '.join(fits)}; say which: --{ours} {fits[0]}")
        if not fits and ours in ("text", "label"):
            raise PostsError(f"no column is known as {ours} (found: {', '.join(names)}); name it: --{ours} COLUMN")
        chosen |= {ours: fits[0]} if fits else {}
    if twice := [theirs for theirs in chosen.values() if list(chosen.values()).count(theirs) > 1]:
        raise PostsError(f"column {twice[0]} is taken twice; name the columns: --text COLUMN --label COLUMN ...")
    return chosen


def is_known(name: str, ours: str) -> bool:
    """Whether a column's name is one that is known for ours."""
    return _plain(name) in COLUMNS[ours]


def labels_of(
    values: pd.Series,
    column: str,
    rumor: Iterable[str] = (),
    non_rumor: Iterable[str] = (),
    leave_out: Iterable[str] = (),
) -> dict[str, int | None]:
    """Their word -> 1 (rumor), 0 or None (left out), for every word of the column; an empty cell is left out.

    Words the user names count first. With one side named and one word left, that word is the other side. Else a word is
    known (`posts.LABEL_WORDS`, YES, NO); true and false only where the column says of what (`is_rumor`).

    Raises: PostsError: a word named is not there, or one is left whose side is in doubt.
    """
    found = list(dict.fromkeys(_word(value) for value in values))
    sides: dict[str, int | None] = {"": None}
    for option, words, side in (("--rumor", rumor, 1), ("--non-rumor", non_rumor, 0), ("--leave-out", leave_out, None)):
        for word in map(_word, words):
            if word not in found:
                raise PostsError(f"{option} {word}: column {column} has no such word; it has {_some(found)}")
            if sides.setdefault(word, side) != side:
                raise PostsError(f"{option} {word}: the word is named on two sides; keep one")
    said = {side for side in sides.values() if side is not None}
    left = [word for word in found if word not in sides]
    if said and len(left) == 1 and len(said) == 1:
        return {**sides, left[0]: 1 - said.pop()}
    doubtful = []
    for word in left:
        side = None if said else _known(word, column)
        sides[word] = side
        doubtful += [word] * (side is None)
    if doubtful:
        raise PostsError(
            f"whether {_some(doubtful)} in column {column} is a rumor is in doubt; say so: --rumor WORD,WORD "
            "--non-rumor WORD, and --leave-out WORD for what is neither"
        )
    return {word: sides[word] for word in ("", *found) if word or "" in found}


def _known(word: str, column: str) -> int | None:
    if word in TRUTHS:
        return TRUTHS[word] if _plain(column) in SAYS_RUMOR else None
    if word in YES or word in NO:
        return int(word in YES)
    return posts.parse_label_or_none(word)


def _word(value: Any) -> str:
    word = keys.cell(value).strip().lower()
    return {"1.0": "1", "0.0": "0"}.get(word, word)


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _some(words: list[str]) -> str:
    return ", ".join(repr(word[:40]) for word in words[:8]) + (" ..." if len(words) > 8 else "")


# --- pictures -------------------------------------------------------------------------------------


class Pictures:
    """Where the names in a file's cells lead: files below a folder, by path or by name, whatever case or extension.

    Args: folder: of the pictures. root: beginning of absolute names that stands for the folder, of another machine.
    """

    def __init__(self, folder: Path, root: str = "") -> None:
        self.images, self.root = FolderImages(folder), root.replace("\\", "/").rstrip("/")
        self.by_path: dict[str, str] = {}
        self.by_name: dict[str, set[str]] = {}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file():
                key = path.relative_to(folder).as_posix()
                self.by_path[_stem(key)] = key
                self.by_name.setdefault(_stem(path.name), set()).add(key)

    def first(self, value: Any) -> tuple[str, str]:
        """Key of the first picture of a cell that opens, and ""; or "", and why there is none ("" for an empty cell).

        Of several each is decoded; a single one is opened, no more: `check-data` decodes all.
        """
        asked, why = names_in(value), ""
        for name in asked:
            key, problem = self._find(name)
            why = why or problem
            if key and self._opens(key, len(asked) > 1):
                return key, ""
            why = why or f"{key} does not open as a picture"
        return "", why

    def _opens(self, key: str, wholly: bool) -> bool:
        try:
            return bool(self.images.header(key)) and (not wholly or self.images.pixels(key, 32) is not None)
        except ImageError:
            return False

    def _find(self, name: str) -> tuple[str, str]:
        """Key of one name, or why it has none."""
        folder = self.images.root.absolute().as_posix()
        for start in filter(None, (self.root, folder)):
            name = name[len(start) :].lstrip("/") if name.startswith(start + "/") else name
        if name.startswith("/") or re.match(r"[A-Za-z]:/", name):
            return "", f"{name} is an absolute path; say what it begins with: --root"
        if re.match(r"https?://", name):
            name = name.split("?")[0].rsplit("/", 1)[-1]
        name = name.removeprefix("./")
        if ".." in PurePosixPath(name).parts:
            return "", f"{name} leads out of {self.images.root}"
        if self.images.has(name):
            return name, ""
        if key := self.by_path.get(_stem(name)):
            return key, ""
        fits = self.by_name.get(_stem(PurePosixPath(name).name), set())
        if len(fits) > 1:
            return "", f"{name} could be {' or '.join(sorted(fits)[:2])}"
        return (next(iter(fits)), "") if fits else ("", f"{name} is not below {self.images.root}")


def names_in(value: Any) -> list[str]:
    """Picture names of one cell: a list, a list written as text, or names between | ; , tabs or line ends."""
    if isinstance(value, str) and value.strip()[:1] == "[":
        value = _list(value.strip())
    given = value if isinstance(value, list) else _SPLIT.split(keys.cell(value))
    names = [keys.cell(name).strip().strip("'\"").replace("\\", "/") for name in given]
    return [name for name in names if name and name.lower() not in keys.DOUBTFUL]


def _list(text: str) -> Any:
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text.strip("[]")


def _stem(key: str) -> str:
    place, name = key.rsplit("/", 1) if "/" in key else ("", key)
    stem, dot, ending = name.rpartition(".")
    return f"{place}/{stem if dot and f'.{ending.lower()}' in EXTENSIONS else name}".strip("/").lower()


# --- all of it ------------------------------------------------------------------------------------


def imported(
    cells: pd.DataFrame,
    columns: Mapping[str, str],
    labels: Mapping[str, int | None],
    pictures: Pictures | None,
) -> Imported:
    """The posts of a table whose label has a side, under a manifest's names.

    Args: columns: of `columns_of`; labels: of `labels_of`; pictures: where names lead, None: not read.
    Raises: PostsError: no post is left, or none of the pictures named is there.
    """
    side = [labels[_word(value)] for value in cells[columns["label"]]]
    rows = [row for row, label in enumerate(side) if label is not None]
    if not rows:
        raise PostsError("no post has a label; name its words: --rumor WORD --non-rumor WORD")
    notes, problems = [], []
    if lost := len(side) - len(rows):
        problems.append(f"{lost:,} of {len(side):,} rows are left out: their label is empty or left out")
    part = cells.iloc[rows].reset_index(drop=True)
    made = {ours: [_cell(value) for value in part[theirs]] for ours, theirs in columns.items() if ours != "image"}
    made["label"] = [side[row] for row in rows]
    made.setdefault("id", [str(row + 1) for row in rows])
    if "split" in made:
        made["split"] = [posts.split_name(name) for name in made["split"]]
    if "image" in columns and pictures:
        found = [pictures.first(value) for value in part[columns["image"]]]
        made["image"] = [key for key, _ in found]
        missing = [(row + 1, why) for row, (key, why) in zip(rows, found) if why]
        if missing and not any(made["image"]):
            raise PostsError(f"none of {len(missing):,} pictures is found (row {missing[0][0]}: {missing[0][1]}); "
                             "say where they lie: --images FOLDER; or take the texts alone: --texts-only")  # fmt: skip
        if missing:
            problems.append(f"{len(missing):,} pictures are missing, first in row {missing[0][0]}: {missing[0][1]}")
        several = sum(len(names_in(value)) > 1 for value in part[columns["image"]])
        notes += [f"{several:,} posts name several pictures: the first that opens is taken"] * bool(several)
    order = [
        name for name in ("id", "text", "label", "split", "event", "image", "language", "created_at") if name in made
    ]
    return Imported(pd.DataFrame(made)[order], [row + 1 for row in rows], dict(columns), dict(labels), notes, problems)


def _cell(value: Any) -> str:
    text = (
        value
        if isinstance(value, str)
        else keys.cell(value)
        if not isinstance(value, (list, dict))
        else json.dumps(value)
    )
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text
