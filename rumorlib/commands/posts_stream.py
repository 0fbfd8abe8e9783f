"""A file of posts read row by row, and the answers written so that a killed command can go on."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rumorlib.data import files

MOST_CHARACTERS = 1_000_000  # of one cell: an open quote must not swallow a file
MOST_TOLD = 100  # bad rows that are listed
SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl")


class StreamError(ValueError):
    """A file of posts cannot be read or its answers not be written; the message says what to do."""


@dataclass
class Row:
    """One row: its cells as written, the post in them, and what is wrong with the row ("" = nothing)."""

    cells: list[str]
    post: dict[str, Any]
    problem: str = ""


@dataclass
class Rows:
    """The rows of a file; iterate once. `bad` has number and reason of the first MOST_TOLD rows that are none."""

    path: Path
    header: list[str]
    columns: dict[str, int]  # text, image -> place in the header
    lines: Iterator[Row]
    text: io.TextIOWrapper  # held, or the file would be closed with the last row
    bad: list[tuple[int, str]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self.text.fileno()).st_size

    @property
    def state(self) -> list[int]:
        """Size and time of the file: another one once it was touched."""
        about = os.fstat(self.text.fileno())
        return [about.st_size, about.st_mtime_ns]

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self.text.buffer.tell()

    def __iter__(self) -> Iterator[Row]:
        for number, row in enumerate(self.lines, 1):
            if row.problem and len(self.bad) < MOST_TOLD:
                self.bad.append((number, row.problem))
            yield row


def rows_of(path: Path, encoding: str, separator: str, columns: Sequence[str]) -> Rows:
    """The rows of a CSV, or of JSON lines; a row that is none is a row with a problem, and the rest goes on.

    Args: columns: "text=NAME", "image=NAME". Raises: StreamError: no such file, empty, or without text and image.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise StreamError(f"{path}: posts are a file of {', '.join(SUFFIXES)} (python -m rumorlib import reads others)")
    separator = {"tab": "\t", "\\t": "\t", "semicolon": ";", "comma": ",", "bar": "|"}.get(separator, separator)
    if len(separator) != 1:
        raise StreamError(f"--separator {separator!r}: one character, or tab")
    try:
        handle = files.open_regular(path)
        encoding = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
        text = io.TextIOWrapper(handle, encoding=encoding, errors="surrogateescape", newline="")
    except OSError as error:
        raise StreamError(f"{path} cannot be read ({error.strerror or error}); name a file") from None
    except LookupError:
        raise StreamError(f"no encoding is called {encoding!r}") from None
    if path.suffix.lower() == ".jsonl":
        return Rows(path, ["post"], {}, _of_json(text, columns), text)
    lines = csv.reader(text, delimiter="\t" if path.suffix.lower() == ".tsv" else separator)
    csv.field_size_limit(MOST_CHARACTERS)
    try:
        header = next(lines, [])
    except (csv.Error, UnicodeError) as error:
        raise StreamError(f"{path}: its header cannot be read ({error}); say --encoding and --separator") from None
    found = _places(path, [name.strip() for name in header], columns)
    return Rows(path, header, found, _of_csv(lines, len(header), found), text)


def _named(columns: Sequence[str]) -> dict[str, str]:
    given = dict(one.partition("=")[::2] for one in columns)
    if wrong := [name for name in given if name not in ("text", "image") or not given[name]]:
        raise StreamError(f"--column {wrong[0]}: write text=NAME or image=NAME")
    return given


def _places(path: Path, header: list[str], columns: Sequence[str]) -> dict[str, int]:
    from rumorlib.data.readers import mapping

    given, found = _named(columns), {}
    for ours in ("text", "image"):
        if ours in given and given[ours] not in header:
            raise StreamError(f"--column {ours}={given[ours]}: no such column; there are {', '.join(header)}")
        exact = [place for place, name in enumerate(header) if name.lower() == ours]
        known = [place for place, name in enumerate(header) if mapping.is_known(name, ours)]
        fits = [header.index(given[ours])] if ours in given else exact or known
        if len(fits) > 1:
            names = " or ".join(header[place] for place in fits)
            raise StreamError(f"{ours} could be {names}; say which: --column {ours}=NAME")
        found |= {ours: fits[0]} if fits else {}
    if not found:
        raise StreamError(f"{path}: no column is known as text or image (found: {', '.join(header)}); "
                          "say --column text=NAME, and --separator if the cells are not between commas")  # fmt: skip
    return found


