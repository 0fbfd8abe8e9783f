"""What an accelerator gives: steps per second of stage 1, MICC and DMFL at the sizes of every profile, beside the CPU's
and beside the card's limit, which is measured in the same run; with --demo, `make demo` whole on both.

Inputs are made, of the widths and batch sizes that the profile's corpora have; a step is the training loop's own. The
limit is a product of two large square matrices in the same precision. On a machine without a GPU the CPU's rows alone
are measured, and that is said. `python benchmarks/accelerator.py --csv FILE` prints the table and writes it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import harness
import pandas as pd
import torch

from rumorlib import config as cfg
from rumorlib import experiments
from rumorlib.config import TrainConfig
from rumorlib.data.batches import CPU, device
from rumorlib.studies.cost import steps
from rumorlib.studies.cost.steps import Training, flops
from rumorlib.training import loop

MODELS = ("stage 1", "MICC", "DMFL")
PRECISIONS = {"cpu": ("fp32",), "cuda": ("fp32", "tf32", "bf16")}
SECONDS = 3.0  # a row is timed for about as long
COLUMNS = ["profile", "model", "device", "precision", "batch", "steps_per_s", "times_cpu", "tflops", "limit_tflops",
           "share_of_limit"]  # fmt: skip


# --- what is timed ------------------------------------------------------------------------------


def made(profile: str, model: str, batch: int | None = None) -> Training:
    """One of MODELS at the sizes of a profile. batch: posts or images in a step; None: the profile's."""
    settings = cfg.resolve(profile, train="none")
    dataset = settings.datasets[0]
    run = {"stage 1": lambda: experiments.micc(settings, dataset).stage1, "MICC": lambda: experiments.micc(
        settings, dataset), "DMFL": lambda: experiments.dmfl(settings, dataset)}[model]()  # fmt: skip
    return steps.made(run, batch)


# --- timing -------------------------------------------------------------------------------------


@contextmanager
def trained_on(where: torch.device) -> Iterator[None]:
    """The training loop on this device, whatever the machine has."""
    before, loop.device = loop.device, lambda: where
    try:
        yield
    finally:
        loop.device = before


def steps_per_s(one: Training, where: torch.device, precision: str, seconds: float) -> float:
    """Steps of the training loop in a second: as many as fill `seconds`, after a few to warm up."""
    train = replace(one.train, epochs=1, precision=precision, patience=None, steps=None, patience_steps=None)

    def took(n: int) -> float:
        start = time.perf_counter()
        loop.fit(one.model, one.batches(n, where), n, lambda: {"loss": 0.0}, train, 0, name="accelerator")
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        return time.perf_counter() - start

    with trained_on(where):
        took(1)
        once = took(1)
        n = max(1, min(1000, round(seconds / once)))
        return n / took(n)


def limit(where: torch.device, precision: str, side: int, seconds: float) -> float:
    """TFLOP/s of a product of two square matrices."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=where).to(kind) for _ in range(2))

    def took(n: int) -> float:
        start = time.perf_counter()
        for _ in range(n):
            a @ b
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        return time.perf_counter() - start

    with loop.tf32(TrainConfig(precision=precision), where):
        took(1)
        n = max(1, round(seconds / max(took(1), 1e-6)))
        return 2 * side**3 * n / took(n) / 1e12


def measured(profiles: Sequence[str], seconds: float, batch: int | None, side: dict[str, int]) -> pd.DataFrame:
    """A row per profile, model, device and precision; see COLUMNS. times_cpu: steps per second over the CPU's."""
    places = [CPU] if device() == CPU else [CPU, device()]
    limits = {(w.type, p): limit(w, p, side[w.type], seconds / 3) for w in places for p in PRECISIONS[w.type]}
    rows = []
    for profile in profiles:
        for name in MODELS:
            operations, cpu = flops(made(profile, name, batch)), None
            for where, precision in ((w, p) for w in places for p in PRECISIONS[w.type]):
                one = made(profile, name, batch)
                speed = steps_per_s(one, where, precision, seconds)
                cpu = cpu or speed
                reached, most = operations * speed / 1e12, limits[where.type, precision]
                rows.append((profile, name, where.type, precision, one.train.batch_size, speed, speed / cpu, reached,
                             most, reached / most))  # fmt: skip
                print(f"{profile}, {name}, {where.type}, {precision}: {speed:.2f} steps/s", flush=True)
    return pd.DataFrame(rows, columns=COLUMNS)


def whole_demo() -> dict[str, float]:
    """Seconds of every notebook at the demo profile, on the CPU and on the GPU if there is one; in empty folders."""
    found = {}
    for name, hidden in (("cpu", {"CUDA_VISIBLE_DEVICES": ""}), ("cuda", {}))[: 1 + (device() != CPU)]:
        with tempfile.TemporaryDirectory() as place:
            given = os.environ | hidden | {"RUMORLIB_OUTPUT": place, "RUMORLIB_CACHE": f"{place}/cache"}
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "rumorlib", "run", "--profile", "demo"], env=given, cwd=harness.ROOT,
                           check=True)  # fmt: skip
            found[name] = time.perf_counter() - start
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profiles", nargs="+", choices=cfg.PROFILES, default=list(cfg.PROFILES))
    parser.add_argument("--quick", action="store_true", help="tiny: demo, four posts a step; shows that it runs")
    parser.add_argument("--demo", action="store_true", help="also run `make demo` whole on every device")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that a row is timed for")
    parser.add_argument("--csv", type=Path, help="write the table here")
    given = parser.parse_args(argv)
    gpu = device() != CPU
    print(f"{torch.cuda.get_device_name() if gpu else 'no GPU: rows of the CPU alone'}; {harness.machine()}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}")  # fmt: skip
    if given.quick:
        frame = measured(["demo"], 0.01, 4, {"cpu": 64, "cuda": 64})
    else:
        frame = measured(given.profiles, given.seconds, None, {"cpu": 2048, "cuda": 8192})
    print(frame.to_string(index=False, float_format="{:.3g}".format))
    for name, seconds in (whole_demo() if given.demo else {}).items():
        print(f"make demo on {name}: {seconds:.0f} s")
    if given.csv:
        frame.to_csv(given.csv, index=False, lineterminator="\n", float_format="%.6g")
    return 0


if __name__ == "__main__":
    sys.exit(main())
