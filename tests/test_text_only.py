"""Text-only rows: every fold planned once, no picture asked for, lengths and cuts as said."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from rumorlib import config as cfg
from rumorlib import experiments
from rumorlib.config import RunConfig
from rumorlib.data import keys
from rumorlib.data.batches import Texts
from rumorlib.data.splitting.splits import PHEME_DEV
from rumorlib.encoders.vocabulary import CLS, SEP
from rumorlib.metrics import estimates, evaluation
from rumorlib.studies.scores import comparison, text_only
from rumorlib.training import evidence, fitting


def test_every_fold_has_every_model_and_needs_no_picture() -> None:
    plans = experiments.text_only_runs(cfg.resolve("laptop", train="none"))
    places = {(c.dataset, c.protocol) for c in plans}
    folds = {("pheme-text", f"event:{event}") for event in PHEME_DEV}
    assert places == folds | {("pheme-text", "random"), ("weibo-text", "")}
    n_rows = len(experiments.TEXT_BASELINES) + 2 * cfg.FEW_SEEDS
    cut = [c for c in plans if c.variant == experiments.CUT]
    assert {(c.dataset, c.detector.word2vec.max_length) for c in cut} == {("weibo-text", 50)}
    assert len({c.path for c in plans}) == len(plans) == len(places) * n_rows + cfg.FEW_SEEDS == 73
    of_stage1 = {(c.dataset, c.variant) for c in plans if c.stage1}
    assert of_stage1 == {("weibo-text", "text_lr")}, "the profile has no frozen encoder of Chinese"
    assert not any(c.detector.reads_image for c in plans if c.model == "dmfl")
    tokens = {c.dataset: c.detector.word2vec.tokens for c in plans if c.model == "dmfl"}
    assert tokens == {"weibo-text": "jieba", "pheme-text": "word"}


def test_real_texts_are_read_whole_but_for_the_row_that_cuts_them() -> None:
    for profile in ("laptop", "paper"):
        of = {c.variant: c.detector.word2vec for c in experiments.text_only_runs(cfg.resolve(profile, train="none"))
              if c.model == "dmfl"}  # fmt: skip
        assert {name: words.max_length for name, words in of.items()} == {
            "TCNN": experiments.WHOLE, "TTRAS": experiments.WHOLE, experiments.CUT: experiments.CUT_AT,
        }  # fmt: skip
        assert of[experiments.CUT] == dataclasses.replace(of["TCNN"], max_length=50, tokens="jieba")


def test_word_vectors_differ_in_one_thing_each() -> None:
    for profile, grid in (("demo", "full"), ("laptop", "reduced")):
        runs = experiments.word2vec_runs(cfg.resolve(profile, train="none", grid=grid))
        first, *others = (c.detector.word2vec for c in runs)
        assert first.skip_gram and first.hierarchical_softmax and len(others) == 4
        for other in others:
            assert sum(getattr(first, n) != getattr(other, n) for n in cfg.Word2VecConfig.__dataclass_fields__) == 1


def test_a_cut_text_keeps_its_first_words_between_cls_and_sep() -> None:
    ids = torch.tensor([[CLS, 5, 6, 7, 8, SEP], [CLS, 5, SEP, 0, 0, 0], [CLS, 5, 6, SEP, 0, 0]])
    cut = evidence.first_words(Texts(ids, ids != 0), 2)
    assert cut.ids.tolist() == [[CLS, 5, 6, SEP], [CLS, 5, SEP, 0], [CLS, 5, 6, SEP]]
    assert torch.equal(cut.mask, cut.ids != 0)
    whole = evidence.first_words(Texts(ids, ids != 0), 50)
    assert torch.equal(whole.ids, ids)


@pytest.fixture
def report() -> SimpleNamespace:
    """A run that is right on short texts and wrong on the longest third."""
    n = 300
    chars = np.arange(n)
    label = chars % 2
    right = chars < 200
    prob = np.where(right, label, 1 - label) * 0.8 + 0.1
    frame = pd.DataFrame({"post_id": [f"p{i}" for i in range(n)], "label": label, "split": "test", "n_chars": chars,
                          "prob_rumor": prob})  # fmt: skip
    cut = pd.DataFrame({"n_words": [5, 5], "split": ["dev", "test"], "accuracy": [0.6, 0.7], "auc": [0.6, 0.75]})
    config = RunConfig("dmfl", "weibo-text", "TCNN", profile="laptop", detector=cfg.DMFLConfig(parts="text_cnn"))
    return SimpleNamespace(
        config=config, name="x", predictions=lambda: frame, facts={}, hashes={"extras/truncated.csv": ""},
        extra=lambda name: cut,
    )  # fmt: skip


def test_lengths_tell_where_a_model_is_right(report: SimpleNamespace) -> None:
    frame = text_only.lengths([report])
    thirds = frame[frame["cut"] == "characters"]
    assert thirds["n"].tolist() == [100, 100, 100] and thirds["accuracy"].tolist() == [1, 1, 0]
    words = frame[frame["cut"] == "first words"]
    assert words[["level", "accuracy", "auc"]].values.tolist() == [["5", 0.7, 0.75]]


def test_near_duplicate_texts_count_as_one_where_there_are_no_pictures() -> None:
    table = pd.DataFrame({"post_id": list("abcd"), "label": [0, 1, 0, 1], "split": "test", "image_group": list("wxyz"),
                          "text_group": ["same", "same", "", ""], "image": list("wxyz")})  # fmt: skip
    said = np.array([-2.0, 2.0, -1.0, 1.0])
    pictures, texts = (
        evaluation.with_prob(fitting.score(posts, said, {}).predictions) for posts in (table, table.assign(image=""))
    )
    assert comparison.clusters_of(pictures) == "image_group" and "text_group" not in pictures
    assert comparison.clusters_of(texts) == "text_group"
    assert estimates.score(texts, "accuracy", ["text_group"]).posts_df == 2
    shown = keys.public_frame(texts, "weibo-text")["text_group"]
    assert shown[0] == shown[1] != "same" and shown[2] == shown[3] == ""
