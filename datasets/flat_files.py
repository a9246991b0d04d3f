"""Decoded arrays of a store in flat files that processes map into memory and share: made once, used by every run after."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.blocks import blocks, row_bytes
from robolearn.datasets.commit import PARTIAL, sync_directory
from robolearn.datasets.layout import StoreError
from robolearn.datasets.place import one_line
from robolearn.datasets.reader import StoreReader


def cache_folder(store: StoreReader, cache_dir: str | Path | None = None) -> Path:
    """Where a store's flat files are: ``.<store>.flat`` beside it, or a folder in ``cache_dir``, by the store's fingerprint.

    Raises:
        StoreError: the store is on another machine, and no ``cache_dir`` is given.
    """
    place: object = store.path
    if cache_dir is not None:
        return Path(cache_dir) / store.fingerprint()
    if not isinstance(place, Path):
        raise StoreError(f"{place} is no local store: say where mode=mmap may keep its arrays decoded, cache_dir=DIRECTORY")
    return place.with_name(f".{place.name}.flat") / store.fingerprint()


def mapped(store: StoreReader, name: str, cache_dir: str | Path | None = None) -> NDArray[Any]:
    """All committed rows of an array ``(T, ...)``, mapped read-only from its flat file, which is made where it is not there.

    A file is written beside its place and renamed, so that processes that begin together do no harm.

    Raises:
        StoreError: the store is damaged, or the disk is full or not writable.
    """
    store.array(name, 0, 0)  # no such array: its own error
    array = store.step_arrays[name]
    path = cache_folder(store, cache_dir) / f"{name}.npy"
    shape = (store.num_steps, *array.shape[1:])
    found = _open(path, shape, array.dtype)
    if found is None:
        try:
            _write(store, name, path, shape, array.dtype)
        except OSError as error:
            raise StoreError(
                f"cannot keep {name} decoded at {path}: {one_line(error)}; name another place, cache_dir=..., or use mode=stream"
            ) from error
        found = _open(path, shape, array.dtype)
    if found is None:
        raise StoreError(f"{path} changed while it was read; remove it")
    return found


def _open(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """The file mapped, or None where it is not there or not what it should be."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return found if found.shape == shape and found.dtype == dtype else None


def _write(store: StoreReader, name: str, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    needed, free = shape[0] * row_bytes(store.step_arrays[name]), shutil.disk_usage(path.parent).free
    if needed > free:
        raise OSError(f"it takes {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        with draft.open("wb") as file:
            header: Any = np.lib.format.write_array_header_2_0
            header(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
            for _, rows in blocks(store, name):
                file.write(np.ascontiguousarray(rows).data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_directory(path.parent)
    finally:
        draft.unlink(missing_ok=True)
