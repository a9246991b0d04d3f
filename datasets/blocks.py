"""Reading a store in blocks of bounded size, each chunk once, instead of whole arrays or episode by episode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

if TYPE_CHECKING:
    from robolearn.datasets.reader import StoreReader

BLOCK_BYTES = 1 << 24


def row_bytes(array: zarr.Array[Any]) -> int:
    """Bytes of one step, decoded."""
    return max(1, math.prod(array.shape[1:]) * array.dtype.itemsize)


def rows_a_block(array: zarr.Array[Any], unit: int | None = None, block_bytes: int = BLOCK_BYTES) -> int:
    """How many rows fit a block; a multiple of ``unit`` rows (a chunk's, unless given), and at least one unit."""
    unit = unit or int(array.chunks[0])
    return max(1, block_bytes // (row_bytes(array) * unit)) * unit


def blocks(store: StoreReader, name: str, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
    """``(first row, rows)`` of one array's committed steps ``start`` to ``stop``, in order.

    Raises:
        StoreError: the bytes are damaged or missing.
    """
    stop = store.num_steps if stop is None else stop
    rows = rows_a_block(store.step_arrays[name])
    while start < stop:
        end = min((start // rows + 1) * rows, stop)
        yield start, store.array(name, start, end)
        start = end


def split_at(edges: NDArray[np.int64], start: int, stop: int) -> NDArray[np.int64]:
    """Where rows ``start`` to ``stop`` change episode: ``(n + 1,)`` bounds from ``start`` to ``stop``.

    Args:
        edges: ends of the episodes, increasing, counted in rows.
        start: first row.
        stop: row after the last.
    """
    first, last = np.searchsorted(edges, [start, stop - 1], side="right")
    return np.concatenate([[start], edges[first:last], [stop]]).astype(np.int64)
