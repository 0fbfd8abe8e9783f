"""Runs of stage 1, MICC, DMFL and the baselines, with ablations and sweeps; a variant is `replace` on a default.

Profiles differ in `config/profiles.py` and `config/by_corpus.py` alone: sizes, data, encoders, training length and how
many points are drawn. The algorithm is the same, and a test compares the fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rumorlib.config import BaselineConfig, ControlConfig, RunConfig, SCLIPConfig, Settings, record, weights_place
from rumorlib.config.by_corpus import fields_of, sizes_of
from rumorlib.config.encoders import CLIP
from rumorlib.config.profiles import (
    LONGER,
    SIZES,
    STAGE1,
    first_datasets,
    is_small_demo,
    loss_weight_seeds,
    loss_weights,
    points,
    swept,
)

# --- stage 1 ------------------------------------------------------------------------------------


def sclip(settings: Settings, language: str, seed: int = 0, corpus_seed: int = 0, variant: str = "default",
          receptive_fields: tuple[int, ...] | None = None, languages: tuple[str, ...] | None = None, dataset: str = "",
          **changes: Any) -> RunConfig:  # fmt: skip
    """Stage 1 for detectors that read `language` (M-E1), in the profile's languages unless `languages` names others,
    with the towers of `dataset` where that corpus has its own. `changes` are fields of SCLIPConfig."""
    sizes = sizes_of(settings.profile, dataset)
    captions, usual = STAGE1[settings.profile][language]
    languages = languages or usual
    vision = replace(sizes.vision, receptive_fields=receptive_fields) if receptive_fields else sizes.vision
    config = SCLIPConfig(
        texts=tuple((name, sizes.texts[name]) for name in languages), vision=vision, d_joint=sizes.d_joint,
        dropout=sizes.sclip_dropout, head=sizes.head, feature_dropout=sizes.feature_dropout,
        temperature_init=sizes.temperature, mask_twins=sizes.mask_twins,
    )  # fmt: skip
    name = variant if len(languages) > 1 or variant != "default" else f"default-{languages[0]}"
    name = "-".join(filter(None, [sizes.stage1_name, name]))
    return RunConfig(
        model="sclip", dataset=captions, variant=name, seed=seed, profile=settings.profile, language=languages[0],
        corpus_seed=corpus_seed, sclip=replace(config, **changes), train=sizes.stage1,
    )  # fmt: skip


def clip(settings: Settings, dataset: str) -> RunConfig | None:
    """CLIP as published in the place of a dataset's stage 1, untrained (C10); None at other profiles or without it."""
    own, run = CLIP[record(dataset).language], stage1_of(settings, dataset)
    if settings.profile != "paper" or not weights_place(own.vision.weights, settings.data_root).is_dir():
        return None
    return replace(run, variant=f"fields-clip-{run.language}", sclip=own, train=replace(run.train, epochs=0))


def stage1_of(settings: Settings, dataset: str, **changes: Any) -> RunConfig:
    """The stage 1 that detectors of a corpus start from; `changes` as `sclip` takes them."""
    return sclip(settings, record(dataset).language, dataset=dataset, **changes)


def fields(settings: Settings, *paper_fields: int) -> tuple[int, ...]:
    """The paper's receptive fields in pixels of the profile's images: half as large on drawn scenes."""
    return tuple(round(field * SIZES[settings.profile].scale_unit) for field in paper_fields)


def stage1_runs(settings: Settings) -> list[RunConfig]:
    """The stage-1 runs the profile's datasets start from, each once."""
    return list(dict.fromkeys(stage1_of(settings, dataset) for dataset in settings.datasets))


# --- MICC -----------------------------------------------------------------------------------------


