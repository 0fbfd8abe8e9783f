"""Drawn scenes: what stands where, and its pixels, in integer arithmetic.

A scene is data (`Scene`), its picture is `render(scene)`. The same scene gives the same bytes on
every machine, and changing one object re-renders the minimal counterfactual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

GRID = 3  # places per side: top/middle/bottom × left/centre/right
CELL_PX = 32
IMAGE_PX = GRID * CELL_PX
N_PLACES = GRID * GRID
SHAPES = ("ball", "wheel", "tent", "barrel", "lantern", "star")
COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan")
_RGB = np.array(
    [(215, 45, 45), (45, 165, 65), (50, 85, 220), (230, 210, 55), (150, 60, 190), (50, 200, 210)], dtype=np.int32
)
SMALL_PX, LARGE_PX = 14, 28


@dataclass(frozen=True)
class Object:
    """One thing in a scene: indices into SHAPES and COLOURS, its place 0..8 (row-major), its box in pixels."""

    shape: int
    colour: int
    place: int
    size_px: int
    x: int  # left edge in the image
    y: int
    edited: bool = False  # pasted in: a checkered seam runs round its box

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) in pixels, right and bottom edge excluded."""
        return self.x, self.y, self.x + self.size_px, self.y + self.size_px


@dataclass(frozen=True)
class Scene:
    """Objects on a textured ground."""

    objects: tuple[Object, ...]
    ground_seed: int
    overlay: bool = False  # a strip of overlaid lettering, unrelated to the claim
    fingerprint_place: int = -1  # place of a generator's fingerprint; -1: none


@cache
def _mask(shape: int, size: int) -> np.ndarray:
    """(size, size) bool silhouette of SHAPES[shape], drawn with integers only."""
    # Doubled, centred coordinates: pixel centres are odd integers, so no rounding decides a pixel.
    y, x = np.mgrid[1 - size : size : 2, 1 - size : size : 2]
    r = size
    radius2 = x * x + y * y
    silhouettes = {
        "ball": radius2 <= r * r,
        "wheel": (radius2 <= r * r) & (radius2 * 9 >= r * r * 3),
        "tent": 2 * np.abs(x) <= y + r,
        "barrel": (np.abs(x) * 10 <= r * 9) & (np.abs(y) * 10 <= r * 9),
        "lantern": np.abs(x) + np.abs(y) <= r,
        "star": (np.abs(x) * 3 <= r) | (np.abs(y) * 3 <= r),
    }
    return silhouettes[SHAPES[shape]]


