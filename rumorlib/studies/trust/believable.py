"""What notebook 09 needs beside anatomy, selection rules and counterfactuals: the calibration of runs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from rumorlib import evaluation
from rumorlib.provenance import RUNS, by_runs, run_names
from rumorlib.results import Report
from rumorlib.studies.scores import comparison
from rumorlib.studies.trust import calibration


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
        row = {"dataset": comparison.corpus_name(made), "model": comparison.names(made)}
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
        frames.append(curve.assign(dataset=comparison.corpus_name(made), model=comparison.names(made)))
    frame = by_runs(pd.concat(frames, ignore_index=True), "dataset", "model")
    return frame[["dataset", "model", *(column for column in frame if column not in ("dataset", "model"))]]
