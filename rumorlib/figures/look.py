"""The one look of all figures: colours, fonts, panels and legends. `plots` and `pictures` draw with it.

Colours stay apart for colour-blind readers (Okabe and Ito) and are doubled by markers. DejaVu Sans comes with
matplotlib, so figures are alike everywhere; it has no Chinese glyphs, so labels are English.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
MARKERS = "osD^vPX"
_SETTINGS = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9, "figure.titlesize": 10,
    "axes.titlesize": 9, "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8,
    "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False, "lines.markersize": 5,
    "image.interpolation": "nearest", "figure.dpi": 100, "figure.facecolor": "white",
}  # fmt: skip
_WORDS = {"en": "loss, English", "zh": "loss, Chinese", "f1": "F1", "auc": "AUC", "k": "K",
          "primary": "primary metric"}  # fmt: skip


@contextmanager
def style() -> Iterator[None]:
    """The look, for the time of a `with` block or, as a decorator, of a call: seaborn's "ticks" in print size, or
    matplotlib's own where seaborn is not installed (it comes with the notebooks)."""
    import matplotlib.pyplot as plt

    try:
        import seaborn as sns
    except ImportError:
        base = {}
    else:
        base = {**sns.axes_style("ticks"), **sns.plotting_context("paper")}
    with plt.rc_context({**base, **_SETTINGS}):
        yield


def panels(
    n: int, width: float, height: float, columns: int = 3, title: str = "", **share: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of n panels, row by row.

    It is closed in pyplot at once: a notebook shows it where it is returned, not a second time below the cell, and no
    figure stays open.

    Args: n: panels, >= 1. width, height: inches of one. columns: most per row. share: sharex, sharey.
    Raises: ValueError: no panel.
    """
    import matplotlib.pyplot as plt

    if n < 1:
        raise ValueError("nothing to draw: the frame or list is empty")
    columns = min(n, columns)
    rows = -(-n // columns)
    size = columns * width, rows * height
    fig, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **share)
    plt.close(fig)
    for axes in grid.flat[n:]:
        axes.remove()
    for axes in grid.flat[max(0, n - columns) : n]:  # sharex leaves them bare when an axes removed was below
        axes.tick_params(axis="x", labelbottom=True)
    if title:
        fig.suptitle(english(title), parse_math=False)
        _grow(fig, 0.25 * len(title.splitlines()))
    return fig, list(grid.flat[:n])


def legend(fig: Figure, handles: Sequence[Artist]) -> None:
    """One legend below all panels, which keep their size; as many columns as the width holds; none for no handles."""
    if not handles:
        return
    inches = [0.55 + 0.07 * len(str(handle.get_label())) for handle in handles]
    width = fig.get_figwidth()
    n_columns = len(handles) if sum(inches) <= width else max(1, min(len(handles), int(width / max(inches))))
    _grow(fig, 0.1 + 0.17 * -(-len(handles) // n_columns))
    fig.legend(handles=handles, loc="outside lower center", ncols=n_columns)


def _grow(fig: Figure, inches: float) -> None:
    fig.set_figheight(fig.get_figheight() + inches)


def handles(labels: Sequence[str]) -> list[Artist]:
    """Legend entries of the groups drawn in `colours` and MARKERS."""
    return [
        Line2D([], [], color=colour, marker=MARKERS[i % len(MARKERS)], label=label)
        for i, (label, colour) in enumerate(zip(labels, colours(len(labels))))
    ]


def colours(n: int) -> list[Any]:
    """n colours: the palette, or, beyond its length, steps from dark to light."""
    if n <= len(PALETTE):
        return list(PALETTE[:n])
    import matplotlib

    return list(matplotlib.colormaps["viridis"](np.linspace(0, 0.9, n)))


def name_ticks(axes: Axes, names: Sequence[Any]) -> None:
    """Categories 0, 1, … of the x axis by name, slanted where they would run into each other."""
    inches = axes.get_figure().get_figwidth() / max(1, axes.get_subplotspec().get_gridspec().ncols) - 0.6
    slanted = 0.085 * (max(len(str(name)) for name in names) + 1) * len(names) > inches
    turn = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(range(len(names)), [english(name) for name in names], **turn)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.tick_params(axis="x", length=0)


def need(frame: pd.DataFrame, *columns: str) -> None:
    """Raises ValueError: columns are missing (named), or the frame has no row."""
    if missing := [column for column in columns if column not in frame]:
        have = ", ".join(map(str, frame.columns))
        raise ValueError(f"the frame lacks the column(s) {', '.join(missing)}; it has {have}")
    if frame.empty:
        raise ValueError("nothing to draw: the frame is empty")


def in_order(frame: pd.DataFrame, column: str) -> list[Any]:
    """Distinct values of a column in order of appearance."""
    return list(dict.fromkeys(frame[column]))


def words(name: Any) -> str:
    """A column or metric name as a reader wants it: "test.macro_f1" -> "macro F1"."""
    parts = english(name).removeprefix("test.").split("_")
    return " ".join(_WORDS.get(part, part) for part in parts)


def english(text: Any) -> str:
    """`text` as a string. Raises ValueError: it holds Chinese, for which no font is certain."""
    if any("\u2e80" <= letter <= "\uffef" for letter in str(text)):
        raise ValueError(f"{str(text)[:40]!r} holds Chinese, which figures cannot show everywhere; give English labels")
    return str(text)


def compact(value: float) -> str:
    """Three digits and a unit: 2310000 -> "2.31M"; below a thousand no unit."""
    value = float(f"{value:.3g}")
    size, unit = next(((s, u) for s, u in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if abs(value) >= s), (1.0, ""))
    return f"{value / size:.3g}{unit}"


def wrapped(text: Any, width: int) -> str:
    """`text` in lines of at most `width` characters."""
    return textwrap.fill(english(text), width)
