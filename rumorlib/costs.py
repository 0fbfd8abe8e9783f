"""What a post costs: parameters, multiply-adds, latency (M-E8), and how DMFL grows with its inputs (D-E7).

Multiply-adds are counted while a model of the run's sizes with untrained weights passes one post: they depend on sizes
alone, so neither data nor trained weights are needed. Frozen pretrained towers are not counted: their features are
computed once per image and kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rumorlib.config import RunConfig
from rumorlib.data.batches import Batch
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vision import grid_sides
from rumorlib.models.dmfl import DMFL
from rumorlib.models.micc import MICC
from rumorlib.results import Report
from rumorlib.sweeps import by_variant, paper_fields, printed

POST_LENGTH = 20  # text tokens of the post that is passed
FROZEN_WIDTHS = {  # of their published configs: channels and side of an image map, or width of a sentence vector
    "mobilenet_v2_1.0_224": (1280, 7), "clip-vit-base-patch32": (768, 7),
    "all-MiniLM-L6-v2": (384, 1), "bert-base-uncased": (768, 1), "bert-base-chinese": (768, 1),
}  # fmt: skip
PARTS = {  # module of DMFL -> what it is, and the terms its theory has (L words, N patches; widths are constants)
    "text_cnn": ("text CNN, Eq 4", "L"),
    "image_projection": ("patch projection, Eq 10", "N"),
    "attention.text": ("self-attention of words, Eq 11", "L + L^2"),
    "attention.image": ("self-attention of patches, Eq 11", "N + N^2"),
    "align_text": ("alignment of words, Eq 15", "L"),
    "align_image": ("alignment of patches, Eq 16", "N"),
    "attention.text_image": ("cross-attention, Eq 12", "N + L + N L"),
    "logic": ("logic chain, Eqs 13-14", "L + L^2 + N + N L"),
    "attention.fusion_semantic": ("fusion, semantic asks, Eq 18", "N + L + N L"),
    "attention.fusion_logic": ("fusion, logic asks, Eq 18", "N + L + N L"),
}


# --- MICC: parameters, multiply-adds, latency -----------------------------------------------------


def micc_cost(reports: Iterable[Report]) -> pd.DataFrame:
    """Cost of every variant among the reports (M-E8), machine-independent.

    Columns: dataset, model, receptive_fields (the paper's units), n_patches, n_parameters (all of SCLIP's languages),
    n_trainable (in stage 2), size_mib (float32), n_macs (one post of POST_LENGTH tokens, image tower included).
    """
    rows = []
    for (dataset, _), seeds in by_variant(reports).items():
        config, facts = seeds[0].config, seeds[0].facts
        n_patches = sum(side * side for side in grid_sides(config.stage1.sclip.vision))
        sizes = facts["n_parameters"], facts["n_trainable"], facts["n_parameters"] * 4 / 2**20
        model, post = untrained_micc(config)
        rows.append((dataset, printed(config), paper_fields(config), n_patches, *sizes, macs(model, post)))
    names = ["dataset", "model", "receptive_fields", "n_patches", "n_parameters", "n_trainable", "size_mib", "n_macs"]
    return pd.DataFrame(rows, columns=names)


def untrained_micc(config: RunConfig) -> tuple[MICC, Batch]:
    """MICC of a run's sizes with fresh weights, and one post of zeros: pixels, or a frozen tower's map."""
    sclip_config = config.stage1.sclip
    frozen = {language: text.weights for language, text in sclip_config.texts if text.kind == "frozen"}
    d_text = {language: FROZEN_WIDTHS[weights][0] for language, weights in frozen.items()}
    vision, d_map = sclip_config.vision, None
    images = torch.zeros(1, 3, vision.image_size_px, vision.image_size_px, dtype=torch.uint8)
    if vision.kind == "feature_map":
        d_map, side = FROZEN_WIDTHS[vision.weights]
        images = torch.zeros(1, d_map, side, side)
    n_words = {language: 8 for language, text in sclip_config.texts if text.kind == "transformer"}
    sclip = SCLIP(sclip_config, n_words, d_text, d_map)
    features = torch.zeros(1, d_text[config.language]) if config.language in d_text else None
    model = MICC(replace(config.detector, freeze="nothing"), sclip, config.language)  # so that it reads pixels
    return model.eval(), _post(images, POST_LENGTH)._replace(text_features=features)


def latency_ms(model: nn.Module, post: Batch, repeats: int = 20) -> float:
    """Median milliseconds of one post, after three passes to warm up. Depends on the machine: never written to csv."""
    times = []
    with torch.no_grad():
        for _ in range(repeats + 3):
            start = time.perf_counter()
            model(post)
            times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times[3:]))


def latencies(reports: Iterable[Report]) -> pd.DataFrame:
    """dataset, model, latency_ms of every variant among the reports, on this machine, one post at a time."""
    firsts = [seeds[0].config for seeds in by_variant(reports).values()]
    rows = [(config.dataset, printed(config), latency_ms(*untrained_micc(config))) for config in firsts]
    return pd.DataFrame(rows, columns=["dataset", "model", "latency_ms"])


def macs(model: nn.Module, post: Batch) -> int:
    """Multiply-adds of one pass: half of torch's floating point operations of products and convolutions."""
    return sum(_macs_by_module(model, post, depth=1).values())


