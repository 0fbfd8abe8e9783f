"""Figures of cost: cost per model, and which models no other beats on both cost and accuracy (l_fig1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from rumorlib.figures import look

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COSTS = {"n_macs": "multiply-adds per post", "stored_mib": "MiB on disk", "packed_mib": "MiB on disk, deflated"}
WHOLE = {"n_parameters": "parameters", "n_macs": "multiply-adds per post", "latency_ms": "latency per post (ms)"}
KINDS = {"no other scores as high for less, or higher for as much": look.PALETTE[0], "another does": "0.8"}


@look.style()
def front(frame: pd.DataFrame, costs: Mapping[str, str] = COSTS, title: str = "") -> Figure:
    """A line per model: its test accuracy, then a bar per cost; a row of panels per corpus and input of the classifier.

    The dashed line is the whole model, the first row; whiskers: the 95 % interval of the difference from it. A bar is
    in colour where no other model is as good at both that cost and accuracy and better at one.

    Columns: dataset, classifier_input, model, test_accuracy, loss_low, loss_high and the keys of `costs`.
    """
    look.need(frame, "dataset", "classifier_input", "model", "test_accuracy", "loss_low", "loss_high", *costs)
    groups = list(frame.groupby(["dataset", "classifier_input"], sort=False))
    height = 0.9 + 0.26 * max(len(part) for _, part in groups)
    fig, panels = look.panels(len(groups) * (1 + len(costs)), 2.4, height, columns=1 + len(costs), title=title)
    places = iter(panels)
    for (dataset, how), part in groups:
        axes, rows = next(places), range(len(part))
        whole = part["test_accuracy"].iloc[0]
        axes.axvline(whole, color="0.6", ls="--", lw=1, zorder=1)
        axes.hlines(rows, whole - part["loss_high"], whole - part["loss_low"], color=look.PALETTE[0], lw=1.6)
        axes.plot(part["test_accuracy"], rows, "o", color=look.PALETTE[0])
        axes.set(title=f"{look.english(dataset)}, {how} input", xlabel="test accuracy", ylim=(len(part) - 0.5, -0.5))
        axes.set_yticks(rows, [look.english(model) for model in part["model"]])
        for column, label in costs.items():
            _costs(next(places), part, column, label)
    marks = [Rectangle((0, 0), 1, 1, color=colour, label=name) for name, colour in KINDS.items()]
    look.legend(fig, [Line2D([], [], color="0.6", ls="--", lw=1, label="the whole model"), *marks])
    return fig


def _costs(axes: Axes, part: pd.DataFrame, column: str, label: str) -> None:
    """One cost of every model, written at its bar."""
    colours = [list(KINDS.values())[not kept] for kept in not_beaten(part, column)]
    bars = axes.barh(range(len(part)), part[column].astype(float), color=colours, height=0.6)
    axes.bar_label(bars, fmt=look.compact, padding=3, fontsize=8)
    axes.set(xlabel=label, yticks=(), ylim=(len(part) - 0.5, -0.5), xlim=(0, 1.25 * part[column].max()))
    axes.xaxis.set_major_formatter(lambda value, _: look.compact(value))
    axes.locator_params(axis="x", nbins=4)


def not_beaten(frame: pd.DataFrame, cost: str) -> list[bool]:
    """Per row, whether no other row is at least as good at both cost and test accuracy and better at one."""
    pairs = list(zip(frame[cost], frame["test_accuracy"], strict=True))
    return [not any(c <= cost_ and a >= accuracy and (c, a) != (cost_, accuracy) for c, a in pairs)
            for cost_, accuracy in pairs]  # fmt: skip


@look.style()
def cost_bars(frame: pd.DataFrame, costs: Mapping[str, str] = WHOLE, title: str = "") -> Figure:
    """What each model costs, a panel per quantity, each with its own axis (m_e8).

    Columns: model (one row each) and the keys of `costs`, column -> axis label.
    """
    look.need(frame, "model", *costs)
    fig, panels = look.panels(len(costs), 2.6, 0.7 + 0.28 * len(frame), title=title, sharey=True)
    for axes, (column, label), colour in zip(panels, costs.items(), look.colours(len(costs))):
        bars = axes.barh(range(len(frame)), frame[column].astype(float), color=colour, height=0.65)
        axes.bar_label(bars, fmt=look.compact, padding=3, fontsize=8)
        axes.xaxis.set_major_formatter(lambda value, _: look.compact(value))
        axes.margins(x=0.25)
        axes.set(xlabel=label, yticks=range(len(frame)), ylim=(len(frame) - 0.4, -0.6))
        axes.locator_params(axis="x", nbins=4)
    panels[0].set_yticklabels([look.english(name) for name in frame["model"]])
    return fig
