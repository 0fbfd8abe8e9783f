"""Runs in which a finished model reads test posts whose picture or words are not their own.

Exchanges keep the set of pictures: each test post gets that of another one. Labels and weights stay the post's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rumorlib import inputs
from rumorlib.config import BaselineConfig, RunConfig, Settings
from rumorlib.data.batches import Texts
from rumorlib.inputs import fixed_features
from rumorlib.inputs.fixed_features import Bench
from rumorlib.metrics import evaluation
from rumorlib.models import baselines
from rumorlib.training import bench_runs, fitting, micc_runs

AS_IT_IS = "as it is"
EXCHANGES = {  # intervention -> (column within which pictures are exchanged, column that must differ)
    "pictures across events": ("", "event"),
    "pictures within event": ("event", "image_group"),
    "pictures within label": ("label", "image_group"),
}
BLANKED, EMPTIED, TRAINED = "picture blanked", "text emptied", "trained on exchanged pictures"


INTERVENTIONS = (AS_IT_IS, *EXCHANGES, BLANKED, EMPTIED, TRAINED)
Asked = Iterator[tuple[str, pd.DataFrame, float]]  # intervention, test posts with log_odds, share exchanged


def of_regression(config: RunConfig, settings: Settings) -> fitting.Outcome:
    """Logistic regression on frozen text and picture, under every intervention."""
    bench = fixed_features.of_corpus(config.dataset, settings)
    return outcome(bench.posts, _of_regression(bench, config.detector))


def of_micc(config: RunConfig, settings: Settings, stage1: Path, parent: Path) -> fitting.Outcome:
    """A finished MICC, whose weights are `parent`, under every intervention; stage 2 is not trained anew."""
    posts, made = _of_micc(config.parent, settings, stage1, parent)
    return outcome(posts, made)


def reading(intervention: str) -> str:
    """Name of the reading of test in the stored predictions."""
    return "test" if intervention == AS_IT_IS else f"test_{intervention.replace(' ', '_')}"


def outcome(posts: pd.DataFrame, made: Asked) -> fitting.Outcome:
    """What a run leaves: a reading per intervention, and the share exchanged in each. posts: all, with their sides."""
    read, shares = [], {}
    for intervention, frame, share in made:
        kept = frame[["post_id", "label", "image_group"]]
        log_odds = evaluation.to_store(frame["log_odds"])
        read.append(kept.assign(log_odds=log_odds, seed=0, split=reading(intervention), row=range(len(kept))))
        shares[intervention] = share
    return bench_runs.outcome(posts, read, exchanged=shares)


def _of_regression(bench: Bench, config: BaselineConfig) -> Asked:
    """Intervention, test predictions, share exchanged; fitted on train as it is, and once on exchanged pictures."""
    side = bench.posts["split"].to_numpy()
    train, test = np.flatnonzero(side == "train"), np.flatnonzero(side == "test")
    posts, own = bench.posts.iloc[test].reset_index(drop=True), bench.image[test]
    weight = None if "weight" not in bench.posts else bench.posts["weight"].to_numpy()[train]
    asked = {AS_IT_IS: (bench.text[test], own)}
    shares = dict.fromkeys((AS_IT_IS, BLANKED, EMPTIED), 0.0)
    for name, how in EXCHANGES.items():
        found = fitting.partners(posts, *how)
        asked[name], shares[name] = (bench.text[test], own[found]), _exchanged(posts, found)
    nothing = bench.image[train].mean(0), bench.text[train].mean(0)  # zero once standardised
    asked[BLANKED] = bench.text[test], np.broadcast_to(nothing[0], own.shape)
    asked[EMPTIED] = np.broadcast_to(nothing[1], (len(test), bench.text.shape[1])), own
    sets = {name: baselines.Features(posts["label"], None, *pair) for name, pair in asked.items()}
    label, order = bench.label[train], np.random.default_rng(0).permutation(train)
    fits = [(sets, train, ""), ({AS_IT_IS: sets[AS_IT_IS]}, order, TRAINED)]
    for wanted, pictures, name in fits:
        known = baselines.Features(label, None, bench.text[train], bench.image[pictures], weight=weight)
        for intervention, log_odds in baselines.fit_predict(config, known, wanted).items():
            yield name or intervention, posts.assign(log_odds=log_odds), shares[intervention]


def _of_micc(config: RunConfig, settings: Settings, stage1: Path, weights: Path) -> tuple[pd.DataFrame, Asked]:
    """The same for a trained MICC, after its posts."""
    from safetensors.torch import load_file

    model, tensors, table = micc_runs.on_posts(config, settings, stage1)
    model.load_state_dict(load_file(weights))
    corpus = inputs.corpus_of(config, settings)
    tensors = micc_runs.apart(tensors, lambda: inputs.joint_patches(corpus, config.stage1, stage1, settings))
    test = np.flatnonzero((table["split"] == "test").to_numpy())
    posts, own = table.iloc[test].reset_index(drop=True), tensors.part(torch.from_numpy(test))
    blank = torch.cat([own.images, torch.zeros_like(own.images[:1])])
    asked = {AS_IT_IS: (own, 0.0)}
    for name, how in EXCHANGES.items():
        found = fitting.partners(posts, *how)
        asked[name] = replace(own, image_row=own.image_row[torch.tensor(found)]), _exchanged(posts, found)
    asked[BLANKED] = replace(own, images=blank, image_row=torch.full_like(own.image_row, len(own.images))), 0.0
    asked[EMPTIED] = replace(own, texts=_emptied(own.texts)), 0.0
    return table, (
        (name, posts.assign(log_odds=fitting.predict(model, changed)), share)
        for name, (changed, share) in asked.items()
    )


def _emptied(texts: Texts) -> Texts:
    """Texts without a word: the first token ([CLS]) alone, or a vector of zeros."""
    if texts.ids is None:
        return Texts(None, None, torch.zeros_like(texts.features))
    mask = torch.zeros_like(texts.mask)
    mask[:, 0] = True
    return Texts(texts.ids * mask, mask)


def _exchanged(posts: pd.DataFrame, found: np.ndarray) -> float:
    groups = posts["image_group"].to_numpy()
    return float((groups != groups[found]).mean())
