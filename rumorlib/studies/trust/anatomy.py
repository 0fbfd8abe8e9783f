"""Anatomy of a .93: what each habit of published evaluations adds to an honest score (p_fig1, p_fig2, p_2).

One classifier on fixed features throughout (models/heads.py, benches.py), so that a step is the protocol's alone. The
waterfall goes from a split that keeps stories apart to random posts, to epochs and seeds picked on test, to metadata as
an input. The dose-response curves put a growing share of the test set's pictures, stories or texts into train, sizes
fixed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from rumorlib import statistics
from rumorlib.config import HeadsConfig, Settings
from rumorlib.data import protocols, splits
from rumorlib.models import heads
from rumorlib.profiles import HEADS
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
LEAK_OF_STEP = 0.5  # drawn scenes have no stories: their random split is one with this leak rate


@dataclass(frozen=True)
class Fold:
    """Probabilities of one split after every epoch: dev (E, S, n_dev), test (E, S, n_test), and the rows of each."""

    dev: np.ndarray
    test: np.ndarray
    dev_rows: np.ndarray
    test_rows: np.ndarray
    n_train: int


def measured(settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The waterfall and the dose-response curves of every corpus of the profile (see `waterfall`, `doses`)."""
    config, falls, curves = HEADS[settings.profile], [], []
    for bench in benches.of_profile(settings):
        falls.append(waterfall(bench, config))
        curves.append(doses(bench, config))
    return pd.concat(falls, ignore_index=True), pd.concat(curves, ignore_index=True)


# --- the waterfall --------------------------------------------------------------------------------


def waterfall(bench: Bench, config: HeadsConfig) -> pd.DataFrame:
    """Test accuracy as one habit after the other is added; each step keeps those before it.

    Returns: dataset, step, what, accuracy, low, high (95 %: near-duplicate groups drawn, and seeds where several are
        left), gain (over the step before; the test posts may be others), majority (what the larger class of the test
        posts alone would score), n_train, n_test, n_groups (of test posts), n_seeds.
    """
    rows: list[dict[str, Any]] = []
    for step, folds, pick in _steps(bench, config):
        source = folds.bench
        frame = pd.concat([pick(source, fold) for fold in folds.made], ignore_index=True)
        found = statistics.cluster_bootstrap(frame, "accuracy", "group")
        rows.append({
            "dataset": bench.name, "step": step, "what": STEPS[step], "accuracy": found.estimate, "low": found.low,
            "high": found.high, "gain": found.estimate - rows[-1]["accuracy"] if rows else np.nan,
            "majority": max(share := float(frame["label"].mean()), 1 - share),
            "n_train": round(float(np.mean([fold.n_train for fold in folds.made]))),
            "n_test": frame["post_id"].nunique(), "n_groups": frame["group"].nunique(),
            "n_seeds": frame["seed"].nunique(),
        })  # fmt: skip
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Split:
    bench: Bench
    made: list[Fold]


def _steps(bench: Bench, config: HeadsConfig) -> Iterator[tuple[str, _Split, Any]]:
    """Each step with the fitted folds it reads and the rule that turns them into predictions."""
    if bench.metadata is None:  # drawn scenes
        yield HONEST, _fitted(bench, bench.both, [bench.posts["split"]], config), by_dev
        leaky = benches.of_drawn(config, LEAK_OF_STEP)
        posts = _fitted(leaky, leaky.both, [leaky.posts["split"]], config)
    else:
        yield HONEST, _fitted(bench, bench.both, honest_sides(bench), config), by_dev
        yield "random groups", _fitted(bench, bench.both, [_random(bench, "grouped")], config), by_dev
        posts = _fitted(bench, bench.both, [_random(bench, "random")], config)
    yield "random posts", posts, by_dev
    yield "epoch on test", posts, by_test
    yield "seed on test", posts, best_seed
    if bench.metadata is not None:
        told = np.hstack([bench.both, bench.metadata])
        yield "metadata", _fitted(bench, told, [_random(bench, "random")], config), best_seed


def honest_sides(bench: Bench) -> list[pd.Series]:
    """The split (of PHEME: the five folds by event) that keeps stories apart, as a column per fold."""
    if set(splits.PHEME_DEV) <= set(bench.posts["event"]):
        return [splits.event_fold(bench.posts, event, dev)["split"] for event, dev in splits.PHEME_DEV.items()]
    return [bench.posts["split"]]


def _random(bench: Bench, name: str) -> pd.Series:
    """A random split; "grouped": of near-duplicate groups, whatever their event."""
    posts = bench.posts.assign(event="") if name == "grouped" else bench.posts
    return protocols.split(replace(bench.corpus, posts=posts), protocols.Protocol(name))["split"]


def _fitted(bench: Bench, features: np.ndarray, sides: Sequence[pd.Series], config: HeadsConfig) -> _Split:
    made = []
    for side in sides:
        train, dev, test = (np.flatnonzero((side == name).to_numpy()) for name in ("train", "dev", "test"))
        prob = heads.fit_predict(features, bench.label, train, config, np.concatenate([dev, test]))
        made.append(Fold(prob[..., : len(dev)], prob[..., len(dev) :], dev, test, len(train)))
    return _Split(bench, made)


