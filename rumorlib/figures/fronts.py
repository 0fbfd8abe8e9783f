"""The figure of cost against accuracy (l_fig1): which models are worth their price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rumorlib.figures import look

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COSTS = {"n_macs": "multiply-adds per post", "stored_mib": "MiB on disk", "packed_mib": "MiB on disk, deflated"}


@look.style()
def front(frame: pd.DataFrame, costs: Mapping[str, str] = COSTS, title: str = "") -> Figure:
    """Test accuracy over each cost, a row of panels per corpus and input of the classifier, a point per model.

    Models of equal cost stand side by side, a sixtieth of the axis apart. The dashed line is the whole model, the first
    row; whiskers: the 95 % interval of the difference from it. The grey step: no other model beats these at both.

    Columns: dataset, classifier_input, model, test_accuracy, loss_low, loss_high and the keys of `costs`.
    """
    look.need(frame, "dataset", "classifier_input", "model", "test_accuracy", "loss_low", "loss_high", *costs)
    groups = list(frame.groupby(["dataset", "classifier_input"], sort=False))
    fig, panels = look.panels(len(groups) * len(costs), 2.9, 2.6, columns=len(costs), title=title, sharey="row")
    models = look.in_order(frame, "model")
    places = iter(panels)
    for (dataset, how), part in groups:
        whole = part["test_accuracy"].iloc[0]
        for column, label in costs.items():
            axes = next(places)
            axes.axhline(whole, color="0.6", ls="--", lw=1)
            apart = side_by_side(part[column], 1.1 * part[column].max() / 60)
            best = part[not_beaten(part, column)].sort_values(column)
            axes.step(best[column], best["test_accuracy"], where="post", color="0.75", zorder=1)
            for row in part.itertuples():
                i = models.index(row.model)
                colour, marker = look.colours(len(models))[i], look.MARKERS[i % 7]
                value = apart[row.Index]
                axes.vlines(value, whole - row.loss_high, whole - row.loss_low, color=colour, lw=1)
                axes.plot(value, row.test_accuracy, marker, color=colour)
            axes.set(title=f"{look.english(dataset)}, input {how}", xlabel=label, xlim=(0, 1.1 * part[column].max()))
            axes.xaxis.set_major_formatter(lambda value, _: look.compact(value))
        panels[0].set_ylabel("test accuracy")
    marks = look.handles(models)
    for mark in marks:
        mark.set_linestyle("none")
    look.legend(fig, marks)
    return fig


def side_by_side(costs: pd.Series, step: float) -> dict[Any, float]:
    """Index -> place on the axis: costs equal to a thousandth are spread around their mean, `step` apart."""
    places: dict[Any, float] = {}
    tie = (costs.sort_values(kind="stable").pct_change().abs() > 1e-3).cumsum()
    for _, equal in costs.groupby(tie.reindex(costs.index)):
        for place, index in enumerate(equal.index):
            places[index] = equal.mean() + step * (place - (len(equal) - 1) / 2)
    return places


def not_beaten(frame: pd.DataFrame, cost: str) -> list[bool]:
    """Per row, whether no other row is at least as good at both cost and test accuracy and better at one."""
    pairs = list(zip(frame[cost], frame["test_accuracy"], strict=True))
    return [not any(c <= cost_ and a >= accuracy and (c, a) != (cost_, accuracy) for c, a in pairs)
            for cost_, accuracy in pairs]  # fmt: skip
