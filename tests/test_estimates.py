"""Estimates, differences and claims: against brute force, formulas, and a known truth."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from compared import curve, estimate
from scipy import stats
from sklearn import metrics

from rumorlib.config import PROJECT_ROOT
from rumorlib.data.keys import image_weights
from rumorlib.metrics import curves, estimates, evaluation, left_out, statistics
from rumorlib.metrics.estimates import Estimate, Measured


def frame(seed: int = 0, n: int = 300, n_groups: int = 40) -> pd.DataFrame:
    """Posts of a model that ranks rumors a little higher, probabilities rounded: with ties."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, n)
    prob = np.round(np.clip(0.3 * label + 0.7 * random.random(n), 0, 1), 2)
    return pd.DataFrame({"post_id": [f"p{i:04d}" for i in range(n)], "label": label, "prob_rumor": prob,
                         "image_group": random.integers(0, n_groups, n).astype(str)})  # fmt: skip


# --- posts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", left_out.METRICS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_metric_without_a_cluster_is_that_of_the_other_posts(metric: str, weighted: bool) -> None:
    posts = frame(1, n=120, n_groups=15).assign(weight=1.0)
    posts["weight"] = image_weights(posts) if weighted else posts["weight"]
    codes = evaluation.group_codes(posts["image_group"])
    found = left_out.left_out(metric, left_out.trainings(posts, "weight")[0], codes)
    rest = [posts, *(posts[codes != code] for code in range(codes.max() + 1))]
    assert found == pytest.approx([evaluation.frame_metrics(one, one["weight"])[metric] for one in rest])


def test_the_interval_is_the_formulas_for_independent_posts() -> None:
    posts = frame(3, n=2000)
    found = estimates.score(posts, "accuracy")
    right = ((posts["prob_rumor"] >= 0.5) == posts["label"]).astype(float)
    half = stats.t.isf(0.025, 1999) * right.std(ddof=1) / 2000**0.5
    assert tuple(found) == pytest.approx((right.mean(), right.mean() - half, right.mean() + half))
    other = posts.assign(prob_rumor=np.random.default_rng(7).random(2000))
    apart = estimates.difference(posts, other.sample(frac=1, random_state=1), "accuracy", fixed=(True, True))
    both = right - ((other["prob_rumor"] >= 0.5) == other["label"])
    assert tuple(apart)[:2] == pytest.approx((both.mean(), both.mean() - half * both.std() / right.std()))
    assert apart.p_value() == pytest.approx(stats.ttest_1samp(both, 0).pvalue, rel=1e-3)


def test_of_two_clusterings_the_wider_counts() -> None:
    """Posts of one event are all right or all wrong."""
    event = np.repeat(np.arange(10), 40)
    right = np.random.default_rng(0).random(10)[event] < 0.6
    posts = pd.DataFrame({"label": 1, "prob_rumor": right.astype(float), "picture": np.arange(400).astype(str),
                          "event": event.astype(str)})  # fmt: skip
    halves = [estimates.score(posts, "accuracy", how).half() for how in (["picture"], ["event"], ["picture", "event"])]
    assert halves[2] == halves[1] > 3 * halves[0]


def test_the_interval_of_a_score_ends_where_scores_end() -> None:
    label = [1, 1, 1, 1, 0, 1]
    frame = pd.DataFrame({"post_id": list("abcdef"), "label": label, "prob_rumor": [0.9] * 6})
    assert estimates.score(frame, "accuracy").high == 1.0
    assert estimates.measure([frame], "accuracy").contrast([1]).high > 1.0


def test_a_cluster_without_which_nothing_is_defined_says_nothing() -> None:
    posts = frame().assign(image_group=lambda one: np.where(one["label"] == 1, "a", one["post_id"]))
    found = estimates.score(posts, "auc", ["image_group"])
    assert np.isfinite(found.low) and found.posts_df == (posts["label"] == 0).sum() - 1
    assert np.isnan(estimates.score(posts.assign(label=1), "auc").low)
    with pytest.raises(ValueError, match="metric must be"):
        estimates.score(posts, "kappa")


# --- trainings ----------------------------------------------------------------------------------


