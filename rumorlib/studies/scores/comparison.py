"""Reports -> the frames that tables and figures show: intervals, comparisons, reported | ours | gap, verdicts.

Every number is computed anew from stored predictions; dev and test stand in rows of their own and nothing is chosen on
test. Intervals: `metrics.estimates`. Differences: `differences`. Bounds and references: `controls`; claims: `verdicts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.config import RunConfig, about
from rumorlib.data.keys import image_weights
from rumorlib.experiments import corpus_name, model_name
from rumorlib.metrics import estimates, evaluation
from rumorlib.metrics.estimates import Estimate
from rumorlib.results import Report, content_of
from rumorlib.results.artifacts import INDEX
from rumorlib.results.provenance import RUNS, by_runs, of_runs, run_names

FEWEST_EVENTS = 5  # with fewer, their interval would say nothing: one event of PHEME is a test set
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
    """A row per corpus, model and split: means over seeds; 95 % intervals over `clusterings` and seeds.

    Returns: dataset, model, variant, split, primary (the metric to read first), primary_value, primary_low,
        primary_high, accuracy, acc_low, acc_high, auc, auc_low, auc_high, POINT_METRICS, n, n_rumor, n_seeds. Scores
        are fractions.
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
    row = {"dataset": corpus_name(config), "model": model_name(config), "variant": config.variant, "split": split}
    row |= {"primary": primary_name(config.dataset)}
    row |= ends("primary", score(config.dataset, part), value="primary_value")
    row |= ends("acc", score(config.dataset, part, "accuracy"), value="accuracy")
    row |= ends("auc", score(config.dataset, part, "auc"))
    row |= {metric: float(np.mean([run[metric] for run in runs])) for metric in POINT_METRICS}
    return row | {"n": runs[0]["n"], "n_rumor": runs[0]["n_rumor"], "n_seeds": len(runs)}


def ends(name: str, found: Estimate, value: str = "") -> dict[str, float]:
    """An estimate as columns: `value` (the name unless given), <name>_low, <name>_high."""
    return dict(zip((value or name, f"{name}_low", f"{name}_high"), found, strict=True))


def score(dataset: str, part: pd.DataFrame, metric: str = "") -> Estimate:
    """A metric of one model on one split; the primary one unless named. `part`: with `seed` where there are several."""
    chosen, weight = (metric, None) if metric else primary(dataset)
    return estimates.score(weighted(part) if weight else part, chosen, clusterings(dataset, part), weight)


def ahead(dataset: str, part: pd.DataFrame, other: pd.DataFrame) -> Estimate:
    """How much more accurate `part` is than `other`, another model on the same posts."""
    return estimates.difference(part, other, "accuracy", clusterings(dataset, part))


def primary_name(dataset: str) -> str:
    """Printed name of `primary`."""
    return "image-macro balanced accuracy" if about(dataset).shared_pictures else "accuracy"


def primary(dataset: str) -> tuple[str, str | None]:
    """Metric and column of post weights: accuracy; where many posts share a picture balanced accuracy with each picture
    counting once."""
    return ("balanced_accuracy", "image_weight") if about(dataset).shared_pictures else ("accuracy", None)


def weighted(part: pd.DataFrame) -> pd.DataFrame:
    """`part` with image_weight, 1 / posts of the picture within each seed; 1 where no pictures are known."""
    if "image_group" not in part:
        return part.assign(image_weight=1.0)
    weights = [image_weights(p) for _, p in part.groupby("seed")] if "seed" in part else [image_weights(part)]
    return part.assign(image_weight=pd.concat(weights))


def clusters_of(part: pd.DataFrame) -> str | None:
    """Column of the closest clusters: near-duplicate texts in a corpus of texts, else pictures, or None (posts)."""
    return next((column for column in ("text_group", "image_group") if column in part), None)


def clusterings(dataset: str, part: pd.DataFrame) -> list[str]:
    """Columns of the clusterings that a corpus declares, of which the wider interval counts: `clusters_of`, and events
    where its posts belong to FEWEST_EVENTS or more (those of drawn scenes and photographs mean nothing)."""
    found = [column for column in (clusters_of(part),) if column]
    events = part["event"] if "event" in part and about(dataset).kind == "posts" else pd.Series(dtype=str)
    return found + ["event"] * (events[events.fillna("") != ""].nunique() >= FEWEST_EVENTS)


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
            auc = score(config.dataset, chosen, "auc")
            rumors = chosen[chosen["label"] == 1]
            called = rumors["prob_rumor"] >= evaluation.THRESHOLD
            n_seeds = chosen["seed"].nunique()
            rows.append({
                "dataset": corpus_name(config), "model": model_name(config), column: value, "n": len(chosen) // n_seeds,
                "n_rumor": len(rumors) // n_seeds, "called_rumor": called.mean(),
                "estimate": auc.value, "low": auc.low, "high": auc.high, RUNS: run_names(predictions),
            })  # fmt: skip
    columns = ["dataset", "model", column, "n", "n_rumor", "called_rumor", "estimate", "low", "high"]
    return by_runs(pd.DataFrame(rows, columns=[*columns, RUNS]), "dataset", "model")


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
    known = about(own["dataset"])
    # posts of the papers' own split, most likely theirs (data/README.md), or a corpus of the papers' name
    same = own["dataset"] == line.dataset or (known.protocol == "published" and known.reported == line.dataset)
    row |= {"our_corpus": own["dataset"], "our_model": own["model"], "our_metric": metric}
    row |= {"ours": own[metric], "low": low, "high": high, "gap": own[metric] - line.value if same else np.nan}
    return row | {"verdict": _verdict(line.value, low, high, same), "source": line.source}


def _verdict(value: float, low: float, high: float, same_corpus: bool) -> str:
    """Reproduced: our interval lies at the reported value or above; not reproduced: below it."""
    if not same_corpus:
        return "untestable here: other corpus"
    if np.isnan(low):
        return "inconclusive"
    return "reproduced" if value <= low else "not reproduced" if value > high else "inconclusive"
