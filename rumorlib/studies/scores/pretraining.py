"""Which stage 1 serves the detector: none, other captions, fewer pictures, one that knows its posts; what is left."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.stats import linregress

from rumorlib.config.profiles import (
    FLICKR8K_PICTURES,
)
from rumorlib.experiments import model_name
from rumorlib.metrics import estimates, evaluation
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.protocol import calibration
from rumorlib.studies.scores import comparison, sweeps


def pictures_table(reports: Iterable[Report]) -> tuple[pd.DataFrame, str]:
    """Dev retrieval by train pictures, and what a doubling is worth: on average (least squares over log2 pictures), and
    the last one.

    Args: reports: of `sclip_pictures`.
    Returns: pictures, language, t2i_R@k and i2t_R@k in [0, 1], best_epoch; the sentence, in points of R@k.
    """
    frames = []
    for report in reports:
        frame = sweeps.stage1_table([report]).query("split == 'dev'")
        about = {"pictures": report.config.n_train or FLICKR8K_PICTURES, RUNS: [run_names([report])] * len(frame)}
        frames.append(frame.assign(**about))
    frame = pd.concat(frames, ignore_index=True)
    told = []
    for name in ("t2i_R@1", "t2i_R@10"):
        slope = linregress(np.log2(frame["pictures"]), 100 * frame[name]).slope
        steps = np.log2(frame["pictures"].iloc[-1] / frame["pictures"].iloc[-2])
        last = 100 * (frame[name].iloc[-1] - frame[name].iloc[-2]) / steps
        told.append(f"{name} {slope:.1f} points on average, {last:.1f} the last one")
    frame = frame[["pictures", "language", *frame.filter(regex="R@"), "best_epoch", RUNS]]
    frame = by_runs(frame, "pictures")
    return frame, f"A doubling of the train pictures adds on dev: {'; '.join(told)}. One draw of pictures, one seed."


def known_table(reports: Iterable[Report]) -> pd.DataFrame:
    """Is a detector misled by a stage 1 that knows the captions of its train posts? On test posts, new to both.

    Args: reports: of `micc_known`.
    Returns: dataset, train_on, auc, share_called (of the test posts, with probability >= .5; half of them are rumors),
        accuracy (at .5), accuracy_dev_threshold, lost (by the threshold .5, points), low, high (95 % over pictures and
        seeds), n_seeds.
    """
    rows = []
    for config, frame in comparison.pooled(reports):
        dev, test = (frame[frame["split"] == split].reset_index(drop=True) for split in ("dev", "test"))
        called = test["prob_rumor"] >= evaluation.THRESHOLD
        chosen = calibration.at_dev_threshold(dev, test)
        how = comparison.clusterings(config.dataset, test)
        lost = estimates.difference(chosen, test, "accuracy", how, same_runs=True) * 100
        rows.append({
            "dataset": config.dataset, "train_on": config.train_on,
            "auc": estimates.score(test, "auc").value, "share_called": called.mean(),
            "accuracy": (called == test["label"]).mean(),
            "accuracy_dev_threshold": (chosen["prob_rumor"] == test["label"]).mean(),
            **dict(zip(("lost", "low", "high"), lost)), "n_seeds": test["seed"].nunique(), RUNS: run_names(frame),
        })  # fmt: skip
    return by_runs(pd.DataFrame(rows), "dataset", "train_on")


def retrieval_after(reports: Iterable[Report]) -> pd.DataFrame:
    """Retrieval before and after stage 2 of the runs that trained below SCLIP's heads: are its captions forgotten? Dev
    captions, means over seeds.

    Columns: dataset, model, stage, language, then recall at k both ways (t2i, i2t) in [0, 1] and median ranks, as the
    field counts and with twins as hits; n_seeds.
    """
    frames = []
    for report in reports:
        if "extras/retrieval.csv" in report.hashes:
            frame, config = report.extra("retrieval"), report.config
            about = {"dataset": config.dataset, "model": model_name(config), RUNS: [run_names([report])] * len(frame)}
            frames.append(frame.assign(**about))
    first = ["dataset", "model", "stage", "language"]
    if not frames:
        return pd.DataFrame(columns=first)
    rows = []
    for key, part in pd.concat(frames, ignore_index=True).groupby(first, sort=False):
        row = dict(zip(first, key, strict=True)) | part.mean(numeric_only=True).to_dict()
        rows.append(row | {"n_seeds": len(part), RUNS: tuple(part[RUNS].sum())})
    return by_runs(pd.DataFrame(rows), "dataset", "model")
