"""A detector that lives in one file: its class is named by an import path and built from what the data give."""

from __future__ import annotations

import importlib
from typing import NamedTuple

from torch import Tensor, nn

from rumorlib.config import DetectorConfig


class Given(NamedTuple):
    """What a detector of one file is built for; the first argument of its class. Batches: data/batches.py.

    word_vectors: (V, d_word) skip-gram vectors of the train posts' words, row = id in Batch.text_ids (Eq. 2 of DMFL).
    d_text: width of Batch.text_features, the sentence vector of stage 1's text tower.
    image_shape: of one row of Batch.images: (N, D) patch tokens of drawn scenes, (C, h, w) a frozen encoder's map.
    """

    word_vectors: Tensor
    d_text: int
    image_shape: tuple[int, ...]


def build(config: DetectorConfig, given: Given) -> nn.Module:
    """The detector `config` names: `Class(given, **options)`.

    Raises: ValueError: no such module or class, or it lacks training_loss or prob_rumor; the message says what to do.
    """
    module, _, name = config.path.partition(":")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{config.path!r} cannot be imported ({error}); write <module>:<Class> of a module that Python finds"
        ) from error
    missing = [method for method in ("training_loss", "prob_rumor") if not hasattr(made, method)]
    if missing or not issubclass(made, nn.Module):
        raise ValueError(f"{config.path}: an nn.Module with {' and '.join(missing) or 'the two methods'} is needed")
    return made(given, **dict(config.options))
