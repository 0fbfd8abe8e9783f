"""Committed tables of notebook 09 against the predictions stored beside them, computed anew by hand."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pandas as pd
import pytest

from rumorlib import config as cfg
from rumorlib import experiments
from rumorlib.experiments import benches
from rumorlib.metrics import evaluation
from rumorlib.results import store
from rumorlib.studies.protocol import anatomy, compute, selection
from rumorlib.training import exchange_runs

VARIANTS = {"MICC (literal)": "default", "MICC (product input)": "product", "MICC (relevance input)": "relevance"}
LAPTOP = cfg.PROJECT_ROOT / "results" / "laptop"
SETTINGS = cfg.resolve("laptop", train="none")


def stored(config: cfg.RunConfig) -> pd.DataFrame:
    """Predictions of a committed run, with `right`: whether the post was called right."""
    frame = evaluation.with_prob(store.frame(LAPTOP / "store", config.path.as_posix(), store.PREDICTIONS))
    return frame.assign(right=(frame["prob_rumor"] >= 0.5) == (frame["label"] == 1))


def committed(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False)


def image_macro(frame: pd.DataFrame) -> float:
    """Balanced accuracy with each picture counting once."""
    weight = 1 / frame.groupby("image_group")["label"].transform("size")
    shares = [(weight * frame["right"])[frame["label"] == k].sum() / weight[frame["label"] == k].sum() for k in (0, 1)]
    return sum(shares) / 2


@pytest.mark.parametrize("dataset", benches.of_anatomy(SETTINGS))
def test_every_step_of_the_anatomy_recomputes(dataset: str) -> None:
    table = committed(LAPTOP / "tables" / "p_2.csv").query("dataset == @dataset").set_index("step")
    frames = {fit: pd.concat(map(stored, runs)) for fit, runs in experiments.anatomy_runs(SETTINGS, dataset).items()}
    for step, (fit, reading, best) in anatomy.READINGS.items():
        frame = frames[fit]
        scores = frame[frame["split"] == reading].groupby("seed")["right"].mean()
        again = scores.max() if best else scores.mean()
        assert float(table.loc[step, "accuracy"]) == pytest.approx(again, rel=1e-5, abs=1e-9), step
    assert set(table.index) == set(anatomy.READINGS)


@pytest.mark.parametrize("dataset", benches.of_anatomy(SETTINGS))
def test_every_dose_recomputes(dataset: str) -> None:
    data = committed(cfg.PROJECT_ROOT / "figures" / "laptop" / "p_fig2.csv").query("dataset == @dataset")
    scores = {point: stored(run)["right"].mean() for point, run in experiments.dose_runs(SETTINGS, dataset).items()}
    for line in data.itertuples():
        point = (line.leak, line.dose) if line.dose else ("", 0.0)
        assert line.accuracy == pytest.approx(scores[point], rel=1e-5, abs=1e-9), point
    assert len(data) == len(scores) - 1 + len(experiments.leaks(SETTINGS, dataset)), "dose 0 starts every curve"


def test_every_rule_recomputes() -> None:
    table = committed(LAPTOP / "tables" / "p_1.csv").set_index("rule")
    runs = dict(
        zip((one.name for one in experiments.choices()), experiments.selection_runs(SETTINGS, "twitter"), strict=True)
    )
    score = {name: image_macro(stored(run)) for name, run in runs.items()}
    loss = {}
    for name, run in runs.items():
        history = store.frame(LAPTOP / "store", run.path.as_posix(), store.HISTORY)
        loss[name] = history.groupby("fold")["dev_loss"].min()
    for rule, line in table.iterrows():
        if line["configuration"] in runs:
            assert float(line["estimate"]) == pytest.approx(score[line["configuration"]], rel=1e-5, abs=1e-9), rule
            assert float(line["dev_loss"]) == pytest.approx(loss[line["configuration"]].mean(), rel=1e-5, abs=1e-9), (
                rule
            )
    for rule, line in table[table.index.str.startswith("MICC: ")].iterrows():
        variant, _, seed = (
            VARIANTS[line["configuration"].split(",")[0]],
            *line["configuration"].partition(", seed ")[1:],
        )
        plans = [one for one in experiments.micc_main(SETTINGS) if (one.dataset, one.variant) == ("twitter", variant)]
        chosen = [one for one in plans if not seed or one.seed == int(seed)]
        scores = [image_macro(frame[frame["split"] == "test"]) for frame in map(stored, chosen)]
        assert float(line["estimate"]) == pytest.approx(sum(scores) / len(scores), rel=1e-5), rule
    assert table.loc["a priori", "configuration"] == selection.DEFAULT
    assert table.loc["cross-fit, lowest loss", "configuration"] == min(loss, key=lambda name: loss[name].mean())
    assert table.loc["single dev", "configuration"] == min(loss, key=lambda name: loss[name][0])
    assert float(table.loc["oracle on test", "estimate"]) == pytest.approx(max(score.values()), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("dataset", benches.with_pictures(SETTINGS))
def test_every_counterfactual_recomputes(dataset: str) -> None:
    table = committed(LAPTOP / "tables" / "p_3.csv").query("dataset == @dataset")
    runs = experiments.exchanged_runs(SETTINGS, dataset)
    for (model, rows), run in zip(table.groupby("model", sort=False), runs, strict=True):
        frame = stored(run)
        first = frame[frame["split"] == "test"].reset_index(drop=True)
        for line in rows.itertuples():
            part = frame[frame["split"] == exchange_runs.reading(line.intervention)].reset_index(drop=True)
            again = image_macro(part) if dataset == "twitter" else part["right"].mean()
            assert float(line.estimate) == pytest.approx(again, rel=1e-5, abs=1e-9), (model, line.intervention)
            moved = (part["prob_rumor"] - first["prob_rumor"]).abs().mean()
            assert float(line.moved) == pytest.approx(moved, rel=1e-5, abs=1e-9), (model, line.intervention)


def test_each_of_these_runs_has_its_line_in_the_ledger() -> None:
    lines = pd.read_csv(LAPTOP / "test_ledger.csv")
    known = set(zip(lines["run"], lines["config_hash"], lines["split_hash"], strict=True))
    entries = store.entries(LAPTOP / "store")
    done = [name for name in entries if fnmatch(name, "bench/*") or fnmatch(name, "micc/*/product-exchanged/*")]
    assert done
    for name in done:
        report = entries[name]["report"]
        hashes = [report["config_hash"], *report.get("earlier_config_hashes", [])]
        assert any((name, one, report["facts"]["split_hash"]) in known for one in hashes), name


# --- the table of costs: every committed run counts once, and hours are what the runs say they took -----


def test_hours_are_those_of_the_committed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUMORLIB_OUTPUT", str(cfg.PROJECT_ROOT))
    table = compute.table("laptop").set_index(["model", "dataset"])
    planned = compute.planned("laptop", "reduced")
    times = {
        path: entry["report"]["time_s"] for path, entry in store.entries(LAPTOP / "store").items() if path in planned
    }
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
