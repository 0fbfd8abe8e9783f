"""B7: pictures from JPEG to a square of bytes.

Ours decodes at a fraction of the size where that suffices (`draft`); the plain way: PIL at full size, resized, then
ToTensor's division to floats. At 500 px no fraction suffices: decoding whole and resizing is what both need, and beside
that alone (the limit) little can be gained.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import harness
import numpy as np
import torch
from feature_cache import photographs
from PIL import Image

from rumorlib.data.images import FolderImages

SIDE_PX = 224


def pairs(quick: bool) -> list[harness.Pair]:
    """Pictures as large as posts carry them, and as cameras make them."""
    made = []
    for size in ((500, 375), (1600, 1200)):
        place = Path(tempfile.mkdtemp(prefix="bench-"))
        keys = photographs(place, 2 if quick else 24, size)
        images = FolderImages(place)

        def ours(images: FolderImages = images, keys: list[str] = keys) -> np.ndarray:
            return np.stack([images.pixels(key, SIDE_PX) for key in keys])

        def peer(place: Path = place, keys: list[str] = keys) -> torch.Tensor:
            pictures = [Image.open(io.BytesIO((place / key).read_bytes())).convert("RGB") for key in keys]
            arrays = [np.array(p.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)) for p in pictures]
            return torch.stack([torch.from_numpy(array).permute(2, 0, 1).contiguous() / 255 for array in arrays])

        def limit(place: Path = place, keys: list[str] = keys) -> list[np.ndarray]:
            pictures = [Image.open(place / key).convert("RGB") for key in keys]
            return [np.asarray(p.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)) for p in pictures]

        made.append(harness.Pair(f"decoding pictures of {size[0]} px", "PIL at full size, to floats", ours, peer))
        if min(size) < 2 * SIDE_PX:  # draft may not halve
            what = f"decoding pictures of {size[0]} px, limit"
            made.append(harness.Pair(what, "decoding and resizing alone", ours, limit))
    return made


if __name__ == "__main__":
    sys.exit(harness.main("B7", __doc__, pairs))
