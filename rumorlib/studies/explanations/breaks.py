"""Where MICC's reasoning would break, measured, on the posts of the interventional benchmark.

Redundancy: two scales that say the same (CKA). Relevance that follows colour: it should fall when the claimed object
gets another colour, and another shape. Importance that ignores relevance: Eq 24 adds two numbers, and lambda may leave
only one of them. Modality gap: texts and pictures in two places of one space, before and after stage 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from rumorlib import experiments
from rumorlib.config import Settings
from rumorlib.data.batches import Texts, array, moved, where_is
from rumorlib.data.drawn_scenes import scenes
from rumorlib.encoders.sclip import SCLIP
from rumorlib.experiments import model_name
from rumorlib.metrics import modalities, statistics
from rumorlib.results import trained
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.explanations import attributions, explanations, interventions
from rumorlib.studies.explanations.explanations import TRAINED, Explained, interval, rank_correlation

COLUMNS = ["dataset", "condition", "quantity", "state", "value", "low", "high", "reference", "n"]
STAGE1, UNTRAINED = explanations.STAGE1, explanations.UNTRAINED


@dataclass(frozen=True)
class State:
    """One SCLIP at one point of its life, and what it makes of the benchmark's posts."""

    name: str
    sclip: SCLIP
    runs: tuple[str, ...]  # whose weights it has; none untrained
    text: Tensor  # (n, D)
    patches: Tensor  # (n, N, D)


def states(made: list[Explained], settings: Settings) -> list[State]:
    """SCLIP untrained, after stage 1, and after stage 2 in each of the models."""
    one = next((each for each in made if STAGE1 in each.models), made[0])
    before = one.models if STAGE1 in one.models else explanations.before_stage_2(one.config, settings)
    towers = {UNTRAINED: (before[UNTRAINED].sclip, ()), STAGE1: (before[STAGE1].sclip, run_names([one.config.stage1]))}
    towers |= {model_name(each.config): (each.model.sclip, run_names([each.config])) for each in made}
    return [_state(name, runs, tower, one.texts, one) for name, (tower, runs) in towers.items()]


def lambda_ends(one: Explained, settings: Settings) -> list[Explained]:
    """The literal model at lambda = 0 and 1, the limits of Eq 24, on the posts and the image tower of `one`."""
    same = experiments.lambda_end_runs(settings)
    return [replace(one, config=c, models={TRAINED: trained.micc(c, settings)[0]}, scores={}) for c in same]


@torch.inference_mode()
def _state(name: str, runs: tuple[str, ...], tower: SCLIP, texts: Texts, one: Explained) -> State:
    where = where_is(tower)
    patches = interventions.in_parts(tower.encode_image, one.posed.images, where)
    texts = Texts(*moved(tuple(texts), where))
    return State(name, tower, runs, tower.encode_text(texts, one.config.language), patches)


def table(made: list[Explained], others: list[Explained], settings: Settings) -> pd.DataFrame:
    """Every break condition of the models in `made`; `others` are runs at the ends of lambda (x_3).

    Returns: COLUMNS; low and high: 95 % over posts, nan where none is given; reference: what would be found if nothing
        were there (shuffled posts, chance), nan where that is no number.
    """
    rows: list[dict[str, Any]] = []
    for state in states(made, settings):
        found = [*_redundancy(state), *_modality_gap(state)]
        if state.name != UNTRAINED:
            found += _follows(state, made[0])
        rows += [row | {RUNS: state.runs} for row in found]
    for one in (*made, *others):
        rows += [row | {RUNS: run_names([one.config])} for row in _importance(one)]
    frame = pd.DataFrame(rows).assign(dataset=made[0].config.dataset)
    return by_runs(frame[[*COLUMNS, RUNS]], "condition", "state")


# --- redundancy -----------------------------------------------------------------------------------


