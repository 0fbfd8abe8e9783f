"""The rule that chooses a configuration is part of the result (as DomainBed shows it: p_1).

A small set of configurations, written down here before any was scored on test: logistic regressions and small heads on
fixed features (benches.py). Each is fitted on every cross-fit fold and, for as many epochs as the folds ask for at the
median, on all of train; then its test posts are scored once. That is one run, and one line of the test ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit
from scipy.stats import spearmanr

from rumorlib import results
from rumorlib.config import Settings
from rumorlib.data import keys
from rumorlib.experiments import Choice, choices, model_name, selection_runs
from rumorlib.metrics import estimates, evaluation
from rumorlib.metrics.estimates import Estimate
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.scores import comparison
from rumorlib.training import bench_runs
from rumorlib.training.bench_runs import balanced_log_loss

DEFAULT = "LR, both, C=0.001"  # a priori: the C of the comparison tables' rows on frozen features, all inputs


@dataclass(frozen=True)
class Tried:
    """What a configuration showed: dev loss per fold (of a trained detector: per seed), epochs (0: none to choose), and
    test predictions of its refit (per seed)."""

    name: str
    losses: tuple[float, ...]
    epochs: int
    test: pd.DataFrame


def table(
    settings: Settings, dataset: str, trained: Sequence[Report] = (), folds: Sequence[Report] = ()
) -> tuple[pd.DataFrame, pd.DataFrame, list[Report]]:
    """Every rule's choice and its test score, and every configuration's dev and test score.

    Args: trained: finished runs of trained detectors, the a-priori one first; rows of their own (`_of_trained`) for
        those of `dataset`. folds: the same trained on cross-fit folds (`trained_runs`).
    Returns: (rule, configuration, epochs, dev_loss, dev_se, primary, estimate, low, high, auc, accuracy), a row per
        rule; (configuration, epochs, dev_loss, dev_se, single_dev_loss, estimate, auc), a row per configuration; and
        the runs behind them. Losses in nats, class-balanced; estimate: balanced accuracy with each picture counting
        once, 95 % over pictures.
    """
    reports = [results.run_or_load(one, settings) for one in selection_runs(settings, dataset)]
    tried = [_tried(choice, report) for choice, report in zip(choices(), reports, strict=True)]
    points = pd.DataFrame([_point(one) for one in tried])
    rules = pd.DataFrame([_row(rule, one) for rule, one in _chosen(tried).items()])
    a_priori = run_names([reports[[one.name for one in tried].index(DEFAULT)]])  # every other rule looks at all
    rules[RUNS] = [a_priori if rule == "a priori" else run_names(reports) for rule in rules["rule"]]
    average = {"rule": "mean of all configurations", "configuration": f"{len(tried)} configurations"}
    average |= {"primary": rules["primary"].iloc[0], RUNS: run_names(reports)} | points[
        ["estimate", "auc"]
    ].mean().to_dict()
    trained = [report for report in trained if report.config.dataset == dataset]
    rows = pd.DataFrame([_row(rule, one) for rule, one in _of_trained(trained, folds).items()])
    if len(rows):
        rows[RUNS] = [_behind(rule, trained, folds) for rule in rows["rule"]]
    whole = by_runs(pd.concat([rules, pd.DataFrame([average]), rows], ignore_index=True), "rule")
    return whole, points, [*reports, *trained, *folds]


def _behind(rule: str, trained: Sequence[Report], folds: Sequence[Report]) -> tuple[str, ...]:
    """Names of the runs of trained detectors that a rule looks at."""
    if rule == "MICC: a priori":
        return run_names(comparison.pooled(trained)[0][1])
    return run_names([*trained, *(folds if "cross-fit" in rule else ())])


def agreement(points: pd.DataFrame) -> str:
    """How well dev ranks the configurations as test does: Spearman's correlation, for the note of the table."""
    told = [f"{name} {spearmanr(-points[column], points['estimate']).statistic:.2f}"
            for name, column in (("cross-fit", "dev_loss"), ("single dev", "single_dev_loss"))]  # fmt: skip
    return f"Rank correlation of dev loss with test over {len(points)} configurations: {', '.join(told)}."


def _tried(choice: Choice, report: Report) -> Tried:
    losses = report.history().groupby("fold")["dev_loss"].min()
    return Tried(choice.name, tuple(losses), report.facts["epochs"], bench_runs.stored(report))


