"""Runs that differ in stage 1: none, other captions, fewer pictures, a longer one, one that knows its posts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rumorlib.config import CORPORA, DATASETS, RunConfig, Settings, record
from rumorlib.config.by_corpus import fields_of
from rumorlib.config.profiles import (
    APART,
    OF_POSTS,
    PICTURES,
    SIZES,
    STAGE1,
    first_datasets,
    points,
    swept,
)
from rumorlib.experiments.papers import dmfl, each_seed, micc, of_language, sclip, sclip_longer, stage1_of
from rumorlib.experiments.rivals import rival


def micc_stage1(settings: Settings) -> list[RunConfig]:
    """MICC on other stage 1s: none; languages together or alone; captions of drawn scenes; captions that are Twitter's
    train posts; a longer one, under our two classifier inputs too; and SCLIP trained on in stage 2 (the first seed
    alone, and on the reduced grid the first corpus: it takes as long as all others).

    Where a language is pretrained alone by default the other row has both languages of the caption corpus, and the
    other way round. Captions of the other language alone would leave the posts' own text tower untrained.
    """
    runs: list[RunConfig] = []
    for dataset in swept(settings) if points(settings).stage1 else ():
        runs += each_seed(settings, dataset, {name: {"stage1": one} for name, one in _others(settings, dataset)})
        for longer in sclip_longer(settings, record(dataset).language):
            inputs = {how: {"stage1": longer, "classifier_input": how} for how in ("product", "relevance")}
            runs += each_seed(settings, dataset, {f"stage-1-longer-{how}": one for how, one in inputs.items()})
        if SIZES[settings.profile].micc.freeze != "nothing" and dataset in first_datasets(settings):
            runs.append(micc(settings, dataset, settings.seeds[0], "unfrozen", freeze="nothing"))
    return runs


def _others(settings: Settings, dataset: str) -> Iterable[tuple[str, RunConfig]]:
    """Name of the MICC run and stage 1 of each row that differs in stage 1."""
    language = record(dataset).language
    corpus, languages = STAGE1[settings.profile][language]
    untrained = sclip(settings, language, variant=of_language(settings, language, "untrained"))
    yield "no-stage-1", replace(untrained, train=replace(untrained.train, epochs=0))
    if corpus not in APART:
        others = (language,) if len(languages) > 1 else ("en", "zh")
        name = "captions-" + "-".join(others)
        yield name, sclip(settings, language, variant=name, languages=others)
    default = sclip(settings, language)
    posts = [c for c in CORPORA.values() if c.posts_of in DATASETS[settings.profile] and c.language == language]
    for one in posts:
        on_posts = replace(default, dataset=one.name, train=replace(default.train, **OF_POSTS))
        yield f"captions-{one.posts_of}", on_posts
    if posts:  # in Chinese its words would all be unknown
        yield "captions-drawn", replace(default, dataset="demo-captions")
    for longer in sclip_longer(settings, language):
        yield "stage-1-longer", longer


def sclip_pictures(settings: Settings) -> list[RunConfig]:
    """Stage 1 on parts of the train pictures, each within the next one, and on all of them, the default; as many epochs
    each (m_e1_pictures). Language of the first dataset; [] where the profile has no such points."""
    if settings.profile not in PICTURES or not points(settings).stage1:
        return []
    whole = sclip(settings, record(settings.datasets[0]).language)
    return [*(replace(whole, n_train=n) for n in PICTURES[settings.profile]), whole]


def micc_known(settings: Settings) -> list[RunConfig]:
    """MICC with relevance as input, on a stage 1 that saw half of the train pictures, trained on the posts of those
    pictures and on as many of the others (m_stage1_known). Photo tier, first corpus."""
    photo = tuple(dataset for dataset in settings.datasets if record(dataset).kind == "photo")[:1]
    parts = [run for run in sclip_pictures(replace(settings, datasets=photo)) if run.n_train] if photo else []
    if not parts:
        return []
    runs = each_seed(settings, photo[0], {"relevance": {"stage1": parts[-1], "classifier_input": "relevance"}})
    return [replace(run, train_on=which) for which in ("known", "new") for run in runs]


OWN = {"en": "mfan-pheme", "zh": "mfan-weibo"}  # whose towers and sizes are taken
LONGER_TRAIN = {"epochs": 30, "patience": 4}
AS_LONG: dict[str, dict[str, Any]] = {  # what was measured at six passes, and said otherwise at thirty
    "longer": {},
    "longer-product": {"classifier_input": "product"},
    "longer-relevance": {"classifier_input": "relevance"},
}


def as_long_as_they_learn(settings: Settings) -> list[RunConfig]:
    """Photographs and Twitter on the towers of the papers' own posts, until dev stops improving, thirty passes at most
    (m_e2_longer): MICC and MUSE on the stage 1 of those towers, few seeds, and DMFL, one; SAFE and SpotFake on
    photo-en alone. What of the findings at six passes and at three was the length? Laptop only."""
    runs: list[RunConfig] = []
    known = DATASETS["laptop"] if settings.profile == "laptop" else ()
    for dataset in (name for name in settings.datasets if name in known):
        beside, seeds = OWN[record(dataset).language], settings.few.seeds
        stage1, lambda_c = stage1_of(settings, beside), record(dataset).lambda_c
        made = [micc(settings, dataset, seed, name, stage1=stage1, **how) for name, how in AS_LONG.items()
                for seed in seeds]  # fmt: skip
        authors = ("muse", "safe", "spotfake") if dataset == "photo-en" else ("muse",)
        others = [*(rival(settings, beside, model, seed) for model in authors for seed in seeds),
                  dmfl(settings, beside, seeds[0], lambda_c=lambda_c)]  # fmt: skip
        made += [replace(run, variant="longer", **fields_of(settings, dataset),
                         train=getattr(SIZES["laptop"], "dmfl_train" if run.model == "dmfl" else "rivals_train"))
                 for run in others]  # fmt: skip
        runs += [replace(run, train=replace(run.train, **LONGER_TRAIN)) for run in made]
    return runs
