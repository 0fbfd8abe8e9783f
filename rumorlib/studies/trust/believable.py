"""What notebook 09 needs beside anatomy, selection rules and counterfactuals: calibration of runs, and tables kept."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from rumorlib import config, evaluation, runs
from rumorlib.config import Settings
from rumorlib.results import Report, index_row
from rumorlib.studies.scores import comparison
from rumorlib.studies.trust import calibration


def kept(artifact_id: str, settings: Settings, figure: bool = False) -> pd.DataFrame | None:
    """The committed frame of an artifact that needs raw corpora, where none may be read; else None: make it.

    Returns: also an empty frame, and says so, where the index does not claim the artifact for the profile yet.
    Raises: runs.MissingRun: train="none" forbids reading corpora, and a file that the index claims is not there.
    """
    if settings.profile == "demo" or settings.train != "none":
        return None
    folder = f"figures/{settings.profile}" if figure else f"results/{settings.profile}/tables"
    path = config.output_root() / folder / f"{artifact_id}.csv"
    if not path.is_file():
        how = "train='none' forbids reading corpora; run with train='missing'"
        if index_row(artifact_id)[f"status_{settings.profile}"] in ("reproduced", "partial"):
            raise runs.MissingRun(f"{path} is not there, and {how}")
        print(f"{artifact_id} was not made at {settings.profile} yet; {how}")
        return pd.DataFrame()
    return pd.read_csv(path)


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
        scores = [
            evaluation.classification_metrics(p["label"], p["prob_rumor"])["accuracy"] for _, p in test.groupby("seed")
        ]
        row = {"dataset": comparison.corpus_name(made), "model": comparison.names(made)}
        row |= {"accuracy": float(np.mean(scores))}
        row |= {"accuracy_dev_threshold": calibration.accuracy_at_dev_threshold(dev, test)} | mean
        rows.append(row | {"within_floor": mean["ece"] <= mean["ece_floor"], "n_seeds": len(found)})
    return pd.DataFrame(rows)


def reliability_frame(reports: Iterable[Report]) -> pd.DataFrame:
    """Reliability curves of the first seed of each model on test, with the floor: dataset, model, and the columns of
    `calibration.reliability_curve`."""
    frames = []
    for made, predictions in comparison.pooled(reports):
        test = predictions[(predictions["split"] == "test") & (predictions["seed"] == predictions["seed"].min())]
        curve = calibration.reliability_curve(test, comparison.clusters_of(test))
        frames.append(curve.assign(dataset=comparison.corpus_name(made), model=comparison.names(made)))
    frame = pd.concat(frames, ignore_index=True)
    return frame[["dataset", "model", *(column for column in frame if column not in ("dataset", "model"))]]
