"""Rows onto the end of a store's array; images go there as they are encoded, without touching those in the same file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray

from robolearn.datasets.codecs import picture_codec
from robolearn.datasets.commit import DurableStore, chunk_keys, folder_of, grow, rows_per_file
from robolearn.datasets.layout import StoreError
from robolearn.datasets.shards import ABSENT, encoder_of, index_bytes, is_sound, pack, parse_index

Rows = NDArray[Any] | list[bytes]  # of an array, or images with their checksums, encoded


def encode(array: zarr.Array[Any], rows: NDArray[Any]) -> Rows:
    """Images ``(n, ...)`` as the array keeps them, on every core; rows of other arrays as they are.

    Raises:
        UserError: a package that the codec needs is not installed.
    """
    encoder = encoder_of(array)
    if encoder is None:
        return rows
    if picture_codec(array) is None or len(rows) < 4:
        return [encoder(row) for row in rows]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(encoder, rows))


def put_rows(array: zarr.Array[Any], start: int, rows: Rows) -> None:
    """Put rows at ``start`` and let the array end after them: their files first, the new length last."""
    if not isinstance(rows, list):
        return grow(array, start, rows)
    put_frames(array, start, rows)
    length = start + len(rows)
    if array.shape[0] != length:
        array.resize((length, *array.shape[1:]))


def put_frames(array: zarr.Array[Any], start: int, frames: Sequence[bytes]) -> None:
    """Write encoded images from row ``start`` on, beyond the array's length or not; what the last file holds before them stays.

    Raises:
        StoreError: that file is damaged.
    """
    file = rows_per_file(array)
    for first in range(start // file * file, start + len(frames), file):
        kept = held_frames(array, first, start)
        added = frames[max(first - start, 0) : first + file - start]
        write_shard(array, first, [*kept, *added])


def held_frames(array: zarr.Array[Any], first: int, stop: int) -> list[bytes | None]:
    """Encoded rows ``first`` to ``stop`` of the file that begins with row ``first``, with their checksums, verified; None: zeros.

    Raises:
        StoreError: they are damaged.
    """
    if stop <= first:
        return []
    path, size = _path(array, first), index_bytes(rows_per_file(array))
    data = path.read_bytes()
    index = parse_index(data[-size:])
    spans = [] if index is None else index[: stop - first].tolist()
    frames = [None if offset == ABSENT else data[offset : offset + length] for offset, length in spans]
    if len(frames) != stop - first or not all(frame is None or is_sound(frame) for frame in frames):
        raise StoreError(f"{path} is damaged (its checksum differs), nothing was added; restore it from a copy")
    return frames


def write_shard(array: zarr.Array[Any], first: int, frames: Sequence[bytes | None]) -> None:
    """Replace the file that begins with row ``first`` by encoded rows, atomically."""
    store = array.store
    assert isinstance(store, DurableStore)  # a store that is written to
    store.write(_path(array, first), pack(frames, rows_per_file(array)))


def _path(array: zarr.Array[Any], row: int) -> Path:
    (key,) = chunk_keys(array, row + 1, row)
    return folder_of(array) / key
