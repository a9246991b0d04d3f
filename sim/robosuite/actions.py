"""What an action asks of the arms: the project's canonical action, robosuite's absolute poses and its deltas, each beside its inverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix
from robolearn.spec import ActionSpec

Array = NDArray[np.float64]
FAR = 1e100  # [m] what is asked of a tool beyond overflows in the controller


@dataclass(frozen=True)
class Goals:
    """Where N rows' A tools are or are to go, in the world, and which way their grippers.

    Args:
        position: (N, A, 3) [m].
        rotation: (N, A, 3, 3).
        gripper: (N, A), opens below 0, closes above.
    """

    position: Array
    rotation: Array
    gripper: Array

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Rows whose tools can be sent there, ``(N,)``: finite, and not so far that numbers end."""
        sound: NDArray[np.bool_] = (abs(self.position) < FAR).all((1, 2)) & np.isfinite(self.rotation).all((1, 2, 3))
        return sound


@dataclass(frozen=True)
class Frames:
    """The frames that the arms' actions are in: ``position (A, 3)`` [m] and ``rotation (A, 3, 3)`` in the world."""

    position: Array
    rotation: Array

    def to_world(self, position: Array, rotation: Array) -> tuple[Array, Array]:
        """``(N, A, 3), (N, A, 3, 3)`` of these frames."""
        return self.position + self.turn(position), self.rotation @ rotation

    def from_world(self, position: Array, rotation: Array) -> tuple[Array, Array]:
        """The inverse of :meth:`to_world`."""
        return self.turn_back(position - self.position), self.rotation.transpose(0, 2, 1) @ rotation

    def turn(self, vector: Array) -> Array:
        """A direction ``(N, A, 3)`` of these frames in the world."""
        turned: Array = (self.rotation @ vector[..., None])[..., 0]
        return turned

    def turn_back(self, vector: Array) -> Array:
        """The inverse of :meth:`turn`."""
        turned: Array = (self.rotation.transpose(0, 2, 1) @ vector[..., None])[..., 0]
        return turned


class Inputs(Protocol):
    """A way to write actions."""

    def goals(self, actions: Array, here: Goals) -> Goals:
        """What ``(N, A * K)`` asks of tools that are ``here``."""
        ...

    def actions(self, goals: Goals, here: Goals) -> Array:
        """The inverse."""
        ...


@dataclass(frozen=True)
class CanonicalInputs:
    """Absolute poses in each robot's base frame: position 3 [m] within ``spec``'s limits, rot6d 6, gripper 1."""

    frames: Frames
    spec: ActionSpec

    def goals(self, actions: Array, here: Goals) -> Goals:
        """``(N, A * 10)``; the position is clipped to the spec's limits, rot6d made orthonormal."""
        arms = len(self.frames.position)
        wanted = actions.reshape(-1, arms, 10)
        low, high = (np.reshape(limit, (arms, 10))[:, :3] for limit in (self.spec.low, self.spec.high))
        pose = self.frames.to_world(np.clip(wanted[..., :3], low, high), matrix_from_rot6d(wanted[..., 3:9]))
        return Goals(*pose, wanted[..., 9])

    def actions(self, goals: Goals, here: Goals) -> Array:
        """``(N, A * 10)``, the inverse within the limits."""
        position, rotation = self.frames.from_world(goals.position, goals.rotation)
        return _flat(position, rot6d_from_matrix(rotation), goals.gripper)


@dataclass(frozen=True)
class AbsoluteInputs:
    """robosuite's ``input_type: absolute``: position 3 [m], rotation vector 3 [rad], gripper 1."""

    frames: Frames

    def goals(self, actions: Array, here: Goals) -> Goals:
        """``(N, A * 7)``."""
        wanted = actions.reshape(-1, len(self.frames.position), 7)
        return Goals(*self.frames.to_world(wanted[..., :3], matrix_from_rotvec(wanted[..., 3:6])), wanted[..., 6])

    def actions(self, goals: Goals, here: Goals) -> Array:
        """``(N, A * 7)``."""
        position, rotation = self.frames.from_world(goals.position, goals.rotation)
        return _flat(position, rotvec_from_matrix(rotation), goals.gripper)


@dataclass(frozen=True)
class DeltaInputs:
    """robosuite's ``input_type: delta``: steps from where the tool is, scaled from -1..1 to metres and radians, gripper 1.

    Args:
        frames: of the steps.
        controller: robosuite's settings, of which ``input_min``, ``input_max``, ``output_min`` and ``output_max`` are read.
    """

    frames: Frames
    controller: Mapping[str, Any]

    def goals(self, actions: Array, here: Goals) -> Goals:
        """``(N, A * 7)``, clipped to the input's limits."""
        wanted = actions.reshape(-1, len(self.frames.position), 7)
        (low, high), (scale, middle_in, middle_out) = self._limits, self._scale
        step = (np.clip(wanted[..., :6], low, high) - middle_in) * scale + middle_out
        position, rotation = self.frames.from_world(here.position, here.rotation)
        return Goals(*self.frames.to_world(position + step[..., :3], _turns(step[..., 3:]) @ rotation), wanted[..., 6])

    def actions(self, goals: Goals, here: Goals) -> Array:
        """``(N, A * 7)``; steps that are too long are clipped."""
        (low, high), (scale, middle_in, middle_out) = self._limits, self._scale
        position, rotation = self.frames.from_world(goals.position, goals.rotation)
        begin, turned = self.frames.from_world(here.position, here.rotation)
        step = np.concatenate([position - begin, rotvec_from_matrix(rotation @ turned.swapaxes(-1, -2))], -1)
        return _flat(np.clip((step - middle_out) / scale + middle_in, low, high), goals.gripper)

    @cached_property
    def _limits(self) -> tuple[Array, Array]:
        low, high = (np.broadcast_to(np.asarray(self.controller[name], np.float64), 6) for name in ("input_min", "input_max"))
        return low, high

    @cached_property
    def _scale(self) -> tuple[Array, Array, Array]:
        low, high = self._limits
        least, most = (np.broadcast_to(np.asarray(self.controller[name], np.float64), 6) for name in ("output_min", "output_max"))
        return abs(most - least) / abs(high - low), (high + low) / 2, (most + least) / 2


def _turns(vectors: Array) -> Array:
    """``(N, A, 3) [rad] -> (N, A, 3, 3)``, as robosuite has it: by way of single precision, which its torques show."""
    from robosuite.utils.transform_utils import quat2mat  # robosuite compiles it, and keeps that; a loop around it would be compiled anew

    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    axis = vectors / np.where(angle > 0, angle, 1.0)
    quaternions = np.concatenate([axis * np.sin(angle / 2), np.cos(angle / 2)], -1)  # xyzw
    return np.array([quat2mat(quaternion) for quaternion in quaternions.reshape(-1, 4)], np.float64).reshape(*vectors.shape, 3)


def _flat(*parts: Array) -> Array:
    """``(N, A, ...)`` one after the other for each arm: ``(N, A * K)``."""
    whole = np.concatenate([part if part.ndim == 3 else part[..., None] for part in parts], -1)
    return whole.reshape(len(whole), -1)
