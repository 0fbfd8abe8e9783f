"""The rule that chooses a configuration is part of the result (as DomainBed shows it: p_1).

A small set of configurations, written down here before any was scored on test: logistic regressions and small heads on
fixed features (benches.py). Each is fitted on every cross-fit fold and, for as many epochs as the folds ask for at the
median, on all of train; then its test posts are scored once, and that reading goes into the test ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from rumorlib import ledger, runs, statistics
from rumorlib.config import BaselineConfig, HeadsConfig, Settings
from rumorlib.data import keys, protocols, split_files
from rumorlib.models import baselines, heads
from rumorlib.profiles import HEADS
from rumorlib.studies.scores import comparison
from rumorlib.studies.trust import benches
from rumorlib.studies.trust.anatomy import balanced_log_loss
from rumorlib.studies.trust.benches import Bench

N_FOLDS = 5
INPUTS = ("text", "image", "both")
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # scikit-learn's C
RATES = (3e-4, 1e-3)
DEFAULT = "LR, both, C=0.001"  # a priori: the C of the comparison tables' rows on frozen features, all inputs
SHOWN = 3  # seeds of a head whose probabilities are averaged


@dataclass(frozen=True)
class Choice:
    """A configuration: a logistic regression of strength C, or a head of learning rate `lr`, on some inputs."""

    inputs: str
    c: float = 0.0
    lr: float = 0.0

    @property
    def name(self) -> str:
        """As printed."""
        return f"LR, {self.inputs}, C={self.c:g}" if self.c else f"MLP, {self.inputs}, lr={self.lr:g}"


@dataclass(frozen=True)
class Tried:
    """What a configuration showed: dev loss per fold, epochs (0: none to choose), and test predictions of its refit."""

    choice: Choice
    losses: tuple[float, ...]
    epochs: int
    test: pd.DataFrame


def choices() -> list[Choice]:
    """All configurations, simplest first: linear before not, then stronger regularisation, then fewer inputs."""
    linear = [Choice(inputs, c=c) for c in STRENGTHS for inputs in INPUTS]
    return [*linear, *(Choice(inputs, lr=lr) for lr in RATES for inputs in INPUTS)]


def table(settings: Settings, dataset: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every rule's choice and its test score, and every configuration's dev and test score.

    Returns: (rule, configuration, epochs, dev_loss, dev_se, primary, estimate, low, high, auc, accuracy), a row per
        rule; (configuration, epochs, dev_loss, dev_se, single_dev_loss, estimate, auc), a row per configuration.
        Losses in nats, class-balanced; estimate: balanced accuracy with each picture counting once, 95 % over pictures.
    """
    bench = benches.of_corpus(dataset, settings)
    whole = benches.unsplit(bench, settings)
    sides = [protocols.split(whole, protocols.Protocol("cross-fit", fold=fold)) for fold in range(N_FOLDS)]
    tried = [_try(bench, sides, choice, HEADS[settings.profile]) for choice in choices()]
    for one in tried:
        _enter(settings.profile, bench, one)
    points = pd.DataFrame([_point(one) for one in tried])
    rules = pd.DataFrame([_row(rule, one) for rule, one in _chosen(tried).items()])
    average = {"rule": "mean of all configurations", "configuration": f"{len(tried)} configurations"}
    average |= {"primary": rules["primary"].iloc[0]} | points[["estimate", "auc"]].mean().to_dict()
    return pd.concat([rules, pd.DataFrame([average])], ignore_index=True), points


def agreement(points: pd.DataFrame) -> str:
    """How well dev ranks the configurations as test does: Spearman's correlation, for the note of the table."""
    told = [f"{name} {spearmanr(-points[column], points['estimate']).statistic:.2f}"
            for name, column in (("cross-fit", "dev_loss"), ("single dev", "single_dev_loss"))]  # fmt: skip
    return f"Rank correlation of dev loss with test over {len(points)} configurations: {', '.join(told)}."


# --- one configuration ------------------------------------------------------------------------------


