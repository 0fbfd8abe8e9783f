"""Variants named on the command line, `python -m rumorlib run --set dmfl.lambda_a=1.0,2.4`: trained, and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rumorlib import config as cfg
from rumorlib import results
from rumorlib.commands.planning import Planned
from rumorlib.data import files
from rumorlib.experiments import variants
from rumorlib.results import making
from rumorlib.studies.scores import comparison

SHOWN = ["dataset", "model", "variant", "split", "primary_value", "primary_low", "primary_high", "auc", "n_seeds"]


def planned(asked: Mapping[str, Sequence[Any]], given: Mapping[str, Any]) -> Planned:
    """The models as they are, and every combination of the values asked for, per dataset and seed of a sweep.

    Raises: SettingError: as `variants.variants` and `resolve`.
    """
    chosen = {name: value for name, value in given.items() if name in ("profile", "datasets", "seeds", "train", "grid")}
    settings = cfg.resolve(**chosen, sweep=True)
    every = {config.path.as_posix(): config for config in variants.variants(settings, asked)}
    return Planned(making.missing(every, settings), every, settings)


def table(made: Planned) -> str:
    """A row per corpus, variant and split of the runs that are there, as text; all columns go to a CSV."""
    there = [one for one in made.asked.values() if making.reports.is_there(one, made.settings)]
    if not there:
        return ""
    frame = comparison.main_table([results.run_or_load(one, made.settings) for one in there])
    place = cfg.output_root() / "results" / made.settings.profile / "tables" / "set.csv"
    files.write_csv(place, frame)
    return f"{frame[SHOWN].to_string(index=False, float_format='%.3f')}\n\nall columns: {place}"
