"""CSV, JSON and text files -> untouched cells, with errors that name the file and the line."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from rumorlib.data import files
from rumorlib.data.posts import PostsError

IMPORT = "or let `python -m rumorlib import FILE` write a manifest of it"
MOST_KEYS = 500  # of the objects of a JSON file, together
MAX_UNPACKED, MAX_TIMES = 64 * 2**20, 100  # bytes of a .gz unpacked, and times its size: the larger of both; texts take
# a third to a twentieth
MAX_CELL = 64 * 2**20  # characters of one cell of a CSV; a longer one is hardly a post


def read_csv(path: Path, above: str = "") -> pd.DataFrame:
    """A CSV file with a header (.gz: compressed), every cell a string as written: ids must not become numbers.

    Args: above: how a line above the header begins, which is left out where there is one.
    Raises: PostsError: no such file, not UTF-8, an open quote, a cell of more than MAX_CELL characters, or a row with
        more or fewer cells than the header.
    """
    # csv stops at 131,072 characters. The limit is the process's: it is only ever raised, so no other reader fails.
    csv.field_size_limit(max(MAX_CELL, csv.field_size_limit()))
    try:
        with _open(path) as file:
            first = next(file, "")
            begins = () if above and first.startswith(above) else (first,)
            lines = csv.reader(itertools.chain(begins, file), strict=True)
            header = next(lines, [])
            if not header:
                raise PostsError(f"{path} is empty; give a file with a header and at least one row")
            rows = []
            for cells in lines:
                if cells and len(cells) != len(header):
                    line = lines.line_num + (not begins)
                    raise PostsError(
                        f"{path}, line {line}: {len(cells)} cells below a header of {len(header)}; "
                        "quote texts that hold commas"
                    )
                if cells:
                    rows.append(cells)
    except FileNotFoundError:
        raise PostsError(f"{path} does not exist; see rumorlib/data/README.md") from None
    except UnicodeDecodeError:
        raise PostsError(_not_utf8(path, f"save it as UTF-8, {IMPORT}")) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise PostsError(f"{path} is damaged ({error}); restore it") from None
    except csv.Error as error:
        remedy = "quote texts and double the quotes in them"
        if "field limit" in str(error):
            remedy = f"a cell has more than {MAX_CELL:,} characters: is a quote left open? If not, cut the text"
        raise PostsError(f"{path}, line {lines.line_num}: {error}; {remedy}") from None
    if len(header) == 1 and (odd := next((mark for mark in ";\t|" if mark in header[0]), None)):
        raise PostsError(
            f"{path}, line 1: the cells stand between {odd!r}, not between commas; save it with commas, {IMPORT}"
        )
    return pd.DataFrame(rows, columns=header, dtype=object)


def read_json(path: Path) -> pd.DataFrame:
    """A JSON list of objects, or one object per line (.jsonl, and .json that begins so); values keep their JSON type.

    Raises: PostsError: no such file, not UTF-8, not JSON, an element that is no object, or as `of_records`.
    """
    text = _utf8(path, f"save it as UTF-8, {IMPORT}")
    whole = path.suffix == ".json" and not _by_line(text)
    chunks = [(1, text)] if whole else list(enumerate(text.split("\n"), 1))
    parsed: list[Any] = []
    for line, chunk in chunks:
        if not whole and not chunk.strip():
            continue
        try:
            parsed.append(json.loads(chunk, object_pairs_hook=each_once))
        except (ValueError, RecursionError) as error:  # of a number of thousands of digits, too
            where = line - 1 + getattr(error, "lineno", 1)
            raise PostsError(f"{path}, line {where}: not JSON ({error}); repair the line") from None
    records = parsed[0] if whole else parsed
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise PostsError(
            f"{path}: expected a list of objects with text, label and image, or one object per line, {IMPORT}"
        )
    return of_records(path, records)


def of_records(path: Path, records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Objects as a table, a row each, with a column for every key that one of them has.

    Raises: PostsError: MOST_KEYS and more of them: a table of all rows by all keys would fill the memory.
    """
    columns = list(dict.fromkeys(name for record in records for name in record))
    if len(columns) > MOST_KEYS:
        have = f"{len(records):,} objects have {len(columns):,} different keys, more than {MOST_KEYS}"
        raise PostsError(f"{path}: {have}; "
                         "keep those of the posts (text, label, image, ...), spelt alike in all of them")  # fmt: skip
    return pd.DataFrame({name: pd.Series([r.get(name) for r in records], dtype=object) for name in columns})


