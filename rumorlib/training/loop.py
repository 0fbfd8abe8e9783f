"""The training loop of every model: seeded, one progress bar, dev after each epoch, the best epoch kept."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint
from tqdm import tqdm

from rumorlib import config as cfg
from rumorlib.config import TrainConfig
from rumorlib.data import processes
from rumorlib.data.batches import Batch, CaptionBatch, device, moved, where_is
from rumorlib.encoders.frozen import bf16_is_fast
from rumorlib.training import checkpoints
from rumorlib.training.progress import Passes, Progress


@dataclass(frozen=True)
class Fit:
    """What training leaves: the model holds the weights of `best_epoch`."""

    history: (
        pd.DataFrame
    )  # one row per look at dev: epoch, step, train_<loss> (mean over its posts), dev_<loss>, lr of its last step
    best_epoch: int  # the row, from 1, whose weights the model holds; 0 = the untrained model (no epochs)
    precision: str  # of the products of a step, see `precision`


def on_device(model: nn.Module) -> nn.Module:
    """The model, moved in place to the device that trains."""
    return model.to(device())


def precision(train: TrainConfig, where: torch.device) -> str:
    """What the products of a training step are made in on a device: fp32, tf32 or bf16."""
    if train.precision == "auto":
        return "bf16" if bf16_is_fast(where) else "fp32"
    has_tf32 = where.type == "cuda" and torch.cuda.get_device_capability(where)[0] >= 8
    return "fp32" if train.precision == "tf32" and not has_tf32 else train.precision


def autocast(train: TrainConfig, where: torch.device) -> torch.autocast:
    """bf16 where `precision` says so; fp32 otherwise."""
    return torch.autocast(where.type, dtype=torch.bfloat16, enabled=precision(train, where) == "bf16")


@contextmanager
def tf32(train: TrainConfig, where: torch.device) -> Iterator[None]:
    """For the steps of an epoch, their backward passes included: products of float32 in tf32 if `precision` says so."""
    if precision(train, where) != "tf32":
        yield
        return
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [flag.allow_tf32 for flag in flags]
    try:
        for flag in flags:
            flag.allow_tf32 = True
        yield
    finally:
        for flag, was in zip(flags, before, strict=True):
            flag.allow_tf32 = was


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of the CPU for torch, NumPy and scikit-learn: runs go side by side, models this small lose by
    threading, and a result does not depend on the number of cores."""
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def seed_everything(seed: int) -> None:
    """Seed the generators that initialise weights (the CPU's, so that a model starts alike on every device) and draw
    dropout (the device's own): torch's, on every device."""
    torch.manual_seed(seed)


class Watcher(checkpoints.Stateful, Protocol):
    """Looks on while a model trains, and keeps what it saw through a stop."""

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """After each look at dev with its number, from 1: the epoch, where that is once a pass."""


def fit(
    model: nn.Module,
    batches: Callable[[torch.Generator], Iterable],
    n_batches: int,
    dev_loss: Callable[[], dict[str, float]],
    train: TrainConfig,
    seed: int,
    name: str = "training",
    watcher: Watcher | None = None,
    place: checkpoints.Place | None = None,
) -> Fit:
    """Minimise `model.training_loss(batch)["loss"]`, on the GPU if there is one; keep the epoch of the lowest dev loss.

    Args:
        model: has `training_loss(batch) -> dict[str, Tensor]`, and `after_step()` where a weight has a limit.
        batches: one epoch of batches, drawn from the generator it is given.
        n_batches: batches per epoch, for the schedule and the bar.
        dev_loss: dev figures of the model as it stands; key "loss" decides. It never sees test.
        train: with `patience=None` all epochs run and the last is kept, as where an experiment names its epochs.
        place: where checkpoints are written and one is looked for: a training that was stopped goes on from there.
    Raises: FloatingPointError: a loss is not finite. ValueError: an epoch has no batch.
    """
    where = where_is(on_device(model))
    optimizer, n_steps = _optimizer(model, train), budget(train, n_batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warmup_cosine(train, n_steps))
    passes = Passes(batches, torch.Generator().manual_seed(seed), train.epochs)
    at, learned = Progress(), checkpoints.Learned(model)
    parts = {"model": learned, "optimizer": optimizer, "schedule": schedule, "passes": passes, "progress": at,
             "generators": checkpoints.Generators()} | ({"watcher": watcher} if watcher else {})  # fmt: skip
    checkpoints.stand_alike(parts, place is not None and place.restore(parts))
    if processes.index():
        torch.manual_seed(seed + processes.index())  # dropout drops other things of other posts
    with tqdm(total=n_steps, initial=at.step, desc=name, unit="batch", mininterval=2, dynamic_ncols=False) as bar:
        while at.step < n_steps or at.n_seen:  # a checkpoint of the last step: dev was not looked at yet
            if train.evaluate_every is None and not at.n_seen:
                passes.begin()
            most = n_steps - at.step
            most = most if train.evaluate_every is None else min(most, train.evaluate_every - at.n_seen)
            model.train()
            with tf32(train, where), recomputed(model):
                for batch in passes.take(most, across=train.evaluate_every is not None):
                    _step_on(model, batch, optimizer, schedule, train, at)
                    bar.update()
                    if place is not None and place.is_due():
                        place.write(at.step, parts)
            if not at.n_seen and not at.step:
                raise ValueError(f"{name}: no batch to train on; is the train split empty or a single image?")
            if not at.n_seen:  # a pass may have a batch less than its number of posts says
                break
            bar.set_postfix_str(_look(at, dev_loss, n_batches, train, name))
            if watcher is not None:
                watcher.after_epoch(model, len(at.rows))
            if _is_over(at, learned, train):
                break
            if place is not None and place.is_due(at_look=True):
                place.write(at.step, parts)
    if at.best_state is not None:
        learned.load_state_dict(at.best_state)
    model.eval()
    return Fit(pd.DataFrame(at.rows), at.best_row, precision(train, where))


