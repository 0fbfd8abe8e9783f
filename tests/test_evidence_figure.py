"""The picture of an explanation: any text can be drawn, and it shows what the frames say."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from rumorlib.figures import evidence
from rumorlib.results.saved.explained import PATCHES, WORDS, Explanation

HOSTILE = ["$x", "$\\frac{$", "a$b$c", "$$", "\\$", "\x00\x07\x1b[31m", "\u202egnp\u202c", "\u200b\u200d", "洪水淹没",
           "😀👩\u200d🚀", "עברית", "مرحبا", "e\u0301" * 40, "\ufffe", "\ue000", "<b>&amp;</b>", "{}%s\\n",
           "W" * 10_000, "_^_", "#"]  # fmt: skip


def made(words: list[str], shown: bool = True, sides: tuple[int, ...] = (2, 4)) -> Explanation:
    frame = pd.DataFrame([(w, 0, 1, (-1.0) ** i * (i + 1), 0.5) for i, w in enumerate(words)], columns=WORDS)
    rows = [("micc", "relevance", f"{96 // side} px", i, x, y, x + 96 / side, y + 96 / side, float(i), i == 0, 0.5)
            for side in sides for i in range(side * side)
            for x, y in [(96 / side * (i % side), 96 / side * (i // side))]]  # fmt: skip
    answer = pd.Series({"calibrated": 0.7, "unlike_training": True, "missing": ""})
    pixels = np.full((96, 96, 3), 200, np.uint8) if shown else None
    patches = pd.DataFrame(rows if shown else [], columns=PATCHES)
    return Explanation(answer, pd.DataFrame(), frame, 0.25 if shown else np.nan, 1.5, patches, {}, pixels, [])


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_can_be_drawn(text: str) -> None:
    """Warnings are errors here: none of a glyph that is missing, no mathematics, no error."""
    for kind in ("png", "svg", "pdf"):
        evidence.why(made([text, "word"]), title=text).savefig(io.BytesIO(), format=kind)


def test_it_shows_the_frames() -> None:
    fig = evidence.why(made(["a", "b$c", "d"]))
    whole, coarse, fine, bars = fig.axes
    assert [len(axes.images) for axes in (whole, coarse, fine)] == [1, 2, 2]
    assert len(coarse.patches) == len(fine.patches) == 1, "the patch that is kept"
    assert coarse.images[1].get_array().tolist() == [[0, 1], [2, 3]]
    assert [text.get_text() for text in bars.texts] == ["a", "b$c", "d", "[whole text]", "[picture]"]
    assert [bar.get_width() for bar in bars.patches] == [1, -2, 3, 1.5, 0.25]
    assert "0.700" in fig.get_suptitle() and "unlike the training posts" in fig.get_suptitle()
    many = evidence.why(made([f"w{i}" for i in range(40)], shown=False))
    assert [text.get_text() for text in many.axes[0].texts] == [f"w{i}" for i in range(28, 40)] + ["[whole text]"]


def test_an_answer_without_anything_is_drawn() -> None:
    nothing = made([], shown=False)
    object.__setattr__(nothing, "text_effect", np.nan)
    fig = evidence.why(nothing)
    fig.savefig(io.BytesIO())
    assert fig.axes[0].get_title() == "nothing to leave out"
