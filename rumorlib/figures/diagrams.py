"""The papers' framework figures, drawn from what a model's parts did in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rumorlib.figures import look

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def diagram(frame: pd.DataFrame, title: str) -> Figure:
    """`architecture.flow` as boxes from top to bottom, one per part, a column for each branch."""
    branches = frame["part"].str.partition(".")[0]
    names = list(dict.fromkeys(branches))
    with look.style():
        figure, (axes,) = look.panels(1, 9, 0.42 * len(frame) + 0.6, title=title)
        for row, (line, branch) in enumerate(zip(frame.itertuples(), branches, strict=True)):
            x = names.index(branch) / max(1, len(names) - 1)
            colour = look.PALETTE[names.index(branch) % len(look.PALETTE)]
            box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": colour}
            axes.text(x, -row, f"{line.part}: {line.gives}", ha="center", va="center", fontsize=7, bbox=box)
            if row:
                before = names.index(branches[row - 1]) / max(1, len(names) - 1)
                axes.annotate("", (x, -row + 0.3), (before, -row + 0.7), arrowprops={"arrowstyle": "->", "lw": 0.5})
        axes.set(xlim=(-0.15, 1.15), ylim=(-len(frame) + 0.4, 0.6))
        axes.axis("off")
    return figure
