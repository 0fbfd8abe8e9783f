"""Multi-scale image towers of SCLIP behind one interface (MICC §3.2.2, M3-M4).

An image tower turns images into patch tokens Z_s of every scale, concatenated scale after scale, and knows
the box of each patch in pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.config import VisionConfig
from rumorlib.data.batches import FeatureMap, Pixels
from rumorlib.encoders.text import transformer

POSITION_STD = 0.3  # as large as a patch embedding at initialisation: with 0.02 places are learned last

# B images, S scales, N_s patches of scale s, N = sum of N_s, D width


def grid_sides(config: VisionConfig) -> tuple[int, ...]:
    """Patches per side at each scale: H / r for patch_conv, round(H / r) for feature_map."""
    return tuple(max(1, round(config.image_size_px / field)) for field in config.receptive_fields)


def patch_boxes(config: VisionConfig) -> list[Tensor]:
    """Per scale (N_s, 4) boxes x0, y0, x1, y1 in pixels of the resized image, row-major."""
    boxes = []
    for side in grid_sides(config):
        edge = torch.arange(side + 1) * config.image_size_px / side
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        y, x = y.flatten(), x.flatten()
        boxes.append(torch.stack([edge[x], edge[y], edge[x + 1], edge[y + 1]], dim=1))
    return boxes


class ImageTower(nn.Module):
    """Patch embedding per scale, position + scale embedding, one Transformer shared by all scales.

    kind="patch_conv" (the paper's, M3): Conv2d(3, D, kernel=r, stride=r) on pixels, written as the Linear over
    unfolded patches that it is when kernel and stride are equal (its backward pass is four times faster on a CPU).
    With config.weights `clip.start_from` gives it CLIP's patch embedding, positions and Transformer.
    kind="feature_map": a frozen pretrained backbone's map, resampled to each scale's grid, then one Linear. With `top`,
    that backbone's last layers, it starts from what those below leave (encoders/fine_tuned.py).
    """

    def __init__(self, config: VisionConfig, d_map: int | None, dropout: float, feature_dropout: float = 0.0) -> None:
        super().__init__()
        self.config, self.sides = config, grid_sides(config)
        self.top: nn.Module | None = None
        width = config.width
        if config.kind == "patch_conv":
            self.patch = nn.ModuleList(nn.Linear(3 * r * r, width) for r in config.receptive_fields)
        else:
            if d_map is None:
                raise ValueError("a feature_map tower needs d_map, the channels of the frozen map")
            self.patch = nn.Linear(d_map, width)
            self.map_dropout = nn.Dropout1d(feature_dropout)  # whole channels: one draw serves all places
        self.position = nn.ParameterList(
            nn.Parameter(torch.randn(side * side, width) * POSITION_STD) for side in self.sides
        )
        self.scale = nn.Parameter(torch.randn(len(self.sides), width) * POSITION_STD)
        self.layers = transformer(width, config.depth, config.n_heads, dropout)

    @property
    def n_patches(self) -> list[int]:
        """N_s of every scale."""
        return [side * side for side in self.sides]

    def forward(self, images: Pixels | FeatureMap) -> Tensor:
        """Patch tokens Z = Z_1 ‖ … ‖ Z_S of every image (M3, M4).

        Args:
            images: (B, 3, H, W) uint8 pixels, or (B, C, h, w) frozen map, or what `top` reads.
        Returns: (B, N, D).
        """
        tokens, images = [], images if self.top is None else self.top(images)
        for s, patches in enumerate(self._patches(images)):  # (B, N_s, D)
            embedded = patches + self.position[s] + self.scale[s]  # (B, N_s, D)
            tokens.append(self.layers(embedded))  # the same weights at every scale
        return torch.cat(tokens, dim=1)

    def _patches(self, images: Tensor) -> list[Tensor]:
        """Per scale (B, N_s, D) patch embeddings F_s, row-major."""
        if self.config.kind == "patch_conv":
            size = self.config.image_size_px
            if images.shape[1:] != (3, size, size):
                raise ValueError(f"expected pixels (B, 3, {size}, {size}), got {tuple(images.shape)}")
            pixels = images.float() / 127.5 - 1
            return [patch(unfold(pixels, side)) for patch, side in zip(self.patch, self.sides, strict=True)]
        # Linear and average pool commute, so the Linear runs once for all scales. The norm has no weights of its own:
        # the Linear would only repeat them, and without them no gradient has to reach the map.
        B, C, h, w = images.shape
        places = F.layer_norm(images.permute(0, 2, 3, 1).reshape(B, h * w, C).float(), (C,))
        if self.training:
            places = places * self.map_dropout(places.new_ones(B, C, 1)).transpose(1, 2)
        embedded = self.patch(places).transpose(1, 2).unflatten(2, (h, w))  # (B, D, h, w)
        return [_resample(embedded, side).flatten(2).transpose(1, 2) for side in self.sides]


def unfold(pixels: Tensor, side: int) -> Tensor:
    """(B, 3, H, H) → (B, side², 3·r·r) non-overlapping patches of r = H / side pixels, as Conv2d's weight flattens."""
    B, C, H, _ = pixels.shape
    r = H // side
    grid = pixels.view(B, C, side, r, side, r).permute(0, 2, 4, 1, 3, 5)  # (B, side, side, C, r, r)
    return grid.reshape(B, side * side, C * r * r)


def _resample(grid: Tensor, side: int) -> Tensor:
    """(B, D, h, w) → (B, D, side, side): average where coarser; bilinear where finer, which adds no information."""
    if side == grid.shape[-1]:
        return grid
    if side < grid.shape[-1]:
        return F.adaptive_avg_pool2d(grid, side)
    return F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=False)
