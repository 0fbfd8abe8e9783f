"""Which stage 1 serves the detector: MICC on none, on other captions, and trained on in stage 2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pandas as pd

from rumorlib.config import DATASETS, RunConfig, Settings
from rumorlib.experiments import each_seed, micc, of_language, sclip, sclip_longer
from rumorlib.profiles import APART, LANGUAGE, OF_POSTS, SIZES, STAGE1, points, swept
from rumorlib.results import Report


def micc_stage1(settings: Settings) -> list[RunConfig]:
    """MICC on other stage 1s: none; languages together or alone; captions of drawn scenes; captions that are Twitter's
    train posts; a longer one; and SCLIP trained on in stage 2 (first seed alone: it takes as long as all others).

    Where a language is pretrained alone by default the other row has both languages of the caption corpus, and the
    other way round. Captions of the other language alone would leave the posts' own text tower untrained.
    """
    runs: list[RunConfig] = []
    for dataset in swept(settings) if points(settings).stage1 else ():
        runs += each_seed(settings, dataset, {name: {"stage1": one} for name, one in _others(settings, dataset)})
        if SIZES[settings.profile].micc.freeze != "nothing":
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
