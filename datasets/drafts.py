"""Where a copy of a store is written: beside its place and renamed, or into a bucket with what makes it a store last."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robolearn.datasets.address import Url
from robolearn.datasets.bucket import Bucket
from robolearn.datasets.commit import sync_directory, sync_tree
from robolearn.datasets.layout import StoreError
from robolearn.datasets.opening import UPLOAD
from robolearn.datasets.place import leftovers, one_line, put_in_place, remove, require_free
from robolearn.lock import WriterLock

_SAME_DATE = (1980, 1, 1, 0, 0, 0)  # of a zip's entries: the same store makes the same zip
ROOT = "zarr.json"
_OF_A_STORE = re.compile(rf"{ROOT}|(data|episodes)/([^/]+/)?{ROOT}|(data|episodes)/[^/]+/c(/\d+)+|{re.escape(UPLOAD)}")


class Draft:
    """A store being written; :meth:`put` may be called from several threads, the root's ``zarr.json`` last.

    Attributes:
        files: how many were put.
        bytes: what they came to.
        there: how many of them were in place already, from an upload that was interrupted.
    """

    metadata_first = False  # whether arrays must be described before they are filled
    after_failure = ""  # what to do, for the error

    def __init__(self) -> None:
        self.files = self.bytes = self.there = 0
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes) -> None:
        """Write one file."""
        was_there = self._write(key, data)
        with self._lock:
            self.files += 1
            self.bytes += len(data)
            self.there += was_there

    def finish(self, episodes: int = 0) -> None:
        """All files are put, of so many episodes."""

    def abandon(self) -> None:
        """Let go of what was written; what stays is said in :attr:`after_failure`."""

    def _write(self, key: str, data: bytes) -> bool:
        """Write one file; True where it was there."""
        raise NotImplementedError


class _Directory(Draft):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def _write(self, key: str, data: bytes) -> bool:
        place = self._path / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return False


class _Zip(Draft):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)
        self._writing = threading.Lock()

    def _write(self, key: str, data: bytes) -> bool:
        with self._writing:
            self._zip.writestr(zipfile.ZipInfo(key, _SAME_DATE), data)
        return False

    def finish(self, episodes: int = 0) -> None:
        self._zip.close()

    def abandon(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._zip.close()


def pack(folder: Path) -> None:
    """Make a zip of a directory, in its place."""
    packed = folder.with_name(f"{folder.name}.zip")
    draft = _Zip(packed)
    try:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            draft.put(file.relative_to(folder).as_posix(), file.read_bytes())
        draft.finish()
        remove(folder)
        packed.rename(folder)
    finally:
        draft.abandon()
        remove(packed)


class _Upload(Draft):
    """Files that go to their place one by one. Without the root's ``zarr.json``, the last, nobody takes them for a store."""

    after_failure = "what has arrived stays there, and the same command again goes on with it"

    def __init__(self, url: Url, overwrite: bool, fingerprint: str) -> None:
        super().__init__()
        self._bucket = Bucket(url)
        self._before = uploadable(self._bucket, overwrite, fingerprint)
        self._kept: set[str] = set()
        begun = {"fingerprint": fingerprint, "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        self._bucket.put(UPLOAD, json.dumps(begun).encode())
        if ROOT in self._before:
            self._bucket.delete([ROOT])
            del self._before[ROOT]

    def _write(self, key: str, data: bytes) -> bool:
        self._kept.add(key)
        if key == ROOT:
            self._bucket.delete(sorted(self._before.keys() - self._kept - {UPLOAD}))
        known = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if self._before.get(key) == (len(data), f'"{known}"'):
            return True
        version = self._bucket.put(key, data).strip('"')
        if _is_md5(version) and version != known:
            raise StoreError(f"{self._bucket.url}: {key} did not arrive as it was sent; the same `robolearn data copy` again goes on")
        return False

    def finish(self, episodes: int = 0) -> None:
        self._bucket.delete([UPLOAD])


def uploadable(bucket: Bucket, overwrite: bool, fingerprint: str) -> dict[str, tuple[int, str]]:
    """What is at an address already: ``{key: (bytes, version)}``.

    Raises:
        StoreError: a store that is not to be replaced, somebody else's upload, or something else altogether.
    """
    if bucket.url.count("/") < 3:
        raise StoreError(f"{bucket.url} is a whole bucket; give the store a name in it, such as {bucket.url}/demos.zarr")
    there = bucket.sizes()
    if ROOT in there:
        if not overwrite:
            raise StoreError(f"{bucket.url} exists; give another name or overwrite=true")
        if "schema_version" not in _json(bucket, ROOT).get("attributes", {}):
            raise StoreError(f"{bucket.url} exists and is no store; it is not replaced")
    elif UPLOAD in there:
        begun = _json(bucket, UPLOAD)
        if begun.get("fingerprint") != fingerprint and not overwrite:
            raise StoreError(
                f"{bucket.url} holds an upload of another store, begun by {begun.get('host')} at {begun.get('since')} and not finished; "
                "give another name, or overwrite=true to replace it"
            )
    foreign = [key for key in there if not _OF_A_STORE.fullmatch(key)] if there.keys() & {ROOT, UPLOAD} else list(there)
    if foreign:
        raise StoreError(f"{bucket.url} holds {len(foreign)} other objects, such as {min(foreign)}; move them, or give another name")
    return there


def _json(bucket: Bucket, key: str) -> dict[str, Any]:
    try:
        found = json.loads(bucket.get(key))
    except (ValueError, FileNotFoundError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_md5(version: str) -> bool:
    return len(version) == 32 and all(letter in "0123456789abcdef" for letter in version)


@contextlib.contextmanager
def draft_at(out: Path | Url, overwrite: bool, fingerprint: str) -> Iterator[Draft]:
    """A store to be written at ``out``, in its place when the context ends well.

    Raises:
        StoreError: the place is taken, or cannot be written.
        LockedError: another process is writing there.
    """
    if isinstance(out, Url):
        upload = _upload(out, overwrite, fingerprint)
        try:
            yield upload
        except BaseException as error:
            upload.abandon()
            error.add_note(upload.after_failure)
            raise
        return
    require_free(out, overwrite)
    place = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with WriterLock(out, instead="give another name"):
            for stale in leftovers(out):
                remove(stale)
            draft: Draft = _Zip(place) if out.suffix == ".zip" else _Directory(place)
            try:
                yield draft
                (sync_tree if place.is_dir() else sync_directory)(place)
                require_free(out, overwrite)
                put_in_place(place, out)
            finally:
                draft.abandon()
                remove(place)
    except OSError as error:
        raise StoreError(f"could not write {out}: {one_line(error)}; nothing is left of it") from error


def _upload(url: Url, overwrite: bool, fingerprint: str) -> Draft:
    if url.has_history:
        from robolearn.datasets.history_store import HistoryDraft

        return HistoryDraft(url, overwrite)
    return _Upload(url, overwrite, fingerprint)
