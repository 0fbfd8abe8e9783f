"""One run from config to outcome: data in, model trained on train, chosen on dev, scored on every split once."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from rumorlib import config as cfg
from rumorlib import inputs
from rumorlib.config import BaselineConfig, RunConfig
from rumorlib.data.batches import CPU, PostTensors, array, moved, where_is
from rumorlib.data.posts import of_texts
from rumorlib.data.splitting import split_files, splits
from rumorlib.metrics import evaluation, learning
from rumorlib.models import named
from rumorlib.training import checkpoints, loop

_log = logging.getLogger(__name__)
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


def fit_detector(
    config: RunConfig,
    model: nn.Module,
    tensors: PostTensors,
    posts: pd.DataFrame,
    watcher: loop.Watcher | None = None,
    exchanged: Callable[[Tensor, Tensor], PostTensors] | None = None,
) -> Outcome:
    """Train on train, stop on dev, predict every post once; on the GPU if there is one.

    Args: exchanged: posts (rows) with the pictures of others (rows), where more than `image_row` says whose they are.
    """
    tensors = tensors.on(loop.device())
    train, rows = config.train, {split: inputs.rows_of(posts, split) for split in ("train", "dev")}
    size = loop.batch_size(train, len(rows["train"]))
    fit = loop.fit(
        model,
        lambda generator: tensors.shuffled(rows["train"], size, generator),
        -(-len(rows["train"]) // size),
        lambda: mean_losses(model, tensors.in_order(rows["dev"])),
        train,
        config.seed,
        name=f"{config.model} {config.dataset} {config.variant} seed {config.seed}",
        watcher=watcher,
        place=checkpoints.place(),
    )
    facts = {
        "n_parameters": n_parameters(model),
        "n_trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "best_epoch": fit.best_epoch,
        "precision": fit.precision,
    }
    outcome = score(posts, predict(model, tensors), facts)
    facts = outcome.facts | told_faults(config, outcome.metrics, fit.history)

    def of_others(rows: Tensor, others: Tensor) -> PostTensors:
        return dataclasses.replace(tensors.part(rows), image_row=tensors.image_row[others])

    made = exchanged or of_others
    outcome = on_published_split(config, posts, outcome, lambda rows, others: predict(model, made(rows, others)))
    return dataclasses.replace(outcome, history=fit.history, state=moved(model.state_dict(), CPU), facts=facts)


OTHERS_PICTURES = "test_others_pictures"  # a reading of test, beside its own


def on_published_split(
    config: RunConfig, posts: pd.DataFrame, outcome: Outcome, answer: Callable[[Tensor, Tensor], np.ndarray]
) -> Outcome:
    """The outcome of a published split: the length of each text; test posts that train has too, nearly, are marked
    (column `twin`); and a second reading of them, each with the picture of another one, of the same event where the
    corpus has events. What a model loses so is what it takes from the pictures.

    Args: answer: log-odds of posts (rows) with the pictures of others (rows), in this order.
    """
    if cfg.about(config.dataset).protocol != "published" or config.protocol not in ("", "published"):
        return outcome
    apart = set(posts["post_id"][splits.without_twins(posts)["split"] == "test"])
    twin = (outcome.predictions["split"] == "test") & ~outcome.predictions["post_id"].isin(apart)
    length = outcome.predictions["post_id"].map(posts.set_index("post_id")["text"].str.len())  # outlives the text
    made = outcome.predictions.assign(twin=twin.astype(int), n_chars=length)
    outcome = dataclasses.replace(outcome, predictions=made)
    if not reads_pictures(config):
        return outcome
    rows = np.flatnonzero((posts["split"] == "test").to_numpy())
    test = posts.iloc[rows].reset_index(drop=True)
    found = partners(test, "event" if cfg.about(config.dataset).events else "", "image_group")
    log_odds = evaluation.to_store(answer(torch.from_numpy(rows), torch.from_numpy(rows[found])))
    own = outcome.predictions[outcome.predictions["split"] == "test"]
    others = own.assign(split=OTHERS_PICTURES, log_odds=log_odds)
    return dataclasses.replace(outcome, predictions=pd.concat([outcome.predictions, others], ignore_index=True))


def reads_pictures(config: RunConfig) -> bool:
    """Whether a run's model looks at image rows that may be exchanged; MUSE's have become similarities before."""
    if isinstance(config.detector, BaselineConfig):
        return config.detector.kind in ("image_lr", "text_image_lr", "image_forest")
    detector = config.detector
    return getattr(detector, "reads", "") != "similarities" and getattr(detector, "reads_image", True)


def partners(posts: pd.DataFrame, within: str, differs: str, seed: int = 0) -> np.ndarray:
    """(n,) for each post the row of the one whose picture it gets: a permutation.

    Within each value of `within` ("": all), posts are ordered by `differs` and moved on by the size of its largest
    value, so that `differs` changes wherever no value has more than half of the posts.
    """
    blocks = posts[within].astype(str) if within else pd.Series("", index=posts.index)
    names = posts[differs].where(posts[differs] != "", posts["post_id"])
    order = [splits.shuffled(seed, name) for name in names]
    found = np.arange(len(posts))
    for rows in pd.Series(np.arange(len(posts))).groupby(blocks.to_numpy()).indices.values():
        ordered = np.array(sorted(rows, key=lambda row: order[row]))
        largest = names.iloc[rows].value_counts().iloc[0]
        found[ordered] = np.roll(ordered, -int(largest))
    return found


def told_faults(config: RunConfig, metrics: dict[str, Any], history: pd.DataFrame) -> dict[str, list[str]]:
    """Faults of a finished training (`learning.faults`) as a fact for the report; each is said aloud, too."""
    found = learning.faults(metrics.get("dev", {}), history)
    for name in found:
        _log.warning("%s: %s", config.path.as_posix(), learning.FAULTS[name])
    return {"faults": list(found)}


@torch.inference_mode()
def predict(model: nn.Module, tensors: PostTensors, rows: Tensor | None = None) -> np.ndarray:
    """(n,) float64 log-odds of rumor of every post, or of those at `rows`, in evaluation mode."""
    model.eval()
    rows = torch.arange(len(tensors.label)) if rows is None else rows
    parts = tensors.in_order(rows, where=where_is(model))
    return array(torch.cat([named.log_odds(model, batch) for batch in parts]))


@torch.inference_mode()
def mean_losses(model: nn.Module, batches) -> dict[str, float]:
    """Mean of each training loss in evaluation mode, however the batches are cut: each counts by its posts."""
    model.eval()
    found: dict[str, list[Tensor]] = {}
    sizes = []
    for batch in batches:
        sizes.append(loop.n_of(batch))
        for key, value in model.training_loss(batch).items():
            found.setdefault(key, []).append(value)
    if not sizes:
        return {"loss": math.nan}
    return {key: float(np.average(array(torch.stack(values)).astype(float), weights=sizes))
            for key, values in found.items()}  # fmt: skip


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


def n_parameters(model: nn.Module) -> int:
    """Numbers in a model, trained or not."""
    return sum(p.numel() for p in model.parameters())
