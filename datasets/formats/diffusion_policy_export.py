"""Writes a store as diffusion_policy's replay buffer: zarr 2, a directory, or one ``.zip``, that its ``ReplayBuffer`` reads."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore, ZipStore

from robolearn.datasets.formats.diffusion_policy_layout import ATTR
from robolearn.datasets.formats.zarr2_codecs import CodecError, image_codec
from robolearn.datasets.layout import ACTION, REWARD, SIM_STATE, StoreError
from robolearn.datasets.reader import StoreReader

NAME = "diffusion_policy"
# What diffusion_policy itself writes to disk: its resolve_compressor('disk').
_BLOSC = {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 2}
IMAGE_CODECS: dict[str, dict[str, Any]] = {
    "blosc": _BLOSC,
    "jpeg2k": {"id": "imagecodecs_jpeg2k", "level": 50},  # its robomimic cache
    "jpegxl": {"id": "imagecodecs_jpegxl", "level": 99},  # UMI
}
_CHUNK_BYTES = 2_000_000  # the size that its get_optimal_chunks aims at


def write(store: StoreReader, out: Path, *, image_codec: str = "blosc") -> list[str]:
    """Write ``out``, a zip where its name ends in ``.zip``, else a directory.

    Observations, extra arrays, actions, rewards and simulator states are there to the bit, under the names and types they had in the buffer
    that they came from, if any; success, terminated and truncated as arrays of ``meta``, the spec in the root's attributes, which
    diffusion_policy does not look at and ``data import`` takes up again.

    Args:
        store: what to write.
        out: a path that does not exist.
        image_codec: ``blosc`` (lossless), ``jpeg2k`` or ``jpegxl`` (smaller, with the settings of its caches and of UMI, which
            may change pixels).

    Returns:
        A line for each thing that is not held.

    Raises:
        StoreError: no such codec; ``out`` cannot be written; the store is damaged.
        UserError: the codec's package is not installed.
    """
    if image_codec not in IMAGE_CODECS:
        raise StoreError(f"image_codec takes {', '.join(IMAGE_CODECS)}, got {image_codec!r}")
    notes = _common_notes(store)
    storage = ZipStore(out, mode="w") if out.suffix == ".zip" else LocalStore(out)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module="zarr")  # on codecs outside zarr 3's specification
            root = zarr.open_group(storage, mode="a", zarr_format=2, attributes={ATTR: {"env_spec": store.env_spec.to_dict()}})
            _write_steps(root.create_group("data"), store, notes, image_codec)
            _write_episodes(root.create_group("meta"), store)
    finally:
        storage.close()
    return _not_held(store, image_codec)


def _write_steps(group: zarr.Group, store: StoreReader, notes: dict[str, Any], image_codec: str) -> None:
    renamed, as_floats = notes.get("renamed", {}), notes.get("float_images", [])
    for name in (*store.env_spec.observation, *store.env_spec.extras):
        dtype = np.dtype(np.float32) if name in as_floats else store.step_arrays[name].dtype
        _write_array(group, store, name, renamed.get(name, f"data/{name}"), dtype, image_codec)
    start = 0
    for key, width in notes.get("actions", {f"data/{ACTION}": store.env_spec.action.size}).items():
        _write_array(group, store, ACTION, key, store.step_arrays[ACTION].dtype, image_codec, slice(start, start + width))
        start += width
    for name in (REWARD, SIM_STATE):
        if name in store.array_names:
            _write_array(group, store, name, f"data/{name}", store.step_arrays[name].dtype, image_codec)


def _write_array(
    group: zarr.Group, store: StoreReader, name: str, key: str, dtype: np.dtype[Any], image_codec: str, channels: slice | None = None
) -> None:
    """One array, a chunk at a time; of the action only ``channels``."""
    shape = store.step_arrays[name].shape[1:]
    shape = shape if channels is None else (channels.stop - channels.start,)
    is_image = dtype.kind in "uf" and len(shape) == 3 and shape[2] in (1, 3, 4)
    row = max(1, int(np.prod(shape)) * dtype.itemsize)
    chunk = 1 if is_image and dtype == np.uint8 else min(store.num_steps, max(1, _CHUNK_BYTES // row))
    lossy = is_image and dtype == np.uint8 and image_codec != "blosc"
    array = group.create_array(
        key.removeprefix("data/"),
        shape=(store.num_steps, *shape),
        chunks=(chunk, *shape),
        dtype=dtype,
        compressors=_codec(IMAGE_CODECS[image_codec] if lossy else _BLOSC),
        fill_value=0,
        config={"order": "C", "write_empty_chunks": True},
    )
    for start in range(0, store.num_steps, chunk):
        rows = store.array(name, start, start + chunk)
        array[start : start + chunk] = np.asarray(rows if channels is None else rows[:, channels], dtype)


def _codec(config: dict[str, Any]) -> Any:
    try:
        return numcodecs.get_codec(dict(config)) if config is _BLOSC else image_codec(config)
    except CodecError as error:
        raise StoreError(str(error)) from error


def _write_episodes(group: zarr.Group, store: StoreReader) -> None:
    columns = {name: store.column(name).astype(bool) for name in ("success", "terminated", "truncated")}
    arrays: dict[str, NDArray[Any]] = {"episode_ends": store.ends.astype(np.int64), **columns}
    for name, values in arrays.items():
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=values.shape,
            dtype=values.dtype,
            compressors=None,
            fill_value=0,
            config={"order": "C", "write_empty_chunks": True},
        )
        array[...] = values


def _common_notes(store: StoreReader) -> dict[str, Any]:
    """How the buffer named and typed its arrays, where all episodes came from buffers of one layout that the spec still fits."""
    found = [store.provenance(index).get(NAME, {}) for index in range(store.num_episodes)]
    notes = found[0] if found and all(entry == found[0] for entry in found) and isinstance(found[0], dict) else {}
    fits = sum(notes.get("actions", {}).values()) in (0, store.env_spec.action.size)
    there = {*store.env_spec.observation, *store.env_spec.extras}
    return notes if fits and {*notes.get("renamed", {}), *notes.get("float_images", [])} <= there else {}


def _not_held(store: StoreReader, image_codec: str) -> list[str]:
    """A line for each thing that is not in the buffer, or not the same."""
    lines = []
    sources = sorted({str(entry) for entry in store.column("source")})
    size = sum(len(json.dumps(store.provenance(index))) for index in range(store.num_episodes))
    lines.append(f"provenance of {store.num_episodes} episodes ({size} bytes of JSON; sources {', '.join(sources)}), seed, parent, digest")
    images = [name for name, entry in store.env_spec.observation.items() if entry.dtype == "uint8" and len(entry.shape) == 3]
    if images and image_codec != "blosc":
        lines.append(f"exact pixels of {', '.join(images)}: {image_codec} may change them; image_codec=blosc keeps them")
    return lines
