"""Vocabulary: what a word is, in which order words are numbered, what truncation keeps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rumorlib.encoders.vocabulary import CLS, PAD, SEP, SPECIAL, UNK, Vocabulary, tokenize


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
