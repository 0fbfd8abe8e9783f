"""Rows of scikit-learn on what `inputs.features` reads for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor

from rumorlib import config as cfg
from rumorlib import inputs
from rumorlib.config import BaselineConfig, RunConfig, Settings
from rumorlib.data.splitting import protocols, splits
from rumorlib.inputs import features
from rumorlib.models import baselines
from rumorlib.training.fitting import Outcome, on_published_split, score


def run(config: RunConfig, settings: Settings, checkpoint: Path | None = None) -> Outcome:
    """A row of scikit-learn on what `features` reads for it."""
    corpus = inputs.corpus_of(config, settings)
    posts = corpus.posts
    read = features.for_row(inputs.Source(config, corpus, settings, checkpoint))
    rows = {split: inputs.rows_of(posts, split).numpy() for split in posts["split"].unique() if split}
    parts = {split: features.of_rows(read, index) for split, index in rows.items()}
    detector, tried = baselines.choose(config.detector, parts["train"], parts["dev"], config.language)
    row = baselines.fit(detector, parts["train"], config.language)
    log_odds = np.full(len(posts), np.nan)
    for split, index in rows.items():
        log_odds[index] = row.log_odds(parts[split])
    facts = {"inverse_regularisation": detector.inverse_regularisation} if len(tried) else {}

    def answer(rows: Tensor, others: Tensor) -> np.ndarray:
        part = features.of_rows(read, rows.numpy())
        return row.log_odds(dataclasses.replace(part, image_features=read.image_features[others.numpy()]))

    outcome = on_published_split(config, posts, score(posts, log_odds, facts), answer)
    return dataclasses.replace(outcome, history=tried)


N_DRAWS = {"drawn": 10}  # of a kind of corpus; of real posts 100, for a row that reads pictures 20 (its fits are slow)
EVENT_NAME = "event name"  # a row that reads nothing else; comes with the majority


def draws(config: RunConfig, settings: Settings, checkpoint: Path | None = None) -> Outcome:
    """What the draw of a split is worth to a row of scikit-learn: scores on the published split, on draws of the same
    sizes, and with whole events held out where the corpus is split otherwise; C is chosen on each draw's dev (C38).

    No post's answer is kept, so this run is not scored; extra "draws": row, protocol (published, resplit:<seed>,
    event:<name>), n_test, majority (share of the larger class of test), accuracy, macro_f1, C.
    """
    whole, known = inputs.corpus_of(config, settings), cfg.record(config.dataset)
    read = features.for_row(inputs.Source(config, whole, settings, checkpoint))
    detector = config.detector
    n_draws = N_DRAWS.get(known.kind, 20 if "image" in detector.kind else 100)
    sides = {"published": whole.posts["split"]}
    sides |= {f"resplit:{k}": splits.resplit(whole.posts, k)["split"] for k in range(n_draws)}
    if known.events and known.kind == "posts":
        for event in protocols.event_folds(whole.posts):
            sides[f"event:{event}"] = splits.event_fold(whole.posts, event)["split"]
    rows = []
    for protocol, side in sides.items():
        rows.append({"row": detector.kind, "protocol": protocol} | _on_split(detector, read, side, config.language))
        if detector.kind == "majority" and known.events and known.kind == "posts":
            called = _by_event(whole.posts, side)
            rows.append({"row": EVENT_NAME, "protocol": protocol} | _scores(whole.posts["label"], called, side))
    return Outcome({}, extras={"draws": pd.DataFrame(rows)})


def _on_split(detector: BaselineConfig, read: baselines.Features, side: pd.Series, language: str) -> dict:
    parts = {name: features.of_rows(read, np.flatnonzero(side == name)) for name in ("train", "dev", "test")}
    chosen, _ = baselines.choose(detector, parts["train"], parts["dev"], language)
    answer = baselines.fit_predict(chosen, parts["train"], {"test": parts["test"]}, language)["test"]
    called = pd.Series(False, index=side.index)
    called[side == "test"] = answer >= 0
    label = pd.Series(np.asarray(read.label), index=side.index)
    return _scores(label, called, side) | {"C": float(np.ravel(chosen.inverse_regularisation)[0])}


def _by_event(posts: pd.DataFrame, side: pd.Series) -> pd.Series:
    """Every post called as most train posts of its event are; of an event that train has not, as most train posts."""
    train = posts[side == "train"]
    share = train.groupby("event")["label"].mean()
    return posts["event"].map(share).fillna(train["label"].mean()) >= 0.5


def _scores(label: pd.Series, called: pd.Series, side: pd.Series) -> dict:
    """Accuracy and macro-F1 of calls on test, beside the share of its larger class."""
    label, called = label[side == "test"], called[side == "test"]
    return {
        "n_test": len(label), "majority": float(max(label.mean(), 1 - label.mean())),
        "accuracy": accuracy_score(label, called),
        "macro_f1": f1_score(label, called, average="macro", zero_division=0),
    }  # fmt: skip
