"""The one place that opens what others packed: a directory or a zip as named files, read within bounds, never unpacked."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from robolearn.datasets.layout import StoreError

# An archive that claims more than both is a bomb: no data set compresses so well.
MAX_RATIO = 200
HARMLESS_BYTES = 1 << 28
# One file whole in memory; every chunk and every table is far below.
MAX_FILE_BYTES = 1 << 33
MAX_JSON_BYTES = 1 << 26
_MAX_ENTRIES = 1 << 22
_PIECE = 1 << 20
_LONGEST_LINE, _LONGEST_NAME = 400, 400
_ZIP_START = (b"PK\x03\x04", b"PK\x05\x06")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class Files(Protocol):
    """Named files of a directory or an archive; names are relative, with ``/``."""

    path: Path
    names: frozenset[str]

    def read(self, name: str, limit: int = MAX_FILE_BYTES) -> bytes:
        """One file whole.

        Raises:
            StoreError: not there, damaged, or larger than ``limit`` bytes.
        """
        ...


def open_files(path: str | Path) -> Files:
    """The files of a directory or a zip.

    Raises:
        StoreError: nothing there, neither of both, damaged, or an archive that is not safe to read.
    """
    path = Path(path)
    if not path.exists():
        raise StoreError(f"there is no file or directory {path}")
    return DirectoryFiles(path) if path.is_dir() else ZipFiles(path)


def looks_like_zip(path: Path) -> bool:
    """Whether a file begins as zips do, whole or not."""
    try:
        with path.open("rb") as file:
            return file.read(4) in _ZIP_START
    except OSError:
        return False


def read_json(files: Files, name: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        StoreError: not there, too large, or no JSON object.
    """
    content = files.read(name, MAX_JSON_BYTES)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{files.path}: {name} is no JSON: {one_line(error)}; copy it anew from its source") from error
    if not isinstance(value, dict):
        raise StoreError(f"{files.path}: {name} is no JSON object but {type(value).__name__}; copy it anew from its source")
    return value


def fingerprint(files: Files) -> str:
    """SHA-256 of the archive, or of all files of the directory with their names."""
    content = hashlib.sha256()
    if not files.path.is_dir():
        _feed(files.path, content.update)
        return content.hexdigest()
    for name in sorted(files.names):
        content.update(name.encode(errors="surrogateescape") + b"\0")
        _feed(files.path / name, content.update)
    return content.hexdigest()


def one_line(error: BaseException) -> str:
    """An error as one short line of text; some libraries quote the bytes they cannot read."""
    return short(" ".join(str(error).split()) or type(error).__name__)


def listed(names: Iterable[str]) -> str:
    """Names for an error, as many as fit."""
    return short(", ".join(sorted(names)))


def short(text: str, longest: int = _LONGEST_LINE) -> str:
    """A text cut where it becomes too long for a line."""
    return text if len(text) <= longest else f"{text[:longest]}..."


