"""Runs of the detectors of other authors that stand in the comparison tables (M-E2, D-E1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rumorlib.config import OTHERS, RunConfig, Settings, record
from rumorlib.config.by_corpus import fields_of, sizes_of
from rumorlib.config.profiles import shown_twice
from rumorlib.experiments import added, papers

CLASSES = {"safe": "SAFE", "carmn": "CARMN", "mfan": "MFAN", "eann": "EANN", "spotfake": "SpotFake", "muse": "MUSE"}
NAMED = ("safe", "carmn", "mfan")  # the baselines that DMFL's paper names


def rival(settings: Settings, dataset: str, model: str, seed: int = 0, **changes: Any) -> RunConfig:
    """One run; `changes` are options of the model's class. A variant name says what the corpus cannot give.

    Raises: SettingError: no such option, or a wrong value.
    """
    sizes, variant, options = sizes_of(settings.profile, dataset), "default", dict(changes)
    if model == "eann" and not record(dataset).events:
        options, variant = options | {"adversary": False}, "no-adversary"
    if model == "mfan" and not options.get("graph"):
        variant = "no-graph"
    path = f"rumorlib.models.others.{model}:{CLASSES[model]}"
    detector = added.one_file(settings, dataset, path, sizes.rivals.get(model, {}) | options, shipped=True)
    stage1 = papers.dmfl(settings, dataset).stage1 if "words" in detector.reads else papers.stage1_of(settings, dataset)
    return RunConfig(
        model=model, variant=variant, seed=seed, stage1=stage1, detector=detector, train=sizes.rivals_train,
        **fields_of(settings, dataset),
    )  # fmt: skip


def main(settings: Settings) -> list[RunConfig]:
    """The rivals of every corpus and seed, and MICC on one scale of stage 1 (MICC-SCLIP). Demo's reduced grid has the
    rivals in English alone: in Chinese, on the same scenes, they stand where they stand in English."""
    runs = []
    for dataset in shown_twice(settings):
        for seed in settings.few.seeds:  # seed by seed: its word vectors are trained once
            runs += [rival(settings, dataset, model, seed) for model in OTHERS]
            if settings.grid == "full" and record(dataset).replies:
                runs.append(rival(settings, dataset, "mfan", seed, graph=True))
    return runs + single_scale(settings) + of_clip(settings)


def of_clip(settings: Settings) -> list[RunConfig]:
    """The row CLIP: a logistic regression on both of its towers, where its weights lie."""
    found = [(papers.baseline(settings, name, "text_image_lr"), papers.clip(settings, name)) for name in
             shown_twice(settings)]  # fmt: skip
    return [replace(row, variant="clip", stage1=own) for row, own in found if own]


def single_scale(settings: Settings) -> list[RunConfig]:
    """The ablation "MICC-SCLIP" (M-E6) as a row of the main tables: on CLIP, or where its weights do not lie, on one
    scale of our own, which is not called CLIP."""
    return [run for run in papers.micc_ablations(settings.few) if run.variant.startswith("fields-")]
