"""Do explanations say what a model rests on? MICC's own and captum's against exact effects.

An explanation is an array, larger = more important: (n, N) over patches, or (n, C) over content words. Whoever has one
for the posts of `interventions.scene_posts`, e.g. attention of another model, scores it with `score_patches`. Three
questions, each with what a blind explanation would get:

rank      Spearman correlation with |exact effect| over the objects of a scene, each as its best patch; blind: 0
pointing  does the top patch show the object with the largest |effect|? blind: the share of patches that do
deletion  |change of the logit| when the ground takes the place of the top patches; blind: as many random patches

Sanity (Adebayo et al. 2018): explanations of the same architecture before stage 2, and untrained, are scored against
the effects of the trained model. One that scores as well shows the input, not what was learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rumorlib import inputs, results
from rumorlib.config import EXPLAINED_POSTS, RunConfig, Settings
from rumorlib.data.batches import Texts, array, where_is
from rumorlib.encoders.vision import patch_boxes
from rumorlib.experiments import model_name
from rumorlib.metrics import statistics
from rumorlib.metrics.evaluation import expected_hits
from rumorlib.models.micc import MICC
from rumorlib.results import trained
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.explanations import attributions, interventions
from rumorlib.studies.explanations.interventions import Logit, ScenePosts
from rumorlib.training import micc_runs
from rumorlib.training.loop import on_device

# n posts, T objects, N patches, N_s of one scale, C content words

TRAINED, STAGE1, UNTRAINED = "trained", "stage 1 only", "untrained"
PATCH_COLUMNS = [
    "dataset", "model", "weights", "explanation", "field_px", "n", "rank", "rank_low", "rank_high", "pointing",
    "pointing_low", "pointing_high", "pointing_chance", "deletion", "deletion_low", "deletion_high", "deletion_random",
    "deletion_by_effect",
]  # fmt: skip
SANITY = "product"  # the variant whose explanations are also made by weights that stage 2 has not trained


@dataclass(frozen=True)
class Explained:
    """One trained MICC, the benchmark's posts, the exact effects and the explanations."""

    config: RunConfig
    models: dict[str, MICC]  # by whose weights: TRAINED, and for the sanity checks STAGE1 and UNTRAINED
    texts: Texts  # n
    posed: ScenePosts  # pixels
    tokens: ScenePosts  # the same as patch tokens of the model's tower
    effects: np.ndarray  # (n, T)
    scores: dict[tuple[str, str], np.ndarray]  # (weights, explanation) -> (n, N)

    @property
    def model(self) -> MICC:
        """The trained one."""
        return self.models[TRAINED]

    @property
    def touches(self) -> np.ndarray:
        """(n, T, N) bool: the patch shows a part of the object."""
        boxes = torch.cat(patch_boxes(self.config.stage1.sclip.vision)).numpy()
        return interventions.touches(self.posed.boxes, boxes)

    @torch.inference_mode()
    def logit(self, images: Tensor, post: Tensor) -> Tensor:
        """(m,) logits of pictures or tokens with the texts of the posts (m,) they belong to."""
        if images.dtype == torch.uint8:
            images = interventions.in_parts(self.model.sclip.image_tower, images, where_is(self.model))
        return attributions.read(self.model, self.texts.rows(post), images, self.posed.rows[post]).logit


def n_posts(settings: Settings) -> int:
    """Posts of the benchmark at this grid."""
    return EXPLAINED_POSTS[settings.grid]


def explain(config: RunConfig, settings: Settings, split: str = "dev") -> Explained:
    """Exact effects and explanations of a MICC run on drawn scenes; the run is trained where its weights are missing.

    The variant SANITY, and every variant on the full grid, is also explained with the weights of stage 1 alone (fusion
    and classifier as drawn) and with weights that nothing has trained.
    """
    model, tensors, _ = trained.micc(config, settings)
    posed = interventions.scene_posts(inputs.corpus_of(config, settings), split, n_posts(settings), config.corpus_seed)
    texts, scores = tensors.texts.rows(posed.rows), {}
    models = {TRAINED: model} | (before_stage_2(config, settings) if _is_checked(config, settings) else {})
    for weights, other in models.items():
        tokens = interventions.in_parts(other.sclip.image_tower, posed.images, where_is(other))
        found = attributions.patch_scores(other, texts, posed.images, tokens.clone(), posed.rows)
        scores |= {(weights, name): values for name, values in found.items()}
    scores["none", "contrast of the pixels"] = attributions.contrast(posed.images, model.sclip.image_tower.sides)
    tokens = posed.encoded(model.sclip.image_tower, where_is(model))
    made = Explained(config, models, texts, posed, tokens, np.empty(0), scores)
    return replace(made, effects=interventions.object_effects(made.logit, made.tokens))