def micc(settings: Settings, dataset: str, seed: int = 0, variant: str = "default", corpus_seed: int = 0,
         stage1: RunConfig | None = None, **changes: Any) -> RunConfig:  # fmt: skip
    """One MICC run; `changes` are fields of MICCConfig. Stage 1 is seeded once: seeds vary stage 2."""
    sizes = sizes_of(settings.profile, dataset)
    stage1 = stage1 or stage1_of(settings, dataset, corpus_seed=corpus_seed)
    if changes.get("freeze") == "sclip" or stage1.sclip.text(record(dataset).language).kind != "frozen":
        changes = {"text_layers": 0, "image_layers": 0} | changes  # no frozen encoder below it, or not to be trained
    return RunConfig(
        model="micc", variant=variant, seed=seed, corpus_seed=corpus_seed, **fields_of(settings, dataset),
        stage1=stage1, detector=replace(sizes.micc, **changes), train=sizes.micc_train,
    )  # fmt: skip


MICC_INPUTS = {"default": "concat", "product": "product", "relevance": "relevance"}  # variant -> classifier_input, C5


def micc_main(settings: Settings) -> list[RunConfig]:
    """The literal model and our two classifier inputs (M-E2, choice C5), per dataset and seed."""
    return [
        micc(settings, dataset, seed, variant, classifier_input=how)
        for dataset in settings.datasets
        for variant, how in MICC_INPUTS.items()
        for seed in settings.seeds
    ]


SELECTION_CONTROLS = ("bottom", "random", "saliency")


def micc_ablations(settings: Settings) -> list[RunConfig]:
    """MICC without alignment (A/γ, A/δ), without fusion (Ms/α, Ms/β), on CLIP where its weights lie and else with one
    scale (M-E6); and with as many patches chosen otherwise: at random, the least relevant, the most salient."""
    single = fields(settings, 32)
    controls = SELECTION_CONTROLS[:1] if is_small_demo(settings) else SELECTION_CONTROLS
    runs = []
    for dataset in swept(settings):
        language = record(dataset).language
        name = _named(settings, language, single)
        of_clip = clip(settings, dataset)
        one_scale = of_clip or stage1_of(settings, dataset, variant=name, receptive_fields=single)
        variants: dict[str, dict[str, Any]] = {
            "A-gamma": {"alignment": "all_patches"},
            "A-delta": {"alignment": "global"},
            "Ms-alpha": {"fusion": "concat"},
            "Ms-beta": {"fusion": "mean"},
            **{f"{how}-k": {"controls": ControlConfig(how)} for how in controls},
            of_clip.variant if of_clip else name: {"stage1": one_scale},  # the run M-E3 shows too
        }
        runs += each_seed(settings, dataset, variants)
    return runs


def each_seed(settings: Settings, dataset: str, variants: dict[str, dict[str, Any]]) -> list[RunConfig]:
    """Every seed of every variant, seeds of a variant one after the other: they share what is computed once."""
    return [micc(settings, dataset, seed, name, **how) for name, how in variants.items() for seed in settings.seeds]


def sclip_variants(settings: Settings) -> list[RunConfig]:
    """Stage 1 on each scale alone, with the other similarities of choice C3, and longer, beside the default (M-E1), in
    the language of the first dataset."""
    language = record(settings.datasets[0]).language
    runs = [sclip(settings, language)]
    for chosen in (fields(settings, *one) for one in points(settings).single_scales):
        runs.append(sclip(settings, language, variant=_named(settings, language, chosen), receptive_fields=chosen))
    for how in points(settings).similarities:
        runs.append(sclip(settings, language, variant=of_language(settings, language, how), similarity=how))
    return runs + sclip_longer(settings, language)


def sclip_longer(settings: Settings, language: str) -> list[RunConfig]:
    """Stage 1 trained longer, where the profile has such settings: what the default's short training costs."""
    if (settings.profile, language) not in LONGER or not points(settings).stage1:
        return []
    changes, train = LONGER[settings.profile, language]
    run = sclip(settings, language, variant=of_language(settings, language, "longer"), **changes)
    return [replace(run, train=replace(run.train, **train))]


def micc_top_k(settings: Settings) -> list[RunConfig]:
    """K sweep (M-E4, Figure 6). K = 2 is the default run, under its own name."""
    return _sweep(settings, micc, "top_k", lambda _: points(settings).top_k)


