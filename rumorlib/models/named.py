"""A detector that lives in one file: its class is named by an import path and built from what the data give."""

from __future__ import annotations

import importlib
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rumorlib.config import DetectorConfig
from rumorlib.data.batches import Batch

ANSWERS = ("log_odds", "prob_rumor")  # what a detector may offer; the first is read where both are there


class Given(NamedTuple):
    """What a detector of one file is built for; the first argument of its class. Batches: data/batches.py.

    word_vectors: (V, d_word) skip-gram vectors of the train posts' words, row = id in Batch.text_ids (Eq. 2 of DMFL).
    d_text: width of Batch.text_features, the sentence vector of stage 1's text tower.
    image_shape: of one row of Batch.images: (N, D) for Patches (drawn scenes), (C, h, w) for a FeatureMap (the others).
    """

    word_vectors: Tensor
    d_text: int
    image_shape: tuple[int, ...]


def build(config: DetectorConfig, given: Given) -> nn.Module:
    """The detector `config` names: `Class(given, **options)`.

    Raises: ValueError: no such module or class, or it lacks training_loss or ANSWERS; the message says what to do.
    """
    module, _, name = config.path.partition(":")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{config.path!r} cannot be imported ({error}); write <module>:<Class> of a module that Python finds"
        ) from error
    missing = [] if hasattr(made, "training_loss") else ["training_loss"]
    missing += [] if any(hasattr(made, method) for method in ANSWERS) else ["log_odds"]
    if missing or not issubclass(made, nn.Module):
        raise ValueError(f"{config.path}: an nn.Module with {' and '.join(missing) or 'the two methods'} is needed")
    return made(given, **dict(config.options))


@torch.inference_mode()
def log_odds(model: nn.Module, batch: Batch) -> Tensor:
    """(B,) float64 log-odds of rumor of any detector in evaluation mode, on its device.

    One that offers `prob_rumor` alone is read to float64's last digit: a probability of exactly 0 or 1 is taken for
    one that lies eps = 2.2e-16 away, as scikit-learn's log loss takes it, log-odds of -36 or 36.
    """
    if hasattr(model, "log_odds"):
        return model.log_odds(batch).double()
    prob = model.prob_rumor(batch).double()
    return torch.logit(prob, eps=torch.finfo(prob.dtype).eps)
