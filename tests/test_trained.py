"""A trained detector read back from its run's folder is the one whose predictions stand there."""

from __future__ import annotations

import dataclasses

import numpy as np

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.results import trained
from rumorlib.training import fitting


def test_weights_give_the_predictions_of_the_run(few_drawn: cfg.Settings) -> None:
    config = experiments.micc(few_drawn, "demo-en")
    model, tensors, posts = trained.micc(config, few_drawn)
    assert not model.training
    stored = results.run_or_load(config, dataclasses.replace(few_drawn, train="none")).predictions()
    shown = posts["split"].ne("train").to_numpy()
    assert stored["post_id"].tolist() == posts.loc[shown, "post_id"].tolist()
    np.testing.assert_allclose(fitting.predict(model, tensors)[shown], stored["log_odds"], atol=2e-4)


def test_dmfl_comes_back_as_it_was(few_drawn: cfg.Settings) -> None:
    config = experiments.dmfl(few_drawn, "demo-en")
    model, tensors, posts = trained.dmfl(config, few_drawn)
    stored = results.run_or_load(config, dataclasses.replace(few_drawn, train="none")).predictions()
    shown = posts["split"].ne("train").to_numpy()
    np.testing.assert_allclose(fitting.predict(model, tensors)[shown], stored["log_odds"], atol=2e-4)
