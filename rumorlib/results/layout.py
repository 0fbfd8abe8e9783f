"""A table to read, made of what its csv and provenance hold: the md file, and what a notebook shows.

Rules for all tables, no layout by hand. An estimate and its interval share a cell; what is the same in every row is
said once; more than eight columns lose first what a reader asks for last (`LEFT_TO_CSV`); test rows come first. A table
of claims becomes one line per claim. The csv keeps everything, so a table whose runs are gone is laid out from it too.
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from itertools import combinations
from typing import Any

from rumorlib import config as cfg
from rumorlib.data.keys import printable
from rumorlib.results import ranking
from rumorlib.results.ranking import Columns, is_number

MOST_COLUMNS, MOST_ROWS = 8, 15  # rows: on a screen
MOST_PLACES = 4  # of one verdict on one claim, that are named
ALL = "all"  # in a provenance, instead of the names of all runs
SIGNS = "†‡§¶#ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ"  # at rows whose runs have a fault
_LINK = re.compile(r"\b(?:https?|ftp)://|\bwww\.", re.IGNORECASE)  # what GitHub makes a link of
REVISED = "*under revision*"  # a finding that longer training contradicts, until it has been tested anew
# Names of columns, as patterns: a table of more than MOST_COLUMNS loses those of a line, the first line first.
LEFT_TO_CSV = (
    r"n|n_(seeds|rumor|clusters|texts|images|train|test|groups|objects|posts|words|reachable)|rival_seeds|clusters|seed",
    r"variant|p_value|metric|source|unit|unreadable|equal|acc_(low|high)_event",
    r"(precision|recall|f1)_(non_)?rumor|f1_macro|brier|log_loss|moved_first|iou_first|dark_(cells|shift)",
    r".*_far|alignment_loss|.2._R@5|.2._recall_at_5|highest.*|.*_by_effect|field_px|power_.*|dimensions_.*",
    r"fused|matched|shuffled|cka.*|recall_at_10?|rank_centred|variance_.*|n_trainable|share_int8|stored_mib",
    r"balanced_accuracy|.2._median_rank|macs_smallest|dev_auc|n_nonzero|over_image|chars_.*|.*_day|median_day_.*",
    r"share_of_test|pairs|uncertainty|resolution|reliability_floor|recall_chance|what|planned_full",
    r"classifier_input|accuracy_dev_threshold|without_image|estimate_known|exchanged",
    r"test_auc|best_epoch|dev_se",
)


def read(text: str) -> Columns:
    """The cells of a csv."""
    names, *rows = csv.reader(io.StringIO(text))
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


# --- cells ----------------------------------------------------------------------------------------


def number(text: str, size: float | None = None) -> str:
    """A number with three decimals, with fewer where it, or `size`, is 10 or more; words as they are."""
    if not is_number(text):
        return text
    value = float(text)
    if 0 < value < 0.0005 and size is None:
        return "<0.001"
    size = abs(value) if size is None else size
    shown = f"{value:,.{3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0}f}"
    return shown if float(shown.replace(",", "")) else shown.lstrip("-")


def as_read(cells: Sequence[str]) -> list[str]:
    """The cells of one column: numbers of one kind, whole ones whole; yes and no."""
    some = [cell for cell in cells if cell not in ("", "-")]
    if set(some) <= {"True", "False"}:
        return [{"True": "yes", "False": "no"}.get(cell, cell) for cell in cells]
    if not all(map(is_number, some)):
        return list(cells)
    if all(re.fullmatch(r"[-+]?\d+", cell) for cell in some):
        return [f"{int(cell):,}" if len(cell) > 4 and is_number(cell) else cell for cell in cells]
    return [number(cell) for cell in cells]


def with_interval(value: str, low: str, high: str) -> str:
    """Estimate and 95 % interval in one cell, as 0.612 [0.585, 0.639]."""
    if not (low and high):
        return value if re.fullmatch(r"[-+]?\d+", value) else number(value)
    size = max(abs(float(cell)) for cell in (value, low, high))
    return f"{number(value, size)} [{number(low, size)}, {number(high, size)}]"


def escaped(text: Any) -> str:
    """A cell of a GitHub table without markup, formulas and links of its own but `REVISED`."""
    text = html.escape(printable(" ".join(str(text).split())), quote=False)
    for mark in ("\\", "|", "[", "`", "*", "$"):
        text = text.replace(mark, f"\\{mark}")
    text = _LINK.sub(lambda found: found[0].replace(":", "&#58;").replace(".", "&#46;"), text)
    text = re.sub(r"\\\[(-?[\d.,]+(, -?[\d.,]+)?\])(?!\()", r"[\1", text)  # numbers in brackets are no link
    return text.replace(REVISED.replace("*", "\\*"), REVISED)


# --- columns --------------------------------------------------------------------------------------


def intervals(columns: Columns) -> dict[str, tuple[str, str]]:
    """Estimate -> its low and high. `x_low` and `x_high` are of x, or of a column whose name begins or ends with x;
    `low` and `high` of any before them. Of several it is that which most often lies between them, and the nearest."""
    names, found = list(columns), {}
    for low in (name for name in names if re.fullmatch(r"(.+_)?low", name)):
        stem, high = low[:-3].rstrip("_"), low[:-3] + "high"
        before = [name for name in reversed(names[: names.index(low)])
                  if not re.fullmatch(r"(.+_)?(low|high)", name) and any(map(is_number, columns[name]))
                  and (name.startswith(stem) or name.endswith(f"_{stem}"))]  # fmt: skip
        if high in columns and before:
            best = max(before, key=lambda name: _inside(columns[name], columns[low], columns[high]))
            found[best] = low, high
    return found


def _inside(*cells: Sequence[str]) -> int:
    known = [tuple(map(float, row)) for row in zip(*cells, strict=True) if all(map(is_number, row))]
    return sum(low - 1e-9 <= value <= high + 1e-9 for value, low, high in known)


def readable(columns: Columns) -> Columns:
    """All columns as they are read: intervals beside their estimates, three decimals, empty columns left out."""
    found = intervals(columns)
    edges = {name for pair in found.values() for name in pair}
    made = {}
    for name in columns:
        if name in found:
            made[name] = [with_interval(*cells) for cells in zip(columns[name], *(columns[e] for e in found[name]))]
        elif name not in edges and any(columns[name]):
            made[name] = as_read(columns[name])
    return made


def chosen(columns: Columns) -> tuple[Columns, str]:
    """At most MOST_COLUMNS of `readable`, and a sentence on what is the same in every row."""
    same = {name: cells[0] for name, cells in columns.items()
            if len(cells) > 1 and len(set(cells)) == 1 and "[" not in cells[0]}  # fmt: skip
    same = {} if len(same) > len(columns) / 2 else same
    same_again = {one for one, two in combinations(columns, 2) if columns[one] == columns[two] and any("[" in cell for cell in columns[one])}
    kept = [name for name in columns if name not in same and name not in same_again]
    for pattern in LEFT_TO_CSV:
        if len(kept) > MOST_COLUMNS:
            kept = [name for name in kept if not re.fullmatch(pattern, name)]
    said = "; ".join(f"{name} {cell}" for name, cell in same.items())
    return {name: columns[name] for name in kept[:MOST_COLUMNS]}, f"In every row: {said}." if said else ""


def rows_of(columns: Columns) -> list[int]:
    """The places of the rows as they are shown: those of test first."""
    split = columns.get("split", [])
    n_rows = len(next(iter(columns.values()), []))
    return sorted(range(n_rows), key=lambda row: "test" in split and split[row] != "test")


# --- claims ---------------------------------------------------------------------------------------


def of_claims(columns: Columns) -> bool:
    """Whether a table says what became of claims."""
    return "verdict" in columns and _claim_column(columns) in columns


def _claim_column(columns: Columns) -> str:
    return "prediction" if "prediction" in columns else "claim"


def lines_of(columns: Columns) -> list[list[int]]:
    """The rows behind each line of a table: those of one claim, else one."""
    if not of_claims(columns):
        return [[row] for row in range(len(next(iter(columns.values()), [])))]
    groups: dict[str, list[int]] = {}
    for row, claim in enumerate(columns[_claim_column(columns)]):
        groups.setdefault(claim, []).append(row)
    return list(groups.values())


def by_claim(columns: Columns) -> Columns:
    """A line per claim: what was measured, and the verdicts in a sentence."""
    name, lines = _claim_column(columns), lines_of(columns)
    claims = [columns[name][rows[0]] for rows in lines]
    return {
        name: [f"{claim} {REVISED}" if under_revision(claim) else claim for claim in claims],
        "measured": ["; ".join(dict.fromkeys(columns["quantity"][row] for row in rows)) for rows in lines],
        "verdict": [_sentence([{each: columns[each][row] for each in columns} for row in rows]) for rows in lines],
    }


def _sentence(rows: Sequence[Mapping[str, str]]) -> str:
    """The verdicts on one claim: where, with what number; more than MOST_PLACES of one verdict are counted."""
    found: dict[str, list[str]] = {}
    for row in rows:
        ours = with_interval(row["ours"], row.get("low", ""), row.get("high", "")) or row["why"]
        place = row.get("corpus", row.get("of", "-"))
        found.setdefault(row["verdict"], []).append(f"({ours})" if place == "-" else f"on {place} ({ours})")
    said = [f"{verdict} {_listed(where)}" if len(where) <= MOST_PLACES else f"{verdict} on {len(where)} of {len(rows)}"
            for verdict, where in found.items()]  # fmt: skip
    return "; ".join(said)


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def under_revision(claim: str) -> bool:
    """Whether a claim rests on a finding that results/under_revision.csv names."""
    return any(fnmatchcase(claim, pattern) for pattern in _revised())


@cache
def _revised() -> tuple[str, ...]:
    text = (cfg.PROJECT_ROOT / "results" / "under_revision.csv").read_text(encoding="utf-8")
    return tuple(read(text)["claim"])


# --- pages ----------------------------------------------------------------------------------------


def grid(
    columns: Columns, rows: Sequence[int], signs: Sequence[str] = (), marks: Mapping[tuple[str, int], str] | None = None
) -> str:
    """A GitHub table of these rows; a sign stands in the first cell of its row, a mark of `ranking.ranked` around a number."""
    lines = [" | ".join(map(escaped, columns)), " | ".join(["---"] * len(columns))]
    for row in rows:
        first, *rest = (ranking.set_off(escaped(cells[row]), (marks or {}).get((name, row), ""))
                        for name, cells in columns.items())  # fmt: skip
        lines.append(" | ".join([f"{first} {signs[row]}" if signs and signs[row] else first, *rest]))
    return "\n".join(f"| {line} |" for line in lines)


def body(columns: Columns, signs: Sequence[str] = (), most: int | None = None) -> list[str]:
    """Paragraphs: the table, what is the same in every row, and how many of its rows are not shown. Args: signs: of each
    of `lines_of`."""
    if not (order := rows_of(columns)):
        return ["No rows."]
    if of_claims(columns):
        shown = by_claim(columns)
        n_lines = len(shown["verdict"])
        return [grid(shown, range(n_lines)[:most], signs), *_more(n_lines, most)]
    shown, same = chosen(readable(columns))
    return [grid(shown, order[:most], signs, ranking.ranked(columns)), *([same] if same else []), *_more(len(order), most)]


def _more(n_rows: int, most: int | None) -> list[str]:
    return [f"{n_rows - most} more rows are in the csv."] if most and n_rows > most else []


def across(columns: Columns, down: str, over: str, value: str, most: int | None = None) -> list[str]:
    """Paragraphs: a table with the values of column `over` as columns, a line per value of `down`, cells of `value`;
    test rows where there are several splits. Raises: KeyError: no such column."""
    shown = readable(columns)
    rows = [row for row in rows_of(columns) if "test" not in columns.get("split", []) or columns["split"][row] == "test"]
    cells: dict[tuple[str, str], list[str]] = {}
    for row in (row for row in rows if shown[value][row]):
        cells.setdefault((shown[down][row], shown[over][row]), []).append(shown[value][row])
    names, places = (list(dict.fromkeys(key[side] for key in cells)) for side in (0, 1))
    made = {place: [" / ".join(cells.get((name, place), "-")) for name in names] for place in places}
    return [grid({down: names} | made, range(len(names))[:most]), *_more(len(names), most)]


def page(text: str, said: Mapping[str, Any]) -> str:
    """The md file of a table. Args: text: of its csv. said: its provenance."""
    columns = read(text)
    signs, faults = marked(said, lines_of(columns))
    heading = f"**{said['id']}** ({said['paper']} {said['printed']}, {said['profile']} profile): "
    parts = [heading + escaped(said["caption"]), *body(columns, signs), *map(escaped, [said["note"], *faults])]
    return "\n\n".join(filter(None, parts)) + "\n"


def marked(said: Mapping[str, Any], lines: Sequence[Sequence[int]]) -> tuple[list[str], list[str]]:
    """What is wrong with the runs behind a table, from its provenance: the signs of each line, and the paragraphs below.

    A fault of every line has no sign; where rows do not say their runs, the paragraph counts these.
    Args: lines: of `lines_of`.
    """
    names, rows = sorted(said["runs"]), said.get("rows")
    of_lines = [{names[run] for row in line for run in rows[row]} for line in lines] if rows else []
    signs, told, free = [""] * len(lines), [], iter(SIGNS)
    for wrong, faulty in (pair for about in said.get("marks", {}).values() for pair in about.items()):
        of = set(names if faulty == ALL else faulty)
        at = {place for place, runs in enumerate(of_lines) if runs & of}
        if of == set(names):
            where = "All runs,"
        elif not rows:
            where = f"{len(of)} of {len(names)} runs,"
        elif len(at) == sum(map(bool, of_lines)):
            where = "Runs of all rows,"
        else:
            where = next(free, "*")
            signs = [f"{has}{where}" if place in at else has for place, has in enumerate(signs)]
        told.append(f"{where} until made anew: {wrong}.")
    return signs, told


class Page(str):
    """Markdown that a notebook shows as such."""

    def _repr_markdown_(self) -> str:
        return str(self)

    __repr__ = _repr_markdown_
