"""The papers' own posts: each row on the published split, without twins of train, on other draws, with events held out.

And what the pictures are worth to it: the same model, asked about each test post with the picture of another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from rumorlib.config import RunConfig, about
from rumorlib.experiments.names import NAMES, model_name
from rumorlib.metrics import estimates, evaluation
from rumorlib.metrics.statistics import t_interval
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names, with_runs
from rumorlib.studies.scores import comparison, recommended
from rumorlib.studies.scores.differences import is_fixed
from rumorlib.training.fitting import OTHERS_PICTURES

Group = tuple[str, str]  # dataset, printed row
PUBLISHED = ("", "published")
COLUMNS = ("dataset", "model", "accuracy", "acc_low", "acc_high", "ahead", "ahead_low", "ahead_high", "apart", "dealt",
           "event_f1", "pictures", "pictures_low", "pictures_high", "dealt_most", "n_seeds", "n_test", "f1_macro",
           "n_apart", "dealt_sd", "n_dealt", "event_gain")  # fmt: skip


def page(reports: Sequence[Report], draws: Sequence[Report]) -> pd.DataFrame:
    """A row per corpus and model, the most accurate first.

    Args: reports: trainings, on every protocol; draws: runs of kind "draws".
    Returns: dataset, model, n_seeds, accuracy, acc_low, acc_high, n_test, f1_macro (published test); ahead, ahead_low,
        ahead_high (of TF-IDF on the same posts, accuracy; no interval of one training); apart (accuracy on its
        posts without a twin in train), n_apart; dealt, dealt_sd, dealt_most, n_dealt (accuracy on other draws of
        the same sizes); event_f1 (macro-F1, mean over events held out), event_gain (accuracy less the share of the
        larger class, the same mean); pictures, pictures_low, pictures_high (accuracy lost with pictures of others). nan
        where a row has no such run, or reads no picture.
    """
    linear, rows, groups = _linear(draws), [], _grouped([*reports, *recommended.combined(reports)])
    words = {one.config.dataset: [one] for one in reports
             if one.config.variant == "tfidf_lr" and one.config.protocol in PUBLISHED}  # fmt: skip
    for (dataset, model), group in groups.items():
        published = [one for one in group if one.config.protocol in PUBLISHED]
        if not published:
            continue
        config, frame = comparison.pooled(published)[0]
        test = _test(published)
        rows.append({"dataset": dataset, "model": model, **_published(dataset, test),
                     **_ahead(config, test, words.get(dataset, ())),
                     **(_elsewhere(group) | linear.get((dataset, model), {})), **_pictures(dataset, frame),
                     RUNS: run_names([*group, *words.get(dataset, ())])})  # fmt: skip
    shown = {(row["dataset"], row["model"]) for row in rows}
    rows += [{"dataset": key[0], "model": key[1], **found, RUNS: [one.name for one in draws]}
             for key, found in linear.items() if key not in shown]  # fmt: skip
    table = pd.DataFrame(rows, columns=[*COLUMNS, RUNS]).sort_values(["dataset", "accuracy"], ascending=[True, False])
    return by_runs(table.reset_index(drop=True), "dataset", "model")


def _grouped(reports: Sequence[Report]) -> dict[Group, list[Report]]:
    found: dict[Group, list[Report]] = {}
    for report in reports:
        found.setdefault((report.config.dataset, model_name(report.config)), []).append(report)
    return found


def _test(group: Sequence[Report]) -> pd.DataFrame:
    _, frame = comparison.pooled(group)[0]
    return frame[frame["split"] == "test"].reset_index(drop=True)


def _ahead(config: RunConfig, own: pd.DataFrame, words: Sequence[Report]) -> dict[str, float]:
    """How far a row is ahead of TF-IDF, whose training leaves nothing to chance."""
    if not words or config.variant == "tfidf_lr":
        return {}
    how, fixed = comparison.clusterings(config.dataset, own), (is_fixed(config), True)
    return comparison.ends("ahead", estimates.difference(own, _test(words), "accuracy", how, fixed=fixed))


def _published(dataset: str, test: pd.DataFrame) -> dict[str, Any]:
    by_seed = [part for _, part in test.groupby("seed")]
    found = {"n_seeds": len(by_seed)} | comparison.ends("acc", comparison.score(dataset, test, "accuracy"), "accuracy")
    found["n_test"] = len(by_seed[0])
    found["f1_macro"] = float(np.mean([evaluation.frame_metrics(part)["f1_macro"] for part in by_seed]))
    apart = test[test["twin"] == 0] if "twin" in test else test[:0]
    found["apart"] = float(((apart["log_odds"] >= 0) == apart["label"]).mean()) if len(apart) else np.nan
    return found | {"n_apart": len(apart) // len(by_seed)}


def _pictures(dataset: str, frame: pd.DataFrame) -> dict[str, float]:
    """How much more accurate answers are with a post's own picture; of the same trainings, so one can tell."""
    own, others = (frame[frame["split"] == split].reset_index(drop=True) for split in ("test", OTHERS_PICTURES))
    if not len(others):
        return {}
    found = estimates.difference(own, others, "accuracy", comparison.clusterings(dataset, own), same_runs=True)
    return comparison.ends("pictures", found)


