"""One picture of why a detector answered so: the post's picture with its maps, and the words that move the answer.

The one figure that shows words and pictures of real posts, in any script: it is made for whoever holds the post, and
none is committed.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from rumorlib.figures import look, pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rumorlib.results.saved.explained import Explanation

MOST_BARS, MOST_LETTERS, MOST_MAPS = 12, 24, 6
HAN_FONTS = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
             "Microsoft YaHei", "SimHei", "PingFang SC", "Heiti SC", "Hiragino Sans GB", "Noto Sans CJK JP",
             "Droid Sans Fallback", "Arial Unicode MS")  # fmt: skip


@look.style()
def why(explained: Explanation, title: str = "") -> Figure:
    """The picture as it is read, a panel per map over it (white: patches kept), and bars of the words and the picture
    that move the answer most, in the order of the text. Any text can be drawn: signs that no font here has are boxes.
    """
    maps = list(explained.patches.groupby(["model", "map", "scale"], sort=False))[:MOST_MAPS]
    shown = explained.pixels is not None
    bars = _bars(explained)
    height = max(1.9, 0.6 + 0.22 * len(bars))
    fig, panels = look.panels(shown + len(maps) + 1, 2.2, height, columns=4)
    said = explained.answer
    head = "no answer" if said.isna()["calibrated"] else f"{said['calibrated']:.3f} that label 1 holds"
    far = "; unlike the training posts" if said["unlike_training"] else ""
    fig.suptitle("\n".join(filter(None, [drawable(title, 80), head + far])), parse_math=False)
    fig.set_figheight(fig.get_figheight() + 0.5)
    if shown:
        _show(panels[0], explained.pixels, "as it is read")
    for axes, ((model, name, scale), patches) in zip(panels[1:], maps):
        _show(axes, pictures.grey(explained.pixels), f"{name}, {scale} ({model})")
        side = round(len(patches) ** 0.5)
        values = patches.sort_values("patch")["value"].to_numpy(float).reshape(side, side)
        axes.imshow(values, extent=axes.images[0].get_extent(), cmap="viridis", alpha=0.55)
        boxes = patches.loc[patches["kept"].astype(bool), ["x0", "y0", "x1", "y1"]].to_numpy()
        pictures.frame(axes, [(tuple(box), pictures.TOP) for box in boxes])
    _draw_bars(panels[-1], bars)
    return fig


def _show(axes: Axes, pixels: np.ndarray, heading: str) -> None:
    pictures.picture(axes, pixels)
    axes.set_title(heading, fontsize=8, parse_math=False)


def _bars(explained: Explanation) -> list[tuple[str, float]]:
    """Labels and effects, words of the text first."""
    words = explained.words
    chosen = words.loc[words["effect"].astype(float).abs().nlargest(MOST_BARS).index.sort_values()]
    found = [(_label(row, word), float(effect)) for row, word, effect in chosen[["word", "effect"]].itertuples()]
    whole = [("[whole text]", explained.text_effect), ("[picture]", explained.picture_effect)]
    return found + [(name, value) for name, value in whole if np.isfinite(value)]


def _label(row: int, word: str) -> str:
    drawn = drawable(word, MOST_LETTERS)
    return drawn if set(drawn) - set("□·…") else f"word {row + 1}"


def _draw_bars(axes: Axes, bars: list[tuple[str, float]]) -> None:
    place, effect = np.arange(len(bars)), np.array([value for _, value in bars])
    axes.barh(place, effect, color=[look.PALETTE[1] if value > 0 else look.PALETTE[0] for value in effect], height=0.7)
    axes.axvline(0, color="0.4", lw=0.8)
    for row, (label, _) in enumerate(bars):
        axes.text(-0.03, row, label, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8,
                  parse_math=False, fontfamily=_families())  # fmt: skip
    axes.set(yticks=[], ylim=(len(bars) - 0.4, -0.6))
    axes.set_title("log-odds with it − without" if bars else "nothing to leave out", fontsize=8)
    axes.locator_params(axis="x", nbins=4)


# --- any text --------------------------------------------------------------------------------------


def drawable(text: Any, most: int) -> str:
    """At most `most` characters that can be drawn: control, bidi and zero-width ones are dots, unknown ones boxes."""
    letters = [_letter(c) for c in str(text)[: most + 1]]
    return "".join([*letters[:most], "…"] if len(letters) > most else letters)


def _letter(c: str) -> str:
    if unicodedata.category(c)[0] in "CZ":
        return " " if c in " \n\t" else "·"
    return c if any(ord(c) in known for known in _known()) else "□"


def _families() -> list[str]:
    return ["DejaVu Sans", *_han_font()]


@cache
def _han_font() -> tuple[str, ...]:
    from matplotlib import font_manager

    there = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in HAN_FONTS if name in there)[:1]


@cache
def _known() -> tuple[frozenset[int], ...]:
    """Code points of each font that is drawn with."""
    from matplotlib import font_manager

    places = [font_manager.findfont(name) for name in _families()]
    return tuple(frozenset(font_manager.get_font(place).get_charmap()) for place in places)
