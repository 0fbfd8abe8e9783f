"""The test ledger: one line for every time test posts were scored, appended and never rewritten.

results/<profile>/test_ledger.csv: run, config_hash, split_hash, when (UTC), commit. A run reads its test posts once,
when it is made; tables read stored predictions and add nothing. A run that is made again adds a line, so a number that
was looked at before its settings were final can be seen to have been.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib import config as cfg
from rumorlib.results import locks

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
        lines = [COLUMNS] * (not path.exists()) + [(run, config_hash, split_hash, when, commit)]
        csv.writer(text, lineterminator="\n").writerows(lines)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, text.getvalue().encode())
        finally:
            os.close(handle)


def read(profile: str) -> list[dict[str, str]]:
    """Its lines, the committed ones first; none if no run of the profile has scored test posts."""
    lines = []
    for path in dict.fromkeys((cfg.PROJECT_ROOT / BELOW.format(profile), path_of(profile))):
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                lines += csv.DictReader(file)
    return lines


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
