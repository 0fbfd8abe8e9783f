"""Verdicts on ablations and sweeps say what the intervals say, and no more."""

import numpy as np
import pandas as pd
import pytest

from rumorlib.metrics.statistics import Interval
from rumorlib.studies.scores import verdicts


def level(corpus, one, other):
    """Every two variants are level."""
    return Interval(0.0, -0.01, 0.01)


def ablations(**drops):
    """An ablation table of one corpus: variant -> (drop, low, high) in points."""
    rows = [{"dataset": "demo-en", "variant": "default", "model": "MICC", "drop": np.nan, "drop_low": np.nan,
             "drop_high": np.nan, "reported_low": np.nan, "reported_high": np.nan}]  # fmt: skip
    for variant, (drop, low, high) in drops.items():
        stated = (8.0, 20.0) if variant.startswith("A") else (np.nan, np.nan)
        names = ("drop", "drop_low", "drop_high", "reported_low", "reported_high")
        about = {"dataset": "demo-en", "variant": variant.replace("_", "-"), "model": f"MICC {variant}"}
        rows.append(about | dict(zip(names, (drop, low, high, *stated))))
    return pd.DataFrame(rows)


def verdict(frame, claim):
    found = frame[frame["claim"].str.contains(claim, regex=False)]
    assert len(found) == 1, claim
    return found["verdict"].iloc[0]


def test_a_part_is_needed_where_its_drop_excludes_zero():
    judged = verdicts.ablation_claims(ablations(A_gamma=(9, 7, 11), Ms_alpha=(1, -1, 3), Ms_beta=(-4, -6, -2)), level)
    assert verdict(judged, "MICC A_gamma is worse") == "reproduced"
    assert verdict(judged, "MICC Ms_alpha is worse") == "inconclusive"
    assert verdict(judged, "MICC Ms_beta is worse") == "not reproduced"
    line = judged[judged["claim"].str.startswith("MICC A_gamma is worse")].iloc[0]
    assert line["reported"] == 14 and "8 to 20" in line["why"] and not judged["claim"].str.startswith("MICC is").any()


def test_an_order_is_judged_by_the_two_variants_paired_on_the_same_posts():
    """Both drops share the full model: their own intervals may overlap where the difference is certain."""
    ahead = {("A-gamma", "A-delta"): Interval(0.03, 0.01, 0.05), ("Ms-alpha", "A-gamma"): Interval(0.01, -0.01, 0.03),
             ("fields-16", "Ms-alpha"): Interval(-0.07, -0.09, -0.05)}  # fmt: skip
    judged = verdicts.ablation_claims(
        ablations(A_delta=(12, 9, 15), A_gamma=(9, 7, 13), Ms_alpha=(8, 6, 9), fields_16=(15, 14, 16)),
        lambda corpus, one, other: ahead[one, other],
    )
    assert verdict(judged, "MICC A_delta loses more than MICC A_gamma") == "reproduced"
    assert verdict(judged, "MICC A_gamma loses more than MICC Ms_alpha") == "inconclusive"
    assert verdict(judged, "MICC Ms_alpha loses more than MICC fields_16") == "not reproduced"
    line = judged[judged["claim"].str.startswith("MICC A_delta loses")].iloc[0]
    assert (line["ours"], line["low"], line["high"]) == pytest.approx((3, 1, 5))


def test_controls_are_called_controls():
    judged = verdicts.ablation_claims(ablations(random_k=(5, 4, 6), A_gamma=(9, 7, 11)), level)
    assert judged.set_index("claim").loc["MICC random_k is worse than the full model", "source"] == "ours, control"
    assert judged["source"].tolist().count("ablations") == 1 and judged["verdict"].tolist() == ["worse", "reproduced"]


def sweep(values, best_on_dev):
    rows = [
        {"dataset": "demo-en", "split": split, "metric": "accuracy", "top_k": k, "variant": f"top_k={k}",
         "estimate": 0.7, "low": 0.6, "high": 0.8, "best_on_dev": k == best_on_dev}
        for k in values for split in ("dev", "test")
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        ({1: (0.01, 0.03), 8: (-0.01, 0.01)}, "reproduced"),
        ({1: (-0.01, 0.03), 8: (-0.01, 0.01)}, "inconclusive"),
        ({1: (0.01, 0.03), 8: (-0.03, -0.01)}, "not reproduced"),
    ],
)
def test_the_papers_value_is_judged_by_pairs_on_test(ahead, expected):
    def paired(corpus, one, other):
        assert (corpus, one) == ("demo-en", "top_k=2")
        low, high = ahead[int(other.removeprefix("top_k="))]
        return Interval((low + high) / 2, low, high)

    judged = verdicts.sweep_claims(sweep((1, 2, 8), 8), "top_k", {"demo-en": 2}, paired)
    assert judged["verdict"].tolist() == [expected]
    assert "dev would choose top_k = 8" in judged["why"][0]


def lambdas(*values):
    rows = [{"dataset": "demo-en", "split": "test", "metric": "accuracy", "fusion_weight": value, "estimate": 0.7,
             "variant": "default" if value == 0.65 else f"fusion_weight={value}", "low": 0.6, "high": 0.8,
             "best_on_dev": value == 0.65} for value in values]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("ahead", "expected", "furthest"),
    [
        ({0.3: (-0.01, 0.015), 0.9: (-0.01, 0.01)}, "reproduced", 0.3),
        ({0.3: (-0.01, 0.03), 0.9: (-0.01, 0.01)}, "inconclusive", 0.3),
        ({0.3: (-0.01, 0.01), 0.9: (-0.05, -0.03)}, "not reproduced", 0.9),
    ],
)
def test_lambda_is_flat_where_every_value_between_the_ends_stays_within_two_points(ahead, expected, furthest):
    def paired(corpus, one, other):
        if "default" not in (one, other) or one.endswith(("=0.0", "=1.0")) or other.endswith(("=0.0", "=1.0")):
            return Interval(-0.2, -0.3, -0.1)  # the ends may differ as they like
        low, high = ahead[float((one if other == "default" else other).removeprefix("fusion_weight="))]
        return Interval((low + high) / 2, low, high)

    judged = verdicts.sweep_claims(lambdas(0.0, 0.3, 0.65, 0.9, 1.0), "fusion_weight", {"demo-en": 0.65}, paired)
    line = judged[judged["claim"].str.contains("flat")].iloc[0]
    assert line["verdict"] == expected and f"furthest at {furthest}" in line["why"]
    assert (line["low"], line["high"]) == ahead[furthest]
    ends = verdicts.sweep_claims(lambdas(0.0, 0.65, 1.0), "fusion_weight", {"demo-en": 0.65}, paired)
    assert verdict(ends, "flat") == "untestable here"


def test_a_value_that_was_not_run_cannot_be_judged():
    judged = verdicts.sweep_claims(sweep((1, 8), 8), "top_k", {"demo-en": 2}, level)
    assert judged["verdict"].tolist() == ["untestable here"]
