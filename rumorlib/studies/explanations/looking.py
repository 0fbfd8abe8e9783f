"""Do DMFL's attention maps say what it rests on? Against exact effects of objects on drawn scenes.

The maps over the image of `evidence.word_to_patch`, scored as every other explanation of patches is (`explanations`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rumorlib import inputs, results
from rumorlib.config import RunConfig, Settings
from rumorlib.data.batches import Batch, array, sent, where_is
from rumorlib.data.drawn_scenes import drawn
from rumorlib.data.drawn_scenes.claims import DrawnConfig
from rumorlib.encoders.vision import grid_sides
from rumorlib.metrics.estimates import beside, verdict
from rumorlib.models.dmfl import DMFL
from rumorlib.results import trained
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.explanations import explanations, interventions
from rumorlib.studies.scores.verdicts import frame_of
from rumorlib.training import evidence, watch

# n posts, T objects of the fullest scene, N patches


@dataclass(frozen=True)
class Looked:
    """One trained DMFL, the exact effects of objects on its logit, and its maps over the patches."""

    report: results.Report
    effects: np.ndarray  # (n, T) of `interventions.object_effects`
    touches: np.ndarray  # (n, T, N) of `interventions.touches`
    scores: dict[str, np.ndarray]  # explanation -> (n, N)
    pointing: pd.DataFrame  # of `watch.word_pointing`


def look(config: RunConfig, settings: Settings, split: str = "dev") -> Looked:
    """Exact effects and maps of a DMFL run on drawn scenes, for as many posts as MICC is explained with."""
    model, tensors, every = trained.dmfl(config, settings)
    report = results.run_or_load(config, settings)
    rows = np.flatnonzero(every["split"].to_numpy() == split)[: explanations.n_posts(settings)]
    posts = every.iloc[rows].reset_index(drop=True)
    known = drawn.scenes_of(
        DrawnConfig(seed=config.corpus_seed, **({"n_train": config.n_train} if config.n_train else {}))
    )
    posed = interventions.of_scenes(posts, torch.from_numpy(rows), [known[key] for key in posts["image"]])
    posed = posed.encoded(lambda pictures: rows_of_pictures(config, settings, pictures), where_is(model))
    batch = tensors.batch(posed.rows)
    claim = watch.claim_mask(posts, config, tensors.texts.ids.shape[1])
    scores = {}
    for who, words in (("the claim's words", claim), ("all words", None)):
        for name, found in evidence.word_to_patch(model, batch._replace(images=posed.images), words).items():
            scores[f"{name}, {who}"] = array(found)
    scores["random"] = np.random.default_rng(0).random(next(iter(scores.values())).shape)
    touched = interventions.touches(posed.boxes, watch.finest_patches(config))
    effects = interventions.object_effects(lambda images, post: logit(model, batch, images, post), posed)
    pointing = watch.word_pointing(model, tensors, every, config)
    return Looked(report, effects, touched, scores, pointing)


def rows_of_pictures(config: RunConfig, settings: Settings, pictures: Tensor) -> Tensor:
    """(m, N, D) what DMFL reads of pictures (m, 3, H, H), as `inputs.dmfl_inputs.image_rows` makes it of a corpus."""
    stage1 = results.run_or_load(config.stage1, settings, checkpoint=True)
    sclip = inputs.load_sclip(config.stage1, stage1.checkpoint(), settings)
    encode = sclip.encode_image if config.detector.logic_init == "stage1" else sclip.image_tower
    sides = grid_sides(config.stage1.sclip.vision)
    start = int(np.cumsum([0, *(side * side for side in sides)])[np.argmax(sides)])
    return encode(sent(pictures, where_is(sclip)))[:, start : start + max(sides) ** 2].half()


@torch.inference_mode()
def logit(model: DMFL, batch: Batch, images: Tensor, post: Tensor) -> Tensor:
    """(m,) log odds of rumor of images (m, N, D) with the texts of the posts (m,) of the batch."""
    parts = []
    for shown, of in zip(images.split(512), post.split(512), strict=True):
        out = model(batch.posts(of)._replace(images=shown)).logits
        parts.append(out[:, 1] - out[:, 0])
    return torch.cat(parts)


def table(made: Sequence[Looked]) -> pd.DataFrame:
    """Every map of every model against the exact effects (d_e6_effects).

    Returns: dataset, model, n_train, dev_accuracy (a model at chance rests on nothing), explanation, n; rank (Spearman
        with |exact effect| over the objects of a scene; blind: 0), pointing (does the top patch show the object with
        the largest |effect|), each with _low and _high (95 %, t interval over posts), pointing_chance.
    """
    rows = []
    for one in made:
        config = one.report.config
        about = {"dataset": config.dataset, "model": config.variant,
                 "n_train": config.n_train or DrawnConfig().n_train,
                 "dev_accuracy": one.report.metrics["dev"]["accuracy"], RUNS: run_names([one.report])}  # fmt: skip
        for explanation, scores in one.scores.items():
            found = explanations.score_patches(scores, one.effects, one.touches)
            row = about | {"explanation": explanation, "n": len(scores)}
            row |= explanations.interval("rank", found["rank"]) | explanations.interval("pointing", found["pointing"])
            rows.append(row | {"pointing_chance": found["chance"].mean()})
    return by_runs(pd.DataFrame(rows), "dataset", "model", "n_train")


def claims(made: Sequence[Looked]) -> pd.DataFrame:
    """Verdicts, lines as in `verdicts`: the trained model's words look at the claimed object, and its map finds the
    object that it rests on; against what chance and other words score, for every map it has."""
    rows = []
    effects = table(made).set_index(["dataset", "model", "n_train", "explanation"]) if made else None
    for one in made:
        config, n_train = one.report.config, one.report.config.n_train or DrawnConfig().n_train
        about = {"source": "ours, §6.4", "corpus": f"{config.dataset}, {config.variant}, {n_train} train posts",
                 RUNS: run_names([one.report])}  # fmt: skip
        dev = f"dev accuracy {one.report.metrics['dev']['accuracy']:.3f}"
        for line in one.pointing.to_dict("records"):
            blind = max(line["chance"], line["other_words"])
            rows.append(about | {
                "claim": "trained, the claim's words look at the claimed object", "reported": np.nan,
                "quantity": f"weight on its box, {line['map']} map", "ours": line["mass"], "low": line["low"],
                "high": line["high"],
                "verdict": verdict(*beside(line["mass"], line["low"], line["high"]), blind),
                "why": f"chance {line['chance']:.3f}; the post's other words {line['other_words']:.3f}; {dev}",
            })  # fmt: skip
            found = effects.loc[(config.dataset, config.variant, n_train, f"{line['map']}, the claim's words")]
            low, high, chance = found["pointing_low"], found["pointing_high"], found["pointing_chance"]
            rows.append(about | {
                "claim": "the map finds the object with the largest exact effect", "reported": np.nan,
                "quantity": f"top patch shows it, {line['map']} map of the claim's words", "ours": found["pointing"],
                "low": low, "high": high, "verdict": verdict(*beside(found["pointing"], low, high), chance),
                "why": f"chance {chance:.3f}; {dev}",
            })  # fmt: skip
    return frame_of(rows)
