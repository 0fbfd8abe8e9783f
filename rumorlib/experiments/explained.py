"""Runs that are looked into: attention maps, alignment, kept patches, posts without a cue, where learning starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rumorlib.config import ControlConfig, RunConfig, Settings, profiles, record
from rumorlib.config.profiles import DMFL_STARTS_POSTS, DMFL_STARTS_TRAIN
from rumorlib.experiments import rivals
from rumorlib.experiments.papers import baselines, dmfl, dmfl_main, micc, micc_ablations, micc_fusion_weight, micc_main

# The logic chain alone, which is the quickest, the whole model, and it with another fusion, alignment or granularity.
START_PARTS = {
    "TB": {"parts": "logic_only", "alignment": "none"},
    "full": {},
    "ATT": {"fusion": "weighted_sum"},
    "A": {"alignment": "none"},
    "side": {"alignment": "side"},
    "pooled": {"granularity": "pooled"},
}


def start_runs(settings: Settings) -> list[RunConfig]:
    """Logic chain and whole model, from scratch and from stage 1, on the corpus and on four times its train posts.
    Demo's full grid only: these runs take as long as a third of all others."""
    if settings.profile != "demo" or settings.grid != "full":
        return []
    plans = []
    for name, changes in START_PARTS.items():
        for n_train in (None, DMFL_STARTS_POSTS):
            for start in ("scratch", "stage1"):
                plans.append(_start(settings, f"{name}-{start}", n_train, logic_init=start, **changes))
    return plans


def _start(settings: Settings, variant: str, n_train: int | None, **changes) -> RunConfig:
    config = dmfl(settings, settings.datasets[0], settings.seeds[0], variant, train=DMFL_STARTS_TRAIN, **changes)
    return replace(config, n_train=n_train)


def adaptive_runs(settings: Settings) -> list[RunConfig]:
    """Fixed K and the two adaptive rules, at most eight patches per scale, with the product input, as the literal model
    hardly reads the picture. Drawn scenes alone, where clutter is known, and their full grid: a first look has K = 1
    and 8 in notebook 06."""
    if settings.profile != "demo" or settings.grid != "full":
        return []
    rules: dict[str, dict[str, Any]] = {
        "product": {}, **{f"product-top_k={k}": {"top_k": k} for k in (8, 1, 4)},
        "product-mass": {"top_k": 8, "controls": ControlConfig(keep="mass")},
        "product-threshold": {"top_k": 8, "controls": ControlConfig(keep="threshold")},
        "product-mass=0.9": {"top_k": 8, "controls": ControlConfig(keep="mass", relevance_mass=0.9)},
    }  # fmt: skip
    return [
        micc(settings, dataset, seed, variant, classifier_input="product", **changes)
        for dataset in profiles.first_datasets(settings)
        for variant, changes in rules.items()
        for seed in settings.seeds
    ]


MAP_EPOCHS = {"en": (1, 5, 7, 10), "zh": (1, 5, 9, 20)}  # paper: Fig 10, Pheme, and Fig 11, Weibo


def map_runs(settings: Settings) -> list[RunConfig]:
    """DMFL runs that keep Eq 12's map of one fixed batch at the paper's epochs (D-E6, Figs 10 and 11): English corpora
    at Pheme's, Chinese ones at Weibo's. The paper compares the two: all datasets on every grid, except that the reduced
    one of demo leaves out the Chinese run, whose 20 epochs were a tenth of the demo and whose scenes are the English
    ones."""
    configs = []
    for dataset in profiles.shown_twice(settings):
        at = MAP_EPOCHS[record(dataset).language]
        train = {"epochs": at[-1], "patience": None, "record_epochs": at}  # the papers show passes, so it counts those
        train |= {"steps": None, "patience_steps": None, "evaluate_every": None}
        configs.append(dmfl(settings, dataset, settings.seeds[0], "maps", train=train))
    return configs


REPLIES = "demo-replies"


def reply_runs(settings: Settings) -> list[RunConfig]:
    """DMFL on posts whose replies tell (§4.5), demo's full grid (d_e12): it reads the post alone; with the replies of a
    day; with those of two days, of which the last says how it came out; and its logic chain alone with replies."""
    if settings.profile != "demo" or settings.grid != "full":
        return []
    day, two = {"reply_hours": 24.0}, {"reply_hours": 48.0}
    ways: dict[str, dict[str, Any]] = {"post-alone": {}, "with-replies": day, "TB": {**START_PARTS["TB"], **day},
                                       "with-late-replies": two}  # fmt: skip
    return [dmfl(settings, REPLIES, seed, name, train=DMFL_STARTS_TRAIN, **how)
            for name, how in ways.items() for seed in settings.seeds]  # fmt: skip


