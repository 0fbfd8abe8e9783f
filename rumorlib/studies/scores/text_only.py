"""Rows that read the texts of real corpora only (DMFL-TCNN, DMFL-TTRAS) beside TF-IDF, and what length does to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from rumorlib.experiments import CUT, TEXT_BASELINES, WORD2VEC, corpus_name, model_name
from rumorlib.metrics import statistics
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names, runs_of_rows
from rumorlib.studies.scores import comparison, differences

FEWEST = 30  # posts of a length class below which nothing is said


LENGTHS = ["dataset", "model", "cut", "level", "n", "accuracy", "low", "high", "auc"]


def table(reports: Sequence[Report]) -> pd.DataFrame:
    """`comparison.main_table` of text-only runs, and below it each model's mean over PHEME's five events."""
    frame = comparison.main_table(reports)
    frame[RUNS] = runs_of_rows(frame)
    folds = frame[frame["dataset"].str.contains("(event:", regex=False)]
    scores = ["primary_value", "accuracy", "auc", *comparison.POINT_METRICS]
    means = folds.groupby(["model", "variant", "split"], sort=False)[scores].mean().reset_index()
    means = means.assign(dataset="pheme-text (mean of the events)", primary="accuracy")
    means["n_seeds"] = folds["n_seeds"].min()
    means[RUNS] = [run_names(part) for _, part in folds.groupby(["model", "variant", "split"], sort=False)]
    whole = pd.concat([frame, means], ignore_index=True)[frame.columns] if len(folds) else frame
    return by_runs(whole, "dataset", "model")


def tests(reports: Sequence[Report]) -> pd.DataFrame:
    """The named comparisons of D-E9: the text CNN against the baseline that is best on dev, on every corpus and split
    (`differences.compare`), Holm over all rows; and on whole texts against the one on their first words (C39)."""
    pairs = [[("baseline", kind) for kind in TEXT_BASELINES], [("dmfl", CUT)]]
    found = [differences.compare(reports, ("dmfl", "TCNN"), rivals) for rivals in pairs]
    frame = pd.concat(found, ignore_index=True)
    frame[RUNS] = [names for part in found for names in runs_of_rows(part) or []]
    return by_runs(frame, "dataset", "rival")


def lengths(reports: Sequence[Report]) -> pd.DataFrame:
    """Accuracy and AUC on test by length of the text (thirds of the test posts by characters), and with the first
    words of each text only. Runs whose texts were not measured (drawn posts) are left out. Columns LENGTHS."""
    rows = [*_by_length(reports), *_truncated(reports)]
    return by_runs(pd.DataFrame(rows, columns=[*LENGTHS, RUNS]), "dataset", "model", "cut")


def _by_length(reports: Sequence[Report]) -> Iterable[tuple]:
    for config, predictions in comparison.pooled(reports):
        part = predictions[predictions["split"] == "test"].reset_index(drop=True)
        if "n_chars" not in part:
            continue
        edges = part.drop_duplicates("post_id")["n_chars"].quantile([1 / 3, 2 / 3]).to_numpy()
        third = np.searchsorted(edges, part["n_chars"], side="left")
        for number, level in enumerate((f"to {edges[0]:.0f}", f"to {edges[1]:.0f}", f"over {edges[1]:.0f}")):
            chosen = part[third == number].reset_index(drop=True)
            if len(chosen) < FEWEST or chosen["label"].nunique() < 2:
                continue
            found = comparison.score(config.dataset, chosen, "accuracy")
            auc = comparison.score(config.dataset, chosen, "auc").value
            n = len(chosen) // chosen["seed"].nunique()
            name = corpus_name(config), model_name(config)
            yield (*name, "characters", level, n, *found, auc,
                   run_names(predictions))  # fmt: skip


def _truncated(reports: Sequence[Report]) -> Iterable[tuple]:
    made = [report for report in reports if "extras/truncated.csv" in report.hashes]
    groups: dict[tuple[str, str], list[Report]] = {}
    for report in made:
        key = corpus_name(report.config), model_name(report.config)
        groups.setdefault(key, []).append(report)
    for key, seeds in groups.items():
        frame = pd.concat(report.extra("truncated").query("split == 'test'") for report in seeds)
        for n_words, part in frame.groupby("n_words"):
            accuracy = statistics.t_interval(part["accuracy"])  # over seeds
            yield (*key, "first words", str(n_words), np.nan, *accuracy, part["auc"].mean(), run_names(seeds))


def vectors(reports: Sequence[Report]) -> pd.DataFrame:
    """Word vectors trained in several ways: what they cover, whether closer words are more related, and what a text CNN
    on them reaches.

    Args: reports: of `word2vec_runs`.
    Returns: dataset, vectors (a key of WORD2VEC), n_words, coverage (of the vocabulary), closeness, low, high (rank
        correlation, 95 % over words), tcnn_dev, tcnn_test (accuracy), test_low, test_high (95 %, near-duplicate texts).
    """
    rows = []
    for report, name in zip(reports, WORD2VEC):  # a first look has the first two
        frame, facts = report.predictions(), report.facts
        test = frame[frame["split"] == "test"].reset_index(drop=True)
        found = comparison.score(report.config.dataset, test, "accuracy")
        row = corpus_name(report.config), name, facts["n_words"], facts["word2vec_coverage"]
        rows.append((*row, *facts["closeness"], report.metrics["dev"]["accuracy"], *found, run_names([report])))
    names = ["dataset", "vectors", "n_words", "coverage", "closeness", "low", "high", "tcnn_dev"]
    frame = pd.DataFrame(rows, columns=[*names, "tcnn_test", "test_low", "test_high", RUNS])
    return by_runs(frame, "dataset", "vectors")
