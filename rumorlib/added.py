"""Runs of a detector that was added as one file: the line that makes an experiment of its class."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rumorlib import experiments, files
from rumorlib.config import DetectorConfig, RunConfig, Settings
from rumorlib.profiles import LANGUAGE, SIZES


def detector(settings: Settings, dataset: str, path: str, seed: int = 0, **options: Any) -> RunConfig:
    """One run of the detector class `path` = "<module>:<Class>" (models/named.py), trained as long as DMFL is.

    Args:
        dataset: a corpus of the profile; stage 1 is that of MICC and DMFL.
        path: the class; its module must be importable (in rumorlib/models, or a file on PYTHONPATH).
        options: further words for the class; they are part of the run and of its folder's name.
    """
    sizes, language = SIZES[settings.profile], LANGUAGE[dataset]
    words = replace(sizes.dmfl.word2vec, tokens="jieba" if language == "zh" else "word")
    return RunConfig(
        model="detector", dataset=dataset, seed=seed, profile=settings.profile, language=language,
        variant="-".join([path.partition(":")[2], *(f"{name}={value}" for name, value in sorted(options.items()))]),
        stage1=experiments.sclip(settings, language), train=sizes.dmfl_train,
        detector=DetectorConfig(
            path, tuple(sorted(options.items())), words, sizes.dmfl.image, sizes.dmfl.image_components,
            source=_source(path.partition(":")[0]),
        ),
    )  # fmt: skip


def _source(module: str) -> str:
    """Start of the sha256 of a module's file; "" where there is none: `named.build` says what is wrong."""
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        return ""
    return files.file_hash(Path(found.origin))[:12] if found and found.origin and found.has_location else ""