def place_object(below: Callable[[int], int], shape: int, colour: int, place: int, small: bool) -> Object:
    """An object of the given kind somewhere inside its place: small ones in one quadrant, with a jitter of 1-2 px.

    Args: below: draws uniformly from 0..n-1 for the n it is given.
    """
    row, column = divmod(place, GRID)
    size = SMALL_PX if small else LARGE_PX
    room = (CELL_PX // 2 if small else CELL_PX) - size
    x, y = below(room + 1), below(room + 1)
    if small:
        x, y = x + CELL_PX // 2 * below(2), y + CELL_PX // 2 * below(2)
    return Object(shape, colour, place, size, column * CELL_PX + x, row * CELL_PX + y)


def changed(scene: Scene, number: int, **fields: int) -> Scene:
    """The scene with other fields of its object `number`; every other pixel stays as it is."""
    things = list(scene.objects)
    things[number] = replace(things[number], **fields)
    return replace(scene, objects=tuple(things))


def without(scene: Scene, *numbers: int) -> Scene:
    """The scene with the ground where some of its objects were. They shrink to nothing instead of going, so that the
    brightness of the others is drawn as before."""
    for number in numbers:
        scene = changed(scene, number, size_px=0)
    return scene


def boxed(scene: Scene) -> Scene:
    """The scene as true object boxes would show it: every object cut out by its box, as large as its place and in its
    middle. Patches of a place's size then hold one whole object each."""
    margin = (CELL_PX - LARGE_PX) // 2
    things = (
        replace(thing, size_px=LARGE_PX, x=thing.place % GRID * CELL_PX + margin,
                y=thing.place // GRID * CELL_PX + margin)
        for thing in scene.objects
    )  # fmt: skip
    return replace(scene, objects=tuple(things))


def render(scene: Scene) -> np.ndarray:
    """Pixels of a scene: uint8 (96, 96, 3), the same bytes on every machine."""
    return render_all([scene])[0]


def render_all(scenes: Sequence[Scene]) -> np.ndarray:
    """Pixels of many scenes: uint8 (n, 96, 96, 3)."""
    pictures = np.empty((len(scenes), IMAGE_PX, IMAGE_PX, 3), np.uint8)
    random = np.random.RandomState(0)  # a frozen stream, unlike numpy's Generator; made once, as seeding it is cheap
    for picture, scene in zip(pictures, scenes, strict=True):
        random.seed(scene.ground_seed)
        image = _paint(scene, random)
        np.clip(image, 0, 255, out=image)
        for channel in range(3):  # three times faster than transposing
            picture[..., channel] = image[channel]
    return pictures


def _paint(scene: Scene, random: np.random.RandomState) -> np.ndarray:
    """(3, 96, 96) int16: colour planes, because numpy is slow on an innermost axis of 3."""
    noise = np.frombuffer(random.bytes(IMAGE_PX * IMAGE_PX), dtype=np.uint8).reshape(IMAGE_PX, IMAGE_PX)
    grain = (noise >> 3).astype(np.int16) - 16  # -16..15
    ground = random.randint(70, 131, 3).astype(np.int16)
    stripe = (random.randint(0, 13) * ((np.arange(IMAGE_PX) // random.randint(4, 17)) % 2)).astype(np.int16)
    image = ground[:, None, None] + (grain + (stripe[:, None] if random.randint(2) else stripe[None, :]))
    for thing in scene.objects:
        _draw(image, thing, brightness=random.randint(205, 257), grain=grain)
    if scene.overlay:
        _draw_overlay(image, random)
    if scene.fingerprint_place >= 0:
        _draw_fingerprint(image, scene.fingerprint_place)
    return image


def _draw(image: np.ndarray, thing: Object, brightness: int, grain: np.ndarray) -> None:
    x0, y0, x1, y1 = thing.box
    colour = (_RGB[thing.colour] * brightness >> 8).astype(np.int16)
    paint = colour[:, None, None] + (grain[y0:y1, x0:x1] >> 1)
    window = image[:, y0:y1, x0:x1]
    np.copyto(window, paint, where=_mask(thing.shape, thing.size_px))
    if thing.edited:
        ys, xs = np.mgrid[y0:y1, x0:x1]
        seam = (ys == y0) | (ys == y1 - 1) | (xs == x0) | (xs == x1 - 1)
        np.copyto(window, np.where((xs + ys) % 2, 255, 0).astype(np.int16), where=seam)


def _draw_overlay(image: np.ndarray, random: np.random.RandomState) -> None:
    """A dark strip with light pixel lettering, as screenshots carry."""
    top, left, n_letters = random.randint(0, IMAGE_PX - 7), random.randint(0, 48), random.randint(6, 12)
    strip = image[:, top : top + 7, left : left + 4 * n_letters + 1]
    strip[:] = 30
    strip[:, 1:6, 1:][:, random.randint(0, 2, strip[0, 1:6, 1:].shape) == 1] = 235


def _draw_fingerprint(image: np.ndarray, place: int) -> None:
    """A faint checkerboard of one pixel over a whole place: a generator's fingerprint."""
    row, column = divmod(place, GRID)
    window = image[:, row * CELL_PX : (row + 1) * CELL_PX, column * CELL_PX : (column + 1) * CELL_PX]
    ys, xs = np.mgrid[0:CELL_PX, 0:CELL_PX]
    window += np.where((xs + ys) % 2, 14, -14).astype(np.int16)
