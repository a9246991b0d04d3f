"""The store's schema: which arrays there are, how they are typed, chunked and checksummed, and what an episode's digest covers."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from robolearn import __version__
from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.spec import EnvSpec

SCHEMA_VERSION = 1
ACTION, REWARD, SIM_STATE, END = "action", "reward", "sim_state", "end"
# Per-episode columns beside `end`, which is the commit.
COLUMNS: dict[str, Any] = {
    "success": bool,
    "terminated": bool,
    "truncated": bool,
    "source": str,  # teleop, expert, rollout, augmentation, import
    "outcome": str,  # success, failure (the task ended otherwise), timeout (truncated), unfinished
    "seed": np.int64,  # -1: none
    "parent": np.int64,  # index of the episode this one was made from; -1: none
    "digest": str,  # blake2b of the arrays
    "provenance": str,  # JSON
}
RESERVED = frozenset({ACTION, REWARD, SIM_STATE})  # names that no observation has
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_CHUNK_BYTES = 1 << 18
_MAX_CHUNK_ROWS = 1024
_EPISODES_PER_CHUNK = 512
_FRAMES_PER_SHARD = 64


class StoreError(UserError):
    """A demonstration store is missing, broken, or does not fit."""


def codecs() -> list[Any]:
    """Compression, then the checksum of the compressed bytes."""
    return [ZstdCodec(level=1), Crc32cCodec()]


def array_dtypes(spec: EnvSpec) -> dict[str, np.dtype[Any]]:
    """The per-step arrays every store of ``spec`` has, without the optional simulator state."""
    for kind, entries in (("observation", spec.observation), ("extra array", spec.extras)):
        for name, entry in entries.items():
            if name in RESERVED or not NAME.fullmatch(name) or (kind != "observation" and name in spec.observation):
                raise StoreError(
                    f"{kind} {name!r} cannot be stored: names are unique, use letters, digits, '_', '.', '-' and are not {sorted(RESERVED)}"
                )
            if np.dtype(entry.dtype).kind not in "biuf":
                raise StoreError(f"{kind} {name!r} has dtype {entry.dtype}; a store holds numbers and booleans")
    dtypes = {name: np.dtype(entry.dtype) for name, entry in {**spec.observation, **spec.extras}.items()}
    return {**dtypes, ACTION: np.dtype(spec.action.dtype), REWARD: np.dtype(spec.reward_dtype)}


def array_shapes(spec: EnvSpec) -> dict[str, tuple[int, ...]]:
    """Shape of one step of each per-step array."""
    shapes = {name: entry.shape for name, entry in {**spec.observation, **spec.extras}.items()}
    return {**shapes, ACTION: (spec.action.size,), REWARD: ()}


def create_step_array(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], length: int = 0) -> zarr.Array[Any]:
    """Add ``data/<name>``: state in chunks of at most 256 KiB and 1024 steps; images one frame a chunk, 64 a file."""
    row_bytes = max(1, math.prod(shape) * dtype.itemsize)
    is_image = dtype == np.uint8 and len(shape) >= 2
    rows = 1 if is_image else min(_MAX_CHUNK_ROWS, max(1, 1 << int(math.log2(max(1, _CHUNK_BYTES // row_bytes)))))
    return group.create_array(
        f"data/{name}",
        shape=(length, *shape),
        chunks=(rows, *shape),
        shards=(_FRAMES_PER_SHARD, *shape) if is_image else None,
        dtype=dtype,
        fill_value=np.nan if dtype.kind == "f" else 0,
        compressors=codecs(),
    )


def create_arrays(group: zarr.Group, spec: EnvSpec, attrs: Mapping[str, Any]) -> None:
    """Lay out an empty store."""
    dtypes, shapes = array_dtypes(spec), array_shapes(spec)
    for name, dtype in dtypes.items():
        create_step_array(group, name, shapes[name], dtype)
    columns = {**COLUMNS, END: np.int64}
    for name, dtype in columns.items():
        group.create_array(f"episodes/{name}", shape=(0,), chunks=(_EPISODES_PER_CHUNK,), dtype=dtype, compressors=codecs())
    group.attrs.update(
        {
            **attrs,
            "schema_version": SCHEMA_VERSION,
            "env_spec": spec.to_dict(),
            "task": spec.task,
            "created_with": {"robolearn": __version__, "zarr": zarr.__version__, "numpy": np.__version__},
        }
    )


def step_arrays(episode: Episode, spec: EnvSpec) -> dict[str, NDArray[Any]]:
    """The per-step arrays of an episode as they are stored."""
    values: dict[str, Any] = {name: episode.observations[name] for name in spec.observation}
    values |= {name: episode.extras[name] for name in spec.extras}
    values |= {ACTION: episode.actions, REWARD: episode.rewards}
    arrays = {name: np.ascontiguousarray(np.asarray(values[name], dtype)) for name, dtype in array_dtypes(spec).items()}
    if episode.sim_state is not None:
        arrays[SIM_STATE] = np.ascontiguousarray(np.asarray(episode.sim_state, np.float64))
    return arrays


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Content of an episode in 32 hex digits: names, types, shapes and bytes of its arrays (blake2b)."""
    content = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        content.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        content.update(array.tobytes())
    return content.hexdigest()


def outcome(episode: Episode) -> str:
    """How an episode ended, in one word."""
    if episode.success:
        return "success"
    return "failure" if episode.terminated else "timeout" if episode.truncated else "unfinished"


def columns_of(episode: Episode, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The per-episode entries of one episode."""
    provenance = dict(episode.provenance)
    return {
        "success": bool(episode.success),
        "terminated": bool(episode.terminated),
        "truncated": bool(episode.truncated),
        "source": str(provenance.get("source", "")),
        "outcome": outcome(episode),
        "seed": _index(provenance.get("seed")),
        "parent": _index(provenance.get("parent")),
        "digest": digest(arrays),
        "provenance": json.dumps(provenance, default=_jsonable),
    }


def _index(value: Any) -> int:
    return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else -1


def _jsonable(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)
