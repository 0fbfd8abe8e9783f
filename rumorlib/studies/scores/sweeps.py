"""Frames behind ablations and parameter sweeps (M-E3 to M-E7, D-E2 to D-E5).

All from stored predictions, as `comparison` has it. Scores are fractions; drops are points (hundredths).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.config import RunConfig, as_dict, record
from rumorlib.data import files
from rumorlib.experiments import corpus_name, model_name, paper_fields, usual_variant
from rumorlib.metrics import estimates, evaluation
from rumorlib.metrics.estimates import Estimate, Measured
from rumorlib.metrics.left_out import METRICS as WITH_INTERVAL
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names, runs_of_rows
from rumorlib.studies.scores import comparison
from rumorlib.studies.scores.comparison import need_same_posts, reported

SPLITS = ("dev", "test")
METRICS = ("primary", "accuracy", "auc")
LEFT_OUT = {  # variant -> what a reader sees beside its name
    "A-gamma": "no alignment", "A-delta": "one mean vector a scale", "Ms-alpha": "patches side by side",
    "Ms-beta": "patches' plain mean", "random-k": "patches at random", "bottom-k": "least relevant patches",
    "saliency-k": "patches that stand out", "TB": "logic chain alone", "TL": "semantic chain alone",
    "A": "no alignment", "ATT": "no attention in the fusion", "TCNN": "text CNN alone",
    "TTRAS": "text Transformer alone", "I": "image alone",
}  # fmt: skip


# --- scores of groups of runs ---------------------------------------------------------------------


def _single(config: RunConfig) -> bool:
    return len(config.stage1.sclip.vision.receptive_fields) == 1


def predictions(reports: Iterable[Report], split: str) -> pd.DataFrame:
    """Rows of one split of several seeds of one variant, with a `seed` column and keys called post_id."""
    frames = []
    for report in reports:
        frame = report.predictions().rename(columns={"row_key": "post_id"})
        frames.append(frame[frame["split"] == split].assign(seed=report.config.seed))
    return pd.concat(frames, ignore_index=True)


def by_variant(reports: Iterable[Report]) -> dict[tuple[str, str], list[Report]]:
    """(dataset, variant) -> its seeds, corpus after corpus in order of appearance; a run given twice counts once.

    Variants trained as long as dev improves have the names of the usual ones (`usual_variant`).
    Raises: ValueError: one variant of one corpus at both lengths.
    """
    groups: dict[tuple[str, str], dict[int, Report]] = {}
    reports = list(reports)
    need_same_posts(reports)
    for report in reports:
        config = report.config
        group = groups.setdefault((corpus_name(config), usual_variant(config)), {})
        if group and next(iter(group.values())).config.variant != config.variant:
            raise ValueError(f"{config.name} and the same trained shorter or longer are no seeds of one variant")
        group[config.seed] = report
    datasets = list(dict.fromkeys(dataset for dataset, _ in groups))
    return {key: list(groups[key].values()) for key in sorted(groups, key=lambda key: datasets.index(key[0]))}


def scores(reports: Iterable[Report], splits: Sequence[str] = SPLITS, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """Long: dataset, model, variant, split, metric, estimate, low, high, n_seeds; one line per metric.

    Args: metrics: "primary", or of `left_out.METRICS`, or others of `classification_metrics`, which get no interval.
    """
    rows = []
    for (dataset, variant), seeds in by_variant(reports).items():
        for split in splits:
            frame, name = predictions(seeds, split), model_name(seeds[0].config)
            rows += [(dataset, name, variant, split, metric, *_interval(seeds[0].config.dataset, frame, metric),
                      len(seeds), run_names(seeds)) for metric in metrics]  # fmt: skip
    names = ["dataset", "model", "variant", "split", "metric", "estimate", "low", "high", "n_seeds", RUNS]
    return by_runs(pd.DataFrame(rows, columns=names), "dataset", "variant")


def _interval(dataset: str, frame: pd.DataFrame, metric: str) -> tuple[float, float, float]:
    if metric in ("primary", *WITH_INTERVAL):
        return tuple(comparison.score(dataset, frame, "" if metric == "primary" else metric))
    values = [evaluation.frame_metrics(part)[metric] for _, part in frame.groupby("seed")]
    return float(np.mean(values)), np.nan, np.nan


class Compared:
    """Differences of variants on the same posts of a split, by the primary metric of each corpus; fractions."""

    def __init__(self, reports: Iterable[Report], split: str = "test", metric: str = "") -> None:
        self._groups, self._split, self._metric = by_variant(reports), split, metric

    @cached_property
    def _measured(self) -> dict[str, tuple[Measured, list[str]]]:
        made = {}
        for dataset in dict.fromkeys(dataset for dataset, _ in self._groups):
            own = {variant: seeds for (name, variant), seeds in self._groups.items() if name == dataset}
            corpus = next(iter(own.values()))[0].config.dataset
            metric, weight = (self._metric, None) if self._metric else comparison.primary(corpus)
            frames = [predictions(seeds, self._split) for seeds in own.values()]
            how = comparison.clusterings(corpus, frames[0])
            frames = [comparison.weighted(frame) if weight else frame for frame in frames]
            made[dataset] = estimates.measure(frames, metric, how, weight), list(own)
        return made

    def metric(self, dataset: str) -> str:
        """Printed name of what is compared."""
        return self._metric or comparison.primary_name(dataset)

    def curve(self, dataset: str, variants: Iterable[str]) -> Measured:
        """Some variants, in this order; their training noise is pooled where they agree."""
        measured, names = self._measured[dataset]
        return measured.of([names.index(variant) for variant in variants])

    def ahead(self, dataset: str, one: str, other: str) -> Estimate:
        """How far one variant is ahead of another; the training noise of all variants is pooled where they agree."""
        measured, names = self._measured[dataset]
        return measured.ahead(names.index(one), names.index(other))


# --- ablations ------------------------------------------------------------------------------------


def ablation_table(full: Sequence[Report], variants: Sequence[Report], split: str = "test") -> pd.DataFrame:
    """Full model and its variants: scores, what removing the part costs, and what the paper says (M-E6, D-E2).

    Columns: dataset, model, variant, split, primary (name of the corpus's metric), primary_value, primary_low,
    primary_high, accuracy, acc_low, acc_high, f1_rumor, f1_macro, f1_weighted, auc, auc_low, auc_high, drop, drop_low,
    drop_high (points of the primary metric, paired over the same posts), reported_* (points), n_trainable, n_seeds.
    """
    whole, rows, compared = by_variant(full), [], Compared([*full, *variants], split)
    for (dataset, variant), seeds in by_variant([*full, *variants]).items():
        corpus, frame = seeds[0].config.dataset, predictions(seeds, split)
        named = replace(seeds[0].config, variant=variant)
        row: dict[str, Any] = {"dataset": dataset, "model": model_name(named), "variant": variant}
        row |= {"split": split, "primary": comparison.primary_name(corpus)}
        row |= comparison.ends("primary", comparison.score(corpus, frame), value="primary_value")
        row |= comparison.ends("acc", comparison.score(corpus, frame, "accuracy"), value="accuracy")
        row |= {name: _interval(corpus, frame, name)[0] for name in ("f1_rumor", "f1_macro", "f1_weighted")}
        row |= comparison.ends("auc", comparison.score(corpus, frame, "auc"))
        drop = tuple(compared.ahead(dataset, "default", variant) * 100) if variant != "default" else (np.nan,) * 3
        row |= dict(zip(("drop", "drop_low", "drop_high"), drop))
        row |= reported_drops(named)
        row[RUNS] = run_names([*seeds, *whole[dataset, "default"]])  # the drop is against the full model
        rows.append(row | {"n_trainable": seeds[0].facts["n_trainable"], "n_seeds": len(seeds)})
    return by_runs(pd.DataFrame(rows), "dataset", "model")


def left_out(table: pd.DataFrame) -> dict[str, str]:
    """model -> what its variant lacks or has left, of an ablation table, for `plots.metric_bars`."""
    return {model: LEFT_OUT[name] for model, name in zip(table["model"], table["variant"]) if name in LEFT_OUT}


def bars(table: pd.DataFrame) -> pd.DataFrame:
    """An ablation table as `plots.metric_bars` wants it: dataset, model, estimate, low, high, metric."""
    parts = []
    for metric, short in (("primary_value", "primary"), ("auc", "auc")):
        names = {metric: "estimate", f"{short}_low": "low", f"{short}_high": "high"}
        named = table["primary"] if short == "primary" else metric
        parts.append(table[["dataset", "model", *names]].rename(columns=names).assign(metric=named))
    return pd.concat(parts, ignore_index=True)


def changed_fields(full: Sequence[Report], variants: Sequence[Report]) -> pd.DataFrame:
    """What each variant is: config fields that differ from the full model of its corpus, and trainable parameters.

    Columns: dataset, model, changes ("field: full -> variant; …"), n_trainable, difference (variant minus full).
    """
    whole, rows = by_variant(full), []
    for (dataset, _), seeds in by_variant([*full, *variants]).items():
        old, new = (group[0] for group in (whole[dataset, "default"], seeds))
        before, now = (files.flatten(as_dict(report.config)) for report in (old, new))
        names = [name for name in {**before, **now} if name.split(".")[-1] not in ("variant", "seed")]
        both = ((n, before.get(n, "none"), now.get(n, "none")) for n in names)
        changed = [f"{n}: {one} -> {other}" for n, one, other in both if one != other]
        n_trainable = new.facts["n_trainable"]
        difference = n_trainable - old.facts["n_trainable"]
        rows.append((dataset, model_name(new.config), "; ".join(changed), n_trainable, difference))
    return pd.DataFrame(rows, columns=["dataset", "model", "changes", "n_trainable", "difference"])


# --- what the papers report -----------------------------------------------------------------------


def reported_drops(config: RunConfig) -> dict[str, float]:
    """Reported drop of a variant in points, nan where the source is silent; the corpus is the paper's of the language.

    MICC gives ranges (reported_low, reported_high). DMFL gives one number per dataset; those of the single modalities
    contradict the section's conclusions unless the datasets are exchanged, so there are two readings.
    """
    corpus = record(config.dataset).reported

    def values(artifact_id: str, row: str, metric: str, reading: str | None = None) -> float:
        frame = reported(artifact_id)
        frame = frame[(frame["dataset"] == corpus) & (frame["row"] == row) & (frame["metric"] == metric)]
        frame = frame if reading is None else frame[frame["reading"] == reading]
        return float(frame["value"].iloc[0]) if len(frame) else np.nan

    if config.model == "micc":
        row = "MICC-SCLIP" if _single(config) else "MICC-A (both forms)" if config.variant[:2] == "A-" else ""
        full = values("m_e2", "MICC", "accuracy")
        ends = {"reported_low": "accuracy_high", "reported_high": "accuracy_low"}
        return {name: 100 * (full - values("m_e6", row, metric)) for name, metric in ends.items()}
    row = f"DMFL-{config.variant}"
    drop = values("d_e2", row, "accuracy_drop", "as printed")
    if np.isnan(drop):  # TB: on one dataset only the level is said, on the other only "about as much as A"
        drop = values("d_e2", row, "accuracy_drop", "approximate")
    if np.isnan(drop):
        drop = values("d_e1", "DMFL", "accuracy") - values("d_e2", row, "accuracy", "approximate")
    swapped = values("d_e2", row, "accuracy_drop", "datasets swapped")
    return {"reported_as_printed": 100 * drop, "reported_swapped": 100 * (drop if np.isnan(swapped) else swapped)}


def reported_best(artifact_id: str, datasets: Sequence[str]) -> dict[str, Any]:
    """Best value of a sweep according to the paper, by the language of each corpus (m_e3 to m_e5, d_e3, d_e4).

    m_e5 gives two values without saying which corpus has which: the lower one is returned.
    """
    frame, best = reported(artifact_id), {}
    for dataset in datasets:
        line = frame[frame["dataset"].str.contains(record(dataset).reported)].iloc[0]
        setting = str(line["row"]).removeprefix("top_k=")
        best[dataset] = line["value"] if line["row"] == "optimum" else int(setting) if setting.isdigit() else setting
    return best


# --- sweeps ---------------------------------------------------------------------------------------


SETTINGS: dict[str, Callable[[RunConfig], Any]] = {
    "top_k": lambda config: config.detector.top_k,
    "fusion_weight": lambda config: config.detector.fusion_weight,
    "receptive_fields": paper_fields,
    "lambda_c": lambda config: config.detector.lambda_c,
    "lambda_a": lambda config: config.detector.lambda_a,
    "ratio": lambda config: round(config.detector.lambda_c / config.detector.lambda_a, 4),
    "n_heads": lambda config: config.detector.n_heads,
}


def sweep(reports: Sequence[Report], *settings: str, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """`scores` with the value of each swept setting as a column before the split, sorted by it where it is a number.

    Adds best_on_dev: the value whose primary metric on dev is highest among its corpus's. Test never decides it.

    Args: settings: keys of SETTINGS; runs that differ in anything else do not belong into one sweep.
    """
    frame = scores(reports, metrics=metrics)
    configs = {key: seeds[0].config for key, seeds in by_variant(reports).items()}
    keys = list(zip(frame["dataset"], frame["variant"]))
    for place, name in enumerate(settings):
        frame.insert(2 + place, name, [SETTINGS[name](configs[key]) for key in keys])
    dev = frame[(frame["split"] == "dev") & (frame["metric"] == "primary")]
    best = dev.loc[dev.groupby("dataset", sort=False)["estimate"].idxmax(), ["dataset", "variant"]]
    chosen = set(best.itertuples(index=False, name=None))
    frame["best_on_dev"] = [key in chosen for key in keys]
    numbers = [name for name in settings if pd.api.types.is_numeric_dtype(frame[name])]
    parts = [part.sort_values(numbers, kind="stable") for _, part in frame.groupby("dataset", sort=False)]
    return pd.concat(parts, ignore_index=True) if numbers else frame


def wide(frame: pd.DataFrame, *settings: str) -> pd.DataFrame:
    """A sweep as a table: a line per corpus, setting and split; per metric its value, _low and _high."""
    keys = ["dataset", *settings, "split", "n_seeds", "best_on_dev"]
    rows: dict[tuple, dict[str, Any]] = {}
    for line, names in zip(frame.itertuples(), runs_of_rows(frame) or [()] * len(frame), strict=True):
        short = {"accuracy": "acc"}.get(line.metric, line.metric)
        row = rows.setdefault(tuple(getattr(line, key) for key in keys), {})
        row |= {line.metric: line.estimate, f"{short}_low": line.low, f"{short}_high": line.high, RUNS: names}
    return by_runs(pd.DataFrame([dict(zip(keys, key)) | row for key, row in rows.items()]), "dataset", *settings)


def stacked(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Several sweeps below each other, keeping the columns they share."""
    return pd.concat(frames, join="inner", ignore_index=True)


def stage1_table(reports: Iterable[Report]) -> pd.DataFrame:
    """Retrieval of stage-1 variants side by side: what scales, similarity (C3) and longer training are worth (M-E1).

    Returns: dataset, receptive_fields (the paper's pixels), training, similarity, language, split, t2i_R@1, _R@5, _R@10
        and i2t_... in [0, 1], best_epoch.
    """
    rows = []
    for report in reports:
        config = report.config
        steps = f"{config.train.epochs} epochs, {config.train.captions_per_image} captions of an image in a step"
        steps += ", whitened text" * config.sclip.whiten_text
        what = {"dataset": config.dataset, "receptive_fields": paper_fields(config), "training": steps}
        for split, languages in report.metrics.items():
            for language, values in languages.items():
                row = what | {"similarity": config.sclip.similarity, "language": language, "split": split}
                for way in ("t2i", "i2t"):
                    row |= {f"{way}_R@{k}": values[f"{way}_recall_at_{k}"] for k in (1, 5, 10)}
                rows.append(row | {"best_epoch": report.facts["best_epoch"], RUNS: run_names([report])})
    return by_runs(pd.DataFrame(rows), "dataset", "receptive_fields", "training", "similarity", "language")
