"""Baselines learn the cue that is planted, and nothing where none is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import instead
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from rumorlib import experiments, inputs
from rumorlib.config import BASELINE_C, BaselineConfig
from rumorlib.models import baselines
from rumorlib.models.baselines import Features, choose, fit_predict
from rumorlib.training import kinds

C = BASELINE_C["tfidf_lr"]
WORDS = ["river", "market", "police", "storm", "bridge", "school", "train", "night"]


def split(seed, n=300, cue="none"):
    """Random posts; `cue` alone depends on the label."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, n)
    texts = [" ".join(random.choice(WORDS, 6)) for _ in range(n)]
    text_features, image_features = random.normal(size=(n, 16)), random.normal(size=(n, 24))
    relevance = [random.normal(size=(n, 9)), random.normal(size=(n, 4))]
    if cue == "surface":
        texts = [text + "!!" * int(y) for text, y in zip(texts, label, strict=True)]
    if cue == "words":
        texts = [text + (" hoax" if y else " official") for text, y in zip(texts, label, strict=True)]
    if cue == "chinese":
        texts = ["今天" + ("谣言传开" if y else "官方通报") + text for text, y in zip(texts, label, strict=True)]
    if cue == "text":
        text_features[:, 3] += 3 * label
    if cue == "image":
        image_features[:, 5] += 3 * label
    if cue == "relevance":
        relevance[1] -= 2 * label[:, None]
    return Features(label, texts, text_features, image_features, relevance)


def auc(kind, cue, language="en"):
    train, test = split(0, cue=cue), split(1, cue=cue)
    config, _ = choose(BaselineConfig(kind), train, split(2, cue=cue), language)
    log_odds = fit_predict(config, train, {"test": test}, language)["test"]
    assert log_odds.shape == (300,) and np.isfinite(log_odds).all() and log_odds.dtype == np.float64
    return roc_auc_score(test.label, log_odds)


@pytest.mark.parametrize(
    ("kind", "cue", "language"),
    [
        ("tfidf_lr", "words", "en"),
        ("tfidf_lr", "chinese", "zh"),
        ("surface_lr", "surface", "en"),
        ("text_lr", "text", "en"),
        ("image_lr", "image", "en"),
        ("text_image_lr", "image", "en"),
        ("text_image_lr", "text", "en"),
        ("relevance_lr", "relevance", "en"),
    ],
)
def test_planted_cue_is_learned(kind, cue, language):
    assert auc(kind, cue, language) > 0.9


@pytest.mark.parametrize(
    ("kind", "cue"),
    [
        ("tfidf_lr", "image"),
        ("surface_lr", "image"),
        ("text_lr", "image"),
        ("image_lr", "text"),
        ("relevance_lr", "words"),
        ("text_image_lr", "none"),
        ("tfidf_lr", "surface"),  # words do not see punctuation
    ],
)
def test_nothing_is_learned_from_what_is_not_there(kind, cue):
    assert 0.38 < auc(kind, cue) < 0.62


def test_majority_is_the_weighted_share_of_rumors():
    train = Features([1, 0, 0], weight=[4, 1, 1])
    said = fit_predict(BaselineConfig("majority"), train, {"dev": Features([0, 1]), "test": Features([1])})
    assert said["dev"].tolist() == pytest.approx([np.log(2)] * 2) and len(said["test"]) == 1  # 2 rumors to 1 other
    alone = fit_predict(BaselineConfig("majority"), Features([1, 1]), {"test": Features([1])})
    assert alone["test"].tolist() == pytest.approx([36.04], abs=0.01), "a share of 1 is one eps away from it"


def test_log_odds_are_those_of_scikit_learn():
    train, test = split(0, cue="image"), split(1, cue="image")
    said = fit_predict(BaselineConfig("image_lr", 1.0), train, {"test": test})["test"]
    scale = StandardScaler().fit(train.image_features)
    model = LogisticRegression(C=1.0, max_iter=2000).fit(scale.transform(train.image_features), train.label)
    assert said == pytest.approx(model.predict_log_proba(scale.transform(test.image_features)) @ [-1, 1], abs=1e-6)
    trees = fit_predict(BaselineConfig("image_forest"), train, {"train": train, "test": test})
    votes = 60 / (1 + np.exp(-trees["test"]))
    assert votes == pytest.approx(votes.round(), abs=1e-9), "shares of 60 trees"
    assert np.abs(trees["train"]) == pytest.approx(36.04, abs=0.01), "they know train by heart: exactly 0 or 1"


@pytest.mark.parametrize("kind", ["tfidf_lr", "surface_lr", "image_lr"])
def test_same_input_same_output(kind):
    train, test = split(0, cue="image"), split(1, cue="image")
    config = BaselineConfig(kind, 1.0)
    first, second = (fit_predict(config, train, {"test": test})["test"] for _ in range(2))
    assert np.array_equal(first, second)


def test_weight_of_two_equals_a_second_copy():
    train, test = split(0, n=60, cue="image"), split(1)
    twice = np.r_[np.arange(60), np.arange(20)]
    copied = Features(np.asarray(train.label)[twice], image_features=train.image_features[twice])
    weighted = Features(train.label, image_features=train.image_features, weight=np.r_[np.full(20, 2), np.ones(40)])
    # weights are rescaled to mean 1, so C is scaled to keep the sum of losses the same
    prob = [
        fit_predict(BaselineConfig("image_lr", c), features, {"test": test})["test"]
        for features, c in ((copied, 0.3), (weighted, 0.3 * 80 / 60))
    ]
    assert prob[0] == pytest.approx(prob[1], abs=1e-2)


