"""Copies runs of steps from stores into a new one: encoded bytes where they fit, so that no image is ever encoded twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ShardingCodec
from zarr.core.metadata import ArrayV3Metadata

from robolearn.datasets.blocks import rows_a_block
from robolearn.datasets.commit import chunk_keys, folder_of, resized_view, rows_per_file
from robolearn.datasets.layout import StoreError
from robolearn.datasets.reader import StoreReader
from robolearn.datasets.shards import ABSENT, index_bytes, is_framed, is_sound, pack, parse_index


@dataclass(frozen=True)
class Runs:
    """The rows of a new store, as runs of consecutive rows of its sources.

    Args:
        source: ``(R,)`` which store each run comes from.
        start: ``(R,)`` its first row there.
        ends: ``(R,)`` where it ends in the new store.
    """

    source: NDArray[np.int64]
    start: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def joined(cls, source: Sequence[int], start: Sequence[int], length: Sequence[int]) -> Runs:
        """Runs of the given lengths, those that follow one another in their source made one."""
        sources, starts, lengths = (np.asarray(values, np.int64) for values in (source, start, length))
        ends = np.cumsum(lengths)
        follows = np.zeros(len(sources), bool)
        follows[1:] = (sources[1:] == sources[:-1]) & (starts[1:] == starts[:-1] + lengths[:-1])
        return cls(sources[~follows], starts[~follows], ends[np.append(~follows, True)[1:]] if len(ends) else ends)

    @property
    def num_rows(self) -> int:
        """Rows of the new store."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def within(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """``(source, first row, row after the last)`` of what lies in rows ``start`` to ``stop`` of the new store, in order."""
        run = int(np.searchsorted(self.ends, start, side="right"))
        while start < stop:
            end = min(stop, int(self.ends[run]))
            begins = int(self.ends[run - 1]) if run else 0
            first = int(self.start[run]) + start - begins
            yield int(self.source[run]), first, first + end - start
            start, run = end, run + 1


def copy_array(
    name: str, target: zarr.Array[Any], sources: Sequence[StoreReader], runs: Runs, advance: Callable[[int], None]
) -> zarr.Array[Any]:
    """Fill a new store's empty array with the rows of ``runs``, in blocks of bounded size; ``advance`` is told how many rows.

    A file whose rows lie in one file of a source is copied as it is; a shard of single frames is put together from encoded
    frames; anything else is decoded and encoded again. Checksums are verified on the way.

    Raises:
        StoreError: a source is damaged; the message names the file.
    """
    target = resized_view(target, runs.num_rows)
    alike = [name in source.array_names and same_coding(source.step_arrays[name], target) for source in sources]
    framed = all(alike) and is_framed(target)
    file = rows_per_file(target)
    unit = rows_a_block(target, file)
    for start in range(0, runs.num_rows, unit):
        stop = min(start + unit, runs.num_rows)
        parts = list(runs.within(start, stop))
        number, row, end = parts[0]
        if len(parts) == 1 and alike[number] and row % file == 0 and (end - row) % file == 0:
            for offset in range(0, stop - start, file):
                _copy_file(name, sources[number], target, row + offset, start + offset)
        elif framed:
            for first in range(start, stop, file):
                _copy_frames(name, sources, target, list(runs.within(first, min(first + file, stop))), first)
        else:
            target[start:stop] = _decoded(name, sources, target, parts)
        advance(stop - start)
    return target


def same_coding(one: zarr.Array[Any], other: zarr.Array[Any]) -> bool:
    """Whether the files of two arrays are encoded alike."""
    return coding(one) == coding(other)


def coding(array: zarr.Array[Any]) -> dict[str, Any]:
    """An array's metadata without its length and notes."""
    metadata = array.metadata.to_dict()
    return {**{key: value for key, value in metadata.items() if key != "attributes"}, "shape": tuple(array.shape[1:])}


def codecs_of(array: zarr.Array[Any]) -> Sequence[Any]:
    """What encodes an array's files, in order."""
    assert isinstance(array.metadata, ArrayV3Metadata)  # a store is opened as zarr v3
    return array.metadata.codecs


def _sharding(array: zarr.Array[Any]) -> ShardingCodec | None:
    codecs = codecs_of(array)
    return codecs[0] if len(codecs) == 1 and isinstance(codecs[0], ShardingCodec) else None


