"""Runs of MICC on the SCLIP of a finished stage 1, with what drawn scenes know of the evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from rumorlib import inputs
from rumorlib.config import RunConfig, Settings
from rumorlib.data.batches import Aligned, PostTensors, Texts
from rumorlib.encoders.sclip import SCLIP
from rumorlib.inputs import micc_inputs
from rumorlib.models.micc import MICC
from rumorlib.training import evidence, loop
from rumorlib.training.fitting import Outcome, fit_detector


def on_posts(config: RunConfig, settings: Settings, checkpoint: Path) -> tuple[MICC, PostTensors, pd.DataFrame]:
    """MICC as stage 2 starts, on the SCLIP of `checkpoint`, and its corpus: as tensors it reads, and as a table. Model
    and tensors are where it will be trained."""
    corpus = inputs.corpus_of(config, settings)
    texts, images, image_row = micc_inputs.read(inputs.Source(config, corpus, settings, checkpoint))
    tensors = inputs.post_tensors(corpus.posts, texts, images, image_row)
    loop.seed_everything(config.seed)
    sclip = inputs.load_sclip(config.stage1, checkpoint, settings)
    inputs.let_learn(sclip, config.detector, config.language, lambda name: inputs.weights_folder(name, settings))
    model = MICC(config.detector, sclip, config.language)
    return loop.on_device(model), tensors.on(loop.device()), corpus.posts


def run(config: RunConfig, settings: Settings, checkpoint: Path) -> Outcome:
    """MICC on the SCLIP of `checkpoint`, with what drawn scenes know of the evidence."""
    model, tensors, posts = on_posts(config, settings, checkpoint)
    adapts = config.detector.controls.keep != "k"
    if adapts and "clutter" not in posts and posts["image"].ne("").any():  # drawn scenes know it
        loaded, size_px = inputs.corpus_of(config, settings), config.stage1.sclip.vision.image_size_px
        posts = posts.assign(clutter=inputs.clutter(loaded, size_px))

    def look(stage: str) -> dict[str, pd.DataFrame]:
        found = {}
        if "support_x0" in posts:  # drawn scenes know where the evidence is
            found["pointing"] = evidence.pointing(model, tensors, posts, config, stage)
            found["abstention"] = evidence.abstention(model, tensors, posts, config, stage)
        if config.detector.freeze == "nothing" or config.detector.text_layers:  # does it still know its captions?
            found["retrieval"] = _dev_retrieval(config, settings, model.sclip).assign(stage=stage)
        return found

    before = look("stage 1 only")
    outcome = fit_detector(config, model, tensors, posts, exchanged=lambda rows, others: exchanged(
        tensors, rows, others, model.d_text, lambda: inputs.joint_patches(
            inputs.corpus_of(config, settings), config.stage1, checkpoint, settings)
    ))  # fmt: skip
    extras = {name: pd.concat([before[name], frame], ignore_index=True) for name, frame in look("fine-tuned").items()}
    if "support_x0" in posts:
        extras["relevance"] = evidence.relevance_of_posts(model, tensors, posts)
    if adapts and "clutter" in posts:
        extras["kept"] = evidence.kept_by_clutter(model, tensors, posts)
    return dataclasses.replace(outcome, extras=extras)


def exchanged(
    tensors: PostTensors, rows: Tensor, others: Tensor, d_text: int, patches: Callable[[], tuple[Tensor, Tensor]]
) -> PostTensors:
    """Posts (rows) with the pictures of others (rows): with their patches, and with their part of `towers`.

    Args: d_text: columns of `towers` that are the text's. patches: those of all pictures, and each post's row of them,
        asked for where patches have been aligned with their own texts.
    """
    part = apart(tensors, patches)
    texts = tensors.texts.rows(rows)
    if texts.towers is not None:
        theirs = tensors.texts.rows(others).towers
        towers = torch.cat([texts.towers[:, :d_text], theirs[:, d_text:]], dim=1)
        texts = Texts(*texts[:-1], towers=towers)
    return dataclasses.replace(part.part(rows), texts=texts, image_row=part.image_row[others])


def apart(tensors: PostTensors, patches: Callable[[], tuple[Tensor, Tensor]]) -> PostTensors:
    """Posts whose texts and patches are apart: as they are, or, where the two have met already, with `patches`."""
    if not isinstance(tensors.images, Aligned):
        return tensors
    images, image_row = patches()
    return dataclasses.replace(tensors, images=images, image_row=image_row)


def _dev_retrieval(config: RunConfig, settings: Settings, sclip: SCLIP) -> pd.DataFrame:
    """Recall at k of a SCLIP on the dev captions of its own stage 1, in the language of the posts."""
    text_layers = {config.language: config.detector.text_layers}
    asked = config.stage1, settings, ("dev",), config.detector.image_layers, text_layers
    captions, images = inputs.caption_tensors(*asked)
    captions = captions.on(loop.device())
    sclip.eval()
    found = evidence.retrieval(sclip, captions, inputs.rows_of(images, "dev"), config.language)
    return pd.DataFrame([{"language": config.language, "split": "dev"} | found])
