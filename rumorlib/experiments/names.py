"""What runs and their corpora are called in tables and figures: one name each, wherever they stand."""

from __future__ import annotations

from dataclasses import replace

from rumorlib.config import RunConfig, printed
from rumorlib.config.profiles import SIZES
from rumorlib.experiments.compression import COMPRESSIONS

NAMES: dict[tuple[str, str], str] = {  # (model, variant) -> name, the papers' where they have one
    ("sclip", "default"): "SCLIP",
    ("sclip", "default-en"): "SCLIP, en",
    ("sclip", "default-zh"): "SCLIP, zh",
    ("micc", "default"): "MICC (literal)",
    ("micc", "product"): "MICC (product input)",
    ("micc", "relevance"): "MICC (relevance input)",
    ("micc", "towers"): "MICC (towers input)",
    ("micc", "A-gamma"): "MICC-A/γ",
    ("micc", "A-delta"): "MICC-A/δ",
    ("micc", "Ms-alpha"): "MICC-Ms/α",
    ("micc", "Ms-beta"): "MICC-Ms/β",
    ("micc", "random-k"): "MICC, Random-K",
    ("micc", "bottom-k"): "MICC, Bottom-K",
    ("micc", "saliency-k"): "MICC, saliency-K",
    ("micc", "marked-top-k"): "MICC, marks in train",
    ("micc", "marked-A-gamma"): "MICC-A/γ, marks in train",
    ("micc", "marked-unfrozen-top-k"): "MICC, marks in train, tower too",
    ("micc", "marked-unfrozen-A-gamma"): "MICC-A/γ, marks in train, tower too",
    ("micc", "text-top"): "MICC, text encoder trained on",
    ("micc", "end-to-end"): "MICC, both encoders trained on",
    ("micc", "stage-1-whitened"): "MICC, whitened text",
    ("micc", "no-stage-1"): "MICC without stage 1",
    ("dmfl", "lambda_a=0"): "DMFL, maps without loss",
    ("micc", "relevance-tokens"): "MICC (relevance input, heads trained on)",
    ("micc", "recommended"): "recommended (TF-IDF, DMFL, MICC)",
    ("mfan", "no-graph"): "MFAN (no graph)",
    ("eann", "no-adversary"): "EANN (no adversary)",
    ("spotfake", "default"): "SpotFake",
    ("muse", "default"): "MUSE-style similarities",
    ("baseline", "majority"): "majority",
    ("baseline", "tfidf_lr"): "TF-IDF + LR",
    ("baseline", "surface_lr"): "surface counts + LR",
    ("baseline", "text_lr"): "LR, frozen text",
    ("baseline", "image_lr"): "LR, frozen image",
    ("baseline", "text_image_lr"): "LR, frozen text and image",
    ("baseline", "relevance_lr"): "LR on relevance",
    ("baseline", "clip"): "LR on CLIP",
    ("baseline", "text_forest"): "trees on text, by heart",
    ("baseline", "image_forest"): "trees on frozen image, by heart",
}


def model_name(config: RunConfig) -> str:
    """Printed name of a run's model; of an unlisted variant by its setting, of a detector of one file by its class.

    MICC on one scale is the paper's MICC-SCLIP; unless CLIP's weights are in it (C10) its receptive field is named. A
    compressed run has its scales and what was cut; a run whose inputs are exchanged or damaged, or that lacks heads,
    the name of what reads them.
    """
    model, variant = config.model, config.variant
    if (usual := usual_variant(config)) != variant:
        return f"{model_name(replace(config, variant=usual))}, longer"
    if config.kind in ("exchange", "damage", "heads"):
        return model_name(config.parent) if config.parent else NAMES["baseline", config.detector.kind]
    if config.kind == "compress":
        taught = ", distilled" * (config.parent.kind == "distil")
        return f"{paper_fields(config)}{taught}, {next(name for name in COMPRESSIONS if variant.endswith(f'-{name}'))}"
    if model == "micc" and variant.startswith("fields-"):
        if config.stage1.sclip.head == "clip":
            return "MICC-SCLIP (CLIP)"
        single = len(config.stage1.sclip.vision.receptive_fields) == 1
        return f"MICC{'-SCLIP, single scale' * single} {paper_fields(config)}"
    if model == "detector":
        return variant
    unlisted = f"MICC, {variant}" if model == "micc" else "-".join([model.upper(), variant]).removesuffix("-default")
    return NAMES.get((model, variant), unlisted)


def usual_variant(config: RunConfig) -> str:
    """A detector's variant without what says that it was trained as long as dev improves: longer-A-gamma is A-gamma."""
    if config.variant == "longer":
        return "default"
    return config.variant.removeprefix("longer-") if config.model != "sclip" else config.variant


def corpus_name(config: RunConfig) -> str:
    """Printed name of a run's corpus: another corpus seed, split or rule for missing pictures is said."""
    marks = [f"corpus {config.corpus_seed}"] * bool(config.corpus_seed) + [config.protocol]
    marks += [f"{config.on_missing_image} missing"] * (config.on_missing_image != "drop")
    marks += [f"{config.n_train} train posts"] * bool(config.n_train)
    what = "posts" if config.train_on == "marked" else "pictures"
    marks += [f"trained on {config.train_on} {what}"] * (config.train_on != "all")
    said = ", ".join(filter(None, marks))
    return f"{printed(config.dataset)} ({said})" if said else printed(config.dataset)


def paper_fields(config: RunConfig) -> str:
    """Receptive fields in the paper's units, e.g. "[32,64]" (drawn scenes are half as large)."""
    unit = SIZES[config.profile].scale_unit
    vision = (config.sclip or config.stage1.sclip).vision
    return "[" + ",".join(str(round(field / unit)) for field in vision.receptive_fields) + "]"
