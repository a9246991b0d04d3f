"""How a store's arrays are named and typed as LeRobot features, decided once for a whole export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.datasets.formats.lerobot_features import FLAGS, INDICES, NEXT_REWARD, TIMESTAMP
from robolearn.datasets.layout import ACTION, SIM_STATE, StoreError
from robolearn.datasets.reader import StoreReader
from robolearn.spec import ArraySpec

_CLOSE_S = 1e-4  # LeRobot's tolerance for time stamps
IMAGE_NAMES = ["height", "width", "channels"]


@dataclass(frozen=True)
class Layout:
    """The columns of an export.

    Args:
        observations: from an observation's name to its feature.
        cameras: the features that are pictures, with their (height, width, 3).
        columns: type and shape of one step of every other feature of a store's arrays.
        names: what the numbers of a feature are called, where known.
        texts: features that came as texts, from the episodes' provenance.
        fps: steps a second.
        own_timestamp: whether the store's ``timestamp`` is LeRobot's, frame by frame.
    """

    observations: Mapping[str, str]
    cameras: Mapping[str, tuple[int, ...]]
    columns: Mapping[str, tuple[str, tuple[int, ...]]]
    names: Mapping[str, list[str]]
    texts: tuple[str, ...]
    fps: float
    own_timestamp: bool

    def features(self, camera_kind: str, camera_info: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """``features`` of ``info.json``; ``camera_kind`` is ``image`` or ``video``."""
        described: dict[str, dict[str, Any]] = {}
        for name, (dtype, shape) in self.columns.items():
            described[name] = {"dtype": dtype, "shape": list(shape), "names": self.names.get(name)}
        for name, shape in self.cameras.items():
            described[name] = {"dtype": camera_kind, "shape": list(shape), "names": IMAGE_NAMES}
            if camera_kind == "video":
                described[name]["info"] = {"video.height": shape[0], "video.width": shape[1], **camera_info}
        return described


def layout_of(store: StoreReader) -> Layout:
    """How ``store`` lies in LeRobot's columns.

    Raises:
        StoreError: there is nothing to export, or two observations come to one feature.
    """
    spec = store.env_spec
    if not store.num_episodes:
        raise StoreError(f"{store.path} holds no episode to export")
    source = _source_notes(store)
    own_timestamp = _is_lerobot_time(store)
    names = {name: _feature_name(name, entry, source, own_timestamp) for name, entry in spec.observation.items()}
    cameras = {names[name]: entry.shape for name, entry in spec.observation.items() if is_camera(entry)}
    columns: dict[str, tuple[str, tuple[int, ...]]] = {ACTION: ("float32", (spec.action.size,))}
    for name, entry in spec.observation.items():
        if not is_camera(entry) and names[name] != TIMESTAMP:
            columns[names[name]] = (np.dtype(entry.dtype).name, entry.shape or (1,))
    if SIM_STATE in store.array_names:
        columns[SIM_STATE] = ("float64", tuple(store.step_arrays[SIM_STATE].shape[1:]))
    texts = _texts(store, {*columns, *cameras})
    columns |= {name: ("string", (1,)) for name in texts}
    columns |= {NEXT_REWARD: ("float32", (1,)), **{name: ("bool", (1,)) for name in FLAGS}}
    columns |= {TIMESTAMP: ("float32", (1,)), **{name: ("int64", (1,)) for name in INDICES}}
    twice = [name for name in names if list(names.values()).count(names[name]) > 1]
    if twice:
        raise StoreError(f"observations {' and '.join(twice)} come to one feature, {names[twice[0]]!r}; rename one in the store")
    called = {ACTION: list(spec.action.names), **_named(source, columns)}
    return Layout(names, cameras, columns, called, texts, spec.control_hz, own_timestamp)


def is_camera(entry: ArraySpec) -> bool:
    """Whether an observation is colour pictures of 8 bits, (height, width, 3)."""
    return np.dtype(entry.dtype) == np.uint8 and len(entry.shape) == 3 and entry.shape[2] == 3


def _feature_name(name: str, entry: ArraySpec, source: Mapping[str, Any], own_timestamp: bool) -> str:
    """The source's name where the store came from LeRobot, else one that LeRobot's policies understand."""
    renamed = source.get("renamed")
    original = renamed.get(name, name) if isinstance(renamed, dict) else name
    if source and isinstance(original, str) and original in source.get("shapes", {}) and "/" not in original and original != TIMESTAMP:
        if original not in (ACTION, SIM_STATE, NEXT_REWARD, *FLAGS, *INDICES):
            return original
    if name == TIMESTAMP and own_timestamp:
        return TIMESTAMP
    if name.startswith("observation."):
        return name
    return f"observation.images.{name}" if is_camera(entry) else f"observation.{name}"


def _source_notes(store: StoreReader) -> dict[str, Any]:
    """What an import from LeRobot noted in the store's attributes."""
    imported = store.attrs.get("imported")
    for holder in (store.attrs, imported if isinstance(imported, dict) else {}):
        if isinstance(holder.get("lerobot"), dict) and isinstance(holder["lerobot"].get("shapes"), dict):
            return dict(holder["lerobot"])
    return {}


def _named(source: Mapping[str, Any], columns: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, list[str]]:
    names = source.get("names")
    known = names if isinstance(names, dict) else {}
    return {name: known[name] for name in columns if name != ACTION and isinstance(known.get(name), list)}


def _is_lerobot_time(store: StoreReader) -> bool:
    """Whether the store has a ``timestamp`` that is the step over the rate, as LeRobot wants it."""
    entry = store.env_spec.observation.get(TIMESTAMP)
    if entry is None or np.dtype(entry.dtype) != np.float32 or entry.shape not in ((), (1,)):
        return False
    given = store.array(TIMESTAMP).reshape(-1).astype(np.float64)
    steps = np.concatenate([np.arange(length) for length in store.lengths])
    return bool((np.abs(given - steps / store.env_spec.control_hz) < _CLOSE_S).all())


def _texts(store: StoreReader, taken: set[str]) -> tuple[str, ...]:
    """Features that an import kept as texts in the provenance."""
    found: dict[str, None] = {}
    for text in store.column("provenance"):
        texts = json.loads(str(text)).get("texts")
        found |= dict.fromkeys(texts if isinstance(texts, dict) else {})
    reserved = {*taken, TIMESTAMP, NEXT_REWARD, *FLAGS, *INDICES}
    return tuple(name for name in found if name not in reserved and "/" not in name)
