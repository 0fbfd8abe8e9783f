"""Word vectors: Eq. 2 is a distribution, training repeats bit for bit, files are read or refused clearly."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from rumorlib.config import Word2VecConfig
from rumorlib.encoders.vocabulary import CLS, PAD, SEP, SPECIAL, UNK, Vocabulary
from rumorlib.encoders.word2vec import (
    closeness,
    distances,
    hierarchical_softmax_probabilities,
    load_vectors,
    train_skip_gram,
    train_word2vec,
)

pytest.importorskip("gensim")
CONFIG = Word2VecConfig(d_word=12, epochs=3)
TOKENS = [["red", "cat", "left"], ["blue", "cat", "right"], ["red", "dog", "left", "rare"], []] * 5


def test_eq_2_is_a_distribution_over_the_vocabulary():
    model = train_skip_gram(TOKENS, CONFIG, seed=0)
    for word in model.wv.index_to_key:
        probabilities = hierarchical_softmax_probabilities(model, word)
        assert probabilities.shape == (7,) and (probabilities > 0).all()
        assert probabilities.sum() == pytest.approx(1, abs=1e-12)


def test_eq_2_learns_its_corpus():
    model = train_skip_gram([["a", "b"], ["c", "d"]] * 50, replace(CONFIG, epochs=40), seed=0)
    likely = {w: model.wv.index_to_key[hierarchical_softmax_probabilities(model, w).argmax()] for w in "abcd"}
    assert likely == {"a": "b", "b": "a", "c": "d", "d": "c"}


def test_eq_2_needs_the_tree():
    model = train_skip_gram(TOKENS, replace(CONFIG, hierarchical_softmax=False), seed=0)
    with pytest.raises(ValueError, match="hierarchical_softmax"):
        hierarchical_softmax_probabilities(model, "cat")


def test_rows_follow_the_vocabulary():
    matrix, facts = train_word2vec(TOKENS, CONFIG, seed=0)
    vocabulary = Vocabulary.from_tokens(TOKENS)
    model = train_skip_gram(TOKENS, CONFIG, seed=0)
    assert matrix.shape == (len(vocabulary), 12) and matrix.dtype == np.float32
    for word in vocabulary.words[4:]:
        np.testing.assert_array_equal(matrix[vocabulary.index[word]], model.wv[word])
    assert not matrix[PAD].any()
    assert all(matrix[i].any() for i in (UNK, CLS, SEP))
    assert facts["coverage"] == 1 and facts["n_tokens"] == 50 and facts["n_dropped_tokens"] == 0


def test_words_outside_the_vocabulary_are_not_trained():
    vocabulary = Vocabulary.from_tokens(TOKENS, min_count=6)
    matrix, facts = train_word2vec(TOKENS, CONFIG, seed=0, vocabulary=vocabulary)
    assert "rare" not in vocabulary and len(matrix) == len(vocabulary)
    assert facts["n_dropped_tokens"] == 20  # blue, right, dog and rare: five times each


def test_no_tokens():
    with pytest.raises(ValueError, match="at least one token"):
        train_word2vec([[], []], CONFIG, seed=0)


def test_one_word_alone_is_refused_where_gensim_would_hang():
    with pytest.raises(ValueError, match="two different words"):
        train_word2vec([["a"], ["a", "a"]], CONFIG, seed=0)


def test_seed_decides():
    assert np.array_equal(train_word2vec(TOKENS, CONFIG, seed=0)[0], train_word2vec(TOKENS, CONFIG, seed=0)[0])
    assert not np.array_equal(train_word2vec(TOKENS, CONFIG, seed=0)[0], train_word2vec(TOKENS, CONFIG, seed=1)[0])


def test_equal_across_interpreters():
    code = (
        "from rumorlib.config import Word2VecConfig as C; from rumorlib.encoders.word2vec import train_word2vec as t;"
        "print(t([['red','cat','left'],['blue','cat','right']]*9, C(d_word=12), seed=0)[1]['sha256'])"
    )
    here = train_word2vec([["red", "cat", "left"], ["blue", "cat", "right"]] * 9, Word2VecConfig(d_word=12), seed=0)[1]
    other = os.environ | {"PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"}
    done = subprocess.run([sys.executable, "-c", code], env=other, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == here["sha256"]


def write(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("header", [[], ["3 2"]])
def test_load_vectors_with_and_without_header(tmp_path, header):
    vocabulary = Vocabulary.build(["cat dog bird"])
    lines = [*header, "cat 1 2", "[PAD] 7 7", "a b 5 6", "dog 3 4 ", "cat 9 9"]
    matrix, facts = load_vectors(write(tmp_path / "w.vec", lines), vocabulary, d_word=2)
    assert matrix[vocabulary.index["cat"]].tolist() == [1, 2]  # the first of two entries counts
    assert matrix[vocabulary.index["dog"]].tolist() == [3, 4]
    assert not matrix[PAD].any() and matrix[vocabulary.index["bird"]].any()
    assert facts["coverage"] == pytest.approx(2 / 3) and facts["source"] == "w.vec"
    again, _ = load_vectors(tmp_path / "w.vec", vocabulary, d_word=2)
    np.testing.assert_array_equal(matrix, again)


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("w.bin", ["cat 1 2"], "only text vectors"),
        ("w.txt", ["cat 1"], "w.txt, line 1: expected a word and 3 numbers, got 2 fields"),
        ("w.txt", ["dog 1 2 3", "cat 1 x 2"], "line 2: not 3 numbers"),
        ("w.txt", ["cat 1 nan 2"], "not finite"),
        ("w.txt", ["cow 1 2 3"], "none of the"),
        ("w.txt", ["10 2", "cat 1 2"], "line 2: expected a word and 3 numbers, got 3 fields"),
    ],
)
def test_load_vectors_refuses(tmp_path, name, lines, message):
    vocabulary = Vocabulary.build(["cat dog"])
    with pytest.raises(ValueError, match=message):
        load_vectors(write(tmp_path / name, lines), vocabulary, d_word=3)


def test_load_vectors_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="train them"):
        load_vectors(tmp_path / "none.vec", Vocabulary.build(["cat"]))


def test_distances_by_hand() -> None:
    apart, count = distances([["a", "b", "x", "c"], ["a", "c", "a"], ["b"]], ["a", "b", "c"])
    assert apart[0, 1] == 1 and apart[0, 2] == 2 and apart[1, 2] == 2  # a-c: 3 and 1
    assert count[0, 2] == 2 and count[0, 1] == 1 and np.isnan(np.diag(apart)).all()


def test_vectors_that_follow_distance_correlate_and_noise_does_not() -> None:
    random = np.random.default_rng(0)
    words = [f"w{i:02d}" for i in range(30)]
    texts = [words[start : start + 12] for start in random.integers(0, 19, 400)]
    lexicon = Vocabulary.from_tokens(texts)
    place = {word: i for i, word in enumerate(words)}
    angle = np.array([place.get(word, 0) for word in lexicon.words]) * np.pi / 60
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert closeness(texts, lexicon, circle)[0] > 0.95
    noise = closeness(texts, lexicon, random.standard_normal((len(lexicon), 50)))
    assert noise[1] < 0 < noise[2]
    trained, _ = train_word2vec(texts, Word2VecConfig(d_word=16, window=3, epochs=10), 0, lexicon)
    assert closeness(texts, lexicon, trained)[1] > 0
    assert len(lexicon) == 30 + len(SPECIAL)


def test_closeness_is_not_defined_where_all_pairs_stand_equally_far_apart():
    pairs = [["a", "b"], ["b", "c"], ["c", "a"], ["a", "d"], ["b", "d"]] * 8
    lexicon = Vocabulary.from_tokens(pairs)
    vectors = np.random.default_rng(0).standard_normal((len(lexicon), 4))
    assert np.isnan(closeness(pairs, lexicon, vectors)).all()
