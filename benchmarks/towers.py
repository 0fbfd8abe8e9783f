"""Frozen towers of the laptop's sizes with random weights: MobileNetV2 and a sentence encoder as wide as MiniLM."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from rumorlib.config import SCLIPConfig, TextConfig, VisionConfig
from rumorlib.encoders.sclip import SCLIP

WORDS = [f"word{number}" for number in range(200)]
MEAN = [0.5, 0.5, 0.5]


def image_tower(quick: bool) -> nn.Module:
    """MobileNetV2 without its classifier; 7 x 7 cells of 1280 channels at 224 px, narrower if quick."""
    from transformers import MobileNetV2Config, MobileNetV2Model

    return MobileNetV2Model(MobileNetV2Config(depth_multiplier=0.35 if quick else 1.0)).eval()


def text_tower(quick: bool) -> nn.Module:
    """BERT of MiniLM's shape: 6 layers of width 384; one layer if quick."""
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(vocab_size=len(WORDS) + 4, hidden_size=384, num_hidden_layers=1 if quick else 6,
                                num_attention_heads=12, intermediate_size=1536)).eval()  # fmt: skip


def side_px(quick: bool) -> int:
    """Side of the square the image tower sees."""
    return 64 if quick else 224


def laptop_sclip(n_map: int = 1280) -> SCLIP:
    """SCLIP on frozen features, of the laptop's sizes."""
    vision = VisionConfig(kind="feature_map", image_size_px=224, width=512, depth=0, n_heads=8)
    config = SCLIPConfig(texts=(("en", TextConfig(kind="frozen")),), vision=vision, head="linear")
    return SCLIP(config, {}, {"en": 384}, n_map)


@torch.no_grad()
def sentences(tower: nn.Module, ids: Tensor) -> Tensor:
    """(n, L) ids → (n, 384) mean of the last hidden states."""
    return tower(ids).last_hidden_state.mean(1)


@torch.no_grad()
def maps(tower: nn.Module, pixels: Tensor) -> Tensor:
    """(n, 3, H, H) uint8 → (n, C, h, w)."""
    return tower(pixels.float() / 127.5 - 1).last_hidden_state


def save_image_tower(folder: Path, quick: bool) -> Path:
    """A local Hugging Face folder of the image tower, as `frozen.image_maps` reads it."""
    image_tower(quick).save_pretrained(folder)
    about = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": MEAN, "image_std": MEAN,
             "do_resize": True, "size": {"height": side_px(quick), "width": side_px(quick)}, "do_center_crop": False,
             "image_processor_type": "ViTImageProcessor"}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(about))
    return folder
