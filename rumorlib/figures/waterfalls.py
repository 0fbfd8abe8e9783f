"""Figures of notebook 09: a score built up step by step (p_fig1), scores over doses (p_fig2), reliability (p_fig3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from rumorlib.figures import look

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@look.style()
def waterfall(frame: pd.DataFrame, title: str = "") -> Figure:
    """A panel per corpus: the first step as a dot, every further one as a bar from the score before it.

    Columns: dataset, step, accuracy, low, high (the interval of the score, not of the gain), majority (dashed). Gains
    in points stand beside the bars.
    """
    look.need(frame, "dataset", "step", "accuracy", "low", "high", "majority")
    steps, datasets = look.in_order(frame, "step"), look.in_order(frame, "dataset")
    fig, panels = look.panels(len(datasets), 3.1, 0.9 + 0.34 * len(steps), title=title, sharey=True)
    for axes, dataset in zip(panels, datasets):
        part = frame[frame["dataset"] == dataset].reset_index(drop=True)
        place = np.array([steps.index(step) for step in part["step"]])
        score = part["accuracy"].to_numpy(float)
        before = np.r_[score[0], score[:-1]]
        axes.barh(place, score - before, left=before, height=0.55, color=look.PALETTE[1], alpha=0.55, lw=0)
        for above, below, x in zip(place[:-1], place[1:], score[:-1]):
            axes.plot([x, x], [above, below], color="0.6", lw=0.8)
        axes.hlines(place, part["low"].astype(float), part["high"].astype(float), color=look.PALETTE[0], lw=1.6)
        axes.plot(score, place, "o", color=look.PALETTE[0])
        axes.vlines(part["majority"].astype(float), place - 0.4, place + 0.4, color="0.5", ls="--", lw=1, zorder=1)
        clear = {"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none"}  # no line runs through a number
        for row, (x, y) in enumerate(zip(part["high"].astype(float), place)):
            gain = f"{100 * (score[row] - before[row]):+.1f}" if row else f"{score[0]:.3f}"
            axes.annotate(gain, (x, y), (9, 0), textcoords="offset points", va="center", fontsize=8, bbox=clear)
        axes.margins(x=0.17)
        axes.set(title=look.english(dataset), xlabel="test accuracy")
        axes.tick_params(axis="y", length=0)
    panels[0].set(ylim=(len(steps) - 0.5, -0.5))
    panels[0].set_yticks(range(len(steps)), [look.english(step) for step in steps])
    gain = Rectangle((0, 0), 1, 1, color=look.PALETTE[1], alpha=0.55, lw=0, label="gain of this step")
    look.legend(fig, [gain, Line2D([], [], color="0.5", ls="--", lw=1, label="the larger class of these test posts")])
    return fig


@look.style()
def dose_response(frame: pd.DataFrame, title: str = "") -> Figure:
    """A panel per corpus, a line with its band per kind of leak. Columns: dataset, leak, dose (share), accuracy, low,
    high."""
    look.need(frame, "dataset", "leak", "dose", "accuracy", "low", "high")
    leaks, datasets = look.in_order(frame, "leak"), look.in_order(frame, "dataset")
    fig, panels = look.panels(len(datasets), 3.1, 2.6, title=title, sharey=True)
    styles = dict(zip(leaks, zip(look.colours(len(leaks)), look.MARKERS)))
    for axes, dataset in zip(panels, datasets):
        for leak, part in frame[frame["dataset"] == dataset].groupby("leak", sort=False):
            colour, marker = styles[leak]
            part = part.sort_values("dose").astype({"low": float, "high": float})
            axes.fill_between(100 * part["dose"], part["low"], part["high"], color=colour, alpha=0.15, lw=0)
            axes.plot(100 * part["dose"], part["accuracy"], color=colour, marker=marker, lw=1.4)
        axes.set(title=look.english(dataset), xlabel="leaked into train, %")
    panels[0].set_ylabel("test accuracy")
    look.legend(fig, [Line2D([], [], color=c, marker=m, label=look.english(leak)) for leak, (c, m) in styles.items()])
    return fig


@look.style()
def reliability(frame: pd.DataFrame, title: str = "") -> Figure:
    """Share of rumors met over the probability given, a panel per corpus and model; grey: a perfect model's range.

    Columns: dataset, model, prob, observed, floor_low, floor_high, n.
    """
    look.need(frame, "dataset", "model", "prob", "observed", "floor_low", "floor_high", "n")
    groups = list(frame.groupby(["dataset", "model"], sort=False))
    columns = frame["dataset"].nunique()  # models below each other
    fig, panels = look.panels(len(groups), 2.6, 2.6, columns, title, sharex=True, sharey=True)
    for axes, ((dataset, model), part) in zip(panels, groups):
        axes.vlines(part["prob"], part["floor_low"], part["floor_high"], color="0.8", lw=5)
        axes.plot([0, 1], [0, 1], color="0.5", ls="--", lw=1)
        size = 14 + 60 * part["n"] / part["n"].max()
        axes.scatter(part["prob"], part["observed"], s=size, color=look.PALETTE[0], zorder=3, clip_on=False)
        if len(part) == 1:
            axes.text(0.5, 0.1, "all posts get one answer", ha="center", fontsize=8, color="0.35")
        axes.set_title(f"{look.english(dataset)}\n{look.wrapped(model, 28)}", parse_math=False)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="probability of rumor")
    panels[0].set_ylabel("share of rumors")
    return fig
