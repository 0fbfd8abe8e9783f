"""The papers' numbers: the test behind "how many posts", F1 by brute force, and that no reading is dropped."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from statsmodels.stats.contingency_tables import mcnemar

from rumorlib.studies.scores import papers


@pytest.mark.parametrize("gain", [1, 3, 5, 6, 9, 26])
def test_the_most_disagreements_is_where_mcnemar_turns(gain: int) -> None:
    def p_value(disagreements: int) -> float:
        wins = (disagreements + gain) // 2
        return mcnemar([[0, wins], [disagreements - wins, 0]], exact=True).pvalue

    allowed = papers.most_disagreements(gain, 400)
    tried = [d for d in range(gain, 401, 2) if p_value(d) < 0.05]
    assert allowed == max(tried, default=0)


def test_three_posts_prove_nothing_and_six_only_alone() -> None:
    assert papers.most_disagreements(3, 385) == 0
    assert papers.most_disagreements(5, 385) == 0
    assert papers.most_disagreements(6, 385) == 6


@pytest.mark.parametrize("average", papers.AVERAGES)
def test_f1_range_holds_every_classifier_of_that_accuracy(average: str) -> None:
    n, rumors, wrong = 20, 7, 4
    label = np.array([1] * rumors + [0] * (n - rumors))
    found = []
    for missed in range(wrong + 1):
        called = label.copy()
        called[:missed] = 0
        called[rumors : rumors + wrong - missed] = 1
        assert accuracy_score(label, called) == pytest.approx(1 - wrong / n)
        kind = {"average": "binary"} if average == "rumor" else {"average": average}
        found.append(f1_score(label, called, **kind))
    low, high = papers.f1_range(1 - wrong / n, rumors / n, average)
    assert (low, high) == (pytest.approx(min(found), abs=1e-3), pytest.approx(max(found), abs=1e-3))


def test_micc_on_weibo_needs_a_third_of_rumors() -> None:
    shares = papers.possible_shares(0.938, 0.917, "rumor")
    # by hand: hits = F1 e / (2 (1 - F1)), the share lies between hits and hits + e
    hits = 0.917 * 0.062 / (2 * 0.083)
    assert shares.min() == pytest.approx(hits, abs=0.006) and shares.max() == pytest.approx(hits + 0.062, abs=0.006)
    assert not np.isclose(shares, 0.5).any(), "impossible on the balanced test set"


def test_the_audit_gives_both_readings_and_posts() -> None:
    frame = papers.audit()
    assert set(frame["reading"]) >= {"as printed", "datasets swapped", "points", "relative"}
    told = frame.set_index(["subject", "reading"])["computed"]
    assert told["n_heads=8 over n_heads=2", "stated"] == "3 posts"
    assert told["DMFL over MFAN", "points"] == "6 posts"
    verdicts = frame.set_index(["subject", "reading"])["verdict"]
    assert verdicts["n_heads=8 over n_heads=2", "stated"] == "cannot be told apart"
    assert verdicts["DMFL over MFAN", "points"] == "open"
    assert verdicts["DMFL over DMFL-TTRAS", "as printed"] == "told apart"
    swapped = frame[frame["subject"].str.startswith("conclusions")].set_index("reading")["verdict"]
    assert swapped["datasets swapped"] == "consistent" and swapped["as printed"] == "contradicts itself"
    for column, corpus in itertools.product(["verdict", "why"], ["pheme", "weibo", "both"]):
        assert (frame.loc[frame["corpus"] == corpus, column].str.len() > 0).all()
    micc = frame[frame["subject"].str.startswith("MICC")]
    assert micc["verdict"].tolist() == ["impossible at our copy's share"] * 2
