"""What the columns of a LeRobot data set are: read from ``meta/info.json`` in all its spellings, and written in the one of v3.0."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robolearn.datasets.formats import lerobot_paths as paths
from robolearn.datasets.layout import ACTION, StoreError
from robolearn.errors import nearest

VERSIONS = ("v2.0", "v2.1", "v3.0")
ACTIONS = ("action", "actions")
TIMESTAMP, NEXT_REWARD = "timestamp", "next.reward"
FLAGS = ("next.done", "next.truncated", "next.success")
INDICES = ("frame_index", "episode_index", "index", "task_index")
TEXTS = ("string", "language")
_BESIDE = ("action.", "next.")  # labels and other spellings of the action: no policy sees them
_CHANNELS = (1, 3, 4)
_MAX_SIZE = 1 << 24  # numbers of one feature in one step


@dataclass(frozen=True)
class Feature:
    """One column: ``dtype`` a number's, or ``image``, ``video``, ``string``; ``shape`` of one step, images as (height, width, channels)."""

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    is_depth: bool = False

    @property
    def is_image(self) -> bool:
        """Whether steps are pictures, in the table or in a video."""
        return self.dtype in ("image", "video")


@dataclass(frozen=True)
class Info:
    """``meta/info.json``; its totals are not read, for they are often wrong."""

    version: str
    fps: float
    features: Mapping[str, Feature]
    data_path: str
    video_path: str
    chunks_size: int
    robot_type: str


def read_info(root: Path) -> Info:
    """The data set's own description.

    Raises:
        StoreError: missing, damaged, of another version, or absurd.
    """
    data = paths.read_json(root, paths.INFO)
    where = root / paths.INFO
    if not isinstance(data, dict) or not isinstance(data.get("features"), dict):
        raise StoreError(f"{where} describes no features; restore it from its source")
    version = data.get("codebase_version")
    if version not in VERSIONS:
        raise StoreError(
            f"{where} is of version {str(version)[:20]!r}; {', '.join(VERSIONS)} are read: convert it with lerobot's own scripts"
        )
    fps, chunks_size = data.get("fps"), data.get("chunks_size", 1000)
    if not isinstance(fps, int | float) or isinstance(fps, bool) or not 0 < fps < 1e6:
        raise StoreError(f"{where}: fps is {str(fps)[:40]!r}, expected steps a second, such as 30")
    if not isinstance(chunks_size, int) or chunks_size < 1:
        raise StoreError(f"{where}: chunks_size is {str(chunks_size)[:40]!r}, expected a count, such as 1000")
    features = {name: _feature(where, name, entry) for name, entry in data["features"].items()}
    v2 = version != "v3.0"
    data_path = data.get("data_path") or ("data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet" if v2 else paths.DATA_PATH)
    return Info(version, float(fps), features, data_path, data.get("video_path") or "", chunks_size, str(data.get("robot_type") or ""))


def _feature(where: Path, name: str, entry: Any) -> Feature:
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        raise StoreError(f"{where}: feature {name!r} has no dtype")
    dtype, shape = entry["dtype"], entry.get("shape") or [1]
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape) or math.prod(shape) > _MAX_SIZE:
        raise StoreError(f"{where}: feature {name!r} has the shape {str(shape)[:60]!r}, expected a list of sizes, such as [7]")
    details = {**_dict(entry.get("info")), **_dict(entry.get("video_info"))}
    is_depth = any(bool(details.get(key)) for key in ("is_depth_map", "video.is_depth_map"))
    names = tuple(words(entry.get("names")))
    if dtype in ("image", "video"):
        shape = _height_width_channels(where, name, shape, names)
    return Feature(dtype, tuple(shape), names, is_depth)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def words(names: Any, depth: int = 0) -> Iterator[str]:
    """The names in a list, a list of lists, a dict of lists, a dict from name to place, or nothing, as they occur in the wild."""
    if isinstance(names, str):
        yield names
    elif isinstance(names, dict) and names and all(isinstance(value, int) for value in names.values()):
        yield from sorted(names, key=lambda name: int(names[name]))
    elif isinstance(names, dict | list) and depth < 8:
        for entry in names.values() if isinstance(names, dict) else names:
            yield from words(entry, depth + 1)


def _height_width_channels(where: Path, name: str, shape: Sequence[int], names: Sequence[str]) -> list[int]:
    """An image's shape in the order of a store, from channels first or last."""
    if len(shape) == 2:
        return [*shape, 1]
    first = len(shape) == 3 and shape[0] in _CHANNELS
    last = len(shape) == 3 and shape[2] in _CHANNELS
    if first and last:  # the names decide; without them channels come last
        first = bool(names) and names[0].startswith("channel")
        last = not first
    if not first and not last:
        raise StoreError(f"{where}: image feature {name!r} has the shape {list(shape)}, expected [height, width, 3] or [3, height, width]")
    return list(shape) if last else [shape[1], shape[2], shape[0]]


def action_name(root: Path, features: Mapping[str, Feature]) -> str:
    """The feature that is the action.

    Raises:
        StoreError: there is none.
    """
    for name in ACTIONS:
        if name in features:
            return name
    raise StoreError(f"{root / paths.INFO} has no feature 'action'; it has {', '.join(features)}{nearest(ACTION, features)}")


def is_extra(name: str) -> bool:
    """Whether a feature is kept beside the observations: time stamps, outcomes, other spellings of the action."""
    return name == TIMESTAMP or name.startswith(_BESIDE)


def channel_names(feature: Feature) -> tuple[str, ...]:
    """One name per number of a vector: the data set's where there are as many, all different; else ``a0``, ``a1``, ..."""
    size = math.prod(feature.shape)
    names = feature.names
    return names if len(names) == size == len(set(names)) else tuple(f"a{channel}" for channel in range(size))
