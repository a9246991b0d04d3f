"""Careful reading of other projects' zarr (format 2) directories and zips: finds the root, misses nothing, runs no pickle."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore, ZipStore

from robolearn.datasets.layout import StoreError

# Larger arrays than this are not what they claim to be.
_MAX_BYTES = 1 << 36
_MAX_CHUNKS = 1 << 24


def is_zarr2(source: Path) -> bool:
    """Whether there is a zarr group of format 2 somewhere near the top of a directory or zip."""
    if source.is_dir():
        return any(source.glob(".zgroup")) or any(source.glob("*/.zgroup"))
    if not zipfile.is_zipfile(source):
        return False
    with zipfile.ZipFile(source) as archive:
        return any(name == ".zgroup" or name.endswith("/.zgroup") for name in archive.namelist())


class ZarrSource:
    """A zarr group of format 2 in a directory or a zip; ``zip -r`` nests it under its name, which is found.

    Raises:
        StoreError: nothing there, not a zip, or no zarr group in it.
    """

    def __init__(self, source: str | Path) -> None:
        self.path = Path(source)
        if not self.path.exists():
            raise StoreError(f"there is no file or directory {self.path}")
        self._files = self._list()
        groups = [name for name in self._files if name == ".zgroup" or name.endswith("/.zgroup")]
        if not groups:
            raise StoreError(f"{self.path} holds no zarr group of format 2 (no .zgroup); it starts with {sorted(self._files)[:3]}")
        self._prefix = min(groups, key=lambda name: (name.count("/"), name)).removesuffix(".zgroup")
        self.attrs: dict[str, Any] = self._json(".zattrs") if f"{self._prefix}.zattrs" in self._files else {}

    def _list(self) -> set[str]:
        if self.path.is_dir():
            return {file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file()}
        try:
            with zipfile.ZipFile(self.path) as archive:
                return {name for name in archive.namelist() if not name.endswith("/")}
        except (zipfile.BadZipFile, OSError) as error:
            raise StoreError(f"{self.path} is neither a directory nor a whole zip: {error}") from error

    def _bytes(self, name: str) -> bytes:
        full = self._prefix + name
        try:
            if self.path.is_dir():
                return (self.path / full).read_bytes()
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(full)
        except (KeyError, OSError, zipfile.BadZipFile) as error:
            raise StoreError(f"{self.path}: {full} cannot be read: {error}") from error

    def _json(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads(self._bytes(name)))
        except (ValueError, TypeError) as error:
            raise StoreError(f"{self.path}: {self._prefix}{name} is no JSON object: {error}") from error

    def array_names(self) -> set[str]:
        """Paths of the arrays, such as ``action/pos``."""
        suffix = "/.zarray"
        return {
            name.removeprefix(self._prefix).removesuffix(suffix)
            for name in self._files
            if name.startswith(self._prefix) and name.endswith(suffix)
        }

    def require(self, names: Iterable[str]) -> None:
        """Raise ``StoreError`` unless all arrays are there."""
        missing = [name for name in names if name not in self.array_names()]
        if missing:
            raise StoreError(f"{self.path} lacks {', '.join(missing)}; it has {', '.join(sorted(self.array_names()))}")

    def read(self, name: str, *, every_chunk: bool = False) -> NDArray[Any]:
        """One array whole.

        Args:
            name: as in :meth:`array_names`.
            every_chunk: a missing chunk is an error; zarr itself would fill it with zeros.

        Raises:
            StoreError: pickled, incomplete, damaged, or of an absurd size.
        """
        meta = self._json(f"{name}/.zarray")
        self._refuse_pickle(name, meta)
        missing = self._missing_chunks(name, meta)
        if every_chunk and missing:
            raise StoreError(f"{self.path} is incomplete: {len(missing)} chunks of {name} are missing, first {missing[0]}")
        try:
            return self._json_objects(name, meta) if _is_json(meta) else self._zarr_array(name)
        except Exception as error:  # codecs raise many kinds for damaged bytes
            raise StoreError(f"{self.path}: {name} cannot be read: {' '.join(str(error).split())}") from error

    def _zarr_array(self, name: str) -> NDArray[Any]:
        store = LocalStore(self.path, read_only=True) if self.path.is_dir() else ZipStore(self.path, mode="r")
        try:
            return np.asarray(zarr.open_array(store, path=self._prefix + name, mode="r", zarr_format=2)[...])
        finally:
            store.close()

    def _json_objects(self, name: str, meta: dict[str, Any]) -> NDArray[Any]:
        """A list of texts in numcodecs' JSON object codec, which zarr-python 3 no longer reads."""
        compressor = numcodecs.get_codec(meta["compressor"]) if meta["compressor"] else None
        pieces = []
        for number in range(-(-int(meta["shape"][0]) // int(meta["chunks"][0]))):
            raw = self._bytes(f"{name}/{number}")
            pieces.append(numcodecs.JSON().decode(compressor.decode(raw) if compressor else raw))
        texts: NDArray[Any] = np.concatenate(pieces)
        return texts[: int(meta["shape"][0])]

    def _refuse_pickle(self, name: str, meta: dict[str, Any]) -> None:
        used = [codec.get("id") for codec in [*(meta.get("filters") or []), meta.get("compressor")] if isinstance(codec, dict)]
        if "pickle" in used:
            raise StoreError(
                f"{self.path}: {name} is stored as Python pickles, which can run any code when read; where you trust the file, save it "
                "again in its own environment with object_codec=numcodecs.VLenUTF8() (text) or as a plain number type"
            )

    def _missing_chunks(self, name: str, meta: dict[str, Any]) -> list[str]:
        """Chunks that the array's shape asks for and that are not there; refuses shapes that no data set has."""
        try:
            shape, chunks = [int(size) for size in meta["shape"]], [int(size) for size in meta["chunks"]]
            counts = [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]
            bytes_claimed = math.prod(shape) * np.dtype(meta["dtype"]).itemsize
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise StoreError(f"{self.path}: {name}/.zarray is damaged: {error!r}") from error
        if min([*shape, *chunks, 0]) < 0 or bytes_claimed > _MAX_BYTES or math.prod(counts) > _MAX_CHUNKS:
            raise StoreError(f"{self.path}: {name} claims the absurd shape {shape} in chunks of {chunks}")
        separator = meta.get("dimension_separator", ".")
        wanted = (f"{self._prefix}{name}/" + separator.join(map(str, place)) for place in np.ndindex(*counts))
        return [chunk for chunk in wanted if chunk not in self._files]

    def fingerprint(self) -> str:
        """SHA-256 of the file, or of all files of the directory with their names."""
        content = hashlib.sha256()
        if not self.path.is_dir():
            content.update(self.path.read_bytes())
            return content.hexdigest()
        for name in sorted(self._files):
            content.update(name.encode() + b"\0" + (self.path / name).read_bytes())
        return content.hexdigest()


def _is_json(meta: dict[str, Any]) -> bool:
    return [codec.get("id") for codec in meta.get("filters") or []] == ["json2"] and len(meta["shape"]) == 1
