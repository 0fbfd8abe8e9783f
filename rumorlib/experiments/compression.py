"""Runs of MICC made smaller: shortened numbers, pruned weights, one scale, a student."""

from __future__ import annotations

from dataclasses import replace

from rumorlib.config import CompressionConfig, DistillationConfig, RunConfig, Settings
from rumorlib.config.profiles import first_datasets, is_small_demo
from rumorlib.experiments.papers import fields, micc, sclip_variants

COMPRESSIONS = {
    "fp32": CompressionConfig(), "bf16": CompressionConfig("bf16"), "int8": CompressionConfig("int8"),
    "pruned-50": CompressionConfig(pruned=0.5), "pruned-80": CompressionConfig(pruned=0.8),
}  # fmt: skip
FEW = ("fp32", "int8", "pruned-80")


def compression_runs(settings: Settings) -> list[RunConfig]:
    """Per corpus of `first_datasets` and seed: MICC compressed five ways, and its finer scale alone, taught by labels
    or by the two-scale model. Our fix of the fusion's input ("product") and, on the full grid, the literal model. A
    first look has int8, the strongest pruning and the finer scale.
    """
    made = []
    for dataset in first_datasets(settings):
        for seed in settings.seeds:
            for how in ("product", "concat") if settings.grid == "full" else ("product",):
                both, single, student = micc_sizes(settings, dataset, seed, how)
                few = is_small_demo(settings)
                made += [compressed(both, name) for name in (FEW if few else COMPRESSIONS)]
                made += [compressed(single, "fp32")]
                made += [] if few else [compressed(student, "fp32"), compressed(student, "int8")]
    return made


def micc_sizes(settings: Settings, dataset: str, seed: int, how: str) -> tuple[RunConfig, RunConfig, RunConfig]:
    """MICC on both scales, on the finer one alone, and on that one as the first one's student."""
    fine = fields(settings, 32)
    alone = sclip_variants(replace(settings, datasets=(dataset,)))  # the run that M-E3 trains anyway
    chosen = next(config for config in alone if config.sclip.vision.receptive_fields == fine)
    name, ending = ("default", "") if how == "concat" else (how, f"-{how}")
    both = micc(settings, dataset, seed, name, classifier_input=how)
    single = micc(settings, dataset, seed, chosen.variant + ending, stage1=chosen, classifier_input=how)
    student = replace(single, kind="distil", variant=f"distilled-{single.variant}", parent=both,
                      distillation=DistillationConfig())  # fmt: skip
    return both, single, student


def compressed(config: RunConfig, name: str) -> RunConfig:
    """The run that compresses a finished one, by a name of COMPRESSIONS; "fp32" changes nothing."""
    return replace(
        config, kind="compress", variant=f"{config.variant}-{name}", parent=config,
        detector=replace(config.detector, freeze="nothing"), train=replace(config.train, epochs=0),
        compression=COMPRESSIONS[name], distillation=None,
    )  # fmt: skip
