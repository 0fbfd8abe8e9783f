"""Anatomy of a .93: what each habit of published evaluations adds to an honest score (p_fig1, p_fig2, p_2).

One classifier on fixed features throughout (models/heads.py, benches.py), so that a step is the protocol's alone. The
waterfall goes from a split that keeps stories apart to random posts, to epochs and seeds picked on test, to metadata as
an input. The dose-response curves put a growing share of the test set's pictures, stories or texts into train, sizes
fixed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rumorlib import evaluation, results, statistics
from rumorlib.config import HeadsConfig, RunConfig, Settings
from rumorlib.data import protocols, splits
from rumorlib.models import heads
from rumorlib.profiles import HEADS
from rumorlib.results import Report
from rumorlib.run import Outcome
from rumorlib.studies.trust import benches
from rumorlib.studies.trust.benches import Bench

HONEST = "honest"
STEPS = {  # step -> what it is, in the order of the waterfall
    HONEST: "stories apart, epoch on dev, mean of all seeds",
    "random groups": "random split, near-duplicates kept together",
    "random posts": "random split: pictures and texts on both sides",
    "epoch on test": "the epoch with the best test accuracy",
    "seed on test": "the seed with the best test accuracy",
    "metadata": "publish time and number of pictures as input",
}
EPOCH_ON_TEST = "test_epoch"  # the reading after each seed's epoch with the best test accuracy
READINGS = {  # step -> the fit it reads, the reading, and whether only the best seed's
    HONEST: (HONEST, "test", False),
    "random groups": ("random groups", "test", False),
    "random posts": ("random posts", "test", False),
    "epoch on test": ("random posts", EPOCH_ON_TEST, False),
    "seed on test": ("random posts", EPOCH_ON_TEST, True),
    "metadata": ("metadata", EPOCH_ON_TEST, True),
}
LEAK_OF_STEP = 0.5  # drawn scenes have no stories: their random split is one with this leak rate
LEAKS = {  # corpus -> what may leak (see `doses`)
    "demo-en": ("same scene and claim",),
    "twitter": ("same picture", "same post"),
    "weibo-text": ("other test posts", "same post"),
    "pheme-text": ("same event", "same post"),
}


def measured(settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame, list[Report], list[Report]]:
    """The waterfall and the dose-response curves of every corpus of the profile (see `waterfall`, `doses`), and the
    runs behind each."""
    falls, curves, behind = [], [], ([], [])
    for dataset in benches.OF_ANATOMY[settings.profile]:
        name = benches.printed(dataset)
        made = {step: [results.run_or_load(one, settings, train=partial(_fit, step)) for one in configs]
                for step, configs in fits(settings, dataset).items()}  # fmt: skip
        falls.append(waterfall(name, made))
        points = {point: results.run_or_load(one, settings, train=partial(_fit_dose, point))
                  for point, one in dose_runs(settings, dataset).items()}  # fmt: skip
        curves.append(doses(name, points))
        behind[0].extend(report for reports in made.values() for report in reports)
        behind[1].extend(points.values())
    return pd.concat(falls, ignore_index=True), pd.concat(curves, ignore_index=True), *behind


# --- the waterfall --------------------------------------------------------------------------------


def fits(settings: Settings, dataset: str) -> dict[str, list[RunConfig]]:
    """Fit -> its runs: one per split. PHEME's honest score is that of its five large events in turn."""
    head = HEADS[settings.profile]
    plan = partial(benches.plan, settings, dataset)
    if settings.profile == "demo":
        return {HONEST: [plan(HONEST, head)], "random posts": [plan(f"leak={LEAK_OF_STEP}", head)]}
    honest = [f"event:{event}" for event in splits.PHEME_DEV] if dataset.startswith("pheme") else [""]
    return {
        HONEST: [plan(HONEST, head, protocol) for protocol in honest],
        "random groups": [plan("plain", head, "grouped")],
        "random posts": [plan("plain", head, "random")],
        "metadata": [plan("told", replace(head, inputs="told"), "random")],
    }


def _fit(fit: str, config: RunConfig, settings: Settings, _: None = None) -> Outcome:
    leak = config.variant.partition("leak=")[2]
    bench = benches.of_drawn(config.detector, float(leak)) if leak else benches.of_corpus(config.dataset, settings)
    wanted = {reading for name, reading, _ in READINGS.values() if name == fit}
    return fitted(bench, side_of(bench, config.protocol), config.detector, wanted)


