"""B5: one post from a JPEG and its words to an answer, against CLIP ViT-B/32 asked zero-shot with two sentences.

Weights are random: time does not depend on them. Ours is the laptop's MICC with its frozen towers, nothing cached.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import harness
import torch
import towers
from feature_cache import photographs
from PIL import Image

from rumorlib.config import MICCConfig
from rumorlib.data.batches import Batch
from rumorlib.data.images import FolderImages
from rumorlib.models.micc import MICC


def pairs(quick: bool) -> list[harness.Pair]:
    """One picture of 500 px, 24 words."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    place = Path(tempfile.mkdtemp(prefix="bench-"))
    (key,) = photographs(place, 1, (500, 375))
    images, side = FolderImages(place), towers.side_px(quick)
    image, text = towers.image_tower(quick), towers.text_tower(quick)
    n_map = towers.maps(image, torch.zeros(1, 3, side, side)).shape[1]
    model = MICC(MICCConfig(freeze="nothing"), towers.laptop_sclip(n_map), "en").eval()
    ids, one = torch.randint(4, 200, (1, 24)), torch.ones(1)

    @torch.inference_mode()
    def ours() -> torch.Tensor:
        pixels = torch.tensor(images.pixels(key, side)).permute(2, 0, 1)[None]
        batch = Batch(None, None, towers.sentences(text, ids), towers.maps(image, pixels), one, one, one.long())
        return model.prob_rumor(batch)

    small = {"num_hidden_layers": 1} if quick else {}
    vision = {"patch_size": 32, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, **small}
    clip = CLIPModel(CLIPConfig(text_config=small, vision_config=vision)).eval()
    processor = CLIPImageProcessorPil()
    asked = torch.randint(4, 40000, (2, 24))

    @torch.inference_mode()
    def peer() -> torch.Tensor:
        picture = Image.open(io.BytesIO((place / key).read_bytes())).convert("RGB")
        pixels = processor(picture, return_tensors="pt")["pixel_values"]
        return clip(input_ids=asked, pixel_values=pixels).logits_per_image.softmax(-1)

    return [harness.Pair("one post, JPEG to answer", "CLIP ViT-B/32 zero-shot", ours, peer, passes=1 if quick else 10)]


if __name__ == "__main__":
    sys.exit(harness.main("B5", __doc__, pairs))
