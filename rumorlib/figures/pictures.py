"""Figures that show scenes and maps: example posts, relevance per scale, attention over the epochs.

Arrays in, a matplotlib Figure out; nothing here reads or writes disk. Only drawn scenes may be shown: a real post's
image or words never stand in a figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from rumorlib.figures import look

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels, right and bottom edge excluded
SUPPORT, CONTRADICTING = "#56B4E9", "#E69F00"  # box colours; drawn solid and dashed
TOP = "#FFFFFF"  # boxes of the Top-K patches
_MAP = "viridis"
LEAST_REACH = np.log(1.1)  # a colour scale of attention goes at least from 1 / 1.1 to 1.1 times the even weight
EVEN = 0.02  # maps whose weights are all this near to even look empty, and are said to be even
FAINTEST = 0.05  # weight / even weight below which all is as faint


@look.style()
def example_posts(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    boxes: Sequence[Sequence[tuple[Box, str]] | None] | None = None,
    title: str = "",
) -> Figure:
    """Drawn scenes with the object that supports or contradicts the claim framed (c_fig1).

    Args:
        images: uint8 (H, W, 3).
        titles: English, one per scene; wrapped.
        boxes: per scene, pairs (box, SUPPORT or CONTRADICTING or another colour).
    Raises: ValueError: the lists differ in length, or hold Chinese.
    """
    boxes = [None] * len(images) if boxes is None else boxes
    _same_length(images=images, titles=titles, boxes=boxes)
    headings = [look.wrapped(text, 27) for text in titles]
    lines = max((heading.count("\n") + 1 for heading in headings), default=1)
    fig, panels = look.panels(len(images), 1.9, 2.0 + 0.14 * lines, columns=4, title=title)
    fig.get_layout_engine().set(h_pad=0.08)  # a heading of four lines keeps off the picture above it
    for axes, image, heading, drawn in zip(panels, images, headings, boxes):
        picture(axes, image)
        frame(axes, drawn or ())
        axes.set_title(heading, fontsize=8, parse_math=False)
    used = {colour for drawn in boxes for _, colour in drawn or ()}
    _legend(fig, used, {SUPPORT: "supports the claim", CONTRADICTING: "contradicts the claim"})
    return fig


@look.style()
def relevance_maps(
    images: Sequence[np.ndarray],
    relevance: Sequence[Sequence[np.ndarray]],
    top_boxes: Sequence[Sequence[Sequence[Box]]],
    titles: Sequence[str],
    truth_boxes: Sequence[Box | None] | None = None,
    scales: Sequence[str] | None = None,
    title: str = "",
    unit: str = "relevance",
    truth: str = "object of the claim",
    top: str = "Top-K patch",
) -> Figure:
    """Text-patch relevance r_s of MICC (§3.3) over each scene, per scale, with the Top-K patches (m_fig_relevance);
    or any other importance of patches, a column each (x_fig2).

    A row is a scene: in colour with its truth box, then in grey below the map of each scale. Colours mean the same
    within a column; scales have different ranges.

    Args:
        images: uint8 (H, W, 3).
        relevance: per scene, per scale (side, side), real; not finite: transparent.
        top_boxes: per scene, per scale, the boxes of the patches kept.
        titles: English, one per scene, left of its row.
        truth_boxes: per scene the box of the object the claim is about, or None.
        scales: heading per scale, e.g. "32 px".
        unit, truth, top: what the colours, the truth box and the boxes of patches are called.
    Raises: ValueError: the lists differ in length.
    """
    truth_boxes = [None] * len(images) if truth_boxes is None else truth_boxes
    _same_length(images=images, relevance=relevance, top_boxes=top_boxes, titles=titles, truth_boxes=truth_boxes)
    n_scales = max((len(maps) for maps in relevance), default=0)
    scales = [f"scale {s + 1}" for s in range(n_scales)] if scales is None else scales
    for maps, kept in zip(relevance, top_boxes):
        _same_length(scales=scales, relevance=maps, top_boxes=kept)
    fig, panels = look.panels(len(images) * (n_scales + 1), 1.75, 1.75, columns=n_scales + 1, title=title)
    fig.set_size_inches(fig.get_figwidth() + 1.5, fig.get_figheight() + 0.7)  # row texts; headings and colour bars
    rows = [panels[i * (n_scales + 1) : (i + 1) * (n_scales + 1)] for i in range(len(images))]
    for row, image, text, box in zip(rows, images, titles, truth_boxes):
        for axes in row:
            picture(axes, image if axes is row[0] else grey(image))
            frame(axes, [(box, SUPPORT)] if box is not None else ())
        row[0].set_ylabel(look.wrapped(text, 24), rotation=0, ha="right", va="center", fontsize=8)
    for s, heading in enumerate(scales):
        column = [row[s + 1] for row in rows]
        _relevance_column(column, [maps[s] for maps in relevance], [kept[s] for kept in top_boxes], unit)
        rows[0][s + 1].set_title(look.english(heading), parse_math=False)
    rows[0][0].set_title("scene")
    used = {TOP} | ({SUPPORT} if any(box is not None for box in truth_boxes) else set())
    _legend(fig, used, {SUPPORT: truth, TOP: top})
    return fig


@look.style()
def weight_parts(
    images: Sequence[np.ndarray],
    boxes: Sequence[Sequence[Box]],
    parts: Sequence[pd.DataFrame],
    titles: Sequence[str],
    title: str = "",
) -> Figure:
    """What made the weight of each kept patch (MICC Eqs 24, 25), a row per scene (x_fig1).

    Left the scene with its kept patches numbered; right, per patch, lambda w and (1 − lambda) rho, each minus its mean
    over the kept patches: together they are the logarithm of the weight against the geometric mean of the weights.

    Args:
        images: uint8 (H, W, 3).
        boxes: per scene, the boxes of the kept patches.
        parts: per scene, a row per kept patch in the order of its boxes: field_px, semantic, relevance, weight.
        titles: English, one per scene.
    Raises: ValueError: the lists differ in length.
    """
    _same_length(images=images, boxes=boxes, parts=parts, titles=titles)
    fig, panels = look.panels(2 * len(images), 2.9, 2.0, columns=2, title=title)
    reach = 1.6 * max(frame[["semantic", "relevance"]].abs().to_numpy().max() for frame in parts)
    for left, right, image, kept, part, text in zip(panels[::2], panels[1::2], images, boxes, parts, titles):
        picture(left, image)
        frame(left, [(box, TOP) for box in kept])
        smallest = min(x1 - x0 for x0, _, x1, _ in kept)
        for number, (x0, y0, x1, y1) in enumerate(kept, 1):  # a patch inside another keeps its own corner
            x, y, side = (x0 + 2, y0 + 9, "left") if x1 - x0 <= smallest else (x1 - 2, y1 - 3, "right")
            rim = [withStroke(linewidth=2, foreground="black")]
            left.text(x, y, str(number), color="white", fontsize=8, weight="bold", ha=side, path_effects=rim)
        left.set_ylabel(look.wrapped(text, 24), rotation=0, ha="right", va="center", fontsize=8)
        y = np.arange(len(part))
        for shift, column, colour in ((-0.18, "semantic", look.PALETTE[0]), (0.18, "relevance", look.PALETTE[1])):
            right.barh(y + shift, part[column], height=0.34, color=colour)
        for row, weight in enumerate(part["weight"]):
            right.text(reach, row, f"{weight:.2f}", ha="right", va="center", fontsize=8)
        right.axvline(0, color="0.4", lw=0.8)
        right.set(xlim=(-reach, reach), ylim=(len(part) - 0.4, -0.6))
        right.set_yticks(y, [f"{i}: {field} px" for i, field in enumerate(part["field_px"], 1)])
    panels[1].set_title("parts of the log weight · at the right the weight")
    names = ("semantic part, lambda w", "relevance part, (1 - lambda) rho")
    look.legend(fig, [Rectangle((0, 0), 1, 1, color=c, label=n) for c, n in zip(look.PALETTE, names)])
    return fig


@look.style()
def attention_heatmaps(
    maps: Mapping[str, Mapping[str, np.ndarray]], title: str = "", queries: str = "query", keys: str = "key"
) -> Figure:
    """Cross-modal attention over the epochs, a row per corpus (DMFL Figures 10 and 11: d_e6).

    Colour is the weight over that of even attention, 1 / n_keys, on one scale per corpus: texts differ in length, so
    weights of two corpora do not compare. A scale goes at least from 1 / 1.1 to 1.1: noise is not stretched into a
    pattern.

    Args:
        maps: corpus -> heading -> (n_queries, n_keys) weights in [0, 1]; n_keys is the same within a corpus.
        queries, keys: axis labels, e.g. "image patch".
    Raises: ValueError: the maps of a corpus differ in shape, or corpora in the number of maps.
    """
    for corpus, row in maps.items():
        shapes = {np.shape(weights) for weights in row.values()}
        if len(shapes) != 1 or any(len(shape) != 2 for shape in shapes):
            raise ValueError(f"{corpus}: attention maps must be of one shape (n_queries, n_keys), got {sorted(shapes)}")
    if len(widths := {len(row) for row in maps.values()}) > 1:
        raise ValueError(f"every corpus needs as many maps; got {sorted(widths)}")
    columns = widths.pop() if widths else 0
    fig, panels = look.panels(len(maps) * columns, 2.5, 2.3, columns=columns or 1, title=title)
    for place, (corpus, row) in enumerate(maps.items()):
        here = panels[place * columns : (place + 1) * columns]
        against_even = {heading: weights * np.shape(weights)[1] for heading, weights in row.items()}
        reach = max([LEAST_REACH, *(np.abs(np.log(np.maximum(v, FAINTEST))).max() for v in against_even.values())])
        for axes, (heading, values) in zip(here, against_even.items()):
            norm = LogNorm(np.exp(-reach), np.exp(reach))
            shown = axes.imshow(np.maximum(values, FAINTEST), cmap="RdBu_r", norm=norm, aspect="auto")
            axes.set_title(f"{look.english(corpus)}, {heading}", parse_math=False)
            if (apart := np.abs(np.log(np.maximum(values, FAINTEST))).max()) < EVEN:
                told = "even within 0.1 %" if apart < 0.001 else f"even within {100 * apart:.1f} %"
                axes.text(0.5, 0.5, told, transform=axes.transAxes, ha="center", va="center", color="0.35")
            for axis in (axes.xaxis, axes.yaxis):
                axis.get_major_locator().set_params(integer=True, nbins=6)
        bar = fig.colorbar(shown, ax=here, label="weight / even weight", pad=0.01)
        bar.set_ticks(ends := [np.exp(-reach), 1, np.exp(reach)], labels=[f"{end:.2g}" for end in ends])
        bar.ax.minorticks_off()
    fig.supxlabel(look.english(keys), fontsize=9)
    fig.supylabel(look.english(queries), fontsize=9)
    return fig


# --- pieces -------------------------------------------------------------------------------------


def _same_length(**lists: Sequence[Any]) -> None:
    if len({len(items) for items in lists.values()}) > 1:
        raise ValueError("lengths differ: " + ", ".join(f"{name} {len(items)}" for name, items in lists.items()))


def grey(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 luminance: below a coloured map only brightness can still be read."""
    luminance = (image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(luminance[:, :, None], 3, axis=2)


def picture(axes: Axes, image: np.ndarray) -> None:
    """An image (H, W, 3) uint8 without axes, in pixels."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0))  # so that pixel boxes lie on pixel edges
    axes.set(xticks=(), yticks=())
    for spine in axes.spines.values():
        spine.set_visible(False)


def frame(axes: Axes, boxes: Iterable[tuple[Box, str]], width: float = 1.8) -> None:
    """Boxes with a dark rim, so that they show on any ground."""
    for (x0, y0, x1, y1), colour in boxes:
        dash = (0, (3, 1.5)) if colour == CONTRADICTING else "-"
        patch = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=width, ls=dash, clip_on=False)
        patch.set_path_effects([withStroke(linewidth=width + 1.6, foreground="black")])
        axes.add_patch(patch)


def _relevance_column(
    column: list[Axes], maps: list[np.ndarray], top_boxes: Sequence[Sequence[Box]], unit: str
) -> None:
    """The maps of one scale, alike coloured, their kept patches and below them their colour bar."""
    finite = [np.where(np.isfinite(values), values, np.nan).astype(float) for values in maps]
    known = np.concatenate([values[np.isfinite(values)] for values in finite])
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    for axes, values, kept in zip(column, finite, top_boxes):
        extent = axes.images[0].get_extent()
        overlay = axes.imshow(values, extent=extent, cmap=_MAP, vmin=low, vmax=high, alpha=0.6)
        frame(axes, [(box, TOP) for box in kept])
    place = column[-1].inset_axes((0, -0.11, 1, 0.05))  # inside the bottom panel's bounds, so that rows stay level
    bar = axes.get_figure().colorbar(overlay, cax=place, orientation="horizontal", label=unit)
    bar.solids.set_alpha(1)
    bar.locator = MaxNLocator(3)


def _legend(fig: Figure, colours: set[str], names: Mapping[str, str]) -> None:
    handles = []
    for colour, name in names.items():
        if colour in colours:
            dash = (0, (3, 1.5)) if colour == CONTRADICTING else "-"
            rim = [withStroke(linewidth=3.4, foreground="black")]
            handles.append(Line2D([], [], color=colour, ls=dash, lw=1.8, label=name, path_effects=rim))
    look.legend(fig, handles)
