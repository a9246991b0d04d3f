"""Messages full of random values, of any type, and ways to spoil their bytes."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype

from robolearn.deploy.messages import Messages

_COUNTS = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, 0x80000000, 255)


def random_message(messages: Messages, type: str, random: np.random.Generator) -> Any:
    """A message whose every field, nested ones too, holds something."""
    fields = {
        name: _value(messages, description, random)
        for name, description in messages.store.fielddefs[type][1]
        if name != "structure_needs_at_least_one_member"
    }
    return messages.new(type, **fields)


def _value(messages: Messages, description: Any, random: np.random.Generator) -> Any:
    kind, what = description
    if kind == Nodetype.NAME:
        return random_message(messages, what, random)
    if kind == Nodetype.BASE:
        return _scalar(what[0], random)
    inner, length = what
    count = length if kind == Nodetype.ARRAY else int(random.integers(1, 4))
    return [_value(messages, inner, random) for _ in range(count)]


def _scalar(base: str, random: np.random.Generator) -> Any:
    if base == "string":
        return "".join(chr(int(letter)) for letter in random.integers(32, 300, int(random.integers(0, 9))))
    if base == "bool":
        return bool(random.integers(2))
    if base.startswith("float"):
        return float(np.float32(random.normal()))
    limits = np.iinfo({"byte": "int8", "char": "uint8"}.get(base, base))
    return int(random.integers(limits.min, limits.max, endpoint=True, dtype=limits.dtype.type))


def spoilt(raw: bytes, random: np.random.Generator) -> bytes:
    """Hostile bytes: flipped, cut, prolonged, or with a huge number where a length might stand."""
    data = bytearray(raw)
    for _ in range(int(random.integers(1, 4))):
        kind = int(random.integers(6))
        place = int(random.integers(len(data))) if data else 0
        if kind == 0 and data:
            data[place] ^= 1 << int(random.integers(8))
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data += random.bytes(int(random.integers(1, 64)))
        elif kind == 3:
            word = place & ~3
            data[word : word + 4] = struct.pack("<I", _COUNTS[int(random.integers(len(_COUNTS)))])
        elif kind == 4:
            data[place : place + 8] = random.bytes(8)
        elif len(data) > 1:
            data[1] = int(random.integers(256))  # another encoding
    return bytes(data)
