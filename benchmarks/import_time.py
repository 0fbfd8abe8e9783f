"""B10: how long `import rumorlib` takes, next to `import torch`: python benchmarks/import_time.py

Each import runs in fresh interpreters; medians, with the bare interpreter's own start subtracted.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 7
LIMIT_S = 1.0  # for rumorlib and its config
LIMIT_RATIO = 0.5  # of `import torch`, so that a slow machine judges alike
STATEMENTS = ("pass", "import rumorlib", "import rumorlib.config", "import rumorlib.results", "import torch")


def start_time_s(statement: str) -> float:
    """Median seconds of a fresh interpreter that runs one statement; one warm-up run first."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> int:
    """Print a table; 1 if rumorlib is too slow."""
    measured = {statement: start_time_s(statement) for statement in STATEMENTS}
    bare = measured.pop("pass")
    torch_s = measured["import torch"] - bare
    print(f"{'statement':26} {'seconds':>8} {'of torch':>9}   (bare interpreter {bare:.3f} s)")
    for statement, seconds in measured.items():
        print(f"{statement:26} {seconds - bare:8.3f} {(seconds - bare) / torch_s:9.3f}")
    slow = [s for s in STATEMENTS[1:3] if measured[s] - bare > min(LIMIT_S, LIMIT_RATIO * torch_s)]
    print(f"too slow: {', '.join(slow)}" if slow else f"within {LIMIT_S} s and {LIMIT_RATIO} of torch")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
