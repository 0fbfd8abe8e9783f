"""B8: peak memory of the steps of B1, B3 and B4, ours against the peer, each in a process of its own.

Printed: the most that two steps took beyond weights and data (gradients, optimiser state, activations), as peer / ours.
"""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import detector_step
import harness
import stage1_step
import torch

from rumorlib.studies.cost import timing

STEPS: dict[str, Callable[[bool], dict]] = {
    "stage-1 step": stage1_step.paths, "MICC step": detector_step.micc, "DMFL step": detector_step.dmfl
}  # fmt: skip


def memory_mib(name: str) -> float:
    """VmRSS, what this process holds, or VmHWM, the most it held since `forget`. Linux only."""
    lines = Path("/proc", "self", "status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith(name))


def child(what: str, path: str, quick: bool) -> None:
    """Run two steps of one path in this process; print the most they took beyond weights and data."""
    function = STEPS[what](quick)[path]
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # give freed pages back, or the steps would find them free of charge
    Path("/proc", "self", "clear_refs").write_text("5")  # the most held so far was the making of cached features
    before = memory_mib("VmRSS")
    function(), function()
    print(memory_mib("VmHWM") - before)


def measured(what: str, path: str, quick: bool) -> float:
    """`child` in a new process, MiB."""
    command = [sys.executable, __file__, "--child", what, path, *["--quick"] * quick]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per step."""
    parser = harness.parser(__doc__)
    parser.add_argument("--step", choices=STEPS, help="this one only; not recorded")
    parser.add_argument("--child", nargs=2, help="used by the benchmark itself: step and path")
    chosen = parser.parse_args(argv)
    if chosen.child:
        with timing.threads(chosen.threads):
            child(*chosen.child, chosen.quick)
        return 0
    rows = []
    for what in [chosen.step] if chosen.step else list(STEPS)[: 1 if chosen.quick else None]:
        ours, peer = (measured(what, path, chosen.quick) for path in ("ours", "peer"))
        print(f"{what}: ours {ours:.0f} MiB, peer {peer:.0f} MiB, {peer / max(ours, 1):.2f} times less", flush=True)
        rows.append({"what": f"{what}, peak memory (MiB, not ms)", "peer": "as in B1, B3, B4", "ours_ms": ours,
                     "times_faster": peer / max(ours, 1), "low": float("nan"), "high": float("nan"), "rounds": 1,
                     "threads": torch.get_num_threads()})  # fmt: skip
    if chosen.record and not chosen.step:
        harness.record("B8", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
