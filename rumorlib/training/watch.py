"""What a DMFL run keeps beside its predictions: attention maps while it trains, and its two sides before and after.

Figs 10 and 11 (d_e6) are one fixed batch over the epochs. Raw scores of its first posts are kept to be drawn; of a
larger batch the numbers that the pictures are read for. Positions and patches only, never words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rumorlib.config import RunConfig
from rumorlib.data.batches import Batch, PostTensors, array, where_is
from rumorlib.data.drawn_scenes import wordings
from rumorlib.encoders.vision import grid_sides, patch_boxes
from rumorlib.encoders.vocabulary import CLS, SEP, tokenize
from rumorlib.metrics import modalities
from rumorlib.metrics.statistics import t_interval
from rumorlib.models.dmfl import DMFL
from rumorlib.training import evidence, fitting

N_BATCH = 128  # posts of the fixed batch
N_RAW = 2  # of them, posts whose raw scores are kept: a file of a run stays below 500 kB
SEEN = ("_maps", "_other_image", "_raw", "_pointing", "_sides", "_accuracy", "_start", "_weights")
# Part of DMFL -> how the names of its parameters begin; the first that fits has it.
PARTS = {
    "word vectors": ("word_vectors.",), "text CNN": ("text_cnn.",), "image rows": ("image_norm.", "image_projection."),
    "Eq 12, queries and keys": ("attention.text_image.attention.query.", "attention.text_image.attention.key."),
    "Eq 12, the rest": ("attention.text_image.", "attention.shared."), "other attention": ("attention.",),
    "alignment": ("align_",), "logic chain": ("logic.",), "fusion and classifier": ("fusion_", "classifier."),
}  # fmt: skip
Maps = list[np.ndarray]  # per post (N, words) weights, real words only


@dataclass
class Watch:
    """Looks at a model before training, after the epochs of `config.train.record_epochs`, and at the end.

    Without record_epochs only the two sides are measured, which costs two passes over a few hundred dev posts.
    """

    config: RunConfig
    tensors: PostTensors
    posts: pd.DataFrame
    _maps: dict[int, Maps] = field(default_factory=dict)
    _other_image: dict[int, Maps] = field(default_factory=dict)
    _raw: list[pd.DataFrame] = field(default_factory=list)
    _pointing: list[pd.DataFrame] = field(default_factory=list)
    _sides: list[pd.DataFrame] = field(default_factory=list)
    _accuracy: dict[int, float] = field(default_factory=dict)  # on all dev posts
    _start: dict[str, Tensor] = field(default_factory=dict)
    _weights: list[pd.DataFrame] = field(default_factory=list)

    def before(self, model: DMFL) -> None:
        """Before the first step; recorded as epoch 0."""
        if modalities.are_measurable(self.config, self.posts):
            self._sides.append(modalities.of_model(model, self.tensors, self.posts, "before"))
        if self.config.train.record_epochs:
            self._record(model, 0)

    def after_epoch(self, model: DMFL, epoch: int) -> None:
        """After an epoch, 1-based."""
        if epoch in self.config.train.record_epochs:
            self._record(model, epoch)

    def state_dict(self) -> dict[str, Any]:
        """What it has seen so far."""
        return {name: getattr(self, name) for name in SEEN}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        for name in SEEN:
            setattr(self, name, state.get(name, getattr(self, name)))  # an older checkpoint may lack one

    def _record(self, model: DMFL, epoch: int) -> None:
        rows = fixed_batch(self.posts)
        batch = self.tensors.batch(rows, where_is(model))
        if epoch:
            raw = evidence.attention_map(model, self.tensors.batch(rows[:N_RAW], where_is(model)))
            self._raw.append(raw.assign(epoch=epoch))
        self._maps[epoch] = eq12(model, batch)
        self._other_image[epoch] = eq12(model, with_other_images(batch))
        self._accuracy[epoch] = dev_accuracy(model, self.tensors, self.posts)
        self._start = self._start or weights_of(model)
        self._weights.append(moved_weights(model, self._start).assign(epoch=epoch))
        if "support_x0" in self.posts:
            frame = word_pointing(model, self.tensors, self.posts, self.config)
            self._pointing.append(frame.assign(epoch=epoch))

    def extras(self, model: DMFL) -> dict[str, pd.DataFrame]:
        """Frames to store with the run, of the model as training left it:

        modalities: see `modalities.of_model`. attention: raw scores and weights of a few posts. attention_posts: see
        `map_statistics`, and dev_accuracy of the epoch. weights: `moved_weights` by epoch. word_pointing: drawn posts
        only, see there.
        """
        frames: dict[str, pd.DataFrame] = {}
        if self._sides:
            after = modalities.of_model(model, self.tensors, self.posts, "after")
            frames["modalities"] = pd.concat([*self._sides, after], ignore_index=True)
        if self._raw:
            raw = pd.concat(self._raw, ignore_index=True)
            digits = {name: [float(f"{value:.5g}") for value in raw[name]] for name in ("score", "weight")}
            frames["attention"] = raw.assign(**digits)
            found = map_statistics(self._maps, self._other_image)
            frames["attention_posts"] = found.assign(dev_accuracy=found["epoch"].map(self._accuracy)).round(6)
            frames["weights"] = pd.concat(self._weights, ignore_index=True)
        if self._pointing:
            frames["word_pointing"] = pd.concat(self._pointing, ignore_index=True)
        return frames


def fixed_batch(posts: pd.DataFrame) -> Tensor:
    """Rows of the first N_BATCH dev posts with pictures, each picture once. The two languages of a drawn or photo
    corpus have the same posts in the same order, so their batches show the same pictures."""
    shown = posts["split"].eq("dev") & posts["image"].ne("")
    rows = np.flatnonzero(shown.to_numpy() & ~posts["image"].where(shown).duplicated().to_numpy())
    return torch.from_numpy(rows[:N_BATCH])


def dev_accuracy(model: DMFL, tensors: PostTensors, posts: pd.DataFrame) -> float:
    """Share of all dev posts that are called right at log-odds 0."""
    rows = torch.from_numpy(np.flatnonzero(posts["split"].eq("dev").to_numpy()))
    called = fitting.predict(model, tensors, rows) >= 0
    return float(np.mean(called == (array(tensors.label)[rows.numpy()] > 0.5)))


def weights_of(model: DMFL) -> dict[str, Tensor]:
    """What each of PARTS that the variant has may learn, in one row, on the CPU."""
    found: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        part = next((part for part, names in PARTS.items() if name.startswith(names)), "")
        if part and parameter.requires_grad:
            found.setdefault(part, []).append(parameter.detach().flatten().cpu())
    return {part: torch.cat(found[part]) for part in PARTS if part in found}


def moved_weights(model: DMFL, start: Mapping[str, Tensor]) -> pd.DataFrame:
    """How far each part has come: part, moved (norm of what its weights changed by since `start` / norm of `start`)."""
    now = weights_of(model)
    far = {part: float((now[part] - start[part]).norm() / start[part].norm()) for part in now}
    return pd.DataFrame({"part": far.keys(), "moved": [float(f"{value:.6g}") for value in far.values()]})


def with_other_images(batch: Batch) -> Batch:
    """The batch with each post's image replaced by its neighbour's: the shuffled-image control."""
    return batch._replace(images=batch.images.roll(1, 0))


# --- maps of Eq 12, as numbers ----------------------------------------------------------------------


@torch.inference_mode()
def eq12(model: DMFL, batch: Batch) -> Maps:
    """Weights of Eq 12, mean over heads: per post (N, words); [CLS], [SEP] and padding have none and are left out."""
    model.eval()
    weights = model(batch, need_maps=True).weights.float().mean(1)  # (B, N, L), or (B, L, N) with swap_query
    weights = weights.transpose(1, 2) if model.config.swap_query else weights
    words = batch.text_mask & (batch.text_ids != CLS) & (batch.text_ids != SEP)
    return [np.compress(real, grid, axis=1) for grid, real in zip(array(weights), array(words), strict=True)]


def map_statistics(maps: Mapping[int, Maps], other_image: Mapping[int, Maps]) -> pd.DataFrame:
    """What is read off a heat map, as numbers; one line per post and epoch (0 = before training).

    Columns: post, epoch, n_words;
        entropy: of a patch's weights over the words / log of their number, mean over patches: 1 = even, 0 = one word;
        dark_cells, dark_share: cells above twice the even share 1 / words. A yardstick taken from an epoch's own map,
            as the eye takes it from colours, would call noise dark wherever that map is even;
        iou_previous, iou_first: overlap of the dark cells with those of the epoch before, of the first: intersection
            over union; 1 = the same cells, nan where one has none;
        moved_previous, moved_first: share of the attention that lies elsewhere than then, in [0, 1];
        dark_shift: distance of the middle of the dark cells from that of the first epoch, in map widths (0 to 1.41);
        moved_by_image: share of the attention that lies elsewhere when the post gets another post's image.
    """
    epochs = sorted(maps)
    first = next(epoch for epoch in epochs if epoch > 0 or epochs == [0])
    rows = []
    for post in range(len(maps[first])):
        start, previous = maps[first][post], None
        line = 2 / start.shape[1]
        for epoch in epochs:
            grid = maps[epoch][post]
            dark, then = grid > line, start > line
            rows.append({
                "post": post, "epoch": epoch, "n_words": grid.shape[1], "entropy": entropy(grid),
                "dark_cells": dark.sum(), "dark_share": dark.mean(),
                "iou_previous": np.nan if previous is None else overlap(dark, previous > line),
                "iou_first": overlap(dark, then),
                "moved_previous": np.nan if previous is None else moved(grid, previous),
                "moved_first": moved(grid, start), "dark_shift": shift(dark, then),
                "moved_by_image": moved(grid, other_image[epoch][post]),
            })  # fmt: skip
            previous = grid
    return pd.DataFrame(rows)


def entropy(weights: np.ndarray) -> float:
    """Mean entropy of the rows of (Q, K) weights over log K, in [0, 1]: 1 = every key alike, 0 = one key has it all.

    With a single key there is nothing to choose: nan.
    """
    if weights.shape[1] < 2:
        return float("nan")
    shares = weights / weights.sum(axis=1, keepdims=True)
    parts = -shares * np.log(np.clip(shares, 1e-12, None))
    return float(parts.sum(axis=1).mean() / np.log(weights.shape[1]))


def overlap(mask: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boolean masks; nan where one is empty and has no place to compare."""
    return float((mask & other).sum() / (mask | other).sum()) if mask.any() and other.any() else float("nan")


