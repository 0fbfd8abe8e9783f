"""Figures of measures that have a reference value each, and of how amounts grow. A tidy frame in, a Figure out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from rumorlib.figures import look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REFERENCE = {"color": "0.45", "lw": 1, "ls": "--"}


@look.style()
def measures(frame: pd.DataFrame, title: str = "", reference: str = "chance") -> Figure:
    """Dots with intervals, a panel per measure with its own axis and reference line, a colour per dataset (d_e11_fig).

    Columns: dataset, row (first on top), measure, estimate, low, high, reference (nan: none).
    """
    look.need(frame, "dataset", "row", "measure", "estimate", "low", "high", "reference")
    rows, names, datasets = (look.in_order(frame, column) for column in ("row", "measure", "dataset"))
    height = 1.0 + max(0.24, 0.14 * len(datasets)) * len(rows)
    fig, panels = look.panels(len(names), 2.3, height, columns=4, title=title, sharey=True)
    shifts = np.linspace(-0.25, 0.25, len(datasets)) if len(datasets) > 1 else [0.0]
    for axes, name in zip(panels, names):
        part = frame[frame["measure"] == name]
        if part["reference"].notna().any():
            axes.axvline(part["reference"].max(), **REFERENCE)
        for i, (dataset, colour) in enumerate(zip(datasets, look.colours(len(datasets)))):
            mine = part[part["dataset"] == dataset]
            y = [rows.index(row) + shifts[i] for row in mine["row"]]
            axes.hlines(y, mine["low"].astype(float), mine["high"].astype(float), color=colour, lw=1.6)
            axes.plot(mine["estimate"].astype(float), y, look.MARKERS[i % 7], color=colour)
        axes.set_xlabel(look.wrapped(name, 22))
        axes.tick_params(axis="y", length=0)
    panels[0].set(ylim=(len(rows) - 0.5, -0.5))
    panels[0].set_yticks(range(len(rows)), [look.english(row) for row in rows])
    look.legend(fig, [*look.handles(datasets), Line2D([], [], label=reference, **REFERENCE)])
    return fig


@look.style()
def growth(frame: pd.DataFrame, title: str = "") -> Figure:
    """Amounts over sizes on two logarithms, each relative to its smallest; a panel per axis, a colour per quantity
    (d_e7_fig). Dashed: twice the size, twice the amount.

    Columns: axis, size, quantity, amount.
    """
    look.need(frame, "axis", "size", "quantity", "amount")
    axes_names, quantities = look.in_order(frame, "axis"), look.in_order(frame, "quantity")
    fig, panels = look.panels(len(axes_names), 2.4, 2.5, columns=4, title=title, sharey=True)
    for axes, name in zip(panels, axes_names):
        part = frame[frame["axis"] == name]
        for i, (quantity, colour) in enumerate(zip(quantities, look.colours(len(quantities)))):
            line = part[part["quantity"] == quantity].sort_values("size")
            amount = line["amount"].to_numpy(float)
            axes.plot(line["size"], amount / amount[0], marker=look.MARKERS[i % 7], color=colour, lw=1.4)
        sizes = sorted(part["size"].unique())
        axes.plot(sizes, np.array(sizes) / sizes[0], **REFERENCE)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set(xlabel=look.english(name), ylabel="relative to the smallest" if axes is panels[0] else "")
    look.legend(fig, [*look.handles(quantities), Line2D([], [], label="proportional", **REFERENCE)])
    return fig
