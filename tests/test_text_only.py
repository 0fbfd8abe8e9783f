"""Text-only rows: every fold planned once, no picture asked for, lengths and cuts as said."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rumorlib import config as cfg
from rumorlib import experiments
from rumorlib.config import RunConfig
from rumorlib.data import keys
from rumorlib.data.batches import Texts
from rumorlib.data.splitting.splits import PHEME_DEV
from rumorlib.encoders.vocabulary import CLS, PAD, SEP, SPECIAL, UNK, Vocabulary, tokenize
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


# --- Vocabulary: what a word is, in which order words are numbered, what truncation keeps ---


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A cat FLEW away!", ["a", "cat", "flew", "away"]),
        ("see https://example.org/a?b=1, now", ["see", "<url>", "now"]),
        ("@Some_One said: #BreakingNews 24", ["<user>", "said", "breakingnews", "24"]),
        ("don\u2019t mail me@example.org", ["don't", "mail", "me", "example", "org"]),
        ("\uff21\uff11", ["a1"]),  # full-width letters are folded
        ("", []),
        ("?! ...", []),
    ],
)
def test_word_tokens(text, tokens):
    assert tokenize(text, "word") == tokens


def test_char_tokens_are_single_ideographs_and_whole_latin_runs():
    assert tokenize("一只猫 iPhone12 飞走了! http://t.cn/x1", "char") == [*"一只猫", "iphone12", *"飞走了", "<url>"]


def test_jieba_segments_silently_into_its_own_cache(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("RUMORLIB_CACHE", str(tmp_path))
    from rumorlib.encoders import vocabulary

    vocabulary._segmenter.cache_clear()
    tokens = tokenize("我来到北京清华大学, @某人 http://t.cn/abc", "jieba")
    vocabulary._segmenter.cache_clear()
    assert tokens == ["我", "来到", "北京", "清华大学", "<user>", "<url>"]
    assert capfd.readouterr() == ("", "")
    assert len(list((tmp_path / "jieba").glob("jieba-*.cache"))) == 1


def test_unknown_unit():
    with pytest.raises(ValueError, match="unit must be one of"):
        tokenize("a", "byte")


def test_order_is_count_then_spelling_and_does_not_depend_on_text_order():
    texts = ["b a", "c b", "d c", "b"]
    assert Vocabulary.build(texts).words == (*SPECIAL, "b", "c", "a", "d")
    assert Vocabulary.build(texts[::-1]) == Vocabulary.build(texts)


def test_min_count_and_max_size():
    texts = ["a a a b b c"]
    assert Vocabulary.build(texts, min_count=2).words[4:] == ("a", "b")
    assert Vocabulary.build(texts, max_size=1).words[4:] == ("a",)


def test_encode_pads_right_and_keeps_cls_and_sep_when_cut():
    vocabulary = Vocabulary.build(["a b c d"])
    ids, mask = vocabulary.encode(["a", "a b c d", "", "zzz"], max_length=4, cls=True, sep=True)
    a, b = vocabulary.index["a"], vocabulary.index["b"]
    assert ids.tolist() == [[CLS, a, SEP, PAD], [CLS, a, b, SEP], [CLS, SEP, PAD, PAD], [CLS, UNK, SEP, PAD]]
    assert ids.dtype == torch.long and mask.dtype == torch.bool
    assert torch.equal(mask, ids != PAD)


def test_encode_without_marks_and_without_room():
    vocabulary = Vocabulary.build(["a b"])
    assert vocabulary.encode(["b a b"], max_length=2)[0].tolist() == [[vocabulary.index["b"], vocabulary.index["a"]]]
    with pytest.raises(ValueError, match="no room"):
        vocabulary.encode(["a"], max_length=2, cls=True, sep=True)


def test_coverage_counts_running_tokens():
    vocabulary = Vocabulary.build(["a b"])
    assert vocabulary.coverage(["a a a z"]) == 0.75
    assert vocabulary.coverage([""]) == 0.0


@given(st.lists(st.text(max_size=30), max_size=5), st.sampled_from(["word", "char"]))
def test_own_texts_are_covered(texts, unit):
    vocabulary = Vocabulary.build(texts, unit)
    assert vocabulary.coverage(texts) == float(any(tokenize(text, unit) for text in texts))


def test_refuses_what_is_no_vocabulary():
    with pytest.raises(ValueError, match="starts with"):
        Vocabulary(("a", "b"))
    with pytest.raises(ValueError, match="twice"):
        Vocabulary((*SPECIAL, "a", "a"))