def by_dev(bench: Bench, fold: Fold) -> pd.DataFrame:
    """Each seed after the epoch with the lowest class-balanced log-loss on dev."""
    return _predictions(bench, fold, balanced_log_loss(bench.label[fold.dev_rows], fold.dev).argmin(0))


def by_test(bench: Bench, fold: Fold) -> pd.DataFrame:
    """Each seed after the epoch with the highest accuracy on test: what published code does."""
    return _predictions(bench, fold, _accuracy(bench, fold).argmax(0))


def best_seed(bench: Bench, fold: Fold) -> pd.DataFrame:
    """The one seed and epoch with the highest accuracy on test."""
    accuracy = _accuracy(bench, fold)
    frame = _predictions(bench, fold, accuracy.argmax(0))
    return frame[frame["seed"] == int(accuracy.max(0).argmax())].reset_index(drop=True)


def _accuracy(bench: Bench, fold: Fold) -> np.ndarray:
    """(E, S) accuracy on test."""
    return ((fold.test >= statistics.THRESHOLD) == bench.label[fold.test_rows]).mean(-1)


def balanced_log_loss(label: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """(...,) log-loss (nats) of probabilities (..., n), both classes counting half (selection).

    Args: label: (n,) 1 = rumor. weight: (n,) of each post within its class; None: 1.
    """
    weight = np.ones(len(label)) if weight is None else weight
    share = np.where(label == 1, weight / weight[label == 1].sum(), weight / weight[label == 0].sum()) / 2
    prob = np.clip(prob.astype(float), 1e-6, 1 - 1e-6)
    return -(share * np.where(label == 1, np.log(prob), np.log(1 - prob))).sum(-1)


def _predictions(bench: Bench, fold: Fold, epoch: np.ndarray) -> pd.DataFrame:
    """Test predictions of every seed after its epoch."""
    rows = fold.test_rows
    frames = [
        pd.DataFrame({"post_id": bench.posts["post_id"].to_numpy()[rows], "label": bench.label[rows],
                      "prob_rumor": fold.test[epoch[seed], seed], "seed": seed, "group": bench.group[rows]})
        for seed in range(fold.test.shape[1])
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


# --- dose and response ------------------------------------------------------------------------------


def doses(bench: Bench, config: HeadsConfig) -> pd.DataFrame:
    """Test accuracy as a share of the test set's pictures, stories or texts gets into train; all sizes fixed.

    Half of the test posts are asked; the other half is what can leak. "same picture": other posts of x % of the test
    pictures; "same event": x % of the other half of the test event; "other test posts": the same where events are not
    named; "same post": x % of the asked posts themselves. For each post that enters, a random train post leaves. The
    epoch is the last: nothing is chosen. Drawn scenes: leak rates of the generator.

    Returns: dataset, leak, dose (share), accuracy, low, high (95 %), n_train, n_test, n_seeds.
    """
    rows = []
    for leak, dose, source, train, asked in _dosed(bench, config):
        prob = heads.fit_predict(source.both, source.label, train, config, asked)
        fold = Fold(prob[:, :, :0], prob, asked[:0], asked, len(train))
        last = np.full(config.n_seeds, config.epochs - 1)
        found = statistics.cluster_bootstrap(_predictions(source, fold, last), "accuracy", "group")
        rows.append({"dataset": bench.name, "leak": leak, "dose": dose, "accuracy": found.estimate, "low": found.low,
                     "high": found.high, "n_train": len(train), "n_test": len(asked),
                     "n_seeds": config.n_seeds})  # fmt: skip
    frame = pd.DataFrame(rows)
    both = frame[frame["leak"] == ""]  # dose 0 is the same point of every curve
    kinds = [leak for leak in dict.fromkeys(frame["leak"]) if leak]
    return pd.concat([part for kind in kinds for part in (both.assign(leak=kind), frame[frame["leak"] == kind])],
                     ignore_index=True)  # fmt: skip


def _dosed(bench: Bench, config: HeadsConfig) -> Iterator[tuple[str, float, Bench, np.ndarray, np.ndarray]]:
    """Leak ("" at dose 0), dose, bench, train rows and asked rows of every point."""
    if bench.metadata is None:
        for dose in config.doses:
            leaky = benches.of_drawn(config, dose)
            sides = [np.flatnonzero(leaky.posts["split"] == name) for name in ("train", "test")]
            yield "same scene and claim" if dose else "", dose, leaky, *sides
        return
    side = honest_sides(bench)[0]
    train, test = (np.flatnonzero((side == name).to_numpy()) for name in ("train", "test"))
    asked, pool = _halves(bench, test)
    yield "", 0.0, bench, train, asked
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
            yield leak, dose, bench, _exchanged(train, entering), asked


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
