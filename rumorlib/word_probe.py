"""Word vectors trained in several ways, and the paper's remark about them: words that stand closer are more related."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from rumorlib import comparison, statistics
from rumorlib.config import Word2VecConfig
from rumorlib.data.posts import Corpus
from rumorlib.encoders.vocabulary import SPECIAL, Vocabulary, tokenize
from rumorlib.encoders.word2vec import train_word2vec
from rumorlib.results import Report

N_WORDS = 150  # most frequent words whose pairs are compared
FEWEST = 5  # texts two words must share


def distances(tokens: Sequence[Sequence[str]], words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean distance in tokens of every two words in the texts that hold both, and in how many texts: (W, W) twice,
    nan and 0 where none does. The nearest occurrences count."""
    index = {word: i for i, word in enumerate(words)}
    total = np.zeros((len(words), len(words)))
    count = np.zeros_like(total)
    for text in tokens:
        places: dict[int, list[int]] = defaultdict(list)
        for place, token in enumerate(text):
            if token in index:
                places[index[token]].append(place)
        found = sorted(places)
        for i, a in enumerate(found):
            for b in found[i + 1 :]:
                near = min(abs(p - q) for p in places[a] for q in places[b])
                total[[a, b], [b, a]] += near
                count[[a, b], [b, a]] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0), count


def closeness(
    tokens: Sequence[Sequence[str]], lexicon: Vocabulary, vectors: np.ndarray, n: int = 300, seed: int = 0
) -> statistics.Interval:
    """Rank correlation of minus the mean distance of two words with the cosine of their vectors, over pairs of the
    N_WORDS most frequent words that share FEWEST texts. 95 % interval: words are drawn again, with all their pairs.

    Returns: nan where fewer than three pairs qualify.
    """
    from scipy.stats import spearmanr

    words = lexicon.words[len(SPECIAL) : len(SPECIAL) + N_WORDS]
    apart, count = distances(tokens, words)
    unit = vectors[len(SPECIAL) : len(SPECIAL) + len(words)].astype(float)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    cosine, qualifies = unit @ unit.T, np.triu(count >= FEWEST, 1)
    if qualifies.sum() < 3:
        return statistics.Interval(np.nan, np.nan, np.nan)

    def correlation(chosen: np.ndarray) -> float:
        times = np.bincount(chosen, minlength=len(words))
        a, b = np.nonzero(qualifies)
        repeats = times[a] * times[b]
        return spearmanr(np.repeat(-apart[a, b], repeats), np.repeat(cosine[a, b], repeats)).statistic

    random = np.random.default_rng(seed)
    drawn = [correlation(random.integers(0, len(words), len(words))) for _ in range(n)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return statistics.Interval(float(correlation(np.arange(len(words)))), float(low), float(high))


def table(loaded: Corpus, base: Word2VecConfig, ways: dict[str, dict], reports: Sequence[Report]) -> pd.DataFrame:
    """Word vectors of the train posts in every way: what they cover, whether closer words are more related, and what a
    text CNN on them reaches.

    Args:
        loaded: the corpus of the runs.
        base: the paper's way.
        ways: name -> fields of Word2VecConfig that differ.
        reports: DMFL-TCNN of each way, found by the fields of its config.
    Returns: dataset, vectors, n_words, coverage (of the vocabulary), closeness, low, high, tcnn_dev, tcnn_test
        (accuracy), test_low, test_high.
    """
    train = loaded.posts.loc[loaded.posts["split"] == "train", "text"]
    tokens = [tokenize(text, base.tokens) for text in train]
    lexicon = Vocabulary.from_tokens(tokens, base.tokens, base.min_count)
    scored = {config.detector.word2vec: (config, frame) for config, frame in comparison.pooled(reports)}
    rows = []
    for name, changes in ways.items():
        words = replace(base, **changes)
        vectors, facts = train_word2vec(tokens, words, 0, lexicon)
        found = closeness(tokens, lexicon, vectors)
        config, frame = scored[words]
        dev, test = (frame[frame["split"] == split].reset_index(drop=True) for split in ("dev", "test"))
        on_dev = statistics.cluster_bootstrap(dev, "accuracy", comparison.clusters_of(dev), n=1).estimate
        on_test = statistics.cluster_bootstrap(test, "accuracy", comparison.clusters_of(test))
        row = comparison.corpus_name(config), name, facts["n_words"], facts["coverage"]
        rows.append((*row, *found, on_dev, *on_test))
    names = ["dataset", "vectors", "n_words", "coverage", "closeness", "low", "high"]
    return pd.DataFrame(rows, columns=[*names, "tcnn_dev", "tcnn_test", "test_low", "test_high"])
