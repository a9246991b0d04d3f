"""The files that hold images: zarr shards of single rows, each encoded and checksummed by itself, with their index at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import zstd
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from robolearn.datasets.codecs import PictureCodec, frame_codecs

ABSENT = 2**64 - 1  # offset and length of a row that a shard does not hold, which reads as zeros
_INDEX = np.dtype("<u8")
_CHECKSUM = 4  # bytes


def is_framed(array: zarr.Array[Any]) -> bool:
    """Whether each file is a shard of single rows with its index at the end, checksummed, as this project writes images."""
    codecs = frame_codecs(array)
    if codecs is None or not codecs or not isinstance(codecs[-1], Crc32cCodec):
        return False
    (shard,) = array.metadata.codecs  # type: ignore[union-attr]
    return (
        isinstance(shard, ShardingCodec)
        and tuple(array.shards or ())[1:] == tuple(array.shape[1:])
        and shard.index_location.value == "end"
        and [type(entry) for entry in shard.index_codecs] == [BytesCodec, Crc32cCodec]
    )


def index_bytes(rows: int) -> int:
    """Length of the index of a shard of so many rows, at its file's end."""
    return 2 * _INDEX.itemsize * rows + _CHECKSUM


def parse_index(tail: bytes) -> NDArray[np.uint64] | None:
    """Offset and length of each row in its file, ``(rows, 2)``, from the last :func:`index_bytes`; None where they are damaged."""
    if len(tail) <= _CHECKSUM or not is_sound(tail):
        return None
    return np.frombuffer(tail[:-_CHECKSUM], _INDEX).reshape(-1, 2)


def is_sound(row: bytes | memoryview) -> bool:
    """Whether the checksum at the end of encoded bytes is theirs."""
    return len(row) >= _CHECKSUM and google_crc32c.value(bytes(row[:-_CHECKSUM])) == int.from_bytes(row[-_CHECKSUM:], "little")


def sealed(data: bytes) -> bytes:
    """Encoded bytes with their checksum."""
    return data + int(google_crc32c.value(data)).to_bytes(_CHECKSUM, "little")


def content(row: bytes | memoryview) -> bytes | memoryview:
    """Encoded bytes without their checksum."""
    return row[:-_CHECKSUM]


def pack(rows: Sequence[bytes | None], size: int) -> bytes:
    """A shard of ``size`` rows from encoded rows with their checksums; None, and what is beyond the last, is not held."""
    index = np.full((size, 2), ABSENT, _INDEX)
    place = 0
    for number, row in enumerate(rows):
        if row is not None:
            index[number] = place, len(row)
            place += len(row)
    return b"".join([*(row for row in rows if row is not None), sealed(index.tobytes())])


def encoder_of(array: zarr.Array[Any]) -> Callable[[NDArray[Any]], bytes] | None:
    """What turns a row ``(...)`` of a framed array into encoded bytes with their checksum; None where zarr alone knows."""
    codecs = frame_codecs(array) or ()
    if not is_framed(array):
        return None
    codec = codecs[0]
    if isinstance(codec, PictureCodec) and len(codecs) == 2:
        return lambda row: sealed(codec.encode_picture(row))
    if not _is_plain(codecs):
        return None
    level, little = codecs[1].level, array.dtype.newbyteorder("<")
    return lambda row: sealed(zstd.compress(np.ascontiguousarray(row, little), level))


def decoder_of(array: zarr.Array[Any]) -> Callable[[bytes | memoryview, NDArray[Any]], None] | None:
    """What turns encoded bytes without checksum into a row, in ``out (...)``; None where zarr alone knows.

    The function raises ``ValueError`` or ``RuntimeError`` for bytes that are no such row.
    """
    codecs = frame_codecs(array) or ()
    if not is_framed(array):
        return None
    if isinstance(codecs[0], PictureCodec) and len(codecs) == 2:
        return codecs[0].decode_picture
    return _decode_plain if _is_plain(codecs) else None


def _decode_plain(data: bytes | memoryview, out: NDArray[Any]) -> None:
    zstd.decompress(data, out)


def _is_plain(codecs: Sequence[Any]) -> bool:
    """Whether rows are raw little-endian bytes in zstd, as this project keeps what is no colour picture."""
    kinds = [type(entry) for entry in codecs] == [BytesCodec, ZstdCodec, Crc32cCodec]
    return kinds and (codecs[0].endian is None or codecs[0].endian.value == "little")
