"""The expert's phases as goals: where the tool should go next, given what the rows in a phase see, and when that is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_rotvec, rotvec_from_matrix
from robolearn.sim.furniture import HOLE_OFFSET, SEATED, TOP_HALF

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# The hand pointing down, its fingers opening along the base's y axis.
_DOWN = np.diag([1.0, -1.0, -1.0])
_STANDOFF = (0.022, 0.027)  # [m] from a face to the middle of closed fingers lowered beside it, along x and y
_GRASP_TILT, _UPRIGHT_TILT = np.radians(60.0), np.radians(-30.0)
_HAND_YAW = (np.radians(-100.0), np.radians(190.0))  # what the wrist can turn through over the corner
_REGRASP_ABOVE = 0.014  # [m] above the leg's middle
_HOLE = np.array([-HOLE_OFFSET, 0.0, -HOLE_OFFSET])


def hand_rotation(yaw: Array | float, tilt: Array | float, rows: int) -> Array:
    """Hand rotations ``(N, 3, 3)``: pointing down, leaned by ``tilt`` about the base's y axis, then turned by ``yaw`` about z."""
    zero = np.zeros(rows)
    lean = matrix_from_rotvec(np.stack([zero, zero + tilt, zero], -1))
    turn = matrix_from_rotvec(np.stack([zero, zero, zero + yaw], -1))
    rotation: Array = turn @ lean @ _DOWN
    return rotation


def yaw_of(rotation: Array) -> Array:
    """Yaw of a hand that points down, in (-pi, pi]: ``(N, 3, 3) -> (N,)``."""
    yaw: Array = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return yaw


@dataclass
class Scene:
    """What some rows show: poses in the base frame, and the memory of those rows."""

    tcp: Array  # (n, 3)
    hand: Array  # (n, 3, 3)
    width: Array  # (n,)
    top: Array  # (n, 3)
    top_rotation: Array  # (n, 3, 3)
    leg: Array  # (n, 3)
    leg_rotation: Array  # (n, 3, 3)
    fence: Array  # (n, 3)
    steps: Array  # (n,) in this phase
    yaw: Array  # (n,) unwrapped hand yaw, while screwing

    @property
    def reach(self) -> Array:
        """Half-width of the top along the base's axes, ``(n,)``."""
        reach: Array = TOP_HALF[0] * (np.abs(self.top_rotation[:, 0, 0]) + np.abs(self.top_rotation[:, 0, 2]))
        return reach

    @property
    def leg_in_top(self) -> Array:
        """The leg's origin in the top's frame, ``(n, 3)``."""
        return (self.top_rotation.transpose(0, 2, 1) @ (self.leg - self.top)[..., None])[..., 0]

    @property
    def twist(self) -> Array:
        """The leg's turn about the top's normal in [0, 2 pi), zero when seated."""
        relative = self.top_rotation.transpose(0, 2, 1) @ self.leg_rotation
        twist: Array = np.arctan2(relative[:, 0, 2], relative[:, 0, 0]) % (2 * np.pi)
        return twist


@dataclass(frozen=True)
class Goal:
    """Where the tool should go, and which rows have finished the phase."""

    position: Array
    rotation: Array
    done: Mask
    yaw: Array | None = None  # unwrapped target, where the way round matters


def _near(scene: Scene, position: Array, rotation: Array, distance: float, angle: float = 0.12) -> Mask:
    turned = np.linalg.norm(rotvec_from_matrix(rotation @ scene.hand.transpose(0, 2, 1)), axis=1)
    near: Mask = (np.linalg.norm(position - scene.tcp, axis=1) < distance) & (turned < angle)
    return near


def push(axis: int, stage: str) -> Callable[[Scene], Goal]:
    """Approach above, lower, or push the top along one of the base's axes towards the fence."""

    def goal(scene: Scene) -> Goal:
        rotation = hand_rotation(0.0, 0.0, len(scene.tcp))
        position = scene.top.copy()
        position[:, axis] -= scene.reach + _STANDOFF[axis]
        position[:, 2] = 0.075 if stage == "above" else 0.020
        if stage != "push":
            return Goal(position, rotation, _near(scene, position, rotation, 0.012))
        wall = scene.fence[:, axis] + (-0.01 if axis == 0 else 0.165)
        gap = wall - TOP_HALF[0] - scene.top[:, axis]
        position[:, axis] = scene.tcp[:, axis] + 0.02 + np.clip(gap, 0.0, 0.03)
        position[:, 1 - axis] = scene.tcp[:, 1 - axis] * 0.5 + scene.top[:, 1 - axis] * 0.5
        return Goal(position, rotation, gap < 0.002)

    return goal


def retreat(height: float) -> Callable[[Scene], Goal]:
    """Straight up to a height above the table [m]."""

    def goal(scene: Scene) -> Goal:
        position = scene.tcp.copy()
        position[:, 2] = height
        return Goal(position, scene.hand, scene.tcp[:, 2] > height - 0.02)

    return goal


