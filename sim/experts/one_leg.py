"""A scripted expert for one_leg: a closed-loop sequence of phases that sees what a policy sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.protocols import Observation
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix
from robolearn.seeding import addressed_normal
from robolearn.sim.furniture import HOLE_OFFSET, SEATED, TOP_HALF
from robolearn.tasks import ONE_LEG_PARTS, one_leg_spec

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# The hand pointing down, its fingers opening along the base's y axis.
_DOWN = np.diag([1.0, -1.0, -1.0])
_OPEN, _CLOSE = -1.0, 1.0
_STANDOFF = (0.022, 0.027)  # [m] from a face to the middle of closed fingers lowered beside it, along x and y
_GRASP_TILT, _UPRIGHT_TILT = np.radians(60.0), np.radians(-30.0)
_HAND_YAW = (np.radians(-100.0), np.radians(190.0))  # what the wrist can turn through over the corner
_REGRASP_ABOVE = 0.014  # [m] above the leg's middle
_HOLE = np.array([-HOLE_OFFSET, 0.0, -HOLE_OFFSET])


def _hand(yaw: Array | float, tilt: Array | float, rows: int) -> Array:
    """Hand rotations ``(N, 3, 3)``: pointing down, leaned by ``tilt`` about the base's y axis, then turned by ``yaw`` about z."""
    zero = np.zeros(rows)
    lean = matrix_from_rotvec(np.stack([zero, zero + tilt, zero], -1))
    turn = matrix_from_rotvec(np.stack([zero, zero, zero + yaw], -1))
    return turn @ lean @ _DOWN


def _yaw_of(rotation: Array) -> Array:
    """Yaw of a hand that points down, in (-pi, pi]: ``(N, 3, 3) -> (N,)``."""
    yaw: Array = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return yaw


@dataclass
class _Scene:
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
        normal = np.abs(self.top_rotation[:, 0, 0]) + np.abs(self.top_rotation[:, 0, 2])
        return TOP_HALF[0] * normal

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
class _Goal:
    """Where the tool should go, and which rows have finished the phase."""

    position: Array
    rotation: Array
    done: Mask
    yaw: Array | None = None  # unwrapped target, where the way round matters


@dataclass(frozen=True)
class _Phase:
    goal: Callable[[_Scene], _Goal]
    gripper: float
    following: str
    patience: int = 60
    lead: float = 0.05  # [m] how far ahead of the tool the target is held: the servo covers 0.385 of it a step
    least: int = 0


