"""Publishing times as the corpora write them -> UTC; what cannot be read stays missing, never guessed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

_TWITTER = r"[A-Z][a-z]{2} [A-Z][a-z]{2} [0-9]{1,2} [0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4} [0-9]{4}"
_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
_OFFSET = r" ?(?:Z|[+-][0-9]{2}:?[0-9]{2})"


def parse_dates(values: Sequence[str], offset_hours: float | Sequence[float] = 0) -> pd.Series:
    """Times of posts, whatever their corpus wrote (chronological).

    Read: Twitter's "Mon Oct 29 23:59:59 +0000 2012", also with blanks after the colons; ISO dates with or without time,
    seconds and offset; "YYYY-MM-DD HH:MM"; Unix stamps of 10 digits (seconds) and 13 digits (milliseconds).

    Args: values: one cell per post. offset_hours: hours ahead of UTC of a time written without an offset; one for all
        posts or one per post (8 on Weibo).
    Returns: datetime64[ns, UTC], index as `values` (a Series) or 0..n-1; NaT where empty or in another form.
    """
    given = values if isinstance(values, pd.Series) else pd.Series(list(values), dtype=object)
    text = given.astype(str).str.strip().str.replace(r"\s*:\s*", ":", regex=True)
    offset = pd.Series(offset_hours, index=text.index, dtype=float)
    result = pd.Series(pd.NaT, index=text.index, dtype="datetime64[ns, UTC]")
    for digits, unit in ((10, "s"), (13, "ms")):
        stamps = text.str.fullmatch(rf"[0-9]{{{digits}}}", na=False)
        result[stamps] = pd.to_datetime(text[stamps].astype("int64"), unit=unit, utc=True)
    for pattern, form in ((_TWITTER, "%a %b %d %H:%M:%S %z %Y"), (_ISO + _OFFSET, "ISO8601"), (_ISO, "ISO8601")):
        match = text.str.fullmatch(pattern, na=False)
        found = pd.to_datetime(text[match], format=form, utc=True, errors="coerce")
        result[match] = found - pd.to_timedelta(offset[match], unit="h") if pattern == _ISO else found
    return result


def offset_hours(language: pd.Series) -> pd.Series:
    """Hours ahead of UTC of times written without an offset: 8 for Chinese posts (China has one time zone), else 0."""
    return language.str.startswith("zh").astype(float) * 8