def _copy_file(name: str, source: StoreReader, target: zarr.Array[Any], row: int, first: int) -> None:
    """One whole file, byte by byte, after its checksums."""
    array = source.step_arrays[name]
    data = _read_file(source, array, row)
    codec = _sharding(array)
    if codec is not None and is_framed(array):
        for offset, length in _index(source, array, data, row):
            if offset != ABSENT:
                _verify(source, array, data[offset : offset + length], row, codec.codecs)
    else:
        _verify(source, array, data, row, codecs_of(array))
    _write_file(target, first, data)


def _copy_frames(
    name: str, sources: Sequence[StoreReader], target: zarr.Array[Any], parts: Sequence[tuple[int, int, int]], first: int
) -> None:
    """One shard, put together from encoded frames of the sources' shards."""
    frames = [frame for number, start, stop in parts for frame in _encoded_frames(sources[number], name, start, stop)]
    _write_file(target, first, pack(frames, rows_per_file(target)))


def _encoded_frames(source: StoreReader, name: str, start: int, stop: int) -> Iterator[bytes | None]:
    """Encoded rows ``start`` to ``stop``; None for one that its shard does not hold (which reads as zeros)."""
    array = source.step_arrays[name]
    codec, file = _sharding(array), rows_per_file(array)
    assert codec is not None
    for row in range(start // file * file, stop, file):
        data = _read_file(source, array, row)
        index = _index(source, array, data, row)
        for offset, length in index[max(start - row, 0) : min(stop - row, file)]:
            if offset == ABSENT:
                yield None
                continue
            frame = data[offset : offset + length]
            _verify(source, array, frame, row, codec.codecs)
            yield frame


def _index(source: StoreReader, array: zarr.Array[Any], data: bytes, row: int) -> list[tuple[int, int]]:
    """Where each frame of a shard lies in its file: ``(offset, length)``."""
    index = parse_index(data[-index_bytes(rows_per_file(array)) :])
    if index is None or len(index) != rows_per_file(array):
        raise _damaged(source, array, row)
    return [(int(offset), int(length)) for offset, length in index]


def _verify(source: StoreReader, array: zarr.Array[Any], data: bytes, row: int, codecs: Sequence[Any]) -> None:
    """Raise ``StoreError`` where the checksum after the encoded bytes is not theirs."""
    if not codecs or not isinstance(codecs[-1], Crc32cCodec):
        return
    if not is_sound(data):
        raise _damaged(source, array, row)


def _decoded(name: str, sources: Sequence[StoreReader], target: zarr.Array[Any], parts: Sequence[tuple[int, int, int]]) -> NDArray[Any]:
    """Rows of the new store, decoded; NaN where a source lacks the array (simulator states)."""
    pieces: list[NDArray[Any]] = []
    position = 0
    while position < len(parts):
        number, start, _ = parts[position]
        near = position + 1  # short gaps are read over: a chunk is decoded once, however many pieces are cut from it
        while near < len(parts) and parts[near][0] == number and 0 <= parts[near][1] - parts[near - 1][2] <= target.chunks[0]:
            near += 1
        source = sources[number]
        last = parts[near - 1][2]
        if name in source.array_names:
            rows = source.array(name, start, last)
            pieces += [rows[a - start : b - start] for _, a, b in parts[position:near]]
        else:
            pieces += [np.full((b - a, *target.shape[1:]), np.nan, target.dtype) for _, a, b in parts[position:near]]
        position = near
    return np.concatenate(pieces)


def _file(array: zarr.Array[Any], row: int) -> Path:
    (key,) = chunk_keys(array, row + 1, row)
    return folder_of(array) / key


def _read_file(source: StoreReader, array: zarr.Array[Any], row: int) -> bytes:
    try:
        return _file(array, row).read_bytes()
    except FileNotFoundError:
        raise StoreError(
            f"{source.path}: {array.path} lacks the file {_file(array, row).relative_to(folder_of(array))}; "
            f"`robolearn data check store={source.path}` names the episodes"
        ) from None


def _write_file(array: zarr.Array[Any], row: int, data: bytes) -> None:
    file = _file(array, row)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def _damaged(source: StoreReader, array: zarr.Array[Any], row: int) -> StoreError:
    return StoreError(
        f"{source.path}: {array.path}/{_file(array, row).relative_to(folder_of(array))} is damaged (its checksum differs); "
        f"`robolearn data check store={source.path}` names the episodes, which can be dropped"
    )