def micc_fusion_weight(settings: Settings) -> list[RunConfig]:
    """λ sweep (M-E5); the ends 0 and 1 are the limits of Eq 24."""
    return _sweep(settings, micc, "fusion_weight", lambda _: points(settings).fusion_weight)


def micc_receptive_fields(settings: Settings) -> list[RunConfig]:
    """Scales sweep (M-E3); each needs its own stage 1. Pixels are the paper's, scaled to the profile's images."""
    runs = []
    for dataset in swept(settings):
        language = record(dataset).language
        for paper_fields in points(settings).receptive_fields:
            chosen = fields(settings, *paper_fields)
            name = _named(settings, language, chosen)
            stage1 = stage1_of(settings, dataset, variant=name, receptive_fields=chosen)
            if chosen == SIZES[settings.profile].vision.receptive_fields:
                name, stage1 = "default", None
            runs += [micc(settings, dataset, seed, name, stage1=stage1) for seed in settings.seeds]
    return runs


def micc_grid(settings: Settings) -> list[RunConfig]:
    """K × λ (M-E7, the digest's own first experiment). Points that the two sweeps have are theirs, trained once."""
    ks, lambdas = points(settings).grid
    runs = []
    for dataset in first_datasets(settings):
        default = SIZES[settings.profile].micc
        for k in ks:
            for weight in lambdas:
                moved = [f"top_k={k}"] if k != default.top_k else []
                moved += [f"fusion_weight={weight}"] if weight != default.fusion_weight else []
                name = "-".join(moved) or "default"
                runs += [micc(settings, dataset, seed, name, top_k=k, fusion_weight=weight) for seed in settings.seeds]
    return runs


# --- DMFL -----------------------------------------------------------------------------------------


def dmfl(settings: Settings, dataset: str, seed: int = 0, variant: str = "default", corpus_seed: int = 0,
         train: dict[str, Any] | None = None, **changes: Any) -> RunConfig:  # fmt: skip
    """One DMFL run; `changes` are fields of DMFLConfig, `train` of TrainConfig. Stage 1 only if its tower is read, and
    an image encoder only if pictures are."""
    sizes = sizes_of(settings.profile, dataset)
    words = replace(sizes.dmfl.word2vec, tokens="jieba" if (language := record(dataset).language) == "zh" else "word")
    default = replace(sizes.dmfl, word2vec=words, lambda_c=record(dataset).lambda_c)
    starts = {"stage1": {"logic_width": sizes.d_joint}, "bert": {"logic_text": sizes.texts[language],
              "logic_frozen": sizes.logic_frozen.get(language, 0)}}  # fmt: skip
    default = replace(default, **starts.get(changes.get("logic_init", default.logic_init), {}))
    detector, stage1, length = replace(default, **changes), None, sizes.dmfl_train
    if detector.parts in ("semantic_only", "text_cnn", "image"):  # without a logic chain
        detector = replace(detector, logic_init="scratch", logic_text=None, logic_frozen=0)
        length = sizes.dmfl_semantic_train or length
    if not detector.reads_image:
        no_image = {"image_layers": 0, "image_components": None, "image_cls": False, "image_positions": False}
        detector = replace(detector, image=None, **no_image)
    if (detector.reads_image and not detector.image) or detector.logic_init == "stage1":
        stage1 = stage1_of(settings, dataset, corpus_seed=corpus_seed)
    return RunConfig(
        model="dmfl", variant=variant, seed=seed, corpus_seed=corpus_seed, stage1=stage1, detector=detector,
        train=replace(length, **(train or {})), **fields_of(settings, dataset, detector.reads_image),
    )  # fmt: skip


def dmfl_main(settings: Settings) -> list[RunConfig]:
    """The full model per dataset and seed (D-E1)."""
    return [dmfl(settings, dataset, seed) for dataset in settings.datasets for seed in settings.seeds]


DMFL_VARIANTS: dict[str, dict[str, Any]] = {
    "TB": {"parts": "logic_only", "alignment": "none"},
    "TL": {"parts": "semantic_only"},
    "A": {"alignment": "none"},
    "ATT": {"fusion": "weighted_sum"},
    "TCNN": {"parts": "text_cnn", "alignment": "none"},
    "TTRAS": {"parts": "text_transformer", "alignment": "none"},
    "I": {"parts": "image", "alignment": "none"},
}
# ours: A takes the maps of Eqs 15 and 16 away with the loss, this does not
UNALIGNED = {"lambda_a=0": {"lambda_a": 0.0}}


