"""results/index.csv against what is on disk: nothing claimed that is missing, nothing there that is not claimed."""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
from pathlib import Path

import pandas as pd
import pytest

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.config import profiles
from rumorlib.data import files
from rumorlib.metrics import evaluation
from rumorlib.results import artifacts, provenance, store
from rumorlib.studies.protocol import compute

COLUMNS = [
    "id",
    "paper",
    "printed",
    "caption",
    "notebook",
    "kind",
    "status_demo",
    "status_laptop",
    "status_paper",
    "reason",
]
STATUSES = {"reproduced", "partial", "not_possible", "diagram", "planned"}
NOTEBOOKS = {
    "", "01_data_exploration", "02_sclip_pretraining", "03_micc", "04_dmfl", "05_ablations", "06_sensitivity",
    "07_correlation_heatmaps", "08_explanations", "09_believable_numbers", "10_cost",
}  # fmt: skip
EXPERIMENTS = {*(f"m_e{n}" for n in range(1, 9)), *(f"d_e{n}" for n in range(1, 8))}  # of the two papers
REPORTED_COLUMNS = ["paper", "dataset", "row", "metric", "value", "unit", "reading", "source", "derivation"]
LARGEST_FILE_KB = 500
MOST_RESULTS_MB = 25


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


INDEX = read(artifacts.INDEX)
STORE = cfg.PROJECT_ROOT / "results" / "laptop" / "store"
RUNS = store.entries(STORE)
TABLES = STORE.parent / "tables"
KIND = {row["id"]: row["kind"] for row in INDEX}
REPORTED = sorted((artifacts.INDEX.parent / "reported").glob("*.csv"))


def made(profile: str, kind: str) -> list[Path]:
    """Committed csv files of one kind and profile."""
    folder = f"results/{profile}/tables" if kind == "table" else f"figures/{profile}"
    return sorted((cfg.PROJECT_ROOT / folder).glob("*.csv"))


MADE = [
    (profile, kind, path) for profile in cfg.PROFILES for kind in ("table", "figure") for path in made(profile, kind)
]


def test_the_index_is_well_formed() -> None:
    assert list(INDEX[0]) == COLUMNS and len(KIND) == len(INDEX), "columns, or an id twice"
    assert set(KIND) >= EXPERIMENTS
    for row in INDEX:
        statuses = {row[f"status_{profile}"] for profile in cfg.PROFILES}
        assert statuses <= STATUSES and row["kind"] in ("table", "figure", "diagram"), row["id"]
        assert row["notebook"] in NOTEBOOKS and bool(row["notebook"]) == (row["kind"] != "diagram"), row["id"]
        assert (row["kind"] == "diagram") == (statuses == {"diagram"}), row["id"]
        assert row["reason"] or statuses == {"reproduced"}, f"{row['id']}: say why"


@pytest.mark.parametrize("row", INDEX, ids=lambda row: row["id"])
def test_what_the_index_claims_is_there(row: dict[str, str]) -> None:
    for profile in cfg.PROFILES:
        present = {path.stem for path in made(profile, row["kind"])}
        claimed = row[f"status_{profile}"] in ("reproduced", "partial")
        word = "claims it, but it is missing" if claimed else "does not claim it, but it is there"
        assert claimed == (row["id"] in present), f"{row['id']} at {profile}: the index {word}"


def test_nothing_on_disk_is_an_orphan() -> None:
    for profile, _kind, path in MADE:
        assert path.stem in KIND, f"{profile}: {path.name} is not in the index"
    endings = {"tables": {".csv", ".md", ".json"}, "figures": {".csv", ".png", ".json"}}
    for profile in cfg.PROFILES:
        for kind, folder in (("tables", f"results/{profile}/tables"), ("figures", f"figures/{profile}")):
            found = [p for p in (cfg.PROJECT_ROOT / folder).glob("*") if not p.name.startswith(".")]
            complete = {p.stem: {q.suffix for q in found if q.stem == p.stem} for p in found}
            assert all(have == endings[kind] for have in complete.values()), f"{folder}: {complete}"


@pytest.mark.parametrize(("profile", "kind", "path"), MADE, ids=lambda part: getattr(part, "stem", str(part)))
def test_provenance_fits(profile: str, kind: str, path: Path) -> None:
    provenance = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert (provenance["id"], provenance["profile"]) == (path.stem, profile)
    for name, digest in provenance["files"].items():
        assert files.file_hash(path.parent / name) == digest, f"{name} was changed by hand or is out of date"
    for name, fingerprint in provenance["runs"].items():
        if profile == "demo":  # its runs are not kept
            continue
        assert name in RUNS, f"{path.stem}: its run {name} is missing"
        config, report = RUNS[name]["config"], RUNS[name]["report"]
        content = [config, report["metrics"], report["files"].get(store.PREDICTIONS)]
        made_of = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        assert made_of == fingerprint, f"{path.stem} was made from another run of {name}"


