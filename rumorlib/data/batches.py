"""Whole splits as tensors in memory; a batch is a gather of rows (B posts, L text tokens, I distinct images)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Texts(NamedTuple):
    """Texts of n posts or captions: token ids for a trainable tower, features for a frozen one."""

    ids: Tensor | None  # (n, L) long: 0 PAD, 1 UNK, 2 CLS, 3 SEP
    mask: Tensor | None  # (n, L) bool, True = token
    features: Tensor | None = None  # (n, d_text) frozen sentence features
    pieces: Tensor | None = None  # (n, P) long: ids of a pretrained encoder's word pieces, 0 = padding

    def rows(self, rows: Tensor) -> Texts:
        """The texts at `rows`."""
        return Texts(*(None if part is None else part[rows] for part in self))

    def __len__(self) -> int:  # number of texts, not of fields
        return len(self.features if self.ids is None else self.ids)


class Aligned(NamedTuple):
    """Posts whose text has met its image: text-patch relevance, and the patches that go on to fusion (M8, M9)."""

    relevance: Tensor  # (B, N) of all patches, in [-1, 1]
    patches: Tensor  # (B, M, D) those that go on, scale after scale, most relevant first within a scale
    rho: Tensor | None  # (B, M) their relevance; None without alignment
    indices: Tensor | None  # (B, M) into the N patches; None where nothing was selected

    def rows(self, rows: Tensor) -> Aligned:
        """The posts at `rows`."""
        return Aligned(*(None if part is None else part[rows] for part in self))


class Batch(NamedTuple):
    """Posts for a detector."""

    text_ids: Tensor | None  # (B, L)
    text_mask: Tensor | None  # (B, L)
    text_features: Tensor | None  # (B, d_text)
    images: Tensor | Aligned
    # (B, 3, H, W) uint8 pixels · (B, C, h, w) frozen map · (B, N, D) patches made once · patches already aligned
    label: Tensor  # (B,) float
    weight: Tensor  # (B,) float
    row: Tensor  # (B,) long, index into the posts table
    pieces: Tensor | None = None  # (B, P) word pieces for a logic chain that starts from BERT


class CaptionBatch(NamedTuple):
    """Image-caption pairs for stage 1; `owner[t]` is the image of caption t, in every language."""

    images: Tensor  # (I, …)
    texts: dict[str, Texts]  # language -> T captions
    owner: Tensor  # (T,) long into images
    belongs: dict[str, Tensor] | None = None  # language -> (T, I) bool, see CaptionTensors.belongs; None: to its owner


@dataclass(frozen=True)
class PostTensors:
    """A posts table ready for training. Distinct images are held once; posts refer to them by `image_row`. Aligned
    patches are a post's own: they have a row per post."""

    texts: Texts
    images: Tensor | Aligned  # (I, …)
    image_row: Tensor  # (n,) long into images
    label: Tensor  # (n,) float
    weight: Tensor  # (n,) float

    def batch(self, rows: Tensor) -> Batch:
        """The posts at `rows`, in that order."""
        text, at = self.texts.rows(rows), self.image_row[rows]
        images = self.images.rows(at) if isinstance(self.images, Aligned) else self.images[at]
        labels = self.label[rows], self.weight[rows]
        return Batch(text.ids, text.mask, text.features, images, *labels, rows, text.pieces)

    def shuffled(self, rows: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch over `rows` in a seeded order; the last batch may be smaller."""
        order = rows[torch.randperm(len(rows), generator=generator)]
        return (self.batch(part) for part in order.split(batch_size))

    def in_order(self, rows: Tensor, batch_size: int = 512) -> Iterator[Batch]:
        """`rows` as they come, for prediction."""
        return (self.batch(part) for part in rows.split(batch_size))


@dataclass(frozen=True)
class CaptionTensors:
    """A caption corpus ready for stage 1; caption t belongs to image `owner[t]`, an image's are contiguous."""

    texts: dict[str, Texts]
    images: Tensor  # (I, …)
    owner: Tensor  # (T,) long into images
    first: Tensor  # (I,) long: first caption of each image
    count: Tensor  # (I,) long: captions of each image, at least 1
    words: dict[str, Tensor] = field(default_factory=dict)
    # language -> (T,) long: equal for captions of the same words (keys.word_codes)

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
        texts = {language: text.rows(captions) for language, text in self.texts.items()}
        belongs = {language: self.belongs(language, captions, images) for language in self.words}
        owner = torch.arange(len(images)).repeat_interleave(repeats)
        return CaptionBatch(self.images[images], texts, owner, belongs or None)
