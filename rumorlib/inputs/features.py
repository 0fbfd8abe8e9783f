"""What the rows of the comparison tables that are not MICC or DMFL read of a corpus."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from rumorlib.data.batches import array, device, sent
from rumorlib.encoders.vision import grid_sides
from rumorlib.inputs import encoded, sclip
from rumorlib.inputs.corpora import Source
from rumorlib.models import baselines


def for_row(read: Source) -> baselines.Features:
    """What a row of scikit-learn reads, one entry per post: texts, frozen features or stage-1 relevance, no more."""
    config, corpus, settings, checkpoint = read
    posts = corpus.posts
    kind, weight = config.detector.kind, posts.get("weight")
    text = image = relevance = None
    if kind in ("text_lr", "text_image_lr"):
        text = frozen_texts(read)
    if kind in ("image_lr", "text_image_lr", "image_forest"):
        image, rows = frozen_images(read)
        image = image[rows.numpy()]
    if kind == "relevance_lr":
        patches, rows = sclip.joint_patches(corpus, config.stage1, checkpoint, settings)
        n_patches = [side * side for side in grid_sides(config.stage1.sclip.vision)]
        joint = sclip.joint_texts(corpus, config.stage1, checkpoint, config.language, settings)
        relevance = stage1_relevance(joint, patches, rows, n_patches)
    return baselines.Features(posts["label"].to_numpy(), posts["text"].tolist(), text, image, relevance,
                              None if weight is None else weight.to_numpy())  # fmt: skip


def frozen_texts(read: Source) -> np.ndarray:
    """(n, d) frozen text features of every post: of the pretrained encoder, or T of stage 1 where there is none."""
    config, corpus, settings, checkpoint = read
    texts = corpus.posts["text"].tolist()
    if own := getattr(config.detector, "text", None):
        return encoded.frozen_texts(texts, own, settings).float().numpy()
    frozen = encoded.encode_texts(texts, config.stage1, config.language, settings).features
    if frozen is None:
        frozen = sclip.joint_texts(corpus, config.stage1, checkpoint, config.language, settings)
    return frozen.float().numpy()


def frozen_images(read: Source) -> tuple[np.ndarray, Tensor]:
    """(I, d) pooled frozen features of the distinct images, and each post's row among them, (n,)."""
    config, corpus, settings, checkpoint = read
    if config.stage1.sclip.vision.kind == "feature_map":
        maps, rows = encoded.images_of(corpus, config.stage1.sclip.vision, settings)
    else:
        tokens, rows = sclip.patch_tokens(corpus, config.stage1, checkpoint, settings)
        maps = tokens.transpose(1, 2)[..., None]  # (I, d_v, N, 1): pooled over patches
    return baselines.pooled(maps), rows


def of_rows(features: baselines.Features, index: np.ndarray) -> baselines.Features:
    """The features of the posts at `index`, (m,) row numbers."""

    def pick(values):
        if values is None or isinstance(values, np.ndarray):
            return values if values is None else values[index]
        if isinstance(values[0], str):
            return [values[i] for i in index]
        return [value[index] for value in values]

    return baselines.Features(*(pick(getattr(features, f.name)) for f in dataclasses.fields(features)))


@torch.inference_mode()
def stage1_relevance(text: Tensor, patches: Tensor, rows: Tensor, n_patches: list[int]) -> list[np.ndarray]:
    """Relevance matrix D_s of every post by stage 1 alone (M8): per scale (n, N_s), of (n, D) texts, (I, N, D) patches
    of distinct images and each post's row among them."""
    where = device()
    parts = [
        torch.einsum("bnd,bd->bn", sent(patches[rows[part]], where).float(), sent(text[part], where))
        for part in torch.arange(len(rows)).split(512)
    ]
    return np.split(array(torch.cat(parts)), np.cumsum(n_patches)[:-1], axis=1)
