"""The probe of "closer words are more related": distances by hand, and a correlation where there is one."""

import numpy as np

from rumorlib import word_probe
from rumorlib.config import Word2VecConfig
from rumorlib.encoders.vocabulary import SPECIAL, Vocabulary
from rumorlib.encoders.word2vec import train_word2vec


def test_distances_by_hand() -> None:
    apart, count = word_probe.distances([["a", "b", "x", "c"], ["a", "c", "a"], ["b"]], ["a", "b", "c"])
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
    assert word_probe.closeness(texts, lexicon, circle).estimate > 0.95
    noise = word_probe.closeness(texts, lexicon, random.standard_normal((len(lexicon), 50)))
    assert noise.low < 0 < noise.high
    trained, _ = train_word2vec(texts, Word2VecConfig(d_word=16, window=3, epochs=10), 0, lexicon)
    assert word_probe.closeness(texts, lexicon, trained).low > 0
    assert len(lexicon) == 30 + len(SPECIAL)
