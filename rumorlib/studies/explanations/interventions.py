"""What if an object were not there, or a word another? Exact effects on a detector's logit.

Drawn scenes are data, so the minimal counterfactual can be rendered or worded, and the model asked again: what an
object or a word does to the score is then known, not estimated. Explanations are scored against it (`explanations`).

All counterfactuals of all posts go through a model as one list; nothing loops over objects, patches or words there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rumorlib.config import about
from rumorlib.data.batches import array, sent
from rumorlib.data.drawn_scenes import drawn, scenes, wordings
from rumorlib.data.drawn_scenes.claims import DrawnConfig
from rumorlib.data.drawn_scenes.scenes import Scene
from rumorlib.data.posts import Corpus

# n posts, T objects of the fullest scene, N patches, m counterfactuals, C content words

Logit = Callable[[Tensor, Tensor], Tensor]  # images (m, …) and the post (m,) each belongs to -> logits (m,)
WORDS = tuple(wordings.N_VALUES)  # the content words of a claim about a place, each named by what it says
NO_BOX = -1


@dataclass(frozen=True)
class ScenePosts:
    """Posts with their scenes and what the scenes would be without one object, or without any.

    `encoded` replaces pixels by what an image tower makes of them: models that share the tower share the work.
    """

    posts: pd.DataFrame  # n rows of the corpus, index 0..n-1
    rows: Tensor  # (n,) long, their rows in the corpus
    scenes: tuple[Scene, ...]
    images: Tensor  # (n, 3, H, H) uint8, or (n, N, D) tokens
    removed: Tensor  # (m, …) one object gone each, in the order of `present`
    ground: Tensor  # (n, …) every object gone
    present: np.ndarray  # (n, T) bool: the scene has such an object
    boxes: np.ndarray  # (n, T, 4) x0, y0, x1, y1 in pixels; NO_BOX where absent

    def encoded(self, tower: Callable[[Tensor], Tensor], where: torch.device | None = None) -> ScenePosts:
        """The same posts, with (…, N, D) tokens of `tower`, which lies on `where`, in the place of pixels."""
        parts = {name: in_parts(tower, getattr(self, name), where) for name in ("images", "removed", "ground")}
        return replace(self, **parts)

    @property
    def removed_from(self) -> Tensor:
        """(m,) long: the post each picture of `removed` belongs to."""
        return torch.from_numpy(np.nonzero(self.present)[0])


def scene_posts(corpus: Corpus, split: str = "dev", n: int | None = None, corpus_seed: int = 0) -> ScenePosts:
    """The first n posts of a split of a drawn corpus with their counterfactual pictures.

    Raises: ValueError: not a drawn corpus.
    """
    if about(corpus.name).kind != "drawn":
        raise ValueError(f"{corpus.name}: only drawn scenes can be rendered without one of their objects")
    rows = np.flatnonzero(corpus.posts["split"].to_numpy() == split)[:n]
    posts = corpus.posts.iloc[rows].reset_index(drop=True)
    known = drawn.scenes_of(DrawnConfig(seed=corpus_seed))
    return of_scenes(posts, torch.from_numpy(rows), [known[key] for key in posts["image"]])


def of_scenes(posts: pd.DataFrame, rows: Tensor, shown: Sequence[Scene]) -> ScenePosts:
    """`ScenePosts` of a posts table whose row i shows `shown[i]`."""
    most = max(len(scene.objects) for scene in shown)
    present = np.array([[t < len(scene.objects) for t in range(most)] for scene in shown])
    boxes = np.full((len(shown), most, 4), NO_BOX)
    boxes[present] = [thing.box for scene in shown for thing in scene.objects]
    removed = [scenes.without(scene, t) for scene in shown for t in range(len(scene.objects))]
    ground = [scenes.without(scene, *range(len(scene.objects))) for scene in shown]
    return ScenePosts(posts, rows, tuple(shown), pixels(shown), pixels(removed), pixels(ground), present, boxes)


def pixels(shown: Sequence[Scene]) -> Tensor:
    """(m, 3, 96, 96) uint8 pictures of scenes, as an image tower reads them."""
    return torch.from_numpy(scenes.render_all(shown)).permute(0, 3, 1, 2).contiguous()


@torch.inference_mode()
def in_parts(function: Callable[[Tensor], Tensor], tensor: Tensor, where: torch.device | None = None) -> Tensor:
    """function(tensor), a few hundred rows at a time, on the device of what computes it (None: the tensor's)."""
    return torch.cat([function(sent(part, where or part.device)) for part in tensor.split(256)])


# --- objects ------------------------------------------------------------------------------------


@torch.inference_mode()
def object_effects(logit: Logit, posed: ScenePosts) -> np.ndarray:
    """(n, T) what each object adds to the logit of rumor: with it minus without it; nan where there is none.

    The counterfactual shows the ground where the object was and is equal everywhere else, so the difference is the
    effect of the object on this model and this post, whatever way it takes through the network.
    """
    with_all = logit(posed.images, torch.arange(len(posed.posts)))
    effects = np.full(posed.present.shape, np.nan)
    without = array(logit(posed.removed, posed.removed_from))
    effects[posed.present] = array(with_all)[posed.removed_from] - without
    return effects


def touches(boxes: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """(n, T, 4) boxes of objects and (N, 4) of patches -> (n, T, N) bool: the patch shows a part of the object's box.

    Absent objects (NO_BOX) touch nothing.
    """
    x0, y0, x1, y1 = np.moveaxis(boxes[..., None, :], -1, 0)  # each (n, T, 1)
    left, top, right, bottom = patches.T  # each (N,)
    return (x0 < right) & (x1 > left) & (y0 < bottom) & (y1 > top) & (x1 > x0)


def roles(posed: ScenePosts) -> np.ndarray:
    """(n, T) what each object is to the claim: "evidence" (it supports or contradicts it), "same kind" (the claimed
    object elsewhere), "same colour", "same shape", "other"; "" where there is none.

    Evidence: the claimed kind at the claimed place, or whatever else stands there; of a claim about a number, every
    object of the claimed kind.
    """
    found = np.full(posed.present.shape, "", dtype="<U11")
    for i, (scene, post) in enumerate(zip(posed.scenes, posed.posts.itertuples(), strict=True)):
        for t, thing in enumerate(scene.objects):
            colour = scenes.COLOURS[thing.colour] == post.claim_colour
            shape = scenes.SHAPES[thing.shape] == post.claim_shape
            here = thing.place == post.claim_place if post.claim_place >= 0 else colour and shape
            named = {(True, True): "same kind", (True, False): "same colour", (False, True): "same shape"}
            found[i, t] = "evidence" if here else named.get((colour, shape), "other")
    return found


def shown_without(posed: ScenePosts, chosen: np.ndarray, side: int) -> Tensor:
    """(n, 3, H, H) pictures with the ground in the place of chosen patches: the deletion test.

    Args:
        posed: with pixels, not tokens.
        chosen: (n, side²) bool, patches of one scale, row-major.
    """
    n, field = len(chosen), posed.images.shape[-1] // side
    mask = torch.from_numpy(chosen).view(n, 1, side, 1, side, 1).expand(n, 1, side, field, side, field)
    return torch.where(mask.reshape(n, 1, side * field, side * field), posed.ground, posed.images)


# --- words --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WordPosts:
    """Posts with a claim about a place, and their texts with one content word replaced by each of its alternatives."""

    texts: list[str]  # n, as they are
    rows: Tensor  # (n,) long, their rows in the corpus
    changed: list[str]  # m, one word changed each
    post: Tensor  # (m,) long, which of the n
    word: np.ndarray  # (m,) index into WORDS


def word_posts(
    corpus: Corpus, language: str, split: str = "dev", n: int | None = None, corpus_seed: int = 0
) -> WordPosts:
    """The first n posts of a split whose claim names a place, reworded.

    A word has 3 to 8 alternatives (WORDS; "place" is two words of English). The event is named in every post and means
    nothing: its effect should be none.
    """
    made = drawn.worded(language, DrawnConfig(seed=corpus_seed))
    here = (corpus.posts["split"] == split) & (corpus.posts["claim_place"] >= 0)
    rows = np.flatnonzero(here.to_numpy())[:n]
    changed = [
        (wordings.post(language, *made[row]._replace(**{field: value})), i, WORDS.index(field))
        for i, row in enumerate(rows)
        for field, n_values in wordings.N_VALUES.items()
        for value in range(n_values)
        if value != getattr(made[row], field)
    ]
    texts, post, word = zip(*changed, strict=True)
    originals = corpus.posts["text"].iloc[rows].tolist()
    return WordPosts(originals, torch.from_numpy(rows), list(texts), torch.tensor(post), np.array(word))


def word_effects(original: Tensor, changed: Tensor, posts: WordPosts) -> np.ndarray:
    """(n, C) how far a word moves the logit: mean over its alternatives of |logit as it is − logit with the other|.

    Args: original: (n,) logits of the texts as they are. changed: (m,) of the changed ones.
    """
    moved = np.abs(array(original)[posts.post] - array(changed))
    cell = array(posts.post) * len(WORDS) + posts.word
    size = len(original) * len(WORDS)
    sums, counts = np.bincount(cell, moved, size), np.bincount(cell, minlength=size)
    return (sums / counts).reshape(-1, len(WORDS))


def word_positions(original: Tensor, changed: Tensor, posts: WordPosts) -> np.ndarray:
    """(n, C, L) bool: the token positions of each content word, found by what changes with it.

    Args: original: (n, L) token ids of the texts as they are. changed: (m, L) of the changed ones; a word's
        alternatives have as many tokens as it has (true of the English posts).
    """
    differs = array(original[posts.post] != changed)
    positions = np.zeros((len(original), len(WORDS), original.shape[1]), bool)
    np.logical_or.at(positions, (array(posts.post), posts.word), differs)
    return positions
