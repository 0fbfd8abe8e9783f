"""Metrics, intervals, tests, retrieval and pointing: against scikit-learn, brute force and simulation."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from rumorlib.data.keys import image_weights
from rumorlib.metrics import evaluation, statistics
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
        assert statistics.cluster_bootstrap(stored, name, None, n=2).estimate == pytest.approx(scores[name])


def test_the_seeds_mean_of_sure_models_still_ranks():
    posts, said = margins(centre=80.0)
    seeds = pd.concat([sure(posts.assign(prob_rumor=z), 0).assign(seed=s) for s, z in enumerate((said, said + 1))])
    mean = statistics.seed_mean(seeds)
    assert (mean["prob_rumor"] == 1).all()
    # log-odds of the mean of two probabilities 1 - exp(-z) and 1 - exp(-z - 1)
    z = evaluation.to_store(said)
    assert mean["log_odds"].to_numpy() == pytest.approx(z - np.log((1 + np.exp(-1.0)) / 2), abs=2e-4)
    few, odds = posts.iloc[:3].assign(prob_rumor=[-1.0, 0.0, 2.0]), (0.5, -0.7)
    pair = pd.concat([sure(few.assign(prob_rumor=few["prob_rumor"] + z), 0).assign(seed=z) for z in odds])
    mean = statistics.seed_mean(pair)
    assert evaluation.prob_of(mean["log_odds"]) == pytest.approx(pair.groupby("post_id")["prob_rumor"].mean())


def test_models_are_compared_on_what_they_said():
    posts, said = margins(centre=80.0)
    good = sure(posts.assign(prob_rumor=said), 0)
    chance = sure(posts.assign(prob_rumor=80 + np.random.default_rng(1).normal(size=len(posts))), 0)
    right = [metrics.roc_auc_score(posts["label"], one["log_odds"]) for one in (good, chance)]
    test = statistics.paired_permutation(good, chance, "image_group", "auc", n=200)
    assert test.difference == pytest.approx(right[0] - right[1]) and test.p_value < 0.05
    interval = statistics.paired_interval(good, chance, "image_group", "auc")
    assert interval.estimate == pytest.approx(test.difference) and interval.low > 0.2


def test_a_run_of_probabilities_alone_is_compared_on_its_log_odds():
    posts, said = margins(centre=0.0)
    new = sure(posts.assign(prob_rumor=said), 0)
    old = new.drop(columns="log_odds").assign(prob_rumor=new["prob_rumor"].round(4))
    same = statistics.paired_permutation(new, old, None, "auc", n=50)
    assert abs(same.difference) < 1e-4
    swapped = [statistics.paired_permutation(*pair, "image_group", "auc", n=99).p_value for pair in ((new, old),) * 2]
    assert swapped[0] == swapped[1]
    mixed = pd.concat([new.assign(seed=0), old.assign(seed=1)])
    assert "log_odds" not in statistics.seed_mean(mixed)
    assert statistics.cluster_bootstrap(mixed, "auc", None, n=2).estimate == pytest.approx(
        metrics.roc_auc_score(posts["label"], said), abs=1e-4
    )


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


# --- bootstrap ------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", statistics.METRICS)
def test_weighted_metrics_equal_repeated_rows(metric):
    posts = frame(1, n=120, n_groups=15)
    codes = evaluation.group_codes(posts["image_group"])
    counts = np.random.default_rng(2).integers(0, 4, (7, codes.max() + 1)).astype(float)
    for known in (posts, sure(posts)):
        arrays = known["label"], known["prob_rumor"], *evaluation.ranks_of(known), np.ones(len(known))
        found = statistics._metric(metric, statistics.Arrays(*map(np.asarray, arrays)), codes, counts)
        for value, count in zip(found, counts, strict=True):
            rows = known.loc[known.index.repeat(count[codes].astype(int))]
            assert value == pytest.approx(evaluation.frame_metrics(rows)[metric])


def test_bootstrap_with_image_weights_estimates_the_image_macro_metric():
    posts = frame(3)
    posts["weight"] = image_weights(posts)
    interval = statistics.cluster_bootstrap(posts, "auc", "image_group", n=200, weight="weight")
    assert interval.estimate == pytest.approx(evaluation.image_macro_metrics(posts)["image_macro_auc"])
    assert interval.low < interval.estimate < interval.high
    assert interval == statistics.cluster_bootstrap(posts, "auc", "image_group", n=200, weight="weight")


def test_bootstrap_crosses_clusters_and_seeds():
    posts = frame(4)
    flipped = posts.assign(prob_rumor=1 - posts["prob_rumor"])
    runs = pd.concat([posts.assign(seed=0), flipped.sample(frac=1, random_state=0).assign(seed=1)])
    interval = statistics.cluster_bootstrap(runs, "auc", "image_group", n=400)
    assert interval.estimate == pytest.approx(0.5)
    alone = statistics.cluster_bootstrap(posts, "auc", "image_group", n=400)
    assert interval.high - interval.low > 2 * (alone.high - alone.low)  # seeds disagree: their draw is in the interval
    with pytest.raises(ValueError, match="same posts"):
        statistics.cluster_bootstrap(runs.iloc[1:], "auc", "image_group", n=10)


def test_bootstrap_covers_clustered_data_where_the_naive_one_does_not():
    random = np.random.default_rng(5)
    covered = {"cluster": 0, None: 0}
    for trial in range(120):
        skill = random.beta(2, 2, 40)  # share of right answers per cluster, mean 0.5
        cluster = np.repeat(np.arange(40), 25)
        right = random.random(1000) < skill[cluster]
        posts = pd.DataFrame({"label": 1, "prob_rumor": right.astype(float), "cluster": cluster.astype(str)})
        for clusters in covered:
            interval = statistics.cluster_bootstrap(posts, "accuracy", clusters, n=200, seed=trial)
            covered[clusters] += interval.low <= 0.5 <= interval.high
    assert covered["cluster"] / 120 > 0.87
    assert covered[None] / 120 < 0.75


def test_bootstrap_without_a_class_has_no_bounds():
    posts = frame().assign(label=1)
    interval = statistics.cluster_bootstrap(posts, "auc", "image_group", n=20)
    assert np.isnan(interval).all()
    with pytest.raises(ValueError, match="metric must be"):
        statistics.cluster_bootstrap(posts, "kappa", "image_group", n=20)


def test_t_interval():
    mean, low, high = statistics.t_interval([0.1, 0.2, 0.3])
    assert (mean, low, high) == pytest.approx((0.2, 0.2 - 4.302653 * 0.1 / 3**0.5, 0.2 + 4.302653 * 0.1 / 3**0.5))
    assert np.isnan(statistics.t_interval([0.4]).low)


# --- comparisons ----------------------------------------------------------------------------


def test_permutation_is_exact_on_few_clusters():
    posts = frame(6, n=60, n_groups=6)
    other = posts.assign(prob_rumor=np.random.default_rng(7).random(60))
    test = statistics.paired_permutation(posts, other.sample(frac=1, random_state=1), "image_group")
    right = [((f["prob_rumor"] >= 0.5) == f["label"]).astype(float) for f in (posts, other)]
    per_cluster = (right[0] - right[1]).groupby(posts["image_group"]).sum() / 60
    signs = np.array(list(itertools.product([1, -1], repeat=6)))
    extreme = np.abs(signs @ per_cluster.to_numpy()) >= abs(per_cluster.sum()) - 1e-12
    assert test == pytest.approx((per_cluster.sum(), extreme.mean(), 6))


@pytest.mark.parametrize("metric", ["accuracy", "auc"])
def test_permutation_level_and_power(metric):
    p_null, p_real = [], []
    for seed in range(60):
        posts, other = frame(seed), frame(seed)
        random = np.random.default_rng(seed + 1000)
        noise = pd.Series(random.normal(0, 0.2, 300))
        posts["prob_rumor"] = (posts["prob_rumor"] + noise.sample(frac=1, random_state=seed).to_numpy()).clip(0, 1)
        other["prob_rumor"] = (other["prob_rumor"] + noise).clip(0, 1)
        p_null.append(statistics.paired_permutation(posts, other, "image_group", metric, n=199).p_value)
        if seed < 5:
            chance = other.assign(prob_rumor=random.random(300))
            p_real.append(statistics.paired_permutation(posts, chance, "image_group", metric, n=199).p_value)
    assert np.mean(np.array(p_null) <= 0.05) <= 0.15
    assert max(p_real) <= 0.02


def test_permutation_averages_seeds_and_wants_the_same_posts():
    posts = frame(8)
    runs = pd.concat([posts.assign(seed=0, prob_rumor=0.0), posts.assign(seed=1, prob_rumor=1.0)])
    constant = posts.assign(prob_rumor=0.5)
    assert statistics.paired_permutation(runs, constant, "image_group", n=50)[:2] == (0.0, 1.0)
    with pytest.raises(ValueError, match="same posts"):
        statistics.paired_permutation(posts, posts.iloc[1:], "image_group")


def test_the_interval_of_a_difference_is_the_formulas_for_independent_posts():
    """Around the difference that the permutation test names, whatever the order of rows; a model beside itself: 0."""
    posts = frame(3, n=2000, n_groups=2000).assign(image_group=[f"g{i}" for i in range(2000)])
    other = posts.assign(prob_rumor=np.random.default_rng(7).random(2000))
    found = statistics.paired_interval(posts, other.sample(frac=1, random_state=1), "image_group", "accuracy")
    right = [((f["prob_rumor"] >= 0.5) == f["label"]).astype(float) for f in (posts, other)]
    difference = right[0] - right[1]
    half = 1.96 * difference.std() / 2000**0.5
    assert found == pytest.approx((difference.mean(), difference.mean() - half, difference.mean() + half), abs=half / 5)
    test = statistics.paired_permutation(posts, other, "image_group", n=99)
    assert found.estimate == pytest.approx(test.difference)
    assert statistics.paired_interval(posts, posts, "image_group", "auc") == (0, 0, 0)
    seeds = pd.concat([posts.assign(seed=0), posts.assign(seed=1)])
    assert statistics.paired_interval(seeds, other, "image_group", "accuracy") == pytest.approx(found)


def test_holm_by_hand():
    table = statistics.holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert table["p_holm"].tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert table["significant"].tolist() == [True, False, False]
    with pytest.raises(ValueError, match="p-values"):
        statistics.holm({"a": np.nan})


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


@pytest.mark.parametrize(
    "low, high, above, expected",
    [(0.6, 0.7, True, "reproduced"), (0.3, 0.4, True, "not reproduced"), (0.4, 0.6, True, "inconclusive"),
     (0.3, 0.4, False, "reproduced"), (0.6, 0.7, False, "not reproduced"), (0.5, 0.7, True, "inconclusive"),
     (0.4, 0.5, True, "not reproduced"), (0.5, 0.6, False, "not reproduced"), (0.5, 0.5, True, "not reproduced"),
     (np.nan, np.nan, True, "inconclusive")],
)  # fmt: skip
def test_a_verdict_is_the_side_on_which_the_interval_lies(low, high, above, expected):
    assert statistics.verdict(low, high, 0.5, above) == expected
