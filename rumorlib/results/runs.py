"""One run on disk: a folder that is either complete or not there.

<output>/results/<profile>/runs/<model>/<dataset>/<variant>/seed<k>/
    config.json report.json history.csv predictions.csv[.gz] extras/*.csv DONE      committed at laptop and paper
    checkpoint.safetensors private/*.csv                                            ignored by git

A run is written into a folder beside its place and moved there in one rename, so a killed run leaves nothing that
could be taken for a result. `report.json` holds the sha256 of every other file but DONE, and DONE that of `report.json`
(runs of before: the config's hash alone); a file that changed is refused.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib import config as cfg
from rumorlib.data import files
from rumorlib.results import circumstances

if TYPE_CHECKING:
    from rumorlib.training.fitting import Outcome

CHECKPOINT = "checkpoint.safetensors"
# Columns with words or pictures of real people: such a frame stays on the machine that made it.
PRIVATE_COLUMNS = frozenset({"text", "caption", "token", "tokens", "word", "words", "image", "created_at"})

_AGAIN = "restore it from a copy, or make the run again with train='all'"


class RunError(RuntimeError):
    """A run on disk cannot be used; the message says which and what to do."""


class StaleRun(RunError):
    """The folder holds a finished run of another config."""


class MissingRun(RunError):
    """No finished run, and the train mode forbids making one."""


class CorruptRun(RunError):
    """A file of a finished run is not what was written."""


def unfinished(config: cfg.RunConfig) -> Path:
    """Folder of what a run keeps while it is made: its checkpoints. Beside it, as <folder>.lock, lies its lock."""
    return cfg.output_root() / "results" / config.profile / "unfinished" / config.path


# --- writing ----------------------------------------------------------------------------------


def write_run(folder: Path, config: cfg.RunConfig, outcome: Outcome, time_s: float,
              entered: Callable[[Mapping[str, Any]], object] | None = None, **more: Any) -> None:  # fmt: skip
    """Put a finished run in `folder`, replacing what is there.

    Args:
        folder: place of the run; its parent is made.
        config: what was run.
        outcome: what came out; `post_id` and other keys of real corpora become opaque, see `keys.public_frame`.
            Predictions have `log_odds` (`evaluation.to_store`), from which readers make probabilities.
        time_s: seconds the run took.
        entered: told its report.json when all files are written, before they take their place.
        more: further JSON values for report.json, e.g. `stage1`, and what `measured` found.
    Raises: ValueError: predictions without log_odds.
    """
    draft = files.draft_of(folder)
    draft.mkdir(parents=True)
    try:
        hashes = dict(_write_files(draft, config, outcome))
        files.write_json(draft / "config.json", cfg.as_dict(config))
        report = _report(config, outcome, time_s, hashes) | more
        files.write_json(draft / "report.json", report)
        seal(draft, cfg.config_hash(config))
        if gone := [name for name in hashes if not (draft / name).is_file()]:
            raise FileNotFoundError(f"{draft / gone[0]} was removed while the run was written; make the run again")
        if entered is not None:
            entered(report)
        move_into_place(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def seal(folder: Path, config_hash: str, *coming: str) -> None:
    """Write DONE: the config's hash, the sha256 of report.json as it lies there, and of what may take its place."""
    lines = [config_hash, files.file_hash(folder / "report.json"), *coming]
    files.write_bytes(folder / "DONE", "".join(f"{line}\n" for line in lines).encode())


def replace_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Put another report.json into a finished run. While one takes the place of the other, DONE names both: a crash at
    any moment leaves a run that reads, and a report.json that is neither is refused."""
    config_hash = (folder / "DONE").read_text(encoding="utf-8").split()[0]
    content = files.json_bytes(report)
    seal(folder, config_hash, hashlib.sha256(content).hexdigest())
    files.write_bytes(folder / "report.json", content)
    seal(folder, config_hash)


def _write_files(draft: Path, config: cfg.RunConfig, outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Write frames and weights; yield each file's name and sha256."""
    from rumorlib.data import keys

    real = cfg.is_real(config.profile, config.dataset)
    predictions, name = outcome.predictions, "predictions.csv"
    if len(predictions) and "log_odds" not in predictions:
        raise ValueError(f"predictions have log_odds; got {', '.join(predictions.columns)}")
    predictions = predictions.drop(columns="prob_rumor", errors="ignore").round({"log_odds": 4})
    if real:
        public = predictions.drop(columns=PRIVATE_COLUMNS & set(predictions.columns))
        predictions, name = keys.public_frame(public, config.dataset), "predictions.csv.gz"
    yield name, files.write_csv(draft / name, predictions)
    yield "history.csv", files.write_csv(draft / "history.csv", outcome.history)
    for extra, frame in sorted(outcome.extras.items()):
        private = real and PRIVATE_COLUMNS & set(frame.columns)
        path = f"private/{extra}.csv" if private else f"extras/{extra}.csv"
        shown = keys.public_frame(frame, config.dataset) if real and not private else frame
        yield path, files.write_csv(draft / path, shown)
    if outcome.state is not None:
        from safetensors.torch import save

        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in outcome.state.items()}
        yield CHECKPOINT, files.write_bytes(draft / CHECKPOINT, save(tensors))