def test_trainings_are_in_the_interval_and_one_alone_decides_nothing() -> None:
    posts = frame(4)
    flipped = posts.assign(prob_rumor=1 - posts["prob_rumor"])
    runs = pd.concat([posts.assign(seed=0), flipped.sample(frac=1, random_state=0).assign(seed=1)])
    found, alone = estimates.score(runs, "auc", ["image_group"]), estimates.score(posts, "auc", ["image_group"])
    assert found.value == pytest.approx(0.5) and found.half() > 2 * alone.half()
    assert alone.lone and np.isfinite(alone.low), "a score has the interval of its posts"
    apart = estimates.difference(posts, flipped, "auc", ["image_group"])
    assert apart.value > 0.3 and np.isnan(apart.low) and apart.p_value() == 1
    assert estimates.verdict(apart.low, apart.high) == "inconclusive"
    assert not estimates.difference(posts, flipped, "auc", fixed=(True, True)).lone, "nothing is left to chance"
    with pytest.raises(ValueError, match="same posts"):
        estimates.difference(runs, posts.iloc[1:], "auc")
    with pytest.raises(ValueError, match="same posts"):
        estimates.difference(runs, posts.assign(label=1 - posts["label"]), "auc")


def test_answers_of_the_same_trainings_are_paired_seed_by_seed() -> None:
    """Each seed gains exactly a tenth, though seeds differ much: no training noise is left, and one seed can tell."""
    label, frames = np.tile([0, 1], 50), []
    for gained in (0.1, 0.0):
        rows = [pd.DataFrame({"post_id": [f"p{i:03d}" for i in range(100)], "label": label, "seed": seed,
                              "prob_rumor": np.where(np.arange(100) < 100 * (right + gained) - 1e-9, label, 1 - label)})
                for seed, right in enumerate((0.4, 0.6, 0.8))]  # fmt: skip
        frames.append(pd.concat(rows, ignore_index=True))
    same, apart = (estimates.difference(*frames, "accuracy", same_runs=how) for how in (True, False))
    assert same.value == pytest.approx(0.1) and same.training == 0 and same.low > 0 > apart.low


def test_noise_is_pooled_where_models_agree_and_only_there() -> None:
    random = np.random.default_rng(0)
    steady, wild = (tuple(sd * random.normal(size=3) + k for k in range(5)) for sd in (0.01, 0.3))
    without = (np.zeros((9, 5)) + np.arange(5),)
    alike = Measured(steady, without, (False,) * 5)
    assert alike.noise[2] and alike.ahead(1, 0).training_df == 10
    assert alike.ahead(1, 0).training >= (2 / 3 * np.mean([one.var(ddof=1) for one in steady])) ** 0.5 - 1e-12
    mixed = Measured((*steady[:3], *wild[:2]), without, (False,) * 5)
    assert not mixed.noise[2]
    welch = stats.ttest_ind(mixed.values[1], mixed.values[0], equal_var=False)
    assert mixed.ahead(1, 0).training_df == pytest.approx(welch.df)
    assert mixed.ahead(1, 0).p_value() == pytest.approx(welch.pvalue, rel=1e-3), "posts say nothing here"


def test_ensembles_are_compared_with_ensembles_of_their_size() -> None:
    random = np.random.default_rng(1)
    label = np.tile([0, 1], 200)

    def model(n: int, strength: float) -> pd.DataFrame:
        frames = []
        for seed in range(n):
            said = evaluation.to_store(40 + strength * (label - 0.5) + random.normal(size=400))  # float64 says 1
            frames.append(pd.DataFrame({"post_id": [f"p{i:03d}" for i in range(400)], "label": label, "seed": seed,
                                        "log_odds": said, "prob_rumor": evaluation.prob_of(said)}))  # fmt: skip
        return pd.concat(frames)

    many, few = model(6, 1.0), model(3, 1.0)
    found, size = estimates.ensembles(many, few, "auc")
    aucs = []
    for one in (many, few):
        said = np.stack([part["log_odds"] for _, part in one[one["seed"] < 3].groupby("seed")])
        aucs.append(metrics.roc_auc_score(label, evaluation.mean_log_odds(said)[0]))
    assert size == 3 and found.value == pytest.approx(aucs[0] - aucs[1]) and found.training > 0
    single = estimates.score(many, "auc").value
    assert aucs[0] > single + 0.03, "an ensemble is better than the mean of its members"
    assert found.low < 0 < found.high


