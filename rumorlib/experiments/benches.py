"""Runs of small classifiers on fixed features: on which corpora, and their configs."""

from __future__ import annotations

from dataclasses import replace

from rumorlib.config import DATASETS, BaselineConfig, HeadsConfig, Kind, RunConfig, Settings, record
from rumorlib.config.by_corpus import sizes_of

DRAWN_POSTS = {"n_train": 800, "n_dev": 200, "n_test": 400, "n_unseen": 1, "n_pairs": 1, "n_undetectable": 1,
               "n_fingerprint": 1, "n_caption_scenes": 10}  # fmt: skip


def of_anatomy(settings: Settings) -> list[str]:
    """Corpora of the anatomy: posts (on the photo tier one modality says nothing), and of drawn scenes the English; the
    profile's where none of the datasets is one."""
    named = dict.fromkeys((*settings.datasets, *settings.text_only))
    found = [name for name in named if record(name).kind == "posts" or _scenes(name)]
    return found or of_anatomy(replace(settings, datasets=DATASETS[settings.profile]))


def with_pictures(settings: Settings) -> list[str]:
    """Datasets whose benches hold text and picture; the profile's where none of the datasets is one."""
    found = [name for name in settings.datasets if pictured(name, settings) or _scenes(name)]
    return found or with_pictures(replace(settings, datasets=DATASETS[settings.profile]))


def pictured(name: str, settings: Settings) -> bool:
    """Whether the profile has frozen encoders for both the texts and the pictures of a corpus with files."""
    known, sizes = record(name), sizes_of(settings.profile, name)
    return known.pictures and sizes.texts[known.language].kind == "frozen" and sizes.vision.as_map is not None


def _scenes(name: str) -> bool:
    return (record(name).kind, record(name).language) == ("drawn", "en")


def printed_name(dataset: str) -> str:
    """Printed name of a bench's corpus."""
    return f"{dataset}, few posts" if record(dataset).kind == "drawn" else dataset


def plan(settings: Settings, dataset: str, kind: Kind, variant: str, detector: HeadsConfig | BaselineConfig,
         protocol: str = "") -> RunConfig:  # fmt: skip
    """A run of small classifiers on a bench; all seeds of a head are one run."""
    few = DRAWN_POSTS["n_train"] if record(dataset).kind == "drawn" else None
    return RunConfig(
        model="bench", dataset=dataset, kind=kind, variant=variant, profile=settings.profile,
        language=record(dataset).language, detector=detector, protocol=protocol, n_train=few,
    )  # fmt: skip
