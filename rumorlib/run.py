"""One run from config to outcome: data in, model trained on train, chosen on dev, scored on every split once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from rumorlib import alignment, detectors, dmfl_posts, evaluation, evidence, features, inputs, training, watch
from rumorlib.config import DetectorConfig, MICCConfig, RunConfig, Settings
from rumorlib.data import split_files
from rumorlib.data.batches import CPU, Aligned, Batch, PostTensors, Texts, array, moved, where_is
from rumorlib.data.posts import Corpus, of_texts
from rumorlib.encoders.sclip import SCLIP
from rumorlib.models import baselines, named
from rumorlib.models.micc import MICC

SPLITS = ("train", "dev", "test")
# Columns of a posts table that predictions keep, so that any breakdown can be recomputed without the data.
KEPT_COLUMNS = ("event", "image_group", "distance", "conflict", "near_miss", "evidence_px", "clutter", "pair",
                "n_chars")  # fmt: skip
KEPT_OF_TEXTS = "text_group"  # of a corpus of texts, whose near-duplicates are no independent posts


@dataclass(frozen=True)
class Outcome:
    """What a run leaves; `results` writes it down."""

    metrics: dict[str, Any]  # split -> metric -> value
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)  # every split but train
    extras: dict[str, pd.DataFrame] = field(default_factory=dict)
    state: dict[str, Tensor] | None = None  # weights of what was trained; None for rows without a network
    facts: dict[str, Any] = field(default_factory=dict)


# --- stage 1 ------------------------------------------------------------------------------------


def sclip(config: RunConfig, settings: Settings) -> Outcome:
    """Stage 1: SCLIP on image-caption pairs; scored by retrieval."""
    tensors, images = inputs.caption_tensors(config, settings)
    training.seed_everything(config.seed)
    model, tensors = training.on_device(inputs.new_sclip(config, settings)), tensors.on(training.device())
    rows = {split: inputs.rows_of(images, split) for split in SPLITS}
    train = config.train
    if config.n_train is not None:
        chosen = images["image"].isin(inputs.train_pictures(config, settings)).to_numpy()
        rows["train"] = torch.from_numpy(np.flatnonzero(chosen))

    def batches(generator: torch.Generator):
        return tensors.shuffled(rows["train"], train.batch_size, train.captions_per_image, generator)

    def dev_loss() -> dict[str, float]:
        generator = torch.Generator().manual_seed(0)  # the same dev pairs after every epoch
        dev = tensors.shuffled(rows["dev"], train.batch_size, train.captions_per_image, generator)
        return _mean_losses(model, dev)

    n_batches = -(-len(rows["train"]) // train.batch_size)
    fit = training.fit(model, batches, n_batches, dev_loss, train, config.seed, name=f"SCLIP {config.dataset}")
    metrics = {
        split: {language: evidence.retrieval(model, tensors, rows[split], language) for language in tensors.texts}
        for split in ("dev", "test")
        if len(rows[split])
    }
    facts = {"n_parameters": _n_parameters(model), "best_epoch": fit.best_epoch, "precision": fit.precision}
    return Outcome(metrics, fit.history, state=moved(model.state_dict(), CPU), facts=facts)


# --- detectors ------------------------------------------------------------------------------------


def micc_on_posts(config: RunConfig, settings: Settings, checkpoint: Path) -> tuple[MICC, PostTensors, pd.DataFrame]:
    """MICC as stage 2 starts, on the SCLIP of `checkpoint`, and its corpus: as tensors it reads, and as a table. Model
    and tensors are where it will be trained."""
    corpus = inputs.corpus_of(config, settings)
    texts, images, image_row = _micc_inputs(config, corpus, settings, checkpoint)
    tensors = inputs.post_tensors(corpus.posts, texts, images, image_row)
    training.seed_everything(config.seed)
    model = MICC(config.detector, inputs.load_sclip(config.stage1, checkpoint, settings), config.language)
    return training.on_device(model), tensors.on(training.device()), corpus.posts


def micc(config: RunConfig, settings: Settings, checkpoint: Path) -> Outcome:
    """MICC on the SCLIP of `checkpoint`, with what drawn scenes know of the evidence."""
    model, tensors, posts = micc_on_posts(config, settings, checkpoint)

    def look(stage: str) -> dict[str, pd.DataFrame]:
        found = {}
        if "support_x0" in posts:  # drawn scenes know where the evidence is
            found["pointing"] = evidence.pointing(model, tensors, posts, config, stage)
            found["abstention"] = evidence.abstention(model, tensors, posts, config, stage)
        if config.detector.freeze == "nothing":  # stage 2 trains all of SCLIP: does it still know its captions?
            found["retrieval"] = _dev_retrieval(config, settings, model.sclip).assign(stage=stage)
        return found

    before = look("stage 1 only")
    outcome = fit_detector(config, model, tensors, posts)
    extras = {name: pd.concat([before[name], frame], ignore_index=True) for name, frame in look("fine-tuned").items()}
    if "support_x0" in posts:
        extras["relevance"] = evidence.relevance_of_posts(model, tensors, posts)
    return dataclasses.replace(outcome, extras=extras)


def _dev_retrieval(config: RunConfig, settings: Settings, sclip: SCLIP) -> pd.DataFrame:
    """Recall at k of a SCLIP on the dev captions of its own stage 1, in the language of the posts."""
    captions, images = inputs.caption_tensors(config.stage1, settings)
    sclip.eval()
    found = evidence.retrieval(sclip, captions, inputs.rows_of(images, "dev"), config.language)
    return pd.DataFrame([{"language": config.language, "split": "dev"} | found])


def _micc_inputs(
    config: RunConfig, corpus: Corpus, settings: Settings, checkpoint: Path
) -> tuple[Texts, Tensor | Aligned, Tensor]:
    """Texts, distinct images and the image row of each post, as far encoded as stage 2 leaves SCLIP frozen (C4)."""
    detector: MICCConfig = config.detector
    frozen = corpus, config.stage1, checkpoint
    if detector.reads == "joint":
        texts = Texts(None, None, inputs.joint_texts(*frozen, config.language, settings))
        return texts, *alignment.of_posts(*frozen, config.language, settings, detector)
    texts = inputs.encode_texts(corpus.posts["text"].tolist(), config.stage1, config.language, settings)
    if detector.reads == "tokens":
        return texts, *inputs.patch_tokens(*frozen, settings)
    return texts, *inputs.images_of(corpus, config.stage1.sclip.vision, settings)


def dmfl(config: RunConfig, settings: Settings, checkpoint: Path | None = None) -> Outcome:
    """DMFL, with what `watch` keeps of it; `checkpoint`: of the stage 1 whose patches it reads, if any."""
    model, tensors, corpus, facts = dmfl_posts.on_posts(config, settings, checkpoint)
    kept = watch.Watch(config, tensors, corpus.posts)
    kept.before(model)
    outcome = fit_detector(config, model, tensors, corpus.posts, lambda epoch: kept.after_epoch(model, epoch))
    extras = kept.extras(model)
    if corpus.images is None:
        extras["truncated"] = evidence.truncated(model, tensors, corpus.posts)
    return dataclasses.replace(outcome, extras=extras, facts=outcome.facts | facts)


def rival(config: RunConfig, settings: Settings, checkpoint: Path | None = None) -> Outcome:
    """A detector of other authors: what it reads and how it is built stands in `detectors`."""
    corpus = inputs.corpus_of(config, settings)
    model, tensors, facts = detectors.build(config, corpus, settings, checkpoint)
    outcome = fit_detector(config, model, tensors, corpus.posts)
    return dataclasses.replace(outcome, facts=outcome.facts | facts)


def plugin(config: RunConfig, settings: Settings, checkpoint: Path | None = None) -> Outcome:
    """A detector of one file, on the words, sentence vectors and image rows that MICC and DMFL read."""
    detector: DetectorConfig = config.detector
    corpus = inputs.corpus_of(config, settings)
    lexicon, vectors, _ = dmfl_posts.word_vectors(corpus, detector.word2vec, config.seed, settings)
    ids, mask = lexicon.encode(corpus.posts["text"].tolist(), detector.word2vec.max_length + 2, cls=True, sep=True)
    sentences = inputs.text_vectors(corpus, config.stage1, checkpoint, config.language, settings).features.float()
    images, image_row = dmfl_posts.image_rows(config, corpus, settings, checkpoint)
    tensors = inputs.post_tensors(corpus.posts, Texts(ids, mask, sentences), images, image_row)
    training.seed_everything(config.seed)
    model = named.build(detector, named.Given(torch.tensor(vectors), sentences.shape[1], tuple(images.shape[1:])))
    return fit_detector(config, model, tensors, corpus.posts)


def baseline(config: RunConfig, settings: Settings, checkpoint: Path | None = None) -> Outcome:
    """A row of scikit-learn on what `features` reads for it."""
    corpus = inputs.corpus_of(config, settings)
    posts = corpus.posts
    read = features.of_corpus(config, settings, checkpoint, corpus)
    rows = {split: inputs.rows_of(posts, split).numpy() for split in posts["split"].unique() if split}
    parts = {split: features.of_rows(read, index) for split, index in rows.items()}
    detector, tried = baselines.choose(config.detector, parts["train"], parts["dev"], config.language)
    answers = baselines.fit_predict(detector, parts["train"], parts, config.language)
    log_odds = np.full(len(posts), np.nan)
    for split, index in rows.items():
        log_odds[index] = answers[split]
    facts = {"inverse_regularisation": detector.inverse_regularisation} if len(tried) else {}
    return dataclasses.replace(score(posts, log_odds, facts), history=tried)


# --- shared by the trained detectors --------------------------------------------------------------


def fit_detector(
    config: RunConfig,
    model: nn.Module,
    tensors: PostTensors,
    posts: pd.DataFrame,
    after_epoch: Callable[[int], None] | None = None,
) -> Outcome:
    """Train on train, stop on dev, predict every post once; on the GPU if there is one."""
    tensors = tensors.on(training.device())
    train, rows = config.train, {split: inputs.rows_of(posts, split) for split in ("train", "dev")}
    fit = training.fit(
        model,
        lambda generator: tensors.shuffled(rows["train"], train.batch_size, generator),
        -(-len(rows["train"]) // train.batch_size),
        lambda: _mean_losses(model, tensors.in_order(rows["dev"])),
        train,
        config.seed,
        name=f"{config.model} {config.dataset} {config.variant} seed {config.seed}",
        after_epoch=after_epoch,
    )
    facts = {
        "n_parameters": _n_parameters(model),
        "n_trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "best_epoch": fit.best_epoch,
        "precision": fit.precision,
    }
    outcome = score(posts, predict(model, tensors), facts)
    return dataclasses.replace(outcome, history=fit.history, state=moved(model.state_dict(), CPU))


@torch.inference_mode()
def predict(model: nn.Module, tensors: PostTensors, rows: Tensor | None = None) -> np.ndarray:
    """(n,) float64 log-odds of rumor of every post, or of those at `rows`, in evaluation mode."""
    model.eval()
    rows = torch.arange(len(tensors.label)) if rows is None else rows
    parts = tensors.in_order(rows, where=where_is(model))
    return array(torch.cat([named.log_odds(model, batch) for batch in parts]))


@torch.inference_mode()
def _mean_losses(model: nn.Module, batches) -> dict[str, float]:
    """Mean of each training loss in evaluation mode, however the batches are cut: each counts as its posts weigh."""
    model.eval()
    found: dict[str, list[Tensor]] = {"weight": []}
    for batch in batches:
        weighs = isinstance(batch, Batch)
        found["weight"].append(batch.weight.sum() if weighs else torch.tensor(float(len(batch.images))))
        for key, value in model.training_loss(batch).items():
            found.setdefault(key, []).append(value)
    if not found["weight"]:
        return {"loss": math.nan}
    weight, *means = (array(torch.stack(values)).astype(float) for values in found.values())
    return {key: float(sum(mean * weight)) / float(sum(weight)) for key, mean in zip(list(found)[1:], means)}


def score(posts: pd.DataFrame, log_odds: np.ndarray, facts: dict[str, Any]) -> Outcome:
    """Metrics of every split, and predictions of every split but train, with `log_odds` of rumor.

    Measured is what is stored, log-odds of four decimals, so every metric recomputes exactly from the file.
    """
    columns = [column for column in KEPT_COLUMNS if column in posts]
    columns += [KEPT_OF_TEXTS] * of_texts(posts)
    scored = posts[["post_id", "label", "split", *columns]].assign(log_odds=evaluation.to_store(log_odds))
    metrics = {}
    for split, part in scored.groupby("split"):
        if split in ("", "unassigned"):
            continue
        part = evaluation.with_prob(part)
        metrics[split] = evaluation.frame_metrics(part)
        if "weight" in posts:  # many posts share an image: one image, one vote
            metrics[split]["image_macro"] = evaluation.image_macro_metrics(part)
    kept = scored[~scored["split"].isin(["train", "", "unassigned"])].reset_index(drop=True)
    return Outcome(metrics, predictions=kept, facts=facts | {"split_hash": split_files.split_hash(posts)})


def _n_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
