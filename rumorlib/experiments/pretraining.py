"""Runs on another stage 1 (none, other captions, fewer pictures, one that knows its posts), or trained longer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rumorlib.config import CORPORA, DATASETS, ControlConfig, RunConfig, Settings, record
from rumorlib.config.by_corpus import fields_of
from rumorlib.config.profiles import (
    APART,
    DMFL_STARTS_POSTS,
    OF_POSTS,
    PICTURES,
    SIZES,
    STAGE1,
    points,
    swept,
)
from rumorlib.experiments.papers import (
    baseline,
    dmfl,
    each_seed,
    micc,
    micc_ablations,
    of_language,
    sclip,
    stage1_of,
)
from rumorlib.experiments.rivals import rival


def micc_stage1(settings: Settings) -> list[RunConfig]:
    """MICC on other stage 1s: none; languages together or alone; captions of drawn scenes; captions that are Twitter's
    train posts.

    Where a language is pretrained alone by default the other row has both languages of the caption corpus, and the
    other way round. Captions of the other language alone would leave the posts' own text tower untrained.
    """
    runs: list[RunConfig] = []
    for dataset in swept(settings) if points(settings).stage1 else ():
        runs += each_seed(settings, dataset, {name: {"stage1": one} for name, one in _others(settings, dataset)})
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
DRAWN_TRAIN = {"epochs": 20, "patience": 5, "lr": 2e-3}
INPUTS_AS_LONG = {"longer": "concat", "longer-product": "product", "longer-relevance": "relevance"}
PARTS = ("alignment", "fusion", "controls")  # fields of MICCConfig that its ablations change
HEADS_LEARN = {
    "classifier_input": "relevance",
    "freeze": "tokens",
}  # as on the papers' own posts; at a third of the rate
AS_LONG: dict[str, dict[str, Any]] = {  # what was measured at six passes, and said otherwise at thirty
    "longer": {},
    "longer-product": {"classifier_input": "product"},
    "longer-relevance": {"classifier_input": "relevance"},
    "longer-towers": {"classifier_input": "towers"},
}


def as_long_as_they_learn(settings: Settings) -> list[RunConfig]:
    """Photographs and Twitter on the towers of the papers' own posts, until dev stops improving, thirty passes at most
    (m_e2_longer): MICC and MUSE on the stage 1 of those towers, few seeds, on photographs with SCLIP's heads trained
    on, too; DMFL, one; other detectors on photo-en alone. What of the findings at six passes and at
    three was the length? At demo drawn scenes, full grid."""
    runs: list[RunConfig] = _on_drawn_scenes(settings)
    known = DATASETS["laptop"] if settings.profile == "laptop" else ()
    for dataset in (name for name in settings.datasets if name in known):
        beside, seeds = OWN[record(dataset).language], settings.few.seeds
        stage1, lambda_c = stage1_of(settings, beside), record(dataset).lambda_c
        made = [_as_long(micc(settings, dataset, seed, name, stage1=stage1, **how)) for name, how in AS_LONG.items()
                for seed in seeds]  # fmt: skip
        if record(dataset).kind == "photo":
            learning = micc(settings, dataset, 0, "longer-relevance-tokens", stage1=stage1, **HEADS_LEARN)
            learning = replace(learning, train=replace(learning.train, tower_lr_scale=0.3))
            made += [_as_long(replace(learning, seed=seed)) for seed in seeds]
        authors = ("muse", "safe", "spotfake") if dataset == "photo-en" else ("muse",)
        once = ("carmn", "mfan") if dataset == "photo-en" else ()  # which take as long as DMFL
        others = [*(rival(settings, beside, model, seed) for model in authors for seed in seeds),
                  *(rival(settings, beside, model, seeds[0]) for model in once),
                  dmfl(settings, beside, seeds[0], lambda_c=lambda_c)]  # fmt: skip
        for run in others:
            train = SIZES["laptop"].dmfl_train if run.model == "dmfl" else SIZES["laptop"].rivals_train
            name = "-".join(["longer", run.variant]).removesuffix("-default")
            made.append(_as_long(replace(run, variant=name, **fields_of(settings, dataset), train=train)))
        runs += made
    return runs


def _on_drawn_scenes(settings: Settings) -> list[RunConfig]:
    """Four times the train posts of drawn scenes: MICC and MUSE on a stage 1 of twenty passes; DMFL whose logic chain
    starts from it; and what words and counts of words tell. Demo's full grid."""
    dataset, runs = settings.datasets[0], []
    if settings.grid != "full" or dataset not in ("demo-en", "demo-zh"):
        return []
    stage1 = stage1_of(settings, dataset, variant="longer")
    stage1 = replace(stage1, train=replace(stage1.train, epochs=20))
    for seed in settings.few.seeds:
        made = [micc(settings, dataset, seed, name, classifier_input=how) for name, how in INPUTS_AS_LONG.items()]
        made.append(replace(rival(settings, dataset, "muse", seed), variant="longer"))
        runs += [_as_long(run) for run in made]
        runs.append(dmfl(settings, dataset, seed, "longer", train=DRAWN_TRAIN, logic_init="stage1"))
    runs = [replace(run, stage1=stage1) for run in runs]
    return [replace(run, n_train=DMFL_STARTS_POSTS) for run in [*_words(settings, dataset), *runs]]


def _words(settings: Settings, dataset: str) -> list[RunConfig]:
    return [baseline(settings, dataset, kind) for kind in ("surface_lr", "tfidf_lr")]


def ablations_as_long(settings: Settings) -> list[RunConfig]:
    """MICC's ablations on photographs, and the full model beside them, few seeds, on the towers and as long as
    `as_long_as_they_learn` (m_e6). Their posts are many, and text alone tells nothing: what a part is worth can be
    seen there where the papers' own posts leave it open. In English, the pictures being the same; laptop only."""
    runs: list[RunConfig] = []
    for full in _on_photographs(settings, "longer"):
        own = replace(settings, datasets=(OWN[full.language],), seeds=(full.seed,), grid="full")
        runs.append(full)
        for part in micc_ablations(own):
            detector = replace(full.detector, **{name: getattr(part.detector, name) for name in PARTS})
            runs.append(replace(full, variant=f"longer-{part.variant}", stage1=part.stage1, detector=detector))
    return runs


def adaptive_as_long(settings: Settings) -> list[RunConfig]:
    """Rules that keep more patches where there is more to see (C36), at most eight a scale, and fixed K = 2 and 8, with
    the product input, trained and asked as `ablations_as_long` (m_e4_adaptive)."""
    rules: dict[str, dict[str, Any]] = {
        "top_k=8": {"top_k": 8},
        "mass": {"top_k": 8, "controls": ControlConfig(keep="mass")},
        "threshold": {"top_k": 8, "controls": ControlConfig(keep="threshold")},
    }
    runs: list[RunConfig] = []
    for fixed in _on_photographs(settings, "longer-product"):
        runs.append(fixed)
        for name, how in rules.items():
            runs.append(replace(fixed, variant=f"longer-product-{name}", detector=replace(fixed.detector, **how)))
    return runs


def _on_photographs(settings: Settings, variant: str) -> list[RunConfig]:
    made = as_long_as_they_learn(settings)
    return [run for run in made if (run.model, run.dataset, run.variant) == ("micc", "photo-en", variant)]


def _as_long(run: RunConfig) -> RunConfig:
    return replace(run, train=replace(run.train, **LONGER_TRAIN))
