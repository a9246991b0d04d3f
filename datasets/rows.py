"""Where the rows of a window come from: memory, a flat file mapped into it, or chunks of a store read when they are needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.blocks import row_bytes
from robolearn.datasets.layout import StoreError
from robolearn.datasets.reader import StoreReader
from robolearn.errors import UserError

Rows = NDArray[np.int64]


class RowSource(Protocol):
    """One array of one or several stores, end to end."""

    def take(self, rows: Rows) -> NDArray[Any]:
        """The rows, ``(*rows.shape, ...)``, the same to the bit whatever the source."""
        ...


class Held:
    """Rows of an array ``(T, ...)`` in memory, or mapped into it."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def take(self, rows: Rows) -> NDArray[Any]:
        """See :class:`RowSource`."""
        return np.asarray(self.array.take(rows, axis=0))


class Joined:
    """Several sources, one after the other; ``lengths`` are their rows."""

    def __init__(self, sources: Sequence[RowSource], lengths: Sequence[int]) -> None:
        self.sources, self.ends = list(sources), np.cumsum(lengths)

    def take(self, rows: Rows) -> NDArray[Any]:
        """See :class:`RowSource`."""
        if len(self.sources) == 1:
            return self.sources[0].take(rows)
        flat = rows.reshape(-1)
        owner = np.searchsorted(self.ends, flat, side="right")
        out: NDArray[Any] | None = None
        for number in np.unique(owner):
            places = np.flatnonzero(owner == number)
            part = self.sources[number].take(flat[places] - (self.ends[number - 1] if number else 0))
            out = np.empty((len(flat), *part.shape[1:]), part.dtype) if out is None else out
            out[places] = part
        assert out is not None  # a batch has rows
        return out.reshape(*rows.shape, *out.shape[1:])


# Chunks to leave room for while one is decoded: on a busy machine zarr's thread still holds the one before, encoded and decoded.
_IN_FLIGHT = 3


class RowCache:
    """Decoded blocks of arrays, those used last; never more than ``limit`` bytes, the one being decoded included.

    Attributes:
        bytes: held now.
        peak: most that was ever held.
        decoded: blocks decoded so far.
        lock: held by whoever takes rows, as a thread may gather the next batch meanwhile.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise UserError(f"cache_bytes must be at least 1, got {limit}")
        self.limit, self.bytes, self.peak, self.decoded = limit, 0, 0, 0
        self.lock = Lock()
        self._blocks: OrderedDict[tuple[Any, ...], NDArray[Any]] = OrderedDict()

    def get(self, key: tuple[Any, ...]) -> NDArray[Any] | None:
        """A block, if it is here; it is then the last used."""
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
        return block

    def make_room(self, size: int) -> None:
        """Drop the blocks used longest ago until ``size`` bytes more are within the limit."""
        while self._blocks and self.bytes + size > self.limit:
            _, dropped = self._blocks.popitem(last=False)
            self.bytes -= dropped.nbytes

    def put(self, key: tuple[Any, ...], block: NDArray[Any]) -> None:
        """Keep a block that was just decoded."""
        self.decoded += 1
        self.make_room(block.nbytes)
        self._blocks[key] = block
        self.bytes += block.nbytes
        self.peak = max(self.peak, self.bytes)


class Streamed:
    """Rows of one array of a store, read when they are needed; each chunk is decoded at most once a batch.

    Args:
        store: where the array is.
        name: the array.
        cache: shared with other arrays.

    Raises:
        StoreError: there is no such array, or one of its chunks is larger than the cache.
    """

    def __init__(self, store: StoreReader, name: str, cache: RowCache) -> None:
        store.array(name, 0, 0)  # says what is wrong before any training
        self.store, self.name, self.cache = store, name, cache
        array = store.step_arrays[name]
        self.dtype, self.shape, self.rows_a_block = array.dtype, array.shape[1:], int(array.chunks[0])
        self._row_bytes = row_bytes(array)
        if self._row_bytes * self.rows_a_block > cache.limit:
            raise StoreError(
                f"{store.path}: a chunk of data/{name} is {self._row_bytes * self.rows_a_block:,} bytes, more than "
                f"cache_bytes={cache.limit:,}; give a larger cache_bytes"
            )

    def take(self, rows: Rows) -> NDArray[Any]:
        """See :class:`RowSource`."""
        flat = rows.reshape(-1)
        order = np.argsort(flat, kind="stable")
        numbers, begins = np.unique(flat[order] // self.rows_a_block, return_index=True)
        places = dict(zip(numbers.tolist(), np.split(order, begins[1:]), strict=True))  # rows of each block
        out = np.empty((len(flat), *self.shape), self.dtype)
        with self.cache.lock:
            for number, block in self._blocks(list(places)):
                where = places[number]
                out[where] = block if self.rows_a_block == 1 else block[flat[where] - number * self.rows_a_block]
        return out.reshape(*rows.shape, *self.shape)

    def _blocks(self, numbers: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
        """``(number, rows)`` of each block: first those that are here, then the others."""
        missing = []
        for number in numbers:
            block = self.cache.get(self._key(number))
            if block is None:
                missing.append(number)
            else:
                yield number, block
        for number in missing:
            self.cache.make_room(_IN_FLIGHT * self._row_bytes * self.rows_a_block)
            start = number * self.rows_a_block
            block = self.store.array(self.name, start, start + self.rows_a_block)
            self.cache.put(self._key(number), block)
            yield number, block

    def _key(self, number: int) -> tuple[Any, ...]:
        return id(self.store), self.name, number
