"""What each kind of run does: one table from a config's kind and model to the function that makes it.

A config says everything that decides its run, so `run` in any process, given config.json alone, gives the same result.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from rumorlib import inputs
from rumorlib.config import OTHERS, RunConfig, Settings
from rumorlib.inputs import content
from rumorlib.training import (
    baseline_runs,
    bench_runs,
    checkpoints,
    compression_runs,
    computation,
    detector_runs,
    dmfl_runs,
    exchange_runs,
    loop,
    micc_runs,
    sclip_runs,
)
from rumorlib.training.fitting import Outcome

# Each takes the config and the settings, then the weights of `config.stage1` and of `config.parent`, where it has them.
BUILDERS: dict[tuple[str, str], Callable[..., Outcome]] = {
    ("train", "sclip"): sclip_runs.run,
    ("train", "micc"): micc_runs.run,
    ("train", "dmfl"): dmfl_runs.run,
    ("train", "baseline"): baseline_runs.run,
    **{("train", name): detector_runs.run for name in ("detector", *OTHERS)},
    ("distil", "micc"): compression_runs.distilled,
    ("compress", "micc"): compression_runs.compressed_run,
    ("exchange", "micc"): exchange_runs.of_micc,
    ("exchange", "bench"): exchange_runs.of_regression,
    ("damage", "micc"): exchange_runs.of_damaged,
    ("heads", "dmfl"): exchange_runs.of_headless,
    ("anatomy", "bench"): bench_runs.anatomy,
    ("dose", "bench"): bench_runs.dose,
    ("select", "bench"): bench_runs.select,
    ("draws", "baseline"): baseline_runs.draws,
}


@contextlib.contextmanager
def _unchanged(place: checkpoints.Place | None) -> Iterator[None]:
    """Raises checkpoints.Changed: posts, pictures or weights are others at the end than at the beginning; whatever a
    reader says meanwhile comes of it."""
    if place is None:
        yield
        return
    _ = place.of
    try:
        yield
    except Exception:
        place.check()
        raise
    place.check()


def run(config: RunConfig, settings: Settings, stage1: Path | None = None, parent: Path | None = None) -> Outcome:
    """Make one run, of any kind.

    Args:
        settings: where the data are.
        stage1, parent: weights of `config.stage1` and `config.parent`, where it has them.
    Returns: its outcome; facts say what it belongs to (`content`) and what it computes (`computation`).
    Raises: ValueError: no such kind of run of this model. checkpoints.Changed: its data changed meanwhile.
    """
    if (config.kind, config.model) not in BUILDERS:
        listed = ", ".join(f"{kind} {model}" for kind, model in BUILDERS)
        raise ValueError(f"there is no run of kind {config.kind!r} of model {config.model!r}; there are {listed}")
    weights = [path for path, needed in ((stage1, config.stage1), (parent, config.parent)) if needed]
    with loop.one_thread(), _unchanged(checkpoints.place()):
        loop.seed_everything(config.seed)
        outcome = BUILDERS[config.kind, config.model](config, settings, *weights)
        facts = {"content": content.of_run(config, settings), "computation": computation.fingerprint(config)}
        if config.model != "sclip":
            corpus = inputs.corpus_of(config, settings)
            one_split = config.model != "bench" and config.kind != "draws"
            facts |= {"label_means": corpus.label_means, "split_file": corpus.split_file if one_split else ""}
    return dataclasses.replace(outcome, facts=outcome.facts | facts)
