"""What the draw of a published split is worth: linear rows on it, without twins, on draws of the same sizes, and with
whole events held out. They take seconds to fit, so no run is kept; every C is chosen on the draw's own dev posts (C38).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

from rumorlib import inputs
from rumorlib.config import BaselineConfig, RunConfig, Settings, record
from rumorlib.data.splitting import protocols, splits
from rumorlib.experiments import baseline
from rumorlib.inputs import features
from rumorlib.models import baselines

N_DRAWS = 100
ROWS = ("majority", "tfidf_lr", "text_lr")
TEXT_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # of the row on frozen texts: at C = 1, the default, it learns train by heart


def linear_rows(settings: Settings, n_draws: int = N_DRAWS) -> pd.DataFrame:
    """Every linear row on every protocol of the corpora with a published train, dev and test side.

    Returns: dataset, row, protocol (published, published-apart, resplit, event:<name>), draws, n_test, majority (share
        of the larger class of test), accuracy and macro_f1 (means over draws), sd and highest (of the accuracy over
        draws, nan for one), reached (share of draws at least as accurate as the published split; nan elsewhere), C (of
        the published split).
    """
    rows = []
    for dataset in settings.datasets:
        if record(dataset).protocol == "published":
            for kind in _kinds(settings, dataset):
                rows += _of_row(settings, dataset, kind, n_draws)
    return pd.DataFrame(rows)


def _kinds(settings: Settings, dataset: str) -> list[str]:
    """Rows that need no stage 1: frozen texts where the text tower is a pretrained one."""
    frozen = baseline(settings, dataset, "text_lr").detector.text
    return [kind for kind in ROWS if kind != "text_lr" or frozen]


def _of_row(settings: Settings, dataset: str, kind: str, n_draws: int) -> Iterator[dict]:
    config = baseline(settings, dataset, kind)
    whole = inputs.corpus(dataset, settings)
    read = features.of_corpus(inputs.Source(config, whole, settings))
    detector = replace(config.detector, inverse_regularisation=TEXT_STRENGTHS) if kind == "text_lr" else config.detector

    def scored(side: pd.Series) -> tuple[dict, pd.Series, float]:
        return _fitted(config, detector, read, side)

    first, called, strength = scored(whole.posts["split"])
    apart = splits.without_twins(whole.posts)["split"] == "test"
    named = {"dataset": dataset, "row": kind}
    yield named | {"protocol": "published", "draws": 1, **first, "C": strength}
    yield named | {"protocol": "published-apart", "draws": 1, **_scores(whole.posts["label"][apart], called[apart])}
    drawn = pd.DataFrame([scored(splits.resplit(whole.posts, seed)["split"])[0] for seed in range(n_draws)])
    over = {"sd": drawn["accuracy"].std(), "highest": drawn["accuracy"].max()}
    over["reached"] = float((drawn["accuracy"] >= first["accuracy"]).mean())
    yield named | {"protocol": "resplit", "draws": n_draws, **drawn.mean().to_dict(), **over}
    if record(dataset).events:
        for event in protocols.event_folds(whole.posts):
            fold = splits.event_fold(whole.posts, event)["split"]
            yield named | {"protocol": f"event:{event}", "draws": 1, **scored(fold)[0]}


def _fitted(
    config: RunConfig, detector: BaselineConfig, read: baselines.Features, side: pd.Series
) -> tuple[dict, pd.Series, float]:
    """Scores of a row on the test posts of one split, what it calls every test post, and its C."""
    rows = {name: np.flatnonzero(side == name) for name in ("train", "dev", "test")}
    parts = {name: features.of_rows(read, index) for name, index in rows.items()}
    chosen, _ = baselines.choose(detector, parts["train"], parts["dev"], config.language)
    answer = baselines.fit_predict(chosen, parts["train"], {"test": parts["test"]}, config.language)["test"]
    called = pd.Series(answer >= 0, index=side.index[rows["test"]]).reindex(side.index, fill_value=False)
    label = pd.Series(np.asarray(read.label), index=side.index)
    test = side == "test"
    return _scores(label[test], called[test]), called, float(np.ravel(chosen.inverse_regularisation)[0])


def _scores(label: pd.Series, called: pd.Series) -> dict:
    """Accuracy and macro-F1 of calls, beside the share of the larger class."""
    return {
        "n_test": len(label), "majority": float(max(label.mean(), 1 - label.mean())),
        "accuracy": accuracy_score(label, called),
        "macro_f1": f1_score(label, called, average="macro", zero_division=0),
    }  # fmt: skip
