"""Reports -> the frames that tables and figures show: intervals, comparisons, reported | ours | gap, verdicts.

Every number is computed anew from stored predictions; dev and test stand in rows of their own and nothing is chosen on
test. Intervals: cluster bootstrap (`clusters_of`). Bounds and references: `controls`; claims: `verdicts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.config import RunConfig, about
from rumorlib.data.keys import image_weights
from rumorlib.experiments import corpus_name, model_name
from rumorlib.metrics import evaluation, statistics
from rumorlib.results import Report, content_of
from rumorlib.results.artifacts import INDEX
from rumorlib.results.provenance import RUNS, by_runs, of_runs, run_names

POINT_METRICS = (
    "precision_rumor", "recall_rumor", "f1_rumor", "precision_non_rumor", "recall_non_rumor", "f1_non_rumor",
    "f1_macro", "f1_weighted", "balanced_accuracy", "brier", "log_loss",
)  # fmt: skip


def need_same_posts(reports: Iterable[Report]) -> None:
    """Runs stand in one table only if they answered the same posts.

    Raises: ValueError: two runs on corpora of one name were made on different posts (`keys.posts_hash`).
    """
    seen: dict[str, tuple[str, str]] = {}
    for report in reports:
        made = content_of(report.facts).get("posts")
        name, first = seen.setdefault(corpus_name(report.config), (report.name, made)) if made else ("", None)
        if made != first:
            raise ValueError(f"{report.name} was run on other posts than {name}; make one again with train='all'")


def pooled(reports: Iterable[Report]) -> list[tuple[RunConfig, pd.DataFrame]]:
    """Predictions of the seeds of one model on one corpus in one frame (column `seed`), in order of appearance."""
    groups: dict[tuple[str, str, str], list[Report]] = {}
    reports = list(reports)
    need_same_posts(reports)
    for report in reports:
        key = corpus_name(report.config), report.config.model, report.config.variant
        groups.setdefault(key, []).append(report)
    made = []
    for group in groups.values():
        frames = [r.predictions().rename(columns={"row_key": "post_id"}).assign(seed=r.config.seed) for r in group]
        made.append((group[0].config, of_runs(pd.concat(frames, ignore_index=True), group)))
    return made


def main_table(reports: Iterable[Report], splits: Sequence[str] = ("dev", "test")) -> pd.DataFrame:
    """A row per corpus, model and split: means over seeds; 95 % intervals over `clusters_of` and seeds.

    Returns: dataset, model, variant, split, primary (the metric to read first), primary_value, primary_low,
        primary_high, accuracy, acc_low, acc_high, acc_low_event, acc_high_event (clusters are events; empty for
        drawn scenes and photographs, whose events mean nothing), auc, auc_low, auc_high, POINT_METRICS, n, n_rumor,
        n_seeds. Scores are fractions.
    """
    rows = []
    for config, predictions in pooled(reports):
        for split in splits:
            part = predictions[predictions["split"] == split].reset_index(drop=True)
            if len(part):
                rows.append(_main_row(config, part, split) | {RUNS: run_names(predictions)})
    return by_runs(pd.DataFrame(rows), "dataset", "model")


def _main_row(config: RunConfig, part: pd.DataFrame, split: str) -> dict[str, Any]:
    runs = [evaluation.frame_metrics(p) for _, p in part.groupby("seed")]
    accuracy = statistics.cluster_bootstrap(part, "accuracy", clusters_of(part))
    auc = statistics.cluster_bootstrap(part, "auc", clusters_of(part))
    macro = about(config.dataset).shared_pictures
    primary = primary_interval(config.dataset, part) if macro else accuracy
    by_event = statistics.cluster_bootstrap(part, "accuracy", "event") if macro else (np.nan, np.nan, np.nan)
    row = {"dataset": corpus_name(config), "model": model_name(config), "variant": config.variant, "split": split}
    row |= {"primary": "image-macro balanced accuracy" if macro else "accuracy"}
    row |= dict(zip(("primary_value", "primary_low", "primary_high"), primary, strict=True))
    row |= {"accuracy": accuracy.estimate, "acc_low": accuracy.low, "acc_high": accuracy.high}
    row |= {"acc_low_event": by_event[1], "acc_high_event": by_event[2]}
    row |= {"auc": auc.estimate, "auc_low": auc.low, "auc_high": auc.high}
    row |= {metric: float(np.mean([run[metric] for run in runs])) for metric in POINT_METRICS}
    return row | {"n": runs[0]["n"], "n_rumor": runs[0]["n_rumor"], "n_seeds": len(runs)}


def primary_interval(dataset: str, part: pd.DataFrame) -> statistics.Interval:
    """Accuracy; where many posts share a picture balanced accuracy with each picture counting once."""
    metric, weight = _primary(dataset)
    return statistics.cluster_bootstrap(weighted(part), metric, clusters_of(part), weight=weight)


def _primary(dataset: str) -> tuple[statistics.Metric, str | None]:
    return ("balanced_accuracy", "image_weight") if about(dataset).shared_pictures else ("accuracy", None)


def weighted(part: pd.DataFrame) -> pd.DataFrame:
    """`part` with image_weight, 1 / posts of the picture within each seed; 1 where no pictures are known."""
    if "image_group" not in part:
        return part.assign(image_weight=1.0)
    weights = [image_weights(p) for _, p in part.groupby("seed")]
    return part.assign(image_weight=pd.concat(weights))


def clusters_of(part: pd.DataFrame) -> str | None:
    """Column of the clusters drawn again: near-duplicate texts in a corpus of texts, else pictures, or None (posts)."""
    return next((column for column in ("text_group", "image_group") if column in part), None)


def bars(table: pd.DataFrame, split: str, metrics: Sequence[str] = ("accuracy", "auc")) -> pd.DataFrame:
    """Rows of `main_table` as `plots.metric_bars` draws them: dataset, model, metric, estimate, low, high."""
    edges = {"accuracy": "acc", "auc": "auc", "primary_value": "primary"}
    part, frames = table[table["split"] == split], []
    for metric in metrics:
        low, high = (part[f"{edges[metric]}_{edge}"] if metric in edges else np.nan for edge in ("low", "high"))
        name = part["primary"] if metric == "primary_value" else metric
        frames.append(part[["dataset", "model"]].assign(metric=name, estimate=part[metric], low=low, high=high))
    return pd.concat(frames, ignore_index=True)


def auc_by(reports: Iterable[Report], column: str, split: str = "test") -> pd.DataFrame:
    """AUC of each kind of rumor: of `column` "distance" (photo: both classes have it) or "conflict" (drawn scenes:
    the rumors of one conflict against all posts whose claim holds).

    Returns: dataset, model, `column`, n, n_rumor, called_rumor (share of those rumors with probability >= .5), and
        estimate, low, high of AUC. Corpora without the column are left out.
    """
    rows = []
    for config, predictions in pooled(reports):
        part = predictions[predictions["split"] == split]
        if column not in part or part[column].isna().all():
            continue
        for value in part[column].dropna().drop_duplicates():
            chosen = part[part[column].isin([value, "none"])].reset_index(drop=True)
            if value == "none" or chosen["label"].nunique() < 2:
                continue
            auc = statistics.cluster_bootstrap(chosen, "auc", clusters_of(chosen))
            rumors = chosen[chosen["label"] == 1]
            called = rumors["prob_rumor"] >= statistics.THRESHOLD
            n_seeds = chosen["seed"].nunique()
            rows.append({
                "dataset": corpus_name(config), "model": model_name(config), column: value, "n": len(chosen) // n_seeds,
                "n_rumor": len(rumors) // n_seeds, "called_rumor": called.mean(),
                "estimate": auc.estimate, "low": auc.low, "high": auc.high, RUNS: run_names(predictions),
            })  # fmt: skip
    columns = ["dataset", "model", column, "n", "n_rumor", "called_rumor", "estimate", "low", "high"]
    return by_runs(pd.DataFrame(rows, columns=[*columns, RUNS]), "dataset", "model")


def compare(reports: Sequence[Report], model: tuple[str, str], rivals: Sequence[tuple[str, str]],
            split: str = "test", clusters: str | None = None) -> pd.DataFrame:  # fmt: skip
    """On each corpus `model` against the rival that is best on dev: difference on `split`, paired, `clusters_of`
    (or the groups of column `clusters`) swap whole, Holm over the corpora. Every score is that of a model's
    probabilities averaged over its seeds, as tested.

    Args: model, rivals: (RunConfig.model, variant).
    Returns: dataset, model, rival, metric, n_seeds, rival_seeds, ours, theirs, difference = ours - theirs, low, high
        (95 %), p_value, n_clusters, p_holm, significant; and highest, highest_score: of the rivals on `split`, which
        a claim about every rival must beat.
    """
    rows = []
    frames = {(corpus_name(c), c.model, c.variant): (c, frame) for c, frame in pooled(reports)}
    for dataset in dict.fromkeys(key[0] for key in frames):
        others = [frames[dataset, *rival] for rival in rivals if (dataset, *rival) in frames]
        config, ours = frames.get((dataset, *model), (None, None))
        if config is None or not others or not (ours["split"] == split).any():
            continue
        metric, weight = _primary(config.dataset)
        best, theirs = max(others, key=lambda other: _score(other[0].dataset, other[1], "dev"))
        a, b = (weighted(f[f["split"] == split]) for f in (ours, theirs))
        how = clusters or clusters_of(a), metric
        test = statistics.paired_permutation(a, b, *how, weight=weight)._asdict()
        test |= dict(zip(("low", "high"), statistics.paired_interval(a, b, *how, weight)[1:], strict=True))
        scores = {"ours": _score(config.dataset, ours, split), "theirs": _score(config.dataset, theirs, split)}
        scores["highest_score"], top = max((_score(c.dataset, frame, split), model_name(c)) for c, frame in others)
        row = {
            "dataset": dataset,
            "model": model_name(config),
            "rival": model_name(best),
            "metric": metric,
            "highest": top,
        }
        row |= {"n_seeds": ours["seed"].nunique(), "rival_seeds": theirs["seed"].nunique()}
        row[RUNS] = [name for frame in (ours, *(frame for _, frame in others)) for name in run_names(frame)]
        rows.append(row | scores | test)
    if not rows:
        return pd.DataFrame()
    holm = statistics.holm({row["dataset"]: row["p_value"] for row in rows})
    frame = pd.DataFrame(rows).assign(p_holm=holm["p_holm"], significant=holm["significant"])
    return by_runs(frame, "dataset", "model")


def _score(dataset: str, predictions: pd.DataFrame, split: str) -> float:
    """Primary metric of a split, of the seeds' mean probabilities: what `statistics.paired_permutation` compares."""
    metric, weight = _primary(dataset)
    mean = statistics.seed_mean(weighted(predictions[predictions["split"] == split]))
    weights = mean[weight] if weight else None
    return evaluation.frame_metrics(mean, weights)[metric]


