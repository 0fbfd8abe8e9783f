"""Alignment done once (M8, M9): with SCLIP frozen, relevance and selection depend on no parameter that stage 2 trains.

The seeds of a run, and all variants that keep the same patches, share it; each epoch then reads a handful of patches
per post instead of all of them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from rumorlib.config import ControlConfig, MICCConfig, RunConfig, Settings
from rumorlib.data.batches import CPU, Aligned, Texts, device, moved, sent
from rumorlib.data.posts import Corpus
from rumorlib.encoders.vision import grid_sides
from rumorlib.inputs import encoded, sclip
from rumorlib.inputs.corpora import Source
from rumorlib.models import micc

LARGEST_BYTES = 10**9  # of kept patches in fp16; beyond it posts bring all their patches, and every batch aligns anew


def aligned(
    loaded: Corpus, stage1: RunConfig, checkpoint: Path, language: str, settings: Settings, config: MICCConfig
) -> tuple[Tensor | Aligned, Tensor]:
    """What posts bring for a MICC on frozen SCLIP, and the row of each post: aligned patches, a row per post; or, where
    they would not fit into memory, the patches of every distinct image (`inputs.joint_patches`)."""
    patches, rows = sclip.joint_patches(loaded, stage1, checkpoint, settings)
    size = len(rows) * micc.n_kept(config, _n_patches(stage1)) * patches.shape[-1] * patches.element_size()
    if size > LARGEST_BYTES:
        return patches, rows
    controls = ControlConfig(selection=config.controls.selection)
    decides = MICCConfig(top_k=config.top_k, alignment=config.alignment, controls=controls)
    return _aligned(loaded, stage1, checkpoint, language, settings, decides), torch.arange(len(rows))


@lru_cache(maxsize=1)
@torch.no_grad()
def _aligned(
    loaded: Corpus, stage1: RunConfig, checkpoint: Path, language: str, settings: Settings, config: MICCConfig
) -> Aligned:
    """`micc.align` of every post; selected patches as fp16, which joint patches are already: nothing is rounded."""
    text = sclip.joint_texts(loaded, stage1, checkpoint, language, settings)
    patches, rows = sclip.joint_patches(loaded, stage1, checkpoint, settings)
    parts, where = [], device()
    for part in torch.arange(len(rows)).split(256):
        given = sent(text[part], where), sent(patches[rows[part]], where).float(), sent(part, where)
        aligned = micc.align(config, _n_patches(stage1), *given)
        selected = aligned.indices is not None
        aligned = aligned._replace(patches=aligned.patches.half() if selected else aligned.patches)
        parts.append(moved(aligned, CPU))
    return Aligned(*(None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)))


def _n_patches(stage1: RunConfig) -> list[int]:
    return [side * side for side in grid_sides(stage1.sclip.vision)]


def read(source: Source) -> tuple[Texts, Tensor | Aligned, Tensor]:
    """Texts, distinct images and the image row of each post, as far encoded as stage 2 leaves SCLIP frozen (C4)."""
    config, corpus, settings, checkpoint = source
    detector: MICCConfig = config.detector
    frozen = corpus, config.stage1, checkpoint
    if detector.reads == "joint":
        texts = Texts(None, None, sclip.joint_texts(*frozen, config.language, settings))
        if detector.classifier_input == "towers":
            text = sclip.text_vectors(corpus, config.stage1, checkpoint, config.language, settings).features
            tokens, rows = sclip.patch_tokens(*frozen, settings)
            towers = torch.cat([text.half(), tokens.float().mean(1).half()[rows]], dim=1)
            texts = Texts(None, None, texts.features, towers=towers)
        return texts, *aligned(*frozen, config.language, settings, detector)
    texts = corpus.posts["text"].tolist(), config.stage1, config.language, settings
    texts = encoded.encode_texts(*texts, detector.text_layers)
    if detector.reads == "tokens":
        return texts, *sclip.patch_tokens(*frozen, settings)
    return texts, *encoded.images_of(corpus, config.stage1.sclip.vision, settings, trained=detector.image_layers)
