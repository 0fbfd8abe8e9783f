"""results/index.csv against what is on disk: nothing claimed that is missing, nothing there that is not claimed."""

from __future__ import annotations

import csv
import fnmatch
import hashlib
import importlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.config import profiles
from rumorlib.data import files
from rumorlib.data.keys import image_weights
from rumorlib.experiments import own_posts
from rumorlib.metrics import learning
from rumorlib.results import artifacts, layout, provenance, store
from rumorlib.studies.protocol import compute
from rumorlib.training import fitting

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
    "07_correlation_heatmaps", "08_explanations", "09_believable_numbers", "10_cost", "11_your_posts",
    "12_papers_own_posts",
}  # fmt: skip
EXPERIMENTS = {*(f"m_e{n}" for n in range(1, 9)), *(f"d_e{n}" for n in range(1, 8))}  # of the two papers
REPORTED_COLUMNS = ["paper", "dataset", "row", "metric", "value", "unit", "reading", "source", "derivation"]
LARGEST_FILE_KB = 500
MOST_RESULTS_MB = 35  # with the papers' own posts


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


INDEX = read(artifacts.INDEX)
STORE = cfg.PROJECT_ROOT / "results" / "laptop" / "store"
RUNS = store.entries(STORE)
TABLES = STORE.parent / "tables"
KIND = {row["id"]: row["kind"] for row in INDEX}
REPORTED = sorted((artifacts.INDEX.parent / "reported").glob("*.csv"))


entries = cache(provenance.entries)


def said_of(path: Path) -> dict:
    """The provenance of a committed csv: what made it, of which runs."""
    return entries(path.parent)[path.stem]


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


def test_what_the_index_claims_is_there_and_nothing_else() -> None:
    present = {(profile, kind, path.stem) for profile, kind, path in MADE}
    claimed = {(profile, row["kind"], row["id"]) for row in INDEX for profile in cfg.PROFILES
               if row[f"status_{profile}"] in ("reproduced", "partial")}  # fmt: skip
    assert claimed <= present, f"missing: {sorted(claimed - present)}"
    unclaimed = {(profile, name) for profile, _, name in present} - {(profile, name) for profile, _, name in claimed}
    assert not unclaimed, f"not in the index: {sorted(unclaimed)}"


def test_every_table_and_figure_has_its_two_files_and_its_entry_of_provenance() -> None:
    for folder in (cfg.PROJECT_ROOT / place for profile in cfg.PROFILES for place in artifacts.places(profile)):
        endings = {".csv", ".md" if folder.name == "tables" else ".png"}
        found = [p for p in folder.glob("*") if not p.name.startswith(".") and p.name != provenance.FILE]
        complete = {p.stem: {q.suffix for q in found if q.stem == p.stem} for p in found}
        assert all(have == endings for have in complete.values()), f"{folder}: {complete}"
        assert set(entries(folder)) == set(complete), folder


