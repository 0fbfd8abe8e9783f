"""What the benchmarks share: pairs of paths timed in turns, one line printed per pair, and the file of recorded runs.

Each benchmark defines `pairs(quick)`. `python benchmarks/<name>.py` runs it; --quick shrinks everything to seconds, to
show that it works; --record writes the figures to results/benchmarks.csv, which README.md here shows.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from rumorlib.studies.cost import timing

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "results" / "benchmarks.csv"
RECORD_PAGE = ROOT / "benchmarks" / "README.md"
COLUMNS = ["id", "what", "peer", "ours_ms", "times_faster", "low", "high", "rounds", "threads", "machine", "torch"]


class Pair(NamedTuple):
    """Two ways to the same end. `work`: how many passes make a round."""

    what: str
    peer_is: str
    ours: Callable[[], object]
    peer: Callable[[], object]
    passes: int = 1


def compare(pair: Pair, rounds: int) -> dict[str, object]:
    """One row of RECORD: how many times faster ours is than the peer; median, least and most of the rounds."""
    times = timing.in_turns({"ours": pair.ours, "peer": pair.peer}, rounds, pair.passes)
    found = timing.summary(timing.ratios(times, "peer", "ours"))
    ours_ms = 1000 * times.loc[times["path"] == "ours", "time_s"].median()
    return {"what": pair.what, "peer": pair.peer_is, "ours_ms": ours_ms, "times_faster": found["median"],
            "low": found["low"], "high": found["high"], "rounds": rounds,
            "threads": torch.get_num_threads()}  # fmt: skip


def machine() -> str:
    """Processor and cores, as far as the system says."""
    import os

    cpuinfo = Path("/proc", "cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def parser(about: str) -> argparse.ArgumentParser:
    """Command line of every benchmark."""
    made = argparse.ArgumentParser(description=about.splitlines()[0])
    made.add_argument("--quick", action="store_true", help="tiny sizes and one round: shows that it runs, says nothing")
    made.add_argument("--rounds", type=int, default=5, help="rounds per pair, at least 5")
    made.add_argument("--threads", type=int, default=2, help="torch's threads")
    made.add_argument("--record", action="store_true", help=f"write the figures to {RECORD.name}")
    return made


def main(name: str, about: str, pairs: Callable[[bool], Sequence[Pair]], argv: Sequence[str] | None = None) -> int:
    """Time every pair, print a line for each, record them if asked."""
    made = parser(about)
    chosen = made.parse_args(argv)
    if chosen.rounds < 5 or (chosen.quick and chosen.record):
        made.error("--rounds must be at least 5, and a quick run is not recorded")
    torch.manual_seed(0)
    rows = []
    with timing.threads(chosen.threads):
        for pair in pairs(chosen.quick):
            rows.append(compare(pair, 1 if chosen.quick else chosen.rounds))
            print("{what}, against {peer}: {times_faster:.2f} times faster ({low:.2f} … {high:.2f} of {rounds}), "
                  "{ours_ms:.1f} ms on {threads} threads".format(**rows[-1]), flush=True)  # fmt: skip
    if chosen.record:
        record(name, rows)
    return 0


def record(name: str, rows: Sequence[dict[str, object]]) -> None:
    """Replace the lines of one benchmark in RECORD."""
    made = pd.DataFrame(rows).assign(id=name, machine=machine(), torch=torch.__version__.partition("+")[0])
    if RECORD.is_file():
        old = pd.read_csv(RECORD, dtype={"torch": str})
        made = pd.concat([old[old["id"] != name], made])
    order = sorted(range(len(made)), key=lambda row: int(str(made["id"].iloc[row])[1:]))
    made.iloc[order][COLUMNS].round(3).to_csv(RECORD, index=False, lineterminator="\n")
    RECORD_PAGE.write_text(page(), encoding="utf-8")


PAGE = """# Benchmarks

Our path and a peer run in turns within one process; the figure is the peer's time over ours, per round: its median,
least and most. Above 1, ours is faster. Believe the ratios, not the milliseconds: those belong to one machine and hour.
`python benchmarks/<name>.py` runs one; `--quick` is tiny and meaningless, in seconds; `--record` writes to
`results/benchmarks.csv` and here. Weights are random and nothing is downloaded.

| id | what | peer | times faster (least … most) | ours, ms | threads |
|---|---|---|---|---|---|
{rows}

{about}
B8 counts MiB and how many times less. B9, the search for near-duplicates, is `audit.py`; B10, the import time beside a
run's cold and warm start, `start_up.py`; both judge themselves. `attention_backend.py`, `thread_waiting.py` and
`allocator.py` hold reasons for three settings, `side_by_side.py` sets several workers beside one, `accelerator.py` a
GPU beside the CPU and its limit.
B11, `many_runs.py`, sets a sweep of 10,000 runs beside ten times a tenth of it: at 1 the cost grows with the runs.
`error_rates.py` counts how often our verdicts are wrong (`results/error_rates.csv`). `one_answer.py` says what a saved
detector adds to its frozen encoders for one post, and judges itself.
"""
ABOUT = "Recorded on {machine}, torch {torch}."


def page() -> str:
    """README.md of this folder, from RECORD."""
    if not RECORD.is_file():
        return PAGE.format(rows="| - | nothing recorded yet | - | - | - | - |", about="")
    read = pd.read_csv(RECORD, dtype={"torch": str})
    lines = []
    for row in read.itertuples():
        spread = "" if pd.isna(row.low) else f" ({row.low:.2f} … {row.high:.2f})"
        figures = f"{row.times_faster:.2f}{spread} | {row.ours_ms:.1f} | {row.threads}"
        lines.append(f"| {row.id} | {row.what} | {row.peer} | {figures} |")
    of = read.groupby("machine", sort=False)["id"].unique()
    machine = "; ".join(f"{name} ({', '.join(ids)})" for name, ids in of.items()) if len(of) > 1 else of.index[0]
    about = ABOUT.format(machine=machine, torch=", ".join(read["torch"].unique()))
    return PAGE.format(rows="\n".join(lines), about=about)


if __name__ == "__main__":
    sys.exit("run one of the benchmarks beside this file")