def dmfl_ablations(settings: Settings) -> list[RunConfig]:
    """The seven variants of §6.2 (D-E2), and the control that keeps the maps of the alignment without its loss."""
    variants = DMFL_VARIANTS | ({} if is_small_demo(settings) else UNALIGNED)
    return [
        dmfl(settings, dataset, seed, name, **changes)
        for dataset in swept(settings)
        for name, changes in variants.items()
        for seed in settings.seeds
    ]


def dmfl_loss_weights(settings: Settings, which: str) -> list[RunConfig]:
    """λ_c or λ_a, the other at the paper's value (D-E3, D-E4; choice C21)."""
    few = replace(settings, seeds=loss_weight_seeds(settings))
    return _sweep(few, dmfl, which, lambda _: loss_weights(settings))


def dmfl_heads(settings: Settings) -> list[RunConfig]:
    """Heads of the cross-modal attention (D-E5, Fig 9)."""
    return _sweep(settings, dmfl, "n_heads", lambda _: points(settings).n_heads)


# --- baselines and bounds ---------------------------------------------------------------------------

BASELINES = ("majority", "tfidf_lr", "surface_lr", "text_lr", "image_lr", "text_image_lr", "relevance_lr")
OF_WORDS = ("majority", "tfidf_lr", "surface_lr", "text_forest")  # read no encoder and no stage 1
OF_TEXTS = (*OF_WORDS, "text_lr")  # read no picture
ON_FEATURES = ("text_lr", "image_lr", "text_image_lr")


def baseline(settings: Settings, dataset: str, kind: str, protocol: str = "") -> RunConfig:
    """One deterministic row, with no more than it reads: rows on frozen text their encoder, where the profile has one;
    rows on towers that stage 1 trains, on pictures or on relevance the dataset's stage 1."""
    about = fields_of(settings, dataset, kind not in OF_TEXTS)
    sizes = sizes_of(settings.profile, dataset)
    tower = sizes.texts[about["language"]]
    text = tower if kind == "text_lr" and tower.kind == "frozen" else None
    stage1 = None if kind in OF_WORDS or text else stage1_of(settings, dataset)
    about["protocol"] = protocol or about["protocol"]
    detector = BaselineConfig(kind, sizes.strengths if kind in ON_FEATURES else None, text)
    return RunConfig(model="baseline", variant=kind, stage1=stage1, detector=detector, **about)


def baselines(settings: Settings) -> list[RunConfig]:
    """What a user would try first: deterministic rows, one run each; on corpora of texts those that read texts."""
    return [baseline(settings, dataset, kind) for dataset in settings.datasets for kind in BASELINES
            if record(dataset).pictures or kind in OF_TEXTS]  # fmt: skip


def _sweep(settings: Settings, make: Any, name: str, values: Callable[[str], tuple]) -> list[RunConfig]:
    """One run per dataset, value of that dataset, and seed; the default value is always among them and is the default
    run, trained once for every sweep."""
    runs = []
    for dataset in swept(settings):
        default = getattr(make(settings, dataset).detector, name)
        for value in sorted({*values(dataset), default}):
            variant = "default" if value == default else f"{name}={value}"
            runs += [make(settings, dataset, seed, variant, **{name: value}) for seed in settings.seeds]
    return runs


def _named(settings: Settings, language: str, chosen: tuple[int, ...]) -> str:
    """Folder name of a set of receptive fields; runs of one language carry its name."""
    return of_language(settings, language, "fields-" + "-".join(map(str, chosen)))


def of_language(settings: Settings, language: str, name: str) -> str:
    """Folder name of a stage-1 variant: where languages are pretrained one by one, each has its own."""
    _, languages = STAGE1[settings.profile][language]
    return name if len(languages) > 1 else f"{name}-{language}"
