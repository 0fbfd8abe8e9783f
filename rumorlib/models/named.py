"""A detector that lives in one file: its class is named by an import path and built from what the data give.

Those of other authors (models/others) come in by the same door.
"""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import torch
from torch import Tensor, nn

from rumorlib.config import DetectorConfig, SettingError, check
from rumorlib.config.checks import nearest
from rumorlib.config.detectors import Reads
from rumorlib.data.batches import Batch

NO_WORDS = torch.zeros(0, 0)  # word vectors of a class that reads none
ANSWERS = ("log_odds", "prob_rumor")  # what a detector may offer; the first is read where both are there


class Conversation(NamedTuple):
    """Posts, comments and users as one graph; the first n_posts nodes are the posts of the table."""

    features: Tensor  # (V, d_word) float32: of a text the mean of its word vectors
    edges: Tensor  # (E, 2) long, the links of the data
    n_posts: int


class Given(NamedTuple):
    """What a detector of one file is built for; the first argument of its class. Batches: data/batches.py.

    What the class does not read (its attribute `reads`) is empty or None, and so is what a saved detector that reads
    new posts cannot have.

    word_vectors: (V, d_word) skip-gram vectors of the train posts' words, row = id in Batch.text_ids (Eq. 2 of DMFL).
    d_text: width of Batch.text_features, e.g. the sentence vector of stage 1's text tower; 0: they are not read.
    image_shape: of one row of Batch.images: (N, D) for Patches (drawn scenes), (C, h, w) for a FeatureMap (the others);
        (1, D) for an image vector, (1, 1) where similarities hold the picture.
    events: (n,) long, train event of each row of the posts table, -1 = none; None: fewer than two, or new posts.
    conversation: makes the graph of the posts' replies. Raises ValueError: the corpus has none. None: new posts.
    features: (n_train, d_text) Batch.text_features of the train posts, where a class reads nothing else of the text;
        None: new posts (keep what is made of them in a buffer).
    """

    word_vectors: Tensor
    d_text: int
    image_shape: tuple[int, ...]
    events: Tensor | None = None
    conversation: Callable[[], Conversation] | None = None
    features: Tensor | None = None

    @property
    def d_image(self) -> int:
        """Width D of the image rows, or channels C of a map."""
        return self.image_shape[-1] if len(self.image_shape) == 2 else self.image_shape[0]


def loaded(path: str) -> type[nn.Module]:
    """The class at "<module>:<Class>".

    Raises: ValueError: no such module or class, or it lacks training_loss or ANSWERS; the message says what to do.
    """
    module, _, name = path.partition(":")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path!r} cannot be imported ({error}); write <module>:<Class> of a module that Python finds"
        ) from error
    missing = [] if hasattr(made, "training_loss") else ["training_loss"]
    missing += [] if any(hasattr(made, method) for method in ANSWERS) else ["log_odds"]
    if missing or not issubclass(made, nn.Module):
        raise ValueError(f"{path}: an nn.Module with {' and '.join(missing) or 'the two methods'} is needed")
    return made


def reads_of(made: type[nn.Module]) -> Reads:
    """What a class reads: its attribute `reads`, or all there is. Raises: SettingError: no such way to read."""
    return check(f"{made.__name__}.reads", getattr(made, "reads", typing.get_args(Reads)[0]), Reads)


def options_of(made: type[nn.Module], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a class, each held to the annotation of its argument where that is made of numbers, text, True or
    False, None, literal words, tuples of these, and ranges of config/checks.py; others are passed on as they are.

    Raises: SettingError: no such argument, or a wrong value.
    """
    known = dict(list(inspect.signature(made).parameters.items())[1:])  # after `given`
    every = any(one.kind is one.VAR_KEYWORD for one in known.values())
    if not every and (wrong := [name for name in options if name not in known]):
        raise SettingError(f"{made.__name__} has no option {wrong[0]!r}{nearest(wrong[0], known)}")
    try:
        hints = typing.get_type_hints(made.__init__, include_extras=True)
    except Exception:  # names that exist for type checkers alone, or whatever else stands there
        hints = {}
    usual, checked = defaults_of(made), {}
    for name, value in options.items():
        as_usual = name in usual and type(value) is type(usual[name]) and value == usual[name]
        hint = hints.get(name, Any) if not as_usual and _is_plain(hints.get(name, Any)) else Any
        checked[name] = check(f"{made.__name__}.{name}", value, hint)
    return checked


def _is_plain(hint: Any) -> bool:
    """Whether `check` knows an annotation, all the way down."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _is_plain(inner[0]) and all(
            hasattr(one, "__contains__") and not isinstance(one, str) for one in inner[1:]
        )
    if origin is Literal:
        return all(isinstance(one, str) for one in inner)
    if origin in (tuple, Union, types.UnionType):
        return all(one is ... or _is_plain(one) for one in inner)
    return hint in (int, float, str, bool, type(None), Any)


def defaults_of(made: type[nn.Module]) -> dict[str, Any]:
    """The options that a class has by default."""
    arguments = inspect.signature(made).parameters.items()
    return {name: one.default for name, one in arguments if one.default is not one.empty}


def build(config: DetectorConfig, given: Given) -> nn.Module:
    """The detector `config` names: `Class(given, **options)`. Raises: as `loaded` and `options_of`."""
    made = loaded(config.path)
    return made(given, **options_of(made, dict(config.options)))


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
