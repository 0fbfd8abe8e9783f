"""Whether a trained model learned: faults of a finished training that no claim may rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

# Name -> what a reader is told. The first three are about the answers to dev posts, a run has at most one of them.
FAULTS: dict[str, str] = {
    "one_class": "the model calls every dev post the same",
    "constant": "on dev the model's log loss is not below that of a constant answer",
    "majority": "on dev the model is not ahead of the larger class",
    "unfinished": "dev loss is lowest at the last look: training was stopped while the model still learned",
}
MARGIN = 0.005  # share of a constant answer's log loss by which a model has to be below it


def faults(dev: Mapping[str, Any], history: pd.DataFrame) -> tuple[str, ...]:
    """Names of FAULTS of a training.

    Args:
        dev: metrics of the dev posts (`evaluation.classification_metrics`; where each picture counts once also
            `image_macro`, which then decides whether the larger class is beaten); {} for stage 1, which has no classes.
        history: `loop.Fit.history`; empty where nothing was trained, which is no fault.
    """
    if history.empty or "dev_loss" not in history:
        return ()
    found = [_of_answers(dev)] if "log_loss" in dev else []
    if history["dev_loss"].idxmin() == len(history) - 1:
        found.append("unfinished")
    return tuple(filter(None, found))


def _of_answers(dev: Mapping[str, Any]) -> str:
    share = dev["n_rumor"] / dev["n"]
    if not 0 < share < 1:
        return ""
    if {dev["recall_rumor"], dev["recall_non_rumor"]} == {0.0, 1.0}:
        return "one_class"
    if dev["log_loss"] > (1 - MARGIN) * -(share * np.log(share) + (1 - share) * np.log1p(-share)):
        return "constant"
    beaten = dev["accuracy"] > max(share, 1 - share) + 1e-9
    if "image_macro" in dev:
        beaten = dev["image_macro"]["image_macro_balanced_accuracy"] > 0.5
    return "" if beaten else "majority"
