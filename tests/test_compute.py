"""The table of costs: every committed run is counted once, and hours are the sum of what the runs say they took."""

from __future__ import annotations

import pytest

from rumorlib import config as cfg
from rumorlib.results import store
from rumorlib.studies.protocol import compute

STORE = cfg.PROJECT_ROOT / "results" / "laptop" / "store"


def test_hours_are_those_of_the_committed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUMORLIB_OUTPUT", str(cfg.PROJECT_ROOT))
    table = compute.table("laptop").set_index(["model", "dataset"])
    planned = compute.planned("laptop", "reduced")
    times = {path: entry["report"]["time_s"] for path, entry in store.entries(STORE).items() if path in planned}
    everything = table.loc[("all", "all")]
    assert everything["done"] == len(times) and everything["planned"] == len(planned)
    assert everything["hours"] == pytest.approx(sum(times.values()) / 3600)
    bench = [time for path, time in times.items() if path.startswith("bench/twitter/")]
    assert table.loc[("bench", "twitter"), "most"] >= max(bench) / 60
    assert table.loc[("micc", "photo-en"), "planned_full"] > table.loc[("micc", "photo-en"), "planned"]


def test_a_run_of_both_grids_has_the_same_settings_in_both() -> None:
    """Else one of them would be refused as stale."""
    reduced, full = (compute.planned("laptop", grid) for grid in cfg.GRIDS)
    assert all(full[path] == config for path, config in reduced.items() if path in full)
    assert set(reduced) <= set(full)
