"""DMFL's attention against exact effects (spec §16.2): does it look at the patches its logit rests on?

Eq 12's map is patches x words and every patch spreads one unit over the words: it names words, not places. Read the
other way (softmax over the patches for each word), and in the last cross-attention of the logic chain, it names places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rumorlib import attributions, experiments, inputs, interventions, results, trained
from rumorlib.comparison import names
from rumorlib.config import RunConfig, Settings
from rumorlib.data.batches import PostTensors
from rumorlib.encoders.vision import grid_sides, patch_boxes
from rumorlib.explanations import PATCH_COLUMNS, TRAINED, n_posts, scored
from rumorlib.interventions import ScenePosts
from rumorlib.models.dmfl import DMFL, DMFLOutput

# n posts, T objects, N patches of the finest scale, which DMFL reads

EQ12, LOGIC = "Eq 12, over the patches", "cross-attention of the logic chain"


@dataclass(frozen=True)
class ExplainedDMFL:
    """One trained DMFL, the benchmark's posts, the exact effects and its attention."""

    config: RunConfig
    bench: ScenePosts  # pixels
    effects: np.ndarray  # (n, T)
    scores: dict[tuple[str, str], np.ndarray]  # (weights, explanation) -> (n, N)
    logit: Callable[[Tensor, Tensor], Tensor]  # pixels and posts -> logits

    @property
    def touches(self) -> np.ndarray:
        """(n, T, N) bool: the patch shows a part of the object."""
        vision = self.config.stage1.sclip.vision
        boxes = patch_boxes(vision)[int(np.argmax(grid_sides(vision)))].numpy()
        return interventions.touches(self.bench.boxes, boxes)


def models(settings: Settings) -> list[RunConfig]:
    """DMFL on the first corpus, one seed; none where scenes are not drawn."""
    drawn = settings.profile == "demo"
    chosen = settings.datasets[0], settings.seeds[0]
    return [c for c in experiments.dmfl_main(settings) if drawn and (c.dataset, c.seed) == chosen]


def explain(config: RunConfig, settings: Settings, split: str = "dev") -> ExplainedDMFL:
    """Exact effects on the logit of rumor (logit of rumor minus that of non-rumor) and DMFL's two attentions."""
    model, tensors, _ = trained.dmfl(config, settings)
    bench = interventions.scene_posts(inputs.corpus_of(config, settings), split, n_posts(settings), config.corpus_seed)
    checkpoint = results.run_or_load(config.stage1, settings, checkpoint=True).checkpoint()
    tower = inputs.load_sclip(config.stage1, checkpoint, settings).image_tower
    finest = int(np.argmax(tower.sides))
    start, size = sum(tower.n_patches[:finest]), tower.n_patches[finest]

    def tokens(pixels: Tensor) -> Tensor:
        return interventions.in_parts(tower, pixels)[:, start : start + size]

    @torch.inference_mode()
    def of_tokens(images: Tensor, post: Tensor) -> Tensor:
        parts = torch.arange(len(post)).split(512)
        return torch.cat([_logit(read(model, tensors, images[p], bench.rows[post[p]])) for p in parts])

    encoded = bench.encoded(tokens)
    with torch.inference_mode():
        output = read(model, tensors, encoded.images, bench.rows, need_maps=True)
    mask, maps = tensors.batch(bench.rows).text_mask, {EQ12: output.swapped, LOGIC: output.logic_map}
    scores = {(TRAINED, name): attention(found, mask) for name, found in maps.items() if found is not None}
    scores["none", "contrast of the pixels"] = attributions.contrast(bench.images, (tower.sides[finest],))
    effects = interventions.object_effects(of_tokens, encoded)
    return ExplainedDMFL(config, bench, effects, scores, lambda pixels, post: of_tokens(tokens(pixels), post))


def read(model: DMFL, tensors: PostTensors, images: Tensor, rows: Tensor, need_maps: bool = False) -> DMFLOutput:
    """The model on image rows (m, N, D) with the texts of the posts at rows (m,)."""
    return model(tensors.batch(rows)._replace(images=images.float()), need_maps)


def _logit(output: DMFLOutput) -> Tensor:
    return output.logits[:, 1] - output.logits[:, 0]


def attention(weights: Tensor, mask: Tensor) -> np.ndarray:
    """(n, H, L, N) attention of words to patches -> (n, N), mean over heads and the real positions of mask (n, L)."""
    real = mask[:, None, :, None].to(weights.dtype)
    return ((weights * real).sum((1, 2)) / (real.sum((1, 2)) * weights.shape[1])).float().numpy()


def table(made: list[ExplainedDMFL], k: int = 2) -> pd.DataFrame:
    """Rows of `explanations.patch_table` for DMFL, on the scale it reads; k: patches the deletion test takes away."""
    rows = []
    for one in made:
        before = one.logit(one.bench.images, torch.arange(len(one.effects)))
        field = min(one.config.stage1.sclip.vision.receptive_fields)
        about = {"dataset": one.config.dataset, "model": names(one.config), "field_px": field}
        rows += [about | row for row in scored(one.scores, one.effects, one.touches, one.bench, one.logit, before, k)]
    return pd.DataFrame(rows, columns=PATCH_COLUMNS)
