"""Faults of a training: what a model that has not learned looks like in its metrics and history."""

import numpy as np
import pandas as pd
import pytest

from rumorlib.metrics import evaluation, learning

LABEL = np.repeat([0, 1], [70, 30])
FALLING = pd.DataFrame({"dev_loss": [0.7, 0.6, 0.5]})
TURNED = pd.DataFrame({"dev_loss": [0.7, 0.5, 0.6]})


def answers(rumor: float, non_rumor: float, wrong: int = 0) -> dict:
    """Metrics of log-odds that are `rumor` on rumors and `non_rumor` on the others, with `wrong` of these exchanged."""
    log_odds = np.where(LABEL == 1, rumor, non_rumor)
    log_odds[:wrong] = rumor
    return evaluation.classification_metrics(LABEL, None, log_odds=log_odds)


@pytest.mark.parametrize(
    ("dev", "fault"),
    [
        (answers(2.0, -2.0), ()),
        (answers(2.0, -2.0, wrong=40), ("constant",)),
        (answers(-0.5, -1.5), ("one_class",)),
        (answers(0.5, 0.2), ("one_class",)),
        (answers(0.8, -1.2, wrong=30), ("majority",)),
        (answers(0.0, -0.9) | {"image_macro": {"image_macro_balanced_accuracy": 0.5}}, ("majority",)),
        ({}, ()),
    ],
)  # fmt: skip
def test_faults_of_answers(dev, fault):
    assert learning.faults(dev, TURNED) == fault
    assert learning.faults(dev, FALLING) == (*fault, "unfinished")
    assert learning.faults(dev, FALLING.iloc[:0]) == ()