class OneLegExpert:
    """Pushes the top into the corner (first +y, then +x), grasps leg 4, stands it up, inserts it and screws it home.

    Args:
        num_envs: rows N.
        noise: standard deviation of the position target's noise [m], a slowly varying offset drawn per episode and phase.
    """

    def __init__(self, num_envs: int, noise: float = 0.002) -> None:
        self.env_spec = one_leg_spec()
        self._noise = noise
        self._phase = np.zeros(num_envs, np.int64)
        self._steps = np.zeros(num_envs, np.int64)
        self._yaw = np.zeros(num_envs)
        self._seeds = np.zeros(num_envs, np.int64)
        self._phases = _phases()
        self._names = list(self._phases)

    def reset(self, rows: Mask, seeds: NDArray[np.int64]) -> None:
        """Begin again in ``rows (N,)``."""
        self._phase[rows] = 0
        self._steps[rows] = 0
        self._yaw[rows] = 0.0
        self._seeds[rows] = seeds[rows]

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """The next target of every row: ``{name: (N, ...)} -> (N, 10)``."""
        poses = np.asarray(observation["parts_poses"], np.float64).reshape(len(self._phase), len(ONE_LEG_PARTS), 9)
        hand = matrix_from_rot6d(np.asarray(observation["tcp_rot6d"], np.float64))
        self._yaw += (_yaw_of(hand) - self._yaw + np.pi) % (2 * np.pi) - np.pi
        action = np.zeros((len(self._phase), 10), np.float32)
        for index in np.unique(self._phase):
            rows = np.flatnonzero(self._phase == index)
            scene = self._scene(observation, poses, hand, rows)
            action[rows] = self._pursue(self._phases[self._names[index]], scene, rows)
        self._steps += 1
        return action

    def _scene(self, observation: Observation, poses: Array, hand: Array, rows: NDArray[np.int64]) -> _Scene:
        part = {name: poses[rows, place] for place, name in enumerate(ONE_LEG_PARTS)}
        return _Scene(
            tcp=np.asarray(observation["tcp_pos"], np.float64)[rows],
            hand=hand[rows],
            width=np.asarray(observation["gripper_width"], np.float64)[rows, 0],
            top=part["top"][:, :3],
            top_rotation=matrix_from_rot6d(part["top"][:, 3:]),
            leg=part["leg4"][:, :3],
            leg_rotation=matrix_from_rot6d(part["leg4"][:, 3:]),
            fence=part["fence"][:, :3],
            steps=self._steps[rows].astype(np.float64),
            yaw=self._yaw[rows],
        )

    def _pursue(self, phase: _Phase, scene: _Scene, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        goal = phase.goal(scene)
        noise = addressed_normal(self._seeds[rows], 1000 + self._phase[rows], (3,)) * (self._noise * phase.lead / 0.05)
        step = goal.position + noise - scene.tcp
        length = np.linalg.norm(step, axis=1, keepdims=True)
        position = scene.tcp + step * np.minimum(1.0, phase.lead / np.maximum(length, 1e-9))
        rotation = _turn_towards(scene.hand, goal, scene.yaw)
        finished = (goal.done & (scene.steps >= phase.least)) | (scene.steps >= phase.patience)
        following = self._names.index(phase.following)
        # One step of the old phase's command, then the new phase: no phase ends without a command.
        self._phase[rows[finished]] = following
        self._steps[rows[finished]] = -1
        gripper = np.full((len(rows), 1), phase.gripper)
        return np.concatenate([position, rot6d_from_matrix(rotation), gripper], 1).astype(np.float32)


def _turn_towards(hand: Array, goal: _Goal, yaw: Array, most: float = 0.5) -> Array:
    """A rotation at most ``most`` [rad] from the hand, on the way to the goal; the long way round where the goal names a yaw."""
    if goal.yaw is not None:
        turn = np.clip(goal.yaw - yaw, -most, most)
        rotation = _hand(yaw + turn, 0.0, len(yaw))
        return rotation
    vector = rotvec_from_matrix(goal.rotation @ hand.transpose(0, 2, 1))
    angle = np.linalg.norm(vector, axis=1, keepdims=True)
    return matrix_from_rotvec(vector * np.minimum(1.0, most / np.maximum(angle, 1e-9))) @ hand


def _near(scene: _Scene, position: Array, rotation: Array, distance: float, angle: float = 0.12) -> Mask:
    turned = np.linalg.norm(rotvec_from_matrix(rotation @ scene.hand.transpose(0, 2, 1)), axis=1)
    near: Mask = (np.linalg.norm(position - scene.tcp, axis=1) < distance) & (turned < angle)
    return near


def _push(axis: int, stage: str) -> Callable[[_Scene], _Goal]:
    """Approach above, lower, or push the top along one of the base's axes towards the fence."""

    def goal(scene: _Scene) -> _Goal:
        rotation = _hand(0.0, 0.0, len(scene.tcp))
        position = scene.top.copy()
        position[:, axis] -= scene.reach + _STANDOFF[axis]
        position[:, 2] = 0.075 if stage == "above" else 0.020
        if stage != "push":
            return _Goal(position, rotation, _near(scene, position, rotation, 0.012))
        wall = scene.fence[:, axis] + (-0.01 if axis == 0 else 0.165)
        gap = wall - TOP_HALF[0] - scene.top[:, axis]
        position[:, axis] = scene.tcp[:, axis] + 0.02 + np.clip(gap, 0.0, 0.03)
        position[:, 1 - axis] = scene.tcp[:, 1 - axis] * 0.5 + scene.top[:, 1 - axis] * 0.5
        return _Goal(position, rotation, gap < 0.002)

    return goal


def _retreat(height: float) -> Callable[[_Scene], _Goal]:
    def goal(scene: _Scene) -> _Goal:
        position = scene.tcp.copy()
        position[:, 2] = height
        return _Goal(position, scene.hand, scene.tcp[:, 2] > height - 0.02)

    return goal


def _grasp(away: float, distance: float) -> Callable[[_Scene], _Goal]:
    """Over the lying leg, leaned back by 60 degrees, ``away`` [m] along the approach."""

    def goal(scene: _Scene) -> _Goal:
        along = scene.leg_rotation[:, :, 1]
        rotation = _hand(np.arctan2(along[:, 1], along[:, 0]), _GRASP_TILT, len(scene.tcp))
        position = scene.leg - away * rotation[:, :, 2]
        if away:
            position[:, 2] += 0.02
        return _Goal(position, rotation, _near(scene, position, rotation, distance))

    return goal


def _hold(scene: _Scene) -> _Goal:
    return _Goal(scene.tcp, scene.hand, np.ones(len(scene.tcp), bool))


def _carry(height: float, distance: float) -> Callable[[_Scene], _Goal]:
    """Bring the held leg upright over its hole, ``height`` [m] above its seat, correcting for how it lies in the hand."""

    def goal(scene: _Scene) -> _Goal:
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
        return _Goal(position, rotation, (near < distance).all(1) & upright)

    return goal


def _insert(scene: _Scene) -> _Goal:
    goal = _carry(0.0, 0.01)(scene)
    in_hole = scene.leg_in_top[:, 1] - SEATED < 0.0095
    position = goal.position.copy()
    position[:, 2] = np.maximum(position[:, 2], scene.tcp[:, 2] - 0.025)
    return _Goal(position, goal.rotation, in_hole)


def _back_off(scene: _Scene) -> _Goal:
    """Leave the standing leg along the hand's approach, then straighten up."""
    position = scene.leg + np.array([0.0, 0.0, 0.075])
    rotation = _hand(0.0, 0.0, len(scene.tcp))
    return _Goal(position, scene.hand, _near(scene, position, rotation, 0.03, 4.0))


def _grasp_yaw(scene: _Scene) -> Array:
    """The largest hand yaw in reach at which the fingers meet two faces of the leg: the longest stroke."""
    quarter = np.pi / 2
    leg_yaw = (scene.twist - np.pi / 2) % quarter
    return np.floor((_HAND_YAW[1] - leg_yaw) / quarter) * quarter + leg_yaw


def _regrasp(height: float, distance: float) -> Callable[[_Scene], _Goal]:
    """Over the standing leg, hand down, at the yaw that leaves the longest stroke."""

    def goal(scene: _Scene) -> _Goal:
        position = scene.leg + np.array([0.0, 0.0, _REGRASP_ABOVE + height])
        yaw = _grasp_yaw(scene)
        rotation = _hand(yaw, 0.0, len(scene.tcp))
        done = _near(scene, position, rotation, distance) & (np.abs(yaw - scene.yaw) < 0.1)
        return _Goal(position, rotation, done, yaw)

    return goal


def _squeeze(scene: _Scene) -> _Goal:
    position = scene.leg + np.array([0.0, 0.0, _REGRASP_ABOVE])
    return _Goal(position, scene.hand, scene.width < 0.034)


def _screw(scene: _Scene) -> _Goal:
    """Turn the held leg clockwise to the end of the wrist's range, pressing lightly."""
    position = scene.leg + np.array([0.0, 0.0, _REGRASP_ABOVE - 0.002])
    position[:, :2] = 0.5 * (scene.leg + scene.tcp)[:, :2]
    yaw = np.maximum(scene.yaw - 0.5, _HAND_YAW[0])
    return _Goal(position, scene.hand, scene.yaw < _HAND_YAW[0] + 0.1, yaw)


def _phases() -> dict[str, _Phase]:
    return {
        "above_y": _Phase(_push(1, "above"), _CLOSE, "lower_y"),
        "lower_y": _Phase(_push(1, "lower"), _CLOSE, "push_y", lead=0.04),
        "push_y": _Phase(_push(1, "push"), _CLOSE, "leave_y", lead=0.04),
        "leave_y": _Phase(_retreat(0.075), _CLOSE, "above_x"),
        "above_x": _Phase(_push(0, "above"), _CLOSE, "lower_x"),
        "lower_x": _Phase(_push(0, "lower"), _CLOSE, "push_x", lead=0.04),
        "push_x": _Phase(_push(0, "push"), _CLOSE, "leave_x", lead=0.04),
        "leave_x": _Phase(_retreat(0.075), _OPEN, "over_leg"),
        "over_leg": _Phase(_grasp(0.07, 0.02), _OPEN, "reach_leg"),
        "reach_leg": _Phase(_grasp(0.0, 0.005), _OPEN, "grasp", lead=0.03, patience=25),
        "grasp": _Phase(_hold, _CLOSE, "carry", least=4),
        "carry": _Phase(_carry(0.045, 0.008), _CLOSE, "align"),
        "align": _Phase(_carry(0.030, 0.003), _CLOSE, "insert", lead=0.02, patience=25),
        "insert": _Phase(_insert, _CLOSE, "release", lead=0.02, patience=25),
        "release": _Phase(_hold, _OPEN, "back_off", least=3),
        "back_off": _Phase(_back_off, _OPEN, "over_pin"),
        "over_pin": _Phase(_regrasp(0.05, 0.02), _OPEN, "onto_pin", patience=40),
        "onto_pin": _Phase(_regrasp(0.0, 0.006), _OPEN, "squeeze", lead=0.03, patience=25),
        "squeeze": _Phase(_squeeze, _CLOSE, "screw", least=4, patience=8),
        "screw": _Phase(_screw, _CLOSE, "unhand", lead=0.02),
        "unhand": _Phase(_hold, _OPEN, "over_pin", least=3),
    }
