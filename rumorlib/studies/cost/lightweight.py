"""The lightweight report: what MICC loses when its numbers, its weights or its scales are cut (l_1, l_2).

Parameters, multiply-adds, bytes and scores are the same on every machine with the same weights and stand in tables.
Milliseconds and memory belong to the machine at hand and are shown beside the same model in fp32, never written down.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rumorlib import experiments
from rumorlib.config import RunConfig, Settings, record
from rumorlib.data.batches import Batch
from rumorlib.encoders.vision import grid_sides
from rumorlib.experiments import model_name, paper_fields
from rumorlib.metrics import estimates
from rumorlib.models.micc import MICC
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.cost import costs, timing
from rumorlib.studies.scores import sweeps
from rumorlib.studies.scores.comparison import clusterings, ends
from rumorlib.training import compression_runs

SCALE_SETS = ((32,), (64,), (32, 64), (24, 32, 64), (24, 32, 48, 64))  # of M-E3, the paper's units


MIB = 2**20


def report(reports: Iterable[Report]) -> pd.DataFrame:
    """Cost against accuracy of compressed runs, by corpus and input of the classifier; the first row of each is whole.

    Columns: dataset, classifier_input, model, n_parameters (of one language), n_nonzero, share_int8 (of parameters kept
    as integers), n_macs (one post; zeros counted), stored_mib (safetensors file), packed_mib (deflated), then per split
    accuracy, auc, and on test the loss of accuracy against the first row with its 95 % interval over images
    (loss, loss_low, loss_high) and changed, the share of answers that are another.
    """
    rows, firsts = [], {}
    for (dataset, _), seeds in sweeps.by_variant(reports).items():
        config, facts = seeds[0].config, [seed.facts for seed in seeds]
        how = config.detector.classifier_input
        test = sweeps.predictions(seeds, "test")
        first, whole = firsts.setdefault((dataset, how), (test, seeds))
        row = {"dataset": dataset, "classifier_input": how, "model": model_name(config)}
        row |= {name: facts[0][name] for name in ("n_parameters", "n_nonzero")}
        row["share_int8"] = facts[0]["n_int8"] / facts[0]["n_parameters"]
        row["n_macs"] = costs.macs(*costs.untrained_micc(config))
        row["stored_mib"] = float(np.mean([f["n_bytes"] for f in facts])) / MIB
        row["packed_mib"] = float(np.mean([f["n_bytes_packed"] for f in facts])) / MIB
        row |= {f"{split}_{metric}": float(np.mean([seed.metrics[split][metric] for seed in seeds]))
                for split in compression_runs.ANSWERED for metric in ("accuracy", "auc")}  # fmt: skip
        same = config.parent == whole[0].config.parent  # of the same weights, seed by seed
        loss = estimates.difference(first, test, "accuracy", clusterings(config.dataset, test), same_runs=same)
        row |= ends("loss", loss) | {"changed": _changed(first, test)}
        row[RUNS] = run_names([*seeds, *whole])  # the loss is against the first row
        rows.append(row)
    return by_runs(pd.DataFrame(rows), "dataset", "classifier_input", "model")


def _changed(first: pd.DataFrame, other: pd.DataFrame) -> float:
    """Share of posts and seeds whose answer (rumor or not) is another one."""
    keys = ["post_id", "seed"]
    both = first[[*keys, "prob_rumor"]].merge(other[[*keys, "prob_rumor"]], on=keys, validate="one_to_one")
    return float(((both["prob_rumor_x"] >= 0.5) != (both["prob_rumor_y"] >= 0.5)).mean())


def per_scale(settings: Settings) -> pd.DataFrame:
    """What each set of scales costs for one post, by part of the model; sizes alone decide, nothing is trained.

    Columns: receptive_fields (the paper's units), n_patches, n_parameters (one language, word embeddings left out),
    and multiply-adds: n_macs, of which text (tower and head), image_tower, projection (of patches) and decision
    (alignment, fusion, classifier); image_share, the tower's part.
    """
    rows = []
    dataset = settings.datasets[0]
    for scales in SCALE_SETS:
        chosen = experiments.fields(settings, *scales)
        stage1 = experiments.sclip(settings, record(dataset).language, receptive_fields=chosen)
        config = experiments.micc(settings, dataset, stage1=stage1)
        model, post = costs.untrained_micc(config)
        model = compression_runs.one_language(model)
        counts = costs.macs_by_module(model, post)
        text = sum(counts.get(f"sclip.text_{part}.{model.language}", 0) for part in ("towers", "heads"))
        tower, projection = counts.get("sclip.image_tower", 0), counts.get("sclip.image_head", 0)
        total = counts["Global"]
        n_patches = sum(side * side for side in grid_sides(stage1.sclip.vision))
        size = sum(weight.numel() for name, weight in model.named_parameters() if not name.endswith("embed.weight"))
        rest = total - text - tower - projection
        rows.append((paper_fields(config), n_patches, size, total, text, tower, projection, rest, tower / total))
    names = ["receptive_fields", "n_patches", "n_parameters", "n_macs", "text", "image_tower", "projection", "decision",
             "image_share"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def timed(
    configs: Sequence[RunConfig], rounds: int = 5, passes: int = 10, on_threads: Sequence[int] = (1, 2)
) -> pd.DataFrame:
    """Milliseconds of one post and memory of compressed models with untrained weights, in turns; of this machine.

    Columns: model, threads, p50_ms, p95_ms, ratio (to the first config, median over rounds), ratio_low, ratio_high,
    weights_mib (in memory), peak_mib (tensors alive at once in a pass, weights not counted).
    """
    models = {}
    for config in configs:
        model, post = costs.untrained_micc(config)
        models[model_name(config)] = (
            compression_runs.compressed(compression_runs.one_language(model), config.compression),
            post,
            config,
        )
    paths = {name: _one_post(*parts) for name, parts in models.items()}
    memory = {name: (_weights_mib(model), peak_mib(paths[name])) for name, (model, *_) in models.items()}
    rows, first = [], next(iter(models))
    for n in on_threads:
        with timing.threads(n):
            times = timing.in_turns(paths, rounds, passes)
        for name in models:
            ms = 1000 * times.loc[times["path"] == name, "time_s"]
            ratio = timing.summary(timing.ratios(times, name, first))
            rows.append((name, n, *ms.quantile([0.5, 0.95]), *ratio.values(), *memory[name]))
    names = ["model", "threads", "p50_ms", "p95_ms", "ratio", "ratio_low", "ratio_high", "weights_mib", "peak_mib"]
    return pd.DataFrame(rows, columns=names)


def _one_post(model: MICC, post: Batch, config: RunConfig) -> Any:
    """A function that answers the post."""

    @torch.inference_mode()
    def answer() -> None:
        with compression_runs.in_precision(config.compression):
            model(post)

    return answer


def _weights_mib(model: nn.Module) -> float:
    """What the weights take in memory."""
    kept = list(model.parameters())
    whole = sum(p.numel() * p.element_size() for p in kept if not hasattr(p, "__tensor_flatten__"))
    parts = [getattr(p, name) for p in kept if hasattr(p, "__tensor_flatten__") for name in p.__tensor_flatten__()[0]]
    return (whole + sum(part.numel() * part.element_size() for part in parts if isinstance(part, Tensor))) / MIB


class _Alive(TorchDispatchMode):
    """Counts the bytes of tensors made and not yet freed, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak, self.known = 0, 0, weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in (leaf for leaf in tree_leaves(made) if type(leaf) is Tensor):
            storage = tensor.untyped_storage()
            if storage not in self.known:
                self.known[storage] = size = storage.nbytes()
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, size)
        return made

    def _free(self, size: int) -> None:
        self.now -= size


def peak_mib(path: Any) -> float:
    """Most MiB of tensors alive at once while `path` runs: those it makes, not its weights or what a kernel takes."""
    path()
    with _Alive() as alive:
        path()
    return alive.peak / MIB