def _linear(draws: Sequence[Report]) -> dict[Group, dict[str, Any]]:
    """What `_elsewhere` gives, of rows of scikit-learn."""
    found = {}
    for report in draws:
        frame = report.extra("draws")
        for row, part in frame.groupby("row", sort=False):
            published = part[part["protocol"] == "published"].iloc[0]
            own = {
                "n_seeds": 1,
                "n_test": published["n_test"],
                "accuracy": published["accuracy"],
                "f1_macro": published["macro_f1"],
            }
            name = NAMES.get(("baseline", row), row)
            elsewhere = {column: value for column, value in _over(part).items() if value == value}  # no events: nan
            found[report.config.dataset, name] = (own if name == row else {}) | elsewhere
    return found


def _elsewhere(group: Sequence[Report]) -> dict[str, Any]:
    """The same of trained models, from the metrics of their test posts."""
    rows = []
    for report in group:
        test = report.metrics["test"]
        share = test["n_rumor"] / test["n"]
        rows.append({"protocol": report.config.protocol, "accuracy": test["accuracy"], "macro_f1": test["f1_macro"],
                     "majority": max(share, 1 - share)})  # fmt: skip
    return _over(pd.DataFrame(rows))


def _over(part: pd.DataFrame) -> dict[str, Any]:
    dealt = part.loc[part["protocol"].str.startswith("resplit"), "accuracy"]
    event = part[part["protocol"].str.startswith(("event", "grouped"))]
    found: dict[str, Any] = {"dealt": dealt.mean(), "dealt_sd": dealt.std(), "dealt_most": dealt.max()}
    found |= {"n_dealt": len(dealt), "event_f1": event["macro_f1"].mean()}
    return found | {"event_gain": (event["accuracy"] - event["majority"]).mean()}


def cross_validated(reports: Sequence[Report]) -> pd.DataFrame:
    """Settings of training over the folds of published train and dev posts: each post is held out once.

    Returns: dataset, model, setting, folds, accuracy and auc (means over folds), accuracy_sd (over folds), best_step
        (median), unlearned: folds whose training has a fault (`metrics.learning`). Highest accuracy of a model first;
        the last rows combine TF-IDF with one detector or two.
    """
    rows = []
    groups: dict[tuple[str, ...], list[Report]] = {}
    for report in reports:
        config = report.config
        setting = config.variant.removeprefix("cv-") if config.learns else ""
        name = config.model.upper() if config.learns else model_name(config)
        groups.setdefault((config.dataset, name, setting), []).append(report)
    for (dataset, model, setting), group in groups.items():
        dev = pd.DataFrame([report.metrics["dev"] for report in group])
        steps = [_best_step(report) for report in group if report.config.learns]
        rows.append({
            "dataset": dataset, "model": model, "setting": setting, "folds": len(group),
            "accuracy": dev["accuracy"].mean(), "accuracy_sd": dev["accuracy"].std(), "auc": dev["auc"].mean(),
            "best_step": np.median(steps) if steps else np.nan,
            "unlearned": sum(bool(report.faults()) for report in group), RUNS: [report.name for report in group],
        })  # fmt: skip
    rows += [row for dataset in dict.fromkeys(key[0] for key in groups) for row in _joined(dataset, groups)]
    frame = pd.DataFrame(rows).sort_values(["dataset", "model", "accuracy"], ascending=[True, True, False])
    return by_runs(frame.reset_index(drop=True), "dataset", "model")


def _joined(dataset: str, groups: dict[tuple[str, ...], list[Report]]) -> Iterator[dict[str, Any]]:
    """Rows of TF-IDF combined with detectors, weighed and calibrated on the other folds (`recommended.cross_fitted`);
    the last has what is recommended."""
    words, dmfl = groups.get((dataset, NAMES["baseline", "tfidf_lr"], "")), ("DMFL", "default")
    for asked in ([dmfl], [("MICC", "product")], [("MICC", "towers")], [dmfl, ("MICC", "product")]):
        parts = [words, *(groups.get((dataset, *one)) for one in asked)]
        if all(parts):
            accuracy, auc = recommended.cross_fitted(parts)
            yield {"dataset": dataset, "model": f"TF-IDF with {' and '.join(model for model, _ in asked)}",
                   "setting": ", ".join(setting for _, setting in asked), "folds": len(words),
                   "accuracy": accuracy.mean(), "accuracy_sd": accuracy.std(ddof=1), "auc": auc.mean(),
                   "best_step": np.nan, "unlearned": 0, RUNS: run_names([one for part in parts for one in part])
                   }  # fmt: skip


