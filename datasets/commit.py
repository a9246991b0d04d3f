"""How bytes reach the disk: every file is written beside, synced and renamed, so that none is ever seen half written."""

from __future__ import annotations

import asyncio
import os
import stat
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync
from zarr.storage import LocalStore

from robolearn.datasets.files import files_of

PARTIAL = ".partial"


class DurableStore(LocalStore):
    """A local zarr store whose writes are atomic and durable: after :meth:`sync` they outlive a power cut.

    A file is written under another name, synced, and renamed over the old one. Directories are synced by :meth:`sync`, once
    for many files.
    """

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._dirty: set[Path] = set()

    def size(self, key: str) -> int | None:
        """Bytes of a file; None where there is none."""
        try:
            found = (self.root / key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """``length`` bytes of a file from ``offset`` on; ``FileNotFoundError`` where there is none."""
        with (self.root / key).open("rb") as file:
            file.seek(offset)
            return file.read(-1 if length is None else length)

    def keys(self, prefix: str = "") -> list[str]:
        """The files below a folder, sorted, without half-written ones."""
        names = (Path(root) / name for root, _, names in os.walk(self.root / prefix) for name in names if not name.endswith(PARTIAL))
        return sorted(name.relative_to(self.root).as_posix() for name in names)

    async def set(self, key: str, value: Any) -> None:
        """Replace the file of ``key``, atomically."""
        self._check_writable()
        await asyncio.to_thread(self.write, self.root / key, value.as_buffer_like())

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        """Write the file of ``key`` unless it is there (a store has one writer, so looking first is enough)."""
        if not await self.exists(key):
            await self.set(key, value)

    def write(self, path: Path, data: Any) -> None:
        """Write one file beside its place, sync it, and rename it into place."""
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            inside = [folder for folder in path.parents if folder.is_relative_to(self.root)]
            self._dirty.update(inside)
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            write_synced(draft, data)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        self._dirty.add(path.parent)

    def sync(self) -> None:
        """Make the renames so far durable."""
        while self._dirty:
            sync_directory(self._dirty.pop())


def write_synced(path: Path, data: Any) -> None:
    """Write a new file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make the names in a directory, or the bytes of a file, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make everything below a folder durable."""
    folders = [Path(root) for root, _, _ in os.walk(folder)]
    files = [Path(entry.path) for place in folders for entry in os.scandir(place) if entry.is_file()]
    with ThreadPoolExecutor(8) as pool:  # waiting for the disk, not working
        list(pool.map(sync_directory, [*files, *folders]))


def settle() -> None:
    """Wait for the writes that zarr has under way: where one fails, or is interrupted, those beside it go on."""

    async def others() -> None:
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    sync(others())


def resized_view(array: zarr.Array[Any], length: int) -> zarr.Array[Any]:
    """The same array as if it already had ``length`` rows; the stored metadata stays as it is."""
    inner = array.async_array
    metadata = inner.metadata.update_shape((length, *array.shape[1:]))
    # Without write_empty_chunks zarr leaves out chunks of zeros, and a lost chunk could not be told from them.
    return zarr.Array(zarr.AsyncArray(metadata, inner.store_path, config={"order": "C", "write_empty_chunks": True}))


def grow(array: zarr.Array[Any], start: int, rows: NDArray[Any]) -> None:
    """Put ``rows (n, ...)`` at ``start`` and let the array end after them: chunks first, the new length last.

    The last chunk may hold earlier rows: it is replaced by one file rename, with those rows unchanged.
    """
    length = start + len(rows)
    announce(array, length)
    resized_view(array, length)[start:length] = rows
    if array.shape[0] != length:
        array.resize((length, *array.shape[1:]))


def announce(array: zarr.Array[Any], length: int) -> None:
    """Let an array end after rows that are still to be written, where a commit comes last of all: Icechunk takes none beyond an end."""
    if getattr(array.store, "commits", False) and array.shape[0] != length:
        array.resize((length, *array.shape[1:]))


def missing_chunks(array: zarr.Array[Any], stop: int, start: int = 0) -> list[str]:
    """The first key of the chunks (or shards) of rows ``start`` to ``stop`` that has no file, if any; zarr would read zeros."""
    files = files_of(array)
    lost = (key for key in iterate_chunk_keys(array, stop, start) if files.size(f"{array.path}/{key}") is None)
    return list(islice(lost, 1))  # no more: an array that claims to be endless lacks endlessly many


def array_at(group: zarr.Group, path: str) -> zarr.Array[Any]:
    """The array at a path of a group; ``KeyError`` or ``TypeError`` where there is none."""
    found = group[path]
    if not isinstance(found, zarr.Array):
        raise TypeError(f"{path} is a group, expected an array")
    return found


def folder_of(array: zarr.Array[Any]) -> Path:
    """The directory that holds an array's files."""
    store = array.store
    if not isinstance(store, LocalStore):
        raise TypeError(f"{store} is not on a local disk")
    return store.root / array.path


def chunk_keys(array: zarr.Array[Any], stop: int, start: int = 0) -> list[str]:
    """Keys of the chunks (or shards) that hold rows ``start`` to ``stop``, in order; rows are the only chunked axis."""
    return list(iterate_chunk_keys(array, stop, start))


def iterate_chunk_keys(array: zarr.Array[Any], stop: int, start: int = 0) -> Iterator[str]:
    """The same, one by one."""
    rest = (0,) * (array.ndim - 1)
    rows = rows_per_file(array)
    return (array.metadata.encode_chunk_key((number, *rest)) for number in range(start // rows, -(-stop // rows)))


def rows_per_file(array: zarr.Array[Any]) -> int:
    """Rows in one file of an array: a shard where there are shards, else a chunk."""
    return int((array.shards or array.chunks)[0])


def remove_torn_tail(array: zarr.Array[Any], length: int) -> None:
    """Cut an array back to its committed ``length`` and delete what an interrupted writer left beyond."""
    if array.shape[0] > length:
        array.resize((length, *array.shape[1:]))
    kept = set(chunk_keys(array, length))
    folder = folder_of(array)
    for file in (folder / "c").rglob("*"):
        if file.is_file() and file.relative_to(folder).as_posix() not in kept:
            file.unlink()


def remove_partial_files(root: Path) -> int:
    """Delete half-written files of a writer that died; returns how many there were."""
    stale = [file for file in root.rglob(f".*{PARTIAL}") if file.is_file()]
    for file in stale:
        file.unlink()
    return len(stale)