class DirectoryFiles:
    """The files under a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        found = ((Path(folder) / name) for folder, _, files in os.walk(path) for name in files)
        self.names = frozenset(file.relative_to(path).as_posix() for file in found if file.is_file())

    def read(self, name: str, limit: int = MAX_FILE_BYTES) -> bytes:
        """See :meth:`Files.read`."""
        if name not in self.names:
            raise StoreError(f"{self.path} has no file {name}")
        try:
            size = (self.path / name).stat().st_size
            _require_small(self.path, name, size, limit)
            return (self.path / name).read_bytes()
        except OSError as error:
            raise StoreError(f"{self.path}: {name} cannot be read: {one_line(error)}") from error


class ZipFiles:
    """The files of a zip. Nothing is unpacked; what a careless program could be tricked with is refused when it is opened.

    Refused are names that lead elsewhere (absolute, ``..``, a drive, backslashes), links, names given twice, encryption, entries
    that share bytes, and contents of more than ``HARMLESS_BYTES`` that are ``MAX_RATIO`` times the archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
            entries = self._zip.infolist()
        except Exception as error:  # zipfile raises many kinds for damaged bytes
            raise StoreError(f"{path} is neither a directory nor a whole zip: {one_line(error)}; copy it anew from its source") from error
        self._check(entries)
        self._entries = {entry.filename: entry for entry in entries if not entry.is_dir()}
        self.names = frozenset(self._entries)

    def _check(self, entries: list[zipfile.ZipInfo]) -> None:
        if len(entries) > _MAX_ENTRIES:
            raise self._unsafe(f"has {len(entries)} entries, more than {_MAX_ENTRIES}")
        seen: set[str] = set()
        for entry in entries:
            # The name as the archive has it: zipfile cuts at a NUL, and two names may become one.
            problem = _name_problem(entry.orig_filename) or _entry_problem(entry)
            if problem is None and entry.filename.rstrip("/") in seen:
                problem = "is there twice"
            if problem:
                raise self._unsafe(f"has the entry {short(repr(entry.orig_filename), 100)}, which {problem}")
            seen.add(entry.filename.rstrip("/"))
        size = self.path.stat().st_size
        packed, claimed = sum(entry.compress_size for entry in entries), sum(entry.file_size for entry in entries)
        if packed > size:
            raise self._unsafe(f"has entries that share bytes ({packed} bytes of entries in {size})")
        if claimed > max(HARMLESS_BYTES, MAX_RATIO * size):
            raise self._unsafe(f"of {size} bytes would grow to {claimed}, as zip bombs do (allowed: {MAX_RATIO} times)")

    def _unsafe(self, what: str) -> StoreError:
        return StoreError(f"{self.path} is no archive to trust: it {what}; ask for it anew, or import the unpacked directory")

    def entry(self, name: str) -> zipfile.ZipInfo:
        """What the archive says of one of ``names``."""
        return self._entries[name]

    def read(self, name: str, limit: int = MAX_FILE_BYTES) -> bytes:
        """See :meth:`Files.read`; inflating stops at the size that the archive declares, whatever its bytes would give."""
        if name not in self._entries:
            raise StoreError(f"{self.path} has no file {name}")
        entry = self._entries[name]
        _require_small(self.path, name, entry.file_size, limit)
        content = bytearray()
        try:
            with self._zip.open(entry) as file:
                while piece := file.read(_PIECE):
                    content += piece
                    if len(content) > entry.file_size:
                        raise StoreError(f"{self.path}: {name} inflates beyond the {entry.file_size} bytes it declares, as zip bombs do")
        except StoreError:
            raise
        except Exception as error:  # zipfile and its decompressors raise many kinds for damaged bytes
            raise StoreError(f"{self.path}: {name} cannot be read: {one_line(error)}; copy the archive anew from its source") from error
        if len(content) != entry.file_size:
            raise StoreError(f"{self.path}: {name} has {len(content)} of the {entry.file_size} bytes it declares; copy the archive anew")
        return bytes(content)


def _name_problem(name: str) -> str | None:
    """Why an entry's name is refused, or None."""
    parts = PurePosixPath(name).parts
    if not name or len(name) > _LONGEST_NAME or any(ord(letter) < 32 for letter in name):
        return "has no proper name"
    if name.startswith("/") or "\\" in name or (len(name) > 1 and name[1] == ":"):
        return "has an absolute name or one of another system"
    return "leads out of the archive" if ".." in parts else None


def _entry_problem(entry: zipfile.ZipInfo) -> str | None:
    """Why an entry is refused for what it is, or None."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.is_dir() and entry.file_size:
        return "is a directory with content"
    return None if entry.compress_type in _METHODS else f"is compressed by an unknown method {entry.compress_type}"


def _require_small(path: Path, name: str, size: int, limit: int) -> None:
    if size > limit:
        raise StoreError(f"{path}: {name} has {size} bytes where at most {limit} are expected; it is not what its name says")


def _feed(path: Path, sink: Callable[[bytes], object]) -> None:
    file: IO[bytes]
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                sink(piece)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {one_line(error)}") from error
