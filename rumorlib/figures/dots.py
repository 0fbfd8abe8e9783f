"""Scores as dots with intervals, a line per model or shortcut: the panels of `plots.metric_bars` and its like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from rumorlib.figures import look

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHANCE = {"color": "0.5", "ls": "--", "lw": 1, "zorder": 1, "label": "chance"}
MAIN = "#FFF1CC"  # ground of the lines of main rows
_LETTERS = 40  # of a line of "not measured here"


def dot_panels(
    frame: pd.DataFrame, rows: str, chance: float | None, title: str, main: Sequence[str] | None = None
) -> Figure:
    """A panel per dataset, a line per value of `rows`, a colour per metric.

    First row on top; with `main`, the row with the highest first score is, and rows whose names start with one of
    `main` are bold on a ground of their own. Datasets of unlike rows have lines of their own, and say what they lack.
    """
    look.need(frame, "dataset", rows, "metric", "estimate", "low", "high")
    names, metrics, datasets = (look.in_order(frame, column) for column in (rows, "metric", "dataset"))
    parts = [frame[(frame["dataset"] == dataset) & frame["estimate"].notna()] for dataset in datasets]
    lines = [[name for name in (_best_first(part, rows) if main else names) if name in set(part[rows])]
             for part in parts]  # fmt: skip
    alike = main is None and all(line == names or part.empty for line, part in zip(lines, parts))
    lines = [names] * len(parts) if alike else lines
    pitch = max(0.22, 0.13 * len(metrics))  # inches of a line
    n_lines = max(len(line) + (0.08 + 0.13 * len(_lacks(names, line))) / pitch for line in lines)
    height = 0.9 + pitch * n_lines
    width = 2.9 + 0.06 * max(0, max(len(str(name)) for name in names) - 16) / len(datasets) if alike else 3.8
    fig, panels = look.panels(len(datasets), width, height, title=title, sharex=True, sharey=alike)
    for axes, dataset, part, line in zip(panels, datasets, parts, lines):
        _grounds(axes, line, main)
        if chance is not None:
            axes.plot([chance, chance], [-0.5, len(line) - 0.5], **CHANCE)
        _dots(axes, part, rows, line, metrics)
        axes.set(title=look.english(dataset), xlabel=look.words(metrics[0]) if len(metrics) == 1 else "score")
        axes.tick_params(axis="x", labelbottom=True)
        axes.tick_params(axis="y", length=0)
        if axes is panels[0] or not alike:
            _name_lines(axes, line, n_lines, main)
        if lacks := _lacks(names, line):
            place = {"transform": axes.get_yaxis_transform(), "va": "top"}
            axes.text(0.02, len(line) - 0.45, "\n".join(lacks), fontsize=7, color="0.35", **place)
    handles = look.handles([look.words(metric) for metric in metrics]) if len(metrics) > 1 else []
    look.legend(fig, handles + [Line2D([], [], **CHANCE)] * (chance is not None))
    return fig


def _best_first(part: pd.DataFrame, rows: str) -> list[Any]:
    """Rows of one dataset by their first metric, the highest first; rows without it last."""
    first = part["metric"] == part["metric"].iloc[0] if len(part) else True
    order = part.assign(_first=first).sort_values(["_first", "estimate"], ascending=False, kind="stable")
    return look.in_order(order, rows)


def _lacks(names: Sequence[Any], line: Sequence[Any]) -> list[str]:
    """Lines of text that name the rows a dataset has no score for."""
    missing = [look.english(name) for name in names if name not in line]
    return look.wrapped("not measured here: " + "; ".join(missing), _LETTERS).split("\n") if missing else []


def _grounds(axes: Axes, line: Sequence[Any], main: Sequence[str] | None) -> None:
    """Grey below every second line, or the colour of main rows below theirs."""
    for y, name in enumerate(line):
        if _is_main(name, main) if main else y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color=MAIN if main else "0.95", lw=0, zorder=0)


def _is_main(name: Any, main: Sequence[str] | None) -> bool:
    return str(name).startswith(tuple(main or ()))


def _dots(axes: Axes, part: pd.DataFrame, rows: str, line: Sequence[Any], metrics: Sequence[Any]) -> None:
    shifts = np.linspace(-0.27, 0.27, len(metrics)) if len(metrics) > 1 else [0.0]
    for i, (metric, colour) in enumerate(zip(metrics, look.colours(len(metrics)))):
        mine = part[part["metric"] == metric]
        y = [line.index(name) + shifts[i] for name in mine[rows]]
        axes.hlines(y, mine["low"].astype(float), mine["high"].astype(float), color=colour, lw=1.6)
        axes.plot(mine["estimate"].astype(float), y, look.MARKERS[i % 7], color=colour, label=str(metric))


def _name_lines(axes: Axes, line: Sequence[Any], n_lines: int, main: Sequence[str] | None) -> None:
    axes.set(ylim=(n_lines - 0.5, -0.5))
    axes.set_yticks(range(len(line)), [look.english(name) for name in line])
    for label, name in zip(axes.get_yticklabels(), line):
        label.set_fontweight("bold" if _is_main(name, main) else "normal")
