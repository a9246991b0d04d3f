"""What an environment or a robot observes and accepts, in words that travel with every store and checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest

UNIT_SIZES = {"m": 3, "rot6d": 6, "gripper": 1}  # numbers of each thing that units name


def things(units: str) -> list[str]:
    """What ``m, rot6d, gripper`` names, in order."""
    return [word.strip() for word in units.split(",")]


class SpecError(UserError):
    """Data or a checkpoint does not fit the environment it is used with."""


@dataclass(frozen=True)
class ArraySpec:
    """One named array of an observation.

    Args:
        shape: shape of a single time step, without batch or time axes.
        dtype: numpy dtype name.
        units: SI units of the entries, e.g. ``m``.
        frame: frame the values are expressed in, e.g. ``base``.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    units: str = ""
    frame: str = ""

    @property
    def is_image(self) -> bool:
        """Whether this is a camera's picture: ``(height, width, 1, 3 or 4)`` bytes."""
        return self.dtype == "uint8" and len(self.shape) == 3 and self.shape[-1] in (1, 3, 4)


@dataclass(frozen=True)
class ActionSpec:
    """A flat action vector: one name, lower and upper limit per channel (in the units of the channel); ``dtype`` is that of a store."""

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    units: str = ""
    frame: str = "base"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.low) == len(self.high):
            raise SpecError(
                f"an action spec names {len(self.names)} channels, with {len(self.low)} lower and {len(self.high)} upper limits"
            )

    @property
    def size(self) -> int:
        """Number of channels A."""
        return len(self.names)


def tool_pose_action(position_low: tuple[float, float, float], position_high: tuple[float, float, float]) -> ActionSpec:
    """The canonical action: absolute TCP target in the base frame.

    Position 3 [m], rot6d 6 (the first two rows of R), gripper 1 (-1 open, +1 close).
    """
    names = ("x", "y", "z", *(f"r{row}{column}" for row in (1, 2) for column in (1, 2, 3)), "gripper")
    return ActionSpec(
        names=names,
        low=(*position_low, *(-1.0,) * 7),
        high=(*position_high, *(1.0,) * 7),
        units="m, rot6d, gripper",
    )


@dataclass(frozen=True)
class EnvSpec:
    """Observation, action and control rate of a task; saved in every store and checkpoint.

    Args:
        task: its name.
        observation: what a policy may see.
        action: what it sends.
        control_hz: steps a second.
        stages: names of the task's stages, in order.
        extras: arrays recorded beside, step by step, that no policy sees (another project's labels and notes).
        reward_dtype: that of a store.
    """

    task: str
    observation: Mapping[str, ArraySpec]
    action: ActionSpec
    control_hz: float
    stages: tuple[str, ...] = field(default=())
    extras: Mapping[str, ArraySpec] = field(default_factory=dict)
    reward_dtype: str = "float32"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary; the inverse of ``from_dict``. Fields that came later are left out where they say nothing."""
        data = asdict(self)
        if self.action.dtype == "float32":
            del data["action"]["dtype"]
        if self.reward_dtype == "float32":
            del data["reward_dtype"]
        if not self.extras:
            del data["extras"]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EnvSpec:
        """Rebuild a spec from ``to_dict``'s output, after any JSON round trip.

        Raises:
            SpecError: a field is missing or unknown.
        """
        try:
            action = data["action"]
            return cls(
                task=data["task"],
                observation=_array_specs(data["observation"]),
                action=ActionSpec(
                    tuple(action["names"]),
                    _numbers(action["low"]),
                    _numbers(action["high"]),
                    action.get("units", ""),
                    action.get("frame", "base"),
                    action.get("dtype", "float32"),
                ),
                control_hz=_rate(data["control_hz"]),
                stages=tuple(data.get("stages", ())),
                extras=_array_specs(data.get("extras", {})),
                reward_dtype=data.get("reward_dtype", "float32"),
            )
        except SpecError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SpecError(f"this is no env spec: {error!r} in {json.dumps(data, default=str)[:200]}") from error

    def check_observation(self, observation: Mapping[str, NDArray[Any]], leading: int = 1) -> None:
        """Raise ``SpecError`` unless every array is present, in shape after ``leading`` batch axes, and finite."""
        for name, spec in self.observation.items():
            if name not in observation:
                raise SpecError(f"observation {name!r} is missing; expected {sorted(self.observation)}, got {sorted(observation)}")
            array = observation[name]
            if tuple(array.shape[leading:]) != spec.shape:
                raise SpecError(f"observation {name!r} has shape {tuple(array.shape[leading:])}, expected {spec.shape}")
            if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                raise SpecError(f"observation {name!r} holds NaN or infinity")

    def check_serves(self, wanted: EnvSpec, keys: tuple[str, ...] | None = None, *, recorded: bool = False) -> None:
        """Raise ``SpecError`` unless a policy made for ``wanted`` (reading ``keys``) can act in this environment.

        With ``recorded`` it is a store's episodes, ``wanted`` their spec, that can be played there; these are of one task, also where
        another has the same shapes.
        """
        if recorded and wanted.task != self.task and {wanted.task, self.task} <= _known_tasks():
            raise SpecError(f"the store holds episodes of task {wanted.task!r}, this is task {self.task!r}; give task={wanted.task}")
        here = f"task {self.task!r}" if self.task else "the robot"
        policy = ("the policy reads", "the policy acts on", "the policy was trained at")
        reads, acts_on, was_at = ("the store holds", "the store's actions are", "the store was recorded at") if recorded else policy
        for name in keys if keys is not None else tuple(wanted.observation):
            if name not in self.observation:
                known = f"it gives {sorted(self.observation)}"
                raise SpecError(f"{reads} {name!r}, which {here} does not give ({known}){nearest(name, self.observation)}")
            if name not in wanted.observation:
                raise SpecError(f"{reads} {name!r}, which its own spec does not name (it names {sorted(wanted.observation)})")
            given, expected = self.observation[name].shape, wanted.observation[name].shape
            if given != expected:
                raise SpecError(f"{reads} {name!r} with shape {expected}, {here} gives {given}")
        if self.action.names != wanted.action.names:
            raise SpecError(f"{acts_on} {wanted.action.names}, {here} takes {self.action.names}")
        if abs(self.control_hz - wanted.control_hz) > 1e-6:
            raise SpecError(f"{was_at} {wanted.control_hz} Hz, {here} runs at {self.control_hz} Hz")


def _known_tasks() -> set[str]:
    from robolearn.tasks import SPECS  # which is made of specs

    return set(SPECS)


def _numbers(values: Any) -> tuple[float, ...]:
    wrong = [value for value in values if isinstance(value, bool) or not isinstance(value, int | float)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no limit of an action")
    return tuple(values)


def _rate(value: Any) -> float:
    rate = float(value)
    if not 0 < rate < float("inf"):
        raise ValueError(f"control_hz is {value!r}")
    return rate


def _array_specs(data: Mapping[str, Any]) -> dict[str, ArraySpec]:
    return {
        name: ArraySpec(tuple(entry["shape"]), entry["dtype"], entry.get("units", ""), entry.get("frame", ""))
        for name, entry in data.items()
    }
