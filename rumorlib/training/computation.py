"""A fingerprint of what a run computes: its model, freshly built, on a small fixed batch.

A config says which equations run by name; an equation edited in place keeps its name. The loss of a new model and the
length of its gradient, on made inputs of made widths, take milliseconds, need no corpus and no weights, survive every
refactoring and move with every change of an equation. A run stores them; `results` compares them on loading. They are
the golden losses of the tests too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rumorlib import config as cfg
from rumorlib.config import BaselineConfig, HeadsConfig, RunConfig
from rumorlib.data.batches import CPU, Batch, CaptionTensors, Texts
from rumorlib.encoders.fine_tuned import ImageTop, TextTop
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vision import ImageTower
from rumorlib.encoders.vocabulary import CLS, SEP
from rumorlib.models import baselines, heads, named
from rumorlib.models.dmfl import DMFL
from rumorlib.models.micc import MICC
from rumorlib.training import compression_runs

Fingerprint = dict[str, float]  # loss, and grad_norm of a model trained by gradients
TOLERANCE = 1e-4  # relative: processors and numbers of threads round otherwise
N_POSTS, N_WORDS, LENGTH, D_FEATURE, N_ROWS, SIDE = 6, 24, 8, 12, 9, 7  # of the made batch; LENGTH in tokens


def fingerprint(config: RunConfig) -> Fingerprint:
    """Loss and gradient length of the run's freshly built model on a made batch; equal on all machines to TOLERANCE.

    Corpus, seed and lengths of the training play no part. A plug-in detector is known by the hash of its file
    (`DetectorConfig.source`) and has none: {}.
    """
    same = replace(config, dataset="made", variant="made", seed=0, corpus_seed=0, protocol="", n_train=None,
                   on_missing_image="drop", train_on="all", train=cfg.TrainConfig())  # fmt: skip
    return dict(_computed(same))


def agree(stored: Mapping[str, float], now: Mapping[str, float]) -> bool:
    """Whether two fingerprints are of one computation."""
    return stored.keys() == now.keys() and all(
        math.isclose(stored[name], now[name], rel_tol=TOLERANCE, abs_tol=1e-6) for name in now
    )


@lru_cache(maxsize=256)
def _computed(config: RunConfig) -> tuple[tuple[str, float], ...]:
    if config.kind in ("exchange", "damage", "heads") and config.parent is not None:
        return _computed(replace(config, kind="train", parent=None))  # it reads that model
    with torch.random.fork_rng(devices=[]):
        if isinstance(config.detector, BaselineConfig | HeadsConfig):
            return tuple({"loss": _of_fit(config)}.items())
        if config.model == "detector":
            return ()
        torch.manual_seed(0)
        if config.kind == "compress":
            return tuple({"loss": _of_compressed(config)}.items())
        model, batch = build(config)
        model.train()
        torch.manual_seed(1)  # dropout
        loss = model.training_loss(batch)["loss"]
        loss.backward()
        squares = [p.grad.double().square().sum() for p in model.parameters() if p.grad is not None]
        return tuple({"loss": float(loss.detach()), "grad_norm": float(torch.stack(squares).sum().sqrt())}.items())


def build(config: RunConfig) -> tuple[nn.Module, Any]:
    """A network of the run's config for made inputs, and a batch of these that it can be trained on; of `torch`'s
    generator as it stands. Raises: KeyError: a model without a network."""
    return BUILDERS[config.model](config)


# --- made inputs --------------------------------------------------------------------------------


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _ids(n: int = N_POSTS) -> tuple[Tensor, Tensor]:
    """(n, LENGTH) ids, [CLS] first, [SEP] last, and a mask whose rows differ in length."""
    ids = torch.randint(SEP + 1, N_WORDS, (n, LENGTH), generator=torch.Generator().manual_seed(n))
    length = LENGTH - torch.arange(n) % 3
    mask = torch.arange(LENGTH) < length[:, None]
    ids[:, 0], ids[torch.arange(n), length - 1] = CLS, SEP
    return ids * mask, mask


def _batch(images: Tensor, features: Tensor | None = None) -> Batch:
    """Posts of both classes and of two weights."""
    ids, mask = _ids()
    row = torch.arange(N_POSTS)
    return Batch(ids, mask, features, images, (row % 2).float(), 1.0 + row % 3 / 2, row, ids)


def _unit(*shape: int, seed: int) -> Tensor:
    return torch.nn.functional.normalize(_random(*shape, seed=seed), dim=-1)


def _images(config: cfg.VisionConfig, n: int) -> Tensor:
    """What an image tower reads: pixels, or a frozen map."""
    if config.kind == "feature_map":
        return _random(n, D_FEATURE, SIDE, SIDE, seed=3)
    size = config.image_size_px, config.image_size_px
    return torch.randint(0, 256, (n, 3, *size), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


# --- networks -----------------------------------------------------------------------------------


def _new_sclip(config: cfg.SCLIPConfig) -> SCLIP:
    words = {language: N_WORDS for language, text in config.texts if text.kind != "frozen"}
    widths = {language: D_FEATURE for language, text in config.texts if text.kind == "frozen"}
    return SCLIP(config, words, widths, D_FEATURE if config.vision.kind == "feature_map" else None)


def _sclip(config: RunConfig) -> tuple[nn.Module, Any]:
    ids, mask = _ids(2 * N_POSTS)
    texts = {
        language: Texts(ids, mask) if text.kind != "frozen" else Texts(None, None, _random(len(ids), D_FEATURE))
        for language, text in config.sclip.texts
    }
    count = torch.full((N_POSTS,), 2)
    owner = torch.arange(N_POSTS).repeat_interleave(2)
    made = CaptionTensors(texts, _images(config.sclip.vision, N_POSTS), owner, count.cumsum(0) - count, count)
    batch = next(made.shuffled(torch.arange(N_POSTS), N_POSTS, 2, torch.Generator().manual_seed(0)))
    return _new_sclip(config.sclip), batch


def _micc(config: RunConfig) -> tuple[nn.Module, Any]:
    sclip = _learning(_new_sclip(config.stage1.sclip), config.detector, config.language)
    model, n, d = MICC(config.detector, sclip, config.language), sum(sclip.n_patches), sclip.config.d_joint
    if config.distillation:
        model.learn_from(_random(N_POSTS, seed=4), config.distillation)
    frozen = config.stage1.sclip.text(config.language).kind == "frozen"
    features = _random(N_POSTS, D_FEATURE, seed=5) if frozen else None
    if config.detector.reads == "joint":
        batch = _batch(_unit(N_POSTS, n, d, seed=6), _unit(N_POSTS, d, seed=5))
        if config.detector.classifier_input == "towers":
            batch = batch._replace(towers=_random(N_POSTS, model.d_towers, seed=9))
        return model, batch
    if config.detector.reads == "tokens":
        batch = _batch(_random(N_POSTS, n, config.stage1.sclip.vision.width, seed=6), features)
    else:
        batch = _batch(_images(config.stage1.sclip.vision, N_POSTS), features)
    if config.detector.text_layers:
        batch = batch._replace(hidden=_random(*batch.pieces.shape, D_FEATURE, seed=9))
    return model, batch


class _Layer(nn.Linear):
    """In the place of a pretrained encoder's layers, which are the library's."""

    def forward(self, rows: Tensor, hidden: Tensor) -> Tensor:
        return super().forward(rows).tanh() + hidden.clamp(min=-1).mean()


def _learning(sclip: SCLIP, detector: cfg.MICCConfig, language: str) -> SCLIP:
    if detector.text_layers:
        layers = nn.ModuleList(_Layer(D_FEATURE, D_FEATURE) for _ in range(detector.text_layers))
        sclip.text_towers[language].top = TextTop(layers, sclip.config.text(language).pool)
    if detector.image_layers:
        sclip.image_tower.top = _image_top(False)
    return sclip


def _image_top(cls: bool) -> ImageTop:
    return ImageTop(nn.Linear(D_FEATURE, D_FEATURE) if cls else nn.Conv2d(D_FEATURE, D_FEATURE, 1), SIDE, cls)


def _word_vectors(config: Any) -> Tensor:
    vectors = _random(N_WORDS, config.word2vec.d_word, seed=7) / 4
    vectors[0] = 0
    return vectors


def _dmfl(config: RunConfig) -> tuple[nn.Module, Any]:
    images, encoder, vision = _random(N_POSTS, N_ROWS, D_FEATURE, seed=6), None, config.detector.image
    n_patches, d_image = N_ROWS - config.detector.image_cls, D_FEATURE
    if vision and vision.kind == "patch_conv":
        images, encoder, d_image = _images(vision, N_POSTS), ImageTower(vision, None, 0.0), vision.width
        n_patches = sum(encoder.n_patches)
    elif config.detector.image_layers:
        encoder, n_patches = _image_top(config.detector.image_cls), SIDE**2
        is_map = not config.detector.image_cls
        images = _images(vision, N_POSTS) if is_map else _random(N_POSTS, 1 + n_patches, D_FEATURE, seed=6)
    words = _word_vectors(config.detector)
    model = DMFL(config.detector, words, d_image, n_patches, N_WORDS, D_FEATURE, encoder)
    batch = _batch(images)
    if config.detector.logic_frozen:
        batch = batch._replace(hidden=_random(*batch.pieces.shape, D_FEATURE, seed=9))
    return model, batch


def _other(config: RunConfig) -> tuple[nn.Module, Any]:
    """A detector of other authors; the text side and the image side of what it reads, made."""
    reads, texts = config.detector.reads, _random(N_POSTS, D_FEATURE, seed=5)
    n_rows = N_ROWS if reads == "words, image rows" else 1
    images = torch.zeros(N_POSTS, 1, 1) if reads == "similarities" else _random(N_POSTS, n_rows, D_FEATURE, seed=6)
    ring = torch.stack([torch.arange(N_POSTS), (torch.arange(N_POSTS) + 1) % N_POSTS], dim=1)
    talk = named.Conversation(_random(N_POSTS + 2, D_FEATURE, seed=8), ring, N_POSTS)
    vectors = _word_vectors(config.detector) if config.detector.word2vec else named.NO_WORDS
    given = named.Given(
        vectors, D_FEATURE, tuple(images.shape[1:]), torch.arange(N_POSTS) % 3 - 1,
        lambda: talk, texts,
    )  # fmt: skip
    return named.build(config.detector, given), _batch(images, None if "words" in reads else texts)


BUILDERS: dict[str, Callable[[RunConfig], tuple[nn.Module, Any]]] = {
    "sclip": _sclip, "micc": _micc, "dmfl": _dmfl, **dict.fromkeys(cfg.OTHERS, _other),
}  # fmt: skip


def _of_compressed(config: RunConfig) -> float:
    """Mean absolute log-odds of the parent's kind of network after it was compressed."""
    parent = replace(config.parent, detector=replace(config.parent.detector, freeze="nothing"))
    model, batch = build(parent)
    model = compression_runs.compressed(compression_runs.one_language(model).eval(), config.compression)
    with torch.inference_mode(), compression_runs.in_precision(config.compression):
        return float(model.log_odds(batch).float().abs().mean())


# --- fits of scikit-learn, and heads ----------------------------------------------------------------


def _of_fit(config: RunConfig) -> float:
    """Log loss, on what they were fitted on, of made posts with one telling word and feature."""
    n, detector = 24, config.detector
    label = np.arange(n) % 2
    signal = label[:, None] + np.sin(np.arange(n * 5).reshape(n, 5))  # (n, 5)
    if isinstance(detector, HeadsConfig):
        few, every = replace(detector, n_seeds=2), np.arange(n)
        prob = heads.fit_predict(signal, label, every, few, every, where=CPU)[-1].mean(0)  # one dropout on all machines
    else:
        texts = [f"{'no' if one else 'yes'} word{i % 5} http://t.co/{i} {'!' * (i % 3)}" for i, one in enumerate(label)]
        made = baselines.Features(label, texts, signal, signal[:, ::-1], [signal, signal**2], 1.0 + label / 2)
        one, _ = baselines.choose(detector, made, made, config.language)
        prob = baselines.fit_predict(one, made, {"made": made}, config.language)["made"]
    prob = np.clip(np.asarray(prob, float), 1e-9, 1 - 1e-9)
    return float(-np.log(np.where(label == 1, prob, 1 - prob)).mean())
