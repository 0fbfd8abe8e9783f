"""From a number in a table to what made it: the function, and the runs of its row.

A study says it while it builds a frame (`by_runs`); the frame keeps it beside its columns while it is filtered and
sorted, and `artifacts` writes it. Which function made a frame is read off the notebook that saves it (`functions`).
A folder of tables or figures has one provenance.json with an entry per id (`entries`, `enter`).
"""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib import config as cfg
from rumorlib.data import files
from rumorlib.results import locks

if TYPE_CHECKING:
    import pandas as pd

    from rumorlib.results.reports import Report

FILE = "provenance.json"
RUNS = "runs_of_row"  # column of a frame in the making: names of the runs that each row is computed from


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    """What is said of each table or figure of a folder, by id. Raises: ValueError: the file is damaged."""
    path = folder / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def enter(folder: Path, said: Mapping[str, Mapping[str, Any]]) -> None:
    """Put entries in the place of those of the same id; several notebooks may write to one folder."""
    with locks.held(folder / f".{FILE}.lock"):
        files.write_json(folder / FILE, entries(folder) | said)


@dataclass(frozen=True)
class _RowRuns:
    """Values of the key columns, as text -> sorted names of runs. Stands in a frame's `attrs`, which filtering, sorting
    and choosing columns keep, and no display shows."""

    keys: tuple[str, ...]
    names: dict[tuple[str, ...], tuple[str, ...]]

    def __deepcopy__(self, _: Any) -> _RowRuns:  # pandas copies `attrs` along with every frame
        return self


def by_runs(frame: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """The frame without its column RUNS, whose names are kept for `runs_of_rows` by the values of columns `keys`.

    Rows of equal values share their runs; without keys every row is of all runs. A frame without rows stays as it is.
    """
    if RUNS not in frame or frame.empty:
        return frame.drop(columns=RUNS, errors="ignore")
    found: dict[tuple[str, ...], set[str]] = {}
    for key, names in zip(_key_values(frame, keys), frame[RUNS], strict=True):
        found.setdefault(key, set()).update(() if isinstance(names, float) else names)  # nan: a row of no run
    frame = frame.drop(columns=RUNS)
    frame.attrs[RUNS] = _RowRuns(keys, {key: tuple(sorted(names)) for key, names in found.items()})
    return frame


def runs_of_rows(frame: pd.DataFrame) -> list[tuple[str, ...]] | None:
    """Names of the runs that each row was computed from, sorted, none of a row that no run made; None where the frame
    does not say it of every row."""
    of: _RowRuns | None = frame.attrs.get(RUNS)
    if of is None or not set(of.keys) <= set(frame.columns):
        return None
    rows = [of.names.get(key) for key in _key_values(frame, of.keys)]
    return None if None in rows else rows


def with_runs(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries, with the names of their runs in RUNS; none where the frame does not say."""
    names = runs_of_rows(frame) or [()] * len(frame)
    return [row | {RUNS: of} for row, of in zip(frame.to_dict("records"), names, strict=True)]


def stacked(frames: Iterable[pd.DataFrame], *keys: str) -> pd.DataFrame:
    """Frames of the same columns below each other; their rows keep their runs, by the values of columns `keys`."""
    import pandas as pd

    frames = list(frames)
    rows = [row for frame in frames for row in with_runs(frame)]
    return by_runs(pd.DataFrame(rows, columns=[*frames[0], RUNS]), *keys)


def of_runs(frame: pd.DataFrame, reports: Iterable[Report]) -> pd.DataFrame:
    """The frame, every row of which is of all these runs."""
    frame.attrs[RUNS] = _RowRuns((), {(): run_names(reports)})
    return frame


def run_names(source: pd.DataFrame | Iterable[Report | cfg.RunConfig]) -> tuple[str, ...]:
    """Sorted names of runs, as column RUNS holds them: of reports (of one made of several, theirs) or configs, or those
    behind any row of a frame that says it."""
    if RUNS in getattr(source, "attrs", {}):
        return tuple(sorted({name for row in runs_of_rows(source) or [] for name in row}))
    if hasattr(source, "columns"):  # a frame that does not say
        return ()
    return tuple(sorted({part.name for run in source for part in getattr(run, "parts", (run,))}))


def _key_values(frame: pd.DataFrame, keys: Sequence[str]) -> list[tuple[str, ...]]:
    """What identifies a row: its values in these columns, as text."""
    if not keys:
        return [()] * len(frame)
    return list(zip(*([str(value) for value in frame[key]] for key in keys), strict=True))


# --- from a table to its function -------------------------------------------------------------


@functools.cache
def functions(notebook: str) -> dict[tuple[str, str], str]:
    """("save_table" or "save_figure", id) -> dotted name of the function of rumorlib whose frame a notebook saves so.

    Read off the code of notebooks/<notebook>.ipynb; {} where there is none.
    """
    path, makers = cfg.PROJECT_ROOT / "notebooks" / f"{notebook}.ipynb", _Makers()
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.is_file() else []
    for cell in cells:
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            makers.visit(ast.parse("\n".join(line for line in lines if not line.startswith(("%", "!")))))
    return makers.saved


class _Makers(ast.NodeVisitor):
    """Follows the assignments of a notebook, in its order."""

    def __init__(self) -> None:
        self.imports: dict[str, str] = {}
        self.made: dict[str, str] = {}  # a variable, or tables['id'] -> the function it comes from
        self.saved: dict[tuple[str, str], str] = {}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if (node.module or "").split(".")[0] == "rumorlib":
            self.imports |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self._assign(target, node.value)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        how = self._function(node.func).removeprefix("rumorlib.results.artifacts.")
        if how in ("save_table", "save_figure") and isinstance(node.args[1], ast.Constant):
            self.saved[how, node.args[1].value] = self._maker(node.args[0 if how == "save_table" else 2])

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if not isinstance(target, ast.Tuple):
            self.made[ast.unparse(target)] = self._maker(value)
            return
        each = value.elts if isinstance(value, ast.Tuple) else [value] * len(target.elts)
        for part, its in zip(target.elts, each, strict=True):
            self._assign(part, its)

    def _maker(self, node: ast.AST) -> str:
        """The outermost call into rumorlib; below methods of a frame and pandas, the first one found."""
        if isinstance(node, ast.expr) and (known := self.made.get(ast.unparse(node))):
            return known
        if isinstance(node, ast.Call) and (function := self._function(node.func)):
            return function
        parts = [node.body, node.orelse] if isinstance(node, ast.IfExp) else ast.iter_child_nodes(node)
        return next(filter(None, map(self._maker, parts)), "")

    def _function(self, node: ast.expr) -> str:
        first, _, rest = ast.unparse(node).partition(".")
        return f"{self.imports[first]}.{rest}".rstrip(".") if first in self.imports else ""
