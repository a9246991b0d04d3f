"""Kinds of values: what an option takes, told from its default or from the annotation of a constructor's argument."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from omegaconf import DictConfig, ListConfig

TRUTH, COUNT, WHOLE, NUMBER, TEXT = "true or false", "a whole number, at least 0", "a whole number", "a number", "text"
LIST, NESTED, NULL = "a list", "nested options", "null"
Plain = bool | int | float | str | None  # what an annotation is held against; what is built from nodes is not


def kind_of(default: Any) -> str | None:
    """What an option with this default takes, in words; None for null and for an empty node, which say nothing."""
    if isinstance(default, bool):
        return TRUTH
    if isinstance(default, int):
        return COUNT if default >= 0 else WHOLE
    if isinstance(default, float):
        return NUMBER
    if isinstance(default, str):
        return TEXT
    if isinstance(default, ListConfig):
        return LIST
    return NESTED if isinstance(default, DictConfig) and len(default) else None


def fits(value: Any, kind: str) -> bool:
    """Whether a value is of a kind; a whole number may be written as ``1e6``, a name as a number, and NaN is none."""
    if kind in (COUNT, WHOLE):
        return _is_number(value) and float(value).is_integer() and (kind == WHOLE or value >= 0)
    if kind == NUMBER:
        return _is_number(value)
    if kind == TEXT:
        return isinstance(value, str | int | float)
    classes: dict[str, type] = {TRUTH: bool, LIST: ListConfig, NESTED: DictConfig}
    return isinstance(value, classes[kind])


def meant(value: Any, kind: str) -> Any:
    """A value that fits, as its kind: ``1e6`` as a whole number, a number where a name is asked for as text."""
    if kind in (COUNT, WHOLE):
        return int(value)
    return str(value) if kind == TEXT else value


def parameter_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of a callable's arguments; none where they cannot be resolved here."""
    try:
        parameters = inspect.signature(target, eval_str=True).parameters.values()
    except (NameError, AttributeError, ValueError):  # a name imported for type checkers alone; a builtin
        return {}
    return {parameter.name: parameter.annotation for parameter in parameters if parameter.annotation is not inspect.Parameter.empty}


def as_hinted(hint: Any, value: Any) -> Any:
    """A value as the annotation of an argument means it; anything but text, numbers and null is left as it is.

    Raises:
        ValueError: it is none of what the annotation allows; the message says what that is, in words.
    """
    if not isinstance(value, Plain):
        return value
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [_kind_of_hint(member) for member in members]
    if None in kinds or (value is None and NULL in kinds):
        return value
    for kind in (TRUTH, WHOLE, NUMBER, TEXT):  # text last: a number is text too where nothing else is asked for
        if kind in kinds and fits(value, kind):
            return meant(value, kind)
    raise ValueError(" or ".join(dict.fromkeys(kind for kind in kinds if kind)))


def _kind_of_hint(hint: Any) -> str | None:
    """A member of an annotation in words; None where it may take anything."""
    words = {bool: TRUTH, int: WHOLE, float: NUMBER, str: TEXT, Path: TEXT, types.NoneType: NULL}
    if hint in words:
        return words[hint]
    if hint in (Any, object) or getattr(hint, "_is_protocol", False):
        return None
    made_of = get_origin(hint) or hint
    if not isinstance(made_of, type):
        return None  # a Literal, a type variable
    return LIST if issubclass(made_of, list | tuple) or made_of.__name__ in ("Sequence", "Iterable") else f"a {made_of.__name__}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