def side_of(bench: Bench, protocol: str) -> pd.Series:
    """(n,) side of each post. "": as the corpus is used elsewhere; "event:<name>": PHEME's fold, its dev event in a
    fixed table; "grouped": random, of near-duplicate groups whatever their event; "random": of posts."""
    if not protocol:
        return bench.posts["split"]
    parsed = protocols.parse(protocol)
    if parsed.name == "event":
        return splits.event_fold(bench.posts, parsed.event, splits.PHEME_DEV[parsed.event])["split"]
    posts = bench.posts.assign(event="") if parsed.name == "grouped" else bench.posts
    return protocols.split(replace(bench.corpus, posts=posts), parsed)["split"]


def fitted(bench: Bench, side: pd.Series, config: HeadsConfig, wanted: Collection[str]) -> Outcome:
    """All seeds of a head on one split, with the `wanted` readings of test: "test", each seed after the epoch with the
    lowest class-balanced log-loss on dev; EPOCH_ON_TEST, after the one with the highest accuracy on test, which is
    what published code keeps. History: every epoch's loss on dev and, if that is asked, accuracy on test."""
    train, dev, test = (np.flatnonzero((side == name).to_numpy()) for name in ("train", "dev", "test"))
    asked = np.concatenate([dev, test])
    log_odds = heads.fit_predict(bench.features(config.inputs), bench.label, train, config, asked)  # (E, S, n)
    on_test, seeds = evaluation.to_store(log_odds[..., len(dev) :]), np.arange(config.n_seeds)
    loss = balanced_log_loss(bench.label[dev], log_odds[..., : len(dev)])  # (E, S)
    history = {"epoch": np.repeat(np.arange(1, config.epochs + 1), config.n_seeds),
               "seed": np.tile(seeds, config.epochs), "dev_loss": loss.ravel()}  # fmt: skip
    epochs = {"test": loss.argmin(0)}
    if EPOCH_ON_TEST in wanted:
        accuracy = ((on_test >= 0) == bench.label[test]).mean(-1)  # (E, S)
        history["test_accuracy"], epochs[EPOCH_ON_TEST] = accuracy.ravel(), accuracy.argmax(0)
    read = [benches.predictions(bench, test, on_test[epoch, seeds], name)
            for name, epoch in epochs.items() if name in wanted]  # fmt: skip
    posts = bench.posts.assign(split=side.to_numpy())
    return benches.outcome(posts, read, pd.DataFrame(history), n_train=len(train))


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
        found = statistics.cluster_bootstrap(frame, "accuracy", "group")
        rows.append({
            "dataset": name, "step": step, "what": STEPS[step], "accuracy": found.estimate, "low": found.low,
            "high": found.high, "gain": found.estimate - rows[-1]["accuracy"] if rows else np.nan,
            "majority": max(share := float(frame["label"].mean()), 1 - share),
            "n_train": round(float(np.mean([report.facts["n_train"] for report in made[fit]]))),
            "n_test": frame["post_id"].nunique(), "n_groups": frame["group"].nunique(),
            "n_seeds": frame["seed"].nunique(),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _read(report: Report, reading: str, best: bool) -> pd.DataFrame:
    """Predictions of one reading; `best`: only of the seed with the highest accuracy there, the first of several."""
    frame = benches.stored(report)
    frame = frame[frame["split"] == reading].reset_index(drop=True)
    if best:
        right = (frame["prob_rumor"] >= statistics.THRESHOLD) == (frame["label"] == 1)
        frame = frame[frame["seed"] == right.groupby(frame["seed"]).mean().idxmax()]
    return frame.reset_index(drop=True)


def balanced_log_loss(label: np.ndarray, log_odds: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """(...,) log-loss (nats) of log-odds (..., n), both classes counting half (selection).

    Args: label: (n,) 1 = rumor. weight: (n,) of each post within its class; None: 1.
    """
    weight = np.ones(len(label)) if weight is None else weight
    share = np.where(label == 1, weight / weight[label == 1].sum(), weight / weight[label == 0].sum()) / 2
    return (share * evaluation.log_losses(label, log_odds)).sum(-1)


# --- dose and response ------------------------------------------------------------------------------

Point = tuple[str, float]  # leak ("" at dose 0), dose


def dose_runs(settings: Settings, dataset: str) -> dict[Point, RunConfig]:
    """(leak, dose) -> its run; dose 0 is one run, the first point of every curve."""
    head = HEADS[settings.profile]
    protocol = f"event:{next(iter(splits.PHEME_DEV))}" if dataset.startswith("pheme") else ""
    points: list[Point] = [(leak, dose) for leak in LEAKS[dataset] for dose in head.doses if dose]
    return {
        (leak, dose): benches.plan(settings, dataset, f"{leak.replace(' ', '-') or 'dose'}={dose:g}", head, protocol)
        for leak, dose in [("", 0.0), *points]
    }


def _fit_dose(point: Point, config: RunConfig, settings: Settings, _: None = None) -> Outcome:
    head = config.detector
    if settings.profile == "demo":
        bench = benches.of_drawn(head, point[1])
        side = bench.posts["split"]
        return fitted_dose(bench, side, *(np.flatnonzero(side == name) for name in ("train", "test")), head)
    bench = benches.of_corpus(config.dataset, settings)
    side = side_of(bench, config.protocol)
    found = {(leak, dose): rows for leak, dose, *rows in dosed(bench, side, head)}
    return fitted_dose(bench, side, *found[point], head)


def fitted_dose(bench: Bench, side: pd.Series, train: np.ndarray, asked: np.ndarray, config: HeadsConfig) -> Outcome:
    """All seeds of a head on the posts `train`, read once, after the last epoch, on the posts `asked`."""
    log_odds = heads.fit_predict(bench.features(config.inputs), bench.label, train, config, asked)[-1]
    read = benches.predictions(bench, asked, log_odds, "test")
    return benches.outcome(bench.posts.assign(split=side.to_numpy()), [read], n_train=len(train))


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
        found = statistics.cluster_bootstrap(frame, "accuracy", "group")
        rows.append({"dataset": name, "leak": leak, "dose": dose, "accuracy": found.estimate, "low": found.low,
                     "high": found.high, "n_train": report.facts["n_train"], "n_test": frame["post_id"].nunique(),
                     "n_seeds": frame["seed"].nunique()})  # fmt: skip
    frame = pd.DataFrame(rows)
    both = frame[frame["leak"] == ""]  # dose 0 is the same point of every curve
    kinds = [leak for leak in dict.fromkeys(frame["leak"]) if leak]
    return pd.concat([part for kind in kinds for part in (both.assign(leak=kind), frame[frame["leak"] == kind])],
                     ignore_index=True)  # fmt: skip


def dosed(bench: Bench, side: pd.Series, config: HeadsConfig) -> Iterator[tuple[str, float, np.ndarray, np.ndarray]]:
    """Leak ("" at dose 0), dose, train rows and asked rows of every point; `side` as in `side_of`."""
    train, test = (np.flatnonzero((side == name).to_numpy()) for name in ("train", "test"))
    asked, pool = _halves(bench, test)
    yield "", 0.0, train, asked
    pictured = bench.image is not None
    units = bench.group[pool] if pictured else np.arange(len(pool)).astype(str)
    named = bool((bench.posts["event"].iloc[test] != "").all())
    other = "same picture" if pictured else "same event" if named else "other test posts"
    for leak, leaking, names in ((other, pool, units),
                                 ("same post", asked, np.arange(len(asked)).astype(str))):  # fmt: skip
        order = sorted(set(names), key=lambda name: splits.shuffled(0, f"dose {name}"))
        for dose in (dose for dose in config.doses if dose):
            chosen = set(order[: round(dose * len(order))])
            entering = leaking[[name in chosen for name in names]]
            yield leak, dose, _exchanged(train, entering), asked


def _halves(bench: Bench, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test rows to ask and test rows that may leak: alternating posts of each group, single posts at random."""
    order = sorted(test, key=lambda row: splits.shuffled(0, f"half {bench.posts['post_id'].iat[row]}"))
    turn: dict[Any, int] = {}
    pooled = []
    for row in order:
        unit = bench.group[row] if bench.image is not None else ""
        turn[unit] = turn.get(unit, -1) + 1
        pooled.append(turn[unit] % 2 == 1)
    order, pooled = np.array(order), np.array(pooled)
    return np.sort(order[~pooled]), np.sort(order[pooled])


def _exchanged(train: np.ndarray, entering: np.ndarray) -> np.ndarray:
    """`train` with `entering` instead of as many of its own rows, drawn with a fixed seed."""
    kept = np.random.default_rng(0).permutation(len(train))[: len(train) - len(entering)]
    return np.sort(np.concatenate([train[kept], entering]))
