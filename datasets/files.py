"""The files of a store, wherever it lies, and how zarr reads them where nothing can be written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol, runtime_checkable

import zarr
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype


@runtime_checkable
class StoreFiles(Protocol):
    """A store's files by key: relative to its root, with ``/``. Safe to use from several threads."""

    def size(self, key: str) -> int | None:
        """Bytes of a file; None where there is none."""

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """``length`` bytes from ``offset`` on (to the end unless given), fewer where the file ends.

        Raises:
            FileNotFoundError: no such file.
            StoreError: the place does not answer, or the file is damaged.
        """

    def keys(self, prefix: str = "") -> list[str]:
        """The files below a folder (all unless given), sorted."""


def files_of(array: zarr.Array[Any]) -> StoreFiles:
    """The files of the store that an array is in."""
    if not isinstance(array.store, StoreFiles):
        raise TypeError(f"the files of {array.store} cannot be told apart")
    return array.store


class ReadOnlyStorage(Store):
    """A zarr store over files that are only read; a subclass says how."""

    supports_writes = supports_deletes = False
    supports_listing = True

    def __init__(self) -> None:
        super().__init__(read_only=True)

    def size(self, key: str) -> int | None:
        """See :meth:`StoreFiles.size`."""
        raise NotImplementedError

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See :meth:`StoreFiles.read`."""
        raise NotImplementedError

    def keys(self, prefix: str = "") -> list[str]:
        """See :meth:`StoreFiles.keys`."""
        raise NotImplementedError

    def sync(self) -> None:
        """Nothing waits to be written."""

    def with_read_only(self, read_only: bool = False) -> ReadOnlyStorage:
        """Itself: nothing else is to be had."""
        if not read_only:
            raise NotImplementedError
        return self

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """A file or a range of it; None where there is none."""
        try:
            data = await asyncio.to_thread(self._ranged, key, byte_range)
        except FileNotFoundError:
            return None
        return prototype.buffer.from_bytes(data)

    def _ranged(self, key: str, byte_range: ByteRequest | None) -> bytes:
        match byte_range:
            case RangeByteRequest():
                return self.read(key, byte_range.start, byte_range.end - byte_range.start)
            case OffsetByteRequest():
                return self.read(key, byte_range.offset)
            case SuffixByteRequest():
                size = self.size(key)
                if size is None:
                    raise FileNotFoundError(key)
                return self.read(key, max(size - byte_range.suffix, 0))
        return self.read(key)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several ranges at once."""
        return list(await asyncio.gather(*(self.get(key, prototype, byte_range) for key, byte_range in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        return await asyncio.to_thread(self.size, key) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Refused."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refused."""
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """Every file."""
        for key in await asyncio.to_thread(self.keys):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """The files whose names begin so."""
        for key in await asyncio.to_thread(self.keys):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """What lies directly in a folder."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        names = {key.removeprefix(folder).partition("/")[0] for key in await asyncio.to_thread(self.keys, prefix)}
        for name in sorted(names):
            yield name
