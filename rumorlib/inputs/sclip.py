"""SCLIP of a stage-1 run, and a corpus as its trained towers leave it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from rumorlib import config as cfg
from rumorlib.config import MICCConfig, RunConfig, Settings
from rumorlib.data import files
from rumorlib.data.batches import Texts, device, streamed
from rumorlib.data.posts import Corpus
from rumorlib.encoders import clip, fine_tuned, pretrained
from rumorlib.encoders.feature_store import Store
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vocabulary import PAD
from rumorlib.inputs.encoded import encode_images, encode_texts, image_keys, vocabulary, weights_folder


@lru_cache(maxsize=2)
@torch.no_grad()
def text_vectors(loaded: Corpus, stage1: RunConfig, checkpoint: Path, language: str, settings: Settings) -> Texts:
    """A corpus's texts as the trained tower of `language` leaves them (M1), each distinct one once; features of a
    frozen tower as they are, not whitened."""
    texts = encode_texts(loaded.posts["text"].tolist(), stage1, language, settings)
    if texts.features is not None:
        return texts
    tower = load_sclip(stage1, checkpoint, settings).text_towers[language]
    distinct, row = torch.unique(texts.ids, dim=0, return_inverse=True)
    return Texts(None, None, streamed(lambda ids: tower(Texts(ids, ids != PAD)), distinct, 512)[row])


@lru_cache(maxsize=2)
@torch.no_grad()
def joint_texts(loaded: Corpus, stage1: RunConfig, checkpoint: Path, language: str, settings: Settings) -> Tensor:
    """T of every post in the joint space of the trained SCLIP (M2): (n, D), unit length."""
    sclip = load_sclip(stage1, checkpoint, settings)
    vectors = text_vectors(loaded, stage1, checkpoint, language, settings).features
    return streamed(lambda part: sclip.encode_text(Texts(None, None, part), language), vectors, 4096)


def new_sclip(stage1: RunConfig, settings: Settings) -> SCLIP:
    """An untrained SCLIP of the sizes its corpora and weights ask for."""
    n_words, d_text = {}, {}
    for language, text in stage1.sclip.texts:
        if text.kind == "frozen":
            d_text[language] = pretrained.width_of(weights_folder(text.weights, settings), "text")
        else:
            n_words[language] = 1 if text.kind == "clip" else len(vocabulary(stage1, language, settings))
    vision = stage1.sclip.vision
    d_map = pretrained.width_of(weights_folder(vision.weights, settings)) if vision.kind == "feature_map" else None
    model = SCLIP(stage1.sclip, n_words, d_text, d_map)
    clip.start(model, lambda name: weights_folder(name, settings))
    return model


def load_sclip(stage1: RunConfig, checkpoint: Path, settings: Settings) -> SCLIP:
    """The SCLIP a finished stage-1 run left, in evaluation mode, on the GPU if there is one."""
    from safetensors.torch import load_file

    model = new_sclip(stage1, settings)
    model.load_state_dict(load_file(checkpoint))
    return model.eval().to(device())


def let_learn(sclip: SCLIP, detector: MICCConfig, language: str, folder_of: Callable[[str], Path]) -> SCLIP:
    """Put the last layers of the pretrained encoders into SCLIP's towers, in place, where stage 2 trains them (C4).

    Raises: as `fine_tuned.text_top` and `image_top`.
    """
    where, text, vision = device(), sclip.config.text(language), sclip.config.vision
    if n := detector.text_layers:
        sclip.text_towers[language].top = fine_tuned.text_top(folder_of(text.weights), n, text.pool).to(where)
    if n := detector.image_layers:
        top = fine_tuned.image_top(folder_of(vision.weights), vision.image_size_px, n)
        sclip.image_tower.top = top.to(where)
    return sclip


@lru_cache(maxsize=2)
def patch_tokens(loaded: Corpus, stage1: RunConfig, checkpoint: Path, settings: Settings) -> tuple[Tensor, Tensor]:
    """Patch tokens Z of every distinct image by the trained tower, and the row of each post: (I, N, d_v) fp16, (n,).

    Each picture goes through a tower once: tokens are stored on disk under the weights' hash and the picture's, so
    other runs, other notebooks and other corpora with the same pictures read them.
    """
    keys, rows = image_keys(loaded)
    hashes = [loaded.images.content_hash(key) for key in keys]
    vision = stage1.sclip.vision
    key = files.file_hash(checkpoint) + json.dumps(cfg.as_dict(vision), sort_keys=True)
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    store = Store(cfg.cache_root() / "features" / f"tokens-{name}")
    todo, has_blank = store.missing(dict(zip(hashes, keys, strict=True))), bool((rows == len(keys)).any())
    if todo or has_blank:
        tower = load_sclip(stage1, checkpoint, settings).image_tower
    if todo:
        encoded = encode_images(loaded.images, list(todo.values()), vision, settings)
        names = list(todo)
        parts = zip((names[i : i + 256] for i in range(0, len(names), 256)), encoded.split(256), strict=True)
        batches = ((part, _tokens(tower, images)) for part, images in parts)
        store.fill(batches, 4096, len(todo), f"patch tokens, {loaded.name}", progress=True)
    tokens = store.gather(hashes)
    if has_blank:
        blank = torch.zeros_like(encode_images(loaded.images, keys[:1], vision, settings))
        tokens = torch.cat([tokens, _tokens(tower, blank)])
    return tokens, rows


@lru_cache(maxsize=1)
@torch.no_grad()
def joint_patches(loaded: Corpus, stage1: RunConfig, checkpoint: Path, settings: Settings) -> tuple[Tensor, Tensor]:
    """M of every distinct image in the joint space (M5), and the row of each post: (I, N, D) fp16 unit length, (n,)."""
    tokens, rows = patch_tokens(loaded, stage1, checkpoint, settings)
    sclip = load_sclip(stage1, checkpoint, settings)
    return streamed(lambda part: sclip.project_patches(part.float()).half(), tokens, 256), rows


@torch.inference_mode()
def _tokens(tower: nn.Module, images: Tensor) -> Tensor:
    return streamed(lambda part: tower(part).half(), images, len(images))
