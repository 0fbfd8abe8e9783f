"""The papers to the letter, on their own posts: readings that the main rows leave out, and what claims still ask for.

A reading changes one thing of the detector it stands beside. Seeds: the first for DMFL, whose runs take minutes, three
for MICC.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rumorlib.config import DMFLConfig, RunConfig, Settings, VisionConfig, record, resolve
from rumorlib.config.by_corpus import sizes_of
from rumorlib.experiments import added, cross_validation, own_posts, papers, rivals

POOLED = {"granularity": "pooled"}
# Reading of DMFL -> the row it stands beside, and what it changes of it.
OF_DMFL: dict[str, tuple[str, dict[str, Any]]] = {
    "pooled": ("default", POOLED),  # Eqs 5-6
    "attention-alone": ("default", {"attention_ffn": False}),  # Eqs 11, 12, 18 as printed
    "text-asks": ("default", {"swap_query": True}),  # Eq 12 in its words
    "one-block": ("default", {"share_attention": True}),
    "positions": ("default", {"image_positions": True}),  # Eq 7
    "normed": ("default", {"attention_norm": True}),  # ours: can attention learn where rows are normed?
    "TB": ("default", papers.DMFL_VARIANTS["TB"]),
    "TB-cls": ("TB", papers.DMFL_VARIANTS["TB"] | POOLED),  # [CLS] for the chain, §4.5
    "TTRAS-cls": ("TTRAS", papers.DMFL_VARIANTS["TTRAS"] | POOLED),
    "d-300": ("default", {"d_model": 300, "logic_width": 300, "logic_heads": 6, "image_components": None}),
    "image-top": ("default", {"image_layers": 2, "image_components": None}),  # Eqs 7-10 learn: two stages
    "own-vit": ("default", cross_validation.OWN_VIT),
}
# Encoders below SCLIP learn with the detector (stage 2 end to end): last layers of the text's, and on the first corpus,
# as a run takes a quarter of an hour, of the picture's. A thirtieth of the rate of new layers, as fine-tuning has it;
# nothing was tuned.
TEXT_TOP: dict[str, Any] = {"text_layers": 2}
BOTH_TOPS: dict[str, Any] = {"freeze": "nothing", "text_layers": 2, "image_layers": 2}
SLOWLY = {"micc": 0.03, "dmfl": 0.1}  # tower_lr_scale: 3e-5 in either model
REMOVED: dict[str, dict[str, Any]] = {
    "A-gamma": {"alignment": "all_patches"}, "Ms-alpha": {"fusion": "concat"}, "Ms-beta": {"fusion": "mean"},
}  # fmt: skip
# Eq 24's relevance at its other two scales (C42), at the paper's lambda and where relevance alone decides.
SCALES: dict[str, dict[str, Any]] = {
    "rho-temperature": {"relevance_scale": "temperature"},
    "rho-product": {"relevance_scale": "product"},
    "fusion_weight=0.0": {"fusion_weight": 0.0},
    "rho-temperature-alone": {"relevance_scale": "temperature", "fusion_weight": 0.0},
    "rho-product-alone": {"relevance_scale": "product", "fusion_weight": 0.0},
}
TOP_K, LAMBDAS = (1, 4, 8), (0.3, 0.5, 0.8, 1.0)  # beside the papers' 2 and 0.65
RECURRENT = ("GRU", "HAN")


def _posts(settings: Settings) -> list[str]:
    return [dataset for dataset in settings.datasets if record(dataset).kind == "posts"]


def dmfl(settings: Settings) -> list[RunConfig]:
    """DMFL's readings, and the rows they stand beside."""
    rows = {"default": {}, "TTRAS": papers.DMFL_VARIANTS["TTRAS"]} | {name: of for name, (_, of) in OF_DMFL.items()}
    made = [papers.dmfl(settings, dataset, settings.seeds[0], name, **_fitting(how))
            for dataset in _posts(settings) for name, how in rows.items()]  # fmt: skip
    return [_slowly(run) if run.variant == "image-top" else run for run in made]


def _slowly(run: RunConfig) -> RunConfig:
    return replace(run, train=replace(run.train, tower_lr_scale=SLOWLY[run.model]))


def _fitting(how: dict[str, Any]) -> dict[str, Any]:
    known = DMFLConfig.__dataclass_fields__
    return {name: value for name, value in how.items() if name in known}