def _is_checked(config: RunConfig, settings: Settings) -> bool:
    return config.variant == SANITY or settings.grid == "full"


def before_stage_2(config: RunConfig, settings: Settings) -> dict[str, MICC]:
    """The same architecture with the weights of stage 1 alone (fusion and classifier as drawn), and untrained."""
    stage1 = results.run_or_load(config.stage1, settings, checkpoint=True)
    made = {STAGE1: micc_runs.on_posts(config, settings, stage1.checkpoint())[0].eval()}
    torch.manual_seed(config.seed)
    untrained = MICC(config.detector, inputs.new_sclip(config.stage1, settings), config.language).eval()
    return made | {UNTRAINED: on_device(untrained)}


# --- scores ---------------------------------------------------------------------------------------


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) Spearman correlation of each row, nan = no value in either; ties share their mean rank; 0 where one is
    constant, since it then says nothing."""
    absent = np.isnan(a) | np.isnan(b)
    ranks = []
    for values in (a, b):
        lower = (values[:, None, :] < values[:, :, None]) + 0.5 * (values[:, None, :] == values[:, :, None])
        rank = np.where(absent, np.nan, np.where(absent[:, None, :], 0, lower).sum(2))
        ranks.append(np.nan_to_num(rank - np.nanmean(rank, axis=1, keepdims=True)))
    product = (ranks[0] * ranks[1]).sum(1)
    size = np.sqrt((ranks[0] ** 2).sum(1) * (ranks[1] ** 2).sum(1))
    return np.divide(product, size, out=np.zeros(len(a)), where=size > 1e-12)


def score_patches(scores: np.ndarray, effects: np.ndarray, touches: np.ndarray) -> dict[str, np.ndarray]:
    """How well an explanation of patches fits the exact effects, post by post.

    Args:
        scores: (n, N) over any set of patches, e.g. those of one scale; larger = more important.
        effects: (n, T) of `interventions.object_effects`.
        touches: (n, T, N) of `interventions.touches`, of the same patches.
    Returns: rank, pointing, chance (of pointing): (n,) each.
    Raises: ValueError: shapes disagree.
    """
    if touches.shape != (*effects.shape, scores.shape[1]) or len(scores) != len(effects):
        raise ValueError(f"scores {scores.shape}, effects {effects.shape} and touches {touches.shape} disagree")
    best_patch = np.where(touches, scores[:, None, :], -np.inf).max(2)
    of_object = np.where(touches.any(2), best_patch, np.nan)  # (n, T)
    right = top_object(effects, touches)
    pointing = expected_hits(scores, right, 1)
    return {"rank": rank_correlation(of_object, np.abs(effects)), "pointing": pointing, "chance": right.mean(1)}


def top_object(effects: np.ndarray, touches: np.ndarray) -> np.ndarray:
    """(n, N) bool: the patch shows the object with the largest |effect|."""
    best = np.nanargmax(np.abs(effects), axis=1)
    return np.take_along_axis(touches, best[:, None, None], axis=1)[:, 0]


def top_patches(scores: np.ndarray, k: int) -> np.ndarray:
    """(n, N) bool: the k patches of the highest scores, the first of equal ones."""
    top = np.zeros(scores.shape, bool)
    np.put_along_axis(top, np.argsort(-scores, axis=1, kind="stable")[:, :k], True, axis=1)
    return top


def deletion(posed: ScenePosts, chosen: np.ndarray, logit: Logit, before: Tensor) -> np.ndarray:
    """(n,) |change of the logit| when the chosen patches show the ground.

    Args: posed: with pixels. chosen: (n, side²) bool, patches of one scale. logit: on pixels. before: (n,) logits of
        the pictures as they are.
    """
    after = logit(interventions.shown_without(posed, chosen, round(chosen.shape[1] ** 0.5)), torch.arange(len(chosen)))
    return array((before - after).abs())


def patch_table(made: list[Explained]) -> pd.DataFrame:
    """Every explanation of every model against the exact effects, a row per receptive field (x_1).

    Returns: dataset, model, weights, explanation, field_px, n; rank, pointing, deletion, each with _low and _high
        (95 %, t interval over posts); pointing_chance, deletion_random, deletion_by_effect (patches of the objects with
        the largest |effect|).
    """
    rows = [row for one in made for row in _patch_rows(one)]
    return by_runs(pd.DataFrame(rows, columns=[*PATCH_COLUMNS, RUNS]), "dataset", "model")


def _patch_rows(one: Explained) -> Iterator[dict[str, Any]]:
    tower, fields = one.model.sclip.image_tower, one.config.stage1.sclip.vision.receptive_fields
    before = one.logit(one.tokens.images, torch.arange(len(one.effects)))
    for part, field in zip(_scales(tower.n_patches), fields, strict=True):
        scores = {key: values[:, part] for key, values in one.scores.items()}
        rows = scored(
            scores, one.effects, one.touches[:, :, part], one.posed, one.logit, before, one.config.detector.top_k
        )
        about = {"dataset": one.config.dataset, "model": model_name(one.config), "field_px": field}
        about[RUNS] = run_names([one.config])
        yield from (about | row for row in rows)


@torch.inference_mode()
def scored(
    scores: dict[tuple[str, str], np.ndarray], effects: np.ndarray, touches: np.ndarray, posed: ScenePosts,
    logit: Logit, before: Tensor, k: int,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Rows of `patch_table` for explanations (weights, name) -> (n, side²) of the patches of one scale.

    Args: touches: (n, T, side²). posed: with pixels. logit: on pixels. before: (n,) logits of the pictures as they are.
        k: patches that the deletion test takes away.
    """
    random = np.random.default_rng(0).random(touches[:, 0].shape)
    ideal = np.where(touches, np.nan_to_num(np.abs(effects))[:, :, None], 0).max(1)
    known: dict[bytes, np.ndarray] = {}  # explanations that name the same patches are asked about once

    def deleted(values: np.ndarray) -> np.ndarray:
        chosen = top_patches(values, k)
        if chosen.tobytes() not in known:
            known[chosen.tobytes()] = deletion(posed, chosen, logit, before)
        return known[chosen.tobytes()]

    for (weights, explanation), values in scores.items():
        found = score_patches(values, effects, touches)
        row = {"weights": weights, "explanation": explanation, "n": len(values)} | interval("rank", found["rank"])
        row |= interval("pointing", found["pointing"]) | {"pointing_chance": found["chance"].mean()}
        row |= interval("deletion", deleted(values))
        yield row | {"deletion_random": deleted(random).mean(), "deletion_by_effect": deleted(ideal).mean()}


