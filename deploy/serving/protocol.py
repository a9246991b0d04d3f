"""What policy server and client say to each other: msgpack frames ``[version, kind, id, fields]``, arrays as bytes with dtype and shape.

Both ends read what a stranger may have written. Nothing is allocated before its size is held against what really came, there are no
objects and no pickle, and whatever does not follow the tables below is a :class:`ProtocolError`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError

VERSION = 1
ARRAY = 1  # msgpack extension: dtype code, number of axes, axes, bytes
DTYPES = {1: "<f4", 2: "<f8", 3: "|u1", 4: "<u2", 5: "<i4", 6: "<i8"}
CODES = {np.dtype(name): code for code, name in DTYPES.items()}
MAX_AXES = 6
MAX_ITEMS = 4096  # in one list or map
MAX_NODES = 20_000  # lists, maps and their items in one frame: small frames must not grow in memory
HEAD = struct.Struct("<BB")


class ProtocolError(UserError):
    """A frame that is none of this protocol."""


@dataclass(frozen=True)
class Message:
    """One frame.

    Args:
        kind: one of :data:`FIELDS`.
        id: of the request; a reply and an error carry that of what they answer, 0 where it could not be read.
        body: its fields.
    """

    kind: str
    id: int
    body: Mapping[str, Any] = field(default_factory=dict)


def encode(message: Message) -> bytes:
    """A frame; the inverse of :func:`decode`.

    Raises:
        ProtocolError: a field that the kind does not have, or a value that cannot travel.
    """
    _check_body(message.kind, message.body)
    try:
        packed: bytes = msgpack.packb([VERSION, message.kind, message.id, message.body], default=_pack_array, strict_types=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"{message.kind}: {error}") from error
    return packed


def decode(frame: bytes | str) -> Message:
    """What a frame says; arrays are read-only views of it.

    Raises:
        ProtocolError: it is no frame of this version, or breaks a promise of its kind.
    """
    if not isinstance(frame, bytes | bytearray):
        raise ProtocolError("a text frame came; this protocol is binary")
    count = _Count()
    try:
        content = msgpack.unpackb(
            frame,
            ext_hook=_unpack_array,
            list_hook=count.items,
            object_pairs_hook=count.pairs,
            strict_map_key=True,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
        )
    except ProtocolError:
        raise
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
        raise ProtocolError(f"no msgpack of this protocol: {str(error)[:200] or type(error).__name__}") from error
    return _message(content)


def _message(content: Any) -> Message:
    if not isinstance(content, list) or len(content) != 4:
        raise ProtocolError("a frame is [version, kind, id, fields]")
    version, kind, number, body = content
    if version != VERSION or isinstance(version, bool):
        raise ProtocolError(f"this is version {VERSION} of the protocol, the other side speaks {str(version)[:20]}: update the older one")
    if not isinstance(kind, str) or kind not in FIELDS:
        raise ProtocolError(f"no kind of message {str(kind)[:40]!r}; there are {', '.join(FIELDS)}")
    if not _is_count(number):
        raise ProtocolError(f"{kind}: an id is a whole number from 0, not {str(number)[:40]!r}")
    _check_body(kind, body)
    return Message(kind, number, body)


class _Count:
    """Counts what a frame unpacks to, and stops it early."""

    def __init__(self) -> None:
        self.nodes = 0

    def items(self, items: list[Any]) -> list[Any]:
        self.nodes += 1 + len(items)
        if self.nodes > MAX_NODES:
            raise ProtocolError(f"more than {MAX_NODES} things in one frame")
        return items

    def pairs(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        self.items(pairs)
        if not all(isinstance(key, str) for key, _ in pairs):
            raise ProtocolError("the keys of a map are text")
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ProtocolError("a map names a key twice")
        return found


def _pack_array(value: Any) -> Any:
    """An array as an extension, a numpy number as a plain one, a tuple as a list."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a {type(value).__name__} does not travel")
    if value.dtype.newbyteorder("<") not in CODES or value.ndim > MAX_AXES or not value.size:
        known = ", ".join(map(str, CODES))
        raise TypeError(f"an array of {value.dtype} and shape {value.shape} does not travel; {known} with at most {MAX_AXES} axes do")
    plain = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    head = HEAD.pack(CODES[plain.dtype], value.ndim) + struct.pack(f"<{value.ndim}I", *value.shape)
    return msgpack.ExtType(ARRAY, head + plain.tobytes())


