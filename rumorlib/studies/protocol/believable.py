"""What notebook 09 needs beside anatomy, selection rules, counterfactuals: calibration, and runs that were rounded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from rumorlib import config as cfg
from rumorlib import results
from rumorlib.config import Settings
from rumorlib.data import files
from rumorlib.experiments import corpus_name, model_name
from rumorlib.metrics import evaluation
from rumorlib.results import Report, artifacts, store
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.protocol import calibration
from rumorlib.studies.scores import comparison


def calibration_table(reports: Iterable[Report]) -> pd.DataFrame:
    """How far the probabilities of each model can be trusted, on test.

    Returns: dataset, model, accuracy (at one half), accuracy_dev_threshold, brier = reliability - resolution +
        uncertainty, reliability_floor, ece, ece_floor (95 % quantiles for a perfectly calibrated model of that size and
        those pictures), within_floor (ece is not above its floor), n_seeds; means over seeds.
    """
    rows = []
    for made, predictions in comparison.pooled(reports):
        test, dev = (predictions[predictions["split"] == split] for split in ("test", "dev"))
        clusters = comparison.clusters_of(test)
        found = [calibration.summary(part, clusters) for _, part in test.groupby("seed")]
        mean = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        scores = [evaluation.frame_metrics(part)["accuracy"] for _, part in test.groupby("seed")]
        row = {"dataset": corpus_name(made), "model": model_name(made)}
        row |= {"accuracy": float(np.mean(scores))}
        row |= {"accuracy_dev_threshold": calibration.accuracy_at_dev_threshold(dev, test)} | mean
        row |= {"within_floor": mean["ece"] <= mean["ece_floor"], "n_seeds": len(found)}
        rows.append(row | {RUNS: run_names(predictions)})
    return by_runs(pd.DataFrame(rows), "dataset", "model")


def reliability_frame(reports: Iterable[Report]) -> pd.DataFrame:
    """Reliability curves of the first seed of each model on test, with the floor: dataset, model, and the columns of
    `calibration.reliability_curve`."""
    frames = []
    for made, predictions in comparison.pooled(reports):
        test = predictions[(predictions["split"] == "test") & (predictions["seed"] == predictions["seed"].min())]
        curve = calibration.reliability_curve(test, comparison.clusters_of(test))
        curve[RUNS] = [run_names(test)] * len(curve)
        frames.append(curve.assign(dataset=corpus_name(made), model=model_name(made)))
    frame = by_runs(pd.concat(frames, ignore_index=True), "dataset", "model")
    return frame[["dataset", "model", *(column for column in frame if column not in ("dataset", "model"))]]


def saturated_table(settings: Settings) -> tuple[pd.DataFrame, list[Report]]:
    """Every stored run that is marked saturated (`artifacts.MARKS`), until it is made anew.

    Returns: run, split, share (of its stored probabilities that are exactly 0 or 1), n (posts, times its seeds); and
        these runs.
    """
    configs = {}
    for root in (cfg.PROJECT_ROOT, cfg.output_root()):
        place = root / "results" / settings.profile
        configs |= {name: entry["config"] for name, entry in store.entries(place / "store").items()}
        for done in (place / "runs").rglob("DONE"):
            configs[done.parent.relative_to(place / "runs").as_posix()] = files.read_json(done.with_name("config.json"))
    reading = replace(settings, train="none", data_root=None)
    by_corpus = sorted(configs.items(), key=lambda item: (item[0].split("/")[1], item[0]))  # as the store holds them
    reports = [results.run_or_load(cfg.from_dict(config), reading) for _, config in by_corpus]
    reports = sorted((r for r in reports if "saturated" in artifacts.marks(r)), key=lambda r: r.name)
    frames = [artifacts.saturation(report).assign(run=report.name) for report in reports]
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["run", "split", "share", "n"])
    frame = frame[["run", "split", "share", "n"]].assign(**{RUNS: [(run,) for run in frame["run"]]})
    return by_runs(frame, "run"), reports