def moved(weights: np.ndarray, other: np.ndarray) -> float:
    """Share of attention that lies elsewhere: half the absolute difference of two (Q, K) maps, mean over the rows."""
    return float(np.abs(weights - other).sum(axis=1).mean() / 2)


def shift(mask: np.ndarray, other: np.ndarray) -> float:
    """Distance of the middles of two masks, the map's height and width being 1; nan where one is empty."""
    if not (mask.any() and other.any()):
        return float("nan")
    middles = [(np.argwhere(part) + 0.5).mean(0) / part.shape for part in (mask, other)]
    return float(np.linalg.norm(middles[0] - middles[1]))


# --- maps over the image, on drawn posts --------------------------------------------------------------


def claim_mask(posts: pd.DataFrame, config: RunConfig, length: int) -> Tensor:
    """(n, L) bool: the words of drawn posts that name the claimed shape or colour; [CLS] stands first."""
    unit = config.detector.word2vec.tokens
    mask = torch.zeros(len(posts), length, dtype=torch.bool)
    for row, (text, shape, colour) in enumerate(posts[["text", "claim_shape", "claim_colour"]].itertuples(index=False)):
        wanted = wordings.claim_words(config.language, shape, colour)
        for position, token in enumerate(tokenize(text, unit)[: length - 2], 1):
            mask[row, position] = any(word == token.removesuffix("s") or word in token for word in wanted)
    return mask


