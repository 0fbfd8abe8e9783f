"""Probe posts: guessing is read as guessing, seeing as seeing; the mark is where the generator put it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from rumorlib import config, experiments, inputs
from rumorlib.config import resolve
from rumorlib.data.drawn_scenes import drawn
from rumorlib.data.drawn_scenes.claims import DrawnConfig
from rumorlib.encoders.vision import patch_boxes
from rumorlib.inputs import corpora
from rumorlib.results import Report
from rumorlib.studies.explanations import interventions, probes
from rumorlib.studies.scores import controls
from rumorlib.training import evidence

SETTINGS = config.resolve("demo")
SMALL = DrawnConfig(n_caption_scenes=10, n_train=20, n_dev=4, n_test=4, n_unseen=2, n_pairs=2, n_undetectable=4,
                    n_fingerprint=60)  # fmt: skip


class Stored(Report):
    """A report with predictions in memory."""

    def predictions(self) -> pd.DataFrame:
        return self.facts["predictions"].copy()


def stored(variant: str, right: float) -> Report:
    random = np.random.default_rng(len(variant))
    label = random.integers(0, 2, 300)
    hit = random.random(300) < right
    prob = np.where(hit, label, 1 - label).astype(float)
    frame = pd.DataFrame({"post_id": [f"{i}" for i in range(300)], "split": "undetectable", "label": label,
                          "prob_rumor": prob})  # fmt: skip
    return Stored(experiments.micc(SETTINGS, "demo-en", variant=variant), {}, Path(), {"predictions": frame})


def test_a_guesser_is_not_above_chance_and_a_seer_is() -> None:
    table = probes.undetectable([stored("guesser", 0.5), stored("seer", 0.7)]).set_index("model")
    assert table.loc["MICC, guesser", "reading"] == "not above .5"
    assert table.loc["MICC, seer", "reading"] == "above .5"
    assert ((table["low"] < table["accuracy"]) & (table["accuracy"] < table["high"])).all()


@pytest.fixture(scope="module")
def posed() -> interventions.ScenePosts:
    table, known = drawn.load("en", config=SMALL).posts, drawn.scenes_of(SMALL)
    part = table[table["split"] == "fingerprint"].reset_index(drop=True)
    return probes._marked(interventions.of_scenes(part, torch.arange(len(part)), [known[key] for key in part["image"]]))


def test_marked_posts_are_the_rumors_and_the_mark_avoids_the_claimed_object(posed: interventions.ScenePosts) -> None:
    assert 10 < len(posed.posts) < 50 and (posed.posts["label"] == 1).all()
    run = experiments.micc(SETTINGS, "demo-en")
    on = probes._on_the_mark(posed, run)
    assert (on[:, :36].sum(1) == 4).all() and (on[:, 36:].sum(1) == 1).all(), "a place is 2 x 2 fine patches, 1 coarse"
    role = interventions.roles(posed)
    places = np.array([[t.place for t in scene.objects] + [-1] * (role.shape[1] - len(scene.objects))
                       for scene in posed.scenes])  # fmt: skip
    marked = np.array([scene.fingerprint_place for scene in posed.scenes])
    assert not ((places == marked[:, None]) & (role == "evidence")).any()


def test_blind_choice_is_counted_exactly() -> None:
    run = experiments.micc(SETTINGS, "demo-en")

    class Model:
        class sclip:
            n_patches = (36, 9)

    marked = np.zeros((1, 45), bool)
    marked[0, [0, 1, 6, 7, 36]] = True
    random = np.random.default_rng(0)
    drawn_hits = [
        bool(np.isin(random.permutation(36)[:2], [0, 1, 6, 7]).any() or 0 in random.permutation(9)[:2])
        for _ in range(4000)
    ]
    assert probes._blind(marked, run, Model) == pytest.approx(np.mean(drawn_hits), abs=0.03)
    gamma = experiments.micc(SETTINGS, "demo-en", alignment="all_patches")
    assert probes._blind(marked, gamma, Model) == 1.0


def test_marked_train_posts_are_new_and_all_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "N_MARKED", 40)
    run = config.RunConfig("micc", "demo-en", train_on="marked")
    corpora._marked_corpus.cache_clear()
    usual, marked = (inputs.corpus_of(one, SETTINGS).posts for one in (replace(run, train_on="all"), run))
    corpora._marked_corpus.cache_clear()
    assert (marked["split"] == "train").sum() == (usual["split"] == "train").sum() + 40
    new = marked[marked["post_id"].str.startswith("fingerprint") & (marked["split"] == "train")]
    asked = marked[marked["split"] == "fingerprint"]
    assert len(new) == 40 and len(asked) == 300 and set(new["conflict"]) == {"fingerprint", "none"}
    assert not set(new["image"]) & set(asked["image"]) and new["label"].between(0, 1).all()
    ordinary = usual["split"].isin(["train", "dev", "test", "pairs", "undetectable"]).to_numpy()
    same = usual[ordinary].set_index("post_id")[["text", "label", "split"]]
    own = marked.set_index("post_id").loc[same.index, ["text", "label", "split"]]
    pd.testing.assert_frame_equal(own, same)


@pytest.mark.parametrize("changes", [{"dataset": "demo-boxes"}, {"dataset": "photo-en"}, {"n_train": 9}])
def test_marks_are_drawn_for_the_usual_corpora_alone(changes: dict) -> None:
    with pytest.raises(config.SettingError, match="marked"):
        config.RunConfig("micc", **({"dataset": "demo-en", "train_on": "marked"} | changes))


# --- What is asked of relevance on drawn scenes: pointing by factor, and abstention that knows  ---


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
