"""Runs of small classifiers on fixed features: one split and how test is read, a share of test in train, all folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.config import BaselineConfig, HeadsConfig, RunConfig, Settings, about, record
from rumorlib.data import keys
from rumorlib.data.splitting import protocols, split_files, splits
from rumorlib.experiments import EPOCH_ON_TEST, LR_OF_INPUTS, N_FOLDS
from rumorlib.inputs import fixed_features
from rumorlib.inputs.fixed_features import Bench
from rumorlib.metrics import evaluation
from rumorlib.models import baselines, heads
from rumorlib.training.fitting import Outcome


def anatomy(config: RunConfig, settings: Settings) -> Outcome:
    """All seeds of a head on one split (`side_of`), test read as `HeadsConfig.readings` says; drawn scenes with
    `HeadsConfig.dose` of dev and test posts being train posts worded anew."""
    head = config.detector
    drawn = record(config.dataset).kind == "drawn"
    bench = fixed_features.of_drawn(head, head.dose) if drawn else fixed_features.of_corpus(config.dataset, settings)
    return fitted(bench, side_of(bench, config.protocol), head)


def side_of(bench: Bench, protocol: str) -> pd.Series:
    """(n,) side of each post. "": as the corpus is used elsewhere; "event:<name>": a fold, PHEME's dev event being in a
    fixed table; "grouped": random, of near-duplicate groups whatever their event; "random": of posts."""
    if not protocol:
        return bench.posts["split"]
    parsed = protocols.parse(protocol)
    if parsed.event in splits.PHEME_DEV:
        return splits.event_fold(bench.posts, parsed.event, splits.PHEME_DEV[parsed.event])["split"]
    posts = bench.posts.assign(event="") if parsed.name == "grouped" else bench.posts
    return protocols.split(replace(bench.corpus, posts=posts), parsed)["split"]


def fitted(bench: Bench, side: pd.Series, config: HeadsConfig) -> Outcome:
    """All seeds of a head on one split, with the asked readings of test: "test", each seed after the epoch with the
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
    if EPOCH_ON_TEST in config.readings:
        accuracy = ((on_test >= 0) == bench.label[test]).mean(-1)  # (E, S)
        history["test_accuracy"], epochs[EPOCH_ON_TEST] = accuracy.ravel(), accuracy.argmax(0)
    read = [predictions(bench, test, on_test[epoch, seeds], name)
            for name, epoch in epochs.items() if name in config.readings]  # fmt: skip
    posts = bench.posts.assign(split=side.to_numpy())
    return outcome(posts, read, pd.DataFrame(history), n_train=len(train))


