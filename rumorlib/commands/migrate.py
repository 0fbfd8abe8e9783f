"""Carry results of earlier versions over: `python -m rumorlib migrate FOLDER` says what would change, --write does it.

Predictions, metrics and weights stay as they are; config.json, its hash in report.json and DONE are written anew, run
by run, each complete before the old one goes. A killed call is called again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from rumorlib import config as cfg
from rumorlib.data import files
from rumorlib.results import migrations, runs, store
from rumorlib.results.migrations import Stored


def outdated(folder: Path) -> Iterator[tuple[Path, Stored]]:
    """Finished runs below `folder` that an earlier version wrote, and their configs as this one writes them.

    Raises: runs.CorruptRun: a config that no rule fits; the message names it.
    """
    for done in sorted(folder.rglob("DONE")):
        if (done.parent / "config.json").is_file():
            stored = json.loads((done.parent / "config.json").read_text(encoding="utf-8"))
            try:
                new = migrations.upgraded(stored)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise runs.CorruptRun(f"{done.parent}: config.json fits no version ({error!r})") from error
            if new != stored or len(done.read_text(encoding="utf-8").split()) < 2:
                yield done.parent, new


def migrate(run: Path, config: Stored) -> None:
    """Give one run its new config: a complete copy beside it, put in its place by one rename."""
    draft = files.draft_of(run)
    try:
        shutil.copytree(run, draft, copy_function=_link)
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        key = cfg.config_hash(cfg.from_dict(config))
        for name in ("config.json", "report.json", "DONE"):
            (draft / name).unlink()  # links to the old ones
        files.write_json(draft / "config.json", config)
        files.write_json(draft / "report.json", store.with_hash(report, key))
        runs.seal(draft, key)
        runs.move_into_place(draft, run)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _link(source: str, target: str) -> None:
    """Weights are gigabytes: a second name for the file where the disk can, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def main(words: Sequence[str]) -> int:
    """The verb `migrate`. Returns 0; 2 for a folder that is not there or holds what cannot be carried over."""
    parser = argparse.ArgumentParser(prog="python -m rumorlib migrate", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a results folder, or any folder above finished runs")
    parser.add_argument("--write", action="store_true", help="do it; without, only say what would change")
    given = parser.parse_args(words)
    if not given.folder.is_dir():
        print(f"{given.folder} is no folder", file=sys.stderr)
        return 2
    stores = [path.parent for path in sorted(given.folder.rglob("store.json"))]
    try:
        found = list(outdated(given.folder))
    except runs.CorruptRun as error:
        print(error, file=sys.stderr)
        return 2
    changes: Counter[str] = Counter()
    for run, config in tqdm(found, desc="runs", unit="run", disable=not (given.write and sys.stderr.isatty())):
        before = json.loads((run / "config.json").read_text(encoding="utf-8"))
        changes.update(runs.differences(before, config) or ["DONE gets the hash of report.json"])
        if given.write:
            migrate(run, config)
    for place in stores:
        changes.update(_of_store(place, given.write))
    print("\n".join(f"{n:5} runs: {change}" for change, n in sorted(changes.items())))
    done = "are carried over" if given.write else "would be carried over; --write does it"
    print(f"the runs above {done}" if changes else "every run is of this version")
    return 0


def _of_store(place: Path, write: bool) -> Counter[str]:
    """Changes of the configs of a store, made where `write` says so."""
    changes: Counter[str] = Counter()

    def new(config: Stored) -> Stored:
        made = migrations.upgraded(config)
        changes.update(runs.differences(config, made))
        return made

    store.rewrite(place, new, write)
    return changes
