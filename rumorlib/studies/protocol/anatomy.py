"""What each loose habit of published evaluations adds to an honest score (p_fig1, p_fig2, p_2).

One classifier on fixed features throughout (`heads`, `fixed_features`), so that a step is the protocol's alone. The
waterfall goes from a split that keeps stories apart to random posts, to epochs and seeds picked on test, to metadata as
an input. The dose-response curves put a growing share of the test set's pictures, stories or texts into train, sizes
fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib import results
from rumorlib.config import Settings
from rumorlib.experiments import EPOCH_ON_TEST, HONEST, Point, anatomy_runs, benches, dose_runs
from rumorlib.metrics import estimates, evaluation
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names, runs_of_rows
from rumorlib.training import bench_runs

STEPS = {  # step -> what it is, in the order of the waterfall
    HONEST: "stories apart, epoch on dev, mean of all seeds",
    "random groups": "random split, near-duplicates kept together",
    "random posts": "random split: pictures and texts on both sides",
    "epoch on test": "the epoch with the best test accuracy",
    "seed on test": "the seed with the best test accuracy",
    "metadata": "publish time and number of pictures as input",
}


READINGS = {  # step -> the fit it reads, the reading, and whether only the best seed's
    HONEST: (HONEST, "test", False),
    "random groups": ("random groups", "test", False),
    "random posts": ("random posts", "test", False),
    "epoch on test": ("random posts", EPOCH_ON_TEST, False),
    "seed on test": ("random posts", EPOCH_ON_TEST, True),
    "metadata": ("metadata", EPOCH_ON_TEST, True),
}


def measured(settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame, list[Report], list[Report]]:
    """The waterfall and the dose-response curves of every corpus of the profile (see `waterfall`, `doses`), and the
    runs behind each."""
    falls, curves, behind = [], [], ([], [])
    for dataset in benches.of_anatomy(settings):
        name = benches.printed_name(dataset)
        made = {step: [results.run_or_load(one, settings) for one in configs]
                for step, configs in anatomy_runs(settings, dataset).items()}  # fmt: skip
        falls.append(waterfall(name, made))
        points = {point: results.run_or_load(one, settings) for point, one in dose_runs(settings, dataset).items()}
        curves.append(doses(name, points))
        behind[0].extend(report for reports in made.values() for report in reports)
        behind[1].extend(points.values())
    kept = [_below(falls, "dataset", "step"), _below(curves, "dataset", "leak", "dose")]
    return *kept, *behind


def _below(frames: Sequence[pd.DataFrame], *keys: str) -> pd.DataFrame:
    frame = pd.concat(frames, ignore_index=True)
    frame[RUNS] = [names for part in frames for names in runs_of_rows(part) or []]
    return by_runs(frame, *keys)


def waterfall(name: str, made: Mapping[str, Sequence[Report]]) -> pd.DataFrame:
    """Test accuracy as one habit after the other is added; each step keeps those before it.

    Args: name: of the corpus. made: fit -> its finished runs, as `fits` plans them.
    Returns: dataset, step, what, accuracy, low, high (95 %: near-duplicate groups drawn, and seeds where several are
        left), gain (over the step before; the test posts may be others), majority (what the larger class of the test
        posts alone would score), n_train, n_test, n_groups (of test posts), n_seeds.
    """
    rows: list[dict[str, Any]] = []
    for step, (fit, reading, best) in READINGS.items():
        if fit not in made:
            continue
        frame = pd.concat([_read(report, reading, best) for report in made[fit]], ignore_index=True)
        found = estimates.score(frame, "accuracy", ["group"])
        rows.append({
            "dataset": name, "step": step, "what": STEPS[step], "accuracy": found.value, "low": found.low,
            "high": found.high, "gain": found.value - rows[-1]["accuracy"] if rows else np.nan,
            "majority": max(share := float(frame["label"].mean()), 1 - share),
            "n_train": round(float(np.mean([report.facts["n_train"] for report in made[fit]]))),
            "n_test": frame["post_id"].nunique(), "n_groups": frame["group"].nunique(),
            "n_seeds": frame["seed"].nunique(), RUNS: run_names(made[fit]),
        })  # fmt: skip
    return by_runs(pd.DataFrame(rows), "dataset", "step")


def _read(report: Report, reading: str, best: bool) -> pd.DataFrame:
    """Predictions of one reading; `best`: only of the seed with the highest accuracy there, the first of several."""
    frame = bench_runs.stored(report)
    frame = frame[frame["split"] == reading].reset_index(drop=True)
    if best:
        right = (frame["prob_rumor"] >= evaluation.THRESHOLD) == (frame["label"] == 1)
        frame = frame[frame["seed"] == right.groupby(frame["seed"]).mean().idxmax()]
    return frame.reset_index(drop=True)


def doses(name: str, made: Mapping[Point, Report]) -> pd.DataFrame:
    """Test accuracy as a share of the test set's pictures, stories or texts gets into train; all sizes fixed.

    Half of the test posts are asked; the other half is what can leak. "same picture": other posts of x % of the test
    pictures; "same event": x % of the other half of the test event; "other test posts": the same where events are not
    named; "same post": x % of the asked posts themselves. For each post that enters, a random train post leaves. The
    epoch is the last: nothing is chosen. Drawn scenes: leak rates of the generator.

    Args: name: of the corpus. made: (leak, dose) -> finished run, as `dose_runs` plans them.
    Returns: dataset, leak, dose (share), accuracy, low, high (95 %), n_train, n_test, n_seeds.
    """
    rows = []
    for (leak, dose), report in made.items():
        frame = _read(report, "test", best=False)
        found = estimates.score(frame, "accuracy", ["group"])
        rows.append({"dataset": name, "leak": leak, "dose": dose, "accuracy": found.value, "low": found.low,
                     "high": found.high, "n_train": report.facts["n_train"], "n_test": frame["post_id"].nunique(),
                     "n_seeds": frame["seed"].nunique(), RUNS: run_names([report])})  # fmt: skip
    frame = pd.DataFrame(rows)
    both = frame[frame["leak"] == ""]  # dose 0 is the same point of every curve
    kinds = [leak for leak in dict.fromkeys(frame["leak"]) if leak]
    parts = [part for kind in kinds for part in (both.assign(leak=kind), frame[frame["leak"] == kind])]
    return by_runs(pd.concat(parts, ignore_index=True), "dataset", "leak", "dose")
