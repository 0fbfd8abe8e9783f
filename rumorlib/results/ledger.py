"""The test ledger: one line for every time test posts were scored, appended and never rewritten.

results/<profile>/test_ledger.csv: run, config_hash, split_hash, when (UTC), commit. A run reads its test posts once,
when it is made; tables read stored predictions and add nothing. A run that is made again adds a line, so a number that
was looked at before its settings were final can be seen to have been.
"""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib import config as cfg
from rumorlib.results import locks
from rumorlib.results.runs import CorruptRun

if TYPE_CHECKING:
    import pandas as pd

BELOW = "results/{}/test_ledger.csv"
COLUMNS = ("run", "config_hash", "split_hash", "when", "commit")


def path_of(profile: str) -> Path:
    """The ledger of a profile that new lines are appended to; what is committed stands before it."""
    return cfg.output_root() / BELOW.format(profile)


def enter(config: cfg.RunConfig, report: Mapping[str, Any]) -> bool:
    """Append the line of a run that has just been written; False, and nothing written, if it scored no test posts.

    Args: report: its report.json.
    """
    if not any(split.startswith("test") for split in report["metrics"]) or config.model == "sclip":
        return False
    append(config.profile, config.path.as_posix(), report["config_hash"], report["facts"].get("split_hash", ""),
           report["finished_utc"], report.get("git", {}))  # fmt: skip
    return True


def append(profile: str, run: str, config_hash: str, split_hash: str, when: str, git: Mapping[str, Any]) -> None:
    """Append one reading of test posts. A line is one write, so processes that run side by side do not mix theirs."""
    commit = f"{git.get('commit') or 'none'}{' and changes' if git.get('dirty') else ''}"
    path = path_of(profile)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locks.held(path.with_suffix(".lock")):  # one of several writers makes the first line
        text = io.StringIO()
        lines = [COLUMNS] * (not path.exists() or not path.stat().st_size) + [(run, config_hash, split_hash, when, commit)]
        csv.writer(text, lineterminator="\n").writerows(lines)
        _append(path, text.getvalue().encode())


def _append(path: Path, content: bytes) -> None:
    """All of it, or nothing. Raises: OSError: no room for it."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        before = os.fstat(handle).st_size
        if os.write(handle, content) < len(content):
            os.ftruncate(handle, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(handle)
    finally:
        os.close(handle)


def read(profile: str) -> list[dict[str, str]]:
    """Its lines, the committed ones first; none if no run of the profile has scored test posts.

    Raises: CorruptRun: a file is damaged.
    """
    lines = []
    for path in dict.fromkeys((cfg.PROJECT_ROOT / BELOW.format(profile), path_of(profile))):
        if path.is_file():
            lines += _lines(path)
    return lines


def _lines(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [list(COLUMNS)]  # empty: a disk was full
        odd = [header] * (tuple(header) != COLUMNS) + [row for row in rows if len(row) != len(COLUMNS)]
        if odd:
            raise ValueError(f"no line of {', '.join(COLUMNS)}: {odd[0]}")
    except (ValueError, csv.Error) as error:
        remedy = "restore it from a copy, or take the damaged lines out"
        raise CorruptRun(f"{path} is damaged ({str(error)[:200]}); {remedy}") from None
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def readings(profile: str) -> pd.DataFrame:
    """How often each corpus's test posts were scored.

    Returns: model, dataset, runs (distinct), readings (lines), configs (distinct hashes), first, last (UTC).
    """
    import pandas as pd

    frame = pd.DataFrame(read(profile), columns=COLUMNS)
    names = frame["run"].str.split("/", expand=True).reindex(columns=range(2))
    frame = frame.assign(model=names[0], dataset=names[1])
    grouped = frame.groupby(["model", "dataset"], sort=False)
    return grouped.agg(
        runs=("run", "nunique"), readings=("run", "size"), configs=("config_hash", "nunique"),
        first=("when", "min"), last=("when", "max"),
    ).reset_index()  # fmt: skip
