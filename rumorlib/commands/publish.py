"""Put the tables and figures of the output folder in the place of the committed ones: `python -m rumorlib publish`.

The only way committed results change. It prints what would change; `--write` does it. At laptop and paper the runs that
the tables were made from go into the store (store.py), and splits and the readings of test posts to their places;
executed notebooks, weights and frames with words of posts stay where they are. The generated blocks of README.md follow
by `python -m rumorlib readme`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rumorlib import config as cfg
from rumorlib.commands import parameters
from rumorlib.data import files
from rumorlib.results import artifacts, ledger, making, provenance, store

SPLITS = "splits/*.csv.gz"  # below results/<profile>, not at demo


def changed(profile: str) -> dict[str, str]:
    """Path below the project -> "new" or "changed", of every file, entry of provenance and run that `publish` would
    write."""
    known = {f"results/{profile}/runs/{name}": entry for name, entry in store.entries(_store(profile)).items()}
    found = {name: _state(name) for name in _files(profile)}
    for place, entries in _entries(profile).items():
        committed = provenance.entries(cfg.PROJECT_ROOT / place)
        for name, entry in entries.items():
            state = "" if committed.get(name) == entry else "changed" if name in committed else "new"
            found[f"{place}/{provenance.FILE}: {name}"] = state
    for name in _runs(profile):
        report = files.read_json(cfg.output_root() / name / "report.json")
        found[name] = "" if known.get(name, {}).get("report") == report else "changed" if name in known else "new"
    return {name: state for name, state in found.items() if state}


def publish(profile: str) -> dict[str, str]:
    """Copy what `changed` names, runs before the tables that name them; return it."""
    found = changed(profile)
    below = f"results/{profile}/runs/"
    finished = {name.removeprefix(below): cfg.output_root() / name for name in found if name.startswith(below)}
    if finished:
        store.collect(_store(profile), finished)
    for name in found:
        if not name.startswith(below) and provenance.FILE not in name:
            files.write_bytes(cfg.PROJECT_ROOT / name, (cfg.output_root() / name).read_bytes())
    for place, entries in _entries(profile).items():
        if entries != provenance.entries(cfg.PROJECT_ROOT / place):
            provenance.enter(cfg.PROJECT_ROOT / place, entries)
    if profile != "demo":
        _append_readings(profile)
    else:  # whose runs are not committed
        files.write_bytes(cfg.PROJECT_ROOT / making.TIMES.format(profile), making.times(profile).encode())
    return found


def _entries(profile: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Provenance of what the output folder has made, by folder and id."""
    return {place: provenance.entries(cfg.output_root() / place) for place in artifacts.places(profile)}


def _files(profile: str) -> Iterator[str]:
    for place, entries in _entries(profile).items():
        for name, entry in entries.items():
            pictures = [f"{name}.png"] * place.startswith("figures")  # which have no hash
            yield from (f"{place}/{file}" for file in sorted([*entry["files"], *pictures]))
    root = cfg.output_root()
    for path in sorted(root.glob(f"results/{profile}/{SPLITS}")) if profile != "demo" else ():
        if not path.name.startswith("."):
            yield path.relative_to(root).as_posix()


def _runs(profile: str) -> list[str]:
    """Finished runs of the output folder that its tables and figures name, with the runs these start from."""
    if profile == "demo":
        return []
    root = cfg.output_root()
    said = [entry for entries in _entries(profile).values() for entry in entries.values()]
    todo = sorted({run for entry in said for run in entry["runs"]})
    found: dict[str, None] = {}
    while todo:
        name = f"results/{profile}/runs/{todo.pop()}"
        if name not in found and (root / name / "DONE").is_file():
            found[name] = None
            report = json.loads((root / name / "report.json").read_text(encoding="utf-8"))
            todo += [report[part]["run"] for part in ("stage1", "parent") if part in report]
    return sorted(found)


def _state(name: str) -> str:
    source, target = cfg.output_root() / name, cfg.PROJECT_ROOT / name
    if not target.is_file():
        return "new"
    return "" if files.file_hash(source) == files.file_hash(target) else "changed"


def _store(profile: str) -> Path:
    return cfg.PROJECT_ROOT / "results" / profile / "store"


def _append_readings(profile: str) -> None:
    """The output folder's lines of the test ledger go to the end of the committed one, once."""
    committed = cfg.PROJECT_ROOT / ledger.BELOW.format(profile)
    before = committed.read_text(encoding="utf-8") if committed.is_file() else f"{','.join(ledger.COLUMNS)}\n"
    known, text = set(before.splitlines()), io.StringIO()
    writer = csv.DictWriter(text, ledger.COLUMNS, lineterminator="\n")
    writer.writerows(ledger.read(profile))
    new = [line for line in dict.fromkeys(text.getvalue().splitlines()) if line not in known]
    if new:
        files.write_bytes(committed, "\n".join([before.rstrip("\n"), *new, ""]).encode())


def main(words: Sequence[str]) -> int:
    """The verb `publish`. Returns 0; 2 where the output folder is the project itself or holds nothing."""
    parser = parameters.Parser(prog="python -m rumorlib publish", description=__doc__.split("\n")[0])
    parser.add_argument("--profile", choices=cfg.PROFILES, default="demo")
    parser.add_argument("--write", action="store_true", help="do it; without, only say what would change")
    given = parser.parse_args(words)
    if cfg.output_root().resolve() == cfg.PROJECT_ROOT:
        print("the output folder is the project itself; nothing to publish")
        return 2
    found = publish(given.profile) if given.write else changed(given.profile)
    print("\n".join([f"{state:8} {name}" for name, state in found.items()] or ["nothing differs"]))
    if found:
        print("now: python -m rumorlib readme" if given.write else "nothing was written; --write does it")
    return 0
