"""A training step at a run's sizes, without its data: what it is timed and counted on, and what a plan costs by it.

Inputs are made, of the widths and batch sizes that the run's corpora and encoders have; weights are random. `projected`
is what stands in a plan for runs that no finished one tells the time of: products of the steps over a stated share of a
card's limit. Nothing of it was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from rumorlib.config import DMFLConfig, RunConfig, TrainConfig
from rumorlib.data.batches import CPU, CaptionTensors, PostTensors, Texts, moved
from rumorlib.encoders import fine_tuned
from rumorlib.encoders.frozen import MAX_TOKENS
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vision import grid_sides
from rumorlib.models import micc
from rumorlib.models.dmfl import DMFL
from rumorlib.models.micc import MICC
from rumorlib.studies.cost.complexity import image_width
from rumorlib.studies.cost.costs import FROZEN_WIDTHS
from rumorlib.training import loop

N_WORDS = 20_000  # rows of word vectors and of a tower's own vocabulary; of a token table of BERT's: 30,522
N_PIECES = 30_522


class Training(NamedTuple):
    """A model of a profile's sizes, made inputs of one batch, and how it is trained."""

    model: nn.Module
    tensors: PostTensors | CaptionTensors
    train: TrainConfig

    def batches(self, n: int, where: torch.device) -> Callable[[torch.Generator], Iterator]:
        """n batches, each a shuffle of the same rows, as the loop asks for them."""
        here, size = self.tensors.on(where), self.train.batch_size
        more = (self.train.captions_per_image,) if isinstance(here, CaptionTensors) else ()

        def drawn(generator: torch.Generator) -> Iterator:
            for _ in range(n):
                yield from here.shuffled(torch.arange(size), size, *more, generator)

        return drawn


# --- a step -------------------------------------------------------------------------------------


def made(run: RunConfig, batch: int | None = None) -> Training:
    """A run of stage 1, MICC or DMFL. batch: posts or images in a step; None: the config's."""
    train = replace(run.train, batch_size=batch or run.train.batch_size)
    torch.manual_seed(0)
    return Training(*_BUILD[run.model](run, train), train)


def _ids(n: int, length: int, of: int) -> Texts:
    ids = torch.randint(4, of, (n, length))
    return Texts(ids, torch.ones_like(ids, dtype=torch.bool))


def _sclip(run: RunConfig) -> SCLIP:
    texts = dict(run.sclip.texts)
    frozen = {language: FROZEN_WIDTHS[text.weights][0] for language, text in texts.items() if text.kind == "frozen"}
    vision = run.sclip.vision
    d_map = FROZEN_WIDTHS[vision.weights][0] if vision.kind == "feature_map" else None
    return SCLIP(run.sclip, dict.fromkeys(texts, N_WORDS), frozen, d_map)


def _texts(run: RunConfig, language: str, n: int) -> Texts:
    text = run.sclip.text(language)
    if text.kind == "frozen":
        return Texts(None, None, torch.randn(n, FROZEN_WIDTHS[text.weights][0]).half())
    return _ids(n, text.max_length, N_WORDS)


def _images(run: RunConfig, n: int) -> Tensor:
    vision = run.sclip.vision
    if vision.kind == "feature_map":
        width, side = FROZEN_WIDTHS[vision.weights]
        return torch.randn(n, width, side, side).half().contiguous(memory_format=torch.channels_last)
    return torch.randint(0, 256, (n, 3, vision.image_size_px, vision.image_size_px), dtype=torch.uint8)


def _stage1(run: RunConfig, train: TrainConfig) -> tuple[nn.Module, CaptionTensors]:
    n, k = train.batch_size, train.captions_per_image
    texts = {language: _texts(run, language, n * k) for language, _ in run.sclip.texts}
    count = torch.full((n,), k)
    owner = torch.arange(n).repeat_interleave(k)
    words = dict.fromkeys(texts, torch.arange(n * k)) if run.sclip.mask_twins else {}
    return _sclip(run), CaptionTensors(texts, _images(run, n), owner, count.cumsum(0) - count, count, words)


def _posts(texts: Texts, images: object, n: int) -> PostTensors:
    return PostTensors(texts, images, torch.arange(n), (torch.arange(n) % 2).float(), torch.ones(n))


def _micc(run: RunConfig, train: TrainConfig) -> tuple[nn.Module, PostTensors]:
    n, sclip, layers = train.batch_size, _sclip(run.stage1), run.detector.text_layers
    if layers:
        sclip.text_towers[run.language].top = _text_top(
            FROZEN_WIDTHS[run.stage1.sclip.text(run.language).weights][0], layers
        )
    model, N, D = MICC(run.detector, sclip, run.language), sum(sclip.n_patches), sclip.config.d_joint
    if run.detector.reads == "joint":  # text and patches have met before training: alignment.py
        text, patches = (nn.functional.normalize(torch.randn(n, *more, D), dim=-1) for more in ((), (N,)))
        aligned = micc.align(run.detector, sclip.n_patches, text, patches, torch.arange(n))
        return model, _posts(Texts(None, None, text), aligned._replace(patches=aligned.patches.half()), n)
    tokens = run.detector.reads == "tokens"
    images = torch.randn(n, N, run.stage1.sclip.vision.width).half() if tokens else _images(run.stage1, n)
    texts = _texts(run.stage1, run.language, n)
    if layers:
        rows = torch.randn(n, MAX_TOKENS, texts.features.shape[1]).half()
        texts = Texts(None, None, texts.features, pieces=torch.ones(n, MAX_TOKENS, dtype=torch.long), hidden=rows)
    return model, _posts(texts, images, n)


