"""Makes messages: ROS defaults for what is not given, nested messages from dictionaries, arrays of the right type from lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype

from robolearn.errors import UserError, nearest

_FLOATS = ("float32", "float64")
_DTYPES = {"bool": "bool_", "byte": "int8", "char": "uint8"}  # as rosbags has them
# ROS 2's only default among the standard messages that is not nought.
_DEFAULTS = {("geometry_msgs/msg/Quaternion", "w"): 1.0}


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Args:
        name: as an attribute of the dataclass.
        default: makes what ROS puts there.
        convert: makes the field's value of what was given.

    Raises:
        UserError: ``convert`` was given what does not fit.
    """

    name: str
    default: Callable[[], Any]
    convert: Callable[[Any], Any]


class Maker:
    """Makes messages of one typestore of rosbags'."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self._fields: dict[str, tuple[Field, ...]] = {}

    def make(self, type: str, fields: dict[str, Any]) -> Any:
        """A message.

        Raises:
            UserError: a field that the type does not have, or a value that does not fit it.
        """
        known = self.fields(type)
        values = {field.name: field.convert(fields[field.name]) if field.name in fields else field.default() for field in known}
        if len(values.keys() | fields.keys()) > len(values):
            wrong = next(name for name in fields if name not in values)
            raise UserError(f"{type} has no field {wrong!r}; it has {', '.join(values)}{nearest(wrong, values)}")
        return self.store.types[type](**values)

    def assemble(self, type: str, values: dict[str, Any]) -> Any:
        """A message of values that fit already; what is not given is the default."""
        return self.store.types[type](**{f.name: values[f.name] if f.name in values else f.default() for f in self.fields(type)})

    def fit(self, message: Any) -> None:
        """Bring a message's own values into the form that can be encoded: lists to arrays, arrays to the field's type.

        Raises:
            UserError: a value does not fit its field.
        """
        for field in self.fields(message.__msgtype__):
            value = getattr(message, field.name)
            fitting = field.convert(value)
            if fitting is not value:
                setattr(message, field.name, fitting)

    def fields(self, type: str) -> tuple[Field, ...]:
        """The fields of a type."""
        if type not in self._fields:
            entries = self.store.get_msgdef(type).fields
            self._fields[type] = tuple(self._field(type, name, description) for name, description in entries)
        return self._fields[type]

    def _field(self, type: str, name: str, description: Any) -> Field:
        kind, what = description
        where = f"{type}.{name}"
        if kind == Nodetype.BASE:
            return _scalar(name, where, what[0], _DEFAULTS.get((type, name)))
        if kind == Nodetype.NAME:
            return Field(name, lambda: self.make(what, {}), lambda value: self._nested(what, value, where))
        (inner_kind, inner), length = what
        fixed = length if kind == Nodetype.ARRAY else None
        if inner_kind == Nodetype.NAME:

            def several(value: Any) -> list[Any]:
                items = [self._nested(inner, item, where) for item in _items(value, where, fixed)]
                return value if isinstance(value, list) and all(a is b for a, b in zip(items, value, strict=True)) else items

            return Field(name, lambda: [self.make(inner, {}) for _ in range(fixed or 0)], several)
        return _strings(name, where, fixed) if inner[0] == "string" else _array(name, where, inner[0], fixed)

    def _nested(self, type: str, value: Any, where: str) -> Any:
        if isinstance(value, dict):
            return self.make(type, value)
        if getattr(value, "__msgtype__", None) != type:
            raise UserError(f"{where} must be a {type} or a dictionary of its fields, got {_described(value)}")
        self.fit(value)
        return value


def _scalar(name: str, where: str, base: str, default: Any) -> Field:
    """A string, a number or a truth value."""
    if base == "string":
        return Field(name, str, lambda value: _string(value, where))
    if base in _FLOATS:
        return Field(name, lambda: default or 0.0, lambda value: _number(value, where, float, (int, float, np.number)))
    if base == "bool":
        return Field(name, bool, lambda value: _number(value, where, bool, (bool, np.bool_)))
    limits = np.iinfo(_DTYPES.get(base, base))

    def whole(value: Any) -> int:
        number: int = _number(value, where, int, (int, np.integer))
        if not limits.min <= number <= limits.max:
            raise UserError(f"{where} must be from {limits.min} to {limits.max}, got {number}")
        return number

    return Field(name, int, whole)


def _number(value: Any, where: str, kind: type, allowed: tuple[type, ...]) -> Any:
    if type(value) is kind:
        return value
    if not isinstance(value, allowed):
        raise UserError(f"{where} must be a {kind.__name__}, got {_described(value)}")
    return kind(value)


def _string(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{where} must be a string, got {_described(value)}")
    return value


def _strings(name: str, where: str, fixed: int | None) -> Field:
    def convert(value: Any) -> list[str]:
        items = _items(value, where, fixed)
        for item in items:
            _string(item, where)
        return value if isinstance(value, list) else list(items)

    return Field(name, lambda: [""] * (fixed or 0), convert)


def _array(name: str, where: str, base: str, fixed: int | None) -> Field:
    """Numbers: one array, ``(n,)``."""
    dtype = np.dtype(_DTYPES.get(base, base))

    def convert(value: Any) -> Any:
        if isinstance(value, (bytes, bytearray, memoryview)) and dtype.itemsize == 1:
            value = np.frombuffer(value, dtype)
        if not (isinstance(value, np.ndarray) and value.dtype == dtype and value.ndim == 1 and value.flags.c_contiguous):
            value = np.ascontiguousarray(_numbers(value, dtype, where))
        if value.ndim != 1 or (fixed is not None and len(value) != fixed):
            raise UserError(f"{where} must have shape ({'n' if fixed is None else fixed},), got {value.shape}")
        return value

    return Field(name, lambda: np.zeros(fixed or 0, dtype), convert)


def _numbers(value: Any, dtype: np.dtype[Any], where: str) -> Any:
    """Numbers as an array of another type, which holds every one of them."""
    try:
        array = np.asarray(value)
        if dtype.kind in "iu" and array.dtype.kind in "fO":  # whole numbers too large for numpy's own integers
            array = np.asarray(value, object)
            fits = all(isinstance(number, (int, np.integer)) for number in array.flat)
        else:
            fits = not array.size or array.dtype.kind in {"f": "iuf", "b": "b"}.get(dtype.kind, "iu")
        if fits and array.size and dtype.kind in "iu":
            limits = np.iinfo(dtype)
            fits = limits.min <= int(array.min()) and int(array.max()) <= limits.max
    except ValueError:  # lists of unlike lengths
        fits = False
    if not fits:
        raise UserError(f"{where} must be numbers of type {dtype}, got {_described(value)}")
    return array.astype(dtype)


def _items(value: Any, where: str, fixed: int | None) -> list[Any] | tuple[Any, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise UserError(f"{where} must be a list, got {_described(value)}")
    items = value if isinstance(value, (list, tuple)) else list(value)
    if fixed is not None and len(items) != fixed:
        raise UserError(f"{where} must have {fixed} entries, got {len(items)}")
    return items


def _described(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:60]!r}"
