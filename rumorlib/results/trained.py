"""Detectors as their runs left them: weights from the run's folder, trained again where this machine lacks them."""

from __future__ import annotations

import pandas as pd

from rumorlib.training import dmfl_runs
from rumorlib.results import reports
from rumorlib.training import micc_runs
from rumorlib.config import RunConfig
from rumorlib.config import Settings
from rumorlib.data.batches import PostTensors
from rumorlib.models.dmfl import DMFL
from rumorlib.models.micc import MICC


def micc(config: RunConfig, settings: Settings) -> tuple[MICC, PostTensors, pd.DataFrame]:
    """The trained MICC of a run, in evaluation mode, and its corpus: as tensors it reads, and as a posts table.

    Raises: as `results.run_or_load`; with train="none" runs.MissingRun where the weights of the run or of its stage 1
        are not on this machine.
    """
    from safetensors.torch import load_file

    report = reports.run_or_load(config, settings, checkpoint=True)
    stage1 = reports.run_or_load(config.stage1, settings, checkpoint=True)
    model, tensors, posts = micc_runs.on_posts(config, settings, stage1.checkpoint())
    model.load_state_dict(load_file(report.checkpoint()))
    return model.eval(), tensors, posts


def dmfl(config: RunConfig, settings: Settings, at_start: bool = False) -> tuple[DMFL, PostTensors, pd.DataFrame]:
    """The trained DMFL of a run, in evaluation mode, and its corpus: as tensors it reads, and as a posts table.

    Args: at_start: with the weights it started from instead. Raises: as `micc`.
    """
    from safetensors.torch import load_file

    report = reports.run_or_load(config, settings, checkpoint=True)
    weights = reports.run_or_load(config.stage1, settings, checkpoint=True).checkpoint() if config.stage1 else None
    model, tensors, corpus, _ = dmfl_runs.on_posts(config, settings, weights)
    if not at_start:
        model.load_state_dict(load_file(report.checkpoint()))
    return model.eval(), tensors, corpus.posts