def by_posts(reports: Sequence[Report]) -> pd.DataFrame:
    """Accuracy over the folds by how many train posts there were (o_fig3); `recommended.cross_fitted` of all rows, too.

    Returns: dataset, model, posts (mean over folds), estimate, low, high (95 %, t over the folds).
    """
    groups: dict[tuple[str, int | None], dict[str, list[Report]]] = {}
    for report in reports:
        name = model_name(replace(report.config, variant=report.config.variant.removeprefix("cv-")))
        of = groups.setdefault((report.config.dataset, report.config.n_train), {})
        of.setdefault(name, []).append(report)
    rows = []
    for (dataset, _), of in groups.items():
        posts = round(np.mean([one.metrics["train"]["n"] for group in of.values() for one in group]))
        found = {name: np.array([one.metrics["dev"]["accuracy"] for one in group]) for name, group in of.items()}
        found[NAMES["micc", "recommended"]], _ = recommended.cross_fitted(list(of.values()))
        for name, accuracy in found.items():
            interval = t_interval(accuracy)
            used = of.get(name) or [one for group in of.values() for one in group]
            rows.append({"dataset": dataset, "model": name, "posts": posts, "estimate": interval.estimate,
                         "low": interval.low, "high": interval.high, RUNS: run_names(used)})  # fmt: skip
    return by_runs(pd.DataFrame(rows), "dataset", "model", "posts")


def _best_step(report: Report) -> float:
    history = report.history()
    return float(history["step"].iloc[history["dev_loss"].argmin()])


def bars(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `page` as `plots.metric_bars` draws them: dataset, model, metric, estimate, low, high."""
    published = table.assign(metric="published test", estimate=table["accuracy"], low=table["acc_low"],
                             high=table["acc_high"])  # fmt: skip
    drawn = table.assign(metric="other draws of the split", estimate=table["dealt"],
                         low=table["dealt"] - 2 * table["dealt_sd"], high=table["dealt_most"])  # fmt: skip
    found = pd.concat([published, drawn], ignore_index=True)
    return found[["dataset", "model", "metric", "estimate", "low", "high"]]


# --- beside the papers --------------------------------------------------------------------------


# Printed row of a paper -> ours that stands for it.
LITERAL = {"MICC": NAMES["micc", "default"], "DMFL": "DMFL", "MFAN": NAMES["mfan", "no-graph"]}


def reported(table: pd.DataFrame) -> pd.DataFrame:
    """The papers' accuracies on these posts, beside ours.

    Returns: paper, dataset, row, reading, reported, low, high (Wilson's interval of a share of as many test posts),
        ours, gap (nan where the row is not ours, too), above: rows of ours whose accuracy is at least the reported one.
    """
    rows = []
    for paper, artifact in (("MICC", "m_e2"), ("DMFL", "d_e1")):
        stated = comparison.reported(artifact)
        for line in stated[(stated["metric"] == "accuracy") & (stated["unit"] == "fraction")].itertuples():
            theirs = [name for name in table["dataset"].unique() if about(name).protocol == "published"]
            own = table[[name in theirs and about(name).reported == line.dataset for name in table["dataset"]]]
            if len(own) and line.row in LITERAL:
                rows.append(_stated(paper, line, own))
    return by_runs(pd.DataFrame(rows), "paper", "dataset", "row", "reading")


def _stated(paper: str, line: Any, own: pd.DataFrame) -> dict[str, Any]:
    n = int(own["n_test"].iloc[0])
    low, high = proportion_confint(round(line.value * n), n, method="wilson")
    ours = own.loc[own["model"] == LITERAL[line.row], "accuracy"]
    value = float(ours.iloc[0]) if len(ours) else np.nan
    above = own.loc[own["accuracy"] >= line.value, "model"]
    named = [row[RUNS] for row in with_runs(own) if row["model"] in {*above, LITERAL[line.row]}]
    return {"paper": paper, "dataset": own["dataset"].iloc[0], "row": line.row, "reading": line.reading,
            "reported": line.value, "low": low, "high": high, "ours": value, "gap": value - line.value,
            "above": ", ".join(above), RUNS: sorted(set().union(*named))}  # fmt: skip
