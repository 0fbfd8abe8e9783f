"""B3 and B4: a training step of MICC and of DMFL on cached features, against the same step with the image tower in it:
frozen but run anew (MICC), or trained on (DMFL, as its paper does).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import harness
import torch
import towers
from torch import Tensor, nn

from rumorlib.config import DMFLConfig, MICCConfig
from rumorlib.data.batches import Batch
from rumorlib.models.dmfl import DMFL
from rumorlib.models.micc import MICC


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """One step of training."""
    loss = model.training_loss(batch)["loss"]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def posts(quick: bool) -> tuple[Batch, Tensor]:
    """Posts without images, and their pixels."""
    n = 4 if quick else 16
    side = towers.side_px(quick)
    ids = torch.randint(4, 200, (n, 24))
    batch = Batch(ids, torch.ones_like(ids, dtype=torch.bool), torch.randn(n, 384), None,
                  torch.randint(0, 2, (n,)).float(), torch.ones(n), torch.arange(n))  # fmt: skip
    return batch, torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8)


def micc(quick: bool) -> dict[str, Callable[[], None]]:
    """MICC of the laptop's sizes; stage 2 trains its heads, the tower before them is frozen."""
    batch, pixels = posts(quick)
    image = towers.image_tower(quick)
    cached = batch._replace(images=towers.maps(image, pixels))
    model = MICC(MICCConfig(freeze="nothing"), towers.laptop_sclip(cached.images.shape[1]), "en")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
    return {
        "ours": lambda: step(model, optimizer, cached),
        "peer": lambda: step(model, optimizer, batch._replace(images=towers.maps(image, pixels))),
    }


def dmfl(quick: bool) -> dict[str, Callable[[], None]]:
    """DMFL of the laptop's sizes; the peer's image tower learns too."""
    batch, pixels = posts(quick)
    image = towers.image_tower(quick)
    rows = towers.maps(image, pixels).flatten(2).transpose(1, 2)
    config = replace(DMFLConfig(), d_model=150, logic_width=96, logic_depth=2, logic_heads=4)
    made = {name: DMFL(config, torch.randn(204, 300), rows.shape[2]) for name in ("ours", "peer")}
    cached = batch._replace(images=rows)
    learner = nn.ModuleDict({"model": made["peer"], "tower": image.train()})
    optimizers = [torch.optim.AdamW(module.parameters(), fused=True) for module in (made["ours"], learner)]

    def peer() -> None:
        live = image(pixels.float() / 127.5 - 1).last_hidden_state.flatten(2).transpose(1, 2)
        step(made["peer"], optimizers[1], batch._replace(images=live))

    return {"ours": lambda: step(made["ours"], optimizers[0], cached), "peer": peer}


def pairs_micc(quick: bool) -> list[harness.Pair]:
    """B3."""
    return [harness.Pair("MICC step, cached features", "the same step running the frozen image tower", **micc(quick))]


def pairs_dmfl(quick: bool) -> list[harness.Pair]:
    """B4."""
    return [harness.Pair("DMFL step, cached features", "the same step with the image tower trained", **dmfl(quick))]


if __name__ == "__main__":
    sys.exit(harness.main("B3", __doc__, pairs_micc) or harness.main("B4", __doc__, pairs_dmfl))
