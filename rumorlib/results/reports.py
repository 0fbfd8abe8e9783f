"""Runs: make what is missing, read what is there, refuse what is stale."""

from __future__ import annotations

import csv
import fnmatch
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib import config as cfg
from rumorlib.data import files
from rumorlib.results import migrations, produced
from rumorlib.results import locks, runs
from rumorlib.results import store

if TYPE_CHECKING:
    import pandas as pd

CHANGES = cfg.PROJECT_ROOT / "results" / "changes.csv"
CIRCUMSTANCES = ("time_s", "peak_memory_mib", "device")
_TRAINED: set[tuple[Path, str]] = set()  # folder and config hash of runs made in this process: train="all" skips them


@dataclass(frozen=True)
class Report:
    """A finished run. Frames are read when asked for and checked against the hashes in report.json."""

    config: cfg.RunConfig
    metrics: dict[str, Any]
    folder: Path  # where its own files are, or would be
    facts: dict[str, Any] = field(default_factory=dict)  # n_parameters, best_epoch, split_hash, time_s, ...
    hashes: dict[str, str] = field(default_factory=dict, repr=False)  # sha256 of each file of the run
    store: Path | None = None  # the store that has its frames

    def history(self) -> pd.DataFrame:
        """One line per epoch."""
        return self._frame("history.csv")

    def predictions(self) -> pd.DataFrame:
        """post_id (row_key on real corpora), label, prob_rumor in [0, 1], split and group columns; and log_odds, which
        runs of before did not keep: their probabilities are those of four decimals that they stored."""
        from rumorlib.metrics import evaluation

        return evaluation.with_prob(self._frame(self._predictions_file))

    def extra(self, name: str) -> pd.DataFrame:
        """What a figure needs beyond metrics, as `run.run` named it."""
        private = f"private/{name}.csv"
        return self._frame(private if private in self.hashes else f"extras/{name}.csv")

    def faults(self) -> tuple[str, ...]:
        """Names of `learning.FAULTS` that the training has: no claim may rest on a run with one. () for what no loop
        trained; of runs from before it was stored, from their metrics and history."""
        from rumorlib.metrics import learning

        if "faults" in self.facts or not self.config.learns:
            return tuple(self.facts.get("faults", ()))
        return learning.faults(self.metrics.get("dev", {}), self.history())

    def checkpoint(self) -> Path:
        """Weights (safetensors), checked; ask `run_or_load` for them with checkpoint=True."""
        return runs.verified(self.folder, runs.CHECKPOINT, self.hashes)

    @property
    def content(self) -> dict[str, str]:
        """Hashes of what the run belongs to (`content.of_run`)."""
        return content_of(self.facts)

    @property
    def name(self) -> str:
        """Folder of the run below results/<profile>/runs."""
        return self.config.name

    @property
    def fingerprint(self) -> str:
        """sha256 of config, metrics and predictions: equal for equal results, whenever and wherever they were made."""
        content = [cfg.as_dict(self.config), self.metrics, self.hashes.get(self._predictions_file)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def _predictions_file(self) -> str:
        return "predictions.csv.gz" if cfg.is_real(self.config.profile, self.config.dataset) else "predictions.csv"

    def _frame(self, name: str) -> pd.DataFrame:
        if self.store:
            return store.frame(self.store, self.name, name)
        return store.read_csv(runs.verified(self.folder, name, self.hashes))


def content_of(facts: dict[str, Any]) -> dict[str, str]:
    """Hashes of what a run belongs to, from its facts; runs of before have that of the posts alone."""
    return facts.get("content", {"posts": facts["posts_hash"]} if "posts_hash" in facts else {})


# --- runs ---------------------------------------------------------------------------------------


def run_folder(config: cfg.RunConfig) -> Path:
    """Where a run is written: the profile decides, so a demo number cannot reach another profile's results."""
    return cfg.output_root() / "results" / config.profile / "runs" / config.path


def stored(config: cfg.RunConfig) -> tuple[dict[str, Any], Path | None] | None:
    """report.json of a run, and the store it stands in if it has no folder of its own: the output folder is looked at
    first, then what is committed. None: there is no finished run.

    Raises: runs.StaleRun: of another config, or written by an earlier version. runs.CorruptRun.
    """
    below = Path("results", config.profile)
    for root in dict.fromkeys((cfg.output_root(), cfg.PROJECT_ROOT)):
        folder, place = root / below / "runs" / config.path, root / below / "store"
        if (folder / "DONE").is_file():
            _check_version(files.read_json(folder / "config.json"), root / below)
            return runs.read_report(folder, config), None
        if entry := store.entries(place).get(config.path.as_posix()):
            _check_version(entry["config"], root / below)
            runs.check_config(entry["config"], config, place)
            return entry["report"], place
    return None


def all_or_none(configs: Iterable[cfg.RunConfig], settings: cfg.Settings) -> list[Report]:
    """`run_or_load` of each; with train="none" none of them where one is not there: what they would show is left out."""
    configs = list(configs)
    if settings.train == "none" and any(stored(config) is None for config in configs):
        return []
    return [run_or_load(config, settings) for config in configs]


def _check_version(config: dict[str, Any] | None, folder: Path) -> None:
    if config and migrations.is_old(config):
        raise runs.StaleRun(
            f"{folder} holds runs that an earlier version wrote; carry them over with\n"
            f"    python -m rumorlib migrate {folder} --write"
        )


def run_or_load(config: cfg.RunConfig, settings: cfg.Settings, *, checkpoint: bool = False) -> Report:
    """The finished run of `config`: from disk, or run now if `settings.train` permits.

    Args:
        config: the run; its `stage1` is run or loaded first.
        settings: profile, train mode ("missing", "all": again once per process, "none") and data folder.
        checkpoint: the weights are needed too (git ignores them; tables need none); a run whose weights are missing,
            damaged or older than their keeping is trained again.
    Raises: runs.StaleRun, runs.MissingRun, runs.CorruptRun. ValueError: config and settings disagree on the profile.
    """
    if config.profile != settings.profile:
        raise ValueError(f"a run of profile {config.profile!r} was asked for under profile {settings.profile!r}")
    folder = run_folder(config)
    this_run, report = (folder, cfg.config_hash(config)), None
    if settings.train != "all" or this_run in _TRAINED or _is_new(folder):
        try:
            report = _load(config, settings)
        except runs.StaleRun:
            if settings.train != "all":
                raise
        if report and (not checkpoint or _has_checkpoint(report, settings)):
            return report
    if settings.train == "none":
        raise runs.MissingRun(_how_to_run(folder, config))
    if report:
        print(f"{report.name}: weights missing or damaged, training again", flush=True)
    _train(folder, config, settings, again=settings.train == "all")
    _TRAINED.add(this_run)
    trained = _load(config, settings)
    assert trained, folder
    if report and report.fingerprint != trained.fingerprint:  # another machine or number of threads rounds otherwise
        print(f"{report.name}: trained again, not the same to the last digit; make its tables again too", flush=True)
    return trained


def _is_new(folder: Path) -> bool:
    """Whether a run was made since the command began that this process belongs to (`config.MADE_SINCE`)."""
    report = files.read_object(folder / "report.json")
    return str(report.get("finished_utc", "")) >= os.environ.get(cfg.MADE_SINCE, "9")


def is_there(config: cfg.RunConfig, settings: cfg.Settings, checkpoint: bool = False) -> bool:
    """Whether `run_or_load` would find the run, and with `checkpoint` its weights. Raises: as it does."""
    report = _load(config, settings)
    return report is not None and (not checkpoint or _has_checkpoint(report, settings))


def make(config: cfg.RunConfig, settings: cfg.Settings, wait: bool = True) -> None:
    """Make one run that is missing, or with train="all" was not made since the command began; what it starts from is
    loaded, or made where it is missing. Raises: locks.Held: another process makes it, and this one shall not `wait`."""
    _train(run_folder(config), config, replace(settings, train="missing"), settings.train == "all", wait)


def add_extra(report: Report, name: str, frame: pd.DataFrame) -> Report:
    """Put a further frame, measured later with the run's weights, into a finished run; nothing else of it changes.

    Raises: ValueError: the frame has columns with words or pictures, or the run has such a frame or stands in a store.
    """
    if report.store:
        raise ValueError(f"{report.name} is in a store: ask run_or_load for its weights, then add to that run")
    path = f"extras/{name}.csv"
    if path in report.hashes or runs.PRIVATE_COLUMNS & set(frame.columns):
        raise ValueError(f"{report.name}: {path} is there already, or may not be kept")
    hashes = dict(sorted({**report.hashes, path: files.write_csv(report.folder / path, frame)}.items()))
    about = json.loads((report.folder / "report.json").read_text(encoding="utf-8"))
    runs.replace_report(report.folder, about | {"files": hashes})
    return replace(report, hashes=hashes)


def _train(folder: Path, config: cfg.RunConfig, settings: cfg.Settings, again: bool, wait: bool = True) -> None:
    """Run stage 1 and the parent if there are any, then, under its lock, the run itself unless another process has done
    that, and write it. Args: again: what lay there before this call does not count."""
    weights, more = {}, {}
    for name, needed in (("stage1", config.stage1), ("parent", config.parent)):
        if needed:
            report = run_or_load(needed, settings, checkpoint=True)
            more[name] = {"run": report.name, "checkpoint_sha256": report.hashes[runs.CHECKPOINT]}
            weights[name] = report.checkpoint()
    before = runs.done(folder)
    with locks.held(runs.unfinished(config).with_suffix(".lock"), wait) as lock:
        runs.tidy(folder)
        old = again and runs.done(folder) == before and not _is_new(folder)
        if old or not _is_whole(config, settings):
            produced.make(folder, config, settings, weights, more, lock)


def _is_whole(config: cfg.RunConfig, settings: cfg.Settings) -> bool:
    """Whether the run is there with all of its files, as they were written, the weights among them if it has any."""
    try:
        report = _load(config, settings)
        if report is None or report.store or (config.learns and runs.CHECKPOINT not in report.hashes):
            return False
        return all(runs.verified(report.folder, name, report.hashes) for name in report.hashes)
    except (runs.RunError, OSError):
        return False


def _load(config: cfg.RunConfig, settings: cfg.Settings) -> Report | None:
    found = stored(config)
    if found is None:
        return None
    report, place = found
    folder = run_folder(config)
    runs.check_split(config, report["facts"], folder)
    circumstances = {key: report[key] for key in (*CIRCUMSTANCES, "finished_utc") if key in report}
    made = Report(config, report["metrics"], folder, report["facts"] | circumstances, report["files"], place)
    _check_belongs(made, settings)
    return made


def _check_belongs(report: Report, settings: cfg.Settings) -> None:
    """A result is of today's posts, pictures and weights, and of today's equations. Raises: runs.StaleRun."""
    config, facts, what = report.config, report.facts, f"{report.name} in {report.store or report.folder}"
    at_hand = config.profile == "demo" or settings.data_root or cfg.about(config.dataset).own
    if report.content and at_hand:
        from rumorlib.inputs import content

        if other := content.changed(report.content, config, settings):
            raise runs.StaleRun(
                f"{what} was run on other {' and '.join(other)} than lie there now under the same names; restore "
                "them, or use train='all' to run it anew on these"
            )
        # the sides that own posts bring stand in no split file
        own = cfg.about(config.dataset).own and config.kind == "train" and not facts.get("split_file")
        if own and (now := content.split_of(config, settings)) and facts.get("split_hash", now) != now:
            raise runs.StaleRun(f"{what} was run on another split than the posts have now; restore it, or use "
                                "train='all' to run it anew on this one")  # fmt: skip
    if facts.get("computation"):
        from rumorlib.training import computation

        now = computation.fingerprint(config)
        declared = declared_since(report.name, facts["finished_utc"])
        if not computation.agree(facts["computation"], now) and not declared:
            raise runs.StaleRun(
                f"{what} was made by other equations: {_told(facts['computation'])} of its new model, today "
                f"{_told(now)}. Use train='all' to train it anew, name the change (a field of the config), or declare "
                f"it in results/{CHANGES.name}: then what was made before is shown with a mark"
            )


def declared_since(run: str, finished_utc: str) -> list[dict[str, str]]:
    """Lines of results/changes.csv (since, runs, what, why) about a run, that were declared after it was made: what was
    made before is shown with a mark until it is made anew. `runs` is a pattern of names, as in a shell.
    An installed package has no such file."""
    if not CHANGES.is_file():
        return []
    with CHANGES.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    return [line for line in lines if finished_utc < line["since"] and fnmatch.fnmatch(run, line["runs"])]


def _told(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in numbers.items())


def _has_checkpoint(report: Report, settings: cfg.Settings) -> bool:
    """Whether the weights are there and whole. With train="none" a damaged file is an error, not a reason to train."""
    if report.config.model == "baseline":
        raise FileNotFoundError(f"{report.name} saves no weights")
    try:
        report.checkpoint()
    except (FileNotFoundError, runs.CorruptRun) as error:
        if settings.train == "none":
            raise runs.MissingRun(f"{error}\n{_how_to_run(report.folder, report.config)}") from error
        return False
    return True


def _how_to_run(folder: Path, config: cfg.RunConfig) -> str:
    data = "" if config.profile == "demo" else " --data <folder of the corpora>"
    command = f"python -m rumorlib run --profile {config.profile} --train missing{data}"
    return f"no finished run in {folder} and train='none' forbids making one; make it with\n    {command}"