def _redundancy(state: State) -> Iterator[dict[str, Any]]:
    """Linear CKA (Kornblith et al. 2019) between the finest and the coarsest scale: of whole pictures, and place by
    place on the coarse grid."""
    sides = state.sclip.image_tower.sides
    parts = state.patches.split(state.sclip.n_patches, dim=1)
    grids = [part.transpose(1, 2).unflatten(2, (side, side)) for part, side in zip(parts, sides, strict=True)]
    fine, coarse = grids[int(np.argmax(sides))], grids[int(np.argmin(sides))]
    shuffled = np.random.default_rng(0).permutation(len(fine))
    for what, side in (("pictures", 1), ("places", min(sides))):
        x, y = (F.adaptive_avg_pool2d(g, side).permute(0, 2, 3, 1) for g in (fine, coarse))  # (n, side, side, D)
        flat = [array(values.reshape(-1, values.shape[-1])) for values in (x, y, y[shuffled])]
        row = {"condition": "redundant scales", "quantity": f"CKA of {what} between scales", "state": state.name}
        found = modalities.cka(flat[0], flat[1]), modalities.cka(flat[0], flat[2])
        yield row | {"value": found[0], "reference": found[1], "n": len(flat[0])}


# --- modality gap -----------------------------------------------------------------------------------


def _modality_gap(state: State) -> Iterator[dict[str, Any]]:
    """Distance of the centroids of texts and pictures (mean of their patches), and how well a line tells them apart."""
    text, image = array(state.text), array(F.normalize(state.patches.mean(1), dim=-1))
    row = {"condition": "modality gap", "state": state.name, "n": len(text)}
    gap = float(np.linalg.norm(text.mean(0) - image.mean(0)))
    half = np.random.default_rng(0).permutation(np.concatenate([text, image]))
    blind = float(np.linalg.norm(half[: len(text)].mean(0) - half[len(text) :].mean(0)))
    low, high = _gap_interval(text, image)
    yield row | {"quantity": "distance of centroids (unit vectors)", "value": gap, "reference": blind} | {
        "low": low, "high": high
    }  # fmt: skip
    told = modalities.modality_accuracy(text, image)
    yield row | {"quantity": "accuracy of a modality classifier", "value": told, "reference": 0.5}


def _gap_interval(text: np.ndarray, image: np.ndarray, n: int = 500) -> tuple[float, float]:
    """95 % bootstrap interval over posts of the distance of the centroids."""
    size = len(text)
    counts = np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), size=n) / size
    low, high = np.quantile(np.linalg.norm(counts @ (text - image), axis=1), (0.025, 0.975))
    return float(low), float(high)


# --- relevance that follows colour ------------------------------------------------------------------


def _follows(state: State, one: Explained) -> Iterator[dict[str, Any]]:
    """What stays of the relevance of the claimed object when it gets another colour or shape, and where the top goes.

    Matching posts about one place. "stays": (relevance then − relevance of the ground there) / (relevance before −
    relevance of the ground), best patch on the object, finest scale, ratio of means; 1 = the change goes unnoticed.
    "goes to a decoy": the top patch shows another object that took the claimed colour (or shape) when the claimed one
    lost it; reference: patches on it, as a share.
    """
    role = interventions.roles(one.posed)
    rows = np.flatnonzero((one.posed.posts["label"] == 0) & ((role == "evidence").sum(1) == 1))
    at = (role[rows] == "evidence").argmax(1)
    decoy = np.array([int(np.flatnonzero(one.posed.present[i] & (role[i] != "evidence"))[0]) for i in rows])
    touched, start, size = one.touches[rows], *_finest(state)
    on = {name: np.take_along_axis(touched, t[:, None, None], 1)[:, 0, start : start + size]
          for name, t in (("claimed", at), ("decoy", decoy))}  # fmt: skip
    made = {"before": [one.posed.scenes[i] for i in rows]}
    made["gone"] = [scenes.without(scene, t) for scene, t in zip(made["before"], at)]
    for field, n in (("colour", len(scenes.COLOURS)), ("shape", len(scenes.SHAPES))):
        things = [scene.objects[t] for scene, t in zip(made["before"], at)]
        made[field] = [scenes.changed(scene, t, **{field: (getattr(thing, field) + 2) % n})
                       for scene, t, thing in zip(made["before"], at, things)]  # fmt: skip
        made[f"decoy {field}"] = [scenes.changed(scene, d, **{field: getattr(thing, field)})
                                  for scene, d, thing in zip(made[field], decoy, things)]  # fmt: skip
    found = {name: _relevance(state, shown, rows)[:, start : start + size] for name, shown in made.items()}
    best = {name: np.where(on["claimed"], values, -np.inf).max(1) for name, values in found.items()}
    about = {"condition": "relevance follows colour", "state": state.name, "n": len(rows)}
    for field in ("colour", "shape"):
        kept = _ratio(best[field] - best["gone"], best["before"] - best["gone"])
        yield about | {"quantity": f"relevance that stays with another {field}", "reference": 1.0} | kept
        top = found[f"decoy {field}"].argmax(1)
        hit = interval("value", on["decoy"][np.arange(len(top)), top].astype(float))
        yield about | {"quantity": f"top patch goes to a decoy of the claimed {field}", "value": hit["value"],
                       "low": hit["value_low"], "high": hit["value_high"], "reference": on["decoy"].mean()}  # fmt: skip


