"""B1: a training step of stage 1 on cached features, against one that runs the frozen towers anew: no feature of a
frozen tower ever changes, so the peer computes the same numbers in every epoch. Same heads, same loss, same optimiser.
"""

from __future__ import annotations

import sys

import harness
import torch
import towers
from torch import nn

from rumorlib.data.batches import CaptionBatch, Texts
from rumorlib.encoders.sclip import SCLIP


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


def pairs(quick: bool) -> list[harness.Pair]:
    """Stage 1 of the laptop."""
    found = paths(quick)
    return [harness.Pair("stage-1 step, cached features", "the same step running the frozen towers", **found)]


if __name__ == "__main__":
    sys.exit(harness.main("B1", __doc__, pairs))
