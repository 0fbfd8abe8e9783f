"""Tables of posts as others write them: any of the usual encodings, separators and JSON shapes -> untouched cells.

Where a file can be read in two ways nothing is chosen: the error names the option that decides.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rumorlib.data import files
from rumorlib.data.posts import PostsError
from rumorlib.data.readers.tables import MAX_CELL, each_once, of_records

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
MAX_BYTES = 2 * 2**30
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
COMMON = 0.9  # share of the characters beyond ASCII that are everyday ones (GB2312), where a file is Chinese


@dataclass(frozen=True, eq=False)
class Table:
    """A file as it was read: cells as strings, or JSON values; and how: encoding, and the separator or JSON's shape."""

    cells: pd.DataFrame
    encoding: str
    shape: str


def read(path: Path, encoding: str | None = None, separator: str | None = None) -> Table:
    """The table in a .csv, .tsv, .txt, .json or .jsonl file, told apart by what is in it, not by its name.

    Args: encoding: as Python names it; separator: one of SEPARATORS; None: as the file itself shows.
    Raises: PostsError: no such file, no table, or one that can be read in two ways.
    """
    text, encoding = decoded(path, encoding)
    if separator is None and text.lstrip()[:1] in ("[", "{"):
        cells, shape = _json(path, text)
    else:
        cells, shape = _separated(path, text, separator)
    names = [str(name).strip() for name in cells.columns]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise PostsError(f"{path}: two columns are called {twice[0]!r}; rename one")
    if cells.empty:
        raise PostsError(f"{path}: there are no posts below the header; give a file with at least one")
    return Table(cells.set_axis(names, axis=1), encoding, shape)


def decoded(path: Path, encoding: str | None = None) -> tuple[str, str]:
    """The text of a file without its mark of encoding, and the encoding. Raises: PostsError: as `read`."""
    try:
        with files.open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PostsError(f"{path} cannot be read ({error.strerror or error}); name a file") from None
    if len(content) > MAX_BYTES:
        raise PostsError(f"{path} has more than {MAX_BYTES:,} bytes; split it")
    chosen = encoding or _encoding(path, content)
    try:
        return content.decode(chosen).removeprefix("\ufeff"), chosen
    except LookupError:
        raise PostsError(
            f"no encoding is called {chosen!r}; Python names utf-8, utf-16, gb18030, big5, cp1252 ..."
        ) from None
    except UnicodeDecodeError as error:
        raise PostsError(
            f"{path} is not {chosen} (byte {error.start}); leave --encoding out, or name another"
        ) from None


def _encoding(path: Path, content: bytes) -> str:
    """By its mark; UTF-8 if it is that; UTF-16 by where its zeros stand; GB18030 if that gives everyday Chinese."""
    for mark, name in _BOMS:
        if content.startswith(mark):
            return name
    zeros = content[:4096].count(b"\0")
    if zeros > len(content[:4096]) / 4:
        return "utf-16-le" if content[1:4096:2].count(b"\0") > zeros / 2 else "utf-16-be"
    try:
        content.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError as error:
        start = error.start
    if _is_chinese(content):
        return "gb18030"
    raise PostsError(
        f"{path} is not UTF-8 (byte {start}), and what else it is cannot be told; "
        "name it: --encoding cp1252 (Western Europe), big5 (Taiwan), shift_jis (Japan) ..."
    )


def _is_chinese(content: bytes) -> bool:
    try:
        beyond = [c for c in content.decode("gb18030") if ord(c) > 127]
    except UnicodeDecodeError:
        return False
    common = 0
    for character in beyond:
        try:
            character.encode("gb2312")
            common += 1
        except UnicodeEncodeError:
            pass
    return common >= COMMON * len(beyond)


# --- separated cells ------------------------------------------------------------------------------


def _separated(path: Path, text: str, separator: str | None) -> tuple[pd.DataFrame, str]:
    if separator is not None and separator not in SEPARATORS:
        raise PostsError(f"--separator {separator!r} is none of {', '.join(SEPARATORS)}")
    names = [separator] if separator else list(SEPARATORS)
    found = {name: _rows(text, SEPARATORS[name]) for name in names}
    read = {name: rows for name, rows in found.items() if isinstance(rows, list)}
    if len(read) > 1:
        raise PostsError(
            f"{path}: cells could stand between {' or '.join(read)}; say which: --separator {next(iter(read))}"
        )
    if not read:
        why = "; ".join(f"{name}: {problem}" for name, problem in found.items() if problem)
        raise PostsError(f"{path} is no table ({why or 'one column'}); quote cells that hold the separator")
    ((name, (header, *rows)),) = read.items()
    return pd.DataFrame(rows, columns=header, dtype=object), name


def _rows(text: str, mark: str) -> list[list[str]] | str:
    """Header and rows with as many cells; "" where the header has one column, else what is wrong with the first row."""
    csv.field_size_limit(max(MAX_CELL, csv.field_size_limit()))
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    rows: list[list[str]] = []
    try:
        for cells in lines:
            if not cells:
                continue
            if len(cells) != len(rows[0] if rows else cells):
                return f"line {lines.line_num} has {len(cells)} cells, the header {len(rows[0])}"
            if not rows and len(cells) < 2:
                return ""
            rows.append(cells)
    except csv.Error as error:
        return f"line {lines.line_num}: {error}"
    return rows


# --- JSON -----------------------------------------------------------------------------------------


def _json(path: Path, text: str) -> tuple[pd.DataFrame, str]:
    """A list of objects, one object per line, or an object with one such list in it or with an object per post."""
    try:
        parsed, shape = json.loads(text, object_pairs_hook=each_once), "JSON"
    except (ValueError, RecursionError) as error:
        parsed, shape = _json_lines(text), "JSON lines"
        if parsed is None:
            raise PostsError(f"{path}: neither JSON nor JSON lines ({error}); repair it") from None
    if isinstance(parsed, dict):
        parsed, shape = _unwrapped(path, parsed)
    if not parsed or not all(isinstance(record, dict) for record in parsed):
        raise PostsError(f"{path}: expected objects, one per post, in a list or one per line")
    return of_records(path, parsed), shape


def _json_lines(text: str) -> list[Any] | None:
    try:
        return [json.loads(line, object_pairs_hook=each_once) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError):
        return None


def _unwrapped(path: Path, whole: dict[str, Any]) -> tuple[list[Any], str]:
    lists = [name for name, value in whole.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(lists) == 1:
        return whole[lists[0]], f"JSON, the list {lists[0]!r} in it"
    if len(lists) > 1:
        raise PostsError(f"{path}: posts could be {' or '.join(map(repr, lists))}; keep one list in the file")
    if whole and all(isinstance(value, dict) for value in whole.values()):
        return [{"id": name, **value} for name, value in whole.items()], "JSON, an object per id"
    return [whole], "JSON, one object"
