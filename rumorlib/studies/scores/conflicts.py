"""Which chain catches what: DMFL's variants by the kind of conflict that makes a drawn post a rumor (D-E8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.config import about
from rumorlib.data.drawn_scenes.claims import TEXT_IMAGE_CONFLICTS
from rumorlib.experiments import corpus_name, model_name
from rumorlib.metrics import evaluation, statistics
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.scores import comparison
from rumorlib.studies.scores.verdicts import frame_of

KINDS = {  # conflicts of the drawn posts -> what the paper's argument calls them
    "implausible": "implausible words",
    **{name: "text against image" for name in (*TEXT_IMAGE_CONFLICTS, "object+colour", "count")},
    "edited": "edited image",
}
MODELS = ("default", "TB", "TL", "TCNN", "TTRAS", "I")
# The paper's argument in pairs of its own variants: the first should know more of the second field than the other.
CLAIMS = (
    ("the logic chain catches implausible words better than the semantic chain", "implausible words", "TB", "TL"),
    ("looking at the image helps the logic chain where text and image disagree", "text against image", "TB", "TTRAS"),
    ("the semantic chain sees more than its text where text and image disagree", "text against image", "TL", "TCNN"),
    ("both chains see more than the logic chain where text and image disagree", "text against image", "default", "TB"),
    ("both chains see more than the semantic chain where they disagree", "text against image", "default", "TL"),
    ("both chains catch an edited image, which text alone cannot", "edited image", "default", "TTRAS"),
)


def table(reports: Sequence[Report], split: str = "test") -> pd.DataFrame:
    """Per model and kind of conflict: rumors called rumor, accuracy and AUC against all posts whose claim holds.

    Returns: dataset, model, variant, kind, n_rumor, called_rumor, accuracy (of those rumors and the true posts, each
        side weighing one half), auc, low, high (95 %, pictures).
    """
    rows = []
    for config, predictions in comparison.pooled(_ours(reports)):
        part = _kinds(predictions, split)
        true = part[part["label"] == 0]
        cleared = float((true["prob_rumor"] < statistics.THRESHOLD).mean())
        for kind in dict.fromkeys(KINDS.values()):
            chosen = part[(part["label"] == 0) | (part["kind"] == kind)].reset_index(drop=True)
            rumors = chosen[chosen["label"] == 1]
            called = float((rumors["prob_rumor"] >= statistics.THRESHOLD).mean())
            auc = statistics.cluster_bootstrap(chosen, "auc", comparison.clusters_of(chosen))
            n_rumor = rumors["post_id"].nunique()
            name = corpus_name(config), model_name(config), config.variant
            found = (*name, kind, n_rumor, called, (called + cleared) / 2, *auc)
            rows.append((*found, run_names(predictions)))
    names = ["dataset", "model", "variant", "kind", "n_rumor", "called_rumor", "accuracy", "auc", "low", "high"]
    return by_runs(pd.DataFrame(rows, columns=[*names, RUNS]), "dataset", "variant")


def claims(reports: Sequence[Report], split: str = "test", n: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Verdict on each of CLAIMS: difference of AUC on the same posts, 95 % interval over pictures, seeds averaged.

    Returns: columns as in `verdicts`; reproduced: the whole interval lies above 0, not reproduced: below.
    """
    mean, runs = {}, {}
    for config, predictions in comparison.pooled(_ours(reports)):
        part = _kinds(predictions, split)
        key = corpus_name(config), config.variant
        mean[key], runs[key] = statistics.seed_mean(part), run_names(predictions)
    rows = []
    for corpus in dict.fromkeys(key[0] for key in mean):
        for claim, kind, more, less in CLAIMS:
            if (corpus, more) in mean and (corpus, less) in mean:
                found = _verdict(corpus, claim, kind, mean[corpus, more], mean[corpus, less], n, seed)
                rows.append(found | {RUNS: (*runs[corpus, more], *runs[corpus, less])})
    return frame_of(rows)


def _verdict(
    corpus: str, claim: str, kind: str, more: pd.DataFrame, less: pd.DataFrame, n: int, seed: int
) -> dict[str, Any]:
    chosen = (more["label"] == 0) | (more["kind"] == kind)
    a, b = more[chosen], less.loc[more.index][chosen]
    clusters = a["image_group"].astype("category").cat.codes.to_numpy()
    groups = [np.flatnonzero(clusters == code) for code in range(clusters.max() + 1)]
    random, label = np.random.default_rng(seed), a["label"].to_numpy()
    ranks, drawn = evaluation.ranks_of(a, b), []
    for _ in range(n):
        rows = np.concatenate([groups[g] for g in random.integers(0, len(groups), len(groups))])
        drawn.append(_auc(label[rows], ranks[0][rows]) - _auc(label[rows], ranks[1][rows]))
    ours = [_auc(label, rank) for rank in ranks]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return {
        "claim": claim, "source": "§1, §4.1: what each chain is for", "corpus": corpus, "reported": np.nan,
        "quantity": f"difference of AUC, {kind}", "ours": ours[0] - ours[1], "low": low, "high": high,
        "verdict": statistics.verdict(low, high, 0),
        "why": f"AUC {ours[0]:.3f} against {ours[1]:.3f}; {int(label.sum())} such rumors",
    }  # fmt: skip


def _auc(label: np.ndarray, rank: np.ndarray) -> float:
    """Share of (rumor, other) pairs in the right order, ties half; nan without both classes."""
    from scipy.stats import rankdata

    positive = label == 1
    n, m = positive.sum(), (~positive).sum()
    return float((rankdata(rank)[positive].sum() - n * (n + 1) / 2) / (n * m)) if n and m else np.nan


def _ours(reports: Sequence[Report]) -> list[Report]:
    """Runs of DMFL on drawn posts, in the order of MODELS."""
    drawn = [r for r in reports if r.config.model == "dmfl" and about(r.config.dataset).kind == "drawn"]
    return sorted((r for r in drawn if r.config.variant in MODELS), key=lambda r: MODELS.index(r.config.variant))


def _kinds(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    part = predictions[predictions["split"] == split].reset_index(drop=True)
    return part.assign(kind=part["conflict"].map(KINDS).fillna("none"))