@cache
def content_of(name: str) -> str | None:
    """Hash of what a table is made from: a run's config, metrics and predictions; None for a run that is missing."""
    if name not in RUNS:
        return None
    config, report = RUNS[name]["config"], RUNS[name]["report"]
    content = [config, report["metrics"], report["files"].get(store.PREDICTIONS)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def test_provenance_fits() -> None:
    wrong = []
    for profile, _, path in MADE:
        said = said_of(path)
        known_as = (said["id"], said["profile"])
        wrong += [f"{path.stem} at {profile}: is called {known_as}"] * (known_as != (path.stem, profile))
        wrong += [f"{name} was changed by hand or is out of date" for name, digest in said["files"].items()
                  if files.file_hash(path.parent / name) != digest]  # fmt: skip
        if profile != "demo":  # its runs are not kept
            wrong += [f"{path.stem}: its run {name} is missing, or was another" for name, digest in said["runs"].items()
                      if content_of(name) != digest]  # fmt: skip
    assert not wrong, "\n".join(wrong)


SATURATED = {row["run"] for row in read(cfg.PROJECT_ROOT / "results/laptop/tables/p_7.csv")}


def marked(profile: str, behind: dict[str, str]) -> dict[str, set[str]]:
    """Which of the runs behind a table have which mark."""
    declared = {name for name in behind if results.declared_since(name, RUNS[name]["report"]["finished_utc"])}
    before = {name for name in behind if "computation" not in RUNS[name]["report"]["facts"]}
    faulty = {fault: {name for name in behind if fault in faults_of(name)} for fault in learning.FAULTS}
    return {"saturated": SATURATED & set(behind), "declared": declared, "unfingerprinted": before, **faulty}


@cache
def faults_of(name: str) -> tuple[str, ...]:
    """The faults of a stored run's training, from its frames."""
    config, report = cfg.from_dict(RUNS[name]["config"]), RUNS[name]["report"]
    return results.Report(config, report["metrics"], STORE, report["facts"], report["files"], STORE).faults()


def test_a_table_names_its_marked_runs() -> None:
    wrong = []
    for profile, kind, path in (one for one in MADE if one[0] == "laptop"):  # runs of demo are not kept
        said = said_of(path)
        about = {mark: said.get("marks", {}).get(mark, {}) for mark in artifacts.MARKS}
        marks = {mark: {run for runs in of.values() for run in (said["runs"] if runs == layout.ALL else runs)}
                 for mark, of in about.items()}  # fmt: skip
        shown = {mark for mark, runs in marks.items() if runs}
        if kind == "table":
            text = path.with_suffix(".md").read_text(encoding="utf-8")
            shown = {mark for mark, of in about.items()
                     if of and all(f"until made anew: {layout.escaped(wrong)}." in text for wrong in of)}  # fmt: skip
        expected = marked(profile, said["runs"])
        right = marks == expected and shown == {mark for mark, runs in expected.items() if runs}
        wrong += [f"{path.stem} at {profile}: marks {marks}, shown {shown}, expected {expected}"] * (not right)
    assert not wrong, "\n".join(wrong)


def test_tables_to_read_are_narrow_and_made_of_csv_and_provenance_alone() -> None:
    wrong = []
    for path in (path for _, kind, path in MADE if kind == "table"):
        text = path.with_suffix(".md").read_text(encoding="utf-8")
        header = next(line for line in text.splitlines() if line.startswith("| "))
        right = layout.page(path.read_text(encoding="utf-8"), said_of(path)) == text
        wrong += [f"{path}: {header}"] * (not right or header.count(" |") > layout.MOST_COLUMNS)
    assert not wrong, "run: python -m rumorlib readme\n" + "\n".join(wrong)


def test_every_finding_under_revision_is_one_of_a_committed_claim() -> None:
    claims = {row["claim"] for *_, path in MADE if path.stem.endswith("claims") for row in read(path) if "claim" in row}
    patterns = [row["claim"] for row in read(cfg.PROJECT_ROOT / "results" / "under_revision.csv")]
    assert all(fnmatch.filter(claims, pattern) for pattern in patterns)
    assert not layout.under_revision("MICC is ahead of the baseline that is best on dev")


def test_the_notebooks_say_which_function_makes_what() -> None:
    wrong = []
    for row in INDEX:
        if row["notebook"]:
            saved = "save_table" if row["kind"] == "table" else "save_figure"
            module, _, name = provenance.functions(row["notebook"]).get((saved, row["id"]), "").rpartition(".")
            exists = module.startswith("rumorlib.studies.") and hasattr(importlib.import_module(module), name)
            wrong += [f"{row['id']}: {module}.{name}"] * (not exists)
    assert not wrong, wrong


def test_every_row_names_its_runs() -> None:
    """But verdicts on what could not be tested, and at demo bounds and models that nothing trained: of no run."""
    wrong = []
    for profile, _, path in MADE:
        said = said_of(path)
        rows, known, lines = said.get("rows"), set(range(len(said["runs"]))), read(path)
        of_none = [profile == "demo" or line.get("verdict") == "untestable here" for line in lines]
        fits = rows is None if not known else rows and all(
            of or none for of, none in zip(rows, of_none, strict=True))  # fmt: skip
        in_range = {place for row in rows or [] for place in row} <= known
        wrong += [path.stem] * (not (fits and in_range and said["function"].startswith("rumorlib.studies.")))
    assert not wrong, wrong


def test_a_row_of_the_main_table_names_the_seeds_of_its_model() -> None:
    said = said_of(TABLES / "m_e2.csv")
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
    of_none = pd.DataFrame({"model": ["a", "b"], "k": [4, 5], provenance.RUNS: [float("nan"), ()]})
    below = provenance.stacked([frame, provenance.by_runs(of_none, "model")], "model", "k")
    assert provenance.runs_of_rows(below)[2:] == [("r2",), (), ()] and len(below) == 5
    assert provenance.runs_of_rows(provenance.by_runs(pd.DataFrame(rows), "model")) == [("r1",), *[("r2", "r3")] * 2]


def test_every_committed_metric_recomputes_from_the_predictions() -> None:
    """Counted here without the package's metrics, for all runs of a shard at once: they answer the same posts."""
    shards: dict[str, list[str]] = {}
    for name, entry in RUNS.items():
        if entry["predictions"]:
            shards.setdefault(f"{entry['predictions']['shard']} {entry['predictions']['value']}", []).append(name)
    wrong = [name for names in shards.values() for name in recomputed_otherwise(names)]
    assert not wrong, wrong


def recomputed_otherwise(names: list[str]) -> list[str]:
    """Runs whose metrics are not those of their stored predictions, or that lack a split other than train."""
    frames = [store.frame(STORE, name, store.PREDICTIONS) for name in names]
    keys, value = frames[0], RUNS[names[0]]["predictions"]["value"]
    odds = value == "log_odds"
    said = np.stack([frame[value].to_numpy() for frame in frames], axis=1)
    found: dict[str, dict[str, np.ndarray]] = {}
    for split, rows in keys.groupby("split").indices.items():
        if split == fitting.OTHERS_PICTURES:  # a second reading of test, compared with the first and scored nowhere
            continue
        found[split] = counted(keys["label"].to_numpy()[rows], said[rows], odds)
        if any("image_macro" in RUNS[name]["report"]["metrics"].get(split, {}) for name in names):
            called = said[rows] >= (0 if odds else 0.5)
            found[split] |= counted_by_image(keys.iloc[rows], said[rows], called)
    by_likeness = "text_group" not in keys or "n_chars" in keys  # texts without pictures
    wrong = []
    for place, name in enumerate(names):
        stored = {split: part for split, part in RUNS[name]["report"]["metrics"].items() if split != "train"}
        made = {f"{split}.{metric}": float(np.broadcast_to(values, len(names))[place])
                for split, part in found.items() for metric, values in part.items()}  # fmt: skip
        saturated = not odds and np.isin(said[:, place], (0, 1)).mean() >= artifacts.SATURATED
        expected = {metric: np.nan if number is None else number for metric, number in files.flatten(stored).items()}
        right = made == pytest.approx(expected, abs=1e-12, nan_ok=True)
        wrong += [name] * (not (right and by_likeness and saturated == (name in SATURATED)))
    return wrong


def counted(label: np.ndarray, said: np.ndarray, log_odds: bool) -> dict[str, np.ndarray]:
    """Metrics of a split, labels (n,), for the log-odds or probabilities (n, runs) of many runs."""
    prob, n, n_rumor = expit(said) if log_odds else said, len(label), int(label.sum())
    is_rumor, called = (label == 1)[:, None], prob >= 0.5
    both = np.nan if n_rumor in (0, n) else 1.0
    scores, found = {}, {"accuracy": (called == is_rumor).mean(0), "n": np.array(n), "n_rumor": np.array(n_rumor)}
    for name, called_so, is_so in (("rumor", called, is_rumor), ("non_rumor", ~called, ~is_rumor)):
        hits, n_called, n_are = (called_so & is_so).sum(0), called_so.sum(0), is_so.sum()
        scores[name] = 2 * hits / np.maximum(n_called + n_are, 1)
        found |= {f"precision_{name}": hits / np.maximum(n_called, 1), f"recall_{name}": hits / max(n_are, 1)}
    found |= {f"f1_{name}": score for name, score in scores.items()}
    found["balanced_accuracy"] = (found["recall_rumor"] + found["recall_non_rumor"]) / 2 * both
    found["f1_macro"] = (scores["rumor"] + scores["non_rumor"]) / 2
    found["f1_weighted"] = (scores["rumor"] * n_rumor + scores["non_rumor"] * (n - n_rumor)) / n
    above = rankdata(said, axis=0)[label == 1].sum(0) - n_rumor * (n_rumor + 1) / 2
    found["auc"] = above / max(n_rumor * (n - n_rumor), 1) * both
    found["brier"] = ((prob - is_rumor) ** 2).mean(0)
    of_truth = np.where(is_rumor, prob, 1 - prob).clip(np.finfo(float).eps, 1 - np.finfo(float).eps)
    losses = np.logaddexp(0, np.where(is_rumor, -said, said)) if log_odds else -np.log(of_truth)
    return found | {"log_loss": losses.mean(0)}


def counted_by_image(keys: pd.DataFrame, said: np.ndarray, called: np.ndarray) -> dict[str, np.ndarray]:
    """Balanced accuracy and AUC with every image counting once, for what runs said (n, runs) and called a rumor."""
    label, weight = keys["label"].to_numpy(), image_weights(keys).to_numpy()
    right = called == (label == 1)[:, None]
    recalls = [(right * weight[:, None])[label == k].sum(0) / weight[label == k].sum() for k in (0, 1)]
    auc = [roc_auc_score(label, column, sample_weight=weight) for column in said.T]
    found = {"balanced_accuracy": np.mean(recalls, axis=0), "auc": np.array(auc)}
    about = {f"image_macro.image_macro_{metric}": values for metric, values in found.items()}
    return about | {"image_macro.n_images": np.array(round(weight.sum()))}


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


def test_reported_numbers_say_where_they_come_from() -> None:
    wrong = []
    for path in REPORTED:
        rows = read(path)
        wrong += [path.stem] * (path.stem not in KIND or not rows or list(rows[0]) != REPORTED_COLUMNS)
        for row in rows:
            short = 0 < len(row["derivation"].split()) <= 20  # a short paraphrase, no sentence of a paper
            fits = row["unit"] != "fraction" or 0 <= float(row["value"]) <= 1
            wrong += [f"{path.stem}: {row}"] * (not (row["source"] and row["reading"] and short and fits))
    assert not wrong, "\n".join(wrong)


def halved(given: cfg.Settings, which: str) -> list[cfg.RunConfig]:
    """All that the second step of the sweep of a loss weight may ask for; dev says which it does."""
    whole = profiles.points(given).loss_weights
    values = {round(point + side, 2) for point in whole for side in (-0.2, 0.2)}
    given = own_posts.of_sweeps(given)
    datasets = profiles.swept(given) if set(whole) <= set(profiles.loss_weights(given)) else []
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
    """A shard of some hundred runs may be large: it is written once. Of runs and provenance git stores what changed."""
    everything = [p for top in ("results", "figures") for p in (cfg.PROJECT_ROOT / top).rglob("*") if p.is_file()]
    large = {p.name: p.stat().st_size for p in everything if p.stat().st_size > LARGEST_FILE_KB * 1000}
    assert not {name for name in large if not name.endswith((".xz", "runs.jsonl", provenance.FILE))}, large
    assert sum(p.stat().st_size for p in everything if "results" in p.parts) < MOST_RESULTS_MB * 1e6
