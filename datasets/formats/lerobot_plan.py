"""Which column of a LeRobot data set becomes what in a store, decided once for all its episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats import lerobot_paths as paths
from robolearn.datasets.formats.lerobot_features import (
    INDICES,
    NEXT_REWARD,
    TEXTS,
    TIMESTAMP,
    Feature,
    Info,
    action_name,
    channel_names,
    is_extra,
)
from robolearn.datasets.formats.lerobot_table import Table, is_text, number_type
from robolearn.datasets.formats.naming import action_spec, store_names
from robolearn.datasets.layout import SIM_STATE, StoreError
from robolearn.errors import nearest
from robolearn.spec import ArraySpec, EnvSpec, SpecError


@dataclass(frozen=True)
class Plan:
    """Names of features by what they become.

    Args:
        action: the feature that is the action.
        sources: from the name of an array in the store to its feature.
        observation: the observations' specs.
        extras: the specs of what is kept beside them.
        dtypes: types of the action and the reward.
        texts: features kept in provenance, as runs.
        left_out: columns that a store cannot hold.
        spec: the spec that our own export noted, None for data of others.
    """

    action: str
    sources: Mapping[str, str]
    observation: Mapping[str, ArraySpec]
    extras: Mapping[str, ArraySpec]
    dtypes: tuple[str, str]
    texts: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    spec: EnvSpec | None = None

    def columns(self, info: Info, table: Table) -> list[str]:
        """The columns to read of each episode, those that may be absent only where they are there."""
        needed = [self.action, *(name for name in self.sources.values() if info.features[name].dtype != "video")]
        optional = [TIMESTAMP, NEXT_REWARD, "task_index", *self.texts, *([SIM_STATE] if self.spec else [])]
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
    reserved = {action, NEXT_REWARD, *INDICES, *([SIM_STATE] if notes else [])}
    wanted = {name: feature for name, feature in info.features.items() if name not in reserved and name not in leave_out}
    in_table = [name for name, feature in wanted.items() if feature.dtype != "video"]
    table.require([action, *in_table], "fetch it again, or leave_out=[it] where it is no action")
    texts = tuple(name for name, feature in wanted.items() if feature.dtype in TEXTS and is_text(table.schema, name))
    kept = {name: _array_spec(table, name, feature) for name, feature in wanted.items() if name not in texts}
    held = {name: spec for name, spec in kept.items() if spec is not None}
    left_out = (*(name for name in kept if name not in held), *(name for name in table.names if name not in info.features))
    names = store_names(held)
    observation = {names[name]: spec for name, spec in held.items() if not is_extra(name)}
    extras = {names[name]: spec for name, spec in held.items() if is_extra(name)}
    sources = {name: feature for feature, name in names.items()}
    dtypes = (_float_type(table, action), _float_type(table, NEXT_REWARD))
    plan = Plan(action, sources, observation, extras, dtypes, texts, left_out)
    return _noted(root, plan, notes, info) if notes else plan


def _array_spec(table: Table, name: str, feature: Feature) -> ArraySpec | None:
    """How a feature lies in a store, in the type its numbers have on disk; None where a store cannot hold it."""
    if feature.is_image:
        if feature.is_depth:
            raise StoreError(f"{table.path}: {name!r} holds depth, which is not imported yet; leave_out=[{name}] imports without it")
        return ArraySpec(feature.shape, "uint8")
    dtype = number_type(table.schema, name)
    return ArraySpec(feature.shape, dtype.name) if dtype is not None else None


def _float_type(table: Table, name: str) -> str:
    """The type that holds the numbers of an action or reward, which a store keeps as float32 or float64."""
    dtype = number_type(table.schema, name) if name in table.names else None
    return np.promote_types(dtype or np.float32, np.float32).name


def _notes(root: Path) -> dict[str, Any] | None:
    """What our own export wrote beside the data."""
    if paths.absence(root / paths.NOTES):
        return None
    notes = paths.read_json(root, paths.NOTES)
    if not isinstance(notes, dict) or not all(isinstance(notes.get(key), dict) for key in ("features", "env_spec")):
        raise StoreError(f"{root / paths.NOTES} is damaged; without that file the data set is read as anybody's")
    return notes


def _noted(root: Path, plan: Plan, notes: Mapping[str, Any], info: Info) -> Plan:
    """The plan with the names, shapes and limits of the store that was exported."""
    try:
        spec = EnvSpec.from_dict(notes["env_spec"])
        fits = (
            _is_sound(spec) and abs(spec.control_hz - info.fps) < 1e-6 and spec.action.size == math.prod(info.features[plan.action].shape)
        )
        by_feature = {feature: name for name, feature in plan.sources.items()}
        sources = {name: str(feature) for name, feature in notes["features"].items() if feature in by_feature}
        found = {**plan.observation, **plan.extras}
        fits &= all(_same({**spec.observation, **spec.extras}[name], found[by_feature[feature]]) for name, feature in sources.items())
    except (SpecError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{root / paths.NOTES} does not fit the data ({error}); without that file it is read as anybody's") from error
    if not fits:
        raise StoreError(f"{root / paths.NOTES} does not fit the data; without that file it is read as anybody's")
    observation = {name: entry for name, entry in spec.observation.items() if name in sources}
    extras = {name: entry for name, entry in spec.extras.items() if name in sources}
    spec = replace(spec, observation=observation, extras=extras)
    return replace(plan, sources=sources, observation=observation, extras=extras, spec=spec)


def _is_sound(spec: EnvSpec) -> bool:
    """Whether a spec from a file has the right types throughout."""
    words = (spec.task, *spec.action.names, *spec.stages)
    limits = np.array([spec.action.low, spec.action.high], np.float64)
    kinds = {np.dtype(spec.action.dtype).kind, np.dtype(spec.reward_dtype).kind}
    return all(isinstance(word, str) for word in words) and bool(np.isfinite(limits).all()) and kinds == {"f"}


def _same(one: ArraySpec, other: ArraySpec) -> bool:
    return math.prod(one.shape) == math.prod(other.shape) and np.dtype(one.dtype) == np.dtype(other.dtype)


def spec_of(plan: Plan, info: Info, task: str, low: NDArray[Any], high: NDArray[Any]) -> EnvSpec:
    """The spec of an import; ``low`` and ``high`` ``(A,)`` are the actions' range in the data."""
    if plan.spec is not None:
        return plan.spec
    action, reward = plan.dtypes
    limits = replace(action_spec(channel_names(info.features[plan.action]), low, high), dtype=action)
    return EnvSpec(task, plan.observation, limits, info.fps, extras=plan.extras, reward_dtype=reward)
