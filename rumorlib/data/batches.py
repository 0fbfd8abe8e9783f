"""Whole splits as tensors in memory; a batch is a gather of rows (B posts, L text tokens, I distinct images).

Which rows make a batch is drawn on the CPU, so that a seed decides it on every device; the batch is put together on the
device that asks for it, of tensors that lie there if they fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, NewType

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from rumorlib import config as cfg

CPU = torch.device("cpu")
SHARE = 0.5  # of a device's free memory that texts and images may take; the rest is for weights, gradients, activations


# --- devices ------------------------------------------------------------------------------------


def device() -> torch.device:
    """Where models are trained and asked: the GPU if there is one (CUDA_VISIBLE_DEVICES= hides it), else the CPU.

    On a GPU, products of float32 are float32's, convolutions included, but in a training step whose config says tf32.
    With RUMORLIB_DETERMINISTIC=1 (config/paths.py) kernels that always add in the same order are taken where torch has
    them; it warns of the others.
    """
    if cfg.is_deterministic():
        torch.use_deterministic_algorithms(True, warn_only=True)
    if not torch.cuda.is_available():
        return CPU
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", torch.cuda.current_device())


def where_is(model: nn.Module) -> torch.device:
    """The device of a model's weights."""
    return next(model.parameters()).device


def sent(tensor: Tensor, where: torch.device) -> Tensor:
    """The tensor on `where`, itself if it is there; to a GPU through pinned memory, so that nobody waits for it."""
    if where.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(where, non_blocking=where.type != "cpu")


def moved(parts: Any, where: torch.device) -> Any:
    """A batch, or any tuples and dicts, with every tensor `sent` to `where`."""
    return _pytree.tree_map_only(Tensor, lambda tensor: sent(tensor, where), parts)


def array(tensor: Tensor) -> np.ndarray:
    """A tensor's numbers: the one place where they leave torch and their device, which is waited for."""
    return tensor.detach().cpu().numpy()


def free_bytes(where: torch.device) -> int:
    """Memory of a GPU that nothing has taken, what torch has set aside for later included."""
    kept = torch.cuda.memory_reserved(where) - torch.cuda.memory_allocated(where)
    return torch.cuda.mem_get_info(where)[0] + kept


def staying(sizes: Sequence[int], free: int, share: float = SHARE) -> list[bool]:
    """Which of some parts stay on a device: the smallest first, as long as all that stay take at most a share of it.

    Args: sizes: bytes of each part. free: bytes of the device. share: in [0, 1].
    """
    stays, left = [False] * len(sizes), share * free
    for part in sorted(range(len(sizes)), key=sizes.__getitem__):
        left -= sizes[part]
        stays[part] = left >= 0
    return stays


def placed(parts: Sequence[Any], where: torch.device) -> list[Any]:
    """Parts of a corpus, those that fit on `where`; the others on the CPU, from where batches are streamed."""
    sizes = [sum(t.nbytes for t in _pytree.tree_leaves(part) if isinstance(t, Tensor)) for part in parts]
    stays = staying(sizes, free_bytes(where)) if where.type != "cpu" else [True] * len(sizes)
    return [_pytree.tree_map_only(Tensor, lambda tensor, at=where if stay else CPU: tensor.to(at), part)
            for part, stay in zip(parts, stays, strict=True)]  # fmt: skip


def streamed(function: Callable[[Tensor], Tensor], rows: Tensor, size: int) -> Tensor:
    """What a function on `device()` makes of some rows at a time, e.g. a frozen part of a model; on the CPU."""
    return torch.cat([function(sent(part, device())).cpu() for part in rows.split(size)])


