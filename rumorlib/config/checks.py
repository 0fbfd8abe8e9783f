"""Settings are checked where they enter: types, ranges, and the nearest name for a wrong one."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin


class SettingError(ValueError):
    """A setting of the wrong type, out of its range, or a name that is not known; the message says what is allowed."""


@dataclass(frozen=True)
class Range:
    """What a number may be, declared beside its field as Annotated[int, Range(1)]; both ends belong to it unless
    `without` names "low" or "high"."""

    low: float
    high: float = math.inf
    without: Literal["", "low", "high", "both"] = ""

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.without in ("low", "both") else value >= self.low
        return above and (value < self.high if self.without in ("high", "both") else value <= self.high)

    def __str__(self) -> str:
        left, right = self.without in ("low", "both"), self.without in ("high", "both")
        if self.high == math.inf:
            return f"{'above' if left else 'of at least'} {self.low}"
        return f"in {'(' if left else '['}{self.low}, {self.high}{')' if right else ']'}"


class _NotEmpty:
    """A list of one or more."""

    def __contains__(self, value: Any) -> bool:
        return bool(value)


Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]  # what torch, NumPy and scikit-learn all take
Share = Annotated[float, Range(0, 1)]
Rate = Annotated[float, Range(0, 1, without="high")]  # dropout: 1 would leave nothing
Weight = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, without="low")]
Mass = Annotated[float, Range(0, 1, without="low")]
LearningRate = Annotated[float, Range(0, 1, without="both")]
Cosine = Annotated[float, Range(-1, 1)]
_T = typing.TypeVar("_T")
Several = Annotated[tuple[_T, ...], _NotEmpty()]


class Checked:
    """Base of every config: each field is of its annotated type and in the range declared beside it.

    A whole number given for a float, or a list for a tuple, is converted, so that equal settings are one run.
    Raises: SettingError: naming class, field, what is allowed and what was given.
    """

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            checked = check(f"{type(self).__name__}.{name}", getattr(self, name), hint)
            object.__setattr__(self, name, checked)


def check(name: str, value: Any, hint: Any) -> Any:
    """The value as an annotation wants it. Raises SettingError: it is of another type or out of range."""
    try:
        return _fit(value, hint)
    except SettingError as error:
        raise SettingError(f"{name}: {error}") from error
    except TypeError:
        names = [n for n in _names(hint) if isinstance(value, str)]
        raise SettingError(f"{name} must be {_words(hint)}; got {value!r:.200}{nearest(value, names)}") from None


def nearest(name: Any, known: Iterable[str]) -> str:
    """ ", did you mean 'x'?" for the end of a message; "" where nothing known looks like it."""
    found = difflib.get_close_matches(str(name), list(known), 1)
    return f", did you mean {found[0]!r}?" if found else ""


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def _fit(value: Any, hint: Any) -> Any:
    """The value, converted where that is harmless. Raises TypeError: it does not fit."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        fitted = _fit(value, inner[0])
        if fitted not in inner[1]:
            raise TypeError
        return fitted
    if origin is Literal:
        if not isinstance(value, str) or value not in inner:
            raise TypeError
        return value
    if origin is tuple:
        return _fit_tuple(value, inner)
    if origin in (typing.Union, types.UnionType):
        return _fit_one_of(value, inner)
    if isinstance(value, Mapping) and dataclasses.is_dataclass(hint):
        if unknown := [name for name in value if name not in _hints(hint)]:
            raise SettingError(f"{hint.__name__} has no field {unknown[0]!r}{nearest(unknown[0], _hints(hint))}")
        return hint(**value)
    if hint is float and type(value) is int:
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise TypeError
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError
    return value


def _fit_tuple(value: Any, inner: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        raise TypeError
    if inner[-1] is ...:
        return tuple(_fit(each, inner[0]) for each in value)
    if len(value) != len(inner):
        raise TypeError
    return tuple(_fit(each, kind) for each, kind in zip(value, inner, strict=True))


def _fit_one_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    if isinstance(value, Mapping):  # of several dataclasses the one that fits closest
        fitting = [k for k in kinds if dataclasses.is_dataclass(k) and set(value) <= set(_hints(k))]
        kinds = tuple(sorted(fitting, key=lambda k: len(_hints(k))))
    for kind in kinds:
        try:
            return _fit(value, kind)
        except TypeError:
            continue
    raise TypeError


def _words(hint: Any) -> str:
    """An annotation in words, for messages."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated and isinstance(inner[1], _NotEmpty):
        return _words(inner[0]).replace("a list", "a list of one or more", 1)
    if origin is Annotated:
        return f"{_words(inner[0])} {inner[1]}"
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin is tuple:
        return f"a list, each {_words(inner[0])}" if inner[-1] is ... else f"({', '.join(map(_words, inner))})"
    if inner:
        return " or ".join(map(_words, inner))
    plain = {int: "a whole number", float: "a number", str: "text", bool: "True or False", Any: "anything"}
    return plain.get(hint) or ("None" if hint is type(None) else hint.__name__)


def _names(hint: Any) -> list[str]:
    """The names that an annotation allows."""
    inner = get_args(hint)
    return list(inner) if get_origin(hint) is Literal else [name for each in inner for name in _names(each)]
