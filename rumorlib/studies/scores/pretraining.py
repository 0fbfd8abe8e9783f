"""Which stage 1 serves the detector: MICC on none, on other captions, and trained on in stage 2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import linregress

from rumorlib import statistics
from rumorlib.config import DATASETS, RunConfig, Settings
from rumorlib.experiments import each_seed, micc, of_language, sclip, sclip_longer
from rumorlib.profiles import APART, LANGUAGE, OF_POSTS, PICTURES, SIZES, STAGE1, first, points, swept
from rumorlib.results import Report
from rumorlib.studies.scores import comparison, sweeps
from rumorlib.studies.trust import calibration


def micc_stage1(settings: Settings) -> list[RunConfig]:
    """MICC on other stage 1s: none; languages together or alone; captions of drawn scenes; captions that are Twitter's
    train posts; a longer one, under our two classifier inputs too; and SCLIP trained on in stage 2 (one corpus and
    seed on the reduced grid: it takes as long as all others).

    Where a language is pretrained alone by default the other row has both languages of the caption corpus, and the
    other way round. Captions of the other language alone would leave the posts' own text tower untrained.
    """
    runs: list[RunConfig] = []
    for dataset in swept(settings) if points(settings).stage1 else ():
        runs += each_seed(settings, dataset, {name: {"stage1": one} for name, one in _others(settings, dataset)})
        for longer in sclip_longer(settings, LANGUAGE[dataset]):
            inputs = {how: {"stage1": longer, "classifier_input": how} for how in ("product", "relevance")}
            runs += each_seed(settings, dataset, {f"stage-1-longer-{how}": one for how, one in inputs.items()})
        if SIZES[settings.profile].micc.freeze != "nothing" and dataset in first(settings):
            runs.append(micc(settings, dataset, settings.seeds[0], "unfrozen", freeze="nothing"))
    return runs


def _others(settings: Settings, dataset: str) -> Iterable[tuple[str, RunConfig]]:
    """Name of the MICC run and stage 1 of each row that differs in stage 1."""
    language = LANGUAGE[dataset]
    corpus, languages = STAGE1[settings.profile][language]
    untrained = sclip(settings, language, variant=of_language(settings, language, "untrained"))
    yield "no-stage-1", replace(untrained, train=replace(untrained.train, epochs=0))
    if corpus not in APART:
        others = (language,) if len(languages) > 1 else ("en", "zh")
        name = "captions-" + "-".join(others)
        yield name, sclip(settings, language, variant=name, languages=others)
    if "twitter" in DATASETS[settings.profile] and language == "en":
        default = sclip(settings, language)
        yield "captions-twitter", replace(default, dataset="twitter-train", train=replace(default.train, **OF_POSTS))
        yield "captions-drawn", replace(default, dataset="demo-captions")  # in Chinese its words would all be unknown
    for longer in sclip_longer(settings, language):
        yield "stage-1-longer", longer


def sclip_sizes(settings: Settings) -> list[RunConfig]:
    """Stage 1 on parts of the train pictures, smallest first and the default last, each within the next one and with
    as many steps (m_e1_pictures): what more pictures would be worth. Language of the first dataset."""
    if settings.profile not in PICTURES or not points(settings).stage1:
        return []
    whole = sclip(settings, LANGUAGE[settings.datasets[0]])
    total, parts = PICTURES[settings.profile]
    epochs = {n: round(whole.train.epochs * total / n) for n in parts}
    made = [replace(whole, n_train=n, train=replace(whole.train, epochs=epochs[n])) for n in parts]
    return [*made, whole]


def size_table(reports: Iterable[Report]) -> tuple[pd.DataFrame, str]:
    """Dev retrieval by train pictures, and one sentence: what a doubling is worth (least squares over log2 pictures).

    Args: reports: of `sclip_sizes`.
    Returns: pictures, training, language, t2i_R@k and i2t_R@k in [0, 1], best_epoch; the sentence, in points of R@k.
    """
    reports = list(reports)
    n = [report.config.n_train or PICTURES[report.config.profile][0] for report in reports]
    frames = [sweeps.stage1_table([report]).query("split == 'dev'").assign(pictures=m) for m, report in zip(n, reports)]
    frame = pd.concat(frames, ignore_index=True)
    frame = frame[["pictures", "training", "language", *frame.filter(regex="R@"), "best_epoch"]]
    told = []
    for name in ("t2i_R@1", "t2i_R@10"):
        slope = linregress(np.log2(frame["pictures"]), 100 * frame[name]).slope
        last = 100 * (frame[name].iloc[-1] - frame[name].iloc[-2])
        told.append(f"{name} {slope:.1f} points ({last:.1f} of them from the last doubling)")
    return frame, f"A doubling of the train pictures adds on dev: {', '.join(told)}."


def micc_pictures(settings: Settings) -> list[RunConfig]:
    """MICC with relevance as input on each stage 1 of `sclip_sizes`, first dataset: its train posts are the same, but
    stage 1 knows the captions of fewer of them (m_stage1_seen). The last rows are those of the main comparison."""
    dataset = settings.datasets[0]
    stages = {f"pictures={run.n_train}-relevance" if run.n_train else "relevance": run for run in sclip_sizes(settings)}
    variants = {name: {"stage1": run, "classifier_input": "relevance"} for name, run in stages.items()}
    return each_seed(settings, dataset, variants)


def seen_table(reports: Iterable[Report]) -> pd.DataFrame:
    """Is a detector misled by a stage 1 that knows the captions of its train posts? On test posts, whose pictures no
    stage 1 saw.

    Args: reports: of `micc_pictures`.
    Returns: dataset, pictures (of stage 1), known (share of the detector's train pictures), auc, called_rumor (share
        with probability >= .5; .5 is right), accuracy (at .5), accuracy_dev_threshold, lost (by the threshold .5,
        points, with 95 % over pictures), n_seeds.
    """
    rows = []
    for config, frame in comparison.pooled(reports):
        total, _ = PICTURES[config.profile]
        pictures = config.stage1.n_train or total
        dev, test = (frame[frame["split"] == split].reset_index(drop=True) for split in ("dev", "test"))
        chosen = _at_dev_threshold(dev, test)
        lost = [100 * value for value in statistics.paired_drop(chosen, test)]
        auc = statistics.cluster_bootstrap(test, "auc", comparison.clusters_of(test), n=2).estimate
        called = test["prob_rumor"] >= statistics.THRESHOLD
        row = {"dataset": comparison.corpus_name(config), "pictures": pictures, "known": pictures / total, "auc": auc,
               "called_rumor": called.mean(), "accuracy": (called == test["label"]).mean(),
               "accuracy_dev_threshold": (chosen["prob_rumor"] == test["label"]).mean()}  # fmt: skip
        row |= dict(zip(("lost", "lost_low", "lost_high"), lost))
        rows.append(row | {"n_seeds": test["seed"].nunique()})
    return pd.DataFrame(rows)


def _at_dev_threshold(dev: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Test predictions as 0 and 1, by the threshold that is best on the dev posts of each seed."""
    limits = {s: calibration.dev_threshold(part["label"], part["prob_rumor"]) for s, part in dev.groupby("seed")}
    return test.assign(prob_rumor=(test["prob_rumor"] >= test["seed"].map(limits)).astype(float))


def retrieval_after(reports: Iterable[Report]) -> pd.DataFrame:
    """Retrieval before and after stage 2 of the runs that trained SCLIP on: does it forget the captions? Dev captions.

    Columns: dataset, model, stage, language, then R@k both ways (t2i, i2t) in [0, 1] and median ranks.
    """
    frames = [
        report.extra("retrieval").assign(dataset=report.config.dataset, variant=report.config.variant)
        for report in reports
        if "extras/retrieval.csv" in report.hashes
    ]
    if not frames:
        return pd.DataFrame(columns=["dataset", "variant", "stage", "language"])
    frame = pd.concat(frames, ignore_index=True)
    first: list[Any] = ["dataset", "variant", "stage", "language"]
    return frame[[*first, *(name for name in frame if name not in first)]]