def _report(config: cfg.RunConfig, outcome: Outcome, time_s: float, hashes: Mapping[str, str]) -> dict[str, Any]:
    return {
        "config_hash": cfg.config_hash(config),
        "seed": config.seed,
        "metrics": files.plain(outcome.metrics),
        "facts": files.plain(outcome.facts),
        "files": dict(hashes),
        "git": circumstances.git_state(),
        "libraries": circumstances.library_versions(),
        "time_s": round(time_s, 1),
        "deterministic": cfg.is_deterministic(),
        "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def move_into_place(draft: Path, folder: Path) -> None:
    """Rename the complete draft to its place; what stood there goes only when the draft is on the disk."""
    files.sync(draft)
    for _ in range(10):
        old = files.draft_of(folder).with_suffix(".old")
        with contextlib.suppress(FileNotFoundError):
            folder.rename(old)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.exists():
                with contextlib.suppress(FileNotFoundError):
                    old.rename(folder)
                raise
        else:  # no other process put its own run there in between
            break
        finally:
            shutil.rmtree(old, ignore_errors=True)
    files.sync(folder.parent)


def tidy(folder: Path) -> None:
    """Delete what processes that were killed left beside a run; only who holds its lock may. A finished run that was
    on its way out when the one in its place had not come yet is put back."""
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.*.*"):
        if leftover.suffix == ".old" and (leftover / "DONE").is_file() and not folder.exists():
            leftover.rename(folder)
        elif leftover.suffix in (".old", ".part"):
            shutil.rmtree(leftover, ignore_errors=True)


def done(folder: Path) -> bytes | None:
    """What DONE of a finished run says, another for every time it was made; None: there is none."""
    try:
        return (folder / "DONE").read_bytes()
    except OSError:
        return None


# --- reading ----------------------------------------------------------------------------------


def read_report(folder: Path, config: cfg.RunConfig) -> dict[str, Any] | None:
    """report.json of a finished run of exactly `config`; None when there is no finished run.

    Raises: StaleRun: finished, but with another config; names the fields that differ.
            CorruptRun: finished, but config.json or report.json cannot be read, do not belong together, or are not
            what DONE says.
    """
    if not (folder / "DONE").is_file():
        return None
    try:
        stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        done, content = (folder / "DONE").read_text(encoding="utf-8").split(), (folder / "report.json").read_bytes()
        if done[1:] and hashlib.sha256(content).hexdigest() not in done[1:]:
            raise CorruptRun(f"{folder / 'report.json'} is not the file that was written; {_AGAIN}")
        report = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptRun(f"{folder}: {error}; {_AGAIN}") from error
    if not isinstance(stored, dict):
        raise CorruptRun(f"{folder / 'config.json'} holds no config; {_AGAIN}")
    parts = ("metrics", "facts", "files") if isinstance(report, dict) and "config_hash" in report else ("",)
    if not all(part and isinstance(report.get(part), dict) for part in parts):
        raise CorruptRun(f"{folder / 'report.json'}: incomplete; {_AGAIN}")
    check_config(stored, config, folder)
    if not report["config_hash"] == cfg.config_hash(config) == (done or [""])[0]:
        raise CorruptRun(f"{folder}: config.json, report.json and DONE are not of one run; {_AGAIN}")
    return report


def check_config(stored: Mapping[str, Any], config: cfg.RunConfig, folder: Path) -> None:
    """Raises StaleRun: `stored` is another config than `config`; it names the fields."""
    if differing := differences(stored, cfg.as_dict(config)):
        raise StaleRun(
            f"{folder} holds a run of another config; it differs in {'; '.join(differing)}. "
            "Another variant name or output folder keeps both; train='all' makes it anew"
        )


def check_split(config: cfg.RunConfig, facts: Mapping[str, Any], folder: Path) -> None:
    """A run is of the split that is stored now, not of one that was replaced since.

    Raises: StaleRun: the split file a run read has another hash today, or the user's own file (protocol file:<path>)
        has another content. A file that is gone is written anew when needed.
    """
    from rumorlib.data.posts import PostsError
    from rumorlib.data.splitting import split_files

    if config.protocol.startswith("file:") and Path(config.protocol[5:]).is_file():
        from rumorlib.data.splitting import protocols

        if protocols.parse(config.protocol).label not in facts.get("split_file", ""):
            raise StaleRun(
                f"{folder} was run on what {config.protocol[5:]} held before; use train='all' to run it anew"
            )
    if not (name := facts.get("split_file", "")):
        return
    path = cfg.stored(Path("results", config.profile, "splits", name))
    try:
        now = split_files.stored_facts(path).get("split_hash")
    except PostsError as error:
        raise CorruptRun(str(error)) from None
    if now and now != facts.get("split_hash"):
        raise StaleRun(
            f"{folder} was run on another split than {name} holds; restore that split, or use train='all' to run it on "
            "this one"
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`field: stored a, now b` for every leaf that differs."""
    before, now = files.flatten(old), files.flatten(new)
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key, "absent") != now.get(key, "absent"))
    return [f"{key}: stored {before.get(key, 'absent')!r}, now {now.get(key, 'absent')!r}" for key in keys]


def verified(folder: Path, name: str, hashes: Mapping[str, str]) -> Path:
    """Path of a run's file after checking its sha256.

    Raises: FileNotFoundError: the run has no such file, or it is not on this machine. CorruptRun: it changed.
    """
    path = folder / name
    if name not in hashes or not path.is_file():
        raise FileNotFoundError(f"{path} is not there; this run has {', '.join(sorted(hashes)) or 'no files'}")
    if files.file_hash(path) != hashes[name]:
        raise CorruptRun(f"{path} is not the file that was written; {_AGAIN}")
    return path
