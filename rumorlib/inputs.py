"""From a run's config to tensors: corpora read once, texts encoded, distinct images encoded once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from rumorlib import config as cfg
from rumorlib import files
from rumorlib.config import OnMissing, RunConfig, Settings, TextConfig, VisionConfig
from rumorlib.data import captions as caption_tables
from rumorlib.data import corpora, drawn, keys, photo, protocols
from rumorlib.data.batches import CaptionTensors, PostTensors, Texts, device, streamed
from rumorlib.data.claims import DrawnConfig
from rumorlib.data.images import Images
from rumorlib.data.posts import CaptionCorpus, Corpus
from rumorlib.encoders import clip, frozen, pretrained
from rumorlib.encoders.feature_store import Store
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vocabulary import PAD, Vocabulary


def corpus(
    dataset: str, settings: Settings, corpus_seed: int = 0, protocol: str = "", on_missing_image: OnMissing = "drop"
) -> Corpus:
    """Posts of `dataset` with train, dev and test by `protocol`, written on first use and reused while no file changes.

    Args:
        corpus_seed: drawn scenes only.
        protocol: as `protocols.parse` reads it; "": the corpus's own three sides if it has them, else its usual one.
        on_missing_image: what becomes of posts without a picture (C26).
    """
    return _corpus(dataset, settings, corpus_seed, protocol, on_missing_image, state_of(dataset, settings))


def state_of(corpus: str, settings: Settings) -> str:
    """State of the files of a corpus, `files.state`; "" for drawn scenes."""
    place = corpora.place_of(corpus, settings)
    return files.state(place if place.is_dir() else place.parent) if place else ""


@lru_cache(maxsize=4)
def _corpus(
    dataset: str, settings: Settings, corpus_seed: int, protocol: str, on_missing_image: OnMissing, _: str
) -> Corpus:
    loaded = corpora.load(dataset, settings, corpus_seed, on_missing_image)
    if not protocol and (loaded.posts["split"] == "dev").any():
        return loaded
    chosen = protocols.parse(protocol) if protocol else protocols.usual(loaded)
    marks = [f"corpus{corpus_seed}"] * bool(corpus_seed) + [on_missing_image] * (on_missing_image != "drop")
    mark = "-".join(marks)
    posts = protocols.stored_split(loaded, chosen, settings.profile, mark)
    return replace(loaded, posts=posts, split_file=protocols.split_path(dataset, chosen, settings.profile, mark).name)


def corpus_of(config: RunConfig, settings: Settings) -> Corpus:
    """The corpus a run is trained and scored on."""
    if config.n_train is not None:
        return _drawn_corpus(config.dataset, config.corpus_seed, config.n_train)
    whole = corpus(config.dataset, settings, config.corpus_seed, config.protocol, config.on_missing_image)
    if config.train_on == "all":
        return whole
    known = train_pictures(config.stage1, settings)
    return replace(whole, posts=photo.trained_on(whole.posts, known, config.train_on == "known"))


def train_pictures(stage1: RunConfig, settings: Settings) -> set[str]:
    """Pictures that a stage-1 run is trained on."""
    table = captions(stage1.dataset, stage1.language, settings, stage1.corpus_seed).captions
    return caption_tables.train_pictures(table, stage1.n_train)


@lru_cache(maxsize=1)  # 30 KB a picture
def _drawn_corpus(dataset: str, seed: int, n_train: int) -> Corpus:
    return drawn.load(dataset.removeprefix("demo-"), config=DrawnConfig(seed=seed, n_train=n_train))


@lru_cache(maxsize=4)
def captions(dataset: str, language: str, settings: Settings, corpus_seed: int = 0) -> CaptionCorpus:
    """Captions of stage-1 corpus `dataset` in one language, or the posts it is made of (CorpusRecord.posts_of)."""
    if of := cfg.about(dataset).posts_of:
        return caption_tables.of_posts(corpus(of, settings), language)
    return corpora.load_captions(f"{dataset}-{language}", settings, corpus_seed)


# --- texts ------------------------------------------------------------------------------------


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


def encode_texts(texts: list[str], stage1: RunConfig, language: str, settings: Settings) -> Texts:
    """Texts for SCLIP's tower of `language`: cached features of a frozen one, token ids of one from scratch."""
    text: TextConfig = stage1.sclip.text(language)
    if text.kind == "frozen":
        features = frozen.text_features(texts, weights_folder(text.weights, settings), cfg.cache_root())
        return Texts(None, None, features)
    ids, mask = vocabulary(stage1, language, settings).encode(texts, text.max_length, cls=True)
    longest = int(mask.sum(1).max())
    return Texts(ids[:, :longest], mask[:, :longest])


