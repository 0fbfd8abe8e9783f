"""Why `import rumorlib` lets waiting threads sleep (OMP_WAIT_POLICY=PASSIVE): python benchmarks/thread_waiting.py

One training step of the demo's image tower on all cores, in fresh processes because OpenMP reads its policy once: with
threads that spin while they wait (OpenMP's default) and with threads that sleep, on the machine as it is and beside as
many busy processes as there are cores. Printed as the ratio spinning / sleeping: above 1, sleeping is faster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager

BUSY = "while True: pass"


def step_s(steps: int) -> float:
    """Median seconds of a forward and backward pass of the demo's image tower, 64 images."""
    import torch

    from rumorlib.config.profiles import SIZES
    from rumorlib.encoders.vision import ImageTower

    tower = ImageTower(SIZES["demo"].vision, None, 0.0)
    size = SIZES["demo"].vision.image_size_px
    images = torch.zeros(64, 3, size, size, dtype=torch.uint8)
    times = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        tower(images).square().mean().backward()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def measured(policy: str, steps: int) -> float:
    """`step_s` in a new process under an OpenMP wait policy."""
    command = [sys.executable, __file__, "--child", "--steps", str(steps)]
    done = subprocess.run(command, env=os.environ | {"OMP_WAIT_POLICY": policy}, capture_output=True, check=True)
    return float(done.stdout)


@contextmanager
def busy(n: int):
    """`n` processes that do nothing but compute."""
    with ExitStack() as stack:
        for _ in range(n):
            stack.callback(subprocess.Popen([sys.executable, "-c", BUSY]).kill)
        yield


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line for the machine as it is and one for the machine under load."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds per line")
    parser.add_argument("--steps", type=int, default=10, help="steps of each policy in a round")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.child:
        print(step_s(chosen.steps))
        return 0
    for name, n in (("as it is", 0), ("loaded", os.cpu_count() or 1)):
        with busy(n):
            ratios = [
                measured("ACTIVE", chosen.steps) / measured("PASSIVE", chosen.steps) for _ in range(chosen.rounds)
            ]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(f"machine {name:8}  spinning / sleeping: {middle:.2f} (min {low:.2f}, max {high:.2f}, n {len(ratios)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
