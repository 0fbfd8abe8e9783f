"""Rows of scikit-learn on what `inputs.features` reads for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from torch import Tensor

from rumorlib import inputs
from rumorlib.config import RunConfig, Settings
from rumorlib.inputs import features
from rumorlib.models import baselines
from rumorlib.training.fitting import Outcome, score, with_others_pictures


def run(config: RunConfig, settings: Settings, checkpoint: Path | None = None) -> Outcome:
    """A row of scikit-learn on what `features` reads for it."""
    corpus = inputs.corpus_of(config, settings)
    posts = corpus.posts
    read = features.of_corpus(inputs.Source(config, corpus, settings, checkpoint))
    rows = {split: inputs.rows_of(posts, split).numpy() for split in posts["split"].unique() if split}
    parts = {split: features.of_rows(read, index) for split, index in rows.items()}
    detector, tried = baselines.choose(config.detector, parts["train"], parts["dev"], config.language)
    answers = baselines.fit_predict(detector, parts["train"], parts, config.language)
    log_odds = np.full(len(posts), np.nan)
    for split, index in rows.items():
        log_odds[index] = answers[split]
    facts = {"inverse_regularisation": detector.inverse_regularisation} if len(tried) else {}

    def answer(rows: Tensor, others: Tensor) -> np.ndarray:
        part = features.of_rows(read, rows.numpy())
        part = dataclasses.replace(part, image_features=read.image_features[others.numpy()])
        return baselines.fit_predict(detector, parts["train"], {"test": part}, config.language)["test"]

    outcome = with_others_pictures(config, posts, score(posts, log_odds, facts), answer)
    return dataclasses.replace(outcome, history=tried)
