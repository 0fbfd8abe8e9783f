"""What a post costs: parameters, multiply-adds, latency (M-E8). How DMFL grows with its inputs: `complexity`.

Multiply-adds are counted while a model of the run's sizes with untrained weights passes one post: they depend on sizes
alone, so neither data nor trained weights are needed. Frozen pretrained towers are not counted: their features are
computed once per image and kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
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
from rumorlib.experiments import model_name, paper_fields
from rumorlib.models.micc import MICC
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.scores.sweeps import by_variant

POST_LENGTH = 20  # text tokens of the post that is passed
FROZEN_WIDTHS = {  # of their published configs: channels and side of an image map, or width of a sentence vector
    "mobilenet_v2_1.0_224": (1280, 7), "clip-vit-base-patch32": (768, 7), "vit-base-patch16-224": (768, 14),
    "all-MiniLM-L6-v2": (384, 1), "bert-base-uncased": (768, 1), "bert-base-chinese": (768, 1),
    "tf_efficientnet_lite2": (1280, 7), "multilingual-e5-small": (384, 1),
}  # fmt: skip


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
        sizes = *sizes, macs(model, post)
        rows.append((dataset, model_name(config), paper_fields(config), n_patches, *sizes, run_names(seeds)))
    names = ["dataset", "model", "receptive_fields", "n_patches", "n_parameters", "n_trainable", "size_mib", "n_macs"]
    return by_runs(pd.DataFrame(rows, columns=[*names, RUNS]), "dataset", "model")


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
    alone = {"freeze": "nothing", "text_layers": 0, "image_layers": 0}  # reads pixels; frozen encoders are not counted
    model = MICC(replace(config.detector, **alone), sclip, config.language)
    return model.eval(), one_post(images, POST_LENGTH)._replace(text_features=features)


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
    rows = [(config.dataset, model_name(config), latency_ms(*untrained_micc(config))) for config in firsts]
    return pd.DataFrame(rows, columns=["dataset", "model", "latency_ms"])


def macs(model: nn.Module, post: Batch) -> int:
    """Multiply-adds of one pass: half of torch's floating point operations of products and convolutions."""
    return sum(macs_by_module(model, post, depth=1).values())


def macs_by_module(model: nn.Module, post: Batch, depth: int = 3) -> dict[str, int]:
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


def one_post(images: Tensor, n_tokens: int) -> Batch:
    """One post: n tokens, all real (ids of ordinary words), and its image."""
    ids, one = torch.full((1, n_tokens), 5), torch.ones(1)
    return Batch(ids, torch.ones(1, n_tokens, dtype=torch.bool), None, images, one, one, torch.zeros(1).long())
