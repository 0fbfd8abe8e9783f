"""Fair timing: what is compared runs in turns within one process, and only ratios within a round are believed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pandas as pd


@contextmanager
def threads(n: int) -> Iterator[None]:
    """torch on n threads for the time of a `with` block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_turns(
    paths: Mapping[str, Callable[[], object]], rounds: int = 5, passes: int = 1, warmup: int = 1
) -> pd.DataFrame:
    """Seconds of every pass: each round runs every path `passes` times, one after the other, so that whatever else the
    machine does falls on all alike.

    Args:
        paths: name -> what is timed. rounds: at least 1; of fewer than 5 no median should be quoted.
        warmup: rounds that are run and forgotten.
    Returns: round, path, time_s; one row per pass.
    """
    rows = []
    for number in range(-warmup, rounds):
        for _ in range(passes):
            for name, path in paths.items():
                start = time.perf_counter()
                path()
                rows.append((number, name, time.perf_counter() - start))
    frame = pd.DataFrame(rows, columns=["round", "path", "time_s"])
    return frame[frame["round"] >= 0].reset_index(drop=True)


def ratios(times: pd.DataFrame, path: str, peer: str) -> list[float]:
    """Seconds of `path` over seconds of `peer`, one number per round: below 1, `path` is faster."""
    by_round = times.pivot_table(index="round", columns="path", values="time_s", aggfunc="median")
    return (by_round[path] / by_round[peer]).tolist()


def summary(values: list[float]) -> dict[str, float]:
    """median, low (the least) and high (the most) of some numbers."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}