def balanced_log_loss(label: np.ndarray, log_odds: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """(...,) log-loss (nats) of log-odds (..., n), both classes counting half (selection).

    Args: label: (n,) 1 = rumor. weight: (n,) of each post within its class; None: 1.
    """
    weight = np.ones(len(label)) if weight is None else weight
    share = np.where(label == 1, weight / weight[label == 1].sum(), weight / weight[label == 0].sum()) / 2
    return (share * evaluation.log_losses(label, log_odds)).sum(-1)


def dose(config: RunConfig, settings: Settings) -> Outcome:
    """All seeds of a head, read once; `HeadsConfig.dose` of what `HeadsConfig.leak` names is in train (`dosed`)."""
    head = config.detector
    if record(config.dataset).kind == "drawn":
        bench = fixed_features.of_drawn(head, head.dose)
        side = bench.posts["split"]
        return fitted_dose(bench, side, *(np.flatnonzero(side == name) for name in ("train", "test")), head)
    bench = fixed_features.of_corpus(config.dataset, settings)
    side = side_of(bench, config.protocol)
    found = {(leak, share): rows for leak, share, *rows in dosed(bench, side, head)}
    return fitted_dose(bench, side, *found[head.leak, head.dose], head)


def fitted_dose(bench: Bench, side: pd.Series, train: np.ndarray, asked: np.ndarray, config: HeadsConfig) -> Outcome:
    """All seeds of a head on the posts `train`, read once, after the last epoch, on the posts `asked`."""
    log_odds = heads.fit_predict(bench.features(config.inputs), bench.label, train, config, asked)[-1]
    read = predictions(bench, asked, log_odds, "test")
    return outcome(bench.posts.assign(split=side.to_numpy()), [read], n_train=len(train))


def dosed(bench: Bench, side: pd.Series, config: HeadsConfig) -> Iterator[tuple[str, float, np.ndarray, np.ndarray]]:
    """Leak ("" at dose 0), dose, train rows and asked rows of every point; `side` as in `side_of`."""
    train, test = (np.flatnonzero((side == name).to_numpy()) for name in ("train", "test"))
    asked, pool = _halves(bench, test)
    yield "", 0.0, train, asked
    pictured = bench.image is not None
    units = bench.group[pool] if pictured else np.arange(len(pool)).astype(str)
    named = about(bench.name).events
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


def select(config: RunConfig, settings: Settings) -> Outcome:
    """A configuration on every cross-fit fold, then on all of train and read once on test (`fitted_on_folds`)."""
    bench = fixed_features.of_corpus(config.dataset, settings)
    return fitted_on_folds(bench, _sides(config.dataset, settings), config.detector)


@lru_cache(maxsize=1)
def _sides(dataset: str, settings: Settings) -> list[pd.Series]:
    """Side of every post in each cross-fit fold, rows as in the bench."""
    whole = fixed_features.unsplit(fixed_features.of_corpus(dataset, settings), settings)
    folds = [protocols.Protocol("cross-fit", fold=fold) for fold in range(N_FOLDS)]
    return [protocols.split(whole, fold)["split"].reset_index(drop=True) for fold in folds]


def fitted_on_folds(bench: Bench, sides: Sequence[pd.Series], config: BaselineConfig | HeadsConfig) -> Outcome:
    """A configuration on every fold (history: fold, epoch, dev_loss), then on all of train and read once on test; a
    head as the mean of its seeds. Fact: epochs, 0 where there are none to choose."""
    weight = keys.image_weights(bench.posts).to_numpy()
    history = []
    for fold, side in enumerate(side.to_numpy() for side in sides):
        train, dev = np.flatnonzero(side == "train"), np.flatnonzero(side == "dev")
        log_odds = _log_odds(bench, train, dev, weight, config)  # (E, n_dev)
        loss = balanced_log_loss(bench.label[dev], log_odds, weight[dev])
        history.append(pd.DataFrame({"fold": fold, "epoch": np.arange(1, len(loss) + 1), "dev_loss": loss}))
    history = pd.concat(history, ignore_index=True)
    epochs, again = 0, config
    if isinstance(config, HeadsConfig):
        epochs = int(history.loc[history.groupby("fold")["dev_loss"].idxmin(), "epoch"].median())
        again = replace(config, epochs=max(1, epochs))
    train = np.flatnonzero(sides[0].isin(("train", "dev", "unassigned")))
    test = np.flatnonzero(sides[0] == "test")
    log_odds = _log_odds(bench, train, test, weight, again)[-1:]
    read = predictions(bench, test, log_odds, "test", "image_group")
    side = sides[0].replace(dict.fromkeys(("dev", "unassigned"), "train"))
    return outcome(bench.posts.assign(split=side.to_numpy()), [read], history, epochs=epochs)


def _log_odds(bench: Bench, train: np.ndarray, asked: np.ndarray, weight: np.ndarray,
              config: BaselineConfig | HeadsConfig) -> np.ndarray:  # fmt: skip
    """(E, n_asked) log-odds: of a regression E = 1, of a head after every epoch, of the mean probability of its
    seeds."""
    if isinstance(config, HeadsConfig):
        found = heads.fit_predict(bench.features(config.inputs), bench.label, train, config, asked, weight)
        return evaluation.mean_log_odds(found.swapaxes(0, 1))[0]
    features = bench.features(next(name for name, kind in LR_OF_INPUTS.items() if kind == config.kind))
    one = replace(config, kind="text_lr")  # the same regression, whatever the features stand for
    known = baselines.Features(bench.label[train], text_features=features[train], weight=weight[train])
    wanted = {"asked": baselines.Features(bench.label[asked], text_features=features[asked])}
    return baselines.fit_predict(one, known, wanted)["asked"][None]


def predictions(bench: Bench, rows: np.ndarray, log_odds: np.ndarray, split: str,
                group: str = "group") -> pd.DataFrame:  # fmt: skip
    """Predictions of every seed as they are stored: to four decimals, so that whatever is computed recomputes.

    Args: rows: (n,) posts asked. log_odds: (S, n). split: name of this reading. group: "group", near-duplicates by text
        or picture, or a column of the posts.
    """
    posts = bench.posts.iloc[rows]
    about = {"post_id": posts["post_id"].to_numpy(), "label": bench.label[rows], "split": split, "row": rows}
    about[group] = bench.group[rows] if group == "group" else posts[group].to_numpy()
    frames = [pd.DataFrame(about | {"log_odds": evaluation.to_store(one), "seed": seed})
              for seed, one in enumerate(log_odds)]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def outcome(posts: pd.DataFrame, read: Sequence[pd.DataFrame], history: pd.DataFrame | None = None,
            **facts: Any) -> Outcome:  # fmt: skip
    """What such a run leaves. Metrics are over all seeds' rows of a reading at once: their mean, for shares.

    Args: posts: all, with their sides as the run had them. read: frames of `predictions`, each with its own `split`.
    """
    frame = pd.concat(read).sort_values("row", kind="stable")  # what one post has in common compresses
    frame = frame.drop(columns="row").reset_index(drop=True)
    metrics = {split: evaluation.frame_metrics(evaluation.with_prob(part)) for split, part in frame.groupby("split")}
    facts |= {"split_hash": split_files.split_hash(posts)}
    return Outcome(metrics, pd.DataFrame() if history is None else history, frame, facts=facts)


def stored(report: Any) -> pd.DataFrame:
    """Predictions of a finished run on a bench; real posts go by their opaque key."""
    return report.predictions().rename(columns={"row_key": "post_id"})
