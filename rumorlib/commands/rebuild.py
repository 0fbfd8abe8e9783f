"""Every committed table, figure data and provenance again, from committed runs alone: `python -m rumorlib rebuild`.

The notebooks run with train="none" beside the project, without raw corpora; then each csv and md must have the bytes,
and each entry of provenance.json the content, of the committed one. Pictures are left out: their bytes depend on
installed fonts. Tables that only raw corpora give are not made again but must stay as they are; they are named.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rumorlib import config as cfg
from rumorlib.commands import execute, parameters
from rumorlib.data import files
from rumorlib.results import artifacts, provenance

MADE = ("reproduced", "partial")
COMPARED = (".csv", ".md")


@dataclass
class Outcome:
    """What a rebuild found; paths relative to the project."""

    same: list[str] = field(default_factory=list)  # files and entries made again, byte for byte
    kept: list[str] = field(default_factory=list)  # not made again: they need raw corpora
    differing: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)  # made, but not committed
    failed: dict[str, str] = field(default_factory=dict)  # notebook -> what stopped it

    @property
    def passed(self) -> bool:
        """Whether everything that was made again is what is committed."""
        return not (self.differing or self.new or self.failed)


def rebuild(profile: str, grid: str = "reduced", names: Sequence[str] = ()) -> Outcome:
    """Run the notebooks that have committed artifacts of a profile, in a copy, and compare.

    Args: names: beginnings of notebook names; none: all that the index says have any.
    """
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as place, _elsewhere(Path(place), profile):
        begun = time.time()
        prepared = []
        for path, claimed in _notebooks(profile, names):
            given: dict[str, object] = {"profile": profile, "train": "none", "grid": grid}
            if "with_dmfl" in parameters.declared(path) and not any(name.startswith("d_") for name in claimed):
                given["with_dmfl"] = False  # that half has no committed runs
            prepared.append((path, given))
        for path, problem in execute.each(prepared, profile, execute.Options()):
            if problem:
                outcome.failed[path.stem] = problem
        _compare(Path(place), profile, begun, outcome)
    return outcome


def _notebooks(profile: str, names: Sequence[str]) -> Iterator[tuple[Path, list[str]]]:
    """Notebooks with committed artifacts of the profile, and the ids of these."""
    with artifacts.INDEX.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row[f"status_{profile}"] in MADE]
    for path in execute.find(names, execute.NOTEBOOKS):
        if claimed := [row["id"] for row in rows if row["notebook"] == path.stem]:
            yield path, claimed


@contextmanager
def _elsewhere(place: Path, profile: str) -> Iterator[None]:
    """Outputs go to `place`, which starts with the committed tables and figures; runs are read where they lie."""
    for top in artifacts.places(profile):
        if (cfg.PROJECT_ROOT / top).is_dir():
            shutil.copytree(cfg.PROJECT_ROOT / top, place / top)
    before = {name: os.environ.pop(name, None) for name in ("RUMORLIB_OUTPUT", "RUMORLIB_DATA")}
    os.environ["RUMORLIB_OUTPUT"] = str(place)
    try:
        yield
    finally:
        os.environ.pop("RUMORLIB_OUTPUT")
        os.environ.update({name: value for name, value in before.items() if value is not None})


def _compare(place: Path, profile: str, begun: float, outcome: Outcome) -> None:
    for top in artifacts.places(profile):
        again = {path.stem for path in (place / top).glob("*.csv") if path.stat().st_mtime >= begun - 1}
        committed = _contents(cfg.PROJECT_ROOT / top)
        for (artifact, name), content in _contents(place / top).items():
            if (artifact, name) not in committed:
                outcome.new.append(f"{top}/{name}")
            elif content != committed[artifact, name]:
                outcome.differing.append(f"{top}/{name}")
            else:
                (outcome.same if artifact in again else outcome.kept).append(f"{top}/{name}")


def _contents(folder: Path) -> dict[tuple[str, str], object]:
    """Id and name of each file and each entry of provenance in a folder -> what must not differ."""
    found: dict[tuple[str, str], object] = {
        (path.stem, path.name): files.file_hash(path) for path in sorted(folder.glob("*")) if path.suffix in COMPARED
    }
    entries = provenance.entries(folder)
    return found | {(name, f"{provenance.FILE}: {name}"): entry for name, entry in entries.items()}


def report(outcome: Outcome) -> str:
    """The outcome in words."""
    kept = sorted({Path(name.rpartition(": ")[2]).stem for name in outcome.kept})
    lines = [f"{len(outcome.same)} files and entries of {provenance.FILE} made again, byte for byte"]
    lines += [f"not made again without raw corpora or weights: {', '.join(kept)}"] * bool(kept)
    lines += [f"DIFFERS: {name}" for name in outcome.differing]
    lines += [f"not committed: {name}" for name in outcome.new]
    lines += [f"{name} stopped: {problem}" for name, problem in outcome.failed.items()]
    return "\n".join(lines)


def main(words: Sequence[str]) -> int:
    """The verb `rebuild`. Returns 0 if what was made again is what is committed, else 1; 2 after wrong arguments."""
    parser = parameters.Parser(prog="python -m rumorlib rebuild", description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", help="beginnings of names; none: all with committed artifacts")
    parser.add_argument("--profile", choices=("laptop", "paper"), default="laptop")
    parser.add_argument("--grid", choices=cfg.GRIDS, default="reduced", help="the grid the artifacts were made with")
    given = parser.parse_args(words)
    try:
        outcome = rebuild(given.profile, given.grid, given.notebooks)
    except (cfg.SettingError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    print(report(outcome), file=sys.stdout if outcome.passed else sys.stderr)
    return 0 if outcome.passed else 1
