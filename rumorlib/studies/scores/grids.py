"""The points of a sweep; and of two settings moved together (M-E7): do they interact, where do train and test part?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from rumorlib.experiments import corpus_name
from rumorlib.metrics import curves
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.scores.sweeps import SETTINGS, by_variant

SPLITS = ("train", "dev", "test")


def points(reports: Sequence[Report], first: str, second: str, metric: str = "accuracy") -> pd.DataFrame:
    """One line per corpus, value of each setting and seed: the metric on train, dev and test, and gap = train − test.

    Args: first, second: keys of `sweeps.SETTINGS`. metric: of `classification_metrics`, in [0, 1].
    """
    rows = []
    for report in (report for seeds in by_variant(reports).values() for report in seeds):
        values = {split: report.metrics[split][metric] for split in SPLITS}
        settings = {name: SETTINGS[name](report.config) for name in (first, second)}
        rows.append({"dataset": corpus_name(report.config), **settings, "seed": report.config.seed, **values,
                     "gap": values["train"] - values["test"], RUNS: run_names([report])})  # fmt: skip
    return by_runs(pd.DataFrame(rows), "dataset", first, second, "seed")


def gaps(frame: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Mean over seeds of `points`: dataset, both settings, train, dev, test, gap, n_seeds. Scores in [0, 1]."""
    grouped = frame.groupby(["dataset", first, second], sort=True)
    table = grouped[[*SPLITS, "gap"]].mean()
    table = table.assign(n_seeds=grouped.size())
    table[RUNS] = [run_names(part) for _, part in grouped]
    return by_runs(table.reset_index(), "dataset", first, second)


def interaction(frame: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """How much of the grid's variance is each setting's own, how much the two need each other for, how much is seed.

    Two-way analysis of variance with seeds as replicates; the test is of seed noise alone: posts are the same at every
    point, and whether other posts would show it is not asked.

    Args: frame: of `points`, every seed at every point of the grid.
    Returns: dataset, split, share_<first>, share_<second>, share_interaction, share_seed (of the sum of squares, adding
        to 1), interaction_points (half the spread of what is left after both settings' own effects, in points), f and p
        of the interaction (nan with one seed or without seed noise), n_seeds.
    Raises: ValueError: a point lacks a seed that others have.
    """
    rows = []
    for dataset, part in frame.groupby("dataset", sort=False):
        for split in SPLITS:
            cells = part.pivot_table(index=[first, second], columns="seed", values=split)
            n_first, n_second = (cells.index.get_level_values(name).nunique() for name in (first, second))
            if cells.isna().any(axis=None) or len(cells) != n_first * n_second:
                raise ValueError(f"{dataset}: the grid of {first} and {second} is not complete")
            cube = cells.to_numpy().reshape(n_first, n_second, -1)
            row = {"dataset": dataset, "split": split} | _variance(cube, first, second)
            rows.append(row | {RUNS: run_names(part)})
    return by_runs(pd.DataFrame(rows), "dataset")


def _variance(cube: np.ndarray, first: str, second: str) -> dict[str, float]:
    """Decomposition of (A, B, seeds) values."""
    A, B, S = cube.shape
    mean, cells = cube.mean(), cube.mean(2)
    rows, columns = cells.mean(1, keepdims=True) - mean, cells.mean(0, keepdims=True) - mean
    left = cells - mean - rows - columns
    squares = {f"share_{first}": B * S * (rows**2).sum(), f"share_{second}": A * S * (columns**2).sum()}
    squares |= {"share_interaction": S * (left**2).sum(), "share_seed": ((cube - cells[..., None]) ** 2).sum()}
    total = sum(squares.values())
    free, noise = (A - 1) * (B - 1), A * B * (S - 1)
    f = p = float("nan")
    if noise and squares["share_seed"] > 0:
        f = squares["share_interaction"] / free / (squares["share_seed"] / noise)
        p = float(stats.f.sf(f, free, noise))
    shares = {name: float(value / total) if total else float("nan") for name, value in squares.items()}
    return shares | {"interaction_points": float(50 * np.ptp(left)), "f": float(f), "p": p, "n_seeds": S}


def grid_note(frame: pd.DataFrame, setting: str) -> str:
    """The points there are, per corpus where they differ, and that few of them say nothing about the curve's shape."""
    found: dict[tuple, list[str]] = {}
    for dataset, part in frame.groupby("dataset", sort=False):
        values = list(dict.fromkeys(part[setting]))
        numeric = pd.api.types.is_numeric_dtype(frame[setting])
        found.setdefault(tuple(sorted(values) if numeric else values), []).append(dataset)
    told = []
    for values, datasets in found.items():
        where = f" on {', '.join(datasets)}" if len(found) > 1 else ""
        few = ", too few for the shape of a curve" if len(values) < curves.FEWEST else ""
        told.append(f"{', '.join(map(str, values))}{where}{few}")
    return f"Points of {setting}: {'; '.join(told)}."