@contextmanager
def recomputed(model: nn.Module) -> Iterator[None]:
    """With RUMORLIB_RECOMPUTE=1 the layers of every stack (items of a ModuleList) keep their inputs alone, and are
    computed again in the backward pass (activation checkpointing), with the draws of before."""
    layers = [layer for stack in model.modules() if isinstance(stack, nn.ModuleList) for layer in stack]
    layers *= cfg.recomputes()
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, context_fn=_attention_of_now)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _attention_of_now() -> tuple[AbstractContextManager, AbstractContextManager]:
    """For a forward pass, and for doing it again: with the kernels of attention that are allowed now, asked in the
    first one (`text.plain_attention_on_cpu` has its say only there)."""
    flags = torch.backends.cuda
    allowed = {SDPBackend.MATH: flags.math_sdp_enabled(), SDPBackend.FLASH_ATTENTION: flags.flash_sdp_enabled(),
               SDPBackend.EFFICIENT_ATTENTION: flags.mem_efficient_sdp_enabled(),
               SDPBackend.CUDNN_ATTENTION: flags.cudnn_sdp_enabled()}  # fmt: skip
    return nullcontext(), sdpa_kernel([kernel for kernel, may in allowed.items() if may])


SMALLEST_BATCH = 16


def batch_size(train: TrainConfig, n: int) -> int:
    """Posts of a batch where a pass shows n: `batch_size`, or what makes `steps_per_pass` steps, within bounds."""
    if train.steps_per_pass is None:
        return train.batch_size
    return min(train.batch_size, max(SMALLEST_BATCH, round(n / train.steps_per_pass)))


def budget(train: TrainConfig, n_batches: int) -> int:
    """Most optimiser steps of a training: `steps`, within `min_epochs` and `epochs` passes; `epochs` passes without."""
    most = train.epochs * n_batches
    return most if train.steps is None else min(max(train.steps, train.min_epochs * n_batches), most)


def _look(at: Progress, dev_loss: Callable[[], dict[str, float]], n_batches: int, train: TrainConfig, name: str) -> str:
    """A row of the history. Returns: what the bar says of it."""
    if not math.isfinite(loss := at.means()["train_loss"]):
        raise FloatingPointError(f"{name}: loss is {loss} by step {at.step}; lower the lr")
    dev = processes.agreed(dev_loss())
    if not math.isfinite(dev["loss"]):
        raise FloatingPointError(f"{name}: dev loss is {dev['loss']} after step {at.step}; is dev empty?")
    epoch = len(at.rows) + 1 if train.evaluate_every is None else round(at.step / n_batches, 3)
    at.look(epoch, dev)
    return f"epoch {epoch} train {loss:.3f} dev {dev['loss']:.3f}"


