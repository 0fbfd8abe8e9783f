"""What a detector does when its pictures or its words are not the post's own (p_3), or are damaged (o_9).

A score that stays when pictures are exchanged did not come from text and picture together (exchanges.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib import results
from rumorlib.config import Settings
from rumorlib.experiments import benches, exchanged_runs, model_name
from rumorlib.metrics import estimates, evaluation
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.scores import comparison, sensitivity, verdicts
from rumorlib.studies.scores.sweeps import by_variant, predictions
from rumorlib.training import bench_runs
from rumorlib.training.exchange_runs import (
    AS_IT_IS,
    DOSES,
    INTERVENTIONS,
    OTHER_TEXTS,
    WORDS,
    damage_reading,
    reading,
)


def table(settings: Settings) -> tuple[pd.DataFrame, list[Report]]:
    """Two detectors (`runs`) on every corpus under every intervention.

    Returns: dataset, model, intervention, exchanged (share of test posts that got another picture), primary, estimate,
        low, high (95 %, pictures drawn), auc, moved (mean change of the probability, absolute), flipped (share of posts
        called otherwise); and the runs.
    """
    rows, reports = [], []
    for dataset in benches.with_pictures(settings):
        runs = exchanged_runs(settings, dataset)
        parent = results.run_or_load(runs[-1].parent, settings)
        for config, name in zip(runs, (benches.printed_name(dataset), dataset), strict=True):
            reports.append(results.run_or_load(config, settings))
            rows += _rows(name, model_name(config), dataset, reports[-1], parent)
    return by_runs(pd.DataFrame(rows), "dataset", "model"), reports


def with_events(frame: pd.DataFrame, beside: Report) -> pd.DataFrame:
    """Predictions with the events of their posts, by which they cluster; runs that exchange inputs did not store them
    once, so another run on the same posts tells."""
    if "event" in frame:
        return frame
    known = beside.predictions().rename(columns={"row_key": "post_id"}).drop_duplicates("post_id").set_index("post_id")
    return frame.assign(event=frame["post_id"].map(known["event"])) if "event" in known else frame


def _rows(name: str, model: str, dataset: str, report: Report, beside: Report) -> list[dict[str, Any]]:
    """A row per intervention the run has read, in their order."""
    stored, rows = with_events(bench_runs.stored(report), beside), []
    first = stored.loc[stored["split"] == reading(AS_IT_IS), "prob_rumor"].to_numpy(float)
    shares = report.facts["exchanged"]
    for intervention in (name for name in INTERVENTIONS if name in shares):
        part = stored[stored["split"] == reading(intervention)].reset_index(drop=True)
        prob = part["prob_rumor"].to_numpy(float)
        auc = comparison.score(dataset, part, "auc").value
        found = comparison.score(dataset, part)
        called = (prob >= evaluation.THRESHOLD) != (first >= evaluation.THRESHOLD)
        rows.append({
            "dataset": name, "model": model, "intervention": intervention, "exchanged": shares[intervention],
            "primary": comparison.primary_name(dataset), "estimate": found.value, "low": found.low,
            "high": found.high, "auc": auc,
            "moved": float(np.abs(prob - first).mean()), "flipped": float(called.mean()),
            RUNS: run_names([report]),
        })  # fmt: skip
    return rows


# --- damage ---------------------------------------------------------------------------------------


def damage(reports: Sequence[Report]) -> pd.DataFrame:
    """What each noise and dose costs runs of kind "damage".

    Returns: dataset, model, noise, dose, lost (test accuracy against the same posts undamaged), lost_low, lost_high,
        relevance (mean cosine of the kept patches with the text), relevance_clean, n_seeds.
    """
    rows = []
    for group in by_variant(reports).values():
        told = {"dataset": comparison.corpus_name(group[0].config), "model": model_name(group[0].config)}
        clean = _relevance(group, "test", "relevance").mean()
        for noise, doses in DOSES.items():
            for dose in doses:
                after = _relevance(group, damage_reading(noise, dose), "relevance").mean()
                rows.append(told | {"noise": noise, "dose": dose} | comparison.ends("lost", _lost(group, noise, dose))
                            | {"relevance": after, "relevance_clean": clean, "n_seeds": len(group),
                               RUNS: run_names(group)})  # fmt: skip
    return by_runs(pd.DataFrame(rows), "dataset", "model")


def damage_claims(reports: Sequence[Report]) -> Iterator[dict[str, Any]]:
    """Lines of a table of claims: a middling dose costs little accuracy, and the most damaged picture moves a post's
    relevance less than another post's text does."""
    for group in by_variant(reports).values():
        about = _about(group, "digest, confidence")
        for noise, doses in DOSES.items():
            if noise == OTHER_TEXTS:
                continue
            dose = doses[len(doses) // 2]
            said = verdicts.judged(_lost(group, noise, dose), sensitivity.FLAT, above=False)
            yield about | said | {"claim": f"{noise} ({dose:g}) costs less than {100 * sensitivity.FLAT:g} points",
                                  "quantity": "loss of test accuracy", "why": f"{len(group)} seeds"}  # fmt: skip
        other = _relevance(group, damage_reading(OTHER_TEXTS, max(DOSES[OTHER_TEXTS])), "moved")
        for noise in (noise for noise in DOSES if noise not in WORDS):
            dose = DOSES[noise][-1]
            found = _of_blocks(other - _relevance(group, damage_reading(noise, dose), "moved"))
            yield about | verdicts.judged(found) | {
                "claim": f"another post's text moves relevance more than {noise} ({dose:g}) does",
                "quantity": "mean change of a post's relevance, how much more", "why": f"{len(group)} seeds",
            }  # fmt: skip


def information_claims(reports: Sequence[Report]) -> Iterator[dict[str, Any]]:
    """Lines of a table of claims, of runs of kind "damage": Top-K as the papers' information bottleneck. Quantities
    are less what they are with exchanged pictures: patches chosen by a text resemble it whatever they show."""
    top, drawn, wide = ("relevance", 2), ("random", 2), ("relevance", 8)
    asked = (  # claim, quantity, column, what is compared, whether the first should have more
        ("kept patches share more with the text than as many drawn at random", "InfoNCE bound, nats", "bound",
         top, drawn, True),
        ("K = 2 keeps more of what text and picture share than K = 8", "InfoNCE bound, nats", "bound", top, wide, True),
        ("kept patches tell less of the rest of the picture than as many drawn at random",
         "R² of the mean of the other patches", "rest", top, drawn, False),
    )  # fmt: skip
    for group in by_variant(reports).values():
        tables = [report.extra("information").set_index(["pictures", "selection", "k", "without"]).sort_index()
                  for report in group]  # fmt: skip

        def own(column: str, which: tuple[str, int], tables: list[pd.DataFrame] = tables) -> np.ndarray:
            return np.stack([t.loc[("own", *which), column] - t.loc[("exchanged", *which), column] for t in tables])

        for claim, quantity, column, one, other, above in asked:
            found = _of_blocks(own(column, one) - own(column, other))
            yield _about(group, "§3.3") | verdicts.judged(found, above=above) | {
                "claim": claim, "quantity": f"{quantity}, how much more, less the same of exchanged pictures",
                "why": f"{len(group)} seeds",
            }  # fmt: skip


def _about(group: Sequence[Report], source: str) -> dict[str, Any]:
    corpus = comparison.corpus_name(group[0].config)
    return {"source": source, "corpus": corpus, "reported": np.nan, RUNS: run_names(group)}


def _lost(group: Sequence[Report], noise: str, dose: float) -> estimates.Estimate:
    clean, after = predictions(group, "test"), predictions(group, damage_reading(noise, dose))
    how = comparison.clusterings(group[0].config.dataset, clean)
    return estimates.difference(clean, after, "accuracy", how, same_runs=True)


def _relevance(group: Sequence[Report], name: str, column: str) -> np.ndarray:
    """(trainings, 1 + blocks): of all posts, then without each block."""
    frames = [report.extra("relevance").sort_values("without") for report in group]
    return np.stack([frame.loc[frame["reading"] == name, column].to_numpy(float) for frame in frames])


def _of_blocks(values: np.ndarray) -> estimates.Estimate:
    """Mean over trainings of the first column, that of all posts; the others are without a block of posts each."""
    without = values[:, 1:].mean(0)[:, None]
    return estimates.Measured((values[:, 0],), (without,), (False,)).contrast([1])
