"""Runs, tables and figures: run what is missing, read what is there, write down where every number came from.

A table is results/<profile>/tables/<id>.csv (+ .md to read, + .json provenance); a figure is figures/<profile>/<id>.png
(+ .csv the data drawn, + .json). Ids stand in results/index.csv. Rebuilt from the same runs, the csv, md and json files
are byte-identical: they hold no time, no commit and no machine.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib import config as cfg
from rumorlib import files, ledger, runs, tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from rumorlib.run import Outcome

    Train = Callable[..., Outcome]  # of a config, settings, weights of stage 1, and weights of the parent if it has one

INDEX = cfg.PROJECT_ROOT / "results" / "index.csv"
_TRAINED: set[tuple[Path, str]] = set()  # folder and config hash of runs made in this process: train="all" skips them


@dataclass(frozen=True)
class Report:
    """A finished run. Frames are read when asked for and checked against the hashes in report.json."""

    config: cfg.RunConfig
    metrics: dict[str, Any]
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)  # n_parameters, best_epoch, split_hash, time_s, ...
    hashes: dict[str, str] = field(default_factory=dict, repr=False)  # sha256 of each file of the run

    def history(self) -> pd.DataFrame:
        """One line per epoch."""
        return self._frame("history.csv")

    def predictions(self) -> pd.DataFrame:
        """post_id (row_key on real corpora), label, prob_rumor in [0, 1], split and group columns; and log_odds, which
        runs of before did not keep: their probabilities are those of four decimals that they stored."""
        from rumorlib import evaluation

        return evaluation.with_prob(self._frame(self._predictions_file))

    def extra(self, name: str) -> pd.DataFrame:
        """What a figure needs beyond metrics, as `run.run` named it."""
        private = f"private/{name}.csv"
        return self._frame(private if private in self.hashes else f"extras/{name}.csv")

    def checkpoint(self) -> Path:
        """Weights (safetensors), checked; ask `run_or_load` for them with checkpoint=True."""
        return runs.verified(self.folder, runs.CHECKPOINT, self.hashes)

    @property
    def name(self) -> str:
        """Folder of the run below results/<profile>/runs."""
        return self.config.path.as_posix()

    @property
    def fingerprint(self) -> str:
        """sha256 of config, metrics and predictions: equal for equal results, whenever and wherever they were made."""
        content = [cfg.as_dict(self.config), self.metrics, self.hashes.get(self._predictions_file)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def _predictions_file(self) -> str:
        return "predictions.csv" if self.config.profile == "demo" else "predictions.csv.gz"

    def _frame(self, name: str) -> pd.DataFrame:
        import pandas as pd

        keys = dict.fromkeys(("post_id", "row_key", "event", "image_group", "text_group", "split"), str)
        path = runs.verified(self.folder, name, self.hashes)
        try:
            # only an empty cell is missing (`keys.cell`): pandas takes NA, None and null for missing too
            return pd.read_csv(path, dtype=keys, keep_default_na=False, na_values=[""])
        except pd.errors.EmptyDataError:
            return pd.DataFrame()


# --- runs ---------------------------------------------------------------------------------------


def run_folder(config: cfg.RunConfig) -> Path:
    """Where a run is written: the profile decides, so a demo number cannot reach another profile's results."""
    return cfg.output_root() / "results" / config.profile / "runs" / config.path


def stored_folder(config: cfg.RunConfig) -> Path:
    """Where a run is read: of one's own and the committed one, the first that is finished."""
    return cfg.stored(Path("results", config.profile, "runs", config.path, "DONE")).parent


