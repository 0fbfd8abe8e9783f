"""B6: our word2vec on tokenised texts, against the bare gensim call with the same settings: what the wrapper costs."""

from __future__ import annotations

import sys

import harness
import numpy as np

from rumorlib.config import Word2VecConfig
from rumorlib.encoders.vocabulary import Vocabulary
from rumorlib.encoders.word2vec import train_word2vec


def pairs(quick: bool) -> list[harness.Pair]:
    """Words drawn by Zipf's law, 25 to a text."""
    from gensim.models import Word2Vec

    n = 200 if quick else 4000
    numbers = np.random.default_rng(0).zipf(1.3, (n, 25)).clip(max=5000)
    texts = [[f"word{number}" for number in row] for row in numbers]
    config = Word2VecConfig(d_word=100, epochs=1 if quick else 3)
    lexicon = Vocabulary.from_tokens(texts, config.tokens, config.min_count)

    def peer() -> Word2Vec:
        return Word2Vec(texts, vector_size=config.d_word, window=config.window, min_count=config.min_count, sg=1, hs=1,
                        negative=0, sample=0, epochs=config.epochs, seed=0, workers=1)  # fmt: skip

    ours = lambda: train_word2vec(texts, config, 0, lexicon)  # noqa: E731
    return [harness.Pair("word vectors, skip-gram with hierarchical softmax", "the bare gensim call", ours, peer)]


if __name__ == "__main__":
    sys.exit(harness.main("B6", __doc__, pairs))
