"""TFRecord files of tf.train.Example records, read without TensorFlow: framing, masked checksums, and the few protobuf fields there are."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.layout import StoreError

_HEADER, _CHECKSUM = struct.Struct("<QI"), struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
_LENGTH_DELIMITED, _FIXED32 = 2, 5
_WIRE_SIZES = {1: 8, _FIXED32: 4}
_MAX_RECORD = 1 << 33

Values = NDArray[Any] | list[bytes]


class RecordError(ValueError):
    """A record is no tf.train.Example."""


def masked_crc32c(data: bytes | memoryview) -> int:
    """TFRecord's checksum: CRC-32C rotated right by 15 bits plus a constant, so that checksums of checksums do not fail."""
    crc: int = google_crc32c.value(bytes(data))
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def records(path: Path) -> Iterator[bytes]:
    """The records of a file, each with both its checksums verified.

    Raises:
        StoreError: the file is cut off or damaged; the message says at which record.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            number = 0
            while header := file.read(_HEADER.size):
                what = f"{path}: record {number} is damaged"
                if len(header) < _HEADER.size:
                    raise StoreError(f"{what}: the file is cut off in its header; copy it anew from its source")
                length, checksum = _HEADER.unpack(header)
                if masked_crc32c(header[:8]) != checksum:
                    raise StoreError(f"{what}: its length fails its checksum (or this is no TFRecord file); copy it anew from its source")
                if length > min(size - file.tell(), _MAX_RECORD):
                    raise StoreError(f"{what}: the file is cut off in its {length} bytes; copy it anew from its source")
                data, tail = file.read(length), file.read(_CHECKSUM.size)
                if len(tail) < _CHECKSUM.size or masked_crc32c(data) != _CHECKSUM.unpack(tail)[0]:
                    raise StoreError(f"{what}: its content fails its checksum; copy it anew from its source")
                yield data
                number += 1
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def parse_example(data: bytes, wanted: set[str] | None = None) -> dict[str, Values]:
    """The features of a serialised tf.train.Example: bytes as a list, floats and integers as flat arrays.

    Args:
        data: the message.
        wanted: names of the features to decode; all unless given.

    Raises:
        RecordError: it is none.
    """
    features: dict[str, Values] = {}
    for _, message in _fields(memoryview(data), {1}):  # Example.features
        for _, entry in _fields(message, {1}):  # Features.feature, a map: entries of key and value
            parts = dict(_fields(entry, {1, 2}))
            try:
                name = bytes(parts.get(1, b"")).decode()
            except UnicodeDecodeError as error:
                raise RecordError(f"a feature's name is no text: {error}") from error
            if wanted is None or name in wanted:
                features[name] = _feature(parts.get(2, memoryview(b"")))
    return features


def _feature(message: memoryview) -> Values:
    """One of the lists of a Feature: 1 bytes, 2 floats, 3 integers; ``[]`` where there is none."""
    values: Values = []
    for kind, entries in _fields(message, {1, 2, 3}):
        if kind == 1:
            values = [bytes(entry) for _, entry in _fields(entries, {1})]
        else:
            pieces = [_numbers(entry, kind) for _, entry in _fields(entries, {1})]
            values = np.concatenate(pieces) if pieces else np.zeros(0, np.float32 if kind == 2 else np.int64)
    return values


def _numbers(packed: memoryview, kind: int) -> NDArray[Any]:
    """Packed floats or varints; one that is not packed is a pack of one."""
    if kind == 2:
        if len(packed) % 4:
            raise RecordError("a list of floats is cut off")
        return np.frombuffer(packed, "<f4")
    data = np.frombuffer(packed, np.uint8)
    last = np.flatnonzero(data < 128)
    if len(data) and (not len(last) or last[-1] != len(data) - 1):
        raise RecordError("a list of integers is cut off")
    starts = np.concatenate([[0], last[:-1] + 1]).astype(np.int64) if len(last) else np.zeros(0, np.int64)
    places = np.arange(len(data)) - np.repeat(starts, np.diff(starts, append=len(data)))
    if places.max(initial=0) > 9:
        raise RecordError("an integer is longer than 64 bits")
    bits = (data & 127).astype(np.uint64) << (7 * places).astype(np.uint64)
    whole: NDArray[np.uint64] = np.bitwise_or.reduceat(bits, starts) if len(starts) else np.zeros(0, np.uint64)
    return whole.view(np.int64)


def _fields(message: memoryview, numbers: set[int]) -> Iterator[tuple[int, memoryview]]:
    """The content of a message's fields of these numbers, in order; others are passed over."""
    place, end = 0, len(message)
    while place < end:
        tag, place = _varint(message, place)
        wire, number = tag & 7, tag >> 3
        start = place
        if wire == _LENGTH_DELIMITED:
            length, start = _varint(message, place)
            place = start + length
        elif wire == 0:
            _, place = _varint(message, place)
        elif wire in _WIRE_SIZES:
            place += _WIRE_SIZES[wire]
        else:
            raise RecordError(f"it has a field of wire type {wire}, which no tf.train.Example has")
        if place > end:
            raise RecordError("a field is cut off")
        if number in numbers:
            yield number, message[start:place]


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise RecordError("a number is cut off")
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise RecordError("a number is longer than 64 bits")