def reported(artifact_id: str) -> pd.DataFrame:
    """Numbers of the papers for one artifact, as committed in results/reported."""
    return pd.read_csv(INDEX.parent / "reported" / f"{artifact_id}.csv", dtype={"value": float})


def against_reported(reports: Iterable[Report], artifact_id: str, model: str = "default") -> pd.DataFrame:
    """Reported | ours | gap | verdict: each score the paper states beside the same score of ours on each corpus.

    A gap is printed on the paper's own corpus only: drawn scenes, photographs and other posts are other tasks. The
    averaging behind "F1" is unknown for MICC and almost surely support-weighted for DMFL (choice C19), so MICC's F1
    stands beside three of ours.

    Args:
        reports: those of the paper's own model are used.
        artifact_id: file of results/reported.
        model: variant of ours.
    Returns: paper, corpus (the paper's), row, metric, reading, reported, our_corpus, our_model, our_metric, ours, low,
        high (test, 95 %), gap (ours - reported), verdict, source.
    """
    stated = reported(artifact_id)
    stated = stated[stated["metric"].isin(["accuracy", "f1"])]
    ours = {row: main_table([r for r in reports if (r.config.model, r.config.variant) in runs], ["test"])
            for row, runs in _own(stated, model).items()}  # fmt: skip
    rows = []
    for line in stated.itertuples():
        f1 = ("f1_weighted",) if line.paper == "DMFL" else ("f1_rumor", "f1_macro", "f1_weighted")
        for metric in ("accuracy",) if line.metric == "accuracy" else f1:
            found = ours.get(line.row, pd.DataFrame())
            rows += [_beside(line, own, metric) for own in found.to_dict("records") or [None]]
    return pd.DataFrame(rows)


