"""What all runs cost: planned by the experiments, and what the finished ones took (p_6)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rumorlib import config as cfg
from rumorlib import results
from rumorlib.config import RunConfig
from rumorlib.experiments import plan


def planned(profile: str, grid: str) -> dict[str, RunConfig]:
    """Every run of the notebooks, with what it starts from, by its folder."""
    main, sweep = (cfg.resolve(profile, train="none", grid=grid, sweep=sweep) for sweep in (False, True))
    every, _ = plan.of_notebooks(plan.OF_NOTEBOOK, main, sweep)
    todo = list(every.values())
    while todo:
        config = todo.pop(0)
        every.setdefault(config.path.as_posix(), config)
        todo += [needed for needed in (config.stage1, config.parent) if needed]
    return every


def table(profile: str) -> pd.DataFrame:
    """Runs and time per model and corpus, and in all.

    Returns: model, dataset, planned (on the reduced grid), done (of these), minutes (of a finished run, median), most
        (the longest), hours (of all finished ones), planned_full (on the full grid), hours_full (those, at the median
        of the finished; empty where none is).
    """
    reduced, full = (planned(profile, grid) for grid in cfg.GRIDS)
    rows: dict[tuple[str, str], dict[str, list]] = {}
    for path, config in (reduced | full).items():
        row = rows.setdefault((config.model, config.dataset), {"reduced": [], "full": [], "minutes": []})
        row["full"].append(path)
        if path in reduced:
            row["reduced"].append(path)
            row["minutes"] += _minutes(config)
    shown = pd.DataFrame([_row(*names, **row) for names, row in sorted(rows.items())])
    total = shown[["planned", "done", "hours", "planned_full", "hours_full"]].sum()
    total = {"model": "all", "dataset": "all"} | {
        name: int(v) if "hours" not in name else v for name, v in total.items()
    }
    return pd.concat([shown, pd.DataFrame([total])], ignore_index=True)


def _minutes(config: RunConfig) -> list[float]:
    """What a finished run took, [] of one that is not there."""
    found = results.stored(config)
    return [found[0]["time_s"] / 60] if found else []


def _row(model: str, dataset: str, reduced: list, full: list, minutes: list) -> dict[str, object]:
    median = float(np.median(minutes)) if minutes else np.nan
    return {"model": model, "dataset": dataset, "planned": len(reduced), "done": len(minutes), "minutes": median,
            "most": max(minutes, default=np.nan), "hours": sum(minutes) / 60, "planned_full": len(full),
            "hours_full": len(full) * median / 60}  # fmt: skip