def word_pointing(model: DMFL, tensors: PostTensors, posts: pd.DataFrame, config: RunConfig) -> pd.DataFrame:
    """Do the claim's words look at the claimed object? Matching dev posts with one support box.

    Returns: map ("swapped": Eq 12 with the softmax over patches, "logic": Eq 14's cross-attention); n posts; mass, low,
        high: share of the weights on the object's box, a patch that it covers in part counting in part, with the 95 %
        t interval over posts; chance: the box's share of the image, which even attention scores; other_words: mass
        when all other words of the post ask; top: share of posts whose strongest patch has its centre in the box,
        top_chance: mean share of centres in it.
    """
    chosen = posts["split"].eq("dev") & posts["label"].eq(0) & posts["support_x0"].ge(0)
    rows, part = torch.from_numpy(np.flatnonzero(chosen.to_numpy())), posts[chosen]
    boxes = part[["support_x0", "support_y0", "support_x1", "support_y1"]].to_numpy(float)
    cover, inside = on_box(boxes, finest_patches(config))
    claim = claim_mask(part, config, tensors.texts.ids.shape[1])
    found = {False: [], True: []}
    for batch, asking in zip(tensors.in_order(rows, where=where_is(model)), claim.split(512), strict=True):
        for others in found:
            found[others].append(evidence.word_to_patch(model, batch, ~asking if others else asking))
    lines = []
    for name in found[False][0]:
        weights, rest = (array(torch.cat([maps[name] for maps in found[key]])) for key in (False, True))
        mass, other = (weights * cover).sum(1), (rest * cover).sum(1)
        interval = t_interval(mass)
        top = inside[np.arange(len(weights)), weights.argmax(1)]
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) / config.stage1.sclip.vision.image_size_px**2
        lines.append({"map": name, "n": len(mass), "mass": interval.estimate, "low": interval.low,
                      "high": interval.high, "chance": area.mean(), "other_words": other.mean(), "top": top.mean(),
                      "top_chance": inside.mean()})  # fmt: skip
    return pd.DataFrame(lines)


def finest_patches(config: RunConfig) -> np.ndarray:
    """(N, 4) boxes in pixels of the patches DMFL reads on drawn scenes: the tower's finest scale."""
    vision = config.stage1.sclip.vision
    return patch_boxes(vision)[int(np.argmax(grid_sides(vision)))].numpy().astype(float)


def on_box(boxes: np.ndarray, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of (n, 4) boxes, (N, 4) patches: (n, N) share of the patch that the box covers, and whether its centre is in."""
    low = np.maximum(boxes[:, None, :2], patches[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], patches[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    centres = (patches[:, :2] + patches[:, 2:]) / 2
    inside = ((centres >= boxes[:, None, :2]) & (centres < boxes[:, None, 2:])).all(2)
    return shared / np.prod(patches[:, 2:] - patches[:, :2], axis=1), inside