def _own(stated: pd.DataFrame, model: str) -> dict[str, set[tuple[str, str]]]:
    """Printed row -> (model, variant) of our runs of it: the paper's own model, and others we trained."""
    others = {row: {(row.lower(), variant) for variant in ("default", "no-graph")} for row in stated["row"]}
    return others | {paper: {(paper.lower(), model)} for paper in stated["paper"]}


def _beside(line: Any, own: dict[str, Any] | None, metric: str) -> dict[str, Any]:
    """One stated number beside one of ours; `own` None: nothing that we ran."""
    row = {"paper": line.paper, "corpus": line.dataset, "row": line.row, "metric": line.metric}
    row |= {"reading": line.reading, "reported": line.value}
    if own is None:
        nothing = {"our_corpus": "-", "our_model": "-", "our_metric": "-", "ours": np.nan, "low": np.nan}
        verdict = {"high": np.nan, "gap": np.nan, "verdict": "untestable here: not run"}
        return row | nothing | verdict | {"source": line.source}
    low, high = (own["acc_low"], own["acc_high"]) if metric == "accuracy" else (np.nan, np.nan)
    same = own["dataset"] == line.dataset
    row |= {"our_corpus": own["dataset"], "our_model": own["model"], "our_metric": metric}
    row |= {"ours": own[metric], "low": low, "high": high, "gap": own[metric] - line.value if same else np.nan}
    return row | {"verdict": _verdict(line.value, low, high, same), "source": line.source}


def _verdict(value: float, low: float, high: float, same_corpus: bool) -> str:
    """Reproduced: the reported value lies in our interval, or below it."""
    if not same_corpus:
        return "untestable here: other corpus"
    if np.isnan(low):
        return "inconclusive"
    return "reproduced" if value <= high else "not reproduced"
