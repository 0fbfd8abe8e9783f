"""B1: a training step of stage 1 on cached features, against one that runs the frozen towers anew: no feature of a
frozen tower ever changes, so the peer computes the same numbers in every epoch. Same heads, same loss, same optimiser.
And the demo's step, whose towers learn, against its limit: as many multiplications and additions in products of two
large matrices, at the precision of training. Loss, backward pass and update, without the loop's clipping and schedule.
"""

from __future__ import annotations

import sys

import harness
import torch
import towers
from torch import nn

from rumorlib import config as cfg
from rumorlib import experiments
from rumorlib.data.batches import CaptionBatch, Texts
from rumorlib.encoders.sclip import SCLIP
from rumorlib.training import loop


def step(model: SCLIP, optimizer: torch.optim.Optimizer, batch: CaptionBatch) -> float:
    """One step; returns the loss."""
    loss = model.training_loss(batch)["loss"]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


def paths(quick: bool) -> dict[str, object]:
    """Functions "ours" and "peer", one step each, on models that start alike."""
    n = 4 if quick else 32
    image, text = towers.image_tower(quick), towers.text_tower(quick)
    side = towers.side_px(quick)
    pixels = torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8)
    ids = torch.randint(4, 200, (n, 24))
    owner = torch.arange(n)

    def batch(maps: torch.Tensor, sentences: torch.Tensor) -> CaptionBatch:
        return CaptionBatch(maps, {"en": Texts(None, None, sentences)}, owner)

    cached = batch(towers.maps(image, pixels), towers.sentences(text, ids))
    made: dict[str, object] = {}
    for name in ("ours", "peer"):
        torch.manual_seed(0)
        model = towers.laptop_sclip(cached.images.shape[1])
        for module in model.modules():
            if isinstance(module, nn.Dropout | nn.Dropout2d):
                module.p = 0.0  # so that both paths have one loss
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        if name == "ours":
            made[name] = lambda m=model, o=optimizer: step(m, o, cached)
        else:
            made[name] = lambda m=model, o=optimizer: step(
                m, o, batch(towers.maps(image, pixels), towers.sentences(text, ids))
            )
    return made


def demo_paths(quick: bool) -> dict[str, object]:
    """Functions "ours", a step of the demo's stage 1, and "peer", its limit."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    run = experiments.stage1_of(cfg.resolve("demo"), "demo-en")
    n, side = 4 if quick else run.train.batch_size, run.sclip.vision.image_size_px
    texts = n * run.train.captions_per_image
    words = {name: Texts(torch.randint(2, 50, (texts, tower.max_length)), torch.ones(texts, tower.max_length).bool())
             for name, tower in run.sclip.texts}  # fmt: skip
    batch = CaptionBatch(torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8), words,
                         torch.arange(n).repeat_interleave(run.train.captions_per_image))  # fmt: skip
    model = SCLIP(run.sclip, dict.fromkeys(words, 50), {}, None).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    where = torch.device("cpu")
    low = loop.precision(run.train, where) == "bf16"

    def ours() -> float:
        with loop.autocast(run.train, where):
            loss = model.training_loss(batch)["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # fused attention counts as nothing
        ours()
    size = 128 if quick else 1024
    large = torch.randn(size, size, dtype=torch.bfloat16 if low else torch.float32)
    times = counter.get_total_flops() / (2 * size**3)

    def peer() -> None:
        for _ in range(int(times)):
            large @ large
        rest = round(size * (times % 1))
        large[:rest] @ large

    return {"ours": ours, "peer": peer}


def pairs(quick: bool) -> list[harness.Pair]:
    """Stage 1 of the laptop, and of the demo."""
    return [harness.Pair("stage-1 step, cached features", "the same step running the frozen towers", **paths(quick)),
            harness.Pair("stage-1 step of the demo, limit", "its products at the machine's rate", **demo_paths(quick))
            ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(harness.main("B1", __doc__, pairs))
