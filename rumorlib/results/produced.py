"""One run made while its lock is held: trained, or gone on with, and put in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import SoftFileLease

from rumorlib import config as cfg
from rumorlib.results import circumstances, ledger, locks, runs


def make(folder: Path, config: cfg.RunConfig, settings: cfg.Settings, weights: Mapping[str, Path],
         started_from: Mapping[str, Any], lock: SoftFileLease) -> None:  # fmt: skip
    """Make a run, going on from its checkpoint if there is one, write it and enter it in the ledger.

    Args: weights: files it starts from. started_from: their runs and hashes, for report.json. lock: the run's, held.
    Raises: locks.Lost: another process took the run over; nothing was written.
    """
    from rumorlib.training import checkpoints, kinds

    place = checkpoints.Place(runs.unfinished(config), lambda: _belongs(config, settings, started_from),
                              60 * settings.checkpoint_minutes)  # fmt: skip
    with checkpoints.kept_in(place), circumstances.measured() as took:
        outcome = kinds.run(config, settings, **weights)
    time_s = took.pop("time_s") + place.spent_s
    more = {**started_from, **took, **({"resumed": place.resumed} if place.resumed else {})}
    locks.check(lock)
    runs.write_run(folder, config, outcome, time_s, **more)
    place.remove()
    ledger.enter(config, json.loads((folder / "report.json").read_text(encoding="utf-8")))
    print(f"{config.path.as_posix()}: {time_s:.1f} s", flush=True)


def _belongs(config: cfg.RunConfig, settings: cfg.Settings, started_from: Mapping[str, Any]) -> dict[str, str]:
    """What decides a run, as hashes: a checkpoint counts where all are the same."""
    from rumorlib.data.batches import device
    from rumorlib.inputs import content
    from rumorlib.training import checkpoints

    weights = {f"weights of {name}": about["checkpoint_sha256"] for name, about in started_from.items()}
    libraries = {name: version for name, version in circumstances.library_versions().items() if name != "pandas"}
    return {"config": cfg.config_hash(config), "code": checkpoints.code(), "device": str(device()),
            **content.of_run(config, settings), **weights, **libraries}  # fmt: skip
