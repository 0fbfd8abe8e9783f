"""One model against others on the same posts: the mean of single trainings, and beside it ensembles of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.config import RunConfig
from rumorlib.experiments import corpus_name, model_name
from rumorlib.metrics import estimates
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.scores import comparison

Predicted = tuple[RunConfig, pd.DataFrame]  # of `comparison.pooled`


def is_fixed(config: RunConfig) -> bool:
    """Whether training leaves nothing to chance: counts and logistic regressions, not trees or networks."""
    return config.model == "baseline" and not config.variant.endswith("_forest")


def compare(reports: Sequence[Report], model: tuple[str, str], rivals: Sequence[tuple[str, str]],
            split: str = "test", clusters: str | None = None) -> pd.DataFrame:  # fmt: skip
    """On each corpus `model` against the rival that is best on dev: difference of the means of single trainings on
    `split`, by the primary metric, over `clusterings` (or the groups of column `clusters`).

    Args: model, rivals: (RunConfig.model, variant).
    Returns: dataset, model, rival, metric, n_seeds, rival_seeds, ours, theirs, difference = ours - theirs, low, high
        (95 %; empty where one of the two was trained once), p_value, p_holm (over the rows); ensembles (trainings whose
        probabilities are averaged, of each), ensembles_difference, ensembles_low, ensembles_high; highest,
        highest_score: of the rivals on `split`, highest_low, highest_ensembles_low: the lower ends against that one,
        which a claim about every rival needs.
    """
    rows = []
    frames = {(corpus_name(c), c.model, c.variant): (c, frame) for c, frame in comparison.pooled(reports)}
    for dataset in dict.fromkeys(key[0] for key in frames):
        others = [frames[dataset, *rival] for rival in rivals if (dataset, *rival) in frames]
        ours = frames.get((dataset, *model))
        if ours is None or not others or not (ours[1]["split"] == split).any():
            continue
        rows.append({"dataset": dataset} | _against(ours, others, split, clusters))
    if not rows:
        return pd.DataFrame()
    frame = pd.DataFrame(rows)
    frame.insert(frame.columns.get_loc("p_value") + 1, "p_holm", estimates.holm(frame["p_value"]))
    return by_runs(frame, "dataset", "model")


def _against(ours: Predicted, others: Sequence[Predicted], split: str, clusters: str | None) -> dict[str, Any]:
    """A row of `compare`, without its corpus."""
    config, dataset = ours[0], ours[0].dataset
    metric, weight = comparison.primary(dataset)

    def of(one: Predicted, which: str) -> pd.DataFrame:
        return comparison.weighted(one[1][one[1]["split"] == which].reset_index(drop=True))

    how = [clusters] if clusters else comparison.clusterings(dataset, of(ours, split))

    def ahead(one: Predicted, measured: Any = estimates.difference) -> Any:
        return measured(of(ours, split), of(one, split), metric, how, weight, (is_fixed(config), is_fixed(one[0])))

    def mean(one: Predicted, which: str) -> float:
        return estimates.score(of(one, which), metric, (), weight).value

    best = others[int(np.argmax(np.nan_to_num([mean(one, "dev") for one in others], nan=-np.inf)))]
    theirs = [mean(one, split) for one in others]
    top = others[int(np.argmax(theirs))]
    found, (together, size) = ahead(best), ahead(best, estimates.ensembles)
    over_top, together_over_top = (found, together) if top is best else (ahead(top), ahead(top, estimates.ensembles)[0])
    row = {"model": model_name(config), "rival": model_name(best[0]), "metric": metric}
    row |= {"n_seeds": ours[1]["seed"].nunique(), "rival_seeds": best[1]["seed"].nunique()}
    row |= {"ours": mean(ours, split), "theirs": mean(best, split)}
    row |= dict(zip(("difference", "low", "high"), found, strict=True))
    row |= {"p_value": np.nan if found.lone else found.p_value(), "ensembles": size}
    row |= {"highest": model_name(top[0]), "highest_score": max(theirs), "highest_low": over_top.low}
    if size > 1:
        row |= comparison.ends("ensembles", together, "ensembles_difference")
        row |= {"highest_ensembles_low": together_over_top.low}
    return row | {RUNS: [name for _, frame in (ours, *others) for name in run_names(frame)]}
