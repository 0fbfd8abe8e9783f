"""Make one run under its lock, or resume it, and write it to its folder."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import SoftFileLease

from rumorlib import config as cfg
from rumorlib.data import processes
from rumorlib.results import circumstances, ledger, locks, runs

if TYPE_CHECKING:
    from rumorlib.training.fitting import Outcome


def make(folder: Path, config: cfg.RunConfig, settings: cfg.Settings, weights: Mapping[str, Path],
         started_from: Mapping[str, Any], lock: SoftFileLease) -> None:  # fmt: skip
    """Make a run, going on from its checkpoint if there is one, enter it in the ledger and write it.

    Args: weights: files it starts from. started_from: their runs and hashes, for report.json. lock: the run's, held.
    Raises: locks.Lost: another process took the run over; nothing was written.
    """
    from rumorlib.training import checkpoints

    place = checkpoints.Place(runs.unfinished(config), lambda: _belongs(config, settings, started_from),
                              60 * settings.checkpoint_minutes)  # fmt: skip
    with checkpoints.kept_in(place), circumstances.measured() as took:
        outcome = _run(config, settings, weights)
    time_s = took.pop("time_s") + place.spent_s
    told = {"resumed": place.resumed, "processes": processes.count() if config.learns and processes.count() > 1 else 0}
    more = {**started_from, **took, **{name: n for name, n in told.items() if n}}
    locks.check(lock)
    # into the ledger first: a process that is killed in between has scored test posts, too
    runs.write_run(folder, config, outcome, time_s, lambda report: ledger.enter(config, report), **more)
    place.remove()
    print(f"{config.path.as_posix()}: {time_s:.1f} s", flush=True)


def _run(config: cfg.RunConfig, settings: cfg.Settings, weights: Mapping[str, Path]) -> Outcome:
    """`kinds.run`, by all processes of a launch where a network learns.

    Raises: SystemExit: it failed, and there are others, which may wait for this one for ever: the launch ends.
    """
    from rumorlib.training import kinds

    if config.learns:
        processes.agreed((config, settings, dict(weights), cfg.own_folders()))
    try:
        return kinds.run(config, settings, **weights)
    except Exception as error:
        if processes.count() == 1 or not config.learns:
            raise
        traceback.print_exc()
        raise SystemExit(f"{config.name} failed ({error}); all processes end, the same command goes on from there") from error


def assist() -> int:
    """What the processes of a launch but the first do: train what it makes, and write nothing, until it has ended."""
    from rumorlib.training import kinds

    while (asked := processes.agreed()) is not None:
        config, settings, weights, own = asked
        for name, folder in own.items():
            cfg.own_corpus(name, folder)
        kinds.run(config, settings, **weights)
    return 0


def _belongs(config: cfg.RunConfig, settings: cfg.Settings, started_from: Mapping[str, Any]) -> dict[str, str]:
    """What decides a run, as hashes: a checkpoint counts where all are the same."""
    from rumorlib.data.batches import device
    from rumorlib.inputs import content
    from rumorlib.training import checkpoints

    weights = {f"weights of {name}": about["checkpoint_sha256"] for name, about in started_from.items()}
    libraries = {name: version for name, version in circumstances.library_versions().items() if name != "pandas"}
    return {"config": cfg.config_hash(config), "code": checkpoints.code(), "device": str(device()),
            "split": content.split_of(config, settings), **content.of_run(config, settings), **weights,
            **libraries}  # fmt: skip
