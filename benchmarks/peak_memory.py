"""B8: peak memory of the steps of B1, B3 and B4, ours against the peer, each in a process of its own.

Printed: the most the process ever held, less what it held after its imports, as the ratio peer / ours.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

import detector_step
import harness
import stage1_step
import torch

from rumorlib import timing

STEPS: dict[str, Callable[[bool], dict]] = {
    "stage-1 step": stage1_step.paths, "MICC step": detector_step.micc, "DMFL step": detector_step.dmfl
}  # fmt: skip


def peak_mib() -> float:
    """The most this process ever held."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def child(what: str, path: str, quick: bool) -> None:
    """Run two steps of one path in this process; print what they took."""
    before = peak_mib()
    function = STEPS[what](quick)[path]
    function(), function()
    print(peak_mib() - before)


def measured(what: str, path: str, quick: bool) -> float:
    """`child` in a new process, MiB."""
    command = [sys.executable, __file__, "--child", what, path, *["--quick"] * quick]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per step."""
    parser = harness.parser(__doc__)
    parser.add_argument("--child", nargs=2, help="used by the benchmark itself: step and path")
    chosen = parser.parse_args(argv)
    if chosen.child:
        with timing.threads(chosen.threads):
            child(*chosen.child, chosen.quick)
        return 0
    rows = []
    for what in list(STEPS)[: 1 if chosen.quick else None]:
        ours, peer = (measured(what, path, chosen.quick) for path in ("ours", "peer"))
        print(f"{what}: ours {ours:.0f} MiB, peer {peer:.0f} MiB, {peer / max(ours, 1):.2f} times less", flush=True)
        rows.append({"what": f"{what}, peak memory (MiB, not ms)", "peer": "as in B1, B3, B4", "ours_ms": ours,
                     "times_faster": peer / max(ours, 1), "low": float("nan"), "high": float("nan"), "rounds": 1,
                     "threads": torch.get_num_threads()})  # fmt: skip
    if chosen.record:
        harness.record("B8", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