def stage1(settings: Settings, dataset: str) -> dict[str, RunConfig]:
    """Other stage 1s: a Transformer over patches and MLP heads (M2, M4, M5); convolutions of 32 and 64 pixels learned
    from scratch on the photographs (M3), both until dev loss has not gained for three passes; and the default on text
    features that are whitened first (ours)."""
    vision = sizes_of(settings.profile, dataset).vision
    towers: dict[str, dict[str, Any]] = {
        "transformer": {"vision": replace(vision, depth=1), "head": "mlp", "dropout": 0.3},
        "convolutions": {"vision": VisionConfig(width=256, depth=2, n_heads=4)},
    }
    language, made = record(dataset).language, {}
    for name, changes in towers.items():
        run = papers.stage1_of(settings, dataset, variant=papers.of_language(settings, language, name), **changes)
        made[name] = replace(run, train=replace(run.train, epochs=8, captions_per_image=2))
    return made | {"whitened": own_posts.whitened(settings, dataset)}


def micc(settings: Settings) -> list[RunConfig]:
    """The literal MICC, with Eq 24's relevance at other scales, with encoders that learn, and on other stage 1s."""
    runs = []
    for dataset in _posts(settings):
        runs += map(_slowly, papers.each_seed(settings, dataset, {"text-top": TEXT_TOP}))
        is_map = sizes_of(settings.profile, dataset).vision.kind == "feature_map"  # else its tower learns anyway
        if is_map and dataset == settings.datasets[0]:
            runs += map(_slowly, papers.each_seed(settings, dataset, {"end-to-end": BOTH_TOPS}))
        runs += papers.each_seed(replace(settings, datasets=(dataset,)), dataset, {"default": {}} | SCALES)
        for name, own in stage1(settings, dataset).items():
            runs += papers.each_seed(settings, dataset, {f"stage-1-{name}": {"stage1": own}})
    return runs


def swept(settings: Settings) -> list[RunConfig]:
    """K and lambda on both corpora: chosen on dev of one, scored on the other."""
    variants = {"default": {}} | {f"top_k={k}": {"top_k": k} for k in TOP_K}
    variants |= {f"fusion_weight={weight}": {"fusion_weight": weight} for weight in LAMBDAS}
    return [run for dataset in _posts(settings) for run in papers.each_seed(settings, dataset, variants)]


def without_inputs(settings: Settings) -> list[RunConfig]:
    """The literal MICC and those without a part of it, each asked without words and without pictures, too."""
    runs = []
    for dataset in _posts(settings):
        for run in papers.each_seed(settings, dataset, {"default": {}} | REMOVED):
            runs += [run, replace(run, kind="exchange", variant=f"{run.variant}-exchanged", parent=run)]
    return runs


def damaged(settings: Settings) -> list[RunConfig]:
    """The literal MICC, asked about damaged test posts."""
    runs = papers.micc_main(replace(settings, datasets=tuple(_posts(settings))))
    literal = [run for run in runs if run.variant == "default"]
    return [replace(run, kind="damage", variant="default-damaged", parent=run) for run in literal]


def headless(settings: Settings) -> list[RunConfig]:
    """DMFL asked without each of its heads."""
    runs = papers.dmfl_main(replace(settings, datasets=tuple(_posts(settings))))
    return [replace(run, kind="heads", variant="default-heads", parent=run) for run in runs]


def recurrent(settings: Settings) -> list[RunConfig]:
    """GRU and HAN of the related work."""
    return [added.detector(settings, dataset, f"rumorlib.models.others.recurrent:{name}", seed)
            for dataset in _posts(settings) for name in RECURRENT for seed in settings.seeds]  # fmt: skip


def readings(settings: Settings) -> list[RunConfig]:
    """Rows of the table of readings: of DMFL, of MICC's stage 1, and GRU and HAN."""
    return [*dmfl(settings), *micc(settings), *recurrent(settings)]


def asked(settings: Settings) -> dict[str, list[RunConfig]]:
    """What the statements rest on, by the words of `studies.scores.literal.claims`; the rest is `stored`."""
    found = _posts(settings)
    authors = [rivals.rival(settings, dataset, model, seed) for dataset in found for model in ("safe", "carmn")
               for seed in settings.seeds]  # fmt: skip
    exchanged = [run for run in without_inputs(settings) if run.kind == "exchange"]
    return {"micc": [*swept(settings), *(run for run in without_inputs(settings) if run.kind == "train")],
            "exchanged": exchanged, "damaged": damaged(settings), "others": authors,
            "headless": headless(settings)}  # fmt: skip


def stored(settings: Settings) -> dict[str, list[RunConfig]]:
    """DMFL over its heads and its loss weights, as notebook 06 swept them at laptop."""
    if settings.profile != "laptop":
        return {}
    sweep = own_posts.of_sweeps(resolve("laptop", train="none", sweep=True))
    found = {"heads": papers.dmfl_heads(sweep)}
    return found | {which: papers.dmfl_loss_weights(sweep, which) for which in ("lambda_c", "lambda_a")}


def every(settings: Settings) -> list[RunConfig]:
    """All of these runs, as notebook 12 asks for them."""
    own = own_posts.own(settings).few
    return [*readings(own), *(run for runs in asked(own).values() for run in runs)]