def read_object(path: Path) -> dict[str, Any]:
    """One JSON object, the whole file. Raises: PostsError: no such file, not UTF-8, not JSON, or no object."""
    text = _utf8(path, "save it as UTF-8")
    try:
        found = json.loads(text, object_pairs_hook=each_once)
    except (ValueError, RecursionError) as error:
        raise PostsError(f"{path}: not JSON ({error}); restore or remove the file") from None
    if not isinstance(found, dict):
        raise PostsError(f"{path}: expected one JSON object; restore the file")
    return found


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 file, cut at line ends only: str.splitlines would also cut at separators inside texts.

    Raises: PostsError: no such file, or not UTF-8.
    """
    text = _utf8(path, "use the file as published", newline="")
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return lines[:-1] if lines and not lines[-1] else lines


def first_line(path: Path) -> str:
    """Header of a text file without BOM and line end, for recognising it; bytes that are no UTF-8 are replaced."""
    with path.open("rb") as file:
        return file.readline(100_000).decode("utf-8-sig", errors="replace").rstrip("\r\n")


def plain_names(frame: pd.DataFrame, synonyms: Mapping[str, str], source: Path) -> pd.DataFrame:
    """The frame with its columns in lower case, those of `synonyms` (old -> new) renamed where `new` is not there.

    Raises: PostsError: two columns would have one name; columns without a name are not read.
    """
    frame = frame.set_axis([str(name).strip().lower() for name in frame.columns], axis=1)
    frame = frame.rename(columns={old: new for old, new in synonyms.items() if new not in frame.columns})
    if twice := sorted(set(frame.columns[frame.columns.duplicated()]) - {""}):
        raise PostsError(f"{source}: more than one column could be {', '.join(twice)}; keep one")
    return frame


def refuse(source: Path, frame: pd.DataFrame, wrong: pd.Series, column: str, remedy: str) -> None:
    """Raises PostsError: naming line and cell of the first of the `wrong` rows, if there is one; column `line`."""
    if wrong.any():
        first = frame[wrong].iloc[0]
        where = f"{source.name}, line {first['line']}: {column} is {first[column]!r}"
        raise PostsError(f"{where} ({wrong.sum()} such rows); {remedy}")


def once(source: Path, frame: pd.DataFrame, unique: list[str]) -> pd.DataFrame:
    """The frame, if no two rows have the same cells in `unique`. Raises PostsError: naming the lines, column `line`."""
    if (twice := frame.duplicated(unique)).any():
        again = frame[twice].iloc[0]
        first = frame[(frame[unique] == again[unique]).all(axis=1)].iloc[0]
        raise PostsError(
            f"{source.name}, line {again['line']}: {unique[0]} {again[unique[0]]} stands on line {first['line']} "
            f"already ({twice.sum()} such rows); keep one row per post, or add a column seed if these are several runs"
        )
    return frame


def need(frame: pd.DataFrame, columns: tuple[str, ...], source: Path) -> None:
    """Raises PostsError when a column of the published format is absent."""
    if missing := [name for name in columns if name not in frame.columns]:
        raise PostsError(f"{source}: column {', '.join(missing)} is missing; use the file as published")


def _utf8(path: Path, remedy: str, newline: str | None = None) -> str:
    """The whole file; newline as `open` takes it. Raises PostsError: no such file, or not UTF-8."""
    try:
        with io.TextIOWrapper(files.open_regular(path), encoding="utf-8-sig", newline=newline) as file:
            return file.read()
    except FileNotFoundError:
        raise PostsError(f"{path} does not exist; see rumorlib/data/README.md") from None
    except UnicodeDecodeError:
        raise PostsError(_not_utf8(path, remedy)) from None


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises: ValueError: a key is there twice, and nothing says which value counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return found


def _by_line(text: str) -> bool:
    """Whether the first line is an object of its own and another begins on the next: JSON Lines by another name."""
    first, _, rest = text.lstrip().partition("\n")
    try:
        return isinstance(json.loads(first), dict) and rest.lstrip().startswith("{")
    except (ValueError, RecursionError):
        return False


def _not_utf8(path: Path, remedy: str) -> str:
    """Where a file stops being UTF-8, what it seems to be instead, and how to convert it."""
    content = _unpacked(path) if path.suffix == ".gz" else path.read_bytes()
    try:
        content.decode("utf-8")
        start = 0
    except UnicodeDecodeError as error:
        start = error.start
    row = content.count(b"\n", 0, start) + 1
    names = ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("gb18030",)
    for name in names:
        try:
            content.decode(name)
        except UnicodeDecodeError:
            continue
        remedy += f"; it may be {name.upper()}: iconv -f {name} -t utf-8"
    return f"{path}, line {row}, is not UTF-8 (byte {start}); {remedy}"


def _open(path: Path) -> TextIO:
    content = io.BytesIO(_unpacked(path)) if path.suffix == ".gz" else files.open_regular(path)
    return io.TextIOWrapper(content, encoding="utf-8-sig", newline="")


def _unpacked(path: Path) -> bytes:
    """What a .gz holds. Raises: PostsError: far more than its size lets expect. EOFError, BadGzipFile, zlib.error."""
    with files.open_regular(path) as packed, gzip.open(packed) as file:
        most = max(MAX_UNPACKED, MAX_TIMES * os.fstat(packed.fileno()).st_size)
        content = file.read(most + 1)
    if len(content) > most:
        raise PostsError(f"{path} unpacks to more than {most:,} bytes; if it is what you expect, unpack it yourself")
    return content
