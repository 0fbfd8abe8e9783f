"""B11: what a sweep of 10,000 runs costs in files, memory, and time to plan and to tabulate, against ten of 1,000.

Reports are made, of 100 test posts each, ten seeds to a variant; each size in a process of its own. Times are CPU
seconds of one core. A figure of 1 says that the cost grows with the number of runs and no faster.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import harness
import numpy as np
import pandas as pd

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.config import RunConfig, Settings
from rumorlib.inputs import content
from rumorlib.metrics import evaluation
from rumorlib.results import circumstances, making, reports, runs
from rumorlib.studies.scores import comparison
from rumorlib.training import computation, fitting

SEEDS, POSTS = 10, 100  # of a variant; of a run's test split
FIGURES = {"files": ("files", "files, not ms"), "disk_mib": ("disk", "MiB, not ms"),
           "memory_mib": ("peak memory of tabulation", "MiB, not ms"), "plan_s": ("planning", "CPU ms"),
           "table_s": ("reading and tabulating", "CPU ms")}  # fmt: skip


def configs(settings: Settings, n: int) -> Iterator[RunConfig]:
    """n runs of a detector, SEEDS of each variant."""
    one = experiments.dmfl(settings, "demo-en")
    for number in range(n):
        yield replace(one, variant=f"v{number // SEEDS}", seed=number % SEEDS)


def write(asked: Sequence[RunConfig], settings: Settings) -> None:
    """Made runs, as a training leaves them but for weights."""
    chance, before = np.random.default_rng(0), (os.fsync, circumstances.git_state, circumstances.library_versions)
    posts = pd.DataFrame({"post_id": [f"p{i}" for i in range(POSTS)], "label": np.arange(POSTS) % 2, "split": "test",
                          "event": "", "image_group": [f"g{i}" for i in range(POSTS)]})  # fmt: skip
    facts = {"content": content.of_run(asked[0], settings), "computation": computation.fingerprint(asked[0]),
             "n_parameters": 1, "best_epoch": 1, "faults": []}  # fmt: skip
    history = pd.DataFrame({"epoch": range(1, 4), "step": range(10, 31, 10), "train_loss": 0.7, "dev_loss": 0.7})
    # neither the disk's time nor git's and pip's is what is measured
    os.fsync, circumstances.git_state, circumstances.library_versions = (lambda _: None), dict, dict
    metrics = {"test": evaluation.frame_metrics(evaluation.with_prob(posts.assign(log_odds=posts["label"] - 0.5)))}
    try:
        for one in asked:
            frame = posts.assign(log_odds=chance.normal(posts["label"] - 0.5, 1).round(4))
            runs.write_run(reports.run_folder(one), one, fitting.Outcome(metrics, history, frame, facts=facts), 1.0)
    finally:
        os.fsync, circumstances.git_state, circumstances.library_versions = before


def child(n: int) -> dict[str, float]:
    """Write, plan and tabulate n runs in the output folder of this process."""
    settings = cfg.resolve("demo", ["demo-en"])
    asked = list(configs(settings, n))
    write(asked, settings)
    making.missing({asked[0].path.as_posix(): asked[0]}, settings)  # what a process does once, it has done
    found = {path: path.stat().st_size for path in (cfg.output_root() / "results").rglob("*") if path.is_file()}
    begun = time.process_time()
    assert not making.missing({one.path.as_posix(): one for one in asked}, settings)
    making.levels({one.path.as_posix(): one for one in asked})
    planned = time.process_time()
    table = comparison.main_table([results.run_or_load(one, settings) for one in asked])
    assert table["variant"].nunique() == n // SEEDS
    return {"files": len(found), "disk_mib": sum(found.values()) / 2**20, "plan_s": planned - begun,
            "table_s": time.process_time() - planned,
            "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10}  # fmt: skip


def measured(n: int) -> dict[str, float]:
    """`child` in a new process and an empty output folder."""
    with tempfile.TemporaryDirectory() as place:
        told = os.environ | {"RUMORLIB_OUTPUT": place, "RUMORLIB_CACHE": str(Path(place, "cache"))}
        command = [sys.executable, __file__, "--child", str(n)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=told)
    return json.loads(done.stdout.splitlines()[-1])


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per figure."""
    parser = harness.parser(__doc__)
    parser.add_argument("--child", type=int, help="used by the benchmark itself")
    chosen = parser.parse_args(argv)
    if chosen.child:
        print(json.dumps(child(chosen.child)))
        return 0
    most = 100 if chosen.quick else 10_000
    few, many = measured(most // 10), measured(most)
    rows = []
    for name, (what, unit) in FIGURES.items():
        value = many[name] * (1000 if name.endswith("_s") else 1)
        of = 1 if name == "memory_mib" else 10  # most of the memory is libraries
        ratio = of * few[name] / many[name]
        print(f"{most:,} runs, {what}: {value:,.0f} {unit}, {ratio:.2f} times less than {of} x {most // 10:,}")
        peer = f"{'' if of == 1 else 'ten times '}a tenth of them"
        rows.append({"what": f"{most:,} runs: {what} ({unit})", "peer": peer, "ours_ms": value,
                     "times_faster": ratio, "low": float("nan"), "high": float("nan"), "rounds": 1,
                     "threads": 1})  # fmt: skip
    if chosen.record and not chosen.quick:
        harness.record("B11", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
