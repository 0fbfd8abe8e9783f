"""The runs that notebooks need and that are missing: listed, timed, made."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rumorlib import config as cfg
from rumorlib.config import RunConfig, Settings


@dataclasses.dataclass(frozen=True)
class Planned:
    """Runs that are missing, each after those it starts from, of all that were asked for."""

    missing: dict[str, RunConfig]
    asked: dict[str, RunConfig]
    settings: Settings


def planned(names: Iterable[str], given: Mapping[str, Any], data: str | None = None) -> Planned:
    """The runs that notebooks need and that are not there.

    Args: names: of notebooks, as their files are called or their numbers. given: parameters, as of `resolve`.
    Raises: SettingError. runs.StaleRun, runs.CorruptRun: a stored run does not fit.
    """
    from rumorlib.experiments import plan
    from rumorlib.results import making

    asked = {name: value for name, value in given.items() if name in ("profile", "datasets", "seeds", "train", "grid")}
    main, sweep = (cfg.resolve(**asked, data=data, sweep=sweep) for sweep in (False, True))
    every, weights = plan.of_notebooks(names, main, sweep, given.get("with_dmfl", True))
    looked = dataclasses.replace(main, train="missing" if main.train == "none" else main.train)
    return Planned(making.missing(every, looked, weights), every, main)


def lines(made: Planned, workers: int | None = None) -> list[str]:
    """The plan as text: a line per kind of run, model and corpus, what they read, and the time expected."""
    from rumorlib.results import making

    todo = made.missing
    if not todo:
        return [f"{len(made.asked)} runs, all there"]
    groups: dict[tuple[str, str, str], list[RunConfig]] = defaultdict(list)
    for config in todo.values():
        groups[config.kind, config.model, config.dataset].append(config)
    shown = [f"{'kind':9} {'model':9} {'corpus':20} {'runs':>5} {'expected':>12}"]
    total = 0.0
    for (kind, model, dataset), configs in groups.items():
        seconds = sum(making.expected(config)[0] for config in configs)
        total += seconds
        shown.append(f"{kind:9} {model:9} {dataset:20} {len(configs):5} {duration(seconds):>12}")
    workers = making.workers_for(todo, workers)
    shown += ["", *needs(todo.values(), made.settings), ""]
    side = f", {workers} at a time: about {duration(total / workers)}" if workers > 1 else ""
    shown.append(f"{len(made.asked)} runs, {len(todo)} to make (with what they start from): {duration(total)}{side}")
    return [*shown, *_projected(made)]


def _projected(made: Planned) -> list[str]:
    """What the trainings of profile paper would take on a card, where no finished run tells."""
    from rumorlib.results import making
    from rumorlib.studies.cost import steps

    unknown = [one for one in made.missing.values() if one.learns and not making.is_known(one)]
    if made.settings.profile != "paper" or not unknown:
        return []
    took = duration(steps.projected(unknown))
    how = f"products at {steps.SHARE:.0%} of {steps.LIMIT_TFLOPS:,.0f} TFLOP/s"
    least = f"a step at least {steps.LEAST_STEP_S * 1000:.0f} ms"
    return [f"no finished run tells what {len(unknown)} trainings take: the times above are guesses. Projected on one "
            f"{steps.CARD}, *unmeasured*: at most {took} ({how}, {least}, all epochs, all posts)"]  # fmt: skip


def make(found: Planned, workers: int | None) -> str:
    """Make what is not there, side by side. Returns: what failed, "" if nothing did."""
    from rumorlib.results import making

    if not found.missing or found.settings.train == "none":
        return ""
    _need_writable(cfg.output_root() / "results" / found.settings.profile)
    os.environ[cfg.MADE_SINCE] = datetime.now(UTC).isoformat(timespec="seconds")
    print("\n".join(lines(found, workers)), flush=True)
    made = making.make(found.missing, found.settings, making.workers_for(found.missing, workers))
    return making.summary(made)


def _need_writable(folder: Path) -> None:
    """Refuse a folder that takes no file, before hours of training. Raises: SettingError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cfg.SettingError(f"{folder} cannot be written ({error.strerror}); name another with --output") from error


def needs(configs: Iterable[RunConfig], settings: Settings) -> list[str]:
    """A line per folder of posts, captions or weights that runs read, and whether it is there."""
    from rumorlib.inputs import content

    found: dict[str, Path] = {}
    root = settings.data_root or Path("<data>")
    for config in configs:
        known = cfg.about(config.dataset)
        if known.kind == "posts" or known.kind == "photo" or config.model == "sclip":
            name = config.dataset if config.dataset in cfg.CORPORA else f"{config.dataset}-{config.language}"
            if name in cfg.CORPORA and cfg.record(name).kind != "drawn" and not name.startswith("demo-"):
                found[f"corpus {name}"] = _folder(cfg.record(name), root)
        for weights in content.weights(config):
            found[f"weights {weights}"] = cfg.weights_place(weights, root)
    said = [f"{name}: {_state(name, place)}" for name, place in sorted(found.items())]
    where = "<data>: give it with --data, or as RUMORLIB_DATA; which files: rumorlib/data/README.md"
    return [*said, where] if found and not settings.data_root else said


def _folder(record: cfg.CorpusRecord, root: Path) -> Path:
    return Path(record.folder) if record.own else root / (record.folder or "")


def _state(name: str, place: Path) -> str:
    """Whether a folder is there, with the pictures that its corpus needs."""
    if not place.exists():
        return f"missing, looked for in {place}"
    kind, _, called = name.partition(" ")
    if kind == "corpus" and cfg.record(called).pictures and place.is_dir() and not cfg.has_pictures(place):
        return f"present, without pictures: put them below {place}"
    return "present"


def duration(seconds: float) -> str:
    """Seconds in the two largest units that fit."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
