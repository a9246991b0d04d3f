"""A store in a zip, as it is shared: read where it is, never unpacked."""

from __future__ import annotations

import os
import struct
import weakref
import zipfile
import zlib
from pathlib import Path

from robolearn.datasets.cache import BlockCache, shared_cache
from robolearn.datasets.files import ReadOnlyStorage
from robolearn.datasets.formats.archive import ZipFiles
from robolearn.datasets.layout import StoreError

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field
_WHOLE = 1 << 62  # a cache's block that holds any file: what is compressed is inflated as a whole


class ZipStorage(ReadOnlyStorage):
    """The files of a zipped store; the zip holds the store's folder, or what is in it.

    Entries that are stored are read where they lie; compressed ones are inflated and kept, up to the cache's limit.

    Args:
        path: the zip.
        cache_bytes: most bytes of inflated entries to keep; those of :func:`shared_cache` unless given.

    Raises:
        StoreError: it is damaged, not safe to read, or holds no store.
    """

    def __init__(self, path: Path, cache_bytes: int | None = None) -> None:
        super().__init__()
        self.path = path
        self._files = ZipFiles(path)
        self._root = self._find_root()
        self._entries = {name.removeprefix(self._root): name for name in self._files.names if name.startswith(self._root)}
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        self._cache = BlockCache(shared_cache().limit if cache_bytes is None else cache_bytes, _WHOLE)

    def _find_root(self) -> str:
        tops = sorted({name.partition("/")[0] for name in self._files.names})
        roots = [root for root in ("", *(f"{top}/" for top in tops)) if f"{root}zarr.json" in self._files.names]
        if len(roots) > 1 and roots[0]:  # at its top it is a store, whose groups have such files too
            names = ", ".join(root.rstrip("/") for root in roots)
            raise StoreError(f"{self.path} holds {len(roots)} stores ({names}); unpack it, and open one of them")
        if roots:
            return roots[0]
        raise StoreError(f"{self.path} is no robolearn store; `robolearn data import source={self.path} out=NAME.zarr` reads other formats")

    def __str__(self) -> str:
        return str(self.path)

    def size(self, key: str) -> int | None:
        """See :meth:`StoreFiles.size`."""
        return self._files.entry(self._entries[key]).file_size if key in self._entries else None

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See :meth:`StoreFiles.read`; the zip's own checksum is verified where an entry is read whole."""
        if key not in self._entries:
            raise FileNotFoundError(key)
        name = self._entries[key]
        entry = self._files.entry(name)
        stop = entry.file_size if length is None else min(offset + length, entry.file_size)
        if entry.compress_type != zipfile.ZIP_STORED:
            return self._cache.read(name, entry.file_size, offset, max(stop - offset, 0), lambda start, end: self._files.read(name))
        data = self._bytes(name, max(stop - offset, 0), self._place_of(entry) + offset)
        if len(data) != max(stop - offset, 0) or (len(data) == entry.file_size and zlib.crc32(data) != entry.CRC):
            raise self._damaged(name)
        return data

    def keys(self, prefix: str = "") -> list[str]:
        """See :meth:`StoreFiles.keys`."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        return sorted(key for key in self._entries if key.startswith(folder))

    def _place_of(self, entry: zipfile.ZipInfo) -> int:
        """Where an entry's bytes begin: after its own header, whose extra field may be another than the directory's."""
        header = self._bytes(entry.filename, _LOCAL_HEADER.size, entry.header_offset)
        if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            raise self._damaged(entry.filename)
        _, name, extra = _LOCAL_HEADER.unpack(header)
        return entry.header_offset + _LOCAL_HEADER.size + int(name) + int(extra)

    def _bytes(self, name: str, length: int, place: int) -> bytes:
        try:
            return os.pread(self._file, length, place)
        except (OSError, OverflowError, MemoryError) as error:  # a place or length that no file has
            raise self._damaged(name) from error

    def _damaged(self, name: str) -> StoreError:
        return StoreError(
            f"{self.path}: {name} is damaged (its bytes are not those the zip promises); copy the archive anew from its source"
        )
