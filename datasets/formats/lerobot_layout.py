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
_OWN = (TIMESTAMP, *FLAGS)  # LeRobot's, which a store can hold as well
_TAKEN = (ACTION, SIM_STATE, NEXT_REWARD, *INDICES)  # written from elsewhere
IMAGE_NAMES = ["height", "width", "channels"]


@dataclass(frozen=True)
class Layout:
    """The columns of an export.

    Args:
        sources: from the name of an observation or extra array to its feature.
        cameras: the features that are pictures, with their (height, width, 3).
        columns: type and shape of one step of every other feature of a store's arrays.
        names: what the numbers of a feature are called, where known.
        texts: features that came as texts, from the episodes' provenance.
        fps: steps a second.
    """

    sources: Mapping[str, str]
    cameras: Mapping[str, tuple[int, ...]]
    columns: Mapping[str, tuple[str, tuple[int, ...]]]
    names: Mapping[str, list[str]]
    texts: tuple[str, ...]
    fps: float

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
    arrays = {**spec.observation, **spec.extras}
    names = {name: _feature_name(store, name, entry, source) for name, entry in arrays.items()}
    twice = [name for name in names if list(names.values()).count(names[name]) > 1]
    if twice:
        raise StoreError(f"arrays {' and '.join(twice)} come to one feature, {names[twice[0]]!r}; rename one in the store")
    cameras = {names[name]: entry.shape for name, entry in arrays.items() if is_camera(entry)}
    columns: dict[str, tuple[str, tuple[int, ...]]] = {ACTION: (spec.action.dtype, (spec.action.size,))}
    columns |= {names[name]: (np.dtype(entry.dtype).name, entry.shape or (1,)) for name, entry in arrays.items() if not is_camera(entry)}
    if SIM_STATE in store.array_names:
        columns[SIM_STATE] = ("float64", tuple(store.step_arrays[SIM_STATE].shape[1:]))
    texts = _texts(store, {*columns, *cameras})
    columns |= {name: ("string", (1,)) for name in texts}
    columns |= {NEXT_REWARD: (spec.reward_dtype, (1,)), **{name: ("bool", (1,)) for name in FLAGS}}
    columns |= {TIMESTAMP: ("float32", (1,)), **{name: ("int64", (1,)) for name in INDICES}}
    called = {ACTION: list(spec.action.names), **_named(source, columns)}
    return Layout(names, cameras, columns, called, texts, spec.control_hz)


def is_camera(entry: ArraySpec) -> bool:
    """Whether an observation is colour pictures of 8 bits, (height, width, 3)."""
    return np.dtype(entry.dtype) == np.uint8 and len(entry.shape) == 3 and entry.shape[2] == 3


def _feature_name(store: StoreReader, name: str, entry: ArraySpec, source: Mapping[str, Any]) -> str:
    """The source's name where the store came from LeRobot, else one that LeRobot's policies understand."""
    if name in _OWN:
        return name if _is_own(store, name, entry) else f"source.{name}"
    renamed = source.get("renamed")
    original = renamed.get(name, name) if isinstance(renamed, dict) else name
    known = isinstance(original, str) and original in source.get("shapes", {}) and "/" not in original
    if known and original not in _TAKEN:
        return str(original)
    if name in store.env_spec.extras or name.startswith("observation."):
        return f"source.{name}" if name in _TAKEN else name
    return f"observation.images.{name}" if is_camera(entry) else f"observation.{name}"


def _is_own(store: StoreReader, name: str, entry: ArraySpec) -> bool:
    """Whether an array of that name is what LeRobot means: time as the step over the rate, an outcome as true or false."""
    dtype = np.float32 if name == TIMESTAMP else np.bool_
    if np.dtype(entry.dtype) != dtype or entry.shape not in ((), (1,)):
        return False
    if name != TIMESTAMP:
        return True
    given = store.array(name).reshape(-1).astype(np.float64)
    steps = np.concatenate([np.arange(length) for length in store.lengths])
    return bool((np.abs(given - steps / store.env_spec.control_hz) < _CLOSE_S).all())


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


def _texts(store: StoreReader, taken: set[str]) -> tuple[str, ...]:
    """Features that an import kept as texts in the provenance."""
    found: dict[str, None] = {}
    for text in store.column("provenance"):
        texts = json.loads(str(text)).get("texts")
        found |= dict.fromkeys(texts if isinstance(texts, dict) else {})
    return tuple(name for name in found if name not in {*taken, *_OWN, *_TAKEN} and "/" not in name)