def _chosen(tried: Sequence[Tried]) -> dict[str, Tried]:
    """Rule -> the configuration it takes. Only the last reads test scores."""
    by_name = {one.name: one for one in tried}
    return {
        "a priori": by_name[DEFAULT],
        **_by_folds(tried),
        "single dev": min(tried, key=lambda one: one.losses[0]),
        "oracle on test": max(tried, key=_score),
    }


def _by_folds(tried: Sequence[Tried]) -> dict[str, Tried]:
    """The rules that read the losses of every fold; `tried` from the simplest on."""
    best = min(tried, key=lambda one: np.mean(one.losses))
    limit = np.mean(best.losses) + _se(best)
    simplest = next(one for one in tried if np.mean(one.losses) <= limit)
    return {"cross-fit, one standard error": simplest, "cross-fit, lowest loss": best}


def _of_trained(reports: Sequence[Report], folds: Sequence[Report] = ()) -> dict[str, Tried]:
    """The same among MICC's classifier inputs, the literal one first, from runs of several seeds on one dev, and of one
    seed on every fold: dev predictions choose, and the score is that of the runs on all of train but dev. The simplest
    input is that with the fewest parameters."""
    tried, size = [], {model_name(report.config): report.facts.get("n_trainable", 0) for report in reports}
    for config, frame in comparison.pooled(reports):
        test = frame[frame["split"] == "test"].reset_index(drop=True)
        losses = tuple(_dev_loss(part) for _, part in frame.groupby("seed"))
        tried.append(Tried(model_name(config), losses, 0, test))
    if not tried:
        return {}
    crossed: dict[str, list[float]] = {}
    for report in folds:
        crossed.setdefault(model_name(report.config), []).append(_dev_loss(report.predictions()))
    simplest_first = sorted(tried, key=lambda one: size[one.name])
    by_folds = _by_folds([replace(one, losses=tuple(crossed[one.name])) for one in simplest_first]) if crossed else {}
    seeds = [
        replace(one, name=f"{one.name}, seed {seed}", losses=(loss,), test=part.reset_index(drop=True))
        for one in tried
        for loss, (seed, part) in zip(one.losses, one.test.groupby("seed"), strict=True)
    ]
    return {
        "MICC: a priori": tried[0],
        **{f"MICC: {rule}": one for rule, one in by_folds.items()},
        "MICC: single dev": min(tried, key=lambda one: np.mean(one.losses)),
        "MICC: single dev, seed too": min(seeds, key=lambda one: one.losses[0]),
        "MICC: oracle on test": max(tried, key=_score),
        "MICC: oracle on test, seed too": max(seeds, key=_score),
    }


def _dev_loss(predictions: pd.DataFrame) -> float:
    dev = predictions[predictions["split"] == "dev"].reset_index(drop=True)
    log_odds = evaluation.log_odds_of(dev)
    if log_odds is None:
        log_odds = logit(dev["prob_rumor"].clip(1e-6, 1 - 1e-6))
    return float(balanced_log_loss(dev["label"].to_numpy(), log_odds, keys.image_weights(dev).to_numpy()))


def _se(one: Tried) -> float:
    return float(np.std(one.losses, ddof=1) / np.sqrt(len(one.losses))) if len(one.losses) > 1 else np.nan


def _score(one: Tried) -> float:
    return _primary(one).value


def _primary(one: Tried) -> Estimate:
    part = comparison.weighted(one.test)
    how = comparison.clusterings("", part)
    return estimates.score(part, "balanced_accuracy", how, "image_weight")


def _point(one: Tried) -> dict[str, Any]:
    auc = estimates.score(one.test, "auc").value
    return {"configuration": one.name, "epochs": one.epochs, "dev_loss": float(np.mean(one.losses)),
            "dev_se": _se(one), "single_dev_loss": one.losses[0], "estimate": _score(one),
            "auc": auc}  # fmt: skip


def _row(rule: str, one: Tried) -> dict[str, Any]:
    found, point = _primary(one), _point(one)
    accuracy = estimates.score(one.test, "accuracy").value
    return {"rule": rule, "configuration": one.name, "epochs": one.epochs or "-", "dev_loss": point["dev_loss"],
            "dev_se": point["dev_se"], "primary": "image-macro balanced accuracy", "estimate": found.value,
            "low": found.low, "high": found.high, "auc": point["auc"], "accuracy": accuracy}  # fmt: skip
