"""Verification of a store: checksums of every file, digests, lengths, NaN, and whether the numbers fit the spec."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from robolearn.datasets import layout
from robolearn.datasets.commit import chunk_keys, folder_of, rows_per_file
from robolearn.datasets.layout import ACTION

if TYPE_CHECKING:
    from robolearn.datasets.reader import StoreReader

# An action channel may leave its limits by this share of the range: converters round.
_LIMIT_SLACK = 1e-3


def problems(store: StoreReader, progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Everything wrong with the committed part of a store, one line each; empty when all is well.

    Reads every byte once or twice. ``progress`` is called with (episodes done, E).
    """
    found, damaged = _damaged_files(store)
    found += _array_problems(store)
    columns = {}
    for name in layout.COLUMNS:
        try:
            columns[name] = store.column(name)
        except layout.StoreError as error:
            found.append(str(error))
    for index in range(store.num_episodes):
        if index not in damaged:
            found += [f"episode {index}: {line}" for line in _episode_problems(store, index, columns)]
        if progress:
            progress(index + 1, store.num_episodes)
    return found


def _damaged_files(store: StoreReader) -> tuple[list[str], set[int]]:
    """Files that are missing or fail their checksum, and the episodes that have steps in them."""
    lines, episodes = [], set()
    for name, array in store.step_arrays.items():
        if array.shape[0] < store.num_steps:
            continue
        for key, start, what in _bad_files(array, store.num_steps):
            stop = start + rows_per_file(array)
            hit = np.flatnonzero((store.starts < stop) & (store.ends > start))
            episodes |= {int(index) for index in hit}
            lines.append(f"data/{name}/{key} {what}: episodes {_ranges(hit)}")
    return lines, episodes


def _bad_files(array: zarr.Array[Any], length: int) -> Iterator[tuple[str, int, str]]:
    rows = rows_per_file(array)
    for number, key in enumerate(chunk_keys(array, length)):
        if not (folder_of(array) / key).is_file():
            yield key, number * rows, "is missing"
            continue
        try:
            array[number * rows : min((number + 1) * rows, length)]
        except Exception as error:  # zarr raises many kinds for damaged bytes
            yield key, number * rows, f"is damaged ({' '.join(str(error).split())})"


def _array_problems(store: StoreReader) -> list[str]:
    """Arrays whose type or shape is not what the store's spec says."""
    dtypes, shapes = layout.array_dtypes(store.env_spec), layout.array_shapes(store.env_spec)
    lines = []
    for name, dtype in dtypes.items():
        array = store.step_arrays[name]
        if array.dtype != dtype or tuple(array.shape[1:]) != shapes[name]:
            lines.append(f"data/{name} is {array.dtype} {tuple(array.shape[1:])}, the spec says {dtype} {shapes[name]}")
    return lines


def _episode_problems(store: StoreReader, index: int, columns: dict[str, NDArray[Any]]) -> list[str]:
    arrays = store.episode_arrays(index)
    lines = []
    if "digest" in columns and layout.digest(arrays) != str(columns["digest"][index]):
        lines.append("its content is not what was written (the digest differs)")
    for name, values in arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = ~np.isfinite(values.reshape(len(values), -1)).all(1)
            lines.append(f"{name} holds NaN or infinity at {int(bad.sum())} steps, first at step {int(np.argmax(bad))}")
    lines += _limit_problems(store, arrays[ACTION])
    if "provenance" in columns:
        try:
            json.loads(str(columns["provenance"][index]))
        except json.JSONDecodeError as error:
            lines.append(f"its provenance is no JSON ({error})")
    if {"success", "outcome"} <= columns.keys() and bool(columns["success"][index]) != (columns["outcome"][index] == "success"):
        lines.append(f"success is {bool(columns['success'][index])} but outcome is {str(columns['outcome'][index])!r}")
    return lines


def _limit_problems(store: StoreReader, actions: NDArray[Any]) -> list[str]:
    limits = store.env_spec.action
    low, high = np.asarray(limits.low), np.asarray(limits.high)
    slack = _LIMIT_SLACK * (high - low)
    outside = (actions < low - slack) | (actions > high + slack)
    return [
        f"action {limits.names[channel]!r} leaves its limits {low[channel]:g}..{high[channel]:g} "
        f"at {int(outside[:, channel].sum())} steps, "
        f"reaching {actions[:, channel].min():g}..{actions[:, channel].max():g}"
        for channel in np.flatnonzero(outside.any(0))
    ]


def _ranges(indices: NDArray[Any]) -> str:
    """Consecutive indices as ``3-7``."""
    return str(int(indices[0])) if len(indices) == 1 else f"{int(indices[0])}-{int(indices[-1])}" if len(indices) else "none"
