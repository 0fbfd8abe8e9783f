"""SCLIP started from a local CLIP or Chinese-CLIP folder: image tower, text tower, projections.

Kernel 32 comes as it is, others resized. Without a second scale and at the folder's own image size the tower's patch
tokens are CLIP's own last hidden states; with its text tower and projections (`SCLIPConfig.head="clip"`) the joint
space is CLIP's, too: SCLIP is then CLIP.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.data.batches import Texts
from rumorlib.encoders import pretrained
from rumorlib.encoders.sclip import SCLIP
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


class CLIPText(nn.Module):
    """The text tower of a folder: the state that its projection reads, of [EOS] in CLIP, of [CLS] in Chinese-CLIP."""

    def __init__(self, text: nn.Module) -> None:
        super().__init__()
        self.encoder, self.width = text, text.config.hidden_size

    def forward(self, texts: Texts) -> Tensor:
        """Ids of `tokenized` to (B, D), not yet projected (M1); features as they are where a frozen tower made them."""
        if texts.features is not None:
            return texts.features.float()
        read = self.encoder(input_ids=(texts.ids - 1).clamp(min=0), attention_mask=texts.mask.long())
        return read.last_hidden_state[:, 0] if read.pooler_output is None else read.pooler_output


def tokenized(tokenizer: Any, texts: list[str], max_length: int) -> Texts:
    """Ids of a folder's tokenizer plus one, (n, L), 0 = padding: CLIP's own id 0 is a word."""
    made = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    mask = made["attention_mask"].bool()
    return Texts((made["input_ids"] + 1) * mask, mask)


@torch.no_grad()
def start(model: SCLIP, folder_of: Callable[[str], Path]) -> None:
    """Give an SCLIP what its config takes of CLIP folders, in place: a patch_conv tower with weights (`start_from`),
    text towers of kind "clip", and with head="clip" the projections and the temperature.

    Args: folder_of: the folder of a name.
    Raises: as `start_from`. ValueError: widths differ, or head="clip" without one folder for both towers.
    """
    vision, towers = model.config.vision, dict(model.config.texts)
    if vision.kind == "patch_conv" and vision.weights:
        start_from(model.image_tower, folder_of(vision.weights))
    for language, text in towers.items():
        if text.kind != "clip":
            continue
        folder = folder_of(text.weights or "")
        tower = CLIPText(pretrained.model_of(folder, "text_model"))
        if tower.width != text.width:
            raise ValueError(f"{folder.name}'s texts are {tower.width} wide: set TextConfig.width to that")
        model.text_towers[language] = tower.requires_grad_(not vision.freeze_towers)
    if model.config.head != "clip":
        return
    if {text.weights for text in towers.values()} != {vision.weights} or vision.kind != "patch_conv":
        raise ValueError(
            "head='clip' needs both towers of one CLIP folder: TextConfig.weights and VisionConfig.weights"
        )
    whole = pretrained.model_of(folder_of(vision.weights))
    if whole.projection_dim != model.config.d_joint:
        raise ValueError(f"its joint space has {whole.projection_dim} dimensions: set SCLIPConfig.d_joint to that")
    norm, project = model.image_head
    norm.load_state_dict(whole.vision_model.post_layernorm.state_dict())
    norm.eps = whole.vision_model.post_layernorm.eps
    project.weight.copy_(whole.visual_projection.weight)
    for head in model.text_heads.values():
        head.weight.copy_(whole.text_projection.weight)
    model.logit_scale.copy_(whole.logit_scale)


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
