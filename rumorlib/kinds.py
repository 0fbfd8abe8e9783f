"""What each kind of run does: one table from a config's kind and model to the function that makes it.

A config says everything that decides its run, so `run` in any process, given config.json alone, gives the same result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from rumorlib import bench_fits, computation, content, derived, detectors, exchanges, inputs, training
from rumorlib import run as runner
from rumorlib.config import RunConfig, Settings
from rumorlib.run import Outcome

# Each takes the config and the settings, then the weights of `config.stage1` and of `config.parent`, where it has them.
BUILDERS: dict[tuple[str, str], Callable[..., Outcome]] = {
    ("train", "sclip"): runner.sclip,
    ("train", "micc"): runner.micc,
    ("train", "dmfl"): runner.dmfl,
    ("train", "baseline"): runner.baseline,
    ("train", "detector"): runner.plugin,
    **{("train", name): runner.rival for name in detectors.BUILDERS},
    ("distil", "micc"): derived.distilled,
    ("compress", "micc"): derived.compressed_run,
    ("exchange", "micc"): exchanges.of_micc,
    ("exchange", "bench"): exchanges.of_regression,
    ("anatomy", "bench"): bench_fits.anatomy,
    ("dose", "bench"): bench_fits.dose,
    ("select", "bench"): bench_fits.select,
}


def run(config: RunConfig, settings: Settings, stage1: Path | None = None, parent: Path | None = None) -> Outcome:
    """Make one run, of any kind.

    Args:
        settings: where the data are.
        stage1, parent: weights of `config.stage1` and `config.parent`, where it has them.
    Returns: its outcome; facts say what it belongs to (`content`) and what it computes (`computation`).
    Raises: ValueError: no such kind of run of this model.
    """
    if (config.kind, config.model) not in BUILDERS:
        listed = ", ".join(f"{kind} {model}" for kind, model in BUILDERS)
        raise ValueError(f"there is no run of kind {config.kind!r} of model {config.model!r}; there are {listed}")
    training.seed_everything(config.seed)
    weights = [path for path, needed in ((stage1, config.stage1), (parent, config.parent)) if needed]
    outcome = BUILDERS[config.kind, config.model](config, settings, *weights)
    facts = {"content": content.of_run(config, settings), "computation": computation.fingerprint(config)}
    if config.model != "sclip":
        corpus = inputs.corpus_of(config, settings)
        facts |= {"label_means": corpus.label_means, "split_file": corpus.split_file if config.model != "bench" else ""}
    return dataclasses.replace(outcome, facts=outcome.facts | facts)
