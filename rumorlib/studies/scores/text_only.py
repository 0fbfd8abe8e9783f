"""Rows that read the texts of real corpora only (DMFL-TCNN, DMFL-TTRAS) beside TF-IDF, and what length does to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from rumorlib import experiments
from rumorlib.config import FEW_SEEDS, RunConfig, Settings, record
from rumorlib.config.profiles import SIZES
from rumorlib.data.splitting.splits import PHEME_DEV
from rumorlib.metrics import statistics
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names, runs_of_rows
from rumorlib.studies.scores import comparison

MODELS = ("TCNN", "TTRAS")
BASELINES = ("majority", "tfidf_lr", "surface_lr", "text_lr")
# Words read (choice C39). MFAN cuts texts at 50: two thirds of Weibo's train posts are longer, none longer than 128.
WHOLE, CUT_AT, CUT = 128, 50, "TCNN-50-words"
WORD2VEC = {  # the paper's skip-gram with hierarchical softmax, and one change at a time
    "skip-gram, hs": {},
    "CBOW, hs": {"skip_gram": False},
    "skip-gram, negative": {"hierarchical_softmax": False},
    "window 2": {"window": 2},
    "window 10": {"window": 10},
}
FEWEST = 30  # posts of a length class below which nothing is said
LENGTHS = ["dataset", "model", "cut", "level", "n", "accuracy", "low", "high", "auc"]


def runs(settings: Settings) -> list[RunConfig]:
    """Majority, logistic regressions on TF-IDF, surface counts and frozen text, and the two text-only variants, per
    corpus of texts, split and seed (D-E9); on Chinese also the text CNN on the first words alone, as MFAN reads posts.

    Where no dataset is one of texts, the words of those with pictures, which notebooks 03 to 05 train on anyway; at
    demo of the first.
    """
    few = replace(settings, seeds=settings.seeds[:FEW_SEEDS])
    if not settings.text_only:
        datasets = settings.datasets[:1] if settings.profile == "demo" else settings.datasets
        plans = [experiments.baseline(settings, dataset, kind) for dataset in datasets for kind in BASELINES]
        return plans + [c for c in experiments.dmfl_ablations(few) if c.dataset in datasets and c.variant in MODELS]
    plans = []
    for dataset in settings.text_only:
        for protocol in _protocols(dataset):
            plans += [experiments.baseline(settings, dataset, kind, protocol) for kind in BASELINES]
            plans += [model(settings, dataset, name, seed, protocol) for name in MODELS for seed in few.seeds]
        if record(dataset).language == "zh":  # PHEME's tweets have at most 31 words
            plans += [model(settings, dataset, "TCNN", seed, variant=CUT, max_length=CUT_AT) for seed in few.seeds]
    return plans


def _protocols(dataset: str) -> tuple[str, ...]:
    """As the corpus is usually split; PHEME with each of its five large events held out, and split post by post for
    contrast: what the random split gains is the event known from training."""
    usual = record(dataset).protocol
    return (*(f"event:{event}" for event in PHEME_DEV), "random") if usual[6:] in PHEME_DEV else ("",)


def model(
    settings: Settings, dataset: str, name: str, seed: int = 0, protocol: str = "", variant: str = "", **word2vec
) -> RunConfig:
    """One text-only run; `word2vec` are fields of Word2VecConfig, and `variant` then names the folder. Posts with
    pictures are read as everywhere, corpora of texts whole."""
    changes = experiments.DMFL_VARIANTS[name]
    config = experiments.dmfl(settings, dataset, seed, variant or name, **changes)
    sizes, whole = SIZES[settings.profile], not record(dataset).pictures
    detector = replace(sizes.dmfl_text if whole and sizes.dmfl_text else config.detector, **changes)
    length = {"max_length": WHOLE} if whole else {}
    words = replace(detector.word2vec, tokens=config.detector.word2vec.tokens, **(length | word2vec))
    return replace(
        config,
        detector=replace(detector, word2vec=words, lambda_c=config.detector.lambda_c),
        train=sizes.dmfl_text_train if whole and sizes.dmfl_text_train else config.train,
        protocol=protocol or config.protocol,
    )


def word2vec_runs(settings: Settings) -> list[RunConfig]:
    """DMFL-TCNN on word vectors trained in other ways: what the choice of skip-gram is worth (choice C22)."""
    dataset = (*settings.text_only, *settings.datasets)[0]
    plans = []
    for name, changes in WORD2VEC.items():
        variant = "TCNN-" + name.replace(", ", "-").replace(" ", "-") if changes else "TCNN"
        plans.append(model(settings, dataset, "TCNN", settings.seeds[0], variant=variant, **changes))
    return plans


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
    (`comparison.compare`), Holm over all of them; and on whole texts against the one on their first words (C39)."""
    pairs = [[("baseline", kind) for kind in BASELINES], [("dmfl", CUT)]]
    found = [comparison.compare(reports, ("dmfl", "TCNN"), rivals) for rivals in pairs]
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
            found = statistics.cluster_bootstrap(chosen, "accuracy", comparison.clusters_of(chosen))
            auc = statistics.cluster_bootstrap(chosen, "auc", comparison.clusters_of(chosen), n=1).estimate
            n = len(chosen) // chosen["seed"].nunique()
            name = comparison.corpus_name(config), comparison.names(config)
            yield (*name, "characters", level, n, found.estimate, found.low, found.high, auc,
                   run_names(predictions))  # fmt: skip


def _truncated(reports: Sequence[Report]) -> Iterable[tuple]:
    made = [report for report in reports if "extras/truncated.csv" in report.hashes]
    groups: dict[tuple[str, str], list[Report]] = {}
    for report in made:
        key = comparison.corpus_name(report.config), comparison.names(report.config)
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
    for report, name in zip(reports, WORD2VEC, strict=True):
        frame, facts = report.predictions(), report.facts
        test = frame[frame["split"] == "test"].reset_index(drop=True)
        found = statistics.cluster_bootstrap(test, "accuracy", comparison.clusters_of(test))
        row = comparison.corpus_name(report.config), name, facts["n_words"], facts["word2vec_coverage"]
        rows.append((*row, *facts["closeness"], report.metrics["dev"]["accuracy"], *found, run_names([report])))
    names = ["dataset", "vectors", "n_words", "coverage", "closeness", "low", "high", "tcnn_dev"]
    frame = pd.DataFrame(rows, columns=[*names, "tcnn_test", "test_low", "test_high", RUNS])
    return by_runs(frame, "dataset", "vectors")