def run_or_load(
    config: cfg.RunConfig, settings: cfg.Settings, *, checkpoint: bool = False, train: Train | None = None
) -> Report:
    """The finished run of `config`: from disk, or run now if `settings.train` permits.

    Args:
        config: the run; its `stage1` is run or loaded first.
        settings: profile, train mode ("missing", "all": again once per process, "none") and data folder.
        checkpoint: the weights are needed too (git ignores them; tables need none); a run whose weights are missing,
            damaged or older than their keeping is trained again.
        train: what really trains; `run.run` unless given.
    Raises: runs.StaleRun, runs.MissingRun, runs.CorruptRun. ValueError: config and settings disagree on the profile.
    """
    if config.profile != settings.profile:
        raise ValueError(f"a run of profile {config.profile!r} was asked for under profile {settings.profile!r}")
    folder = run_folder(config)
    this_run, report = (folder, cfg.config_hash(config)), None
    if settings.train != "all" or this_run in _TRAINED:
        report = _load(stored_folder(config), config)
        if report and (not checkpoint or _has_checkpoint(report, settings)):
            return report
    if settings.train == "none":
        raise runs.MissingRun(_how_to_run(folder, config))
    _train(folder, config, settings, train)
    _TRAINED.add(this_run)
    trained = _load(folder, config)
    assert trained, folder
    if report and report.fingerprint != trained.fingerprint:  # another machine or number of threads rounds otherwise
        print(f"{report.name}: trained again, not the same to the last digit; make its tables again too", flush=True)
    return trained


def add_extra(report: Report, name: str, frame: pd.DataFrame) -> Report:
    """Put a further frame, measured later with the run's weights, into a finished run; nothing else of it changes.

    Raises: ValueError: the frame has columns with words or pictures, or the run has such a frame or is a committed one.
    """
    if report.folder != run_folder(report.config):
        raise ValueError(f"{report.folder} is committed: ask run_or_load for its weights, then add to that run")
    path = f"extras/{name}.csv"
    if path in report.hashes or runs.PRIVATE_COLUMNS & set(frame.columns):
        raise ValueError(f"{report.name}: {path} is there already, or may not be kept")
    hashes = dict(sorted({**report.hashes, path: files.write_csv(report.folder / path, frame)}.items()))
    about = json.loads((report.folder / "report.json").read_text(encoding="utf-8"))
    runs.replace_report(report.folder, about | {"files": hashes})
    return replace(report, hashes=hashes)


def _train(folder: Path, config: cfg.RunConfig, settings: cfg.Settings, train: Train | None) -> None:
    """Run stage 1 and the parent if there are any, then the run itself, and write it."""
    weights, more = [], {}
    for name, needed in (("stage1", config.stage1), ("parent", config.parent)):
        if needed:
            report = run_or_load(needed, settings, checkpoint=True, train=train)
            more[name] = {"run": report.name, "checkpoint_sha256": report.hashes[runs.CHECKPOINT]}
            weights.append(report.checkpoint())
    if train is None:
        from rumorlib import derived, run

        train = derived.run if config.parent else run.run
    start = time.perf_counter()
    outcome = train(config, settings, *(weights or [None]))
    time_s = time.perf_counter() - start
    runs.write_run(folder, config, outcome, time_s, **more)
    ledger.enter(config, json.loads((folder / "report.json").read_text(encoding="utf-8")))
    print(f"{config.path.as_posix()}: {time_s:.1f} s", flush=True)


def _load(folder: Path, config: cfg.RunConfig) -> Report | None:
    report = runs.read_report(folder, config)
    if report is None:
        return None
    runs.check_split(config, report["facts"], folder)
    circumstances = {key: report[key] for key in ("time_s", "peak_memory_mib", "device") if key in report}
    return Report(config, report["metrics"], folder, report["facts"] | circumstances, report["files"])


def _has_checkpoint(report: Report, settings: cfg.Settings) -> bool:
    """Whether the weights are there and whole. With train="none" a damaged file is an error, not a reason to train."""
    if report.config.model == "baseline":
        raise FileNotFoundError(f"{report.name} saves no weights")
    try:
        report.checkpoint()
    except (FileNotFoundError, runs.CorruptRun) as error:
        if settings.train == "none":
            raise runs.MissingRun(f"{error}\n{_how_to_run(report.folder, report.config)}") from error
        print(f"{report.name}: weights missing or damaged, training again", flush=True)
        return False
    return True


def _how_to_run(folder: Path, config: cfg.RunConfig) -> str:
    data = "" if config.profile == "demo" else " --data <folder of the corpora>"
    command = f"python -m rumorlib run --profile {config.profile} --train missing{data}"
    return f"no finished run in {folder} and train='none' forbids making one; make it with\n    {command}"


