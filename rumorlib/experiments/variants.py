"""Named variants from settings that are said on a command line: every combination of their values, a row each."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rumorlib.config import RunConfig, SettingError, Settings, nearest
from rumorlib.experiments.papers import dmfl, micc

MODELS = {"micc": micc, "dmfl": dmfl}
MOST = 10_000  # combinations of values
TRAIN = "train"  # settings of training, of every model named; of both models if none is


def variants(settings: Settings, asked: Mapping[str, Sequence[Any]]) -> list[RunConfig]:
    """The models named as they are, then every combination of the values, per dataset and seed.

    Args: asked: "<model>.<field>" or "train.<field>" -> values; a field of a field has a further dot
        (dmfl.word2vec.window).
    Raises: SettingError: no such model or field, or a value that it may not have.
    """
    for name in asked:
        first = name.split(".")[0]
        if first not in (*MODELS, TRAIN) or "." not in name:
            known = [f"{one}.<field>" for one in (*MODELS, TRAIN)]
            guess = nearest(first, (*MODELS, TRAIN)) if "." in name else ""
            raise SettingError(f"--set {name}: write one of {', '.join(known)}{guess}")
    if (many := math.prod(map(len, asked.values()))) > MOST:
        raise SettingError(f"--set makes {many} combinations, more than {MOST}; name fewer values")
    named = [model for model in MODELS if any(name.startswith(f"{model}.") for name in asked)] or list(MODELS)
    made: dict[Path, RunConfig] = {}
    for model in named:
        fields = [name for name in asked if name.split(".")[0] in (model, TRAIN)]
        crossed = [dict(zip(fields, values, strict=True)) for values in itertools.product(*(asked[f] for f in fields))]
        for dataset, changes, seed in itertools.product(settings.datasets, [{}, *crossed], settings.seeds):
            config = changed(MODELS[model](settings, dataset, seed), changes)
            if made.setdefault(config.path, config) != config:
                raise SettingError(f"--set: two variants would be called {config.variant}; run them one by one")
    return list(made.values())


def changed(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """A run under other settings, its variant named after them. Raises SettingError: as `variants`."""
    said = []
    for name, value in changes.items():
        part, *fields = name.split(".")
        holder = "train" if part == TRAIN else "detector"
        config = dataclasses.replace(config, **{holder: _replaced(getattr(config, holder), name, fields, value)})
        as_read = functools.reduce(getattr, fields, getattr(config, holder))  # 1 where a number may have digits: 1.0
        said.append(f"{name.removeprefix(f'{config.model}.')}={as_read}")
    return dataclasses.replace(config, variant="-".join(said).replace(" ", "").replace("/", "_") or config.variant)


def _replaced(settings: Any, name: str, fields: Sequence[str], value: Any) -> Any:
    known = {field.name for field in dataclasses.fields(settings)} if dataclasses.is_dataclass(settings) else set()
    first, *rest = fields
    if first not in known:
        raise SettingError(f"--set {name}: {type(settings).__name__} has no field {first!r}{nearest(first, known)}")
    inner = _replaced(getattr(settings, first), name, rest, value) if rest else value
    return dataclasses.replace(settings, **{first: inner})
