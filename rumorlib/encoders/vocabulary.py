"""Words of the training texts and their ids; shared by word2vec and the Transformers from scratch.

The vocabulary sees training texts only (choice C22); its order depends on counts and spelling, never on hashing.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from rumorlib import config
from rumorlib.data.keys import normalise_text

Unit = Literal["word", "char", "jieba"]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")  # brackets never survive tokenize(), so no text can spell them
PAD, UNK, CLS, SEP = range(4)
TURN = "\x1e"  # in a text of ours: here the post ends and what was replied begins; read as [SEP]

# Ideographs with their extensions, kana, hangul.
_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af\u3040-\u30ff\uac00-\ud7af"
_WORD = re.compile(r"<url>|<user>|[^\W_]+(?:'[^\W_]+)*")
_CHAR = re.compile(rf"<url>|<user>|[{_CJK}]|(?:(?![{_CJK}])[^\W_])+")
_MARK = re.compile(r"(<url>|<user>)")
_SPAN = re.compile(r"https?://\S+|[@#]?\w+(?:['\u2019]\w+)*|[^\w\s]+")
_HAS_CJK = re.compile(f"[{_CJK}]")


def tokenize(text: str, unit: Unit) -> list[str]:
    """Split a post into lower-cased tokens; punctuation is dropped.

    Links become `<url>` and mentions `<user>` (identities must not be learnt), digits stay, a hashtag loses its '#'.
    What a link is, and that full-width letters and digits are folded, `keys.normalise_text` says.

    Args:
        text: the post, any language.
        unit: "word": runs of letters and digits · "char": each CJK character alone, other runs whole
            · "jieba": Chinese word segmentation.
    Returns: tokens in reading order, [] for an empty text.
    Raises: ValueError: unknown unit.
    """
    marked = normalise_text(text, link=" <url> ", mention=" <user> ")
    if unit == "word":
        return _WORD.findall(marked)
    if unit == "char":
        return _CHAR.findall(marked)
    if unit == "jieba":
        return _segment(marked)
    raise ValueError(f"unit must be one of {get_args(Unit)}, got {unit!r}")


def _segment(marked: str) -> list[str]:
    """jieba's words, without those that hold no letter or digit; marks are never cut."""
    tokens: list[str] = []
    for piece in _MARK.split(marked):
        if _MARK.fullmatch(piece):
            tokens.append(piece)
        else:
            tokens += [word for word in map(str.strip, _segmenter().lcut(piece)) if any(map(str.isalnum, word))]
    return tokens


def spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text stand, as written: links, words with their @ or #, runs of other signs; runs with CJK
    characters as jieba cuts them. Every visible character is in one of them."""
    found = []
    for match in _SPAN.finditer(text):
        start, run = match.start(), match.group()
        if _HAS_CJK.search(run) and "://" not in run:
            found += [(start + a, start + b) for _, a, b in _segmenter().tokenize(run)]
        else:
            found.append(match.span())
    return found


@cache
def _segmenter() -> Any:
    """jieba's own dictionary, silent; its cache is ours and named by version, so no foreign cache changes the words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jieba 0.42 has invalid escapes and imports pkg_resources
        import jieba
    jieba.setLogLevel(logging.WARNING)
    segmenter = jieba.Tokenizer()
    folder = config.cache_root() / "jieba"
    folder.mkdir(parents=True, exist_ok=True)
    segmenter.tmp_dir = str(folder)
    segmenter.cache_file = f"jieba-{jieba.__version__}.cache"
    return segmenter


@dataclass(frozen=True)
class Vocabulary:
    """Words by id: 0 = PAD, 1 = UNK, 2 = CLS, 3 = SEP, then the training words.

    Args:
        words: every word, the four special ones first; the id of a word is its place.
        unit: how texts are split (see `tokenize`).
    Raises: ValueError: the special words are not first, or a word occurs twice.
    """

    words: tuple[str, ...]
    unit: Unit = "word"

    def __post_init__(self) -> None:
        if self.words[: len(SPECIAL)] != SPECIAL:
            raise ValueError(f"a vocabulary starts with {SPECIAL}, got {self.words[: len(SPECIAL)]}")
        if len(set(self.words)) != len(self.words):
            raise ValueError("a word occurs twice in the vocabulary")
        if self.unit not in get_args(Unit):
            raise ValueError(f"unit must be one of {get_args(Unit)}, got {self.unit!r}")

    @classmethod
    def build(
        cls, texts: Iterable[str], unit: Unit = "word", min_count: int = 1, max_size: int | None = None
    ) -> Vocabulary:
        """Vocabulary of the *training* texts (choice C22); arguments as `from_tokens`."""
        return cls.from_tokens((tokenize(text, unit) for text in texts), unit, min_count, max_size)

    @classmethod
    def from_tokens(
        cls, texts_tokens: Iterable[Sequence[str]], unit: Unit = "word", min_count: int = 1, max_size: int | None = None
    ) -> Vocabulary:
        """Vocabulary of already split training texts, most frequent first, ties by spelling.

        Args:
            texts_tokens: one token list per text.
            unit: what split them.
            min_count: occurrences a word needs, >= 1.
            max_size: words kept besides the four special ones; None: all.
        """
        counts = Counter(token for tokens in texts_tokens for token in tokens)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kept = [word for word, count in ranked if count >= min_count and word not in SPECIAL]
        return cls((*SPECIAL, *kept[:max_size]), unit)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.index

    @cached_property
    def index(self) -> dict[str, int]:
        """Id of each word."""
        return {word: i for i, word in enumerate(self.words)}

    def encode(
        self, texts: Sequence[str], max_length: int, cls: bool = False, sep: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Ids of texts, padded on the right, cut on the right.

        Args:
            texts: n texts.
            max_length: L, counting [CLS] and [SEP]; must leave room for one word.
            cls: put [CLS] first.
            sep: put [SEP] after the last word, and between a post and its replies (`TURN`); a cut text keeps the last.
        Returns: ids (n, L) long and mask (n, L) bool, True where there is a token ([CLS] and [SEP] count).
        Raises: ValueError: max_length leaves no room for a word.
        """
        room = max_length - cls - sep
        if room < 1:
            raise ValueError(f"max_length {max_length} leaves no room for a word beside [CLS] and [SEP]")
        ids = torch.full((len(texts), max_length), PAD, dtype=torch.long)
        mask = torch.zeros(len(texts), max_length, dtype=torch.bool)
        for i, text in enumerate(texts):
            words: list[int] = []
            for turn, part in enumerate(text.split(TURN)):
                words += [SEP] * (sep and turn > 0)
                words += [self.index.get(token, UNK) for token in tokenize(part, self.unit)]
            row = [CLS] * cls + words[:room] + [SEP] * sep
            ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
            mask[i, : len(row)] = True
        return ids, mask

    def coverage(self, texts: Iterable[str]) -> float:
        """Share of the running tokens of `texts` that have an id of their own, in [0, 1]; 0 without tokens."""
        tokens = [token for text in texts for token in tokenize(text, self.unit)]
        return sum(token in self.index for token in tokens) / len(tokens) if tokens else 0.0
