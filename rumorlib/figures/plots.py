"""Figures of numbers: a tidy frame in, a matplotlib Figure out. Nothing here reads or writes disk.

Scores are fractions in [0, 1]; groups are drawn in the order in which the frame names them; the frame is left as it is.
Every function raises ValueError for a missing column or an empty frame. Pictures of scenes and maps: `pictures`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from rumorlib.figures import look
from rumorlib.figures.dots import CHANCE, dot_panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEST = {"color": "white", "marker": "*", "mec": "black", "ms": 9, "mew": 0.8, "ls": "none", "label": "best point"}
REFERENCE = {"color": "0.3", "ls": ":", "lw": 1.4, "zorder": 1, "label": "best in the paper"}


# --- corpora ------------------------------------------------------------------------------------


@look.style()
def label_counts(frame: pd.DataFrame, title: str = "") -> Figure:
    """Posts per split and class of each corpus (beside c_1). Columns: dataset, split, label (0, 1), n."""
    look.need(frame, "dataset", "split", "label", "n")
    named = frame.assign(label=[{0: "non-rumor", 1: "rumor"}.get(label, label) for label in frame["label"]])
    return _bar_panels(named, "dataset", "split", "label", "n", ("", "posts"), "{:,.0f}", title)


@look.style()
def shortcut_scores(frame: pd.DataFrame, chance: float | None = 0.5, title: str = "") -> Figure:
    """How far metadata, surface counts and other shortcuts get without the claim (beside c_3, c_4).

    Columns: dataset, shortcut, metric, estimate, low, high. chance: the dashed line; None: no line.
    """
    return dot_panels(frame, "shortcut", chance, title)


# --- training and main tables -------------------------------------------------------------------


@look.style()
def training_curves(history: pd.DataFrame, title: str = "") -> Figure:
    """Train (dashed) and dev (solid) curves of each run, a panel per quantity (m_e1_curve).

    Columns: run, epoch, and at least one of train_<quantity> or dev_<quantity>; others are left out, and a part of the
    loss that is all of it in every run that has it. A dot marks the lowest dev loss of a run.
    """
    look.need(history, "run", "epoch")
    found = [m for m in (re.fullmatch(r"(train|dev)_(.+)", str(column)) for column in history) if m]
    if not found:
        raise ValueError(f"no train_<quantity> or dev_<quantity> among the columns {', '.join(map(str, history))}")
    quantities = [q for q in dict.fromkeys(m[2] for m in found) if not _is_the_loss(history, q)]
    runs = look.in_order(history, "run")
    colours = look.colours(len(runs))
    fig, panels = look.panels(len(quantities), 3.4, 2.6, title=title)
    for axes, quantity in zip(panels, quantities):
        for run, colour in zip(runs, colours):
            part = history[history["run"] == run].sort_values("epoch", ignore_index=True)
            for split, dash in (("train", "--"), ("dev", "-")):
                if f"{split}_{quantity}" in part:
                    axes.plot(part["epoch"], part[f"{split}_{quantity}"], dash, color=colour, lw=1.4)
            if quantity == "loss" and "dev_loss" in part and part["dev_loss"].notna().any():
                best = part.loc[part["dev_loss"].idxmin()]
                axes.plot([best["epoch"]], [best["dev_loss"]], "o", color=colour)
        axes.set(xlabel="epoch", ylabel=look.words(quantity))
        axes.xaxis.get_major_locator().set_params(integer=True)
    handles = [Line2D([], [], color=colour, label=look.english(run)) for run, colour in zip(runs, colours)]
    handles += [Line2D([], [], color="k", ls=d, label=n) for n, d in (("train", "--"), ("dev", "-"))]
    look.legend(fig, handles)
    return fig


def _is_the_loss(history: pd.DataFrame, quantity: str) -> bool:
    """Whether a quantity other than the loss repeats it, as the one language of a run does."""
    pairs = [(history.get(f"{split}_{quantity}"), history.get(f"{split}_loss")) for split in ("train", "dev")]
    given = [(part[part.notna()], loss[part.notna()]) for part, loss in pairs if part is not None and loss is not None]
    return quantity != "loss" and bool(given) and all((part == loss).all() for part, loss in given)


@look.style()
def retrieval_bars(frame: pd.DataFrame, title: str = "") -> Figure:
    """Stage-1 recall at k, a panel per direction (m_e1). Columns: direction, k, recall, model; std if known."""
    look.need(frame, "direction", "k", "recall", "model")
    return _bar_panels(frame, "direction", "k", "model", "recall", ("k", "recall at k"), "{:.3f}", title)


@look.style()
def metric_bars(
    frame: pd.DataFrame,
    chance: float | None = None,
    title: str = "",
    main: Sequence[str] | None = None,
    told: Mapping[str, str] | None = None,
) -> Figure:
    """Models of a main or ablation table with their intervals (m_e2, m_e6; DMFL Figure 5, d_e1_fig5, 6, d_e2_fig6).

    Columns: model, metric, estimate, low, high, dataset. Dots, not bars: differences of a point would vanish on an
    axis that starts at 0, and bars that do not start there mislead. low and high may be NaN.

    Args:
        main: beginnings of the names of main rows. Given, each dataset sorts its rows by their first score.
        told: model -> what a reader should know of it, beside its name.
    """
    if told and "model" in frame:
        frame = frame.assign(model=[f"{name}: {told[name]}" if name in told else name for name in frame["model"]])
    return dot_panels(frame, "model", chance, title, main)


# --- sensitivity --------------------------------------------------------------------------------


@look.style()
def sweep(
    frame: pd.DataFrame,
    x: str,
    xlabel: str = "",
    scale: Literal["linear", "log", "category"] = "linear",
    reference: Mapping[str, Any] | None = None,
    hue: str = "metric",
    chance: float | None = None,
    best: bool = True,
    joined: bool = True,
    title: str = "",
) -> Figure:
    """A score against one setting, a panel per dataset (m_e3, m_e4, m_e5; DMFL Figures 7 to 9: d_e3 to d_e5).

    Columns: x, dataset, hue, estimate; for the band low and high, or else std; n_seeds, if known, is said.

    Args: x: the column swept. scale: "category" spaces its values evenly, in order of appearance.
        reference: dataset -> the value the paper found best, a dotted line. best: a star at our best of each line.
        joined: False where the values have no order: dots alone, as of two values.
        title: what is swept; where there are intervals it goes on to say whether the first hue moves more than these.
    """
    look.need(frame, x, "dataset", hue, "estimate")
    datasets, hues, values = look.in_order(frame, "dataset"), look.in_order(frame, hue), look.in_order(frame, x)
    if len(values) < 3 and scale != "category":  # a line through two points says more than was measured
        values, scale, joined = sorted(values), "category", False
    places = {v: i for i, v in enumerate(values)} if scale == "category" else {v: v for v in values}
    width = max(3.4, 0.5 * len(values)) if scale == "category" else 3.4
    first = frame[frame[hue] == hues[0]]
    moved = {dataset: _moved(first[first["dataset"] == dataset]) for dataset in datasets if hue == "metric"}
    title = textwrap.fill(title + _message(moved) * bool(title), int(13 * width * min(len(datasets), 3)))
    fig, panels = look.panels(len(datasets), width, 2.7, title=title, sharey=True)
    for axes, dataset in zip(panels, datasets):
        if chance is not None:
            axes.axhline(chance, **CHANCE)
        if reference and dataset in reference and (scale != "category" or reference[dataset] in places):
            axes.axvline(places.get(reference[dataset], reference[dataset]), **REFERENCE)
        for i, colour in enumerate(look.colours(len(hues))):
            part = frame[(frame["dataset"] == dataset) & (frame[hue] == hues[i])]
            shift = 0.24 * (i - (len(hues) - 1) / 2) if scale == "category" else 0.0
            at = np.array([places[v] + shift for v in part[x]], float)
            how = {"color": colour, "marker": look.MARKERS[i % 7], "ls": "-" if joined else "none"}
            _line(axes, part, at, scale != "category", best, how)
        _x_axis(axes, values, scale)
        told = ""
        if moved.get(dataset):
            told = "\nmoves {:.1f} points, intervals up to {:.1f} wide".format(*moved[dataset])
        axes.set(title=f"{look.english(dataset)}{_seeds(frame, dataset)}{told}", xlabel=xlabel or look.words(x))
    panels[0].set_ylabel(look.words(hues[0]) if len(hues) == 1 and hue == "metric" else "score")
    named = [look.words(name) if hue == "metric" else look.english(name) for name in hues]
    if "low" in frame:
        named = [f"{said} (no interval)" if frame.loc[frame[hue] == name, "low"].isna().all() else said
                 for said, name in zip(named, hues)]  # fmt: skip
    handles = look.handles(named) if len(hues) > 1 or hue != "metric" else []
    kinds = [BEST] * best + [REFERENCE] * bool(reference) + [CHANCE] * (chance is not None)
    look.legend(fig, handles + [Line2D([], [], **kind) for kind in kinds])
    return fig


@look.style()
def grid_heatmap(
    frame: pd.DataFrame, row: str, column: str, value: str, title: str = "", ends: tuple[float, float] | None = None
) -> Figure:
    """A score over two settings, the largest cell framed (m_e7: K × λ). Columns: `row`, `column`, `value`; grey: no
    run.

    Args: ends: values of the darkest and the lightest colour, e.g. the lowest and highest end of all intervals, so
        that noise stays one colour; None: the smallest and the largest value.
    Raises: ValueError: two values for one cell.
    """
    import seaborn as sns

    look.need(frame, row, column, value)
    if frame.duplicated([row, column]).any():
        raise ValueError(f"more than one {value} for a pair of {row} and {column}: average over seeds first")
    grid = frame.pivot(index=row, columns=column, values=value).sort_index().sort_index(axis=1).astype(float)
    size = max(3.9, 1.8 + 0.62 * grid.shape[1]), 1.3 + 0.42 * grid.shape[0]
    fig, (axes,) = look.panels(1, *size, title=title)
    low, high = ends or (None, None)
    label = "colours span all 95 % intervals" if ends else look.words(value)
    sns.heatmap(grid, annot=True, fmt=".3f", cmap="cividis", vmin=low, vmax=high, ax=axes, linewidths=0.5,
                annot_kws={"size": 8}, cbar_kws={"label": label})  # fmt: skip
    axes.set(xlabel=look.words(column), ylabel=look.words(row), facecolor="0.85")
    axes.tick_params(length=0, rotation=0)
    if grid.notna().any(axis=None):
        moved = [100 * (means.max() - means.min()) for means in (grid.mean(axis=1), grid.mean(axis=0))]
        names = look.words(row), look.words(column)
        told = f"{names[0]} moves it by {moved[0]:.1f} points, {names[1]} by {moved[1]:.1f}"
        axes.set_title(told, fontsize=8)
        y, x = np.unravel_index(np.nanargmax(grid.to_numpy()), grid.shape)
        axes.add_patch(Rectangle((x, y), 1, 1, fill=False, ec=look.PALETTE[1], lw=2.5, clip_on=False))
    return fig


# --- pieces -------------------------------------------------------------------------------------


def _bar_panels(
    frame: pd.DataFrame, panel: str, x: str, hue: str, value: str, labels: tuple[str, str], number: str, title: str
) -> Figure:
    """Grouped bars from 0 with their values on top, a panel per value of `panel`; column std, if any: error bars."""
    names, hues = look.in_order(frame, panel), look.in_order(frame, hue)
    parts = [frame[frame[panel] == name] for name in names]
    n_bars = max(part[x].nunique() for part in parts) * len(hues)
    fig, panels = look.panels(len(names), max(2.6, 0.6 + 0.3 * n_bars), 2.7, title=title)
    width = 0.8 / len(hues)
    for axes, name, part in zip(panels, names, parts):
        places = look.in_order(part, x)
        for i, (group, colour) in enumerate(zip(hues, look.colours(len(hues)))):
            rows = part[part[hue] == group]
            centre = np.array([places.index(v) for v in rows[x]]) + (i - (len(hues) - 1) / 2) * width
            std = rows["std"].astype(float) if "std" in rows else None
            error = {"lw": 1, "ecolor": "0.2"}
            bars = axes.bar(centre, rows[value].astype(float), 0.92 * width, yerr=std, color=colour, error_kw=error)
            axes.bar_label(bars, fmt=number.format, fontsize=7, padding=2, rotation=90 if n_bars > 3 else 0)
        axes.set(title=look.english(name), xlabel=labels[0], ylabel=labels[1] if axes is panels[0] else "")
        look.name_ticks(axes, places)
        axes.set_ylim(0, 1.28 * axes.dataLim.ymax if axes.dataLim.ymax > 0 else 1)
    swatches = [Rectangle((0, 0), 1, 1, color=c, label=look.english(h)) for h, c in zip(hues, look.colours(len(hues)))]
    look.legend(fig, swatches)
    return fig


def _seeds(frame: pd.DataFrame, dataset: str) -> str:
    """How many runs a point is the mean of: with one, its luck is in the line."""
    known = frame.loc[frame["dataset"] == dataset, "n_seeds"].dropna().astype(int) if "n_seeds" in frame else []
    counts = sorted(set(known))
    return f", {' to '.join(map(str, counts[:1] + counts[1:][-1:]))} seed{'s' * (counts[-1] > 1)}" if counts else ""


def _moved(part: pd.DataFrame) -> tuple[float, float] | None:
    """How far a score moves along a sweep, and how wide its widest interval is, points: is there anything to see?"""
    if len(part) < 2 or not {"low", "high"} <= set(part) or part[["estimate", "low", "high"]].isna().any(axis=None):
        return None
    return 100 * np.ptp(part["estimate"]), 100 * (part["high"] - part["low"]).max()


def _message(moved: Mapping[str, tuple[float, float] | None]) -> str:
    """What the sweeps of all datasets come to; "" where one has no intervals."""
    if not moved or None in moved.values():
        return ""
    beyond = [dataset for dataset, (moves, wide) in moved.items() if moves > wide]
    where = "" if len(beyond) in (0, len(moved)) else f" on {' and '.join(map(look.english, beyond))} alone"
    return f"; the score moves {'more' if beyond else 'less'} than its intervals are wide{where}"


def _line(axes: Axes, part: pd.DataFrame, x: np.ndarray, band: bool, best: bool, look_of: dict) -> None:
    """One line with its band, or a bar per point, and, if asked for, a star at its best point."""
    order = np.argsort(x, kind="stable")
    x, part = x[order], part.iloc[order]
    estimate = part["estimate"].to_numpy(float)
    if {"low", "high"} <= set(part):
        low, high = part["low"].to_numpy(float), part["high"].to_numpy(float)
    else:
        std = part["std"].to_numpy(float) if "std" in part else np.full(len(part), np.nan)
        low, high = estimate - std, estimate + std
    if band:
        axes.fill_between(x, low, high, color=look_of["color"], alpha=0.18, lw=0)
    else:
        axes.vlines(x, low, high, color=look_of["color"], lw=1.4)
    axes.plot(x, estimate, lw=1.4, **look_of)
    if best and np.isfinite(estimate).any():
        top = int(np.nanargmax(estimate))
        axes.plot(x[top], estimate[top], **BEST)


def _x_axis(axes: Axes, values: Sequence[Any], scale: str) -> None:
    """Ticks at the values swept, as many as can be read."""
    if scale == "log":
        axes.set_xscale("log", base=2)
    if scale == "category":
        look.name_ticks(axes, values)
    elif len(values) <= 12:
        ticks = sorted(values)
        axes.set_xticks(ticks, [f"{v:g}" for v in ticks], **({"rotation": 90} if len(ticks) > 9 else {}))
        axes.minorticks_off()
