"""Rows onto the end of a store's array; images go there as they are encoded, without touching those in the same file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync

from robolearn.datasets.address import Url
from robolearn.datasets.codecs import picture_codec
from robolearn.datasets.commit import announce, chunk_keys, grow, rows_per_file, settle
from robolearn.datasets.layout import SIM_STATE, StoreError
from robolearn.datasets.place import one_line
from robolearn.datasets.shards import ABSENT, encoder_of, index_bytes, is_sound, pack, parse_index
from robolearn.errors import UserError

Rows = NDArray[Any] | list[bytes]  # of an array, or images with their checksums, encoded


@contextlib.contextmanager
def told(path: Path | Url, committed: int) -> Iterator[None]:
    """Whatever goes wrong while rows are added behind ``committed`` episodes is a ``StoreError``."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        settle()
        raise StoreError(
            f"could not write to {path}: {one_line(error)}; its {committed} committed episodes are whole, what was being added is not kept"
        ) from error
    except Exception as error:  # zarr raises many kinds for a damaged last file, which it reads to add to it
        raise StoreError(
            f"{path} is damaged ({one_line(error)}), nothing was added; `robolearn data check store={path}` names the episodes"
        ) from error


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


def joined(
    episodes: Sequence[Mapping[str, NDArray[Any]]], lengths: Sequence[int], there: Mapping[str, zarr.Array[Any]]
) -> dict[str, NDArray[Any]]:
    """Episodes' arrays end to end; an episode without simulator state gets NaN where others, or the store, have one.

    Raises:
        StoreError: simulator states of several sizes.
    """
    steps = {name: np.concatenate([entry[name] for entry in episodes]) for name in episodes[0] if name != SIM_STATE}
    sizes = {entry[SIM_STATE].shape[1:] for entry in episodes if SIM_STATE in entry}
    sizes |= {there[SIM_STATE].shape[1:]} if SIM_STATE in there else set()
    if len(sizes) > 1:
        raise StoreError(f"sim_state has shapes {sorted(sizes)} a step; the episodes of a store share one simulator model")
    for shape in sizes:
        blanks = [np.full((length, *shape), np.nan) for length in lengths]
        steps[SIM_STATE] = np.concatenate([entry.get(SIM_STATE, blank) for entry, blank in zip(episodes, blanks, strict=True)])
    return steps


def put_rows(array: zarr.Array[Any], start: int, rows: Rows) -> None:
    """Put rows at ``start`` and let the array end after them: their files first, the new length last."""
    if not isinstance(rows, list):
        return grow(array, start, rows)
    announce(array, start + len(rows))
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
    key, size = _key(array, first), index_bytes(rows_per_file(array))
    found = sync(array.store.get(key, default_buffer_prototype()))
    data = b"" if found is None else found.to_bytes()
    index = parse_index(data[-size:])
    spans = [] if index is None else index[: stop - first].tolist()
    frames = [None if offset == ABSENT else data[offset : offset + length] for offset, length in spans]
    if len(frames) != stop - first or not all(frame is None or is_sound(frame) for frame in frames):
        raise StoreError(f"{array.store}: {key} is damaged (its checksum differs), nothing was added; restore it from a copy")
    return frames


def write_shard(array: zarr.Array[Any], first: int, frames: Sequence[bytes | None]) -> None:
    """Replace the file that begins with row ``first`` by encoded rows, atomically."""
    data = cpu.Buffer.from_bytes(pack(frames, rows_per_file(array)))
    sync(array.store.set(_key(array, first), data))


def _key(array: zarr.Array[Any], row: int) -> str:
    (key,) = chunk_keys(array, row + 1, row)
    return f"{array.path}/{key}"
