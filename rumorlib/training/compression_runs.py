"""Runs made from a finished MICC: its numbers shortened, its weights pruned, or its answers taught to a smaller one.

A compressed run trains nothing. It takes the finished detector whole, from pixels (or a frozen backbone's map) to the
answer and with the one language it reads, changes the weights, and answers dev and test anew. Ours: the paper only
speaks of a lightweight MICC as future work.
"""

from __future__ import annotations

import dataclasses
import logging
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from rumorlib import inputs
from rumorlib.config import CompressionConfig, RunConfig, Settings
from rumorlib.data.batches import CPU, PostTensors, moved, sent, where_is
from rumorlib.data.splitting import split_files
from rumorlib.models.micc import MICC
from rumorlib.training import fitting, micc_runs
from rumorlib.training.loop import on_device

ANSWERED = ("dev", "test")  # splits a compressed run answers


# --- a smaller model taught by a larger one -------------------------------------------------------


def distilled(config: RunConfig, settings: Settings, stage1: Path, parent: Path) -> fitting.Outcome:
    """Train as any MICC, on labels and on the parent's answers to the train posts; dev is judged by labels alone."""
    teacher = whole(config.parent, settings, parent)
    tensors, posts = whole_posts(config.parent, settings)
    rows = inputs.rows_of(posts, "train")
    answers = torch.full((len(posts),), torch.nan)
    answers[rows] = torch.from_numpy(fitting.predict(teacher, tensors, rows)).float()
    model, tensors, posts = micc_runs.on_posts(config, settings, stage1)
    model.learn_from(sent(answers, where_is(model)), config.distillation)
    return fitting.fit_detector(config, model, tensors, posts)


# --- a finished model, compressed -----------------------------------------------------------------


def compressed_run(config: RunConfig, settings: Settings, _: Path, parent: Path) -> fitting.Outcome:
    """A finished model as `config.compression` says, asked anew; nothing is trained."""
    model = whole(config.parent, settings, parent)
    how = config.compression
    if how.precision == "int8":  # whose kernels take a GPU's matrices of certain sizes alone
        model.cpu()
    model = compressed(model, how)
    tensors, posts = whole_posts(config, settings)
    rows = torch.from_numpy(np.flatnonzero(posts["split"].isin(ANSWERED)))
    with in_precision(how, where_is(model)):
        log_odds = fitting.predict(model, tensors, rows)
    outcome = fitting.score(posts.iloc[rows.numpy()], log_odds, model_facts(model, how))
    return dataclasses.replace(outcome, facts=outcome.facts | {"split_hash": split_files.split_hash(posts)})


def whole(config: RunConfig, settings: Settings, checkpoint: Path) -> MICC:
    """A finished run's detector as one would install it: reads images, answers posts of its one language; on the GPU if
    there is one."""
    from safetensors.torch import load_file

    plain = replace(config.detector, freeze="nothing")
    sclip = inputs.new_sclip(config.stage1, settings)
    inputs.let_learn(sclip, plain, config.language, lambda name: inputs.weights_folder(name, settings))
    model = MICC(plain, sclip, config.language)
    model.load_state_dict(load_file(checkpoint))
    return on_device(one_language(model).eval())


def one_language(model: MICC) -> MICC:
    """The same detector without the text towers and heads of languages it does not read."""
    for parts in (model.sclip.text_towers, model.sclip.text_heads):
        for language in set(parts) - {model.language}:
            del parts[language]
    return model


def whole_posts(config: RunConfig, settings: Settings) -> tuple[PostTensors, pd.DataFrame]:
    """The corpus of a run as `whole` reads it, nothing of SCLIP computed before; and as a table."""
    corpus = inputs.corpus_of(config, settings)
    detector, asked = config.detector, (corpus.posts["text"].tolist(), config.stage1, config.language, settings)
    texts = inputs.encode_texts(*asked, detector.text_layers)
    images = inputs.images_of(corpus, config.stage1.sclip.vision, settings, trained=detector.image_layers)
    return inputs.post_tensors(corpus.posts, texts, *images), corpus.posts


def compressed(model: MICC, how: CompressionConfig) -> MICC:
    """The detector after what `how` asks for, changed in place.

    pruned: that share of all weights of linear maps, convolutions and attention is zero, the smallest in the whole
        network (global magnitude pruning, not trained further).
    bf16: weights rounded to bfloat16; run it `in_precision`.
    int8: weights of linear maps as 8-bit integers with a scale per output, inputs quantised as they come (torchao);
        attention's own matrices and convolutions stay.
    """
    if how.pruned:
        from torch.nn.utils import prune

        weights = [(m, "weight") for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        weights += [(m, "in_proj_weight") for m in model.modules() if isinstance(m, nn.MultiheadAttention)]
        prune.global_unstructured(weights, prune.L1Unstructured, amount=how.pruned)
        for module, name in weights:
            prune.remove(module, name)
    if how.precision == "bf16":
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(weight.bfloat16())
    if how.precision == "int8":
        # its import warns of enums that newer torch knows by itself: nothing a reader can act on
        logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        quantize_(model, Int8DynamicActivationInt8WeightConfig(), filter_fn=lambda module, _: type(module) is nn.Linear)
    return model


def in_precision(how: CompressionConfig, where: torch.device = CPU) -> torch.autocast:
    """Products in bfloat16 on the model's device where `how` says so, whether or not the machine is fast at it."""
    return torch.autocast(where.type, torch.bfloat16, enabled=how.precision == "bf16")


def model_facts(model: nn.Module, how: CompressionConfig) -> dict[str, Any]:
    """n_parameters, n_nonzero, n_int8 (weights kept as integers), n_bytes as a safetensors file, n_bytes_packed (that
    file deflated: what zeros are worth on disk)."""
    from safetensors.torch import save

    kept = moved(stored(model, how), CPU)
    written = save({name: tensor.contiguous() for name, tensor in kept.items()})
    sizes = [tensor.numel() for name, tensor in kept.items() if not name.endswith((".scale", ".zero_point"))]
    return {
        "n_parameters": sum(sizes),
        "n_nonzero": sum(int(t.count_nonzero()) for n, t in kept.items() if not n.endswith((".scale", ".zero_point"))),
        "n_int8": sum(tensor.numel() for name, tensor in kept.items() if name.endswith(".qdata")),
        "n_bytes": len(written),
        "n_bytes_packed": len(zlib.compress(written, 6)),
    }


def stored(model: nn.Module, how: CompressionConfig) -> dict[str, Tensor]:
    """The weights as they would lie on disk: quantised ones as integers and scales, bf16 ones as two bytes."""
    kept: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if hasattr(tensor, "__tensor_flatten__"):  # torchao's tensor of several
            inner = {f"{name}.{part}": getattr(tensor, part) for part in tensor.__tensor_flatten__()[0]}
            kept |= {key: value for key, value in inner.items() if isinstance(value, Tensor)}
        else:
            kept[name] = tensor.bfloat16() if how.precision == "bf16" else tensor
    return kept