def test_test_labels_are_never_read():
    train, test = split(0, cue="image"), split(1, cue="image")
    hidden = Features(np.zeros(300), image_features=test.image_features)
    first, second = (fit_predict(BaselineConfig("image_lr"), train, {"test": t})["test"] for t in (test, hidden))
    assert np.array_equal(first, second)


def test_surface_counts_by_hand():
    table = baselines.surface_counts(
        [
            "RT @Ann: BREAKING!! is it true? #Storm #sea http://t.co/aB1?x=#9 2 dead",
            "#暴雨# 转发@小明 真的吗？！！//@小红 见 http://t.cn/R12真",
            "\uff03全角\uff03 \uff20某人 ok",
            "",
        ]
    )
    first, second, third, empty = table.to_dict("records")
    assert (first["n_hashtags"], first["n_mentions"], first["n_links"], first["n_retweets"]) == (2, 1, 1, 1)
    assert (first["n_exclamations"], first["n_questions"], first["n_digits"]) == (2, 1, 1)
    assert first["uppercase_share"] == pytest.approx(12 / 33)
    assert (second["n_hashtags"], second["n_mentions"], second["n_links"], second["n_retweets"]) == (1, 2, 1, 1)
    assert (second["n_exclamations"], second["n_questions"], second["n_digits"]) == (2, 1, 0)
    assert (third["n_hashtags"], third["n_mentions"], third["uppercase_share"]) == (1, 1, 0)
    assert set(empty.values()) == {0}


def test_pooled_maps_follow_the_posts():
    maps = torch.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2).half()
    found = baselines.pooled(maps, rows=[1, 0, 1])
    assert found.dtype == np.float32
    assert np.allclose(found, maps.float().mean((2, 3)).numpy()[[1, 0, 1]])


def test_errors_name_what_is_missing():
    train = split(0)
    with pytest.raises(ValueError, match="both classes"):
        fit_predict(BaselineConfig("surface_lr"), Features(np.ones(300), train.texts), {})
    with pytest.raises(ValueError, match="image_features"):
        fit_predict(BaselineConfig("image_lr"), Features(train.label, train.texts), {})
    with pytest.raises(ValueError, match="300 labels"):
        fit_predict(BaselineConfig("tfidf_lr", 1.0), Features(train.label, train.texts[1:]), {})
    with pytest.raises(ValueError, match="language"):
        fit_predict(BaselineConfig("tfidf_lr", 1.0), train, {}, language="fr")
    with pytest.raises(ValueError, match="takes one on dev"):
        fit_predict(BaselineConfig("tfidf_lr"), train, {})


def test_the_stored_config_names_the_value_of_c():
    assert BaselineConfig("image_lr").inverse_regularisation == BASELINE_C["image_lr"]
    assert BaselineConfig("relevance_lr").inverse_regularisation == 1.0
    for wrong in (0.0, (), (1.0, -1.0)):
        with pytest.raises(ValueError, match="above 0"):
            BaselineConfig("image_lr", wrong)


def test_the_lowest_dev_loss_chooses_c():
    train = split(0, cue="words")
    config, tried = choose(BaselineConfig("tfidf_lr"), train, split(1, cue="words"))
    assert tuple(tried["inverse_regularisation"]) == C
    assert config.inverse_regularisation == max(C), "one word tells all: the weaker the better"
    reversed_dev = split(1, cue="words")
    reversed_dev = Features(1 - reversed_dev.label, reversed_dev.texts)
    config, _ = choose(BaselineConfig("tfidf_lr"), train, reversed_dev)
    assert config.inverse_regularisation == min(C), "every step towards train is wrong there"


def test_a_dev_post_of_no_weight_has_no_say():
    train, dev = split(0, cue="words"), split(1, n=100, cue="words")
    mixed = Features(np.r_[dev.label, 1 - dev.label], dev.texts * 2, weight=np.r_[np.ones(100), np.zeros(100)])
    first, second = (choose(BaselineConfig("tfidf_lr"), train, one)[1] for one in (dev, mixed))
    assert np.allclose(first, second)


def test_a_fixed_c_is_kept():
    given = BaselineConfig("image_lr")
    config, tried = choose(given, split(0), split(1))
    assert config == given and tried.empty


def test_a_row_reads_no_test_label_and_stores_how_its_c_was_chosen(few_drawn, monkeypatch):
    corpus = inputs.corpus("demo-en", few_drawn)
    config = experiments.baseline(few_drawn, "demo-en", "tfidf_lr")
    flipped = corpus.posts["label"].where(corpus.posts["split"] != "test", 1 - corpus.posts["label"])
    outcomes = []
    for posts in (corpus.posts, corpus.posts.assign(label=flipped)):
        instead(monkeypatch, inputs.corpus_of, lambda *_, posts=posts: replace(corpus, posts=posts))
        outcomes.append(kinds.run(config, few_drawn))
    first, second = outcomes
    assert first.predictions["log_odds"].equals(second.predictions["log_odds"])
    assert first.history.equals(second.history) and tuple(first.history["inverse_regularisation"]) == C
    chosen = first.history.set_index("inverse_regularisation")["dev_loss"]
    assert first.facts["inverse_regularisation"] == chosen.idxmin()
    assert first.metrics["dev"]["log_loss"] == pytest.approx(chosen.min(), abs=1e-3)
    assert first.metrics["test"]["accuracy"] != second.metrics["test"]["accuracy"]


def test_texts_that_say_nothing_get_the_strongest_regularisation():
    texts = ["the same words"] * 40
    train = Features(np.arange(40) % 2, texts)
    config, tried = choose(BaselineConfig("tfidf_lr"), train, train)
    assert config.inverse_regularisation == min(C) and tried["dev_loss"].nunique() == 1
