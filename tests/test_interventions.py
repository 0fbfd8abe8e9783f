"""Exact effects: one object or one word changes and nothing else; effects of a known model are what they must be."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from rumorlib.data.drawn_scenes import drawn, scenes
from rumorlib.data.drawn_scenes.claims import DrawnConfig
from rumorlib.data.posts import Corpus
from rumorlib.encoders.vocabulary import Vocabulary
from rumorlib.figures import pictures
from rumorlib.studies.explanations import explained_scenes, interventions

SMALL = DrawnConfig(n_caption_scenes=10, n_train=20, n_dev=30, n_test=4, n_unseen=2, n_pairs=2, n_undetectable=4,
                    n_fingerprint=4)  # fmt: skip


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return drawn.load("en", config=SMALL)


@pytest.fixture(scope="module")
def posed(corpus: Corpus) -> interventions.ScenePosts:
    known, part = drawn.scenes_of(SMALL), corpus.posts[corpus.posts["split"] == "dev"].reset_index(drop=True)
    return interventions.of_scenes(part, torch.arange(len(part)), [known[key] for key in part["image"]])


def blueness(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """A detector that counts pixels which are clearly blue."""
    red, green, blue = images.int().unbind(1)
    return ((blue > red + 60) & (blue > green + 60)).flatten(1).sum(1).float()


def test_the_effect_of_an_object_is_what_the_model_sees_of_it(posed: interventions.ScenePosts) -> None:
    effects = interventions.object_effects(blueness, posed)
    colours = [[scenes.COLOURS[t.colour] for t in scene.objects] for scene in posed.scenes]
    for row, present, shown in zip(effects, posed.present, colours, strict=True):
        assert np.isnan(row[~present]).all() and present.sum() == len(shown)
        for effect, colour in zip(row, shown):
            assert (effect > 50) == (colour == "blue"), f"{effect} blue pixels of a {colour} object"


def test_effects_add_up_where_the_model_is_a_sum(posed: interventions.ScenePosts) -> None:
    everyone = torch.arange(len(posed.posts))
    whole = blueness(posed.images, everyone) - blueness(posed.ground, everyone)
    np.testing.assert_allclose(np.nansum(interventions.object_effects(blueness, posed), axis=1), whole.numpy())


def test_encoded_pictures_have_the_same_effects(posed: interventions.ScenePosts) -> None:
    encoded = posed.encoded(lambda images: blueness(images, images)[:, None])
    np.testing.assert_allclose(
        interventions.object_effects(lambda tokens, _: tokens[:, 0], encoded),
        interventions.object_effects(blueness, posed),
    )


def test_touching_is_overlap_of_more_than_an_edge() -> None:
    boxes = np.array([[[0, 0, 16, 16], [14, 14, 30, 30], [-1, -1, -1, -1]]])
    patches = np.array([[0, 0, 16, 16], [16, 0, 32, 16], [16, 16, 32, 32]])
    expected = [[[True, False, False], [True, True, True], [False, False, False]]]
    assert interventions.touches(boxes, patches).tolist() == expected


def test_every_object_has_one_role_and_evidence_is_where_the_truth_boxes_are(posed: interventions.ScenePosts) -> None:
    roles = interventions.roles(posed)
    assert ((roles != "") == posed.present).all()
    for role, boxes, post in zip(roles, posed.boxes, posed.posts.to_dict("records"), strict=True):
        for kind in ("support", "against"):
            truth = [post[f"{kind}_{edge}"] for edge in ("x0", "y0", "x1", "y1")]
            if truth[0] >= 0:
                assert role[(boxes == truth).all(1)].tolist() == ["evidence"]
    assert {"evidence", "other"} < set(roles.ravel())


def test_deleted_patches_show_the_ground_and_the_others_the_picture(posed: interventions.ScenePosts) -> None:
    chosen = np.zeros((len(posed.posts), 9), bool)
    chosen[:, 4] = True
    made = interventions.shown_without(posed, chosen, side=3)
    assert torch.equal(made[:, :, 32:64, 32:64], posed.ground[:, :, 32:64, 32:64])
    inside = torch.zeros(96, 96, dtype=torch.bool)
    inside[32:64, 32:64] = True
    assert torch.equal(made[:, :, ~inside], posed.images[:, :, ~inside])
    assert torch.equal(interventions.shown_without(posed, np.ones((len(chosen), 36), bool), 6), posed.ground)


def test_real_posts_cannot_be_rendered_anew(corpus: Corpus) -> None:
    other = Corpus("twitter", corpus.posts, corpus.images, "")
    with pytest.raises(ValueError, match="only drawn scenes"):
        interventions.scene_posts(other)


# --- words ----------------------------------------------------------------------------------------


@pytest.fixture
def reworded(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> interventions.WordPosts:
    made = drawn.worded("en", SMALL)
    monkeypatch.setattr(drawn, "worded", lambda *_: made)
    return interventions.word_posts(corpus, "en")


def test_a_changed_text_differs_in_one_content_word(reworded: interventions.WordPosts) -> None:
    vocabulary = Vocabulary.build([*reworded.texts, *reworded.changed], "word")
    ids, _ = vocabulary.encode([*reworded.texts, *reworded.changed], 32, cls=True)
    n = len(reworded.texts)
    positions = interventions.word_positions(ids[:n], ids[n:], reworded)
    assert (positions.sum(1) <= 1).all(), "no position belongs to two words"
    sizes = dict(zip(interventions.WORDS, positions.sum(2).T, strict=True))
    assert all((size == (2 if word == "place" else 1)).all() for word, size in sizes.items())
    assert len(reworded.changed) == n * (5 + 5 + 8 + 3 + 7)


def test_the_effect_of_a_word_is_the_mean_over_its_alternatives(reworded: interventions.WordPosts) -> None:
    """A model that asks for one word only is moved by that word only."""
    red = [float("red" in text) for text in reworded.texts], [float("red" in text) for text in reworded.changed]
    effects = interventions.word_effects(torch.tensor(red[0]), torch.tensor(red[1]), reworded)
    colour = interventions.WORDS.index("colour")
    others = np.delete(effects, colour, axis=1)
    assert (others == 0).all()
    np.testing.assert_allclose(effects[:, colour], np.where(np.array(red[0]) == 1, 1.0, 1 / 5), rtol=1e-6)


# --- Pictures of explanations: every kept patch has its two bars and its number, every explanation its column.


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