BOXES = "demo-boxes"


def boxed_runs(settings: Settings) -> list[RunConfig]:
    """MICC where each patch holds one whole object, and where it is a cell of a grid: the bound of "without
    segmentation" (x_6). Stage 1 sees its captions' scenes so, too. Drawn scenes, full grid."""
    if settings.profile != "demo" or settings.grid != "full":
        return []
    usual = [run for run in micc_main(settings) if run.dataset == settings.datasets[0]]
    captions = replace(usual[0].stage1, dataset=f"{BOXES}-captions")
    return [*usual, *(replace(run, dataset=BOXES, stage1=captions) for run in usual)]


def asked_runs(settings: Settings) -> list[RunConfig]:
    """Models that are asked: the first run of the heat maps, which does not compare words with patches, and on the full
    grid the logic chain alone from stage 1, which on the larger train side learns to (`starts`). Demo only."""
    if settings.profile != "demo":
        return []
    return [map_runs(settings)[0], *(c for c in start_runs(settings) if c.variant == "TB-stage1")]


def probe_runs(settings: Settings) -> list[RunConfig]:
    """Every planned model of the main tables, and MICC-A/γ: drawn scenes alone have probe posts."""
    if settings.profile != "demo":
        return []
    others = dmfl_main(settings) + rivals.main(settings) + baselines(settings)
    return [*micc_main(settings), *_without_alignment(settings), *others]


def marked_runs(settings: Settings) -> list[RunConfig]:
    """MICC with and without selection, one corpus and seed, whose patches are looked up in marked scenes. Demo only."""
    if settings.profile != "demo":
        return []
    micc = micc_main(settings) + _without_alignment(settings)
    return [c for c in micc if (c.dataset, c.seed) == (settings.datasets[0], settings.seeds[0])]


def marked_train_runs(settings: Settings) -> list[RunConfig]:
    """MICC with and without Top-K on train posts of which a quarter is betrayed by a mark away from the claimed object,
    with SCLIP's patches as they are and with its image tower trained on (x_5_learned). Drawn scenes, full grid."""
    if settings.profile != "demo" or settings.grid != "full":
        return []
    runs = []
    for tower, how in {"": {}, "unfrozen-": {"freeze": "nothing"}}.items():
        for name, changes in {"top-k": {}, "A-gamma": {"alignment": "all_patches"}}.items():
            runs += [micc(settings, settings.datasets[0], seed, f"marked-{tower}{name}", **how, **changes)
                     for seed in settings.seeds]  # fmt: skip
    return [replace(run, train_on="marked") for run in runs]


def _without_alignment(settings: Settings) -> list[RunConfig]:
    return [c for c in micc_ablations(settings) if c.variant == "A-gamma"]


def alignment_runs(settings: Settings) -> list[RunConfig]:
    """Alignment `forward` (the default run), `side` (MFAN's heads that touch the loss alone) and none (variant A of the
    ablations), whose two sides are measured before and after training (choice C13). Demo's reduced grid asks the
    English corpus alone, and not `side`: it is no reading of the paper."""
    ways: dict[str, dict[str, Any]] = {"default": {}, "side": {"alignment": "side"}, "A": {"alignment": "none"}}
    if profiles.is_small_demo(settings):
        del ways["side"]
    return [
        dmfl(settings, dataset, seed, name, **changes)
        for dataset in profiles.shown_twice(settings)
        for name, changes in ways.items()
        for seed in settings.few.seeds
    ]


def explained_runs(settings: Settings) -> list[RunConfig]:
    """The MICC runs that are explained: main rows of the first corpus, one seed; none where scenes are not drawn."""
    drawn = settings.profile == "demo"
    chosen = settings.datasets[0], settings.seeds[0]
    return [c for c in micc_main(settings) if drawn and (c.dataset, c.seed) == chosen]


def lambda_end_runs(settings: Settings) -> list[RunConfig]:
    """The literal model at lambda = 0 and 1, the limits of Eq 24, on the corpora and seeds of the explained runs."""
    asked = {(c.dataset, c.seed) for c in explained_runs(settings)}
    ends = [c for c in micc_fusion_weight(settings) if c.detector.fusion_weight in (0.0, 1.0)]
    return [c for c in ends if (c.dataset, c.seed) in asked]
