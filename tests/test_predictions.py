"""Verdicts on predictions: what the bar of each is."""

from __future__ import annotations

import pandas as pd

from rumorlib.results.provenance import RUNS
from rumorlib.studies.explanations import predictions


def explanation(weights: str, rank: float, name: str = "relevance", half: float = 0.05) -> dict:
    row = {
        RUNS: (weights,),
        "model": "M",
        "weights": weights,
        "explanation": name,
        "field_px": 16,
        "pointing_chance": 0.1,
    }
    for score in ("rank", "pointing"):
        row |= {score: rank, f"{score}_low": rank - half, f"{score}_high": rank + half}
    return row


def test_an_explanation_that_needs_no_training_fails_the_sanity_check() -> None:
    table = pd.DataFrame([
        explanation("trained", 0.7), explanation("stage 1 only", 0.68), explanation("untrained", 0.0),
        explanation("none", 0.3, "contrast of the pixels"),
    ])  # fmt: skip
    found = pd.DataFrame(predictions._sanity(table, "patches")).set_index("prediction")["verdict"]
    assert found["depends on more than the untrained weights (patches)"] == "reproduced"
    assert found["depends on more than the stage 1 only weights (patches)"] == "inconclusive"
    pointing = pd.DataFrame(predictions._pointing(table))
    assert pointing["against"].tolist() == [0.3], "the better of chance and contrast"


def test_one_model_above_chance_breaks_the_undetectable_set() -> None:
    row = {
        "model": "M",
        "split": "undetectable",
        "accuracy": 0.52,
        "low": 0.46,
        "high": 0.54,
        "p_holm": 1.0,
        RUNS: ("a",),
    }
    table = pd.DataFrame([row | {"reading": "not above .5"}, row | {"reading": "not above .5", "model": "N"}])
    assert next(predictions._undetectable(table))["verdict"] == "reproduced"
    table.loc[1, "reading"] = "above .5"
    assert next(predictions._undetectable(table))["verdict"] == "not reproduced"


def test_keeping_the_mark_less_often_than_blindly_is_throwing_it_away() -> None:
    def line(model: str, kept: float, weight: float) -> dict:
        row = {RUNS: (model,), "model": model, "kept_chance": 0.4, "kept_without_mark": kept}
        for name, value in (("kept", kept), ("weight", weight), ("effect", weight)):
            row |= {name: value, f"{name}_low": value - 0.05, f"{name}_high": value + 0.05}
        return row

    table = pd.DataFrame([line("MICC (literal)", 0.2, 0.05), line("MICC-A/γ", 1.0, 0.2)])
    found = [row["verdict"] for row in predictions._fingerprint(table)]
    assert found == ["reproduced", "reproduced", "reproduced"]
    runs = [row[RUNS] for row in predictions._fingerprint(table)]
    assert runs == [("MICC (literal)",), *[("MICC-A/γ", "MICC (literal)")] * 2], "both sides of a comparison"
