"""Missing runs made side by side, in the order in which they need one another.

Workers are processes of joblib's loky with one thread each, so that the number of cores changes no result;
`joblib.parallel_config(backend=...)` around `make` puts another of its engines (Ray, Dask) in their place.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import statistics
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

from rumorlib import config as cfg
from rumorlib.config import RunConfig, Settings
from rumorlib.data import files, processes
from rumorlib.results import locks, reports, store

TIMES = "results/{}/times.csv"  # of a profile whose runs are not committed
RESERVE_MIB = 1500  # left to everything that is no worker
BUSY = "another process makes it"
UNKNOWN_MIB, UNKNOWN_S = 2000, 60.0  # of a run of which no finished one tells


@dataclass
class Made:
    """What became of planned runs, by their folder."""

    made: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # folder -> traceback
    skipped: dict[str, str] = field(default_factory=dict)  # folder -> the failed run that it needs


def missing(
    asked: Mapping[str, RunConfig], settings: Settings, weights: Iterable[str] = ()
) -> dict[str, RunConfig]:
    """The runs that are not there, each after those it starts from.

    Args: asked: by folder. weights: folders of those whose weights are needed, too.
    Raises: as `run_or_load`, for a stored run that does not fit.
    """
    found: dict[str, RunConfig] = {}
    seen: set[tuple[str, bool]] = set()

    def visit(config: RunConfig, needs_weights: bool) -> None:
        path = config.path.as_posix()
        if (path, needs_weights) in seen or path in found:
            return
        seen.add((path, needs_weights))
        if settings.train != "all" and reports.is_there(config, settings, needs_weights):
            return
        for needed in (config.stage1, config.parent):
            if needed:
                visit(needed, True)
        found[path] = config

    weights = set(weights)
    for path, config in asked.items():
        visit(config, path in weights)
    return found


def levels(todo: Mapping[str, RunConfig]) -> list[list[str]]:
    """Folders of runs, those of a level needing only those of earlier ones; the longest run of each first."""

    @cache
    def depth(path: str) -> int:
        needed = [one.path.as_posix() for one in (todo[path].stage1, todo[path].parent) if one]
        return 1 + max((depth(one) for one in needed if one in todo), default=0)

    # the longest first: a long run that starts last is waited for
    by_time = sorted(todo, key=lambda path: -expected(todo[path])[0])
    return [[path for path in by_time if depth(path) == level] for level in sorted(set(map(depth, todo)))]


def expected(config: RunConfig) -> tuple[float, float]:
    """(seconds, MiB) that a run is expected to take: the median of finished ones of its kind, else a guess."""
    known = _history(config.profile)
    for about in ((config.kind, config.model, config.dataset), (config.kind, config.model), (config.model,)):
        if about in known:
            return known[about]
    return UNKNOWN_S, UNKNOWN_MIB


def is_known(config: RunConfig) -> bool:
    """Whether a finished run tells what such a one takes."""
    return bool({(config.kind, config.model), (config.model,)} & _history(config.profile).keys())


@cache
def _history(profile: str) -> dict[tuple[str, ...], tuple[float, float]]:
    """Kind, model and corpus of finished runs, or less of it -> median seconds and MiB: this machine's own, else those
    that were published."""
    took: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for *one, seconds, mib in [*_finished(cfg.output_root(), profile)] or [*_published(profile)]:
        for about in (tuple(one), tuple(one[:2]), tuple(one[1:2])):
            took.setdefault(about, []).append((seconds, mib))
    return {about: (statistics.median(s for s, _ in all_), statistics.median(m for _, m in all_))
            for about, all_ in took.items()}  # fmt: skip


def _finished(root: Path, profile: str) -> Iterator[tuple[str, str, str, float, float]]:
    below = root / "results" / profile
    found = [(entry["config"], entry["report"]) for entry in store.entries(below / "store").values()]
    for done in (below / "runs").rglob("DONE"):
        found.append((files.read_object(done.with_name("config.json")), files.read_object(done.with_name("report.json"))))
    for config, report in found:
        if {"kind", "model", "dataset"} <= set(config) and "time_s" in report:  # a damaged one tells no time
            mib = report.get("peak_memory_mib") or UNKNOWN_MIB
            yield config["kind"], config["model"], config["dataset"], report["time_s"], mib


def _published(profile: str) -> Iterator[tuple[str, str, str, float, float]]:
    """Times of the committed runs; of a profile without any those that `times` gave when its tables were published."""
    yield from _finished(cfg.PROJECT_ROOT, profile)
    place = cfg.PROJECT_ROOT / TIMES.format(profile)
    if place.is_file():
        with place.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row["kind"], row["model"], row["dataset"], float(row["seconds"]), float(row["mib"])


def times(profile: str) -> str:
    """A CSV of what finished runs of the output folder took, median per kind, model and corpus."""
    took = {about: value for about, value in _history(profile).items() if len(about) == 3}
    lines = [f"{','.join(about)},{seconds:.1f},{mib:.0f}" for about, (seconds, mib) in sorted(took.items())]
    return "\n".join(["kind,model,dataset,seconds,mib", *lines, ""])


def workers_for(todo: Mapping[str, RunConfig], wanted: int | None = None) -> int:
    """How many runs go side by side: as many as cores, or `wanted` if that is less, and fewer where their memory would
    not fit."""
    return fitting(max((expected(config)[1] for config in todo.values()), default=UNKNOWN_MIB), len(todo), wanted)


def fitting(mib: float, n: int, wanted: int | None = None) -> int:
    """How many of `n` processes of so much memory go side by side: as many as cores, or `wanted` if that is less."""
    import psutil

    fit = int((psutil.virtual_memory().available / 2**20 - RESERVE_MIB) // mib)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(wanted or cores, cores, fit, n))


def make(todo: Mapping[str, RunConfig], settings: Settings, workers: int = 1) -> Made:
    """Make runs, `workers` at a time, with one bar for all; a run that fails stops those that need it, and no other.

    Args: todo: as `missing` gives them. Raises: KeyboardInterrupt: finished runs are kept.
    """
    said, done = Made(), 0.0
    workers = workers if processes.count() == 1 else 1  # which the processes of a launch train together
    bar = tqdm(total=round(sum(expected(config)[0] for config in todo.values())), unit="s", desc=f"0/{len(todo)} runs",
               bar_format="{desc} |{bar}| {elapsed} so far, about {remaining} left{postfix}")  # fmt: skip
    warnings.filterwarnings("ignore", "A worker stopped while some jobs")  # loky puts another in its place
    # workers draw no bars of their own: tqdm reads the variable when it is imported
    with bar, cfg.environment(TQDM_DISABLE="1"), parallel_config(n_jobs=workers):
        for level in levels(todo):
            ready = [path for path in level if not _skipped(path, todo[path], said)]
            for wait in (False, True):  # first what nobody else is at, then what others were at
                tasks = (delayed(_one)(todo[path], settings, cfg.own_folders(), wait) for path in ready)
                ready = []
                for path, problem in Parallel(return_as="generator_unordered")(tasks):
                    if problem == BUSY:
                        ready.append(path)
                        continue
                    if problem:
                        said.failed[path] = problem
                    else:
                        said.made.append(path)
                    done += expected(todo[path])[0]
                    bar.set_description(f"{len(said.made)}/{len(todo)} runs", refresh=False)
                    bar.set_postfix_str(path, refresh=False)
                    bar.update(min(done, bar.total) - bar.n)
    get_reusable_executor().shutdown(wait=True)  # the corpora that workers hold are memory of what comes next
    return said


def _skipped(path: str, config: RunConfig, said: Made) -> bool:
    """Whether a run that this one needs is not there, noted."""
    for needed in (config.stage1, config.parent):
        name = needed.path.as_posix() if needed else ""
        if cause := name if name in said.failed else said.skipped.get(name):
            said.skipped[path] = cause
            return True
    return False


def _one(config: RunConfig, settings: Settings, own: Mapping[str, str], wait: bool) -> tuple[str, str]:
    """In a worker: make one run. Returns: its folder, and a traceback if it failed, BUSY if another process makes it
    and this one shall not `wait`."""
    for name, folder in own.items():
        cfg.own_corpus(name, folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            reports.make(config, settings, wait)
    except locks.Held:
        return config.path.as_posix(), BUSY
    except OSError as error:
        return config.path.as_posix(), traceback.format_exc() + remedy(error)
    except Exception:
        return config.path.as_posix(), traceback.format_exc()
    return config.path.as_posix(), ""


def remedy(error: OSError) -> str:
    """What to do about a disk that takes no file, "" for other errors."""
    kept = "the same command then goes on; what is finished is kept\n"
    place = error.filename or cfg.output_root()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"free some space on the disk of {place}, or name another folder with --output; {kept}"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"make the folder of {place} writable, or name another with --output; {kept}"
    return ""


def summary(said: Made) -> str:
    """What failed and what waited for it, "" where all is well."""
    lines = []
    for path, problem in said.failed.items():
        waiting = [one for one, cause in said.skipped.items() if cause == path]
        lines += [f"{path} failed" + (f"; {len(waiting)} runs need it and were left out" if waiting else "")]
        lines += [f"    {line}" for line in problem.strip().splitlines()[-6:]]
    return "\n".join(lines)


