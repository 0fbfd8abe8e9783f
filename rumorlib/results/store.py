"""Many finished runs in a few files: results/<profile>/store, what is committed of the runs that tables stand on.

store.json                  sha256 of every other file: a changed byte is refused
runs.jsonl                  a line per run: its name, config.json and report.json, and where its frames are
predictions/<corpus>-<n>.csv.xz   a row per post under its opaque key, a column per run: at most RUNS_PER_SHARD runs
                            that were asked about the same posts; written once, so that git keeps each once
histories/<model>.csv.gz    frames of all runs, one below the other, the run's name first
extras/<name>.csv.gz        the same of what figures need beyond metrics

A run in the making has a folder of its own (runs.py). `collect` takes finished ones into the store; weights and frames
with words of posts are not taken.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib import config as cfg
from rumorlib.data import files
from rumorlib.results.runs import CorruptRun

if TYPE_CHECKING:
    import pandas as pd

VALUES = ("log_odds", "prob_rumor")  # what predictions hold one of; all other columns say of which post it is
RUNS_PER_SHARD = 250
KEYS = ("post_id", "row_key", "event", "image_group", "text_group", "split")  # text, whatever it looks like
HISTORY, PREDICTIONS = "history.csv", "predictions.csv.gz"
Entry = dict[str, Any]  # run, config, report; predictions: {shard, value}; columns: frame -> its columns, in order


# --- reading --------------------------------------------------------------------------------------


def entries(folder: Path) -> dict[str, Entry]:
    """Every run of a store by its name; {} where there is no store. Raises CorruptRun: a file was changed."""
    place = folder / "store.json"
    return _entries(folder, place.stat().st_mtime_ns) if place.is_file() else {}


def frame(folder: Path, run: str, name: str) -> pd.DataFrame:
    """A frame of a run as its own file gave it: PREDICTIONS, HISTORY or extras/<name>.csv.

    Raises: KeyError: no such run. FileNotFoundError: it has no such frame. CorruptRun: a file was changed.
    """
    entry = entries(folder)[run]
    if name == PREDICTIONS and name in entry["report"]["files"]:
        return _predictions(folder, run, entry)
    if name not in entry["columns"]:
        raise FileNotFoundError(f"{run} in {folder} has no {name}; it has {', '.join(entry['columns'])}")
    columns = entry["columns"][name]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    header, rows = _rows(*_verified(folder, _file_of(entry, name)))
    at = [header.index(column) for column in columns]
    writer.writerows([row[i] for i in at] for row in rows.get(run, []))
    return read_csv(io.StringIO(text.getvalue()))


def read_csv(source: Any) -> pd.DataFrame:
    """A frame of a run: an event may be named "NA", an id may be a number. A file of no columns is an empty frame."""
    import pandas as pd

    try:
        return pd.read_csv(source, dtype=dict.fromkeys(KEYS, str), keep_default_na=False, na_values=[""])
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


def _predictions(folder: Path, run: str, entry: Entry) -> pd.DataFrame:
    about = entry["predictions"]
    if not about:  # stage 1 answers no posts
        return read_csv(io.StringIO())
    shard = _shard(*_verified(folder, about["shard"]))
    return shard[[run if name == about["value"] else name for name in about["columns"]]].rename(
        columns={run: about["value"]}
    )


def _file_of(entry: Entry, name: str) -> str:
    model = entry["config"]["model"]
    return f"histories/{model}.csv.gz" if name == HISTORY else f"extras/{Path(name).stem}.csv.gz"


def _verified(folder: Path, name: str) -> tuple[Path, str]:
    """A file of the store and its sha256, which caches go by."""
    path, about = folder / name, files.read_object(folder / "store.json")
    if not path.is_file() or _hash(path, path.stat().st_mtime_ns, path.stat().st_size) != about.get(name):
        raise CorruptRun(f"{path} is not the file that store.json was written for; restore it (git checkout)")
    return path, about[name]


@lru_cache(maxsize=512)
def _hash(path: Path, *_: int) -> str:
    return files.file_hash(path)


@lru_cache(maxsize=4)
def _entries(folder: Path, _: int) -> dict[str, Entry]:
    lines = _verified(folder, "runs.jsonl")[0].read_text(encoding="utf-8").splitlines()
    return {entry["run"]: entry for entry in map(json.loads, lines)}


@lru_cache(maxsize=24)
def _shard(path: Path, _: str) -> pd.DataFrame:
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        return read_csv(file)


@lru_cache(maxsize=24)
def _rows(path: Path, _: str) -> tuple[list[str], dict[str, list[list[str]]]]:
    """Columns of a file of many runs, and run -> its rows, as text."""
    found: dict[str, list[list[str]]] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        header = next(lines)
        for row in lines:
            found.setdefault(row[0], []).append(row)
    return header, found


# --- collecting -----------------------------------------------------------------------------------


def collect(folder: Path, runs: Mapping[str, Path]) -> None:
    """Take finished runs, name -> folder, into the store at `folder`; one that is there is replaced.

    New predictions go to new shards; store.json is written last, so a killed call leaves the store as it was.
    """
    known = dict(entries(folder))
    new: dict[str, Entry] = {}
    texts: dict[str, dict[str, str]] = {}  # file of the store -> run -> csv text
    asked: dict[tuple[str, str], dict[str, tuple[str, list[str]]]] = {}  # (corpus, key text) -> run -> value, column
    for name, place in sorted(runs.items()):
        config, report = (
            json.loads((place / f"{part}.json").read_text(encoding="utf-8")) for part in ("config", "report")
        )
        entry = new[name] = {"run": name, "config": config, "report": report, "predictions": None, "columns": {}}
        for part in sorted(report["files"]):
            if part == HISTORY or part.startswith("extras/"):
                text = (place / part).read_text(encoding="utf-8")
                entry["columns"][part] = next(csv.reader(io.StringIO(text)), [])
                texts.setdefault(_file_of(entry, part), {})[name] = text
            elif part == PREDICTIONS:
                _ask(asked, entry, gzip.decompress((place / part).read_bytes()).decode())
    hashes = files.read_object(folder / "store.json") if known else {}
    for corpus_key, columns in asked.items():
        hashes |= _write_shards(folder, *corpus_key, columns, new)
    for file, by_run in texts.items():
        hashes[file] = _append(folder / file, by_run)
    _write_runs(folder, known | new, hashes)


def rewrite(folder: Path, new_config: Callable[[dict[str, Any]], dict[str, Any]], write: bool) -> None:
    """Give every run of a store the config that `new_config` makes of its old one, and the hash of that."""
    found = entries(folder).values()
    made = [entry | {"config": new_config(entry["config"])} for entry in found]
    if write:
        for entry in made:
            entry["report"] = with_hash(entry["report"], cfg.config_hash(cfg.from_dict(entry["config"])))
        _write_runs(folder, {entry["run"]: entry for entry in made}, files.read_json(folder / "store.json"))


def with_hash(report: Mapping[str, Any], config_hash: str) -> dict[str, Any]:
    """A report under another hash of its config; the test ledger knows the run by those from before."""
    old = report["config_hash"]
    before = [*report.get("earlier_config_hashes", []), *([old] if old != config_hash else [])]
    return {**report, "config_hash": config_hash, **({"earlier_config_hashes": before} if before else {})}


def _write_runs(folder: Path, runs: Mapping[str, Entry], hashes: dict[str, str]) -> None:
    lines = [json.dumps(entry, sort_keys=True, ensure_ascii=False) for _, entry in sorted(runs.items())]
    sha256 = files.write_bytes(folder / "runs.jsonl", "".join(f"{line}\n" for line in lines).encode())
    files.write_json(folder / "store.json", hashes | {"runs.jsonl": sha256})


def _ask(asked: dict, entry: Entry, text: str) -> None:
    """Note a run's predictions under the posts that it was asked about."""
    header, *rows = list(csv.reader(io.StringIO(text))) or [[]]
    if not header:
        return
    value = next(name for name in VALUES if name in header)
    at = header.index(value)
    keys = io.StringIO()
    csv.writer(keys, lineterminator="\n").writerows(row[:at] + row[at + 1 :] for row in [header, *rows])
    entry["predictions"] = {"value": value, "columns": header}
    fewer = f"-train{entry['config'].get('n_train')}"  # asked about the same posts as those with all train posts
    corpus = entry["run"].split("/")[1].replace(fewer, "")
    asked.setdefault((corpus, keys.getvalue()), {})[entry["run"]] = [row[at] for row in rows]


