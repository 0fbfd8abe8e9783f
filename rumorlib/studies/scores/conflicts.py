"""Which chain catches what: DMFL's variants by the kind of conflict that makes a drawn post a rumor (D-E8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.config import about
from rumorlib.data.drawn_scenes.claims import TEXT_IMAGE_CONFLICTS
from rumorlib.experiments import corpus_name, model_name
from rumorlib.metrics import estimates, evaluation
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.scores import comparison, differences, verdicts

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
        cleared = float((true["prob_rumor"] < evaluation.THRESHOLD).mean())
        for kind in dict.fromkeys(KINDS.values()):
            chosen = part[(part["label"] == 0) | (part["kind"] == kind)].reset_index(drop=True)
            rumors = chosen[chosen["label"] == 1]
            called = float((rumors["prob_rumor"] >= evaluation.THRESHOLD).mean())
            auc = comparison.score(config.dataset, chosen, "auc")
            n_rumor = rumors["post_id"].nunique()
            name = corpus_name(config), model_name(config), config.variant
            found = (*name, kind, n_rumor, called, (called + cleared) / 2, *auc)
            rows.append((*found, run_names(predictions)))
    names = ["dataset", "model", "variant", "kind", "n_rumor", "called_rumor", "accuracy", "auc", "low", "high"]
    return by_runs(pd.DataFrame(rows, columns=[*names, RUNS]), "dataset", "variant")


def claims(reports: Sequence[Report], split: str = "test") -> pd.DataFrame:
    """Verdict on each of CLAIMS: difference of AUC on the same posts. Columns `verdicts.COLUMNS`."""
    made = {(corpus_name(config), config.variant): (config, frame)
            for config, frame in comparison.pooled(_ours(reports))}  # fmt: skip
    rows = []
    for corpus in dict.fromkeys(key[0] for key in made):
        for claim, kind, *both in CLAIMS:
            if all((corpus, variant) in made for variant in both):
                rows.append(_claim(corpus, claim, kind, [made[corpus, variant] for variant in both], split))
    return verdicts.frame_of(rows)


def _claim(corpus: str, claim: str, kind: str, both: list[differences.Predicted], split: str) -> dict[str, Any]:
    frames = [_kinds(frame, split) for _, frame in both]
    a, b = (frame[(frame["label"] == 0) | (frame["kind"] == kind)].reset_index(drop=True) for frame in frames)
    how = comparison.clusterings(both[0][0].dataset, a)
    scores = [estimates.score(frame, "auc", how).value for frame in (a, b)]
    n_rumor = a.loc[a["label"] == 1, "post_id"].nunique()
    return {
        "claim": claim, "source": "§1, §4.1: what each chain is for", "corpus": corpus, "reported": np.nan,
        "quantity": f"difference of AUC, {kind}", **verdicts.judged(estimates.difference(a, b, "auc", how)),
        "why": f"AUC {scores[0]:.3f} against {scores[1]:.3f}; {n_rumor} such rumors",
        RUNS: [name for _, frame in both for name in run_names(frame)],
    }  # fmt: skip


def _ours(reports: Sequence[Report]) -> list[Report]:
    """Runs of DMFL on drawn posts, in the order of MODELS."""
    drawn = [r for r in reports if r.config.model == "dmfl" and about(r.config.dataset).kind == "drawn"]
    return sorted((r for r in drawn if r.config.variant in MODELS), key=lambda r: MODELS.index(r.config.variant))


def _kinds(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    part = predictions[predictions["split"] == split].reset_index(drop=True)
    return part.assign(kind=part["conflict"].map(KINDS).fillna("none"))