def picker(rows: Tensor, where: torch.device | None = None) -> Callable[[Tensor | None], Tensor | None]:
    """A function that gives these rows of a tensor, picked where it lies and `sent` to `where` (None: left there)."""
    there = rows if where is None else sent(rows, where)

    def pick(tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        at = there if tensor.device == there.device else sent(rows, tensor.device)
        return tensor[at] if where is None else sent(tensor[at], where)

    return pick


# --- what a batch holds -------------------------------------------------------------------------


class Texts(NamedTuple):
    """Texts of n posts or captions: token ids for a trainable tower, features for a frozen one."""

    ids: Tensor | None  # (n, L) long: 0 PAD, 1 UNK, 2 CLS, 3 SEP
    mask: Tensor | None  # (n, L) bool, True = token
    features: Tensor | None = None  # (n, d_text) frozen sentence features
    pieces: Tensor | None = None  # (n, P) long: ids of a pretrained encoder's word pieces, 0 = padding
    hidden: Tensor | None = None  # (n, P, W) fp16: what its frozen layers make of them
    towers: Tensor | None = None  # (n, d) a post's text and picture as frozen towers leave them, pooled, side by side

    def rows(self, rows: Tensor, where: torch.device | None = None) -> Texts:
        """The texts at `rows`, on `where` or where these are."""
        return Texts(*map(picker(rows, where), self))

    def __len__(self) -> int:  # number of texts, not of fields
        return len(self.features if self.ids is None else self.ids)


Pixels = NewType("Pixels", Tensor)  # (B, 3, H, W) uint8
FeatureMap = NewType("FeatureMap", Tensor)  # (B, C, h, w) of a frozen encoder
Patches = NewType("Patches", Tensor)  # (B, N, D) rows made once: patch tokens, patches in the joint space, image rows


class Aligned(NamedTuple):
    """Posts whose text has met its image: text-patch relevance, and the patches that go on to fusion (M8, M9)."""

    relevance: Tensor  # (B, N) of all patches, in [-1, 1]
    patches: Tensor  # (B, M, D) those that go on, scale after scale, most relevant first within a scale
    rho: Tensor | None  # (B, M) their relevance; None without alignment
    indices: Tensor | None  # (B, M) into the N patches; None where nothing was selected

    def rows(self, rows: Tensor, where: torch.device | None = None) -> Aligned:
        """The posts at `rows`, on `where` or where these are."""
        return Aligned(*map(picker(rows, where), self))


class Batch(NamedTuple):
    """Posts for a detector."""

    text_ids: Tensor | None  # (B, L)
    text_mask: Tensor | None  # (B, L)
    text_features: Tensor | None  # (B, d_text)
    images: Pixels | FeatureMap | Patches | Aligned
    label: Tensor  # (B,) float
    weight: Tensor  # (B,) float, mean 1 over a split: losses are means over posts of weight times error
    row: Tensor  # (B,) long, index into the posts table
    pieces: Tensor | None = None  # (B, P) word pieces for a logic chain that starts from BERT
    # Columns of text_mask and of pieces that some post of the batch uses, at least 1. None: a batch made by hand, whose
    # columns a model has to count, and a GPU to wait for.
    n_columns: int | None = None
    n_pieces: int | None = None
    hidden: Tensor | None = None  # (B, P, W), as in Texts
    towers: Tensor | None = None  # (B, d)

    def posts(self, rows: Tensor) -> Batch:
        """The posts at `rows` of the batch."""
        return _pytree.tree_map_only(Tensor, picker(rows), self)._replace(n_columns=None, n_pieces=None)

    def cut(self, at: slice) -> Batch:
        """Some posts of the batch, padded as the whole is."""
        return _pytree.tree_map_only(Tensor, lambda tensor: tensor[at], self)


def last_column(mask: Tensor) -> Tensor:
    """(n, L) bool to (n,) long, on the CPU: how many columns a text needs, its last token's included."""
    return (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(1).cpu()


def used_columns(mask: Tensor, known: int | None) -> int:
    """How many columns of a batch's (B, L) mask some post uses, at least 1: `known`, or counted."""
    return known or max(1, int(last_column(mask).amax()) if len(mask) else 1)


class CaptionBatch(NamedTuple):
    """Image-caption pairs for stage 1; `owner[t]` is the image of caption t, in every language."""

    images: Pixels | FeatureMap  # (I, …)
    texts: dict[str, Texts]  # language -> T captions
    owner: Tensor  # (T,) long into images
    belongs: dict[str, Tensor] | None = None  # language -> (T, I) bool, see CaptionTensors.belongs; None: to its owner
    # Which images and captions are here, where other processes have the others: `owner` and `belongs` are of all I.
    own: tuple[slice, slice, int] | None = None

    def cut(self, at: slice) -> CaptionBatch:
        """Some images of the batch with their captions, of which each has equally many, one after the other."""
        n = len(self.images)
        each = len(self.owner) // n
        captions = slice(at.start * each, at.stop * each)
        texts = _pytree.tree_map_only(Tensor, lambda tensor: tensor[captions], self.texts)
        return self._replace(images=self.images[at], texts=texts, own=(at, captions, n))


@dataclass(frozen=True)
class PostTensors:
    """A posts table ready for training. Distinct images are held once; posts refer to them by `image_row`. Aligned
    patches are a post's own: they have a row per post. Batches come on `where`."""

    texts: Texts
    images: Pixels | FeatureMap | Patches | Aligned  # (I, …); Aligned: (n, …)
    image_row: Tensor  # (n,) long into images
    label: Tensor  # (n,) float
    weight: Tensor  # (n,) float, mean 1 over a split
    where: torch.device = CPU

    def on(self, where: torch.device) -> PostTensors:
        """The same posts for batches on `where`: texts and images lie there if they fit, see `placed`."""
        if where == self.where:
            return self
        texts, images = placed((self.texts, self.images), where)
        label, weight = moved((self.label, self.weight), where)
        return replace(self, texts=texts, images=images, label=label, weight=weight, where=where)

    def part(self, rows: Tensor) -> PostTensors:
        """The posts at `rows`; all distinct images stay."""
        label, weight = map(picker(rows), (self.label, self.weight))
        return replace(self, texts=self.texts.rows(rows), image_row=self.image_row[rows], label=label, weight=weight)

    @cached_property
    def _columns(self) -> tuple[Tensor | None, Tensor | None]:
        """`last_column` of every post's words and word pieces."""
        ids, mask, pieces = self.texts.ids, self.texts.mask, self.texts.pieces
        return (None if ids is None else last_column(mask)), (None if pieces is None else last_column(pieces != 0))

    def batch(self, rows: Tensor, where: torch.device | None = None) -> Batch:
        """The posts at `rows` (on the CPU), in that order, on `where` if it is given."""
        where = where or self.where
        pick, at = picker(rows, where), self.image_row[rows]
        text = Texts(*map(pick, self.texts))
        images = self.images.rows(at, where) if isinstance(self.images, Aligned) else picker(at, where)(self.images)
        n_columns, n_pieces = (
            None if last is None or not len(rows) else max(1, int(last[rows].amax())) for last in self._columns
        )
        labels = pick(self.label), pick(self.weight), sent(rows, where)
        return Batch(text.ids, text.mask, text.features, images, *labels, text.pieces, n_columns, n_pieces, text.hidden,
                     text.towers)  # fmt: skip

    def shuffled(self, rows: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch over `rows` in a seeded order; the last batch may be smaller."""
        order = rows[torch.randperm(len(rows), generator=generator)]
        return (self.batch(part) for part in order.split(batch_size))

    def in_order(self, rows: Tensor, batch_size: int = 512, where: torch.device | None = None) -> Iterator[Batch]:
        """`rows` as they come, for prediction, on `where` if it is given."""
        return (self.batch(part, where) for part in rows.split(batch_size))


@dataclass(frozen=True)
class CaptionTensors:
    """A caption corpus ready for stage 1; caption t belongs to image `owner[t]`, an image's are contiguous. Batches
    come on `where`."""

    texts: dict[str, Texts]
    images: Pixels | FeatureMap  # (I, …)
    owner: Tensor  # (T,) long into images
    first: Tensor  # (I,) long: first caption of each image
    count: Tensor  # (I,) long: captions of each image, at least 1
    words: dict[str, Tensor] = field(default_factory=dict)
    # language -> (T,) long: equal for captions of the same words (keys.word_codes)
    where: torch.device = CPU

    def on(self, where: torch.device) -> CaptionTensors:
        """The same captions for batches on `where`, as `PostTensors.on`."""
        if where == self.where:
            return self
        texts, images = placed((self.texts, self.images), where)
        return replace(self, texts=texts, images=images, where=where)

    def belongs(self, language: str, captions: Tensor, images: Tensor) -> Tensor:
        """Whether a caption reads like any caption that an image has in `language`, one of its own or not.

        Args: captions: (t,) rows; images: (i,) rows.
        Returns: (t, i) bool.
        """
        count, words = self.count[images], self.words[language]
        row = torch.arange(len(images), device=images.device).repeat_interleave(count)
        within = torch.arange(len(row), device=images.device) - (count.cumsum(0) - count)[row]
        own = words[self.first[images][row] + within]
        _, code = torch.cat([own, words[captions]]).unique(return_inverse=True)
        has = torch.zeros(len(images), int(code.max()) + 1, dtype=torch.bool, device=images.device)
        has[row, code[: len(own)]] = True
        return has[:, code[len(own) :]].T

    def shuffled(
        self, image_rows: Tensor, batch_size: int, captions_per_image: int, generator: torch.Generator
    ) -> Iterator[CaptionBatch]:
        """One epoch over images in a seeded order; of each, `captions_per_image` captions drawn anew (with
        replacement only where it has fewer). A last batch of one image, which has no negatives, is left out."""
        order = image_rows[torch.randperm(len(image_rows), generator=generator)]
        for part in order.split(batch_size):
            if len(part) > 1:
                start = torch.randint(2**31 - 1, (len(part), 1), generator=generator)
                offset = (start + torch.arange(captions_per_image)) % self.count[part][:, None]
                yield self._batch(part, (self.first[part][:, None] + offset).flatten(), captions_per_image)

    def _batch(self, images: Tensor, captions: Tensor, repeats: int) -> CaptionBatch:
        texts = {language: text.rows(captions, self.where) for language, text in self.texts.items()}
        belongs = {language: sent(self.belongs(language, captions, images), self.where) for language in self.words}
        owner = torch.arange(len(images), device=self.where).repeat_interleave(repeats)
        return CaptionBatch(picker(images, self.where)(self.images), texts, owner, belongs or None)
