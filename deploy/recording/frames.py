"""What goes through the pipe to the recorder's process: a small msgpack header, then the bytes of a message or of a step's arrays."""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

PREFIX = struct.Struct("<IQ")  # bytes of the header, and of what follows it
MOST_HEADER = 16 << 20  # more is no frame of ours
READ = 1 << 20
Buffer = bytes | memoryview


@dataclass(frozen=True)
class Frame:
    """One thing said.

    Args:
        kind: what it is.
        fields: its values, of msgpack's types.
        blobs: bytes that travel beside, uncopied.
    """

    kind: str
    fields: Mapping[str, Any]
    blobs: Sequence[bytes] = ()


def pack(kind: str, fields: Mapping[str, Any], blobs: Sequence[Buffer] = ()) -> list[Buffer]:
    """A frame as buffers to be written one behind the other; the inverse of :meth:`FrameReader.next`."""
    sizes = [len(blob) for blob in blobs]
    header = msgpack.packb([kind, dict(fields), sizes])
    return [PREFIX.pack(len(header), sum(sizes)) + header, *blobs]


def pack_arrays(kind: str, fields: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> list[Buffer]:
    """A frame of named arrays, contiguous and of numbers; the inverse of :func:`arrays_of`."""
    table = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    return pack(kind, {**fields, "arrays": table}, [array.reshape(-1).view(np.uint8).data for array in arrays.values()])


def arrays_of(frame: Frame) -> dict[str, NDArray[Any]]:
    """The named arrays of a frame that :func:`pack_arrays` made; read-only."""
    table = frame.fields["arrays"]
    return {
        name: np.frombuffer(blob, np.dtype(dtype)).reshape(shape) for (name, dtype, shape), blob in zip(table, frame.blobs, strict=True)
    }


class FrameReader:
    """Reads frames from a file descriptor.

    Args:
        descriptor: of a pipe, open for reading.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._ended = False

    def next(self, timeout: float) -> Frame | None:
        """The next frame, or None where none is whole within ``timeout`` [s].

        Raises:
            EOFError: the writer is gone; a frame that it had begun is forgotten.
            ValueError: these are no frames.
        """
        while True:
            frame = self._parse()
            if frame is not None:
                return frame
            if self._ended:
                raise EOFError
            if not select.select([self._descriptor], [], [], timeout)[0]:
                return None
            data = os.read(self._descriptor, READ)
            self._ended = not data
            self._buffer += data

    def _parse(self) -> Frame | None:
        if len(self._buffer) < PREFIX.size:
            return None
        head, tail = PREFIX.unpack_from(self._buffer)
        if head > MOST_HEADER:
            raise ValueError(f"a header of {head} bytes is no frame")
        end = PREFIX.size + head + tail
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view:
            kind, fields, sizes = msgpack.unpackb(view[PREFIX.size : PREFIX.size + head])
            start, blobs = PREFIX.size + head, []
            for size in sizes:
                blobs.append(bytes(view[start : start + size]))
                start += size
        del self._buffer[:end]
        return Frame(kind, fields, blobs)
