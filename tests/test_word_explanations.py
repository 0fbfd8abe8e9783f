"""Scores of word explanations: the exact effect explains itself best, a blind one gets what chance gives."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from rumorlib import config, experiments
from rumorlib.studies.explanations import word_explanations as words


def test_a_word_table_scores_the_exact_effect_best() -> None:
    effects = np.random.default_rng(0).random((50, 5))
    run = experiments.micc(config.resolve("demo"), "demo-en")
    blind = np.random.default_rng(1).random((50, 5))
    one = words.ExplainedWords(run, effects, {("trained", "itself"): effects, ("trained", "blind"): blind})
    table = words.word_table([one]).set_index("explanation")
    assert table.loc["itself", "rank"] == pytest.approx(1) and table.loc["itself", "pointing"] == 1
    assert table.loc["itself", "effect_of_top"] == pytest.approx(table.loc["itself", "effect_best"])
    assert table.loc["blind", "rank_low"] < 0 < table.loc["blind", "rank_high"]
    kinds = words.word_effect_table([one])
    assert kinds["most_effective"].sum() == pytest.approx(1) and len(kinds) == 5


def test_words_are_compared_in_english() -> None:
    settings = config.resolve("demo")
    with pytest.raises(ValueError, match="English"):
        words.explain(SimpleNamespace(config=experiments.micc(settings, "demo-zh")), settings)
