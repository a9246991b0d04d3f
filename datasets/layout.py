"""The store's schema: which arrays there are, how they are typed, chunked and checksummed, and what an episode's digest covers."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from robolearn import __version__
from robolearn.datasets.codecs import PictureCodec, codec_named, is_picture, state_codecs
from robolearn.datasets.zarr_loop import wait_at_exit
from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.spec import EnvSpec, SpecError

wait_at_exit()  # whoever opens a store needs its schema

SCHEMA_VERSION = 1
ACTION, REWARD, SIM_STATE, END = "action", "reward", "sim_state", "end"
# Per-episode columns beside `end`, which is the commit.
COLUMNS: dict[str, Any] = {
    "success": bool,
    "terminated": bool,
    "truncated": bool,
    "source": str,  # teleop, expert, rollout, augmentation, import
    "outcome": str,  # success, failure (the task ended otherwise), timeout (truncated), unfinished
    "seed": np.int64,  # -1: none, or beyond 64 bits: the provenance says
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
Frame = bytes | memoryview | None  # an encoded row


class StoreError(UserError):
    """A demonstration store is missing, broken, or does not fit."""


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


def create_step_array(
    group: zarr.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], codec: PictureCodec | None = None
) -> zarr.Array[Any]:
    """Add ``data/<name>``: state in chunks of at most 256 KiB and 1024 steps; images and depth one frame a chunk, 64 a file.

    ``codec`` encodes colour pictures; without one, and for all else, it is zstd.
    """
    row_bytes = max(1, math.prod(shape) * dtype.itemsize)
    framed = _is_image(shape, dtype)
    rows = 1 if framed else min(_MAX_CHUNK_ROWS, max(1, 1 << int(math.log2(max(1, _CHUNK_BYTES // row_bytes)))))
    pictures = codec if is_picture(shape, dtype) else None
    return group.create_array(
        f"data/{name}",
        shape=(0, *shape),
        chunks=(rows, *shape),
        shards=(_FRAMES_PER_SHARD, *shape) if framed else None,
        dtype=dtype,
        fill_value=np.nan if dtype.kind == "f" else 0,
        serializer=pictures or "auto",
        compressors=[Crc32cCodec()] if pictures else state_codecs(),
    )


def _is_image(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether a step's array is a picture, mask or depth map."""
    return dtype in (np.uint8, np.uint16) and len(shape) >= 2


def create_arrays(group: zarr.Group, spec: EnvSpec, attrs: Mapping[str, Any], image_codec: str = "zstd") -> None:
    """Lay out an empty store; ``image_codec`` is that of its colour pictures."""
    codec = codec_named(image_codec)
    dtypes, shapes = array_dtypes(spec), array_shapes(spec)
    for name, dtype in dtypes.items():
        create_step_array(group, name, shapes[name], dtype, codec)
    columns = {**COLUMNS, END: np.int64}
    for name, dtype in columns.items():
        group.create_array(f"episodes/{name}", shape=(0,), chunks=(_EPISODES_PER_CHUNK,), dtype=dtype, compressors=state_codecs())
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
    """The per-step arrays of an episode as they are stored. Raises as :func:`fitted`."""
    values: dict[str, Any] = {name: episode.observations[name] for name in spec.observation}
    values |= {name: episode.extras[name] for name in spec.extras}
    values |= {ACTION: episode.actions, REWARD: episode.rewards}
    arrays = {name: np.ascontiguousarray(fitted(name, values[name], dtype)) for name, dtype in array_dtypes(spec).items()}
    if episode.sim_state is not None:
        arrays[SIM_STATE] = np.ascontiguousarray(np.asarray(episode.sim_state, np.float64))
    return arrays


def fitted(name: str, values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Numbers as another type, the very array where it is of that type.

    Raises:
        SpecError: whole numbers would not be the same, others would become infinite.
    """
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(dtype)
    if dtype.kind in "biu":
        holds = bool((cast == values).all())
    else:
        finite = np.isfinite(cast)
        holds = bool(finite.all()) or not np.isfinite(values[~finite]).any()
    if not holds:
        raise SpecError(f"{name} is {values.dtype}, and {dtype} does not hold it: it goes from {values.min():g} to {values.max():g}")
    return cast


def digest(arrays: Mapping[str, NDArray[Any]], encoded: Mapping[str, Iterable[Frame]] | None = None) -> str:
    """Content of an episode in 32 hex digits (blake2b): names, types, shapes and bytes of its arrays.

    Args:
        arrays: its content.
        encoded: rows of the arrays that are kept with loss, as they are encoded, without checksums: they, and not what some
            version of a decoder makes of them, are the content.
    """
    frames = {name: frames_digest(rows) for name, rows in (encoded or {}).items()}
    return digest_of_blocks({name: (array.dtype, array.shape, frames.get(name, [array])) for name, array in arrays.items()})


def digest_of_blocks(arrays: Mapping[str, tuple[np.dtype[Any], tuple[int, ...], Iterable[NDArray[Any]] | bytes]]) -> str:
    """The same from ``{name: (type, shape, blocks)}``: the array's rows cut up, in order, or the digest of its encoded frames."""
    content = new_digest()
    for name in sorted(arrays):
        dtype, shape, blocks = arrays[name]
        content.update(digest_header(name, dtype, shape))
        if isinstance(blocks, bytes):
            content.update(blocks)
            continue
        for rows in blocks:
            content.update(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
    return content.hexdigest()


def frames_digest(frames: Iterable[Frame]) -> bytes:
    """Digest of an array's encoded rows, in order; None is a row that is not held."""
    content = new_digest()
    for frame in frames:
        add_frame(content, frame)
    return content.digest()


def add_frame(content: hashlib.blake2b, frame: Frame) -> None:
    """Go on with :func:`frames_digest`."""
    content.update(len(frame or b"").to_bytes(8, "little"))
    content.update(frame or b"")


def new_digest() -> hashlib.blake2b:
    """A digest of nothing yet."""
    return hashlib.blake2b(digest_size=16)


def digest_header(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What a digest holds before an array's bytes."""
    return f"{name}:{dtype.str}:{shape};".encode()


def outcome_of(success: bool, terminated: bool, truncated: bool) -> str:
    """How an episode ended, in one word: success, failure (ended otherwise), timeout, unfinished."""
    if success:
        return "success"
    return "failure" if terminated else "timeout" if truncated else "unfinished"


@dataclass(frozen=True)
class Ended:
    """How an episode ended, in the words of :class:`robolearn.episode.Episode`."""

    success: bool
    terminated: bool
    truncated: bool


def columns_of(ended: Ended | Episode, provenance: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """The per-episode entries of one episode."""
    return {
        "success": bool(ended.success),
        "terminated": bool(ended.terminated),
        "truncated": bool(ended.truncated),
        "source": str(provenance.get("source", "")),
        "outcome": outcome_of(ended.success, ended.terminated, ended.truncated),
        "seed": _index(provenance.get("seed")),
        "parent": _index(provenance.get("parent")),
        "digest": digest,
        "provenance": json.dumps(dict(provenance), default=_jsonable),
    }


def _index(value: Any) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return int(value) if whole else -1


def _jsonable(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)