def _write_shards(
    folder: Path, corpus: str, keys: str, columns: Mapping[str, list[str]], new: dict[str, Entry]
) -> dict:
    """Shards of one set of posts; their hashes. What is there already is never written again."""
    header, *rows = list(csv.reader(io.StringIO(keys)))
    names, hashes = sorted(columns), {}
    for start in range(0, len(names), RUNS_PER_SHARD):
        some = names[start : start + RUNS_PER_SHARD]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*header, *some])
        writer.writerows([*row, *values] for row, *values in zip(rows, *(columns[name] for name in some), strict=True))
        content = lzma.compress(text.getvalue().encode(), preset=9)
        number = sum(1 for _ in (folder / "predictions").glob(f"{corpus}-[0-9][0-9][0-9].csv.xz"))
        shard = f"predictions/{corpus}-{number:03}.csv.xz"
        hashes[shard] = files.write_bytes(folder / shard, content)
        for name in some:
            new[name]["predictions"]["shard"] = shard
    return hashes


def _append(path: Path, by_run: Mapping[str, str]) -> str:
    """Put runs' frames into a file of many, in the place of what it had of them; its sha256."""
    header, found = _rows(path, files.file_hash(path)) if path.is_file() else (["run"], {})
    found = dict(found)
    columns = list(header)
    read = {name: list(csv.reader(io.StringIO(text))) or [[]] for name, text in by_run.items()}
    for own, *_ in read.values():
        columns += [column for column in own if column not in columns]
    place = {column: i for i, column in enumerate(columns)}
    rows = {name: [row + [""] * (len(columns) - len(row)) for row in old] for name, old in found.items()}
    for name, (own, *new) in read.items():
        rows[name] = []
        for row in new:
            wide = [name] + [""] * (len(columns) - 1)
            for column, cell in zip(own, row, strict=True):
                wide[place[column]] = cell
            rows[name].append(wide)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *(row for name in sorted(rows) for row in rows[name])])
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0, compresslevel=9) as file:
        file.write(text.getvalue().encode())
    return files.write_bytes(path, buffer.getvalue())