# --- claims -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "low, high, above, expected",
    [(0.6, 0.7, True, "reproduced"), (0.3, 0.4, True, "not reproduced"), (0.4, 0.6, True, "inconclusive"),
     (0.3, 0.4, False, "reproduced"), (0.6, 0.7, False, "not reproduced"), (0.5, 0.7, True, "inconclusive"),
     (0.4, 0.5, True, "not reproduced"), (0.5, 0.6, False, "not reproduced"), (0.5, 0.5, True, "not reproduced"),
     (np.nan, np.nan, True, "inconclusive")],
)  # fmt: skip
def test_a_verdict_is_the_side_on_which_the_interval_lies(low, high, above, expected) -> None:
    assert estimates.verdict(low, high, 0.5, above) == expected


def test_no_difference_needs_a_margin() -> None:
    said = [
        estimates.equivalence(*ends, 0.02, 0.5) for ends in ((0.49, 0.51), (0.45, 0.51), (0.53, 0.6), (np.nan,) * 2)
    ]
    assert said == ["reproduced", "inconclusive", "not reproduced", "inconclusive"]


def test_the_p_value_is_where_the_interval_ends() -> None:
    found = Estimate(0.1, 0.04, 30, 0.03, 2.5)
    assert found.half(found.p_value()) == pytest.approx(0.1) and (found.p_value() < 0.05) == (found.low > 0)
    assert estimate(0, 0.2).p_value() == pytest.approx(0.05) and estimate(-1, 1).p_value() == 1
    assert estimates.holm([0.01, np.nan, 0.04, 0.03]).tolist() == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)


@pytest.mark.parametrize(
    ("means", "said", "shape"),
    [
        ([0.6, 0.7, 0.6, 0.6, 0.6], "reproduced", "reproduced"),
        ([0.6, 0.7, 0.8, 0.7, 0.6], "not reproduced", "reproduced"),
        ([0.6, 0.6, 0.6, 0.6, 0.6], "inconclusive", "inconclusive"),
        ([0.7, 0.6, 0.6, 0.6, 0.7], "not reproduced", "not reproduced"),
        ([0.5, 0.6, 0.7, 0.8, 0.9], "not reproduced", "not reproduced"),
    ],
)
def test_claims_about_curves(means: list[float], said: str, shape: str) -> None:
    assert curves.best(curve(means, 0.01), 1).verdict == said
    assert curves.rises_then_falls(curve(means, 0.01)) == shape
    assert curves.best(curve(means, 0.01, seeds=1), 1).verdict == "inconclusive"
    assert curves.rises_then_falls(curve(means, 0.1)) == "inconclusive"


def test_error_rates_are_those_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small part of the benchmark: where there is nothing, hardly anything is decided, and intervals cover."""
    monkeypatch.syspath_prepend(str(PROJECT_ROOT / "benchmarks"))
    rates = importlib.import_module("error_rates")
    for world in (rates.World("pictures", 100, 0.05, (3, 3)), rates.World("events, effects", 200, 0.02, (10, 3))):
        answers = [rates.differs(0.0)(world, np.random.default_rng([7, k])) for k in range(60)]
        assert np.mean([one.wrong for one in answers]) <= 0.1 and np.mean([one.covered for one in answers]) >= 0.9
    world = rates.World("pictures", 300, 0.02, (3, 3))
    assert np.mean([rates.differs(0.2)(world, np.random.default_rng(k)).right for k in range(20)]) > 0.8
    lone = replace(world, seeds=(1, 1))
    assert not any(rates.differs(0.2)(lone, np.random.default_rng(k)).right for k in range(5))


def test_a_rule_has_a_bootstrap_of_its_clusters() -> None:
    posts = frame(3).assign(weight=lambda one: image_weights(one))
    found = statistics.cluster_bootstrap(posts, "balanced_accuracy", "image_group", n=400, weight="weight")
    expected = evaluation.image_macro_metrics(posts)["image_macro_balanced_accuracy"]
    own = estimates.score(posts, "balanced_accuracy", ["image_group"], "weight")
    assert found.estimate == pytest.approx(expected) and found.high - found.low == pytest.approx(
        2 * own.half(), rel=0.2
    )
