"""Runs on the papers' own posts: what the published split, other draws, events and pictures are worth.

Settings of MICC and DMFL were chosen by `cross_validation`, before any test post was read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from rumorlib.config import DATASETS, OTHERS, RunConfig, Settings, record
from rumorlib.config.by_corpus import sizes_of
from rumorlib.config.profiles import LONGER
from rumorlib.data.splitting import splits
from rumorlib.experiments import cross_validation, papers, rivals
from rumorlib.experiments.cross_validation import CORPORA

LINEAR = ("majority", "tfidf_lr", "text_lr", "image_lr", "text_image_lr")
N_DEALT = 10  # draws of the published sizes; rows on words have `linear`'s hundred too
AUTHORS = tuple(model for model in OTHERS if model != "eann")  # detectors of other authors with a row there


def own(settings: Settings) -> Settings:
    """The settings with the papers' own posts, those asked for or both; at demo drawn scenes, whose split is an
    ordinary one by construction."""
    asked = tuple(name for name in settings.datasets if record(name).protocol == "published")
    usual = ("demo-en",) if settings.profile == "demo" else CORPORA
    return replace(settings, datasets=asked or usual)


def beside(settings: Settings) -> Settings:
    """The settings, with the papers' own posts in front where all of laptop's other corpora are asked for."""
    return replace(settings, datasets=(*CORPORA, *settings.datasets)) if _usual(settings) else settings


def of_sweeps(settings: Settings) -> Settings:
    """The settings of the papers' ablations and sweeps: at laptop on the papers' own posts, where no other corpora are
    named."""
    return replace(settings, datasets=CORPORA) if _usual(settings) and not settings.named else settings


def _usual(settings: Settings) -> bool:
    return settings.profile == "laptop" and settings.datasets == DATASETS["laptop"]


def linear(settings: Settings, kind: str = "train") -> list[RunConfig]:
    """Rows of scikit-learn on the published split, or of kind "draws" on all splits; at demo those on words."""
    runs = []
    for dataset in settings.datasets:
        for name in LINEAR if record(dataset).kind == "posts" else papers.OF_WORDS[:2]:
            run = papers.baseline(settings, dataset, name)
            runs.append(run if kind == "train" else replace(run, kind=kind, variant=f"{name}-{kind}"))
    return runs


def detectors(settings: Settings) -> list[RunConfig]:
    """MICC, with what its classifier may read beside; DMFL; and, few seeds, its logic chain on the text alone."""
    runs = []
    for dataset in settings.datasets:
        for seed in settings.seeds:
            inputs = papers.MICC_INPUTS | ({"towers": "towers"} if record(dataset).kind == "posts" else {})
            runs += [papers.micc(settings, dataset, seed, name, classifier_input=how) for name, how in inputs.items()]
            runs.append(papers.dmfl(settings, dataset, seed))
            if record(dataset).kind == "posts" and seed in settings.few.seeds:
                runs.append(papers.dmfl(settings, dataset, seed, "TTRAS", **papers.DMFL_VARIANTS["TTRAS"]))
    return runs


def other_authors(settings: Settings) -> list[RunConfig]:
    """Detectors of other authors, on real posts."""
    found = [dataset for dataset in settings.datasets if record(dataset).kind == "posts"]
    return [rivals.rival(settings, dataset, model, seed) for dataset in found for model in AUTHORS
            for seed in settings.seeds]  # fmt: skip


def dealt(settings: Settings) -> list[RunConfig]:
    """TF-IDF and every detector, few seeds, with each event held out (where a corpus has no events: whole groups of
    near-duplicates); MICC, DMFL and TF-IDF on other draws of the published sizes, too. Rows on frozen features:
    `linear`, of kind "draws"."""
    runs = []
    for run in [*linear(settings), *detectors(settings.few), *other_authors(settings.few)]:
        known, first = record(run.dataset), run.seed in (0, settings.seeds[0])  # rows of scikit-learn have no seeds
        if known.kind != "posts" or (run.model == "baseline" and run.variant != "tfidf_lr"):
            continue
        main = run.model in ("micc", "dmfl", "baseline") and run.variant in ("default", "product", "tfidf_lr")
        names = [f"resplit:{k}" for k in range(N_DEALT)] if main and first else []
        names += [f"event:{event}" for event in splits.PHEME_DEV] if known.events else ["grouped"]
        runs += [replace(run, protocol=name) for name in names]
    return runs


def stage1s(settings: Settings) -> list[RunConfig]:
    """What MICC starts from on these posts; trained as long as notebook 02's longest in English, which says what its
    short one costs; and on whitened text features."""
    runs = []
    for dataset in settings.datasets:
        runs.append(papers.stage1_of(settings, dataset))
        if known := LONGER.get((settings.profile, "en")):
            changes, train = known
            longer = papers.stage1_of(settings, dataset, variant=f"longer-{record(dataset).language}", **changes)
            runs.append(replace(longer, train=replace(longer.train, **train)))
        if sizes_of(settings.profile, dataset).texts[record(dataset).language].kind == "frozen":
            runs.append(whitened(settings, dataset))
    return runs


def whitened(settings: Settings, dataset: str) -> RunConfig:
    """The stage 1 of these posts on whitened text features."""
    name = papers.of_language(settings, record(dataset).language, "whitened")
    return papers.stage1_of(settings, dataset, variant=name, whiten_text=True)


def compared(settings: Settings) -> list[RunConfig]:
    """The settings of training that were compared, before test was read; none at demo."""
    return cross_validation.every(settings)


def every(settings: Settings) -> Iterable[RunConfig]:
    """All runs of notebook 12."""
    asked = own(settings)
    makers = (stage1s, compared, cross_validation.on_fewer_posts, linear, partial(linear, kind="draws"), detectors,
              other_authors, dealt)  # fmt: skip
    return [run for make in makers for run in make(asked)]
