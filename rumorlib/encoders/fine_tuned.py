"""Pretrained encoders whose last layers a detector trains; what the layers below make of an input is made once and kept
(`frozen.image_maps`, `frozen.text_rows`)."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from rumorlib.encoders import pretrained

# B inputs, P word pieces, W width, C channels, (h, w) cells


class TextTop(nn.Module):
    """The last layers of a BERT, above rows of those below."""

    def __init__(self, layers: nn.ModuleList, pool: str) -> None:
        super().__init__()
        self.layers, self.pool = layers, pool

    def forward(self, rows: Tensor, real: Tensor) -> Tensor:
        """(B, P, W) rows and (B, P) bool, True = a word piece, to one vector per text, (B, W)."""
        rows = rows.float()
        added = torch.zeros_like(real, dtype=rows.dtype).masked_fill(~real, torch.finfo(rows.dtype).min)
        for layer in self.layers:
            rows = layer(rows, added[:, None, None])  # (B, 1, 1, P), added to the attention's scores
        return pooled(rows, real, self.pool)


class ImageTop(nn.Module):
    """The last layers of an image encoder, above maps or rows of those below. BatchNorm keeps its published statistics:
    those of a batch of posts are few."""

    def __init__(self, layers: nn.Module, side: int | None, cls: bool) -> None:
        super().__init__()
        self.layers, self.side, self.cls = layers, side, cls

    def train(self, mode: bool = True) -> ImageTop:
        """As torch's, but for BatchNorm and what drops whole layers."""
        super().train(mode)
        for part in self.layers.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) or type(part).__name__ == "DropPath":
                part.eval()
        return self

    def forward(self, below: Tensor) -> Tensor:
        """As `frozen.image_maps` has the whole encoder's: (B, C, h, w), or rows (B, 1 + h * w, C) with [CLS]."""
        made = self.layers(below.float())
        as_map = grid(made, self.side)
        return with_cls(made, as_map) if self.cls else as_map


def pooled(rows: Tensor, real: Tensor, pool: str) -> Tensor:
    """(B, P, W) to (B, W): the mean over real word pieces, or with pool="cls" the first one."""
    if pool == "cls":
        return rows[:, 0]
    real = real[..., None].to(rows.dtype)
    return (rows * real).sum(1) / real.sum(1).clamp(min=1)


def grid(hidden: Tensor, side: int | None = None) -> Tensor:
    """(B, C, h, w) of a CNN as it is; (B, specials + h*w, C) of a ViT as a grid, special tokens first and dropped."""
    if hidden.ndim == 4:
        return hidden
    side = side or math.isqrt(hidden.shape[1])
    if not 0 < side * side <= hidden.shape[1]:
        raise ValueError(f"{hidden.shape[1]} tokens are no {side}x{side} grid; choose a size_px that patches tile")
    return hidden[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))


def with_cls(hidden: Tensor, as_map: Tensor) -> Tensor:
    """(B, 1 + h*w, C): the first token of a ViT, its [CLS], before the cells of its map."""
    patches = as_map.flatten(2).transpose(1, 2)
    if hidden.ndim != 3 or hidden.shape[1] == patches.shape[1]:
        raise ValueError("this encoder has no [CLS] row; image_cls=False takes the mean of its rows")
    return torch.cat([hidden[:, :1], patches], dim=1)


def side_of(model: nn.Module, size_px: int) -> int | None:
    """Cells per side of what a ViT makes of pictures of this size; None: a CNN, or as many as fit."""
    patch_px = getattr(model.config, "patch_size", None)
    return size_px // patch_px if isinstance(patch_px, int) else None


# --- cutting ----------------------------------------------------------------------------------------


def cut(model: nn.Module, trained: int) -> tuple[nn.Module, nn.Module]:
    """An image encoder below its last `trained` layers, and these: of timm's EfficientNets stages, of ViTs blocks; the
    stem, or the embedding of patches, is the first, and the norm or convolution at the end belongs to the last.

    Raises: pretrained.WeightsError: another architecture, or one without so many layers.
    """
    net = getattr(model, "timm_model", model)
    name = type(net).__name__
    if all(hasattr(net, part) for part in ("conv_stem", "bn1", "blocks", "conv_head", "bn2")):
        parts = [nn.Sequential(net.conv_stem, net.bn1), *net.blocks]
        last = nn.Sequential(net.conv_head, net.bn2)
    elif all(hasattr(net, part) for part in ("embeddings", "layers", "layernorm")):  # a ViT
        parts, last = [net.embeddings, *net.layers], net.layernorm
    else:
        raise pretrained.WeightsError(
            f"{name} is not cut into layers here; ViTs and timm's EfficientNets are, or train none of it"
        )
    if not 0 < trained <= len(parts):
        raise pretrained.WeightsError(f"{name} has {len(parts)} layers to train, its first included; {trained} asked")
    at = len(parts) - trained
    return nn.Sequential(*parts[:at]), nn.Sequential(*parts[at:], last)


def layers_below(weights: Path, trained: int) -> int:
    """How many layers of a local BERT folder lie below its last `trained` ones.

    Raises: pretrained.WeightsError: it has fewer layers.
    """
    n_layers = pretrained.config_of(weights).num_hidden_layers
    if trained > n_layers:
        raise pretrained.WeightsError(f"{Path(weights).name} has {n_layers} layers; {trained} are to be trained")
    return n_layers - trained


def text_top(weights: Path, trained: int, pool: str) -> TextTop:
    """The last layers of a local BERT folder, to be trained; word and position tables stay as they are.

    Raises: as `layers_below`.
    """
    below = layers_below(weights, trained)
    layers = pretrained.model_of(weights, kind=_bert(), add_pooling_layer=False).encoder.layer
    return TextTop(layers[below:], pool).requires_grad_(True)


def image_top(weights: Path, size_px: int, trained: int, cls: bool = False) -> ImageTop:
    """The last layers of a local image encoder's folder, to be trained. Raises: as `cut`; WeightsError: a ViT made for
    pictures of another size."""
    model = pretrained.model_of(weights, "vision_model")
    if getattr(model.config, "image_size", size_px) != size_px:
        raise pretrained.WeightsError(f"{Path(weights).name} reads {model.config.image_size} px; train none of it, or "
                                      f"set image_size_px, {size_px} now")  # fmt: skip
    return ImageTop(cut(model, trained)[1], side_of(model, size_px), cls).requires_grad_(True)


def _bert() -> type:
    from transformers import BertModel

    return BertModel
