"""B10: how long `import rumorlib` takes, next to `import torch`, and what a first run's start takes once more.
python benchmarks/start_up.py

Each import runs in fresh interpreters; medians, with the bare interpreter's own start subtracted. Then a new process
gets ready what DMFL reads of the drawn posts (pictures, words and their vectors), cold, with an empty cache, and warm,
with what the cold one left there, in turns. Printed: the ratio cold / warm.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

RUNS, STARTS = 7, 3
LIMIT_S = 1.0  # for rumorlib and its config
LIMIT_RATIO = 0.5  # of `import torch`, so that a slow machine judges alike
STATEMENTS = ("pass", "import rumorlib", "import rumorlib.config", "import rumorlib.results", "import torch")
READ = """
from rumorlib import config, experiments, inputs
from rumorlib.inputs import dmfl_inputs

settings = config.resolve("demo", ["demo-en"])
run = experiments.dmfl(settings, "demo-en")
corpus = inputs.corpus_of(run, settings)
dmfl_inputs.word_vectors(corpus, run.detector.word2vec, run.seed, settings)
inputs.images_of(corpus, run.stage1.sclip.vision, settings)
"""


def start_time_s(statement: str) -> float:
    """Median seconds of a fresh interpreter that runs one statement; one warm-up run first."""
    return statistics.median([_took_s(statement) for _ in range(RUNS + 1)][1:])


def _took_s(statement: str, **environment: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=os.environ | environment, capture_output=True)
    return time.perf_counter() - start


def main() -> int:
    """Print a table, and the ratio; 1 if rumorlib is too slow."""
    measured = {statement: start_time_s(statement) for statement in STATEMENTS}
    bare = measured.pop("pass")
    torch_s = measured["import torch"] - bare
    print(f"{'statement':26} {'seconds':>8} {'of torch':>9}   (bare interpreter {bare:.3f} s)")
    for statement, seconds in measured.items():
        print(f"{statement:26} {seconds - bare:8.3f} {(seconds - bare) / torch_s:9.3f}")
    pairs = []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as empty:
            pairs.append([_took_s(READ, RUMORLIB_CACHE=empty, RUMORLIB_OUTPUT=empty) for _ in range(2)])
    ratios = [cold / warm for cold, warm in pairs]
    cold, warm = (statistics.median(times) for times in zip(*pairs))
    said = f"min {min(ratios):.1f}, max {max(ratios):.1f}, n {STARTS}; {cold:.1f} and {warm:.1f} s"
    print(f"start of a run, cold / warm: {statistics.median(ratios):.1f} ({said})")
    slow = [s for s in STATEMENTS[1:3] if measured[s] - bare > min(LIMIT_S, LIMIT_RATIO * torch_s)]
    print(f"too slow: {', '.join(slow)}" if slow else f"within {LIMIT_S} s and {LIMIT_RATIO} of torch")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
