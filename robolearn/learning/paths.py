"""A snippet's way out, as JUICER draws it (Ankile et al. 2024, section IV), and the actions that lead along a way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix
from robolearn.seeding import addressed_uniform

if TYPE_CHECKING:
    from robolearn.learning.backward import Backward

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Path:
    """The way out of N rows: waypoints from the bottleneck's pose, ``position (N, L, 3)``, ``rotation (N, L, 3, 3)``, ``length (N,)``."""

    position: Array
    rotation: Array
    length: NDArray[np.int64]


def draw_paths(settings: Backward, position: Array, rotation: Array, seeds: NDArray[np.int64]) -> Path:
    """Up, then straight within a cone, then a turn on the spot; a path for each pose ``(N, 3), (N, 3, 3)`` and seed ``(N,)``."""
    unit = addressed_uniform("backward", seeds, np.zeros_like(seeds), 7)  # (N, 7)

    def between(column: int, limits: tuple[float, float]) -> Array:
        return limits[0] + unit[:, column] * (limits[1] - limits[0])

    up = np.floor(between(0, (settings.up_steps[0], settings.up_steps[1] + 1))).astype(np.int64)
    distance, lean, azimuth = between(1, settings.distance), np.radians(between(2, settings.cone_deg)), between(3, (0.0, 2 * np.pi))
    heading = np.stack([np.sin(lean) * np.cos(azimuth), np.sin(lean) * np.sin(azimuth), np.cos(lean)], 1)  # (N, 3)
    turn = np.radians(settings.rotation_deg) * (2 * unit[:, 4:7] - 1)  # roll, pitch, yaw (N, 3)
    axes = [matrix_from_rotvec(turn[:, index : index + 1] * np.eye(3)[index]) for index in range(3)]
    rotvec = rotvec_from_matrix(axes[2] @ axes[1] @ axes[0])  # (N, 3)
    straight = np.ceil(distance / settings.step).astype(np.int64)
    turning = np.ceil(np.linalg.norm(rotvec, axis=1) / np.radians(settings.rotation_step_deg)).astype(np.int64)
    count = np.arange(1, int((up + straight + turning).max()) + 1)[None]  # (1, L)
    risen = np.minimum(count, up[:, None]) * settings.step  # (N, L)
    gone = np.clip((count - up[:, None]) / straight[:, None], 0, 1) * distance[:, None]
    turned = np.clip((count - (up + straight)[:, None]) / np.maximum(turning, 1)[:, None], 0, 1)
    way = position[:, None] + risen[..., None] * np.array([0.0, 0.0, 1.0]) + gone[..., None] * heading[:, None]
    return Path(way, matrix_from_rotvec(turned[..., None] * rotvec[:, None]) @ rotation[:, None], up + straight + turning)


def turned_round(settings: Backward, position: Array, rotation: Array) -> int:
    """The first step of a way back ``(T + 1, 3), (T + 1, 3, 3)`` in which the tool moves at half its pace, or at half that of a slower way.

    What stands still teaches a policy to stand still.
    """
    way = np.linalg.norm(np.diff(position, axis=0), axis=1) / settings.step  # (T,)
    turn = np.linalg.norm(rotvec_from_matrix(rotation[1:] @ rotation[:-1].transpose(0, 2, 1)), axis=1)
    pace = np.maximum(way, turn / np.radians(settings.rotation_step_deg))
    return int(np.argmax(pace > (0.5 if pace.max() > 0.5 else pace.max() / 2)))


def action_towards(observation: Any, position: Array, rotation: Array, gripper: Array, response: float) -> NDArray[np.float32]:
    """The canonical action ``(N, 10)`` whose target lies so far beyond a pose that the servo is at the pose one step on."""
    here = np.asarray(observation["tcp_pos"], np.float64)
    hand = matrix_from_rot6d(np.asarray(observation["tcp_rot6d"], np.float64))
    way, turn = (position - here) / response, rotvec_from_matrix(rotation @ hand.transpose(0, 2, 1)) / response
    target = here + way * _at_most(way, 0.08)
    facing = matrix_from_rotvec(turn * _at_most(turn, 0.5)) @ hand
    action: NDArray[np.float32] = np.concatenate([target, rot6d_from_matrix(facing), gripper[:, None]], 1).astype(np.float32)
    return action


def _at_most(vector: Array, length: float) -> Array:
    """Factor that keeps a vector below a length, ``(N, 3) -> (N, 1)``."""
    factor: Array = np.minimum(1.0, length / np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-9))
    return factor
