"""Which arrays of a diffusion_policy replay buffer are observations, actions, rewards, and how an export names them again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robolearn.datasets.formats.archive import listed
from robolearn.datasets.formats.naming import store_names
from robolearn.datasets.formats.zarr2 import Header, ZarrSource
from robolearn.datasets.layout import StoreError
from robolearn.spec import ArraySpec, EnvSpec, SpecError

ATTR = "robolearn"  # what an export of ours leaves in the root's attributes
ACTION, REWARD, SIM_STATE = "data/action", "data/reward", "data/sim_state"
# UMI's poses, from which actions are derived, in the order of its own training.
_POSE_PARTS = ("eef_pos", "eef_rot_axis_angle", "gripper_width")
_MAX_CHANNELS = 4096


@dataclass(frozen=True)
class Layout:
    """Arrays of a buffer by what they are.

    Args:
        observations: from a name in the store to an array's path, such as ``data/img``.
        actions: paths of the arrays that make up the action, side by side.
        channels: a name per number of the action.
        reward: path of the rewards, or None.
        sim_state: path of the simulator's states, or None.
        derive_action: how actions come from poses, or None where the source has actions.
    """

    observations: Mapping[str, str]
    actions: tuple[str, ...]
    channels: tuple[str, ...]
    reward: str | None = None
    sim_state: str | None = None
    derive_action: str | None = None
    widths: tuple[int, ...] = field(default=())

    @classmethod
    def of(cls, source: ZarrSource, keys: list[str], derive_action: str | None, told: Told) -> Layout:
        """Sort the arrays ``keys`` of a buffer.

        Raises:
            StoreError: there is no action, or a choice where there is none to make.
        """
        actions = [ACTION] if ACTION in keys else _split_actions(keys)
        derived = not actions
        if derived:
            actions = robot_poses(keys)
            if not actions or derive_action is None:
                ways = "; derive_action=next takes the next step's pose and gripper width, derive_action=same the same step's"
                raise StoreError(
                    f"{source.path} holds no action (data/action or data/action_*); it has {listed(keys) or 'no data'}"
                    f"{ways if actions else ''}"
                )
        elif derive_action is not None:
            raise StoreError(f"{source.path} holds actions ({listed(actions)}); leave derive_action out")
        widths = [math.prod(source.header(key).shape[1:]) for key in actions]
        if sum(widths) > _MAX_CHANNELS:
            raise StoreError(f"{source.path}: {listed(actions)} have {sum(widths)} channels a step, more than an action has")
        reward = REWARD if REWARD in keys and source.header(REWARD).shape[1:] == () else None
        state = SIM_STATE if told.spec and SIM_STATE in keys and len(source.header(SIM_STATE).shape) == 2 else None
        taken = {reward, state, *(() if derived else actions)}
        names = store_names(key.removeprefix("data/") for key in keys if key not in taken)
        return cls(
            observations={name: f"data/{key}" for key, name in names.items()},
            actions=tuple(actions),
            channels=_channels(actions, widths),
            reward=reward,
            sim_state=state,
            derive_action=derive_action if derived else None,
            widths=tuple(widths),
        )

    def to_dict(self, float_images: list[str]) -> dict[str, Any]:
        """What an export needs to name and type the arrays as they were; small, for every episode's provenance."""
        renamed = {name: key for name, key in self.observations.items() if key != f"data/{name}"}
        notes: dict[str, Any] = {"float_images": [name for name, key in self.observations.items() if key in float_images]}
        if self.actions != (ACTION,) and not self.derive_action:
            notes["actions"] = dict(zip(self.actions, self.widths, strict=True))
        return {key: value for key, value in (notes | {"renamed": renamed}).items() if value}


@dataclass(frozen=True)
class Told:
    """What an export of robolearn left in the attributes: the spec, or nothing."""

    path: str
    spec: EnvSpec | None

    @classmethod
    def of(cls, source: ZarrSource) -> Told:
        """Read the attributes.

        Raises:
            StoreError: they hold a damaged spec.
        """
        notes = source.attrs.get(ATTR)
        if not isinstance(notes, dict) or "env_spec" not in notes:
            return cls(str(source.path), None)
        try:
            spec = EnvSpec.from_dict(notes["env_spec"])
        except (SpecError, RecursionError) as error:
            raise StoreError(f"{source.path}: the env_spec in .zattrs is damaged: {error}") from error
        limits = (*spec.action.low, *spec.action.high, spec.control_hz)
        texts = (spec.task, *spec.action.names, *spec.stages, spec.action.units, spec.action.frame)
        texts = (*texts, *(text for entry in (*spec.observation.values(), *spec.extras.values()) for text in (entry.units, entry.frame)))
        sound = all(isinstance(text, str) for text in texts) and all(isinstance(limit, int | float) for limit in limits)
        if not sound or not np.isfinite(np.asarray(limits, np.float64)).all() or spec.control_hz <= 0:
            raise StoreError(f"{source.path}: the env_spec in .zattrs is damaged: names are text, limits and rates numbers")
        return cls(str(source.path), spec)

    def require(self, observation: Mapping[str, ArraySpec], action_size: int) -> None:
        """Raise ``StoreError`` unless the spec told is that of the arrays found."""
        assert self.spec is not None
        found = {name: (entry.shape, entry.dtype) for name, entry in observation.items()}
        told = {name: (entry.shape, entry.dtype) for name, entry in {**self.spec.observation, **self.spec.extras}.items()}
        if told != found or self.spec.action.size != action_size:
            different = sorted(name for name in told.keys() | found.keys() if told.get(name) != found.get(name)) or ["action"]
            raise StoreError(
                f"{self.path}: the env_spec in .zattrs does not fit the arrays ({', '.join(different[:5])}); "
                f"take {ATTR!r} out of .zattrs to import the arrays as they are"
            )


def is_float_image(header: Header) -> bool:
    """Whether an array holds images ``(T, H, W, C)`` as floats."""
    return header.dtype.kind == "f" and len(header.shape) == 4 and header.shape[3] in (1, 3, 4)


def robot_poses(keys: list[str]) -> list[str]:
    """Pose and gripper arrays of all robots in UMI's order; those of a robot that lacks one are left out."""
    robots = sorted({int(found[1]) for key in keys if (found := re.fullmatch(r"data/robot(\d{1,3})_eef_pos", key))})
    complete = [[f"data/robot{robot}_{part}" for part in _POSE_PARTS] for robot in robots]
    return [key for parts in complete if set(parts) <= set(keys) for key in parts]


def _split_actions(keys: list[str]) -> list[str]:
    """``action_<robot>_*``: robot after robot, each with its gripper last."""
    found = [(int(match[1]), "gripper" in key, key) for key in keys if (match := re.fullmatch(r"data/action_(\d{1,3})_.+", key))]
    return [key for _, _, key in sorted(found)]


def _channels(actions: list[str], widths: list[int]) -> tuple[str, ...]:
    if actions == [ACTION]:
        return tuple(f"a{channel}" for channel in range(widths[0]))
    names = []
    for key, width in zip(actions, widths, strict=True):
        word = key.removeprefix("data/").removeprefix("action_")
        names += [word] if width == 1 else [f"{word}.{channel}" for channel in range(width)]
    return tuple(names)