def _of_csv(lines: Any, width: int, columns: dict[str, int]) -> Iterator[Row]:
    while True:
        try:
            cells = next(lines)
        except StopIteration:
            return
        except (csv.Error, UnicodeError) as error:
            yield Row([], {}, f"not read ({error}; line {lines.line_num}): is a quote left open?")
            continue
        if not cells:
            continue
        problem = "" if len(cells) == width else f"{len(cells)} cells, the header has {width}"
        if any("\udc80" <= c <= "\udcff" for cell in cells for c in cell):
            problem, cells = "not in this encoding; say --encoding", [_plain(cell) for cell in cells]
        if len(cells) > width:  # nothing of a row is lost
            cells = [*cells[: width - 1], " ".join(cells[width - 1 :])]
        yield Row(cells, {} if problem else {name: cells[place] for name, place in columns.items()}, problem)


def _of_json(text: Any, columns: Sequence[str]) -> Iterator[Row]:
    names = {"text": "text", "image": "image"} | _named(columns)
    for line in iter(lambda: text.readline(MOST_CHARACTERS), ""):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
            problem = "" if isinstance(found, dict) else "no JSON object"
        except (ValueError, RecursionError) as error:
            found, problem = {}, f"not JSON ({error})"
        post = {} if problem else {ours: found.get(theirs) for ours, theirs in names.items()}
        yield Row([_plain(line.rstrip("\r\n"))], post, problem)


def _plain(cell: str) -> str:
    return cell.encode("utf-8", "replace").decode()


@dataclass
class Progress:
    """Answers on their way into `out`: a .part beside it, and how much of it is whole; formulas are disarmed."""

    out: Path
    about: dict[str, Any]
    unanswered: int = 0
    rows: int = 0

    @property
    def part(self) -> Path:
        """What is written so far."""
        return self.out.with_name(f"{self.out.name}.part")

    @property
    def mark(self) -> Path:
        """How much of it counts."""
        return self.out.with_name(f"{self.out.name}.part.json")

    def begin(self, header: list[str]) -> int:
        """Open the .part; returns how many rows of the posts are answered in it. Raises: StreamError."""
        if self.out.exists():
            raise StreamError(f"{self.out} is there already; remove it, or name another with -o")
        if not self.out.parent.is_dir():
            raise StreamError(f"{self.out.parent} is no folder; make it, or name another with -o")
        told = files.read_json(self.mark)
        if self.part.exists() and isinstance(told, dict) and told.get("about") == self.about:
            with self.part.open("r+b") as file:  # what was written after the mark was not finished
                file.truncate(told["bytes"])
            self.rows, self.unanswered = told["rows"], told["unanswered"]
            return self.rows
        self.part.unlink(missing_ok=True)
        self.add([header], 0, 0)
        return 0

    def add(self, lines: list[list[str]], rows: int, unanswered: int) -> None:
        """Append lines, then say that they count."""
        from rumorlib.data.keys import guard_cell

        made = io.StringIO(newline="")
        csv.writer(made, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(
            [guard_cell(cell) for cell in line] for line in lines
        )
        with self.part.open("ab") as file:
            file.write(made.getvalue().encode("utf-8", "replace"))
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        self.rows += rows
        self.unanswered = unanswered
        told = {"about": self.about, "bytes": size, "rows": self.rows, "unanswered": unanswered}
        files.write_json(self.mark, told)

    def finish(self) -> int:
        """Put the answers in their place; returns how many rows there are."""
        self.part.replace(self.out)
        self.mark.unlink(missing_ok=True)
        return self.rows
