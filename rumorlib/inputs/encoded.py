"""Inputs or outputs of the encoders for a corpus, each text and image encoded once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rumorlib import config as cfg
from rumorlib.config import RunConfig, Settings, TextConfig, VisionConfig
from rumorlib.data.batches import Texts
from rumorlib.data.images import Images, edge_density
from rumorlib.data.posts import Corpus
from rumorlib.encoders import clip, components, fine_tuned, frozen, pretrained
from rumorlib.encoders.vocabulary import Vocabulary
from rumorlib.inputs.corpora import captions, corpus, rows_of


@lru_cache(maxsize=8)
def vocabulary(stage1: RunConfig, language: str, settings: Settings) -> Vocabulary:
    """Words of a from-scratch text tower: of the train captions and, on drawn scenes, of the train posts."""
    unit = stage1.sclip.text(language).tokens
    frame = captions(stage1.dataset, language, settings, stage1.corpus_seed).captions
    texts = frame.loc[frame["split"] == "train", "text"].tolist()
    if stage1.profile == "demo":
        posts = corpus(f"demo-{language}", settings, stage1.corpus_seed).posts
        texts += posts.loc[posts["split"] == "train", "text"].tolist()
    return Vocabulary.build(texts, unit)


def encode_texts(texts: list[str], stage1: RunConfig, language: str, settings: Settings, trained: int = 0) -> Texts:
    """Texts for SCLIP's tower of `language`: cached features of a frozen one, token ids of the others; with `trained`
    also what that frozen one leaves below so many last layers.

    Raises: ValueError: layers of another kind of tower are to be trained, or more than it has.
    """
    text: TextConfig = stage1.sclip.text(language)
    if trained and text.kind != "frozen":
        raise ValueError(f"text_layers are those of a frozen text tower; {stage1.name} has one of kind {text.kind!r}")
    if text.kind == "frozen":
        features = frozen_texts(texts, text, settings)
        if not trained:
            return Texts(None, None, features)
        folder, given = weights_folder(text.weights, settings), [text.prefix + one for one in texts]
        layers = fine_tuned.layers_below(folder, trained)
        real, rows = frozen.text_rows(given, folder, cfg.cache_root(), layers, frozen.MAX_TOKENS)
        return Texts(None, None, features, pieces=real.long(), hidden=rows)
    if text.kind == "clip":
        return clip.tokenized(pretrained.tokenizer_of(weights_folder(text.weights, settings)), texts, text.max_length)
    ids, mask = vocabulary(stage1, language, settings).encode(texts, text.max_length, cls=True)
    longest = int(mask.sum(1).max())
    return Texts(ids[:, :longest], mask[:, :longest])


def frozen_texts(texts: list[str], tower: TextConfig, settings: Settings) -> Tensor:
    """(n, d) fp16 features of texts by a frozen tower, with the prefix it was trained on."""
    folder, given = weights_folder(tower.weights, settings), [tower.prefix + text for text in texts]
    return frozen.text_features(given, folder, cfg.cache_root(), pool=tower.pool)


def weights_folder(name: str | None, settings: Settings) -> Path:
    """An encoder's folder. Raises FileNotFoundError naming where it was looked for and what to put there."""
    folder = cfg.weights_place(str(name), settings.data_root or cfg.data_root())
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist: put {name}'s folder there, or name the folder above it in RUMORLIB_WEIGHTS "
            "(rumorlib/data/README.md)"
        )
    return folder


def encode_images(
    images: Images, keys: list[str], vision: VisionConfig, settings: Settings, cls: bool = False, trained: int = 0
) -> Tensor:
    """What SCLIP's image tower reads, one row per key: pixels (n, 3, H, H) uint8 or frozen maps (n, C, h, w) fp16; with
    `cls` a ViT's rows (n, 1 + h * w, C), its [CLS] first; with `trained` what the encoder leaves below so many last
    layers."""
    if trained and vision.kind != "feature_map":
        raise ValueError(
            f"image_layers are those of a feature_map's encoder; this tower is a {vision.kind}, which learns"
        )
    if vision.kind == "feature_map":
        folder = weights_folder(vision.weights, settings)
        size = vision.image_size_px
        return frozen.image_maps(images, keys, folder, size, cfg.cache_root(), cls=cls, trained=trained)
    pixels = np.stack([images.pixels(key, vision.image_size_px) for key in keys])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


@lru_cache(maxsize=2)
def images_of(
    loaded: Corpus, vision: VisionConfig, settings: Settings, cls: bool = False, trained: int = 0
) -> tuple[Tensor, Tensor]:
    """Distinct images of a corpus as `encode_images` makes them, and the row of each post's image: (I, …), (n,) long.

    A post without an image gets a row of zeros, the last one (choice C26).
    """
    keys, rows = image_keys(loaded)
    encoded = encode_images(loaded.images, keys, vision, settings, cls, trained)
    if (rows == len(keys)).any():
        encoded = torch.cat([encoded, torch.zeros_like(encoded[:1])])
    return encoded, rows


@lru_cache(maxsize=2)
def component_rows(
    loaded: Corpus,
    vision: VisionConfig,
    n_components: int | None,
    settings: Settings,
    cls: bool = False,
    trained: int = 0,
) -> tuple[Tensor, Tensor]:
    """Frozen maps for DMFL: as `images_of`, or each cell in `n_components` numbers (C27), (I, N, k) fp16, and (n,)."""
    maps, rows = images_of(loaded, vision, settings, cls, trained)
    if n_components is None:
        return maps, rows
    fit_on = rows[rows_of(loaded.posts, "train")].unique()
    reduced, kept = components.principal_rows(maps, fit_on[maps[fit_on].flatten(1).any(dim=1)], n_components)
    print(f"{loaded.name}: {n_components} components keep {kept:.3f} of the variance of the image rows", flush=True)
    images_of.cache_clear()  # gigabytes, and read once
    return reduced, rows


@lru_cache(maxsize=2)
def clutter(loaded: Corpus, size_px: int) -> np.ndarray:
    """(n,) how cluttered a post's picture is: 1, 2 or 3, the third of the corpus's pictures by the density of edges; 0
    without a picture."""
    keys, rows = image_keys(loaded)
    edges = np.array([edge_density(loaded.images.pixels(key, size_px)) for key in keys])
    third = 1 + np.searchsorted(np.quantile(edges, [1 / 3, 2 / 3]), edges)
    return np.append(third, 0)[rows.numpy()]


def image_keys(loaded: Corpus) -> tuple[list[str], Tensor]:
    """Distinct image keys of a corpus, and each post's row among them; posts without an image have the row after."""
    keys = [key for key in dict.fromkeys(loaded.posts["image"]) if key]
    row_of = {key: row for row, key in enumerate(keys)}
    return keys, torch.tensor([row_of.get(key, len(keys)) for key in loaded.posts["image"]])
