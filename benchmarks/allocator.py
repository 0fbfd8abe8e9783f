"""Why `import rumorlib` lets glibc keep the pages of large tensors: python benchmarks/allocator.py

MobileNetV2 over 192 pictures of 224 px on one thread, in fresh processes, with the setting and with glibc as it is
(RUMORLIB_ALLOCATOR=plain), in turns. Printed: the ratio plain / kept of the wall time (above 1, keeping is faster),
seconds in the kernel, page faults and resident memory of each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

PICTURES, BATCH = 192, 32


def encoded() -> dict[str, float]:
    """What the pictures took in this process, after one batch to warm up."""
    import torch
    from torchvision.models import mobilenet_v2

    import rumorlib  # noqa: F401  it makes the setting

    torch.set_num_threads(1)
    model, pictures = mobilenet_v2().eval(), torch.randn(BATCH, 3, 224, 224)
    with torch.inference_mode():
        model.features(pictures)
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        for _ in range(PICTURES // BATCH):
            model.features(pictures)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {"wall_s": time.perf_counter() - start, "kernel_s": after.ru_stime - before.ru_stime,
            "faults": after.ru_minflt - before.ru_minflt, "resident_mib": after.ru_maxrss / 2**10}  # fmt: skip


def measured(how: str) -> dict[str, float]:
    """`encoded` in a new process."""
    environment = os.environ | {"RUMORLIB_ALLOCATOR": how}
    done = subprocess.run([sys.executable, __file__, "--child"], env=environment, capture_output=True, check=True)
    return json.loads(done.stdout)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each way, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.child:
        print(json.dumps(encoded()))
        return 0
    rounds = [{how: measured(how) for how in ("plain", "kept")} for _ in range(chosen.rounds)]
    for how in ("plain", "kept"):
        middle = {name: statistics.median(one[how][name] for one in rounds) for name in rounds[0][how]}
        print(how, ", ".join(f"{name} {value:.2f}" for name, value in middle.items()))
    ratios = [one["plain"]["wall_s"] / one["kept"]["wall_s"] for one in rounds]
    print(
        f"plain / kept: {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f}, n {len(ratios)})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