# --- tables and figures -------------------------------------------------------------------------


def index_row(artifact_id: str, caption: str = "") -> dict[str, str]:
    """Line of an artifact in results/index.csv; with a caption, also that of an id which is not there.

    Raises: KeyError: no such id, and no caption. ValueError: a new id that is no plain name.
    """
    with INDEX.open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    if caption and artifact_id not in rows:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", artifact_id):
            raise ValueError(f"a table's id is of small letters, digits and _; got {artifact_id!r}")
        return {"id": artifact_id, "paper": "ours", "printed": "-", "caption": caption, "notebook": ""}
    if artifact_id not in rows:
        hint = f"{cfg.nearest(artifact_id, rows)}; a table of your own needs a caption"
        raise KeyError(f"{artifact_id!r} is not in {INDEX.name}; it has {', '.join(rows)}{hint}")
    return rows[artifact_id]


def _place(top: str, artifact_id: str, reports: Sequence[Report], profile: str) -> Path:
    """csv path of an artifact. Raises ValueError: a report of another profile."""
    if profile not in cfg.PROFILES:
        raise ValueError(
            f"profile must be one of {', '.join(cfg.PROFILES)}; got {profile!r}{cfg.nearest(profile, cfg.PROFILES)}"
        )
    if foreign := [r.name for r in reports if r.config.profile != profile]:
        raise ValueError(f"{artifact_id} at profile {profile} was given runs of another profile: {', '.join(foreign)}")
    return cfg.output_root() / top.format(profile) / f"{artifact_id}.csv"


def save_table(frame: pd.DataFrame, artifact_id: str, reports: Sequence[Report], profile: str,
               notebook: str | None = None, note: str = "", caption: str = "") -> Path:  # fmt: skip
    """Write a table as csv, md and provenance json; return the csv's path.

    Args:
        frame: the table; scores are fractions in [0, 1].
        artifact_id: id in results/index.csv, or a new one, with a `caption`.
        reports: the runs it was computed from; all of `profile`. Empty for tables about corpora.
        profile: demo, laptop or paper; decides the folder.
        notebook: the notebook that makes it; the index's unless given.
        note: one sentence below the table.
    Raises: KeyError: unknown id. ValueError: a report of another profile, or an id that cannot name a file.
    """
    row = index_row(artifact_id, caption)
    path = _place("results/{}/tables", artifact_id, reports, profile)
    written = {f"{artifact_id}.csv": files.write_csv(path, tables.spreadsheet_safe(frame))}
    text = tables.markdown(frame, row, profile, note)
    written[f"{artifact_id}.md"] = files.write_bytes(path.with_suffix(".md"), text.encode())
    _write_provenance(path, row, reports, profile, notebook, note, written)
    return path


def save_figure(
    fig: Figure,
    artifact_id: str,
    data: pd.DataFrame,
    reports: Sequence[Report],
    profile: str,
    notebook: str | None = None,
    note: str = "",
) -> Path:
    """Write a figure as png, the data it draws as csv, and provenance json; return the png's path.

    Args and Raises: as `save_table`. A figure of the demo profile says so in its title.
    """
    row = index_row(artifact_id)
    path = _place("figures/{}", artifact_id, reports, profile)
    if profile == "demo":
        tables.say_demo(fig)
    picture = path.with_suffix(".png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    draft = picture.with_suffix(".png.part")
    fig.savefig(draft, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
    draft.replace(picture)
    written = {
        path.name: files.write_csv(path, tables.spreadsheet_safe(data))
    }  # the png's bytes depend on installed fonts
    _write_provenance(path, row, reports, profile, notebook, note, written)
    return picture


def _write_provenance(
    path: Path,
    row: dict[str, str],
    reports: Sequence[Report],
    profile: str,
    notebook: str | None,
    note: str,
    written: dict[str, str],
) -> None:
    content = {key: row[key] for key in ("id", "paper", "printed", "caption")} | {
        "profile": profile,
        "notebook": notebook or row["notebook"],
        "note": note,
        "runs": {r.name: r.fingerprint for r in reports},
        "files": written,
    }
    files.write_json(path.with_suffix(".json"), content)
