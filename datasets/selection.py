"""Which episodes a tool works on: lists, ranges and conditions, read without evaluating anything."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.layout import COLUMNS, StoreError
from robolearn.datasets.reader import StoreReader
from robolearn.errors import nearest

_RANGE = re.compile(r"(\d+)(?:-(\d+)?)?")
_CONDITION = re.compile(r"\s*([\w.]+)\s*(!=|>=|<=|=|>|<|~)\s*(.*?)\s*")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}
_FACTS = ("episode", "steps", *(name for name in COLUMNS if name != "provenance"))
_EXAMPLES = "such as success=true, source=teleop|expert, steps>=100, note~slipped"


def select(store: StoreReader, episodes: Sequence[Any] | None = None, where: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Indices of the chosen episodes, increasing; all of them where neither is given, and where both are, both must hold.

    Args:
        store: the store they are in.
        episodes: numbers and ranges: ``3``, ``"7-9"`` (both ends counted), ``"20-"``.
        where: conditions ``field operator value``, all of which must hold; see :func:`holds`.

    Raises:
        StoreError: no such episode, or a condition that cannot be read.
    """
    chosen = np.ones(store.num_episodes, bool)
    if episodes is not None:
        chosen &= np.isin(np.arange(store.num_episodes), parse_episodes(episodes, store))
    for condition in where or ():
        chosen &= holds(store, str(condition))
    return np.flatnonzero(chosen)


def parse_episodes(episodes: Sequence[Any], store: StoreReader) -> NDArray[np.int64]:
    """Numbers and ranges as indices, in the order given.

    Raises:
        StoreError: what is no number or range, or no episode of the store.
    """
    found: list[int] = []
    for entry in episodes:
        match = _RANGE.fullmatch(str(entry))
        if match is None or isinstance(entry, bool):
            raise StoreError(f"episodes takes numbers and ranges, such as episodes=[0,3,7-9,20-]; got {entry!r}")
        first = int(match[1])
        last = first if "-" not in match[0] else int(match[2]) if match[2] else store.num_episodes - 1
        if first >= store.num_episodes or last >= store.num_episodes or last < first:
            raise StoreError(f"{store.path} has no episodes {entry}; it has {store.num_episodes}, counted from 0")
        found += range(first, last + 1)
    return np.asarray(found, np.int64)


def holds(store: StoreReader, condition: str) -> NDArray[np.bool_]:
    """Which episodes meet a condition, ``(E,)``.

    The field is ``episode``, ``steps``, a column, or a key of the provenance (``note``, ``made_by.checkpoint``); an episode
    that lacks the key meets no condition but ``!=``. Operators: ``= != < <= > >=`` and ``~`` (holds the text, whatever the
    case). ``a|b`` after ``=``, ``!=`` or ``~`` means either.

    Raises:
        StoreError: it cannot be read, or no episode has such a field.
    """
    match = _CONDITION.fullmatch(condition)
    if match is None or not match[3]:
        raise StoreError(f"where takes conditions {_EXAMPLES}; got {condition!r}")
    field, sign, text = match[1], match[2], match[3]
    values = _values(store, field)
    if sign in _COMPARE:
        return np.array([_ordered(value, sign, text, condition) for value in values], bool)
    options = [option.strip().casefold() for option in text.split("|")]
    if sign == "~":
        return np.array([value is not None and any(option in _text(value) for option in options) for value in values], bool)
    _require_meaningful(store, field, values, options)
    equal = np.array([value is not None and any(_equals(value, option) for option in options) for value in values], bool)
    return ~equal if sign == "!=" else equal


def _values(store: StoreReader, field: str) -> list[Any]:
    """The field of every episode; None where an episode lacks it."""
    if field == "episode":
        return list(range(store.num_episodes))
    if field == "steps":
        return [int(length) for length in store.lengths]
    if field in _FACTS:
        return [value.item() if isinstance(value, np.generic) else value for value in store.column(field)]
    known: set[str] = set()
    values = []
    for index in range(store.num_episodes):
        found: Any = store.provenance(index)
        known |= found.keys()
        for word in field.split("."):
            found = found.get(word) if isinstance(found, dict) else None
        values.append(found)
    if store.num_episodes and all(value is None for value in values):
        names = [*_FACTS, *sorted(known - {*_FACTS})]
        raise StoreError(f"no episode of {store.path} has {field!r}; there are {', '.join(names)}{nearest(field, names)}")
    return values


def _require_meaningful(store: StoreReader, field: str, values: Sequence[Any], options: Sequence[str]) -> None:
    """Raise ``StoreError`` where a word is not of the field's kind, or of a column with few words none of them."""
    kinds = {type(value) for value in values if value is not None}
    for option in options:
        if kinds == {bool} and option not in ("true", "false"):
            raise StoreError(f"{field} is true or false; got {option!r}")
        if kinds and kinds <= {int, float} and not _is_number(option):
            raise StoreError(f"{field} is a number; got {option!r}")
    if field in ("source", "outcome"):
        there = sorted({str(value) for value in values})
        for option in options:
            if there and option not in (word.casefold() for word in there):
                raise StoreError(f"no episode of {store.path} has {field} {option!r}; there are {', '.join(there)}{nearest(option, there)}")


def _ordered(value: Any, sign: str, text: str, condition: str) -> bool:
    if not _is_number(text):
        raise StoreError(f"{sign} compares with a number; got {condition!r}")
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise StoreError(f"{condition!r} compares numbers, an episode has {value!r} there")
    return value is not None and bool(_COMPARE[sign](value, float(text)))


def _equals(value: Any, option: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _is_number(option) and float(option) == value
    return _text(value) == option


def _text(value: Any) -> str:
    return str(value).casefold()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
