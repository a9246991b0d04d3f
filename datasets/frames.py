"""Fast reading of single images of a store: byte ranges of its shards, verified and decoded straight into a batch."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from robolearn.datasets.codecs import imagecodecs, picture_codec
from robolearn.datasets.commit import chunk_keys, rows_per_file
from robolearn.datasets.layout import StoreError
from robolearn.datasets.shards import ABSENT, content, decoder_of, index_bytes, is_sound, parse_index

_OPEN_FILES = 64
_INDICES = 1024  # of shards, kept in memory: about 1 KiB each


class BytesSource(Protocol):
    """Where the files of a store are read from; ``key`` is a path relative to the store's root, such as ``data/front/c/0/0/0/0``."""

    def size(self, key: str) -> int | None:
        """Bytes of a file as it is now; None where there is none."""
        ...

    def read(self, key: str, offset: int, length: int) -> bytes:
        """A part of it, shorter where the file ends."""
        ...


class _Descriptor:
    """An open file, closed when nobody refers to it."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.number)


class LocalFiles:
    """The files below a directory, a bounded number of them held open. Threads may share it."""

    def __init__(self, root: Path, open_files: int = _OPEN_FILES) -> None:
        self._root, self._most = root, open_files
        self._files: OrderedDict[str, _Descriptor] = OrderedDict()
        self._lock = threading.Lock()

    def size(self, key: str) -> int | None:
        """Bytes of a file as it is now, which may be another than when it was last opened; None where there is none."""
        try:
            file = _Descriptor(self._root / key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with self._lock:
            self._files[key] = file
            self._files.move_to_end(key)
            while len(self._files) > self._most:
                self._files.popitem(last=False)  # closed once no thread reads it
        return os.fstat(file.number).st_size

    def read(self, key: str, offset: int, length: int) -> bytes:
        """A part of it, shorter where the file ends."""
        with self._lock:
            file = self._files.get(key)
            if file is not None:
                self._files.move_to_end(key)
        if file is None:
            if self.size(key) is None:
                return b""
            return self.read(key, offset, length)
        return os.pread(file.number, length, offset)


class FrameReader:
    """Reads rows of an array of images by number, in any order.

    Args:
        array: its files are shards of single rows (:func:`robolearn.datasets.shards.is_framed`).
        source: where they lie.
        label: the store, for errors.
        threads: decode so many rows at once.

    Raises:
        StoreError: the array is not kept so.
        UserError: its pictures need a package that is not installed.
    """

    def __init__(self, array: zarr.Array[Any], source: BytesSource, *, label: str = "", threads: int = 1) -> None:
        decode = decoder_of(array)
        if decode is None:
            raise StoreError(f"{label}: {array.path} is not kept frame by frame in a way that is known here; read it as an array")
        if picture_codec(array) is not None:
            imagecodecs()
        self._array, self._source, self._label, self._decode = array, source, label, decode
        self._rows_per_file, self._shape, self._dtype = rows_per_file(array), tuple(array.shape[1:]), array.dtype
        self._indices: OrderedDict[int, NDArray[np.uint64]] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def read(self, rows: NDArray[np.integer[Any]] | Sequence[int], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Rows ``(n,)`` decoded, ``(n, H, W, C)``; a row that is asked for twice is decoded once.

        Args:
            rows: their numbers, in any order.
            out: where to put them; must be contiguous.

        Raises:
            StoreError: a row does not exist, or its bytes are damaged or missing; the message names the file.
        """
        wanted = np.asarray(rows, np.int64)
        out = np.empty((len(wanted), *self._shape), self._dtype) if out is None else out
        unique, first, inverse = np.unique(wanted, return_index=True, return_inverse=True)

        def decode(item: tuple[int, bytes | memoryview | None]) -> None:
            number, data = item
            self._decode_row(int(unique[number]), data, out[first[number]])

        items = enumerate(self.encoded(unique))
        for _ in map(decode, items) if self._pool is None else self._pool.map(decode, items):
            pass
        for place in np.flatnonzero(first[inverse] != np.arange(len(wanted))):
            out[place] = out[first[inverse[place]]]
        return out

    def encoded(self, rows: NDArray[np.integer[Any]] | Sequence[int]) -> Iterator[bytes | memoryview | None]:
        """Rows ``(n,)`` as they are encoded, without checksums, read best in increasing order; None for one that was left out: zeros.

        Raises:
            StoreError: as :meth:`read`.
        """
        numbers = np.asarray(rows, np.int64)
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < self._array.shape[0]:
            raise StoreError(f"{self._label}: {self._array.path} has rows 0 to {self._array.shape[0] - 1}; {numbers.max()} was asked for")
        files = numbers // self._rows_per_file
        bounds = np.concatenate([[0], np.flatnonzero(np.diff(files)) + 1, [len(numbers)]]) if len(numbers) else np.zeros(1, np.int64)
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            file = int(files[start])
            yield from self._of_file(file, numbers[start:stop] - file * self._rows_per_file)

    def _of_file(self, file: int, places: NDArray[np.int64]) -> list[bytes | memoryview | None]:
        """Encoded rows of one shard; read again where a writer replaced the file in between."""
        found = self._try_file(file, places, self._index(file))
        if found is None or None in found:
            found = self._try_file(file, places, self._index(file, fresh=True))
        if found is None:
            raise self._damaged(file, "is damaged (a checksum differs)")
        return found

    def _try_file(self, file: int, places: NDArray[np.int64], index: NDArray[np.uint64]) -> list[bytes | memoryview | None] | None:
        """Encoded rows of one shard, neighbours in one read; None where a checksum differs."""
        key = self._key(file)
        found: list[bytes | memoryview | None] = [None] * len(places)
        spans = index[places].tolist()
        held = [number for number, (offset, _) in enumerate(spans) if offset != ABSENT]
        position = 0
        while position < len(held):
            begin, end = spans[held[position]][0], sum(spans[held[position]])
            near = position + 1
            while near < len(held) and spans[held[near]][0] == end:
                end += spans[held[near]][1]
                near += 1
            data = memoryview(self._source.read(key, begin, end - begin))
            for number in held[position:near]:
                offset, length = spans[number]
                row = data[offset - begin : offset - begin + length]
                if len(row) != length or not is_sound(row):
                    return None
                found[number] = content(row)
            position = near
        return found

    def _index(self, file: int, fresh: bool = False) -> NDArray[np.uint64]:
        with self._lock:
            known = None if fresh else self._indices.get(file)
            if known is not None:
                self._indices.move_to_end(file)
                return known
        key, length = self._key(file), index_bytes(self._rows_per_file)
        size = self._source.size(key)
        if size is None:
            raise self._damaged(file, "is missing")
        index = parse_index(self._source.read(key, max(0, size - length), length)) if size >= length else None
        if index is None or len(index) != self._rows_per_file or not _within(index, size):
            raise self._damaged(file, "is damaged (its index)")
        with self._lock:
            self._indices[file] = index
            while len(self._indices) > _INDICES:
                self._indices.popitem(last=False)
        return index

    def _decode_row(self, row: int, data: bytes | memoryview | None, out: NDArray[Any]) -> None:
        if data is None:
            out[...] = 0
            return
        try:
            self._decode(data, out)
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise self._damaged(row // self._rows_per_file, f"is damaged (row {row}: {reason})") from error

    def _key(self, file: int) -> str:
        (key,) = chunk_keys(self._array, (file + 1) * self._rows_per_file, file * self._rows_per_file)
        return f"{self._array.path}/{key}"

    def _damaged(self, file: int, what: str) -> StoreError:
        return StoreError(f"{self._label}: {self._key(file)} {what}; `robolearn data check store={self._label}` names the episodes")


def _within(index: NDArray[np.uint64], size: int) -> bool:
    """Whether all rows lie inside a file of so many bytes."""
    held = index[index[:, 0] != ABSENT]
    return bool((held <= size).all() and (held.sum(1) <= size).all())