def _text_top(width: int, layers: int) -> fine_tuned.TextTop:
    from transformers import BertConfig, BertModel

    sizes = {"num_hidden_layers": layers, "num_attention_heads": width // 64, "intermediate_size": 4 * width}
    made = BertModel(BertConfig(vocab_size=8, hidden_size=width, **sizes), add_pooling_layer=False)
    return fine_tuned.TextTop(made.encoder.layer, "mean")


def _image_top(config: DMFLConfig) -> tuple[nn.Module, tuple[int, ...]]:
    """The last layers of a ViT of the encoder's width, twelve blocks deep, and the shape of what is below them."""
    from transformers import ViTConfig, ViTModel

    (width, side), size_px = FROZEN_WIDTHS[config.image.weights], config.image.image_size_px
    sizes = {"num_attention_heads": width // 64, "intermediate_size": 4 * width, "image_size": size_px}
    made = ViTModel(ViTConfig(hidden_size=width, patch_size=size_px // side, **sizes), add_pooling_layer=False)
    below, top = fine_tuned.cut(made, config.image_layers)
    whole = not list(below.parameters())
    return fine_tuned.ImageTop(top, side, config.image_cls), (3, size_px, size_px) if whole else (1 + side**2, width)


def _dmfl(run: RunConfig, train: TrainConfig) -> tuple[nn.Module, PostTensors]:
    n, config, d_image = train.batch_size, run.detector, image_width(run)
    if config.image:
        n_patches = FROZEN_WIDTHS[config.image.weights][1] ** 2
    else:
        n_patches = max(grid_sides(run.stage1.sclip.vision)) ** 2
    encoder, shape = _image_top(config) if config.image_layers else (None, (n_patches + config.image_cls, d_image))
    words = torch.randn(N_WORDS, config.word2vec.d_word)
    model = DMFL(config, words, d_image, n_patches, N_PIECES, image_encoder=encoder)
    ids, mask, *_ = _ids(n, config.word2vec.max_length + 2, N_WORDS)
    pieces = torch.randint(4, N_PIECES, (n, config.logic_text.max_length)) if config.logic_init == "bert" else None
    images = torch.randn(n, *shape).half()
    return model, _posts(Texts(ids, mask, None, pieces), images, n)


_BUILD = {"sclip": _stage1, "micc": _micc, "dmfl": _dmfl}


def flops(one: Training) -> int:
    """Floating point operations of the products of a step, forward and backward; counted on shapes alone."""
    batch = next(one.batches(1, CPU)(torch.Generator().manual_seed(0)))
    meta = torch.device("meta")
    model = one.model.to(meta)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.train().training_loss(moved(batch, meta))["loss"].backward()
    return counter.get_total_flops()


# --- a plan -------------------------------------------------------------------------------------

CARD, LIMIT_TFLOPS = "H100", 989.0  # SXM, dense bf16, by its data sheet
SHARE = 0.25  # of the limit that a step is taken to reach
LEAST_STEP_S = 0.01  # some hundred kernels started one after the other, and dev looked at, whatever the card
POSTS = {  # of all splits, as published (of captions the train pictures): trainings have fewer
    "weibo": 9528, "weibo-text": 9528, "mfan-weibo": 1467, "mfan-pheme": 2018, "pheme": 5802, "pheme-text": 5802,
    "flickr30k": 29_000, "coco-cn": 18_341,
}  # fmt: skip
UNKNOWN_POSTS = 10_000
FEW = 4  # posts that a step of a detector is counted on: its products grow with the posts


def projected(configs: Iterable[RunConfig]) -> float:
    """Seconds of the trainings among some runs on one CARD, from above: all epochs run, every run costs what the first
    one of its model and language does, that of other authors' detectors LEAST_STEP_S a step. Fits of scikit-learn are
    not in it, nor what frozen encoders take once."""
    known: dict[tuple[str, str], float] = {}
    total = 0.0
    for run in (config for config in configs if config.learns):
        n = run.n_train or POSTS.get(run.dataset, UNKNOWN_POSTS)
        size = loop.batch_size(run.train, n)
        key = run.model, run.language
        if run.model in _BUILD and key not in known and (run.stage1 or run.sclip or run.detector.image):
            counted = size if run.model == "sclip" else FEW  # of stage 1 every text meets every picture
            known[key] = flops(made(run, counted)) * size / counted
        step_s = known.get(key, 0.0) / (SHARE * LIMIT_TFLOPS * 1e12)
        total += loop.budget(run.train, -(-n // size)) * max(LEAST_STEP_S, step_s)
    return total
