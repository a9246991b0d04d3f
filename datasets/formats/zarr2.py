"""Careful reading of other projects' zarr (format 2) directories and zips: finds the root, misses nothing, runs no pickle."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.archive import fingerprint, listed, looks_like_zip, one_line, open_files, read_json
from robolearn.datasets.formats.zarr2_codecs import CodecError, decode, decode_texts, decompress
from robolearn.datasets.layout import StoreError

# Larger arrays, blocks or grids than these are not what they claim to be.
_MAX_BYTES = 1 << 40
_MAX_WHOLE_BYTES = 1 << 33
_MAX_BLOCK_BYTES = 1 << 30
_MAX_CHUNKS = 1 << 24
_MAX_AXES = 8
_TEXT_BYTES = 1 << 26
_TEXT = "<U16"  # the type that stands for texts of any length
_TEXT_CODECS = ("vlen-utf8", "json2")
_DTYPE = re.compile(r"\|b1|[<>|][iu][1248]|[<>]f[248]|[<>|]U\d{1,5}|\|S\d{1,5}|\|O")


def is_zarr2(source: Path) -> bool:
    """Whether there is a zarr group of format 2 somewhere near the top of a directory or zip.

    Raises:
        StoreError: a zip that is damaged or not safe to read.
    """
    if source.is_dir():
        return any(source.glob(".zgroup")) or any(source.glob("*/.zgroup"))
    return looks_like_zip(source) and any(name == ".zgroup" or name.endswith("/.zgroup") for name in open_files(source).names)


@dataclass(frozen=True)
class Header:
    """What an array's ``.zarray`` says, checked: ``texts`` is the codec of an array of texts, ``""`` for numbers."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str
    separator: str
    compressor: dict[str, Any] | None
    texts: str
    fill: Any

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks along each axis."""
        return tuple(-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True))

    def key(self, place: tuple[int, ...]) -> str:
        """File name of a chunk."""
        return self.separator.join(map(str, place)) or "0"


def parse_header(meta: dict[str, Any]) -> Header:
    """Check an array's metadata.

    Raises:
        ValueError: they are damaged, absurd, or ask for what is not read.
    """
    shape, chunks = _sizes(meta, "shape"), _sizes(meta, "chunks")
    dtype, separator = meta.get("dtype"), meta.get("dimension_separator", ".")
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        raise ValueError(f"its dtype is {str(dtype)[:100]!r}, expected numbers or text such as '<f4', '|u1', '<U9'")
    if meta.get("zarr_format") != 2 or meta.get("order") not in ("C", "F") or separator not in (".", "/"):
        raise ValueError("its zarr_format, order or dimension_separator is not one of zarr format 2")
    texts = _text_codec(meta, dtype)
    compressor = meta.get("compressor")
    if not (compressor is None or (isinstance(compressor, dict) and isinstance(compressor.get("id"), str))):
        raise ValueError(f"its compressor is {str(compressor)[:100]}, expected an object with an id, or null")
    kind = np.dtype(_TEXT if texts else dtype)
    header = Header(tuple(shape), tuple(chunks), kind, meta["order"], separator, compressor, texts, meta.get("fill_value"))
    if len(shape) != len(chunks) or 0 in chunks:
        raise ValueError(f"its chunks {chunks} do not fit its shape {shape}")
    sides = [max(1, size) for size in shape]  # nothing times an absurd size is absurd, too
    if prod(sides) * max(1, kind.itemsize) > _MAX_BYTES or prod(header.grid) > _MAX_CHUNKS:
        raise ValueError(f"it claims the absurd shape {shape} in chunks of {chunks}")
    if max(prod(chunks), prod([*chunks[:1], *sides[1:]])) * max(1, kind.itemsize) > _MAX_BLOCK_BYTES:
        raise ValueError(f"it claims the absurd chunks {chunks} of {dtype}, above {_MAX_BLOCK_BYTES} bytes")
    return header


def _sizes(meta: dict[str, Any], name: str) -> list[int]:
    sizes = meta.get(name)
    if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes) or len(sizes) > _MAX_AXES:
        raise ValueError(f"its {name} is {str(sizes)[:100]}, expected a list of at most {_MAX_AXES} whole numbers")
    return sizes


def _text_codec(meta: dict[str, Any], dtype: str) -> str:
    """Codec of an array of texts; ``""`` for plain types."""
    filters = meta.get("filters") or []
    if not isinstance(filters, list) or not all(isinstance(entry, dict) for entry in filters):
        raise ValueError(f"its filters are {str(filters)[:100]}, expected a list of objects")
    used = [str(entry.get("id")) for entry in filters]
    compressor = meta.get("compressor")
    if "pickle" in [*used, compressor.get("id") if isinstance(compressor, dict) else None] or (dtype == "|O" and not used):
        raise ValueError(
            "it is stored as Python pickles, which can run any code when read; where you trust the file, save it again in its own "
            "environment with object_codec=numcodecs.VLenUTF8() (text) or as a plain number type"
        )
    if dtype == "|O" and len(used) == 1 and used[0] in _TEXT_CODECS:
        if len(meta["shape"]) != 1:
            raise ValueError(f"it holds texts in shape {meta['shape']}, expected one axis")
        return used[0]
    if used or dtype == "|O":
        raise ValueError(f"its filters {', '.join(used)} for {dtype} are not read; save it again as numbers without filters")
    return ""


class ZarrSource:
    """A zarr group of format 2 in a directory or a zip; ``zip -r`` nests it under its name, which is found.

    Raises:
        StoreError: nothing there, not a whole and safe zip, or no single zarr group in it.
    """

    def __init__(self, source: str | Path) -> None:
        self.path = Path(source)
        self.files = open_files(source)
        names = self.files.names
        groups = [name.removesuffix(".zgroup") for name in names if name == ".zgroup" or name.endswith("/.zgroup")]
        if not groups:
            raise StoreError(f"{self.path} holds no zarr group of format 2 (no .zgroup); it starts with {listed(sorted(names)[:3])}")
        depth = min(group.count("/") for group in groups)
        roots = sorted(group for group in groups if group.count("/") == depth)
        if len(roots) > 1:
            raise StoreError(f"{self.path} holds several zarr groups: {', '.join(roots[:5])}; name one of them as the source")
        self.prefix = roots[0]
        self.attrs: dict[str, Any] = read_json(self.files, f"{self.prefix}.zattrs") if f"{self.prefix}.zattrs" in names else {}
        suffix = "/.zarray"
        self._arrays = {
            name.removeprefix(self.prefix).removesuffix(suffix) for name in names if name.startswith(self.prefix) and name.endswith(suffix)
        }
        self._headers: dict[str, Header] = {}
        self._blocks: dict[str, tuple[int, NDArray[Any]]] = {}

    def array_names(self) -> set[str]:
        """Paths of the arrays, such as ``action/pos``."""
        return self._arrays

    def require(self, names: Iterable[str]) -> None:
        """Raise ``StoreError`` unless all arrays are there."""
        missing = [name for name in names if name not in self._arrays]
        if missing:
            raise StoreError(f"{self.path} lacks {', '.join(missing)}; it has {listed(self._arrays)}")

    def header(self, name: str) -> Header:
        """Shape, type and codecs of an array.

        Raises:
            StoreError: no such array; damaged or absurd metadata; pickles; the message names the array.
        """
        if name not in self._headers:
            self.require([name])
            meta = read_json(self.files, f"{self.prefix}{name}/.zarray")
            try:
                self._headers[name] = parse_header(meta)
            except ValueError as error:
                raise StoreError(f"{self.path}: {name} cannot be read: {one_line(error)}") from error
        return self._headers[name]

    def read(self, name: str, *, every_chunk: bool = False) -> NDArray[Any]:
        """One array whole.

        Args:
            name: as in :meth:`array_names`.
            every_chunk: a missing chunk is an error; zarr itself would fill it.

        Raises:
            StoreError: pickled, incomplete, damaged, or of an absurd size.
        """
        header = self.header(name)
        if every_chunk:
            self.require_chunks(name)
        if not header.shape:
            return self._chunk(name, header, ()).reshape(())
        if header.texts:
            blocks = [self._block(name, header, number) for number in range(header.grid[0])]
            return np.concatenate(blocks) if blocks else np.zeros(0, header.dtype)
        values = self.rows(name, 0, header.shape[0])
        self._blocks.pop(name, None)
        return values

    def rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Rows of an array ``(stop - start, ...)``; the block read last is kept, so that going forward reads each once.

        Raises:
            StoreError: a chunk is missing or damaged.
        """
        header = self.header(name)
        rows = header.chunks[0]
        values = self._empty(name, (stop - start, *header.shape[1:]), header.dtype)
        for number in range(start // rows, -(-stop // rows)):
            if name not in self._blocks or self._blocks[name][0] != number:
                self._blocks[name] = (number, self._block(name, header, number))
            low, high = max(start, number * rows), min(stop, (number + 1) * rows)
            values[low - start : high - start] = self._blocks[name][1][low - number * rows : high - number * rows]
        return values

    def episode_ends(self, name: str) -> NDArray[np.int64]:
        """An array that says where each episode ends, ``(E,)``, counted in steps.

        Raises:
            StoreError: it does not increase from episode to episode, or there is none.
        """
        values = self.read(name, every_chunk=True)
        ends = values.astype(np.int64) if values.dtype.kind in "iu" else np.zeros(0, np.int64)
        if values.ndim != 1 or len(ends) == 0 or (np.diff(ends, prepend=0) <= 0).any():
            raise StoreError(f"{self.path}: {name} does not increase: {values.dtype} {values.reshape(-1)[:8].tolist()}")
        return ends

    def require_chunks(self, name: str) -> None:
        """Raise ``StoreError`` where a chunk that the array's shape asks for is not there."""
        header = self.header(name)
        folder = f"{self.prefix}{name}/"
        present = {file.removeprefix(folder) for file in self.files.names if file.startswith(folder)}
        missing = (key for place in np.ndindex(*header.grid) if (key := header.key(place)) not in present)
        first = next(missing, None)  # found early: no more chunks are passed over than there are files
        if first is not None:
            more = prod(header.grid) - len(present)
            count = 1 + sum(1 for _ in missing) if more < len(present) + 1000 else more
            raise StoreError(f"{self.path} is incomplete: {count} chunks of {name} are missing, first {folder}{first}")

    def _block(self, name: str, header: Header, number: int) -> NDArray[Any]:
        """The chunks that hold the rows ``number * chunks[0]`` on, put together: ``(rows, ...)``."""
        first = number * header.chunks[0]
        rows = min(header.chunks[0], header.shape[0] - first)
        if header.texts:
            return self._chunk(name, header, (number,))[:rows]
        block = self._empty(name, (rows, *header.shape[1:]), header.dtype)
        for place in np.ndindex(*header.grid[1:]):
            corner = [index * size for index, size in zip(place, header.chunks[1:], strict=True)]
            spans = [slice(low, low + size) for low, size in zip(corner, header.chunks[1:], strict=True)]
            target = block[(slice(None), *spans)]
            target[...] = self._chunk(name, header, (number, *place))[tuple(slice(size) for size in target.shape)]
        return block

    def _empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        try:
            if prod(shape) * dtype.itemsize <= _MAX_WHOLE_BYTES:
                return np.empty(shape, dtype)
        except MemoryError:
            pass
        raise StoreError(f"{self.path}: {name} claims {list(shape)} of {dtype}, more than is read at a time; it is damaged or too large")

    def _chunk(self, name: str, header: Header, place: tuple[int, ...]) -> NDArray[Any]:
        key = f"{self.prefix}{name}/{header.key(place)}"
        size = _TEXT_BYTES if header.texts else prod(header.chunks) * header.dtype.itemsize
        try:
            if key not in self.files.names:
                return _filled(header)
            raw = self.files.read(key, 2 * size + (1 << 16))
            if not header.texts:
                return _checked(decode(raw, header.compressor, header.chunks, header.dtype, header.order))
            plain = decompress(raw, str(header.compressor.get("id")), size, exact=False) if header.compressor else raw
            return np.array(decode_texts(plain, header.texts, header.chunks[0]), dtype=str)
        except CodecError as error:
            raise StoreError(f"{self.path}: {name} cannot be read: {key}: {one_line(error)}") from error

    def fingerprint(self) -> str:
        """SHA-256 of the file, or of all files of the directory with their names."""
        return fingerprint(self.files)


def _filled(header: Header) -> NDArray[Any]:
    """A chunk that was never written."""
    fill: Any = "" if header.dtype.kind in "US" else 0 if header.fill is None else header.fill
    try:
        if not isinstance(fill, int | float | str):
            raise TypeError
        with np.errstate(over="raise", invalid="raise"):
            filled: NDArray[Any] = np.full(header.chunks, fill, header.dtype)
        if header.dtype.kind in "biu" and filled.flat[0] != fill:
            raise ValueError
    except (TypeError, ValueError, ArithmeticError) as error:
        raise CodecError(f"its fill_value {repr(fill)[:40]} is no {header.dtype}") from error
    return filled


def _checked(values: NDArray[Any]) -> NDArray[Any]:
    """Text whose letters exist; numbers as they are."""
    if values.dtype.kind == "U" and values.size:
        letters = values.reshape(-1).view(f"{values.dtype.str[0]}u4")
        if (letters > 0x10FFFF).any() or ((letters >= 0xD800) & (letters < 0xE000)).any():
            raise CodecError("its text holds letters that do not exist")
    return values