def _scales(n_patches: list[int]) -> list[slice]:
    ends = np.cumsum(n_patches)
    return [slice(end - n, end) for end, n in zip(ends, n_patches, strict=True)]


def interval(name: str, values: np.ndarray) -> dict[str, float]:
    """Mean and 95 % t interval over posts, as three columns."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), statistics.t_interval(values), strict=True))


def effect_table(made: list[Explained]) -> pd.DataFrame:
    """What the models really rest on: exact effect by what an object is to the claim (x_1_effects).

    Returns: dataset, model, posts ("non-rumor", "rumor"), role, n_objects; effect, effect_low, effect_high (mean
        |change of the logit| of such objects, 95 %, over posts that have one); most_effective (share of these posts
        whose largest effect is such an object's), by_number (the same if objects were drawn blindly).
    """
    rows = []
    for one in made:
        role, effect = interventions.roles(one.posed), np.abs(one.effects)
        best = role[np.arange(len(role)), np.nanargmax(effect, axis=1)]
        share = {name: ((role == name).sum(1) / one.posed.present.sum(1)) for name in np.unique(role)}
        for label, posts in ((0, "non-rumor"), (1, "rumor")):
            of = (one.posed.posts["label"] == label).to_numpy()
            for name in ("evidence", "same kind", "same colour", "same shape", "other"):
                mine = (role == name)[of]
                if mine.any():
                    per_post = np.where(mine, effect[of], 0).sum(1)[mine.any(1)] / mine.sum(1)[mine.any(1)]
                    row = {"dataset": one.config.dataset, "model": model_name(one.config), "posts": posts, "role": name}
                    row |= {"n_objects": int(mine.sum())} | interval("effect", per_post)
                    row |= {"most_effective": (best[of] == name).mean(), "by_number": share[name][of].mean()}
                    rows.append(row | {RUNS: run_names([one.config])})
    return by_runs(pd.DataFrame(rows), "dataset", "model")
