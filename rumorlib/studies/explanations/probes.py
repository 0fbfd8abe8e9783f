"""Posts without a usable cue: consistent but false, no cue at all, or a cue in a part the text does not lead to.

Undetectable: label and content are independent, so no model can be above .5 but by luck; one that is points to a fault
of ours. Fingerprint: a generator's faint pattern lies away from the claimed object. Top-K ranks by relevance to the
text, so it should throw the marked patches away; MICC-A/γ, which takes all patches, keeps them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from rumorlib import inputs
from rumorlib.config import RunConfig, Settings
from rumorlib.data.batches import array, where_is
from rumorlib.data.drawn_scenes.scenes import CELL_PX, GRID, IMAGE_PX
from rumorlib.encoders.vision import patch_boxes
from rumorlib.experiments import corpus_name, marked_runs, model_name
from rumorlib.experiments.explained import BOXES
from rumorlib.metrics import estimates
from rumorlib.models.micc import MICCOutput
from rumorlib.results import Report, trained
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.explanations import attributions, interventions
from rumorlib.studies.explanations.explanations import interval
from rumorlib.studies.scores.comparison import ahead, ends, pooled, score

ALPHA = 0.05


def fingerprint_table(settings: Settings) -> pd.DataFrame:
    """`fingerprints` of every model of `marked_runs`, a row each (x_5_fingerprint)."""
    rows = [fingerprints(config, settings) | {RUNS: run_names([config])} for config in marked_runs(settings)]
    return by_runs(pd.DataFrame(rows), "dataset", "model")


def undetectable(reports: list[Report]) -> pd.DataFrame:
    """Accuracy of every model on posts whose label has no cue (x_5).

    Returns: dataset, model, split, n, accuracy, low, high (Wilson, 95 %; over the mean of the seeds), p_value (exact
        binomial, one-sided: above .5), p_holm (over all rows), reading.
    """
    from scipy.stats import binomtest
    from statsmodels.stats.proportion import proportion_confint

    rows: list[dict[str, Any]] = []
    for config, predictions in pooled(reports):
        for split in ("undetectable", "fingerprint"):
            part = predictions[predictions["split"] == split]
            if len(part):
                right = (part["prob_rumor"] >= 0.5) == (part["label"] == 1)
                n = part["post_id"].nunique()
                hits = round(right.mean() * n)
                low, high = proportion_confint(hits, n, method="wilson")
                row = {"dataset": config.dataset, "model": model_name(config), "split": split, "n": n}
                row |= {"accuracy": right.mean(), "low": low, "high": high, RUNS: run_names(predictions)}
                rows.append(row | {"p_value": binomtest(hits, n, 0.5, "greater").pvalue})
    frame = by_runs(pd.DataFrame(rows), "dataset", "model")
    frame["p_holm"] = estimates.holm(frame["p_value"])
    words = {True: "above .5", False: "not above .5"}
    return frame.assign(reading=[words[bool(s)] for s in frame["p_holm"] < ALPHA])


def learned(reports: list[Report]) -> pd.DataFrame:
    """What models that were trained on marked posts make of marks, with and without Top-K (x_5_learned).

    Returns: dataset, model, split (fingerprint: marked posts; test: ordinary ones), n, accuracy, acc_low, acc_high
        (95 %, scenes and seeds); ahead, ahead_low, ahead_high (of the same model without Top-K, paired), n_seeds.
    """
    rows, found = [], pooled(reports)
    for config, predictions in found:
        rival = next(p for c, p in found if c.variant == config.variant.replace("top-k", "A-gamma"))
        for split in ("fingerprint", "test"):
            part, other = (p[p["split"] == split].reset_index(drop=True) for p in (predictions, rival))
            row = {"dataset": corpus_name(config), "model": model_name(config), "split": split}
            row |= {"n": part["post_id"].nunique()} | ends("acc", score(config.dataset, part, "accuracy"), "accuracy")
            if predictions is not rival:
                row |= ends("ahead", ahead(config.dataset, part, other))
            rows.append(row | {"n_seeds": part["seed"].nunique(), RUNS: run_names(predictions)})
    return by_runs(pd.DataFrame(rows), "dataset", "model")


def boxes(reports: list[Report]) -> pd.DataFrame:
    """MICC on true object boxes beside MICC on grid cells, the same posts (x_6).

    Returns: model, split (test; pairs: minimal pairs), n, cells, cells_low, cells_high, boxes, boxes_low, boxes_high
        (accuracy), gain, gain_low, gain_high (of boxes, paired; 95 %, scenes and seeds), n_seeds.
    """
    rows, found = [], pooled(reports)
    of_cells = {config.variant: part for config, part in found if config.dataset != BOXES}
    for config, predictions in found:
        for split in ("test", "pairs") if config.dataset == BOXES else ():
            both = [p[p["split"] == split].reset_index(drop=True) for p in (of_cells[config.variant], predictions)]
            row = {"model": model_name(config), "split": split, "n": both[0]["post_id"].nunique()}
            for name, part in zip(("cells", "boxes"), both, strict=True):
                row |= ends(name, score(config.dataset, part, "accuracy"))
            row |= ends("gain", ahead(config.dataset, both[1], both[0]))
            rows.append(row | {"n_seeds": both[0]["seed"].nunique(), RUNS: (*run_names(both[0]), *run_names(both[1]))})
    return by_runs(pd.DataFrame(rows), "model")


def fingerprints(config: RunConfig, settings: Settings) -> dict[str, Any]:
    """What a model keeps of the marked place, and what the mark does to its logit.

    Rumors of the fingerprint split; the counterfactual is the same scene without the mark.

    Returns: dataset, model, n; kept (share of posts whose kept patches show the mark; all patches count as kept where
        nothing is selected), kept_chance (as many patches drawn blindly), kept_without_mark (the same place in the
        counterfactual: whether the mark itself repels or draws); weight (fusion weight on the mark),
        weight_even (share of such patches among all), each with _low and _high; effect (|change of the logit| when the
        mark goes), likewise, and effect_object (of the most effective object, for comparison).
    """
    model, tensors, _ = trained.micc(config, settings)
    corpus = inputs.corpus_of(config, settings)
    posed = _marked(interventions.scene_posts(corpus, "fingerprint", None, config.corpus_seed))
    texts, tower, where = tensors.texts.rows(posed.rows), model.sclip.image_tower, where_is(model)

    def logit(tokens: torch.Tensor, post: torch.Tensor) -> torch.Tensor:
        return attributions.read(model, texts.rows(post), tokens, posed.rows[post]).logit

    plain = interventions.pixels([replace(scene, fingerprint_place=-1) for scene in posed.scenes])
    shown = [interventions.in_parts(tower, pictures, where) for pictures in (posed.images, plain)]
    with torch.inference_mode():
        output, without = (attributions.read(model, texts, tokens, posed.rows) for tokens in shown)
        effect = array((output.logit - without.logit).abs())
    objects = np.nanmax(np.abs(interventions.object_effects(logit, posed.encoded(tower, where))), axis=1)
    marked = _on_the_mark(posed, config)  # (n, N)
    weight, kept = _spread(output)
    row = {"dataset": config.dataset, "model": model_name(config), "n": len(marked)}
    row |= interval("kept", (kept & marked).any(1).astype(float)) | {"kept_chance": _blind(marked, config, model)}
    row |= {"kept_without_mark": (_spread(without)[1] & marked).any(1).mean()}
    row |= interval("weight", (weight * marked).sum(1)) | {"weight_even": marked.mean()}
    return row | interval("effect", effect) | {"effect_object": objects.mean()}


def _spread(output: MICCOutput) -> tuple[np.ndarray, np.ndarray]:
    """(n, N) fusion weights, 0 where not kept, and (n, N) bool: kept."""
    if output.indices is None:
        return array(output.weights), np.ones(output.weights.shape, bool)
    weight = torch.zeros_like(output.relevance).scatter(1, output.indices, output.weights)
    return array(weight), array(torch.zeros_like(weight).scatter(1, output.indices, 1.0).bool())


def _marked(posed: interventions.ScenePosts) -> interventions.ScenePosts:
    """The posts whose scene carries a fingerprint."""
    has = [i for i, scene in enumerate(posed.scenes) if scene.fingerprint_place >= 0]
    posts = posed.posts.iloc[has].reset_index(drop=True)
    return interventions.of_scenes(posts, posed.rows[has], [posed.scenes[i] for i in has])


def _on_the_mark(posed: interventions.ScenePosts, config: RunConfig) -> np.ndarray:
    """(n, N) bool: the patch shows a part of the marked place."""
    corner = [divmod(scene.fingerprint_place, GRID) for scene in posed.scenes]
    boxes = np.array([[[x * CELL_PX, y * CELL_PX, (x + 1) * CELL_PX, (y + 1) * CELL_PX]] for y, x in corner])
    assert boxes.max() <= IMAGE_PX
    return interventions.touches(boxes, torch.cat(patch_boxes(config.stage1.sclip.vision)).numpy())[:, 0]


def _blind(marked: np.ndarray, config: RunConfig, model: Any) -> float:
    """Chance that top_k patches of every scale, drawn blindly, show the mark; 1 where all are kept."""
    from scipy.special import comb

    if config.detector.alignment != "top_k":
        return 1.0
    missed = 1.0
    for part in np.split(marked, np.cumsum(model.sclip.n_patches)[:-1], axis=1):
        n, hit, k = part.shape[1], int(part[0].sum()), min(config.detector.top_k, part.shape[1])
        missed *= comb(n - hit, k) / comb(n, k)
    return float(1 - missed)
