"""Explanations of words against exact effects: which word of the claim does a MICC rest on?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from rumorlib import inputs
from rumorlib.config import RunConfig, Settings
from rumorlib.data.batches import where_is
from rumorlib.experiments import model_name
from rumorlib.metrics.evaluation import expected_hits
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.explanations import attributions, interventions
from rumorlib.studies.explanations.explanations import TRAINED, Explained, interval, n_posts, rank_correlation

# n posts, C content words


@dataclass(frozen=True)
class ExplainedWords:
    """One trained MICC, posts whose claim names a place, the exact effect of each content word, the explanations."""

    config: RunConfig
    effects: np.ndarray  # (n, C), of `interventions.word_effects`
    scores: dict[tuple[str, str], np.ndarray]  # (weights, explanation) -> (n, C), a word scores as its best token


def explain(one: Explained, settings: Settings, split: str = "dev") -> ExplainedWords:
    """Exact effects and explanations of the words of English drawn posts, by the models that explained patches.

    Raises: ValueError: another language, whose words have alternatives of other lengths.
    """
    config = one.config
    if config.language != "en":
        raise ValueError(f"words are compared in English posts, got {config.language!r}")
    corpus = inputs.corpus_of(config, settings)
    posts = interventions.word_posts(corpus, config.language, split, n_posts(settings), config.corpus_seed)
    n = len(posts.texts)
    texts = inputs.encode_texts([*posts.texts, *posts.changed], config.stage1, config.language, settings)
    original, changed = texts.rows(torch.arange(n)), texts.rows(torch.arange(n, len(texts)))
    pictures, row = inputs.images_of(corpus, config.stage1.sclip.vision, settings)
    shown = {
        weights: interventions.in_parts(model.sclip.image_tower, pictures[row[posts.rows]], where_is(model)).clone()
        for weights, model in one.models.items()
    }
    with torch.inference_mode():
        images = shown[TRAINED]
        before = attributions.read(one.model, original, images, posts.rows).logit
        parts = torch.arange(len(posts.changed)).split(1024)
        after = [attributions.read(one.model, changed.rows(p), images[posts.post[p]], posts.rows[posts.post[p]]).logit
                 for p in parts]  # fmt: skip
    positions = interventions.word_positions(original.ids, changed.ids, posts)
    scores = {
        (weights, name): np.where(positions, found[:, None, :], 0).max(2)
        for weights, model in one.models.items()
        for name, found in attributions.word_scores(model, original, shown[weights], posts.rows).items()
    }
    return ExplainedWords(config, interventions.word_effects(before, torch.cat(after), posts), scores)


def word_table(made: list[ExplainedWords]) -> pd.DataFrame:
    """Every explanation of words against the exact effects (x_2).

    Returns: dataset, model, weights, explanation, n; rank (Spearman over the content words of a post; blind: 0),
        pointing (its first word has the largest effect; pointing_chance: 1 over their number), effect_of_top (exact
        effect of its first word; of a random one and of the best in effect_random, effect_best), with _low and _high
        (95 %, t interval over posts).
    """
    rows = []
    for one in made:
        n, n_words = one.effects.shape
        best = one.effects == one.effects.max(1, keepdims=True)
        for (weights, explanation), scores in one.scores.items():
            top = np.take_along_axis(one.effects, scores.argmax(1)[:, None], 1)[:, 0]
            row = {"dataset": one.config.dataset, "model": model_name(one.config), "weights": weights}
            row |= {"explanation": explanation, "n": n} | interval("rank", rank_correlation(scores, one.effects))
            row |= interval("pointing", expected_hits(scores, best, 1)) | {"pointing_chance": 1 / n_words}
            row |= interval("effect_of_top", top) | {"effect_random": one.effects.mean()}
            rows.append(row | {"effect_best": one.effects.max(1).mean(), RUNS: run_names([one.config])})
    return by_runs(pd.DataFrame(rows), "dataset", "model")


def word_effect_table(made: list[ExplainedWords]) -> pd.DataFrame:
    """Exact effect of each kind of word (x_2_effects): dataset, model, word, n, effect, effect_low, effect_high,
    most_effective (share of posts in which no other word has a larger effect)."""
    rows = [
        {"dataset": one.config.dataset, "model": model_name(one.config), "word": word, "n": len(one.effects)}
        | interval("effect", one.effects[:, c]) | {"most_effective": (one.effects.argmax(1) == c).mean()}
        | {RUNS: run_names([one.config])}
        for one in made for c, word in enumerate(interventions.WORDS)
    ]  # fmt: skip
    return by_runs(pd.DataFrame(rows), "dataset", "model")
