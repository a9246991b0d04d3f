"""Careful reading of other people's HDF5: follows no link out of the file, believes no size, and turns every failure into a line."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.hdf5_probe import fault
from robolearn.datasets.formats.json_values import pack
from robolearn.datasets.layout import StoreError
from robolearn.datasets.place import one_line

SIGNATURE = b"\x89HDF\r\n\x1a\n"
NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
_FILTERS = {
    1: "gzip",
    2: "shuffle",
    3: "fletcher32",
    4: "szip",
    5: "nbit",
    6: "scaleoffset",
    32000: "lzf",
}  # those that HDF5 and h5py bring
# What a file may unpack to: demonstrations shrink to a hundredth at the very most (still images of a fixed camera).
_ALWAYS_BYTES, _MAX_RATIO = 1 << 30, 100
_MAX_EPISODE_BYTES, _MAX_CHUNK_BYTES, _MAX_ATTRIBUTE_BYTES = 1 << 33, 1 << 28, 1 << 26
_MAX_TEXTS, _MAX_NAME, _MAX_DEPTH, _MAX_DIMENSIONS = 64, 200, 6, 6
_BYTES_PER_OBJECT = 64  # no group or array takes less of a file


def has_signature(path: Path) -> bool:
    """Whether a file begins as HDF5 does, at byte 0 or after a user block."""
    try:
        with path.open("rb") as file:
            for place in (0, *(1 << power for power in range(9, 21))):
                file.seek(place)
                if file.read(8) == SIGNATURE:
                    return True
    except OSError:
        pass
    return False


class Hdf5Source:
    """One HDF5 file, opened afresh for every :meth:`open`.

    Raises:
        StoreError: no such file, it is not HDF5, or h5py is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise StoreError(f"there is no file {path}")
        if not has_signature(path):
            raise StoreError(f"{path} is not HDF5: it does not begin as an HDF5 file does")
        try:
            import h5py
        except ImportError as error:
            raise StoreError(f"{path} is HDF5, which needs h5py: pip install 'robolearn[formats]'") from error
        if what := fault(path):
            raise StoreError(f"{path} is damaged or incomplete ({what}); fetch it again, or restore it from a copy")
        self._h5py: Any = h5py
        self._size = path.stat().st_size
        self._objects = self._claimed = 0

    @contextmanager
    def open(self) -> Iterator[Any]:
        """The file, an ``h5py.File``; whatever fails while it is open becomes a ``StoreError``."""
        try:
            with self._h5py.File(self.path, "r") as file:
                yield file
        except StoreError:
            raise
        except Exception as error:  # h5py raises many kinds for damaged bytes
            raise StoreError(
                f"{self.path} is damaged or incomplete ({one_line(error)}); fetch it again, or restore it from a copy"
            ) from error

    def is_group(self, found: Any) -> bool:
        """Whether a member is a group."""
        return isinstance(found, self._h5py.Group)

    def is_array(self, found: Any) -> bool:
        """Whether a member is a dataset."""
        return isinstance(found, self._h5py.Dataset)

    def members(self, group: Any) -> dict[str, Any]:
        """What is in a group, by name; links that are no plain members are refused."""
        found = {}
        for name in group:
            link = group.get(name, getlink=True)
            where = f"{self.path}: {group.name.rstrip('/')}/{name}"
            if not isinstance(link, self._h5py.HardLink):
                what = f"another file, {link.filename}" if isinstance(link, self._h5py.ExternalLink) else "another place"
                raise StoreError(f"{where} is a link to {what}; make one file of it: `h5repack` or h5py's `copy` with expand_external=True")
            if not name.isprintable() or len(name) > _MAX_NAME:
                raise StoreError(f"{self.path}: {group.name!r} has a member of the absurd name {name[:40]!r}")
            self._objects += 1
            if self._objects > 1000 + 4 * self._size / _BYTES_PER_OBJECT:  # each is visited a few times
                raise StoreError(f"{self.path} claims more groups and arrays than fit into its {self._size} bytes")
            found[name] = group[name]
        return found

    def walk(self, group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Groups and arrays below a group with their paths in it, such as ``obs/eef_pos``."""
        if prefix.count("/") >= _MAX_DEPTH:
            raise StoreError(f"{self.path}: {group.name} lies deeper than any demonstration's data, or contains itself")
        for name, found in self.members(group).items():
            yield prefix + name, found
            if self.is_group(found):
                yield from self.walk(found, f"{prefix}{name}/")

    def admit(self, array: Any) -> int:
        """Check what an array claims, before any of it is read; returns its bytes.

        Raises:
            StoreError: its data lie in other files, were never written, or claim an absurd size.
        """
        where = f"{self.path}: {array.name}"
        if array.is_virtual or array.external:
            raise StoreError(f"{where} keeps its data in other files; make one file of it: `h5repack`")
        if array.shape is None or len(array.shape) > _MAX_DIMENSIONS:
            raise StoreError(f"{where} has the absurd shape {array.shape}")
        size = int(math.prod(array.shape) * array.dtype.itemsize)
        self._claimed += size
        if size > _MAX_EPISODE_BYTES or self._claimed > max(_ALWAYS_BYTES, _MAX_RATIO * self._size):
            raise StoreError(
                f"{where} is {array.dtype} {array.shape}: the file would unpack from {self._size:,} to more than {self._claimed:,} bytes, "
                "which no demonstrations do; where they are yours, `h5repack -f NONE` unpacks them"
            )
        self._check_storage(where, array, size)
        return size

    def _check_storage(self, where: str, array: Any, size: int) -> None:
        """Refuse filters that are not here, absurd chunks, and data that were never written (HDF5 would give zeros)."""
        plan = array.id.get_create_plist()
        for number in range(plan.get_nfilters()):
            code, _, _, name = plan.get_filter(number)
            if code not in _FILTERS:
                what = name.decode(errors="replace").split("\0")[0] or code
                raise StoreError(f"{where} is compressed with {what}, which is not here; `h5repack -f GZIP=4` makes it gzip")
        if array.chunks is None:
            written = size == 0 or array.id.get_storage_size() >= size
        else:
            chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
            counts = [-(-length // chunk) for length, chunk in zip(array.shape, array.chunks, strict=True)]
            if chunk_bytes > _MAX_CHUNK_BYTES:
                raise StoreError(f"{where} has chunks of the absurd shape {array.chunks}")
            if math.prod(counts) > self._size:
                raise StoreError(f"{where} claims {math.prod(counts)} chunks in a file of {self._size:,} bytes")
            written = array.id.get_num_chunks() == math.prod(counts)
        if not written:
            raise StoreError(f"{where} was never written in full, HDF5 would make it zeros; record or fetch it again")

    def numbers(self, array: Any) -> NDArray[Any]:
        """An admitted array of numbers, whole, in this machine's byte order."""
        values = np.asarray(array[()])
        return np.ascontiguousarray(values, values.dtype.newbyteorder("="))

    def texts(self, array: Any) -> list[str]:
        """A one-dimensional array of texts or byte strings."""
        if array.ndim != 1 or self._h5py.check_string_dtype(array.dtype) is None:
            raise StoreError(f"{self.path}: {array.name} is {array.dtype} {array.shape}, expected a list of names")
        self.admit(array)
        found: list[str] = []
        length = 0
        for index in range(len(array)):  # one by one: texts may share their bytes in the file, and be many
            found.append(bytes(array[index]).decode())
            length += len(found[-1])
            if length > _MAX_ATTRIBUTE_BYTES:
                raise StoreError(f"{self.path}: {array.name} unpacks to more than {_MAX_ATTRIBUTE_BYTES:,} bytes of names")
        return found

    def attribute(self, found: Any, name: str) -> Any:
        """One attribute: a text, or an array of numbers or texts; None where there is none or it is something else."""
        if name not in found.attrs:
            return None
        info = found.attrs.get_id(name)
        text = self._h5py.check_string_dtype(info.dtype)
        count = math.prod(info.shape) if info.shape is not None else 0
        too_many = count > _MAX_TEXTS if text is not None and text.length is None else count * info.dtype.itemsize > _MAX_ATTRIBUTE_BYTES
        if too_many:
            raise StoreError(f"{self.path}: attribute {name!r} of {found.name} claims the absurd shape {info.shape}")
        if info.shape is None or (text is None and info.dtype.name not in NUMBERS):
            return None
        value = found.attrs[name]
        return value.decode() if isinstance(value, bytes) else value

    def attributes(self, found: Any) -> tuple[dict[str, Any], list[str]]:
        """All attributes of a group or array as JSON (:func:`pack`), and the names of those that are neither text nor numbers."""
        packed, strange = {}, []
        for name in found.attrs:
            value = self.attribute(found, name)
            try:
                if value is None:
                    raise ValueError("neither text nor numbers")
                packed[name] = pack(value)
            except ValueError:
                strange.append(name)
        return packed, strange

    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