@lru_cache(maxsize=2)
@torch.no_grad()
def text_vectors(loaded: Corpus, stage1: RunConfig, checkpoint: Path, language: str, settings: Settings) -> Texts:
    """A corpus's texts as the trained tower of `language` leaves them (M1), each distinct one once."""
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


def weights_folder(name: str | None, settings: Settings) -> Path:
    """<data>/weights/<name>. Raises FileNotFoundError naming the folder and what to put there."""
    folder = (settings.data_root or cfg.data_root()) / "weights" / str(name)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist: put {name}'s folder there (rumorlib/data/README.md)")
    return folder


# --- images -----------------------------------------------------------------------------------


def encode_images(
    images: Images, keys: list[str], vision: VisionConfig, settings: Settings, cls: bool = False
) -> Tensor:
    """What SCLIP's image tower reads, one row per key: pixels (n, 3, H, H) uint8 or frozen maps (n, C, h, w) fp16; with
    `cls` a ViT's rows (n, 1 + h * w, C), its [CLS] first."""
    if vision.kind == "feature_map":
        folder = weights_folder(vision.weights, settings)
        return frozen.image_maps(images, keys, folder, vision.image_size_px, cfg.cache_root(), cls=cls)
    pixels = np.stack([images.pixels(key, vision.image_size_px) for key in keys])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


@lru_cache(maxsize=2)
def images_of(loaded: Corpus, vision: VisionConfig, settings: Settings, cls: bool = False) -> tuple[Tensor, Tensor]:
    """Distinct images of a corpus as `encode_images` makes them, and the row of each post's image: (I, …), (n,) long.

    A post without an image gets a row of zeros, the last one (choice C26).
    """
    keys, rows = _image_rows(loaded)
    encoded = encode_images(loaded.images, keys, vision, settings, cls)
    if (rows == len(keys)).any():
        encoded = torch.cat([encoded, torch.zeros_like(encoded[:1])])
    return encoded, rows


@lru_cache(maxsize=2)
def image_rows(
    loaded: Corpus, vision: VisionConfig, n_components: int | None, settings: Settings, cls: bool = False
) -> tuple[Tensor, Tensor]:
    """Frozen maps for DMFL: as `images_of`, or each cell in `n_components` numbers (C27), (I, N, k) fp16, and (n,)."""
    maps, rows = images_of(loaded, vision, settings, cls)
    if n_components is None:
        return maps, rows
    fit_on = rows[rows_of(loaded.posts, "train")].unique()
    reduced, kept = frozen.principal_rows(maps, fit_on[maps[fit_on].flatten(1).any(dim=1)], n_components)
    print(f"{loaded.name}: {n_components} components keep {kept:.3f} of the variance of the image rows", flush=True)
    images_of.cache_clear()  # gigabytes, and read once
    return reduced, rows


def _image_rows(loaded: Corpus) -> tuple[list[str], Tensor]:
    """Distinct image keys of a corpus, and each post's row among them; posts without an image have the row after."""
    keys = [key for key in dict.fromkeys(loaded.posts["image"]) if key]
    row_of = {key: row for row, key in enumerate(keys)}
    return keys, torch.tensor([row_of.get(key, len(keys)) for key in loaded.posts["image"]])


# --- SCLIP --------------------------------------------------------------------------------------


