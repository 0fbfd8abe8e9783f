"""Claims and the scenes that bear them out or contradict them: the random part of the drawn corpora.

The claim is drawn first and the picture is made to fit or to contradict it by a change that is uniform over
values, so neither modality alone tells the label beyond `drawn.bayes_bounds`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from dataclasses import dataclass

import numpy as np

from rumorlib.data.drawn_scenes import scenes, wordings
from rumorlib.data.drawn_scenes.scenes import COLOURS, N_PLACES, SHAPES, Object, Scene

TEXT_IMAGE_CONFLICTS = ("object", "colour", "place")


@dataclass(frozen=True)
class DrawnConfig:
    """Every knob of the corpus; the defaults were fixed before any model was run on it."""

    seed: int = 0
    n_caption_scenes: int = 6000  # stage 1, plus a tenth of them as dev
    captions_per_scene: int = 4
    n_train: int = 3000
    n_dev: int = 800
    n_test: int = 1200
    n_unseen: int = 400  # colour × shape pairs absent from train and captions
    n_pairs: int = 300  # minimal pairs: half change one word, half one object
    n_undetectable: int = 300  # consistent but false, no cue: nobody may exceed .5
    n_fingerprint: int = 300  # consistent but false, betrayed by a fingerprint away from the claimed object
    n_events: int = 8
    clutter: tuple[int, int] = (3, 6)  # objects per scene, both included
    small_share: float = 0.5  # objects of 14 px, the others 28 px
    overlay_share: float = 0.15
    count_share: float = 0.15  # claims about a number instead of a place
    far_share: float = 0.25  # of text-image conflicts: object, colour and place all wrong
    implausible_share: float = 0.10  # of rumors
    edited_share: float = 0.10  # of rumors
    shortcut: float = 0.10  # q: share of rumors with an alarm wording, which no true post has
    label_noise: float = 0.0
    leak_rate: float = 0.0  # share of dev and test posts whose picture is a train picture


@dataclass(frozen=True)
class Claim:
    """What a post says of its picture: a kind of object, its place or number, what it does."""

    shape: int
    colour: int
    place: int  # -1: a claim about a count
    count: int
    verb: int


class Painter:
    """Draws claims, scenes and posts from one frozen random stream."""

    def __init__(self, config: DrawnConfig, stream: str) -> None:
        digest = hashlib.sha256(f"{config.seed}:{stream}".encode()).digest()
        # Python's Mersenne Twister in the state of numpy's: one number costs a tenth of RandomState.randint's time.
        _, words, position, *_ = np.random.RandomState(int.from_bytes(digest[:4], "big")).get_state()
        self.config, self._twister = config, random.Random()
        self._twister.setstate((3, (*words.tolist(), position), None))

    def below(self, n: int) -> int:
        """Uniform over 0..n-1: the number np.random.RandomState.randint(n) gives, whose stream is frozen."""
        mask = (1 << (n - 1).bit_length()) - 1
        value = self._twister.getrandbits(32) & mask if mask else 0
        while value >= n:
            value = self._twister.getrandbits(32) & mask
        return value

    def permutation(self, n: int) -> list[int]:
        """0..n-1 in random order, as np.random.RandomState.permutation(n)."""
        order = list(range(n))
        for last in range(n - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def chance(self, share: float) -> bool:
        """True in `share` of the calls, in steps of a ten-thousandth."""
        return self.below(10_000) < round(share * 10_000)

    def other(self, n: int, *excluded: int) -> int:
        """Uniform over 0..n-1 without the excluded values."""
        return self.pick([value for value in range(n) if value not in excluded])

    def pick(self, options: tuple | list):
        """One of the options, uniformly."""
        return options[self.below(len(options))]

    def kind(self, unseen: bool = False) -> tuple[int, int]:
        """(shape, colour): colour index = shape index is held out for the unseen split, one per row and column."""
        shape = self.below(len(SHAPES))
        return (shape, shape) if unseen else (shape, self.other(len(COLOURS), shape))

    def claim(self, unseen: bool = False) -> Claim:
        shape, colour = self.kind(unseen)
        counts = not unseen and self.chance(self.config.count_share)
        verb = self.pick(wordings.plausible_verbs(shape))
        place = -1 if counts else self.below(N_PLACES)
        return Claim(shape, colour, place, 1 + self.below(3) if counts else 1, verb)

    def thing(self, shape: int, colour: int, place: int) -> Object:
        return scenes.place_object(self.below, shape, colour, place, self.chance(self.config.small_share))

    def scene(self, wanted: list[tuple[int, int, int]], avoid: set[tuple[int, int]]) -> Scene:
        """The wanted (shape, colour, place) plus distractors of other kinds than `avoid`, in free places.

        A negative place in `wanted` means any free place.
        """
        places = [p for p in self.permutation(N_PLACES) if p not in {w[2] for w in wanted}]
        things = [self.thing(s, c, p if p >= 0 else places.pop()) for s, c, p in wanted]
        low, high = self.config.clutter
        for _ in range(max(0, low + self.below(high - low + 1) - len(things))):
            kind = self.kind()
            while kind in avoid:
                kind = self.kind()
            things.append(self.thing(*kind, places.pop()))
        seed = self.below(2**31 - 1)
        return Scene(tuple(things), seed, overlay=self.chance(self.config.overlay_share))

    # --- posts ------------------------------------------------------------------------------

    def conflict(self, claim: Claim) -> tuple[str, bool]:
        """(conflict type, is a near miss) of a rumor about `claim`."""
        draw = self.below(10_000)
        implausible = round(self.config.implausible_share * 10_000)
        if draw < implausible:
            return "implausible", True
        if draw < implausible + round(self.config.edited_share * 10_000):
            return "edited", True
        if claim.place < 0:
            return "count", False  # near or far is decided by the count drawn
        return self.pick(TEXT_IMAGE_CONFLICTS), not self.chance(self.config.far_share)

    def altered(self, claim: Claim, conflict: str, near: bool, unseen: bool = False) -> tuple[int, int, int]:
        """(shape, colour, place) of what a contradicting picture shows; a replaced value is uniform over the others."""
        shape, colour, place = claim.shape, claim.colour, claim.place
        if not near:
            while shape == claim.shape or colour == claim.colour:
                shape, colour = self.kind()
            return shape, colour, self.other(N_PLACES, place)
        if conflict == "place":
            return shape, colour, self.other(N_PLACES, place)
        if unseen:  # both attributes change, so that every picture of the split shows an unseen pair
            shape = self.other(len(SHAPES), claim.shape)
            return shape, shape, place
        if conflict == "object":
            return self.other(len(SHAPES), claim.shape, colour), colour, place
        return shape, self.other(len(COLOURS), claim.colour, shape), place

    def contradicting_scene(self, claim: Claim, conflict: str, near: bool, unseen: bool = False) -> Scene:
        """A scene in which `claim` is wrong in the given way."""
        if conflict == "count":
            count = self.other(4, 0, claim.count)
            return self.scene([(claim.shape, claim.colour, -1)] * count, {(claim.shape, claim.colour)})
        shown = self.altered(claim, conflict, near, unseen)
        return self.scene([shown], {(claim.shape, claim.colour), shown[:2]})

    def matching_scene(self, claim: Claim) -> Scene:
        """A scene in which `claim` is true. Distractors also avoid a kind drawn as a contradiction would be:
        else the chance of two equal objects would tell true pictures from false ones."""
        avoid = {(claim.shape, claim.colour)}
        if claim.place >= 0:
            conflict, near = self.pick(TEXT_IMAGE_CONFLICTS), not self.chance(self.config.far_share)
            avoid.add(self.altered(claim, conflict, near)[:2])
        return self.scene([(claim.shape, claim.colour, claim.place)] * claim.count, avoid)

    def post(self, unseen: bool = False) -> tuple[Claim, Scene, dict]:
        """One post of the main splits: its claim, its scene, its factors."""
        claim = self.claim(unseen)
        rumor = self.chance(0.5)
        conflict, near = self.conflict(claim) if rumor else ("none", False)
        if unseen and rumor:
            conflict, near = ("place" if self.chance(0.5) else "object+colour"), True
        if conflict in ("none", "implausible", "edited"):
            scene = self.matching_scene(claim)
        else:
            scene = self.contradicting_scene(claim, conflict, near, unseen)
        if conflict == "implausible":
            verb = self.pick(wordings.implausible_verbs(claim.shape))
            claim = dataclasses.replace(claim, verb=verb)
        if conflict == "edited":
            pasted = tuple(
                dataclasses.replace(t, edited=(t.shape, t.colour) == (claim.shape, claim.colour)) for t in scene.objects
            )
            scene = dataclasses.replace(scene, objects=pasted)
        if conflict == "count":
            shown = sum((t.shape, t.colour) == (claim.shape, claim.colour) for t in scene.objects)
            near = abs(shown - claim.count) == 1
        alarm = rumor and self.chance(self.config.shortcut)
        return claim, scene, {"label": int(rumor), "conflict": conflict, "near_miss": near, "alarm": alarm}

    def minimal_pair(self, change: str) -> list[tuple[Claim, Scene, dict]]:
        """A true and a false post that differ in one word (same picture) or in one object (same text)."""
        factor, shared = self.pick(["object", "colour"]), set()
        while not shared:  # a verb that suits both, so that the texts differ in one word
            claim = self.claim()
            if claim.place >= 0:
                shape, colour, _ = self.altered(claim, factor, near=True)
                shared = set(wordings.plausible_verbs(shape)) & set(wordings.plausible_verbs(claim.shape))
        claim = dataclasses.replace(claim, verb=self.pick(sorted(shared)))
        scene = self.scene([(claim.shape, claim.colour, claim.place)], {(claim.shape, claim.colour), (shape, colour)})
        if change == "word":
            other_claim, other_scene = dataclasses.replace(claim, shape=shape, colour=colour), scene
        else:
            things = tuple(
                dataclasses.replace(t, shape=shape, colour=colour) if t.place == claim.place else t
                for t in scene.objects
            )
            other_claim, other_scene = claim, dataclasses.replace(scene, objects=things)
        true = {"label": 0, "conflict": "none", "near_miss": False, "alarm": False, "pair_kind": change}
        false = {**true, "label": 1, "conflict": factor, "near_miss": True}
        return [(claim, scene, true), (other_claim, other_scene, false)]