def _finest(state: State) -> tuple[int, int]:
    """Where the patches of the finest scale begin, and how many they are."""
    n_patches = state.sclip.n_patches
    finest = int(np.argmax(n_patches))
    return sum(n_patches[:finest]), n_patches[finest]


@torch.inference_mode()
def _relevance(state: State, shown: list[scenes.Scene], rows: np.ndarray) -> np.ndarray:
    patches = interventions.in_parts(state.sclip.encode_image, interventions.pixels(shown), state.text.device)
    return array(torch.einsum("bnd,bd->bn", patches, state.text[torch.from_numpy(rows)]))


def _ratio(numerator: np.ndarray, denominator: np.ndarray, n: int = 1000) -> dict[str, float]:
    """Ratio of means with its 95 % bootstrap interval over posts."""
    draws = np.random.default_rng(0).integers(0, len(numerator), (n, len(numerator)))
    ratios = numerator[draws].mean(1) / denominator[draws].mean(1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return {"value": float(numerator.mean() / denominator.mean()), "low": float(low), "high": float(high)}


# --- importance that ignores relevance ----------------------------------------------------------------


@torch.inference_mode()
def _importance(one: Explained) -> Iterator[dict[str, Any]]:
    """Spearman correlation of the semantic score w (Eq 23) with relevance over all patches, and of the fusion weight
    with relevance over the kept ones, mean over posts."""
    relevance, weight, semantic, _ = decomposition(one)
    state = f"{model_name(one.config)}, lambda {one.config.detector.fusion_weight:g}"
    about = {"condition": "importance ignores relevance", "state": state, "n": len(relevance), "reference": 0.0}
    kept = np.where(weight > 0, weight, np.nan)
    for quantity, values in (("semantic score and relevance", semantic), ("fusion weight and relevance, kept", kept)):
        found = statistics.t_interval(rank_correlation(values, relevance))
        yield about | {"quantity": f"rank correlation of {quantity}", "value": found.estimate} | {
            "low": found.low, "high": found.high
        }  # fmt: skip


@torch.inference_mode()
def decomposition(one: Explained) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(n, N) each: relevance, fusion weight (0 where not kept), semantic score w, and lambda w + (1 − lambda) rho."""
    output = attributions.read(one.model, one.texts, one.tokens.images, one.posed.rows)
    weight = torch.zeros_like(output.relevance).scatter(1, output.indices, output.weights)
    patches = one.model.sclip.project_patches(one.tokens.images)
    semantic = one.model.fuse.score(patches).squeeze(-1)
    share = one.config.detector.fusion_weight
    total = share * semantic + (1 - share) * output.relevance
    return tuple(map(array, (output.relevance, weight, semantic, total)))
