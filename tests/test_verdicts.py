"""Verdicts on ablations and sweeps say what the intervals say, and no more."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from compared import Compared

from rumorlib.config import RunConfig
from rumorlib.data.drawn_scenes.claims import TEXT_IMAGE_CONFLICTS
from rumorlib.metrics.estimates import Estimate
from rumorlib.results.provenance import RUNS, runs_of_rows
from rumorlib.studies.scores import conflicts, sensitivity, verdicts


def ablations(**drops):
    """An ablation table of one corpus, variant -> drop in points, and its models compared."""
    named = {name.replace("_", "-"): drop for name, drop in drops.items()}
    rows = [{"dataset": "demo-en", "variant": "default", "model": "MICC", "drop": np.nan, "primary": "accuracy",
             "reported_low": np.nan, "reported_high": np.nan}]  # fmt: skip
    for variant, drop in named.items():
        stated = (8.0, 20.0) if variant.startswith("A") else (np.nan, np.nan)
        rows.append({"dataset": "demo-en", "variant": variant, "model": f"MICC {variant}", "drop": drop,
                     "primary": "accuracy", "reported_low": stated[0], "reported_high": stated[1]})  # fmt: skip
    means = {"default": 0.8} | {variant: 0.8 - drop / 100 for variant, drop in named.items()}
    return pd.DataFrame(rows), Compared(means, 0.02)


def verdict(frame, claim):
    found = frame[frame["claim"].str.contains(claim, regex=False)]
    assert len(found) == 1, claim
    return found["verdict"].iloc[0]


def test_a_part_is_needed_where_its_drop_excludes_zero():
    judged = verdicts.ablation_claims(*ablations(A_gamma=9, Ms_alpha=1, Ms_beta=-4))
    assert verdict(judged, "MICC A-gamma is worse") == "reproduced"
    assert verdict(judged, "MICC Ms-alpha is worse") == "inconclusive"
    assert verdict(judged, "MICC Ms-beta is worse") == "not reproduced"
    line = judged[judged["claim"].str.startswith("MICC A-gamma is worse")].iloc[0]
    assert line["reported"] == 14 and "8 to 20, inside our interval" in line["why"]
    assert not judged["claim"].str.startswith("MICC is").any()


def test_an_order_is_judged_by_the_two_variants_paired_on_the_same_posts():
    judged = verdicts.ablation_claims(*ablations(A_delta=12, A_gamma=9, Ms_alpha=8, fields_16=15))
    assert verdict(judged, "MICC A-delta loses more than MICC A-gamma") == "reproduced"
    assert verdict(judged, "MICC A-gamma loses more than MICC Ms-alpha") == "inconclusive"
    assert verdict(judged, "MICC Ms-alpha loses more than MICC fields-16") == "not reproduced"
    line = judged[judged["claim"].str.startswith("MICC A-delta loses")].iloc[0]
    assert (line["ours"], line["low"], line["high"]) == pytest.approx((3, 1, 5))


class Trained:
    """As much of a report as verdicts ask."""

    def __init__(self, name, *faults):
        self.name, self.faults = name, lambda: faults


def test_no_claim_is_judged_that_rests_on_a_training_with_a_fault():
    rows = [{"claim": name, "corpus": "c", "quantity": "q", "verdict": "reproduced", "ours": 1.0, "p_value": p,
             RUNS: runs} for name, p, runs in (("one", 0.02, ("a", "b")), ("two", 0.04, ("a",)))]  # fmt: skip
    frame = verdicts.frame_of(rows)
    assert frame["p_holm"].tolist() == pytest.approx([0.04, 0.04])
    said = verdicts.of_learned(frame, [Trained("a"), Trained("b", "unfinished")])
    assert said["verdict"].tolist() == ["untestable here", "reproduced"] and said["ours"].tolist() == [1, 1]
    assert said["why"][0].startswith("1 of 2 trainings: dev loss is lowest at the last look")
    assert np.isnan(said["p_holm"][0]) and said["p_holm"][1] == pytest.approx(0.04), "Holm counts what is judged"
    assert runs_of_rows(said) == [("a", "b"), ("a",)]
    pd.testing.assert_frame_equal(verdicts.of_learned(frame, [Trained("a"), Trained("b")]), frame)


def test_controls_are_called_controls():
    judged = verdicts.ablation_claims(*ablations(random_k=5, A_gamma=9))
    assert judged.set_index("claim").loc["MICC random-k is worse than the full model", "source"] == "ours, control"
    assert judged["source"].tolist().count("ablations") == 1 and judged["verdict"].tolist() == ["worse", "reproduced"]


def test_every_claim_of_a_table_is_corrected_for_the_others():
    judged = verdicts.ablation_claims(*ablations(A_gamma=9, Ms_beta=2.1))
    p, holm = judged["p_value"], judged["p_holm"]
    assert p.notna().sum() == 3 and holm.min() == pytest.approx(3 * p.min())
    again = verdicts.together([judged, judged])
    assert again["p_holm"].min() == pytest.approx(6 * p.min())


def test_what_scores_the_same_in_every_training_is_no_question():
    table, compared = ablations(Ms_alpha=0.0)
    compared.ahead = lambda *_: Estimate(0.0, 0.01, 99, constant=True)
    assert verdicts.ablation_claims(table, compared)["verdict"].tolist() == ["untestable here"]
    compared.ahead = lambda *_: Estimate(0.1, np.nan, 99, lone=True)
    assert verdicts.ablation_claims(table, compared)["verdict"].tolist() == ["inconclusive"], "one seed against one"


def sweep(values, best_on_dev):
    rows = [
        {"dataset": "demo-en", "split": split, "metric": "primary", "top_k": k, "variant": f"top_k={k}",
         "best_on_dev": k == best_on_dev}
        for k in values for split in ("dev", "test")
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("scores", "seeds", "expected"),
    [
        ((0.70, 0.80, 0.75), 4, "reproduced"),
        ((0.70, 0.80, 0.795), 4, "inconclusive"),
        ((0.70, 0.80, 0.85), 4, "not reproduced"),
        ((0.70, 0.80, 0.75), 1, "inconclusive"),
    ],
)
def test_the_papers_value_is_best_where_it_is_on_top(scores, seeds, expected):
    compared = Compared(dict(zip(("top_k=1", "top_k=2", "top_k=8"), scores, strict=True)), 0.02, seeds)
    judged = sensitivity.best_claims(sweep((1, 2, 8), 8), "top_k", {"demo-en": 2}, compared)
    assert judged["verdict"].tolist() == [expected] and judged["ours"].tolist() == [pytest.approx(0.8)]
    assert "dev would choose top_k = 8" in judged["why"][0] and ("one seed" in judged["why"][0]) == (seeds == 1)


def lambdas(*values):
    rows = [{"dataset": "demo-en", "fusion_weight": value, "best_on_dev": value == 0.65,
             "variant": "default" if value == 0.65 else f"fusion_weight={value}"} for value in values]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("scores", "expected", "furthest"),
    [
        ((0.705, 0.7), "reproduced", 0.3),
        ((0.715, 0.7), "inconclusive", 0.3),
        ((0.7, 0.65), "not reproduced", 0.9),
    ],
)
def test_lambda_is_flat_where_every_value_between_the_ends_stays_within_two_points(scores, expected, furthest):
    means = {"fusion_weight=0.0": 0.5, "fusion_weight=1.0": 0.5, "default": 0.7}  # the ends may differ as they like
    means |= dict(zip(("fusion_weight=0.3", "fusion_weight=0.9"), scores, strict=True))
    judged = sensitivity.best_claims(
        lambdas(0.0, 0.3, 0.65, 0.9, 1.0), "fusion_weight", {"demo-en": 0.65}, Compared(means, 0.01)
    )
    line = judged[judged["claim"].str.contains("flat")].iloc[0]
    assert line["verdict"] == expected and f"furthest at {furthest}" in line["why"]
    ends = sensitivity.best_claims(lambdas(0.0, 0.65, 1.0), "fusion_weight", {"demo-en": 0.65}, Compared(means, 0.01))
    assert verdict(ends, "flat") == "untestable here"


def test_a_value_that_was_not_run_cannot_be_judged():
    judged = sensitivity.best_claims(sweep((1, 8), 8), "top_k", {"demo-en": 2}, Compared({}, 0.01))
    assert judged["verdict"].tolist() == ["untestable here"]


# --- Which chain catches what: a claim is told from the posts of its kind, and from no others.


def reports(variant: str, knows: str | None, first: int = 2) -> list[SimpleNamespace]:
    """Three seeds of `report`."""
    return [report(variant, knows, seed) for seed in range(first, first + 3)]


def report(variant: str, knows: str | None, seed: int = 2) -> SimpleNamespace:
    """A run that knows the rumors of one kind and guesses elsewhere, by its seed."""
    kinds = ["none"] * 200 + ["implausible"] * 60 + [TEXT_IMAGE_CONFLICTS[0]] * 60 + ["edited"] * 60
    random = np.random.default_rng(seed)
    prob = random.uniform(0.3, 0.6, len(kinds))
    prob[[kind in conflicts.KINDS and conflicts.KINDS[kind] == knows for kind in kinds]] = 0.9
    frame = pd.DataFrame({"post_id": [f"p{i}" for i in range(len(kinds))], "conflict": kinds, "split": "test",
                          "label": [int(kind != "none") for kind in kinds], "prob_rumor": prob,
                          "image_group": [f"g{i}" for i in range(len(kinds))]})  # fmt: skip
    return SimpleNamespace(config=RunConfig("dmfl", "demo-en", variant, seed), name=variant, facts={},
                           predictions=lambda: frame)  # fmt: skip


def test_the_table_shows_the_kind_a_model_knows() -> None:
    frame = conflicts.table([report("TB", "implausible words"), report("TL", None)])
    known = frame[(frame["variant"] == "TB") & (frame["kind"] == "implausible words")].iloc[0]
    assert known["auc"] == 1 and known["called_rumor"] == 1 and known["n_rumor"] == 60
    assert frame[frame["variant"] == "TL"]["auc"].between(0.3, 0.7).all()


def test_a_claim_is_reproduced_refused_or_left_open() -> None:
    claim = conflicts.CLAIMS[0][0]

    def said(tb: list, tl: list) -> pd.Series:
        return conflicts.claims([*tb, *tl]).set_index("claim").loc[claim]

    knows = "implausible words"
    found = said(reports("TB", knows), reports("TL", None))
    assert found["verdict"] == "reproduced" and found["ours"] > 0.3
    assert said(reports("TB", None), reports("TL", knows))["verdict"] == "not reproduced"
    assert said(reports("TB", None, 5), reports("TL", None))["verdict"] == "inconclusive"
    assert said([report("TB", knows)], [report("TL", None)])["verdict"] == "inconclusive", "one seed against one"
