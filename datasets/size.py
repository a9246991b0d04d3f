"""How large a store is, without looking at every one of its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from robolearn.datasets.commit import rows_per_file
from robolearn.datasets.files import files_of
from robolearn.datasets.reader import StoreReader

_SAMPLE = 500  # files of an array that are looked at


@dataclass(frozen=True)
class Size:
    """What a store's committed part takes on disk.

    Args:
        bytes: all files.
        files: how many.
        exact: false where ``bytes`` of large arrays is reckoned from a sample of their files.
    """

    bytes: int
    files: int
    exact: bool


def size_on_disk(store: StoreReader) -> Size:
    """Bytes and files of a store; arrays of more than 500 files are reckoned from 500 of them, evenly spread."""
    groups = [store.files.size(key) or 0 for key in ("zarr.json", "data/zarr.json", "episodes/zarr.json")]
    total, files, exact = float(sum(groups)), len(groups), True
    for array, length in store.committed_arrays():
        count = -(-length // rows_per_file(array))
        numbers = np.unique(np.linspace(0, count - 2, min(count - 1, _SAMPLE)).astype(int)) if count > 1 else np.zeros(0, int)
        sizes = [_file_size(array, int(number)) for number in numbers]
        total += store.files.size(f"{array.path}/zarr.json") or 0
        total += float(np.mean(sizes)) * (count - 1) if sizes else 0.0
        total += _file_size(array, count - 1) if count else 0  # the last may be half full
        files += count + 1
        exact = exact and count - 1 <= _SAMPLE
    return Size(round(total), files, exact)


def _file_size(array: zarr.Array[Any], number: int) -> int:
    key = array.metadata.encode_chunk_key((number, *(0,) * (array.ndim - 1)))
    return files_of(array).size(f"{array.path}/{key}") or 0  # of one that is lost `check` tells
