"""Runs on the papers' own posts: what the published split, other draws, events and pictures are worth.

Settings of MICC and DMFL were chosen by `cross_validation`, before any test post was read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from rumorlib.config import FEW_SEEDS, RunConfig, Settings, record
from rumorlib.data.splitting import splits
from rumorlib.experiments import cross_validation, papers, rivals
from rumorlib.experiments.cross_validation import CORPORA

LINEAR = ("majority", "tfidf_lr", "text_lr", "image_lr", "text_image_lr")
N_DEALT = 3  # draws of the published sizes for MICC; DMFL takes ten times as long, rows of words have `linear`'s
OTHERS = ("safe", "carmn", "mfan", "spotfake", "muse")
MICC_INPUTS = {"default": "concat", "product": "product", "relevance": "relevance", "towers": "towers"}


def own(settings: Settings) -> Settings:
    """The settings with the papers' own posts, those asked for or both, and few seeds; at demo drawn scenes, whose
    split is an ordinary one by construction."""
    asked = tuple(name for name in settings.datasets if record(name).protocol == "published")
    usual = ("demo-en",) if settings.profile == "demo" else CORPORA
    return replace(settings, datasets=asked or usual, seeds=settings.seeds[:FEW_SEEDS])


def linear(settings: Settings, kind: str = "train") -> list[RunConfig]:
    """Rows of scikit-learn on the published split, or of kind "draws" on all splits; at demo those on words."""
    runs = []
    for dataset in settings.datasets:
        for name in LINEAR if record(dataset).kind == "posts" else papers.OF_WORDS[:2]:
            run = papers.baseline(settings, dataset, name)
            runs.append(run if kind == "train" else replace(run, kind=kind, variant=f"{name}-{kind}"))
    return runs


def detectors(settings: Settings) -> list[RunConfig]:
    """MICC, with what its classifier may read beside; DMFL; and, first seed, its logic chain on the text alone."""
    runs = []
    for dataset in settings.datasets:
        for seed in settings.seeds:
            inputs = MICC_INPUTS if record(dataset).kind == "posts" else dict(list(MICC_INPUTS.items())[:3])
            runs += [papers.micc(settings, dataset, seed, name, classifier_input=how) for name, how in inputs.items()]
            runs.append(papers.dmfl(settings, dataset, seed))
            if record(dataset).kind == "posts" and seed == settings.seeds[0]:
                runs.append(papers.dmfl(settings, dataset, seed, "TTRAS", **papers.DMFL_VARIANTS["TTRAS"]))
    return runs


def other_authors(settings: Settings) -> list[RunConfig]:
    """Detectors of other authors, on real posts; the first seed, of one to four minutes a run."""
    found = [dataset for dataset in settings.datasets if record(dataset).kind == "posts"]
    return [rivals.rival(settings, dataset, model, settings.seeds[0]) for dataset in found for model in OTHERS]


def dealt(settings: Settings) -> list[RunConfig]:
    """First seeds of MICC, DMFL and TF-IDF with each event held out (where a corpus has no events: whole groups of
    near-duplicates), MICC on other draws of the published sizes, too."""
    runs = []
    for run in [*linear(settings), *detectors(replace(settings, seeds=settings.seeds[:1]))]:
        known = record(run.dataset)
        if known.kind == "posts" and run.variant in ("default", "tfidf_lr"):
            names = [f"resplit:{k}" for k in range(N_DEALT if run.model == "micc" else 0)]
            names += [f"event:{event}" for event in splits.PHEME_DEV] if known.events else ["grouped"]
            runs += [replace(run, protocol=name) for name in names]
    return runs


def compared(settings: Settings) -> list[RunConfig]:
    """The settings of training that were compared, before test was read; none at demo."""
    return cross_validation.every(settings)


def every(settings: Settings) -> Iterable[RunConfig]:
    """All runs of notebook 12."""
    asked = own(settings)
    return [run for make in (compared, linear, partial(linear, kind="draws"), detectors, other_authors, dealt)
            for run in make(asked)]  # fmt: skip
