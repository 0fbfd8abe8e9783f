"""Word vectors: skip-gram with hierarchical softmax on the training texts (DMFL §4.2, Eq. 2), or vectors from a file.

Row i of every matrix belongs to word i of the vocabulary. Training is bit-for-bit repeatable: one worker, and a hash
function that does not depend on PYTHONHASHSEED.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rumorlib.config import Word2VecConfig
from rumorlib.encoders.vocabulary import PAD, SPECIAL, Vocabulary

TEXT_SUFFIXES = (".txt", ".vec")


def stable_hash(word: str) -> int:
    """CRC-32 of a word: equal in every interpreter, unlike `hash`."""
    return zlib.crc32(word.encode())


def train_skip_gram(texts_tokens: Sequence[Sequence[str]], config: Word2VecConfig, seed: int) -> Any:
    """Train gensim's Word2Vec (DMFL Eq. 2; choice C22) and return its model.

    Every occurrence is used (`sample=0`): Eq. 2 has no subsampling, and on a vocabulary of a hundred words gensim's
    default would throw most of the text away.

    Args:
        texts_tokens: tokens of each *training* text.
        config: widths, window, epochs.
        seed: of the initial vectors.
    Raises: ValueError: no tokens at all, or one word alone, which has no tree.
    """
    from gensim.models import Word2Vec

    sentences = [list(tokens) for tokens in texts_tokens if tokens]
    if not sentences:
        raise ValueError("word2vec needs at least one token; are the training texts empty?")
    if len({token for sentence in sentences for token in sentence}) == 1:  # gensim would wait for ever
        raise ValueError(f"word2vec needs at least two different words; the training texts have {sentences[0][0]!r}")
    return Word2Vec(
        sentences=sentences,
        vector_size=config.d_word,
        window=config.window,
        min_count=1,  # words below config.min_count are taken out with the vocabulary
        epochs=config.epochs,
        sg=int(config.skip_gram),
        hs=int(config.hierarchical_softmax),
        negative=0 if config.hierarchical_softmax else 5,
        sample=0,
        workers=1,
        seed=seed,
        hashfxn=stable_hash,
    )


def train_word2vec(
    texts_tokens: Sequence[Sequence[str]],
    config: Word2VecConfig,
    seed: int,
    vocabulary: Vocabulary | None = None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Word vectors of the training texts, aligned with a vocabulary (DMFL §4.2, Eq. 2).

    Args:
        texts_tokens: tokens of each *training* text, from `vocabulary.tokenize`.
        config: widths, window, epochs, min_count.
        seed: of the initial vectors and of the rows no text trains.
        vocabulary: rows wanted; None: `Vocabulary.from_tokens(texts_tokens, config.tokens, config.min_count)`.
    Returns: float32 (V, d_word): PAD is zeros, the other special words and words never seen are small seeded noise;
        and plain facts about the training for the report.
    Raises: ValueError: no token of the texts is in the vocabulary.
    """
    if vocabulary is None:
        vocabulary = Vocabulary.from_tokens(texts_tokens, config.tokens, config.min_count)
    known = [[token for token in tokens if token in vocabulary] for tokens in texts_tokens]
    model = train_skip_gram(known, config, seed)
    found = {word: model.wv[word] for word in vocabulary.words if word in model.wv}
    matrix = _aligned(found, vocabulary, config.d_word, seed)
    facts = {
        "source": "trained on the training texts",
        "seed": seed,
        "n_tokens": sum(map(len, known)),
        "n_dropped_tokens": sum(map(len, texts_tokens)) - sum(map(len, known)),
    }
    return matrix, facts | _facts(matrix, found, vocabulary)


def load_vectors(
    path: str | Path, vocabulary: Vocabulary, d_word: int = 300, seed: int = 0
) -> tuple[np.ndarray, dict[str, Any]]:
    """External word vectors in text format (choice C22): one word and d_word numbers a line, header line optional.

    Args:
        path: a .txt or .vec file (word2vec, fastText or GloVe text), UTF-8.
        vocabulary: rows wanted; other words of the file are passed over.
        d_word: numbers per word.
        seed: of the rows of words that the file lacks.
    Returns: float32 (V, d_word) as `train_word2vec`, and facts with "coverage", the share of words found.
    Raises: FileNotFoundError: no such file. ValueError: not such a text, another width, or no word in common.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no word vectors at {path}; give a .txt or .vec file, or train them (path None)")
    if path.suffix not in TEXT_SUFFIXES:
        raise ValueError(
            f"{path.name}: only text vectors {TEXT_SUFFIXES} are read; unpack it, or convert a binary file with "
            "gensim: KeyedVectors.load_word2vec_format(..., binary=True).save_word2vec_format('vectors.vec')"
        )
    found: dict[str, np.ndarray] = {}
    # Broken bytes spoil one word of a large file, not the file. newline: a word may hold \r or U+2028.
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.rstrip().split(" ")
            is_header = number == 1 and len(fields) == 2 and all(map(str.isdecimal, fields))
            word = " ".join(fields[:-d_word])
            if is_header or (len(fields) > d_word and (word not in vocabulary or word in found or word in SPECIAL)):
                continue
            found[word] = _numbers(fields, d_word, f"{path.name}, line {number}")
    if not found:
        raise ValueError(f"{path.name} has none of the vocabulary's words; is it of another language or unit?")
    matrix = _aligned(found, vocabulary, d_word, seed)
    return matrix, {"source": path.name, "seed": seed} | _facts(matrix, found, vocabulary)


def _numbers(fields: list[str], d_word: int, where: str) -> np.ndarray:
    """The vector of one line; `where` opens each error message."""
    if len(fields) <= d_word:
        raise ValueError(f"{where}: expected a word and {d_word} numbers, got {len(fields)} fields")
    try:
        vector = np.array(fields[-d_word:], dtype=np.float32)
    except ValueError as error:
        raise ValueError(f"{where}: not {d_word} numbers") from error
    if not np.isfinite(vector).all():
        raise ValueError(f"{where}: a number is not finite")
    return vector


def _aligned(found: dict[str, np.ndarray], vocabulary: Vocabulary, d_word: int, seed: int) -> np.ndarray:
    """Rows in vocabulary order; noise of the found rows' own spread where there is no vector, zeros for PAD."""
    spread = float(np.std(np.stack(list(found.values()))))
    noise = np.random.default_rng(seed).standard_normal((len(vocabulary), d_word)) * spread
    matrix = noise.astype(np.float32)
    for word, vector in found.items():
        matrix[vocabulary.index[word]] = vector
    matrix[PAD] = 0
    return matrix