SATURATED = {row["run"] for row in read(cfg.PROJECT_ROOT / "results/laptop/tables/p_7.csv")}


@pytest.mark.parametrize(("profile", "kind", "path"), MADE, ids=lambda part: getattr(part, "stem", str(part)))
def test_a_table_names_its_marked_runs(profile: str, kind: str, path: Path) -> None:
    made = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    expected = {"saturated": set(), "declared": set()}
    if profile == "laptop":
        behind = made["runs"]
        expected["saturated"] = SATURATED & set(behind)
        finished = {name: RUNS[name]["report"]["finished_utc"] for name in behind}
        expected["declared"] = {name for name in behind if results.declared_since(name, finished[name])}
    said = made.get("marks", {})
    assert {mark: {run for runs in said.get(mark, {}).values() for run in runs} for mark in artifacts.MARKS} == expected
    if kind == "table":
        text = path.with_suffix(".md").read_text(encoding="utf-8")
        assert {mark for mark in artifacts.MARKS if f"\nMarked {mark}, until made anew" in text} == set(said)


@pytest.mark.parametrize("row", [row for row in INDEX if row["notebook"]], ids=lambda row: row["id"])
def test_the_notebook_says_which_function_makes_it(row: dict[str, str]) -> None:
    found = provenance.functions(row["notebook"])["save_table" if row["kind"] == "table" else "save_figure", row["id"]]
    module, _, name = found.rpartition(".")
    assert module.startswith("rumorlib.studies.") and callable(getattr(importlib.import_module(module), name))


# Verdicts weigh rows of several tables, and a few studies do not say it yet: their rows are those of all their runs.
ROWS_UNSAID = {"d_claims", "d_e11_claims", "d_e11_fig", "d_e2_claims", "d_e6", "d_e6_claims", "m_claims", "m_e6_claims",
               "s_claims"}  # fmt: skip


@pytest.mark.parametrize("path", [path for profile, _, path in MADE if profile == "laptop"], ids=lambda path: path.stem)
def test_every_row_names_its_runs(path: Path) -> None:
    said = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert said["function"].startswith("rumorlib.studies.")
    if not said["runs"]:
        assert "rows" not in said
        return
    rows = said["rows"]
    assert (rows is None) == (path.stem in ROWS_UNSAID and path != TABLES / "d_e6.csv")
    if rows is not None:
        assert len(rows) == len(read(path)) and all(rows)
        assert {place for row in rows for place in row} <= set(range(len(said["runs"])))


def test_a_row_of_the_main_table_names_the_seeds_of_its_model() -> None:
    said = json.loads((TABLES / "m_e2.json").read_text(encoding="utf-8"))
    names = sorted(said["runs"])
    for line, row in zip(read(TABLES / "m_e2.csv"), said["rows"], strict=True):
        configs = [RUNS[names[place]]["config"] for place in row]
        assert {config["variant"] for config in configs} == {line["variant"]}
        assert len(configs) == int(line["n_seeds"]) and all(c["dataset"] in line["dataset"] for c in configs)


def test_rows_keep_their_runs_through_filter_sort_and_choice_of_columns() -> None:
    rows = {"model": ["b", "a", "a"], "k": [1, 2, 3], "score": [0.1, 0.9, 0.5], provenance.RUNS: [["r1"], ["r3", "r2"],
            ["r2"]]}  # fmt: skip
    frame = provenance.by_runs(pd.DataFrame(rows), "model", "k")
    assert list(frame) == ["model", "k", "score"]
    assert provenance.runs_of_rows(frame) == [("r1",), ("r2", "r3"), ("r2",)]
    kept = frame[frame["score"] > 0.2].sort_values("score", ignore_index=True)
    assert provenance.runs_of_rows(kept) == [("r2",), ("r2", "r3")]
    assert provenance.runs_of_rows(pd.concat([kept, frame], ignore_index=True))[2:] == [("r1",), ("r2", "r3"), ("r2",)]
    assert provenance.runs_of_rows(frame[["score"]]) is None, "the columns that tell rows apart are gone"
    assert provenance.runs_of_rows(frame.assign(model="c")) is None, "rows that no run is known of"
    assert provenance.runs_of_rows(provenance.by_runs(pd.DataFrame(rows), "model")) == [("r1",), *[("r2", "r3")] * 2]


