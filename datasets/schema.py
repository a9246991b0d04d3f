"""Schema evolution: which versions of the store open as they are, and how a store of an older one becomes a new one that does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from robolearn import __version__
from robolearn.datasets import layout
from robolearn.datasets.address import Url
from robolearn.datasets.commit import sync_tree
from robolearn.datasets.layout import StoreError
from robolearn.datasets.opening import open_files
from robolearn.datasets.place import one_line, put_in_place, remove, require_free
from robolearn.lock import WriterLock

# From each older version to the next: changes the arrays and attributes of a copy, opened to write. Whoever raises
# layout.SCHEMA_VERSION adds the step here, and a store of the old version to the tests. What is only added to a store
# (attributes, optional arrays) needs no new version.
UPGRADES: dict[int, Callable[[zarr.Group], None]] = {}


def version_of(path: Path | Url) -> int:
    """Schema version of the store at ``path``.

    Raises:
        StoreError: there is no store, or it does not say.
    """
    files = open_files(path)
    try:
        version = json.loads(files.read("zarr.json"))["attributes"]["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is no robolearn store, or its zarr.json is damaged ({one_line(error)})") from error
    if not isinstance(version, int) or isinstance(version, bool):
        raise StoreError(f"{path} has schema version {version!r}, expected a whole number")
    return version


def upgrade(path: Path | Url, out: Path, overwrite: bool, advance: Callable[[int], None] = lambda files: None) -> list[int]:
    """Make a store of the current version from one of an older version; encoded data are copied as they are.

    Args:
        path: the old store, which stays as it is.
        out: the new one.
        overwrite: replace a store that is at ``out``.
        advance: told how many files were copied; :func:`files_of` says how many there are.

    Returns:
        The versions that it went through, the old one first.

    Raises:
        StoreError: nothing to upgrade, no way from that version, ``out`` is taken, or the store is damaged.
    """
    versions = steps_from(path)
    if isinstance(path, Path) and (out.resolve() == path.resolve() or path.resolve() in out.resolve().parents):
        raise StoreError(f"out={out} is at {path}; an upgrade makes a new store: give another out=")
    require_free(out, overwrite)
    draft = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with WriterLock(out):
            try:
                _copy_tree(path, draft, advance)
                _convert(draft, versions)
                sync_tree(draft)
                require_free(out, overwrite)
                put_in_place(draft, out)
            finally:
                remove(draft)
    except OSError as error:
        raise StoreError(f"could not make {out}: {one_line(error)}") from error
    return versions


def steps_from(path: Path | Url) -> list[int]:
    """The versions that a store goes through until it is current, its own first.

    Raises:
        StoreError: it is current already, newer, or of a version from which there is no way.
    """
    version = version_of(path)
    if version == layout.SCHEMA_VERSION:
        raise StoreError(f"{path} has schema version {version}, which is the current one: it opens as it is")
    if version > layout.SCHEMA_VERSION:
        raise StoreError(f"{path} has schema version {version}, this robolearn knows up to {layout.SCHEMA_VERSION}; update robolearn")
    versions = list(range(version, layout.SCHEMA_VERSION + 1))
    unknown = [step for step in versions[:-1] if step not in UPGRADES]
    if unknown:
        raise StoreError(f"{path} has schema version {version}, which no released robolearn wrote; there is no way from {unknown[0]}")
    return versions


def files_of(path: Path | Url) -> list[str]:
    """A store's files, without half-written ones."""
    return open_files(path).keys()


def _copy_tree(path: Path | Url, draft: Path, advance: Callable[[int], None]) -> None:
    remove(draft)
    files = open_files(path)
    for key in files_of(path):
        place = draft / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(files.read(key))
        advance(1)


def _convert(draft: Path, versions: list[int]) -> None:
    """Take a copy through the steps, see that it opens, and leave out what was never committed."""
    from robolearn.datasets.store import DemoStore

    try:
        group = zarr.open_group(LocalStore(draft), mode="r+", zarr_format=3)
        for version in versions[:-1]:
            UPGRADES[version](group)
            group.attrs["schema_version"] = version + 1
        note: dict[str, Any] = {"from_version": versions[0], "robolearn": __version__}
        group.attrs["upgraded"] = note
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StoreError(f"the store is damaged and cannot be upgraded ({one_line(error)}); restore it from a copy") from error
    store = DemoStore.open(draft, "a")
    store.close()
    draft.with_name(f".{draft.name}.lock").unlink(missing_ok=True)