def _facts(matrix: np.ndarray, found: dict[str, np.ndarray], vocabulary: Vocabulary) -> dict[str, Any]:
    """What a report says about a matrix, JSON types only."""
    n_words = len(vocabulary) - len(SPECIAL)
    return {
        "n_words": n_words,
        "d_word": matrix.shape[1],
        "coverage": len(found) / n_words if n_words else 0.0,
        "mean_norm": float(np.linalg.norm(matrix[len(SPECIAL) :], axis=1).mean()) if n_words else 0.0,
        "sha256": hashlib.sha256(matrix.tobytes()).hexdigest(),
    }


def hierarchical_softmax_probabilities(model: Any, word: str) -> np.ndarray:
    """p(w_O | w_I = word) of every word, by the product of Eq. 2 along each word's path in the Huffman tree.

    The paper's indicator is 1 - 2 * code: gensim's code 0 is the child the paper calls ch(n).

    Args:
        model: from `train_skip_gram` with hierarchical_softmax.
        word: w_I, a word of the model.
    Returns: float64 (V,), in the order of `model.wv.index_to_key`; sums to 1.
    Raises: ValueError: the model has no tree. KeyError: unknown word.
    """
    if not model.hs:
        raise ValueError("Eq. 2 needs hierarchical_softmax=True")
    inner = model.syn1.astype(np.float64) @ model.wv[word].astype(np.float64)  # (V - 1,) one score per inner node
    codes = [np.asarray(model.wv.get_vecattr(w, "code"), dtype=np.float64) for w in model.wv.index_to_key]
    points = [np.asarray(model.wv.get_vecattr(w, "point"), dtype=np.int64) for w in model.wv.index_to_key]
    paths = zip(codes, points, strict=True)
    # log sigma(x) = -log(1 + exp(-x)), summed along the path so that deep words do not underflow.
    return np.array([np.exp(-np.logaddexp(0, -(1 - 2 * code) * inner[point]).sum()) for code, point in paths])


# --- are closer words more related? ---------------------------------------------------------------

N_FREQUENT = 150  # words whose pairs are compared
SHARED_TEXTS = 5  # texts two words must share


def distances(tokens: Sequence[Sequence[str]], words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean distance in tokens of every two words in the texts that hold both, and in how many texts: (W, W) twice,
    nan and 0 where none does. The nearest occurrences count."""
    index = {word: i for i, word in enumerate(words)}
    total = np.zeros((len(words), len(words)))
    count = np.zeros_like(total)
    for text in tokens:
        places: dict[int, list[int]] = {}
        for place, token in enumerate(text):
            if token in index:
                places.setdefault(index[token], []).append(place)
        found = sorted(places)
        for i, a in enumerate(found):
            for b in found[i + 1 :]:
                near = min(abs(p - q) for p in places[a] for q in places[b])
                total[[a, b], [b, a]] += near
                count[[a, b], [b, a]] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0), count


def closeness(
    tokens: Sequence[Sequence[str]], lexicon: Vocabulary, vectors: np.ndarray, n: int = 300, seed: int = 0
) -> tuple[float, float, float]:
    """Is it so that "the closer the distance, the stronger the correlation" (DMFL §1)? Rank correlation of minus the
    mean distance of two words with the cosine of their vectors, over pairs of frequent words that share a few texts.

    Args: tokens: of the training texts. vectors: (V, d) rows of the lexicon. n, seed: resamples of the words.
    Returns: estimate and 95 % interval, words drawn again with all their pairs; nan: under three pairs, or all alike.
    """
    from scipy.stats import spearmanr

    words = lexicon.words[len(SPECIAL) : len(SPECIAL) + N_FREQUENT]
    apart, count = distances(tokens, words)
    unit = vectors[len(SPECIAL) : len(SPECIAL) + len(words)].astype(float)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    cosine, (a, b) = unit @ unit.T, np.nonzero(np.triu(count >= SHARED_TEXTS, 1))
    if len(a) < 3:
        return float("nan"), float("nan"), float("nan")

    def correlation(chosen: np.ndarray) -> float:
        times = np.bincount(chosen, minlength=len(words))
        repeats = times[a] * times[b]
        near, alike = np.repeat(-apart[a, b], repeats), np.repeat(cosine[a, b], repeats)
        if np.unique(near).size < 2 or np.unique(alike).size < 2:
            return float("nan")
        return spearmanr(near, alike).statistic

    if np.isnan(estimate := correlation(np.arange(len(words)))):
        return estimate, estimate, estimate
    random = np.random.default_rng(seed)
    drawn = [correlation(random.integers(0, len(words), len(words))) for _ in range(n)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(estimate), float(low), float(high)
