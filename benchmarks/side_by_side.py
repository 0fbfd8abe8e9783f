"""How much two workers save: python benchmarks/side_by_side.py

Eight short runs of DMFL's text CNN on drawn scenes, or (--demo) all runs of `make demo`, made by one worker and by as
many as there are cores, each with one thread and in a new folder, in turns. Printed: the ratio one / several of the
wall time, the start of the workers included; and whether the runs are the same to the last digit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.config import RunConfig, Settings
from rumorlib.experiments import plan
from rumorlib.results import making


def runs(settings: Settings, epochs: int) -> dict[str, RunConfig]:
    """Eight seeds of one text CNN."""
    changes = experiments.DMFL_VARIANTS["TCNN"]
    made = [experiments.dmfl(settings, "demo-en", seed, "TCNN", train={"epochs": epochs, "patience": None}, **changes)
            for seed in range(8)]  # fmt: skip
    return {one.path.as_posix(): one for one in (replace(each, n_train=1000) for each in made)}


def timed(todo: dict[str, RunConfig], settings: Settings, workers: int, folder: Path) -> tuple[float, list[str]]:
    """Seconds, and fingerprints of the runs."""
    os.environ["RUMORLIB_OUTPUT"] = str(folder)
    start = time.perf_counter()
    making.make(todo, settings, workers)
    took = time.perf_counter() - start
    return took, [results.run_or_load(one, settings).fingerprint for one in todo.values()]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20, help="of the short runs")
    parser.add_argument("--demo", action="store_true", help="all runs of the demo: minutes a round")
    chosen = parser.parse_args(argv)
    settings, workers = cfg.resolve("demo", ["demo-en"]), os.cpu_count() or 1
    todo, ratios, same = runs(settings, chosen.epochs), [], True
    if chosen.demo:
        settings = cfg.resolve("demo")
        asked, weights = plan.of_notebooks(plan.OF_NOTEBOOK, settings, cfg.resolve("demo", sweep=True))
        with tempfile.TemporaryDirectory() as empty:
            os.environ["RUMORLIB_OUTPUT"] = empty
            todo = making.missing(asked, settings, weights)
    for _ in range(chosen.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            one, alone = timed(todo, settings, 1, Path(scratch, "one"))
            several, together = timed(todo, settings, workers, Path(scratch, "several"))
        ratios.append(one / several)
        same = same and alone == together
    said = f"min {min(ratios):.2f}, max {max(ratios):.2f}, n {len(ratios)}"
    print(f"1 worker / {workers} workers: {statistics.median(ratios):.2f} ({said}); same runs: {same}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
