"""B2: filling the cache of a frozen image tower, against a plain Hugging Face loop.

The peer: processor and model, 32 pictures at a time in fp32. Ours decodes ahead of the network, runs channels last, and
also writes what it found to the disk. The limit has neither decoding nor disk.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import harness
import numpy as np
import torch
import towers
from PIL import Image

from rumorlib.data.images import FolderImages
from rumorlib.encoders import frozen, pretrained


def photographs(folder: Path, n: int, size_px: tuple[int, int]) -> list[str]:
    """n JPEG files of smooth noise, about as large as photographs of that size; returns their keys."""
    random, keys = np.random.default_rng(0), []
    for number in range(n):
        small = Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        keys.append(f"{number}.jpg")
        small.resize(size_px, Image.Resampling.BICUBIC).save(folder / keys[-1], quality=90)
    return keys


def pairs(quick: bool) -> list[harness.Pair]:
    """One pass over pictures of 500 px."""
    from transformers import AutoImageProcessor, AutoModel

    place = Path(tempfile.mkdtemp(prefix="bench-"))
    keys = photographs(place, 4 if quick else 32, (500, 375))
    weights = towers.save_image_tower(place / "tower", quick)
    images = FolderImages(place)
    safe = {"local_files_only": True, "trust_remote_code": False}
    processor = AutoImageProcessor.from_pretrained(weights, backend="pil", **safe)
    model = AutoModel.from_pretrained(weights, **safe).eval()

    def ours() -> torch.Tensor:
        cache = Path(tempfile.mkdtemp(dir=place))
        return frozen.image_maps(images, keys, weights, towers.side_px(quick), cache, progress=False)

    @torch.no_grad()
    def peer() -> torch.Tensor:
        made = []
        for start in range(0, len(keys), 32):
            opened = [
                Image.open(io.BytesIO((place / key).read_bytes())).convert("RGB") for key in keys[start : start + 32]
            ]
            made.append(model(**processor(opened, return_tensors="pt")).last_hidden_state)
        return torch.cat(made)

    side, at_once = towers.side_px(quick), frozen.IMAGES_PER_BATCH
    ready = [images.pixels(key, side) for key in keys]
    encode = frozen.image_encoder(weights, side, pretrained.pixel_scaling(weights), torch.device("cpu"), False, False)

    def limit() -> torch.Tensor:
        return torch.cat([encode(ready[start : start + at_once]) for start in range(0, len(ready), at_once)])

    name = "filling the feature cache, 500 px"
    return [
        harness.Pair(name, "a plain Hugging Face loop", ours, peer),
        harness.Pair(f"{name}, limit", "the network alone, pictures in memory", ours, limit),
    ]


if __name__ == "__main__":
    sys.exit(harness.main("B2", __doc__, pairs))
