"""Drawn scenes: the same bytes for the same scene, and a change of one object stays inside its box."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from rumorlib.data.drawn_scenes import scenes
from rumorlib.data.drawn_scenes.claims import DrawnConfig, Painter
from rumorlib.data.drawn_scenes.scenes import CELL_PX, COLOURS, GRID, IMAGE_PX, SHAPES, Object, Scene


@pytest.fixture(scope="module")
def drawn() -> list[Scene]:
    """Scenes of every kind the corpora show."""
    painter = Painter(DrawnConfig(overlay_share=0.5, edited_share=0.3), "scene tests")
    return [painter.post()[1] for _ in range(200)]


def outside(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """(96, 96) bool: pixels in none of the boxes."""
    mask = np.ones((IMAGE_PX, IMAGE_PX), bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = False
    return mask


def test_the_same_scene_gives_the_same_bytes(drawn):
    pictures = scenes.render_all(drawn)
    assert pictures.dtype == np.uint8 and pictures.shape == (len(drawn), IMAGE_PX, IMAGE_PX, 3)
    np.testing.assert_array_equal(pictures, scenes.render_all(drawn))
    for scene, picture in zip(drawn[::40], pictures[::40], strict=True):  # whatever was drawn before it
        np.testing.assert_array_equal(scenes.render(scene), picture)


def test_the_ground_depends_on_its_seed_alone(drawn):
    scene = drawn[0]
    one, other = (scenes.render(dataclasses.replace(scene, objects=(), ground_seed=seed)) for seed in (1, 2))
    assert (one != other).mean() > 0.5


def test_no_scenes_give_no_pictures():
    assert scenes.render_all([]).shape == (0, IMAGE_PX, IMAGE_PX, 3)


def test_boxes_lie_inside_their_places(drawn):
    for thing in (thing for scene in drawn for thing in scene.objects):
        x0, y0, x1, y1 = thing.box
        row, column = divmod(thing.place, GRID)
        assert column * CELL_PX <= x0 < x1 <= (column + 1) * CELL_PX
        assert row * CELL_PX <= y0 < y1 <= (row + 1) * CELL_PX
        assert x1 - x0 == y1 - y0 == thing.size_px in (scenes.SMALL_PX, scenes.LARGE_PX)


def test_one_object_to_a_place(drawn):
    assert all(len({thing.place for thing in scene.objects}) == len(scene.objects) for scene in drawn)


def test_small_objects_stay_inside_one_quadrant():
    painter = Painter(DrawnConfig(), "quadrants")
    things = [scenes.place_object(painter.below, 0, 0, place % 9, small=True) for place in range(200)]
    half = CELL_PX // 2
    assert all(t.x // half == (t.x + t.size_px - 1) // half for t in things)
    assert len({(t.x % CELL_PX // half, t.y % CELL_PX // half) for t in things}) == 4


@pytest.mark.parametrize("change", ["shape", "colour", "place", "edited", "gone"])
def test_changing_one_object_changes_pixels_in_its_two_boxes_only(drawn, change):
    """The minimal counterfactual; the ground, the other objects and their brightness keep their draws."""
    n_changed = 0
    for scene in (scene for scene in drawn if not scene.overlay):
        before = scene.objects[-1]  # the last: taking it away leaves the others' brightness draws in order
        free = next(place for place in range(9) if place not in {t.place for t in scene.objects})
        row, column = divmod(free, GRID)
        after = {
            "shape": [dataclasses.replace(before, shape=(before.shape + 1) % len(SHAPES))],
            "colour": [dataclasses.replace(before, colour=(before.colour + 1) % len(COLOURS))],
            "place": [dataclasses.replace(before, place=free, x=column * CELL_PX + 2, y=row * CELL_PX + 2)],
            "edited": [dataclasses.replace(before, edited=not before.edited)],
            "gone": [],
        }[change]
        changed = dataclasses.replace(scene, objects=(*scene.objects[:-1], *after))
        differs = (scenes.render(scene) != scenes.render(changed)).any(-1)
        assert not differs[outside(*(t.box for t in (before, *after)))].any()
        n_changed += differs.any()
    assert n_changed > 50


def test_a_change_in_the_middle_keeps_the_other_objects_bytes(drawn):
    scene = next(s for s in drawn if len(s.objects) > 3 and s.overlay)
    things = list(scene.objects)
    things[1] = dataclasses.replace(things[1], shape=(things[1].shape + 2) % 6, colour=(things[1].colour + 2) % 6)
    differs = scenes.render(scene) != scenes.render(dataclasses.replace(scene, objects=tuple(things)))
    assert differs.any() and not differs[outside(things[1].box)].any()


def test_without_an_object_the_ground_is_there_and_nothing_else_changes(drawn):
    for scene in drawn[:50]:
        picture = scenes.render(scene)
        for number, thing in enumerate(scene.objects):
            differs = (scenes.render(scenes.without(scene, number)) != picture).any(-1)
            assert differs.any() and not differs[outside(thing.box)].any()
        ground = scenes.render(scenes.without(scene, *range(len(scene.objects))))
        assert (ground == scenes.render(dataclasses.replace(scene, objects=()))).all() or scene.overlay


def test_an_object_shows_its_colour_in_its_shape():
    wrong = []
    for shape, colour in itertools.product(range(len(SHAPES)), range(len(COLOURS))):
        thing = Object(shape, colour, 4, scenes.LARGE_PX, 34, 34)
        with_it, without = (scenes.render(Scene(objects, ground_seed=5)) for objects in ((thing,), ()))
        silhouette = (with_it != without).any(-1)
        distance = np.abs(scenes._RGB * 0.9 - with_it[silhouette].mean(0)).sum(1)  # brightness is .8 to 1
        filled = 0.4 < silhouette.sum() / thing.size_px**2 < 0.95
        wrong += [f"{COLOURS[colour]} {SHAPES[shape]}"] * int(not filled or distance.argmin() != colour)
    assert not wrong, wrong


def test_shapes_differ_at_both_sizes():
    for size in (scenes.SMALL_PX, scenes.LARGE_PX):
        things = [Object(shape, 0, 0, size, 0, 0) for shape in range(len(SHAPES))]
        assert len({scenes.render(Scene((thing,), 1)).tobytes() for thing in things}) == len(SHAPES)


def test_a_fingerprint_is_faint_and_fills_its_place():
    scene = Scene((Object(0, 0, 0, 28, 2, 2),), ground_seed=7)
    plain, marked = (
        scenes.render(dataclasses.replace(scene, fingerprint_place=place)).astype(int) for place in (-1, 5)
    )
    differs = (marked != plain).any(-1)
    assert differs[32:64, 64:96].all() and not differs[outside((64, 32, 96, 64))].any()
    assert set(np.unique(np.abs(marked - plain))) == {0, 14}


def test_overlay_is_a_strip_and_a_seam_frames_its_box():
    scene = Scene((Object(0, 0, 4, 28, 34, 34, edited=True),), ground_seed=7)
    rows = (scenes.render(scene) != scenes.render(dataclasses.replace(scene, overlay=True))).any(-1).any(-1)
    assert 0 < rows.sum() <= 7
    frame = scenes.render(scene)[34, 34:62]
    assert set(np.unique(frame)) == {0, 255} and (np.diff(frame[:, 0].astype(int)) != 0).all()


def test_boxed_scenes_show_the_same_things_whole_and_in_the_middle_of_their_places(drawn):
    for scene in drawn[:20]:
        shown = scenes.boxed(scene)
        assert [(t.shape, t.colour, t.place, t.edited) for t in shown.objects] == [
            (t.shape, t.colour, t.place, t.edited) for t in scene.objects
        ]
        for thing in shown.objects:
            x0, y0, x1, _ = thing.box
            assert x1 - x0 == scenes.LARGE_PX and x0 % scenes.CELL_PX == scenes.CELL_PX - x1 % scenes.CELL_PX
            assert (y0 // scenes.CELL_PX) * scenes.GRID + x0 // scenes.CELL_PX == thing.place
        assert scenes.boxed(shown) == shown and dataclasses.replace(shown, objects=scene.objects) == scene
