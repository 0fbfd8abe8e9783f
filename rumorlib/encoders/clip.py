"""SCLIP's image tower started from a local CLIP or Chinese-CLIP folder: kernel 32 as it is, other kernels resized.

Without a second scale and at the folder's own image size the tower's patch tokens are CLIP's own last hidden states.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.encoders import pretrained
from rumorlib.encoders.vision import ImageTower

# D width, p the folder's kernel, r a receptive field, N patches of one scale


def resize_kernel(weight: Tensor, field: int) -> Tensor:
    """Patch-embedding weights for another kernel, by FlexiViT's pseudo-inverse (Beyer et al. 2023, Eq 4).

    With B the bilinear map of p×p to r×r pixels, w' = (Bᵀ)⁺ w. Where r > p this is exact: ⟨w', B x⟩ = ⟨w, x⟩ for every
    patch x, an enlarged patch gets the same embedding. Where r < p pixels are missing and it is the least-squares fit.

    Args: weight: (D, 3, p, p). field: r.
    Returns: (D, 3, r, r).
    """
    p = weight.shape[-1]
    line = F.interpolate(torch.eye(p, dtype=torch.double)[:, None], size=field, mode="linear", align_corners=False)
    inverse = torch.linalg.pinv(line[:, 0])  # (r, p) along one side; bilinear = the same along both
    return (inverse @ weight.double() @ inverse.T).to(weight.dtype)


class CLIPLayers(nn.Module):
    """CLIP's Transformer as the shared one of M4: the class token reads along and is dropped at the end."""

    def __init__(self, vision: nn.Module) -> None:
        super().__init__()
        embed = vision.embeddings
        self.first = nn.Parameter((embed.class_embedding + embed.position_embedding.weight[0]).detach().clone())
        self.norm, self.encoder = vision.pre_layrnorm, vision.encoder

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        whole = torch.cat([self.first.expand(len(tokens), 1, -1), tokens], dim=1)
        return self.encoder(inputs_embeds=self.norm(whole)).last_hidden_state[:, 1:]


@torch.no_grad()
def start_from(tower: ImageTower, folder: Path) -> None:
    """Give a patch_conv tower the patch embedding, positions and Transformer of a CLIP folder, in place.

    The folder's mean and std are folded into the patch weights, since the tower scales pixels to [-1, 1]. Positions are
    interpolated to each scale's grid. With `freeze_towers` nothing of the tower is trained in stage 1 (§10.1).

    Raises: as `pretrained.model_of`; FileNotFoundError: no preprocessor_config.json. ValueError: widths differ.
    """
    scaling = pretrained.pixel_scaling(folder)
    vision = pretrained.model_of(folder, "vision_model")
    embed, width = vision.embeddings, tower.config.width
    if embed.patch_embedding.out_channels != width:
        raise ValueError(f"{folder.name} is {embed.patch_embedding.out_channels} wide: set VisionConfig.width to that")
    std, mean = (torch.tensor(scaling[name]).view(1, 3, 1, 1) for name in ("std", "mean"))
    grid = embed.position_embedding.weight[1:].T.unflatten(1, (embed.image_size // embed.patch_size, -1))
    for s, (field, side) in enumerate(zip(tower.config.receptive_fields, tower.sides, strict=True)):
        weight = resize_kernel(embed.patch_embedding.weight, field)  # reads (rescale · p − mean) / std of a pixel p
        gain = 127.5 * scaling["rescale"]  # rescale · p = gain · (x + 1), x the tower's pixel in [-1, 1]
        tower.patch[s].weight.copy_((weight * gain / std).flatten(1))
        tower.patch[s].bias.copy_((weight * (gain - mean) / std).flatten(1).sum(1))
        places = F.interpolate(grid[None], size=(side, side), mode="bicubic", align_corners=False)
        tower.position[s].copy_(places[0].flatten(1).T)
    tower.scale.zero_()  # CLIP knows one scale
    tower.layers = CLIPLayers(vision)
    tower.requires_grad_(not tower.config.freeze_towers)
