"""Pictures of explanations: every kept patch has its two bars and its number, every explanation its column."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rumorlib.figures import pictures
from rumorlib.studies.explanations import explained_scenes

pytest.importorskip("seaborn")
IMAGE = np.zeros((96, 96, 3), np.uint8)
BOXES = [(0, 0, 16, 16), (16, 16, 32, 32), (0, 0, 32, 32), (64, 64, 96, 96)]


def parts() -> pd.DataFrame:
    return pd.DataFrame({"field_px": [16, 16, 32, 32], "semantic": [0.2, -0.2, 0.1, -0.1],
                         "relevance": [0.05, 0.0, -0.05, 0.0], "weight": [0.4, 0.3, 0.2, 0.1]})  # fmt: skip


def test_every_kept_patch_has_two_bars_its_weight_and_its_number() -> None:
    fig = pictures.weight_parts([IMAGE] * 2, [BOXES] * 2, [parts()] * 2, ["one", "two"])
    scene, bars = fig.axes[0], fig.axes[1]
    assert {text.get_text() for text in scene.texts} == {"1", "2", "3", "4"}
    assert len({(text.get_position()) for text in scene.texts}) == 4, "no number hides another"
    widths = [patch.get_width() for patch in bars.patches]
    assert sorted(widths) == sorted([*parts()["semantic"], *parts()["relevance"]])
    assert [text.get_text() for text in bars.texts] == ["0.40", "0.30", "0.20", "0.10"]


def test_the_lists_belong_together() -> None:
    with pytest.raises(ValueError, match="lengths differ"):
        pictures.weight_parts([IMAGE], [BOXES] * 2, [parts()], ["one"])


def test_other_importances_are_called_by_their_name() -> None:
    maps = [[np.eye(6), np.ones((6, 6))]]
    names = {"unit": "importance", "truth": "largest effect", "top": "top patch"}
    fig = pictures.relevance_maps([IMAGE], maps, [[[], []]], ["a"], [(0, 0, 9, 9)], ["IG", "Grad-CAM"], **names)
    labels = [text.get_text() for text in fig.legends[0].get_texts()]
    assert labels == ["largest effect", "top patch"]
    assert {axes.get_title() for axes in fig.axes} >= {"scene", "IG", "Grad-CAM"}


def test_a_title_says_where_nothing_in_the_picture_is_what_the_text_names() -> None:
    posts = pd.DataFrame({"label": [1, 1, 0], "conflict": ["colour", "colour", "none"], "text": "a blue star",
                          "near_miss": [False, True, False]})  # fmt: skip
    shown = SimpleNamespace(posed=SimpleNamespace(posts=posts))
    assert [explained_scenes.title(shown, i) for i in range(3)] == [
        "rumor (colour; not in the picture): a blue star", "rumor (colour): a blue star",
        "non-rumor (none): a blue star",
    ]  # fmt: skip
