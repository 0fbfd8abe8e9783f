"""Runs of a detector that was added as one file: the line that makes an experiment of its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rumorlib.config import DetectorConfig, RunConfig, Settings, TrainConfig, check, record
from rumorlib.config.by_corpus import fields_of, sizes_of
from rumorlib.data import files
from rumorlib.experiments import papers
from rumorlib.models import named


def detector(
    settings: Settings, dataset: str, path: str, seed: int = 0, train: Mapping[str, Any] | None = None, **options: Any
) -> RunConfig:
    """One run of the detector class `path` = "<module>:<Class>" (models/named.py), trained as DMFL is.

    Args:
        dataset: a corpus of the profile; stage 1 is that of MICC and DMFL.
        path: the class; its module must be importable (in rumorlib/models, or a file on PYTHONPATH).
        train: fields of TrainConfig that differ from DMFL's, e.g. {"epochs": 5}; part of the run and of its name too.
        options: further words for the class; they are part of the run and of its folder's name.
    Raises: SettingError: no such field of TrainConfig or option of the class, or a wrong value. ValueError: as
        `named.loaded`.
    """
    sizes, train = sizes_of(settings.profile, dataset), dict(train or {})
    made = one_file(settings, dataset, path, options)
    said = [f"{name}={_printed(value)}" for name, value in [*made.options, *sorted(train.items())]]
    return RunConfig(
        model="detector", seed=seed, **fields_of(settings, dataset),
        variant="-".join([path.partition(":")[2], *said]), stage1=papers.stage1_of(settings, dataset),
        train=check("train", asdict(sizes.dmfl_train) | train, TrainConfig), detector=made,
    )  # fmt: skip


def _printed(value: Any) -> str:
    """A value as part of a folder's name."""
    parts = map(_printed, value) if isinstance(value, (list, tuple)) else str(value).split()
    return "-".join(parts)


def one_file(
    settings: Settings, dataset: str, path: str, options: Mapping[str, Any], shipped: bool = False
) -> DetectorConfig:
    """A detector class, its options, and the words and image rows it reads of a corpus: DMFL's.

    Args:
        shipped: one of models/others: every option is named, and its computation stands for its file's hash.
    Raises: SettingError: no such option, or a wrong value. ValueError: as `named.loaded`.
    """
    made, sizes = named.loaded(path), sizes_of(settings.profile, dataset)
    reads = named.reads_of(made)
    options = (named.defaults_of(made) if shipped else {}) | named.options_of(made, options)
    detector = DetectorConfig(
        path, tuple(sorted(options.items())), source="" if shipped else _source(path.partition(":")[0]), reads=reads
    )
    if "words" not in reads:
        return detector
    words = replace(sizes.dmfl.word2vec, tokens="jieba" if record(dataset).language == "zh" else "word")
    return replace(detector, word2vec=words, image=sizes.dmfl.image, image_components=sizes.dmfl.image_components)


def _source(module: str) -> str:
    """Start of the sha256 of a module's file; "" of one that was typed into a notebook."""
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        return ""
    return files.file_hash(Path(found.origin))[:12] if found and found.origin and found.has_location else ""