def new_sclip(stage1: RunConfig, settings: Settings) -> SCLIP:
    """An untrained SCLIP of the sizes its corpora and weights ask for."""
    n_words, d_text = {}, {}
    for language, text in stage1.sclip.texts:
        if text.kind == "frozen":
            d_text[language] = pretrained.width_of(weights_folder(text.weights, settings), "text")
        else:
            n_words[language] = len(vocabulary(stage1, language, settings))
    vision = stage1.sclip.vision
    d_map = pretrained.width_of(weights_folder(vision.weights, settings)) if vision.kind == "feature_map" else None
    model = SCLIP(stage1.sclip, n_words, d_text, d_map)
    if vision.kind == "patch_conv" and vision.weights:
        clip.start_from(model.image_tower, weights_folder(vision.weights, settings))
    return model


def load_sclip(stage1: RunConfig, checkpoint: Path, settings: Settings) -> SCLIP:
    """The SCLIP a finished stage-1 run left, in evaluation mode, on the GPU if there is one."""
    from safetensors.torch import load_file

    model = new_sclip(stage1, settings)
    model.load_state_dict(load_file(checkpoint))
    return model.eval().to(device())


@lru_cache(maxsize=2)
def patch_tokens(loaded: Corpus, stage1: RunConfig, checkpoint: Path, settings: Settings) -> tuple[Tensor, Tensor]:
    """Patch tokens Z of every distinct image by the trained tower, and the row of each post: (I, N, d_v) fp16, (n,).

    Each picture goes through a tower once: tokens are stored on disk under the weights' hash and the picture's, so
    other runs, other notebooks and other corpora with the same pictures read them.
    """
    keys, rows = _image_rows(loaded)
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


# --- splits as tensors ----------------------------------------------------------------------------


def post_tensors(posts: pd.DataFrame, texts: Texts, images: Tensor, image_row: Tensor) -> PostTensors:
    """A posts table as tensors; `weight` column if it has one, else every post counts once."""
    weight = posts["weight"] if "weight" in posts else pd.Series(1.0, index=posts.index)
    return PostTensors(
        texts, images, image_row,
        torch.tensor(posts["label"].to_numpy(), dtype=torch.float32),
        torch.tensor(weight.to_numpy(), dtype=torch.float32),
    )  # fmt: skip


def rows_of(frame: pd.DataFrame, split: str) -> Tensor:
    """Row numbers of a split, (n,) long."""
    return torch.from_numpy(np.flatnonzero(frame["split"].to_numpy() == split))


def caption_tensors(stage1: RunConfig, settings: Settings) -> tuple[CaptionTensors, pd.DataFrame]:
    """A caption corpus in every language of the run's SCLIP, on one set of images; and one row per image: split.

    Languages must caption the same images equally often, position by position, when there are several.
    """
    texts, words, owners = {}, {}, {}
    for language, _ in stage1.sclip.texts:
        loaded = captions(stage1.dataset, language, settings, stage1.corpus_seed)
        frame = loaded.captions[loaded.captions["split"].isin(["train", "dev", "test"])]
        frame = frame.sort_values("image", kind="stable")
        texts[language] = encode_texts(frame["text"].tolist(), stage1, language, settings)
        words[language] = torch.from_numpy(keys.word_codes(frame["text"].tolist()))
        owners[language] = frame["image"].tolist()
    if len({tuple(owner) for owner in owners.values()}) != 1:
        raise ValueError(f"the languages of {stage1.dataset} caption different images; pretrain them one by one")
    images = frame.drop_duplicates("image")[["image", "split"]].reset_index(drop=True)
    row_of = {key: row for row, key in enumerate(images["image"])}
    owner = torch.tensor([row_of[key] for key in frame["image"]])
    count = torch.bincount(owner)
    first = count.cumsum(0) - count
    encoded = encode_images(loaded.images, images["image"].tolist(), stage1.sclip.vision, settings)
    if stage1.sclip.vision.kind == "feature_map":  # the tower reads place by place: laid out so once, not every batch
        encoded = encoded.contiguous(memory_format=torch.channels_last)
    return CaptionTensors(texts, encoded, owner, first, count, words), images