def _macs_by_module(model: nn.Module, post: Batch, depth: int = 3) -> dict[str, int]:
    """Multiply-adds per module name below `model`; depth 1: the whole model under ""."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # fused kernels hide their products from the counter
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, depth=None) as counter:
            model(post)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    counts, top = counter.get_flop_counts(), type(model).__name__
    if depth == 1:
        return {"": counter.get_total_flops() // 2}
    return {name.removeprefix(f"{top}."): sum(by_kind.values()) // 2 for name, by_kind in counts.items()}


def _post(images: Tensor, n_tokens: int) -> Batch:
    """One post: n tokens, all real (ids of ordinary words), and its image."""
    ids, one = torch.full((1, n_tokens), 5), torch.ones(1)
    return Batch(ids, torch.ones(1, n_tokens, dtype=torch.bool), None, images, one, one, torch.zeros(1).long())


# --- DMFL: growth with text length and patches ----------------------------------------------------


def dmfl_complexity(
    run: RunConfig, lengths: Sequence[int] = (16, 32, 64, 128), sides: Sequence[int] = (4, 6, 8, 12)
) -> pd.DataFrame:
    """Multiply-adds of DMFL and its parts for one post, and how they grow (D-E7; the paper's own formulas are lost).

    Args:
        run: the full model; its widths are used, its data are not.
        lengths: numbers L of text tokens. sides: patches per side, N = side².
    Returns: part, theory (terms up to constants; widths fixed), n_parameters (word vectors left out), macs_smallest,
        macs_largest (both L and N at their smallest or largest), exponent_L, exponent_N: slope of log macs over log L,
        N at its middle, and over log N, L at its middle.
    """
    vision, config = run.stage1.sclip.vision, run.detector
    d_image = FROZEN_WIDTHS[vision.weights][0] if vision.kind == "feature_map" else vision.width
    config = replace(config, word2vec=replace(config.word2vec, max_length=max(lengths)))
    model = DMFL(config, torch.zeros(8, config.word2vec.d_word), d_image).eval()
    middle_length, middle_side = lengths[len(lengths) // 2], sides[len(sides) // 2]

    def count(length: int, side: int) -> dict[str, int]:
        counts = _macs_by_module(model, _post(torch.zeros(1, side * side, d_image), length))
        return counts | {"": counts["Global"]}

    by_length = [count(length, middle_side) for length in lengths]
    by_side = [count(middle_length, side) for side in sides]
    ends = count(lengths[0], sides[0]), count(lengths[-1], sides[-1])
    rows = []
    for name, (label, theory) in {"": ("whole model", "1 + L + L^2 + N + N^2 + N L"), **PARTS}.items():
        module = model.get_submodule(name)
        n_parameters = sum(p.numel() for key, p in module.named_parameters() if not key.startswith("word_vectors"))
        sizes = n_parameters, *(end[name] for end in ends)
        slopes = (
            _slope(lengths, [counts[name] for counts in by_length]),
            _slope([side * side for side in sides], [counts[name] for counts in by_side]),
        )
        rows.append((label, theory, *sizes, *slopes))
    names = ["part", "theory", "n_parameters", "macs_smallest", "macs_largest", "exponent_L", "exponent_N"]
    return pd.DataFrame(rows, columns=names)


def _slope(sizes: Sequence[int], counts: Sequence[int]) -> float:
    """Exponent b of counts ~ sizes^b by least squares on logarithms."""
    return round(float(np.polyfit(np.log(sizes), np.log(counts), 1)[0]), 4)