def test_every_committed_metric_recomputes_from_the_predictions() -> None:
    wrong = [name for name, entry in RUNS.items() if entry["predictions"] and not recomputes(name, entry)]
    assert not wrong, wrong


def recomputes(name: str, entry: dict) -> bool:
    """Whether a run's metrics are those of its stored predictions, and every split but train is stored."""
    metrics, predictions = entry["report"]["metrics"], store.frame(STORE, name, store.PREDICTIONS)
    splits = {str(split): evaluation.with_prob(part) for split, part in predictions.groupby("split")}
    again = {split: evaluation.frame_metrics(part) for split, part in splits.items()}
    for split, part in splits.items():
        if "image_macro" in metrics.get(split, {}):
            again[split]["image_macro"] = evaluation.image_macro_metrics(part)
    made = files.flatten(files.plain(again))
    said = files.flatten({split: found for split, found in metrics.items() if split != "train"})
    by_likeness = ("text_group" in predictions) == ("n_chars" in predictions)  # texts without pictures
    rounded = "log_odds" not in predictions and predictions["prob_rumor"].isin([0, 1]).mean() >= artifacts.SATURATED
    return by_likeness and rounded == (name in SATURATED) and made == pytest.approx(said, abs=1e-12, nan_ok=True)


def test_no_cell_is_a_formula() -> None:
    for path in [artifacts.INDEX, *REPORTED, *(path for *_, path in MADE)]:
        with path.open(encoding="utf-8", newline="") as file:
            for cell in (cell for row in csv.reader(file) for cell in row):
                dangerous = len(cell) > 1 and cell[0] in "=+-@\t\r" and not _is_number(cell)
                assert not dangerous, f"{path.name}: {cell!r}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("path", REPORTED, ids=lambda path: path.stem)
def test_reported_numbers_say_where_they_come_from(path: Path) -> None:
    rows = read(path)
    assert path.stem in KIND and rows and list(rows[0]) == REPORTED_COLUMNS
    for row in rows:
        assert row["source"] and row["derivation"] and row["reading"], row
        value = float(row["value"])
        assert row["unit"] != "fraction" or 0 <= value <= 1, row
        assert len(row["derivation"].split()) <= 20, "a short paraphrase, no sentence of a paper"


def halved(given: cfg.Settings, which: str) -> list[cfg.RunConfig]:
    """All that the second step of the sweep of a loss weight may ask for; dev says which it does."""
    whole = profiles.points(given).loss_weights
    values = {round(point + side, 2) for point in whole for side in (-0.2, 0.2)}
    datasets = [dataset for dataset in profiles.swept(given) if profiles.loss_weights(given, dataset) == whole]
    return [experiments.dmfl(given, dataset, seed, f"{which}={value}", **{which: value})
            for dataset in datasets for seed in profiles.loss_weight_seeds(given) for value in values]  # fmt: skip


def planned(profile: str) -> dict[str, dict]:
    """Config of every run that a table or figure of a profile asks for, by its folder."""
    every: dict[str, cfg.RunConfig] = {}
    for grid in cfg.GRIDS:
        every |= compute.planned(profile, grid)
        given = cfg.resolve(profile, train="none", grid=grid)
        every |= {c.path.as_posix(): c for which in ("lambda_c", "lambda_a") for c in halved(given, which)}
    return {path: cfg.as_dict(config) for path, config in every.items()}


@pytest.mark.parametrize("profile", ["laptop", "paper"])
def test_every_committed_run_is_one_the_experiments_still_plan(profile: str) -> None:
    """A run whose config was changed since would be refused as stale by the first who loads it."""
    plans = planned(profile)
    found = store.entries(cfg.PROJECT_ROOT / "results" / profile / "store")
    assert not [name for name, entry in found.items() if entry["config"] != plans.get(name)]


def test_committed_files_are_few_and_small() -> None:
    """A shard of a hundred runs may be large: it is written once."""
    everything = [p for top in ("results", "figures") for p in (cfg.PROJECT_ROOT / top).rglob("*") if p.is_file()]
    large = {p.name: p.stat().st_size for p in everything if p.stat().st_size > LARGEST_FILE_KB * 1000}
    assert not {name for name in large if not name.endswith((".xz", "runs.jsonl"))}, large
    assert sum(p.stat().st_size for p in everything if "results" in p.parts) < MOST_RESULTS_MB * 1e6
