"""What is asked of relevance on drawn scenes: pointing by factor, and abstention that knows which posts it compares."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rumorlib import experiments
from rumorlib.config import resolve
from rumorlib.encoders.vision import patch_boxes
from rumorlib.studies.scores import controls
from rumorlib.training import evidence

CONFIG = experiments.micc(resolve("demo", ["demo-en"]), "demo-en")
FIELDS = CONFIG.stage1.sclip.vision.receptive_fields
BOXES = [box.numpy() for box in patch_boxes(CONFIG.stage1.sclip.vision)]
SUPPORT = [f"support_{edge}" for edge in ("x0", "y0", "x1", "y1")]


@pytest.fixture
def posts() -> pd.DataFrame:
    """80 dev posts: half match; of the rumors half contradict the picture, half are edited."""
    rows = [
        {"split": "dev", "label": i % 2, "conflict": "none" if i % 2 == 0 else ("colour", "edited")[i // 2 % 2],
         "clutter": 3 + i // 4 % 2, "evidence_px": (14, 28)[i // 8 % 2]} for i in range(80)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    boxes = BOXES[1][np.arange(80) % len(BOXES[1])]
    frame[SUPPORT] = np.where(frame[["label"]] == 0, boxes, -1)
    return pd.concat([frame, frame.assign(split="test")], ignore_index=True)


def ask(what: str, posts: pd.DataFrame, highest: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """`evidence.<what>` of a model whose relevance is `highest` (of every post) on the claimed object, else lower."""

    def relevance(_model, _tensors, chosen: pd.Series) -> list[np.ndarray]:
        made = []
        for boxes in BOXES:
            centre = (boxes[:, :2] + boxes[:, 2:]) / 2
            support = posts[SUPPORT].to_numpy()[:, None]
            inside = ((centre > support[..., :2]) & (centre < support[..., 2:])).all(2)
            scores = np.where(inside | (posts[["label"]].to_numpy() == 1), highest[:, None], -1)
            made.append(scores[chosen.to_numpy()])
        return made

    monkeypatch.setattr(evidence, "_relevance", relevance)
    return getattr(evidence, what)(None, None, posts, CONFIG, "fine-tuned")


def test_abstention_compares_each_conflict_with_the_matching_posts(posts, monkeypatch) -> None:
    """Low where the picture contradicts the text in crowded scenes; edited pictures and clutter 3 tell nothing."""
    told = posts["conflict"].eq("colour") & posts["clutter"].eq(4)
    frame = ask("abstention", posts, np.where(told, -0.5, 0.5), monkeypatch)
    assert set(frame["scale"]) == {str(field) for field in FIELDS} and set(frame["stage"]) == {"fine-tuned"}
    auc = frame.groupby(["conflict", "factor", "level"])[["n", "auc"]].mean()
    assert auc.loc[("colour", "all", "")].tolist() == [20, 0.75]
    assert auc.loc[("edited", "all", "")].tolist() == [20, 0.5]
    by = auc.loc["text against image"]
    assert by.loc[("clutter", "4"), "auc"] == 1 and by.loc[("clutter", "3"), "auc"] == 0.5
    assert by.loc["clutter", "n"].sum() == by.loc["evidence_px", "n"].sum() == 20
    assert by.loc[("evidence_px", "14"), "auc"] == by.loc[("evidence_px", "28"), "auc"] == 0.75


def test_a_level_without_rumors_or_without_matches_is_left_out(posts, monkeypatch) -> None:
    posts.loc[posts["label"] == 1, "evidence_px"] = 0
    frame = ask("abstention", posts, np.zeros(len(posts)), monkeypatch)
    assert set(frame["factor"]) == {"all", "clutter"} and frame["auc"].eq(0.5).all()


def test_pointing_is_of_matching_dev_posts_and_by_factor(posts, monkeypatch) -> None:
    seen = posts["evidence_px"].eq(28)
    frame = ask("pointing", posts, np.where(seen, 0.5, -2), monkeypatch)
    whole = frame[frame["factor"] == "evidence_px"].query("scale == 'pooled'").set_index("level")
    assert whole.loc["28", "pointing"] == 1 and whole.loc["14", "pointing"] == 0
    assert frame.query("factor == 'all' and scale == '32'")["n_reachable"].item() == 40


def test_runs_of_earlier_versions_have_their_conflicts_in_the_table() -> None:
    old = pd.DataFrame({"stage": ["fine-tuned"], "conflict": ["colour"], "scale": [16], "n": [9], "auc": [0.7]})
    run = SimpleNamespace(config=CONFIG, name=CONFIG.name, hashes={"extras/abstention.csv": ""}, extra=lambda _: old)
    row = controls.abstention_table([run]).iloc[0]
    assert (row["factor"], row["level"], row["auc"]) == ("all", "", 0.7)