def grasp(away: float, distance: float) -> Callable[[Scene], Goal]:
    """Over the lying leg, leaned back by 60 degrees, ``away`` [m] along the approach."""

    def goal(scene: Scene) -> Goal:
        along = scene.leg_rotation[:, :, 1]
        rotation = hand_rotation(np.arctan2(along[:, 1], along[:, 0]), _GRASP_TILT, len(scene.tcp))
        position = scene.leg - away * rotation[:, :, 2]
        if away:
            position[:, 2] += 0.02
        return Goal(position, rotation, _near(scene, position, rotation, distance))

    return goal


def hold(scene: Scene) -> Goal:
    """Where the tool is."""
    return Goal(scene.tcp, scene.hand, np.ones(len(scene.tcp), bool))


def carry(height: float, distance: float) -> Callable[[Scene], Goal]:
    """Bring the held leg upright over its hole, ``height`` [m] above its seat, correcting for how it lies in the hand."""

    def goal(scene: Scene) -> Goal:
        rows = len(scene.tcp)
        in_hand = scene.hand.transpose(0, 2, 1) @ scene.leg_rotation
        offset = (scene.hand.transpose(0, 2, 1) @ (scene.leg - scene.tcp)[..., None])[..., 0]
        twist = np.full(rows, np.pi / 2)
        zero = np.zeros(rows)
        leg_rotation = scene.top_rotation @ matrix_from_rotvec(np.stack([zero, twist, zero], -1))
        rotation = leg_rotation @ in_hand.transpose(0, 2, 1)
        seat = _HOLE + np.array([0.0, SEATED + height, 0.0])
        leg = scene.top + (scene.top_rotation @ seat[:, None])[..., 0]
        position = leg - (rotation @ offset[..., None])[..., 0]
        # The way there leads high over the other parts.
        far = np.linalg.norm((leg - scene.leg)[:, :2], axis=1)
        position[:, 2] += np.clip(far - 0.03, 0.0, 0.06)
        near = np.abs(scene.leg_in_top - seat)
        upright = scene.leg_rotation[:, 2, 1] > 0.995
        return Goal(position, rotation, (near < distance).all(1) & upright)

    return goal


def insert(scene: Scene) -> Goal:
    """Lower the upright leg until its pin is where the thread begins."""
    goal = carry(0.0, 0.01)(scene)
    in_hole = scene.leg_in_top[:, 1] - SEATED < 0.0095
    position = goal.position.copy()
    position[:, 2] = np.maximum(position[:, 2], scene.tcp[:, 2] - 0.025)
    return Goal(position, goal.rotation, in_hole)


def back_off(scene: Scene) -> Goal:
    """Leave the standing leg along the hand's approach, then straighten up."""
    position = scene.leg + np.array([0.0, 0.0, 0.075])
    rotation = hand_rotation(0.0, 0.0, len(scene.tcp))
    return Goal(position, scene.hand, _near(scene, position, rotation, 0.03, 4.0))


def _grasp_yaw(scene: Scene) -> Array:
    """The largest hand yaw in reach at which the fingers meet two faces of the leg: the longest stroke."""
    quarter = np.pi / 2
    leg_yaw = (scene.twist - np.pi / 2) % quarter
    yaw: Array = np.floor((_HAND_YAW[1] - leg_yaw) / quarter) * quarter + leg_yaw
    return yaw


def regrasp(height: float, distance: float) -> Callable[[Scene], Goal]:
    """Over the standing leg, hand down, at the yaw that leaves the longest stroke."""

    def goal(scene: Scene) -> Goal:
        position = scene.leg + np.array([0.0, 0.0, _REGRASP_ABOVE + height])
        yaw = _grasp_yaw(scene)
        rotation = hand_rotation(yaw, 0.0, len(scene.tcp))
        done = _near(scene, position, rotation, distance) & (np.abs(yaw - scene.yaw) < 0.1)
        return Goal(position, rotation, done, yaw)

    return goal


def squeeze(scene: Scene) -> Goal:
    """Stay over the standing leg until the fingers have closed on it."""
    position = scene.leg + np.array([0.0, 0.0, _REGRASP_ABOVE])
    return Goal(position, scene.hand, scene.width < 0.034)


def screw(scene: Scene) -> Goal:
    """Turn the held leg clockwise to the end of the wrist's range, pressing lightly."""
    position = scene.leg + np.array([0.0, 0.0, _REGRASP_ABOVE - 0.002])
    position[:, :2] = 0.5 * (scene.leg + scene.tcp)[:, :2]
    yaw = np.maximum(scene.yaw - 0.5, _HAND_YAW[0])
    return Goal(position, scene.hand, scene.yaw < _HAND_YAW[0] + 0.1, yaw)