def _unpack_array(code: int, data: bytes) -> NDArray[Any]:
    if code != ARRAY or len(data) < HEAD.size:
        raise ProtocolError("an extension that is no array")
    kind, axes = HEAD.unpack_from(data)
    begin = HEAD.size + 4 * axes
    if kind not in DTYPES or axes > MAX_AXES or len(data) < begin:
        raise ProtocolError("an array of an unknown kind")
    shape = struct.unpack_from(f"<{axes}I", data, HEAD.size)
    dtype = np.dtype(DTYPES[kind])
    if 0 in shape or math.prod(shape) * dtype.itemsize != len(data) - begin:  # whole numbers of Python: nothing overflows
        raise ProtocolError(f"an array of shape {shape} and {dtype} in {len(data) - begin} bytes")
    return np.frombuffer(data, dtype, offset=begin).reshape(shape)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _map_of(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(test, value.values()))


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("a text", _is_text),
    "text?": ("a text or null", lambda value: value is None or _is_text(value)),
    "texts": ("a list of texts", lambda value: isinstance(value, list | tuple) and all(map(_is_text, value))),
    "truth": ("true or false", lambda value: isinstance(value, bool)),
    "count": ("a whole number from 0", _is_count),
    "whole": ("a whole number of 64 bits", lambda value: type(value) is int and -(1 << 63) <= value < 1 << 63),
    "number": ("a finite number", _is_number),
    "numbers": ("a map to finite numbers", _map_of(_is_number)),
    "map": ("a map", lambda value: isinstance(value, Mapping)),
    "array": ("an array", _is_array),
    "array?": ("an array or null", lambda value: value is None or _is_array(value)),
    "arrays": ("a map to arrays", _map_of(_is_array)),
}
# What each kind of message says. A client asks hello first, then sample, refine, dial and ping; all but hello get a reply or an error.
FIELDS: dict[str, dict[str, str]] = {
    "hello": {"client": "text", "spec": "map"},
    "welcome": {
        "model": "text",
        "spec": "map",
        "observation_keys": "texts",
        "refine_keys": "texts",
        "observation_horizon": "count",
        "prediction_horizon": "count",
        "action_horizon": "count",
        "residual": "truth",
        "critic": "truth",
        "candidates": "count",
        "dials": "numbers",
    },
    "sample": {"observation": "arrays", "seed": "whole", "decision": "count", "task": "text?"},
    "refine": {"observation": "arrays", "base_action": "array", "phase": "count"},
    "dial": {"name": "text", "value": "number"},
    "ping": {},
    "reply": {"result": "array?", "info": "map", "timings": "numbers"},
    "error": {"code": "text", "message": "text"},
}


def _check_body(kind: str, body: Any) -> None:
    fields = FIELDS[kind]
    if not isinstance(body, Mapping) or body.keys() != fields.keys():
        raise ProtocolError(f"{kind} has the fields {', '.join(fields) or 'none'}; got {_named(body)}")
    for name, wanted in fields.items():
        words, test = KINDS[wanted]
        if not test(body[name]):
            raise ProtocolError(f"{kind}: {name} is {words}, not {type(body[name]).__name__} {repr(body[name])[:60]}")


def _named(body: Any) -> str:
    return ", ".join(sorted(map(str, body)))[:200] if isinstance(body, Mapping) else type(body).__name__
