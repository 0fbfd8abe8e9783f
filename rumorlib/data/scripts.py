"""The writing of a text, counted from its letters: a guess at its language where a corpus does not say it."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

from rumorlib.data.keys import normalise_text

# First words of Unicode's letter names that one script writes with; other names stand for themselves.
_SAME = {"CJK": "Han", "HIRAGANA": "Japanese", "KATAKANA": "Japanese"}


def script(text: str) -> str:
    """Script of most letters of `text`, links and @names aside: "Latin", "Han", "Cyrillic", ...; "none": no letters.

    A text with kana is "Japanese" however many Chinese characters it has. Latin script tells no language.
    """
    counts = Counter(map(_script_of, normalise_text(text)))
    del counts[""]
    if not counts:
        return "none"
    return "Japanese" if counts["Japanese"] else counts.most_common(1)[0][0]


@lru_cache(maxsize=20_000)
def _script_of(character: str) -> str:
    if not character.isalpha():
        return ""
    first = unicodedata.name(character, "").split(" ")[0]
    return _SAME.get(first, first.capitalize())
