"""Which column of a LeRobot data set becomes what in a store, decided once for all its episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.datasets.formats import lerobot_paths as paths
from robolearn.datasets.formats.lerobot_features import (
    FLAGS,
    INDICES,
    NEXT_REWARD,
    TEXTS,
    Feature,
    Info,
    action_name,
    channel_names,
    observation_names,
)
from robolearn.datasets.formats.lerobot_table import Table, number_type
from robolearn.datasets.layout import SIM_STATE, StoreError
from robolearn.errors import nearest
from robolearn.spec import ActionSpec, ArraySpec, EnvSpec, SpecError


@dataclass(frozen=True)
class Plan:
    """Names of features by what they become.

    Args:
        action: the feature that is the action.
        observations: from an observation's name to its feature.
        arrays: the observations' specs.
        texts: features kept in provenance, as runs.
        sim_state: whether the data hold our simulator states.
        left_out: columns that a store cannot hold, or that were not asked for.
        spec: the spec that our own export noted, None for data of others.
    """

    action: str
    observations: Mapping[str, str]
    arrays: Mapping[str, ArraySpec]
    texts: tuple[str, ...] = ()
    sim_state: bool = False
    left_out: tuple[str, ...] = ()
    spec: EnvSpec | None = None

    def videos(self, info: Info) -> list[str]:
        """The features that lie in mp4 files."""
        return [name for name in self.observations.values() if info.features[name].dtype == "video"]

    def columns(self, info: Info, table: Table) -> list[str]:
        """The columns to read of each episode, those that may be absent only where they are there."""
        needed = [self.action, *(name for name in self.observations.values() if info.features[name].dtype != "video")]
        optional = ["timestamp", NEXT_REWARD, *FLAGS, "task_index", *self.texts, *([SIM_STATE] if self.sim_state else [])]
        return list(dict.fromkeys([*needed, *(name for name in optional if name in table.names)]))


def make_plan(root: Path, info: Info, table: Table, leave_out: Sequence[str]) -> Plan:
    """The plan for a data set one of whose data files is ``table``.

    Raises:
        StoreError: no action, a column that is declared and not there, or names that clash.
    """
    unknown = [name for name in leave_out if name not in info.features]
    if unknown:
        raise StoreError(f"leave_out: no feature {unknown[0]!r} in {root / paths.INFO}{nearest(unknown[0], info.features)}")
    action = action_name(root, info.features)
    notes = _notes(root)
    reserved = {action, NEXT_REWARD, *FLAGS, *INDICES, *([SIM_STATE] if notes else [])}
    wanted = {name: feature for name, feature in info.features.items() if name not in reserved and name not in leave_out}
    remedy = "fetch it again, or leave_out=[it] where it is an observation"
    table.require([action, *(name for name, feature in wanted.items() if feature.dtype != "video")], remedy)
    texts = tuple(name for name, feature in wanted.items() if feature.dtype in TEXTS)
    kept = {name: _array_spec(table, name, feature) for name, feature in wanted.items() if name not in texts}
    held = {name: spec for name, spec in kept.items() if spec is not None}
    left_out = (*leave_out, *(name for name in kept if name not in held), *(name for name in table.names if name not in info.features))
    names = observation_names(list(held))
    plan = Plan(action, {names[name]: name for name in held}, {names[name]: spec for name, spec in held.items()}, texts, False, left_out)
    return _noted(root, plan, notes, info) if notes else plan


def _array_spec(table: Table, name: str, feature: Feature) -> ArraySpec | None:
    """How a feature lies in a store, in the type its numbers have on disk; None where a store cannot hold it."""
    if feature.is_image:
        if feature.is_depth:
            raise StoreError(f"{table.path}: {name!r} holds depth, which is not imported yet; leave_out=[{name}] imports without it")
        return ArraySpec(feature.shape, "uint8")
    dtype = number_type(table.schema, name)
    return ArraySpec(feature.shape, dtype.name) if dtype is not None else None


def _notes(root: Path) -> dict[str, Any] | None:
    """What our own export wrote beside the data."""
    if paths.absence(root / paths.NOTES):
        return None
    notes = paths.read_json(root, paths.NOTES)
    if not isinstance(notes, dict) or not isinstance(notes.get("observations"), dict) or not isinstance(notes.get("env_spec"), dict):
        raise StoreError(f"{root / paths.NOTES} is damaged; without that file the data set is read as anybody's")
    return notes


def _noted(root: Path, plan: Plan, notes: Mapping[str, Any], info: Info) -> Plan:
    """The plan with the names, shapes and limits of the store that was exported."""
    try:
        spec = EnvSpec.from_dict(notes["env_spec"])
        by_feature = {feature: name for name, feature in plan.observations.items()}
        chosen = {name: str(feature) for name, feature in notes["observations"].items() if feature not in plan.left_out}
        arrays = {name: spec.observation[name] for name in chosen}
        fits = all(_same(arrays[name], plan.arrays[by_feature[feature]]) for name, feature in chosen.items())
        limits = np.array([spec.action.low, spec.action.high], np.float64)
        fits &= bool(np.isfinite(limits).all()) and all(isinstance(word, str) for word in (spec.task, *spec.action.names, *spec.stages))
        fits &= abs(spec.control_hz - info.fps) < 1e-6
    except (SpecError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{root / paths.NOTES} does not fit the data ({error}); without that file it is read as anybody's") from error
    if not fits or spec.action.size != math.prod(info.features[plan.action].shape):
        raise StoreError(f"{root / paths.NOTES} does not fit the data; without that file it is read as anybody's")
    spec = EnvSpec(spec.task, arrays, spec.action, spec.control_hz, spec.stages)
    return Plan(plan.action, chosen, arrays, plan.texts, SIM_STATE in info.features, plan.left_out, spec)


def _same(one: ArraySpec, other: ArraySpec) -> bool:
    return math.prod(one.shape) == math.prod(other.shape) and np.dtype(one.dtype) == np.dtype(other.dtype)


def spec_of(plan: Plan, info: Info, task: str, low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]) -> EnvSpec:
    """The spec of an import; ``low`` and ``high`` ``(A,)`` are the actions' range in the data."""
    if plan.spec is not None:
        return plan.spec
    if (low >= -1).all() and (high <= 1).all():
        low, high = np.full_like(low, -1), np.full_like(high, 1)
    names = channel_names(info.features[plan.action])
    action = ActionSpec(names, tuple(low.tolist()), tuple(high.tolist()), units="", frame="")
    return EnvSpec(task, plan.arrays, action, info.fps)
