"""A frame as csv a spreadsheet cannot run and as markdown that cannot carry markup; and what a demo figure says."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

from rumorlib.data import keys

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def spreadsheet_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with floats at six digits and no text that a spreadsheet would take for a formula.

    Raises: ValueError: the index holds data, which csv would lose, or a column name is there twice.
    """
    if any(name is not None for name in frame.index.names) or frame.columns.nlevels > 1:
        raise ValueError("a table is written without its index and with one line of names: reset_index() first")
    if not frame.columns.is_unique:
        raise ValueError(f"a column name is there twice: {', '.join(map(str, frame.columns))}")
    safe = frame.copy()
    for column in safe.columns:
        safe[column] = [_safe_cell(value) for value in safe[column]]
    return safe.rename(columns=lambda name: _safe_cell(str(name)))


def _safe_cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    if value in ("-", "+"):  # "no value" and a sign are no formulas
        return value
    try:
        float(value)  # neither is a signed number
    except (TypeError, ValueError):
        return keys.guard_cell(value)
    return value


def markdown(frame: pd.DataFrame, row: dict[str, str], profile: str, note: str) -> str:
    """A GitHub table below its caption.

    Args:
        frame: the table; fractions are printed to four decimals.
        row: id, paper, printed and caption, as in results/index.csv.
        profile: named in the heading.
        note: a sentence below the table, or "".
    """
    lines = [f"**{row['id']}** ({row['paper']} {row['printed']}, {profile} profile): {_cell(row['caption'])}", ""]
    lines += ["| " + " | ".join(map(_cell, frame.columns)) + " |", "|" + " --- |" * len(frame.columns)]
    lines += ["| " + " | ".join(map(_cell, values)) + " |" for values in frame.itertuples(index=False)]
    return "\n".join([*lines, *(["", _cell(note)] if note else [])]) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}" if 1e-3 <= abs(value) < 1e3 or value == 0 else f"{value:.4g}"
    text = html.escape(" ".join(str(value).split()), quote=False)
    for mark in ("\\", "|", "[", "`", "*"):
        text = text.replace(mark, f"\\{mark}")
    return text


def say_demo(fig: Figure) -> None:
    """Add "demo profile" to the title, unless a title says it already."""
    titles = [fig.get_suptitle(), *(axes.get_title(loc) for axes in fig.axes for loc in ("left", "center", "right"))]
    if any("demo profile" in title for title in titles):
        return
    if fig.get_suptitle() or len(fig.axes) != 1:
        fig.suptitle(f"{fig.get_suptitle()} (demo profile)".strip())
    else:
        fig.axes[0].set_title(f"{fig.axes[0].get_title()} (demo profile)".strip())