def _is_over(at: Progress, learned: checkpoints.Learned, train: TrainConfig) -> bool:
    """Keep the weights if they are the best so far; whether patience is at its end."""
    loss = at.rows[-1]["dev_loss"]
    if train.patience is None and train.patience_steps is None:
        at.best_row = len(at.rows)  # the last is kept, and the model holds it
    elif loss < at.best:
        at.best, at.best_row, at.best_step, at.best_state = loss, len(at.rows), at.step, learned.state_dict()
    elif train.patience_steps is None:
        return len(at.rows) - at.best_row >= train.patience
    else:
        return at.step - at.best_step >= train.patience_steps
    return False


def _step_on(model: nn.Module, batch: Any, optimizer, schedule, train: TrainConfig, at: Progress) -> None:
    """A step on a batch, counted."""
    rate = float(optimizer.param_groups[-1]["lr"])
    optimizer.zero_grad(set_to_none=True)
    losses = _backward(model, batch, train)
    _step(model, optimizer, schedule, train)
    at.count(losses, n_of(batch), rate)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, schedule, train: TrainConfig) -> None:
    if train.grad_clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), train.grad_clip)
    optimizer.step()
    schedule.step()
    if hasattr(model, "after_step"):
        model.after_step()


def _backward(model: nn.Module, batch: Any, train: TrainConfig) -> dict[str, Tensor]:
    """Leave the gradients of a batch's loss, of which this process may have to do a part. Returns: the losses."""
    where, found = where_is(model), {}
    for part, weight in _parts(batch):
        with autocast(train, where):
            losses = model.training_loss(part if where.type == "cpu" else moved(part, where))
        (weight * losses["loss"]).backward()
        found = {name: found.get(name, 0) + weight * value.detach() for name, value in losses.items()}
    return processes.add_up(model, found)


def _parts(batch: Any) -> list[tuple[Any, float]]:
    """What this process does of a batch, and how much of its loss that is: losses of detectors are means over posts.
    The contrastive loss is of all pairs, so every process computes all of it, on the features of all."""
    n, parts = processes.count(), cfg.parts_of_a_batch()
    if isinstance(batch, Batch) and n * parts > 1:
        return [(batch.cut(at), weight) for at, weight in processes.shares(len(batch.label), parts)]
    if isinstance(batch, CaptionBatch) and n > 1:
        batch = batch.cut(processes.shares(len(batch.images))[0][0])
    return [(batch, 1 / n)]


def n_of(batch: Any) -> int:
    """Posts of a batch, or pictures of one for stage 1: what its losses are means over."""
    return len(batch.label) if isinstance(batch, Batch) else len(batch.images) if isinstance(batch, CaptionBatch) else 1


_PLACES = re.compile(r"(^|\.)(image_)?positions?(\.|$)|(^|\.)scale$")  # tables of positions and scales


def is_decayed(model: nn.Module) -> dict[str, bool]:
    """Which parameters weight decay pulls towards 0, by name: the matrices of maps. Not norms, biases and temperatures,
    for which 0 means nothing, nor tables of words and positions, whose rows shrink though no batch shows them."""
    tables = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Embedding)}
    return {
        name: p.ndim > 1 and name not in tables and not _PLACES.search(name) for name, p in model.named_parameters()
    }


def _optimizer(model: nn.Module, train: TrainConfig) -> torch.optim.Optimizer:
    """AdamW or Adam; parameters that were pretrained (names that start as `model.pretrained` says; below `sclip` for a
    model without it) may learn more slowly, and only those of `is_decayed` decay."""
    slow, decayed = tuple(getattr(model, "pretrained", ("sclip.",))), is_decayed(model)
    groups = [
        {"params": [p for name, p in model.named_parameters() if p.requires_grad and name.startswith(slow) == is_slow
                    and decayed[name] == decays],
         "lr": train.lr * (train.tower_lr_scale if is_slow else 1), "weight_decay": train.weight_decay * decays}
        for is_slow in (True, False) for decays in (True, False)
    ]  # fmt: skip
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[train.optimizer]
    return kind([g for g in groups if g["params"]], lr=train.lr, fused=True)


def _warmup_cosine(train: TrainConfig, n_steps: int) -> Callable[[int], float]:
    """Factor on the learning rate: linear to 1 over the warm-up, then a half cosine to 0; 1 where neither is asked."""
    asked = round(train.warmup_share * n_steps) if train.warmup_steps is None else train.warmup_steps
    warmup = max(1, asked)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, n_steps - warmup)))

    return factor if train.warmup_share > 0 or train.warmup_steps else lambda step: 1.0