def _try(bench: Bench, sides: Sequence[pd.DataFrame], choice: Choice, config: HeadsConfig) -> Tried:
    features = {"text": bench.text, "image": bench.image, "both": bench.both}[choice.inputs]
    weight = keys.image_weights(bench.posts).to_numpy()
    losses, epochs = [], []
    for side in (posts["split"].to_numpy() for posts in sides):
        train, dev = np.flatnonzero(side == "train"), np.flatnonzero(side == "dev")
        prob = _prob(features, bench.label, train, dev, weight, choice, config)  # (E, n_dev)
        loss = balanced_log_loss(bench.label[dev], prob, weight[dev])
        losses.append(float(loss.min()))
        epochs.append(int(loss.argmin()) + 1)
    n_epochs = int(np.median(epochs)) if choice.lr else 0
    side = sides[0]["split"].to_numpy()
    train, test = np.flatnonzero(np.isin(side, ("train", "dev", "unassigned"))), np.flatnonzero(side == "test")
    again = replace(config, epochs=max(1, n_epochs))
    prob = _prob(features, bench.label, train, test, weight, choice, again)[-1]
    frame = bench.posts.iloc[test][["post_id", "label", "image_group"]].assign(prob_rumor=prob, seed=0)
    return Tried(choice, tuple(losses), n_epochs, frame.reset_index(drop=True))


def _prob(features: np.ndarray, label: np.ndarray, train: np.ndarray, asked: np.ndarray, weight: np.ndarray,
          choice: Choice, config: HeadsConfig) -> np.ndarray:  # fmt: skip
    """(E, n_asked) probabilities: of a regression E = 1, of a head after every epoch, mean of SHOWN seeds."""
    if choice.lr:
        chosen = replace(config, lr=choice.lr, n_seeds=SHOWN)
        return heads.fit_predict(features, label, train, chosen, asked, weight).mean(1)
    kind = BaselineConfig("text_lr", choice.c)  # the same regression whatever the inputs
    known = baselines.Features(label[train], text_features=features[train], weight=weight[train])
    wanted = {"asked": baselines.Features(label[asked], text_features=features[asked])}
    return baselines.fit_predict(kind, known, wanted)["asked"][None]


def _enter(profile: str, bench: Bench, one: Tried) -> None:
    """The reading of test that a refit makes, as a line of the ledger."""
    name = "-".join(one.choice.name.replace(",", "").split())
    ledger.append(profile, f"selection/{bench.corpus.name}/{name}/seed0", "", split_files.split_hash(bench.posts),
                  datetime.now(UTC).isoformat(timespec="seconds"), runs.git_state())  # fmt: skip


# --- rules ----------------------------------------------------------------------------------------


def _chosen(tried: Sequence[Tried]) -> dict[str, Tried]:
    """Rule -> the configuration it takes. Only the last reads test scores."""
    by_name = {one.choice.name: one for one in tried}
    best = min(tried, key=lambda one: np.mean(one.losses))
    limit = np.mean(best.losses) + _se(best)
    simplest = next(one for one in tried if np.mean(one.losses) <= limit)
    return {
        "a priori": by_name[DEFAULT],
        "cross-fit, one standard error": simplest,
        "cross-fit, lowest loss": best,
        "single dev": min(tried, key=lambda one: one.losses[0]),
        "oracle on test": max(tried, key=lambda one: _primary(one).estimate),
    }


def _se(one: Tried) -> float:
    return float(np.std(one.losses, ddof=1) / np.sqrt(len(one.losses)))


def _primary(one: Tried) -> statistics.Interval:
    part = comparison.weighted(one.test)
    return statistics.cluster_bootstrap(part, "balanced_accuracy", "image_group", weight="image_weight")


def _point(one: Tried) -> dict[str, Any]:
    auc = statistics.cluster_bootstrap(one.test, "auc", "image_group", n=2).estimate
    return {"configuration": one.choice.name, "epochs": one.epochs, "dev_loss": float(np.mean(one.losses)),
            "dev_se": _se(one), "single_dev_loss": one.losses[0], "estimate": _primary(one).estimate,
            "auc": auc}  # fmt: skip


def _row(rule: str, one: Tried) -> dict[str, Any]:
    found, point = _primary(one), _point(one)
    accuracy = statistics.cluster_bootstrap(one.test, "accuracy", "image_group", n=2).estimate
    return {"rule": rule, "configuration": one.choice.name, "epochs": one.epochs or "-", "dev_loss": point["dev_loss"],
            "dev_se": point["dev_se"], "primary": "image-macro balanced accuracy", "estimate": found.estimate,
            "low": found.low, "high": found.high, "auc": point["auc"], "accuracy": accuracy}  # fmt: skip
