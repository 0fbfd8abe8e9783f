"""Metrics, intervals, tests, retrieval and pointing: against scikit-learn, brute force and simulation."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from rumorlib.metrics import estimates, evaluation, statistics
from rumorlib.training import fitting

POSTS = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=60)


def frame(seed=0, n=300, n_groups=40):
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, n)
    return pd.DataFrame(
        {
            "post_id": [f"p{i}" for i in range(n)],
            "label": label,
            "prob_rumor": np.round(np.clip(0.3 * label + 0.7 * random.random(n), 0, 1), 2),  # rounded: with ties
            "image_group": random.integers(0, n_groups, n).astype(str),
        }
    )


# --- metrics --------------------------------------------------------------------------------


def test_metrics_equal_scikit_learn():
    posts = frame()
    label, prob = posts["label"], posts["prob_rumor"]
    called = (prob >= 0.5).astype(int)
    scores = evaluation.classification_metrics(label, prob)
    expected = {
        "accuracy": metrics.accuracy_score(label, called),
        "balanced_accuracy": metrics.balanced_accuracy_score(label, called),
        "precision_rumor": metrics.precision_score(label, called),
        "recall_non_rumor": metrics.recall_score(label, called, pos_label=0),
        "f1_rumor": metrics.f1_score(label, called),
        "f1_non_rumor": metrics.f1_score(label, called, pos_label=0),
        "f1_macro": metrics.f1_score(label, called, average="macro"),
        "f1_weighted": metrics.f1_score(label, called, average="weighted"),
        "auc": metrics.roc_auc_score(label, prob),
        "brier": ((prob - label) ** 2).mean(),
        "log_loss": metrics.log_loss(label, prob),
        "n": len(posts),
        "n_rumor": label.sum(),
    }
    assert {name: scores[name] for name in expected} == pytest.approx(expected)


@given(POSTS, st.randoms())
@settings(max_examples=60, deadline=None)
def test_metrics_are_bounded_and_ignore_the_order(posts, random):
    scores = evaluation.classification_metrics(*zip(*posts, strict=True))
    for name, value in scores.items():
        if name not in ("n", "n_rumor", "log_loss"):
            assert np.isnan(value) or 0 <= value <= 1, name
    random.shuffle(posts)
    assert evaluation.classification_metrics(*zip(*posts, strict=True)) == pytest.approx(scores, nan_ok=True)


def test_one_class_has_no_auc_but_an_accuracy():
    scores = evaluation.classification_metrics([1, 1], [0.9, 0.2])
    assert np.isnan(scores["auc"]) and np.isnan(scores["balanced_accuracy"])
    assert scores["accuracy"] == 0.5 and scores["recall_rumor"] == 0.5 and scores["f1_non_rumor"] == 0


@pytest.mark.parametrize(
    ("label", "prob", "message"),
    [([], [], "no posts"), ([0, 2], [0.1, 0.2], "0 or 1"), ([0, 1], [0.1, np.nan], "nan"), ([0], [0.1, 0.2], "length")],
)
def test_metrics_refuse_nonsense(label, prob, message):
    with pytest.raises(ValueError, match=message):
        evaluation.classification_metrics(label, prob)


# --- confident models -----------------------------------------------------------------------


def sure(posts: pd.DataFrame, by: float = 60.0) -> pd.DataFrame:
    """The same posts ranked alike by a model that is sure of all of them: log-odds of which float64 keeps no
    probability but 1."""
    log_odds = evaluation.to_store(by + posts["prob_rumor"])
    return posts.assign(log_odds=log_odds, prob_rumor=evaluation.prob_of(log_odds))


def margins(n: int = 400, centre: float = 12.0, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Posts, and log-odds near `centre` that rank them well: rumors lie 2.1 standard deviations above the others."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, n)
    posts = pd.DataFrame({"post_id": [f"p{i:03d}" for i in range(n)], "label": label, "split": "test",
                          "image_group": [f"g{i // 2}" for i in range(n)], "image": "x"})  # fmt: skip
    return posts, centre + 2.1 * (label - 0.5) + random.normal(size=n)


@pytest.mark.parametrize("centre", [0.0, 12.0, 18.0, 80.0])
def test_a_model_is_measured_on_what_it_said_however_sure_it_is(centre):
    posts, said = margins(centre=centre)
    found = fitting.score(posts, said, {})
    label, scores = posts["label"].to_numpy(), found.metrics["test"]
    assert scores["auc"] == pytest.approx(metrics.roc_auc_score(label, said), abs=1e-4) and scores["auc"] > 0.9
    assert scores["log_loss"] == pytest.approx(np.logaddexp(0, np.where(label == 1, -said, said)).mean(), abs=1e-4)
    assert scores["accuracy"] == ((said >= 0) == label).mean()
    stored = evaluation.with_prob(found.predictions.drop(columns="prob_rumor", errors="ignore"))
    assert evaluation.frame_metrics(stored) == scores, "recomputes to the last digit from what is stored"
    for name in ("auc", "brier", "accuracy"):
        assert estimates.score(stored, name).value == pytest.approx(scores[name])


def test_one_of_the_two_numbers_changed_alone_is_refused():
    posts = sure(frame(), 0)
    for change in ({"prob_rumor": 1 - posts["prob_rumor"]}, {"log_odds": -posts["log_odds"]}):
        with pytest.raises(ValueError, match="not the sigmoid of log_odds"):
            evaluation.frame_metrics(posts.assign(**change))
    with pytest.raises(ValueError, match="finite"):
        evaluation.classification_metrics([0, 1], None, log_odds=[0.0, np.inf])


def test_each_image_counts_once():
    # image a: 8 rumors called right; image b: 1 rumor called wrong; images of their own: one right, one wrong non-rumor
    posts = pd.DataFrame(
        {
            "label": [1] * 9 + [0, 0],
            "prob_rumor": [0.9] * 8 + [0.1] + [0.2, 0.8],
            "image_group": ["a"] * 8 + ["b"] + ["", ""],
        }
    )
    scores = evaluation.image_macro_metrics(posts)
    assert scores["n_images"] == 4
    assert scores["image_macro_balanced_accuracy"] == pytest.approx(0.5)
    assert scores["image_macro_auc"] == pytest.approx(0.5)  # a beats both, b beats none
    with pytest.raises(ValueError, match="one seed"):
        evaluation.image_macro_metrics(posts.assign(seed=range(11)))


def test_group_codes_keep_empty_groups_apart():
    codes = evaluation.group_codes(["x", "", "y", "x", None, ""])
    assert codes[0] == codes[3]
    assert sorted(set(codes)) == list(range(5))


def test_t_interval():
    mean, low, high = statistics.t_interval([0.1, 0.2, 0.3])
    assert (mean, low, high) == pytest.approx((0.2, 0.2 - 4.302653 * 0.1 / 3**0.5, 0.2 + 4.302653 * 0.1 / 3**0.5))
    assert np.isnan(statistics.t_interval([0.4]).low)


# --- retrieval and pointing -----------------------------------------------------------------


def brute_force_rank(scores, right):
    """Mean rank of the first right answer over all orders that sort the scores."""
    columns = range(len(scores))
    sorts = [all(scores[a] >= scores[b] for a, b in itertools.pairwise(o)) for o in itertools.permutations(columns)]
    orders = itertools.compress(itertools.permutations(columns), sorts)
    return np.mean([min(o.index(c) for c in columns if right[c]) + 1 for o in orders])


def test_retrieval_equals_brute_force_with_ties():
    random = np.random.default_rng(9)
    for _ in range(10):
        similarity = random.integers(0, 3, (6, 4)).astype(float)
        owner = np.array([0, 0, 1, 1, 3, 3])  # image 2 has no text
        found = evaluation.retrieval_recall(similarity, owner, ks=(1, 2, 3))
        t2i = np.array([brute_force_rank(similarity[t], owner[t] == np.arange(4)) for t in range(6)])
        i2t = np.array([brute_force_rank(similarity[:, i], owner == i) for i in (0, 1, 3)])
        for k in (1, 2, 3):
            assert found[f"t2i_recall_at_{k}"] == pytest.approx((t2i <= k + 1e-9).mean())
            assert found[f"i2t_recall_at_{k}"] == pytest.approx((i2t <= k + 1e-9).mean())
        assert (found["n_texts"], found["n_images"]) == (6, 3)


def test_retrieval_extremes():
    owner = np.repeat(np.arange(20), 5)
    perfect = (owner[:, None] == np.arange(20)).astype(float)
    assert evaluation.retrieval_recall(perfect, owner)["t2i_recall_at_1"] == 1
    assert evaluation.retrieval_recall(perfect, owner)["i2t_recall_at_1"] == 1
    assert evaluation.retrieval_recall(-perfect, owner)["t2i_recall_at_10"] == 0
    assert evaluation.retrieval_recall(0 * perfect, owner)["t2i_recall_at_5"] == 0
    with pytest.raises(ValueError, match="owner"):
        evaluation.retrieval_recall(perfect, owner + 1)


def test_retrieval_with_twins_counted_as_hits_beside_the_fields():
    """Three captions of three pictures, two of them word for word the same: a perfect model scores both of their
    pictures alike, so chance decides which stands first, and the field counts one of them as wrong."""
    words = np.array([0, 0, 1])
    belongs = words[:, None] == words[None, :]
    found = evaluation.retrieval_recall(belongs.astype(float), np.arange(3), belongs=belongs)
    assert found["t2i_recall_at_1"] == pytest.approx(1 / 3) and found["t2i_twins_recall_at_1"] == 1
    assert found["i2t_recall_at_1"] == pytest.approx(1 / 3) and found["i2t_twins_recall_at_1"] == 1
    assert found["t2i_twins_median_rank"] == 1 < found["t2i_median_rank"] and found["n_twins"] == 2


def test_retrieval_with_twins_equals_brute_force():
    random = np.random.default_rng(4)
    for _ in range(10):
        similarity, owner = random.integers(0, 3, (6, 4)).astype(float), np.array([0, 0, 1, 1, 3, 3])
        belongs = (owner[:, None] == np.arange(4)) | (random.random((6, 4)) < 0.2) & (np.arange(4) != 2)
        found = evaluation.retrieval_recall(similarity, owner, ks=(1, 2), belongs=belongs)
        assert {k: v for k, v in found.items() if "twins" not in k} == evaluation.retrieval_recall(
            similarity, owner, ks=(1, 2)
        )
        ranks = {"t2i": [brute_force_rank(similarity[t], belongs[t]) for t in range(6)],
                 "i2t": [brute_force_rank(similarity[:, i], belongs[:, i]) for i in (0, 1, 3)]}  # fmt: skip
        for way, rank in ranks.items():
            for k in (1, 2):
                assert found[f"{way}_twins_recall_at_{k}"] == pytest.approx((np.array(rank) <= k + 1e-9).mean())
    with pytest.raises(ValueError, match="belongs"):
        evaluation.retrieval_recall(similarity, owner, belongs=belongs[:5])


BOXES = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], [10, 10, 20, 20]])


def test_pointing_by_hand():
    relevance = np.array([[0.9, 0, 0, 0], [0, 0.9, 0, 0], [0, 0, 0, 0.9], [1, 1, 1, 1]])
    support = np.array([[0, 0, 10, 10], [0, 0, 10, 20], [6, 6, 9, 9], [0, 0, 20, 10]])  # 3rd holds no centre
    table = evaluation.pointing_accuracy(
        [relevance, np.ones((4, 1))], [BOXES, [[0, 0, 20, 20]]], support, scales=(10, 20)
    ).set_index("scale")
    chance = (0.25 + 0.5 + 0.5) / 3
    assert table.loc["10"].tolist() == pytest.approx([3, (1 + 0 + 0.5) / 3, chance, (1 + 0 + 0.5) / 3, chance])
    assert table.loc["20", "n_reachable"] == 0 and np.isnan(table.loc["20", "pointing"])
    assert table.loc["pooled", "pointing"] == pytest.approx(0.5)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_constant_relevance_points_at_chance(seed):
    corners = np.random.default_rng(seed).uniform(0, 20, (2, 9, 2))
    support = np.hstack([corners.min(0), corners.max(0)])
    support[0] = np.nan
    table = evaluation.pointing_accuracy([np.zeros((9, 4))], [BOXES], support)
    assert table["pointing"].equals(table["chance"])
    assert (table["n_reachable"] <= 8).all()


def test_recall_at_k_by_hand():
    scores = np.array([[0.9, 0.8, 0.1, 0.0], [0.5, 0.5, 0.5, 0.9], [0.0, 0.1, 0.2, 0.3]])
    inside = np.array([[False, True, False, False], [True, False, False, False], [True, False, False, False]])
    assert evaluation.expected_hits(scores, inside, 1).tolist() == [0, 0, 0]
    assert evaluation.expected_hits(scores, inside, 2).tolist() == pytest.approx([1, 1 / 3, 0])  # three share a place
    assert evaluation.expected_hits(scores, inside, 4).tolist() == [1, 1, 1]
    assert evaluation.expected_hits(scores, inside, 9).tolist() == [1, 1, 1]


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_recall_at_k_is_the_mean_over_random_tie_breaks(k, seed):
    random = np.random.default_rng(seed)
    scores, inside = random.integers(0, 3, (1, 6)).astype(float), random.random((1, 6)) < 0.4
    drawn = [inside[0][np.lexsort((random.permutation(6), -scores[0]))[:k]].any() for _ in range(400)]
    assert evaluation.expected_hits(scores, inside, k)[0] == pytest.approx(np.mean(drawn), abs=0.13)


def test_pointing_refuses_disagreeing_shapes():
    with pytest.raises(ValueError, match="disagree"):
        evaluation.pointing_accuracy([np.zeros((2, 3))], [BOXES], np.zeros((2, 4)))
