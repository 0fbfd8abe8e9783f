"""What all runs cost: planned by the experiments, and what the finished ones took (p_6)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.config import RunConfig, Settings
from rumorlib.experiments import benches, rivals
from rumorlib.studies.cost import lightweight
from rumorlib.studies.explanations import gaps, readings
from rumorlib.studies.protocol import anatomy, counterfactuals, selection
from rumorlib.studies.scores import pretraining, text_only

MAIN = (experiments.stage1_runs, experiments.micc_main, experiments.baselines, experiments.dmfl_main, rivals.main,
        text_only.runs, text_only.word2vec_runs, readings.runs, gaps.alignment_runs)  # fmt: skip
SWEPT = (
    experiments.sclip_variants, experiments.micc_ablations, experiments.micc_receptive_fields, experiments.micc_top_k,
    experiments.micc_fusion_weight, experiments.micc_grid, pretraining.micc_stage1,
    pretraining.sclip_pictures, pretraining.micc_known, experiments.dmfl_ablations,
    experiments.dmfl_heads, *(partial(experiments.dmfl_loss_weights, which=w) for w in ("lambda_c", "lambda_a")),
    lightweight.runs,
)  # fmt: skip


def planned(profile: str, grid: str) -> dict[str, RunConfig]:
    """Every run of the comparisons, ablations, sweeps and of notebook 09, with what it starts from, by its folder; the
    second steps of loss weight searches, which the first decide, are left out."""
    main, swept = (cfg.resolve(profile, train="none", grid=grid, sweep=sweep) for sweep in (False, True))
    todo = [config for make in MAIN for config in make(main)] + [config for make in SWEPT for config in make(swept)]
    todo += on_benches(main)
    every: dict[str, RunConfig] = {}
    while todo:
        config = todo.pop(0)
        every.setdefault(config.path.as_posix(), config)
        todo += [needed for needed in (config.stage1, config.parent) if needed]
    return every


def on_benches(settings: Settings) -> Iterator[RunConfig]:
    """The runs of notebook 09."""
    if chosen := selection.dataset(settings):
        yield from selection.runs(settings, chosen)
        yield from selection.trained_runs(settings, chosen)
    for dataset in benches.of_anatomy(settings):
        for configs in anatomy.fits(settings, dataset).values():
            yield from configs
        yield from anatomy.dose_runs(settings, dataset).values()
    for dataset in benches.with_pictures(settings):
        yield from counterfactuals.runs(settings, dataset)


def table(profile: str) -> pd.DataFrame:
    """Runs and time per model and corpus, and in all.

    Returns: model, dataset, planned (on the reduced grid), done (of these), minutes (of a finished run, median), most
        (the longest), hours (of all finished ones), planned_full (on the full grid), hours_full (those, at the median
        of the finished; empty where none is).
    """
    reduced, full = (planned(profile, grid) for grid in cfg.GRIDS)
    rows: dict[tuple[str, str], dict[str, list]] = {}
    for path, config in (reduced | full).items():
        row = rows.setdefault((config.model, config.dataset), {"reduced": [], "full": [], "minutes": []})
        row["full"].append(path)
        if path in reduced:
            row["reduced"].append(path)
            row["minutes"] += _minutes(config)
    shown = pd.DataFrame([_row(*names, **row) for names, row in sorted(rows.items())])
    total = shown[["planned", "done", "hours", "planned_full", "hours_full"]].sum()
    total = {"model": "all", "dataset": "all"} | {
        name: int(v) if "hours" not in name else v for name, v in total.items()
    }
    return pd.concat([shown, pd.DataFrame([total])], ignore_index=True)


def _minutes(config: RunConfig) -> list[float]:
    """What a finished run took, [] of one that is not there."""
    found = results.stored(config)
    return [found[0]["time_s"] / 60] if found else []


def _row(model: str, dataset: str, reduced: list, full: list, minutes: list) -> dict[str, object]:
    median = float(np.median(minutes)) if minutes else np.nan
    return {"model": model, "dataset": dataset, "planned": len(reduced), "done": len(minutes), "minutes": median,
            "most": max(minutes, default=np.nan), "hours": sum(minutes) / 60, "planned_full": len(full),
            "hours_full": len(full) * median / 60}  # fmt: skip
