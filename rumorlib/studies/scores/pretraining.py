"""Which stage 1 serves the detector: none, other captions, fewer pictures, a longer one, one that knows its posts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import linregress

from rumorlib.config.profiles import (
    FLICKR8K_PICTURES,
)
from rumorlib.metrics import estimates, evaluation
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names, runs_of_rows
from rumorlib.studies.protocol import calibration
from rumorlib.studies.scores import comparison, sweeps


def longer_table(reports: Iterable[Report]) -> pd.DataFrame:
    """What a longer stage 1 adds under each classifier input of MICC, on the same posts and seeds.

    Args: reports: MICC on the usual stage 1 and on the longer one, under the same inputs.
    Returns: dataset, classifier_input, split, usual, longer (primary metric), gain, low, high (points, paired,
        95 %), auc_usual, auc_longer.
    """
    reports = list(reports)
    groups, rows = sweeps.by_variant(reports), []
    compared = {split: sweeps.Compared(reports, split) for split in sweeps.SPLITS}
    for (dataset, variant), longer in groups.items():
        if not variant.startswith("stage-1-longer"):
            continue
        how = longer[0].config.detector.classifier_input
        usual = "default" if how == "concat" else how
        for split in sweeps.SPLITS:
            row = {"dataset": dataset, "classifier_input": how, "split": split}
            row[RUNS] = run_names([*longer, *groups[dataset, usual]])
            for name, runs in (("longer", longer), ("usual", groups[dataset, usual])):
                frame = sweeps.predictions(runs, split)
                row[name] = comparison.score(runs[0].config.dataset, frame).value
                row[f"auc_{name}"] = comparison.score(runs[0].config.dataset, frame, "auc").value
            gain = compared[split].ahead(dataset, variant, usual) * 100
            rows.append(row | dict(zip(("gain", "low", "high"), gain)))
    names = ["dataset", "classifier_input", "split", "usual", "longer", "gain", "low", "high"]
    frame = pd.DataFrame(rows, columns=[*names, "auc_usual", "auc_longer", RUNS])
    return by_runs(frame, "dataset", "classifier_input")


def kinds_table(reports: Sequence[Report]) -> pd.DataFrame:
    """`comparison.auc_by` the distance of the wrong caption, on dev and test; empty where no corpus has distances."""
    frames = [comparison.auc_by(reports, "distance", split).assign(split=split) for split in sweeps.SPLITS]
    frame = pd.concat(frames, ignore_index=True)
    frame[RUNS] = [names for part in frames for names in runs_of_rows(part) or []]
    return by_runs(frame, "dataset", "model")


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
    """Retrieval before and after stage 2 of the runs that trained SCLIP on: does it forget the captions? Dev captions.

    Columns: dataset, variant, stage, language, then R@k both ways (t2i, i2t) in [0, 1] and median ranks, as the field
    counts and with twins as hits.
    """
    frames = []
    for report in reports:
        if "extras/retrieval.csv" in report.hashes:
            frame, config = report.extra("retrieval"), report.config
            about = {"dataset": config.dataset, "variant": config.variant, RUNS: [run_names([report])] * len(frame)}
            frames.append(frame.assign(**about))
    if not frames:
        return pd.DataFrame(columns=["dataset", "variant", "stage", "language"])
    frame = pd.concat(frames, ignore_index=True)
    first: list[Any] = ["dataset", "variant", "stage", "language"]
    return by_runs(frame[[*first, *(name for name in frame if name not in first)]], "dataset", "variant")
