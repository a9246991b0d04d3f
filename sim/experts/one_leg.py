"""A scripted expert for one_leg: a closed-loop sequence of phases that sees what a policy sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.protocols import Observation
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix
from robolearn.seeding import addressed_normal
from robolearn.sim.experts.one_leg_goals import (
    Array,
    Goal,
    Mask,
    Scene,
    back_off,
    carry,
    grasp,
    hand_rotation,
    hold,
    insert,
    push,
    regrasp,
    retreat,
    screw,
    squeeze,
    yaw_of,
)
from robolearn.tasks import ONE_LEG_PARTS, one_leg_spec

_OPEN, _CLOSE = -1.0, 1.0


@dataclass(frozen=True)
class _Phase:
    goal: Callable[[Scene], Goal]
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
        self._yaw += (yaw_of(hand) - self._yaw + np.pi) % (2 * np.pi) - np.pi
        action = np.zeros((len(self._phase), 10), np.float32)
        phase = self._phase.copy()  # a row that moves on acts in its next phase from the next step
        for index in np.unique(phase):
            rows = np.flatnonzero(phase == index)
            scene = self._scene(observation, poses, hand, rows)
            action[rows] = self._pursue(self._phases[self._names[index]], scene, rows)
        self._steps += 1
        return action

    def _scene(self, observation: Observation, poses: Array, hand: Array, rows: NDArray[np.int64]) -> Scene:
        part = {name: poses[rows, place] for place, name in enumerate(ONE_LEG_PARTS)}
        return Scene(
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

    def _pursue(self, phase: _Phase, scene: Scene, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        goal = phase.goal(scene)
        noise = addressed_normal("expert", self._seeds[rows], self._phase[rows], (3,)) * (self._noise * phase.lead / 0.05)
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
        action: NDArray[np.float32] = np.concatenate([position, rot6d_from_matrix(rotation), gripper], 1).astype(np.float32)
        return action


def _turn_towards(hand: Array, goal: Goal, yaw: Array, most: float = 0.5) -> Array:
    """A rotation at most ``most`` [rad] from the hand, on the way to the goal; the long way round where the goal names a yaw."""
    if goal.yaw is not None:
        turn = np.clip(goal.yaw - yaw, -most, most)
        return hand_rotation(yaw + turn, 0.0, len(yaw))
    vector = rotvec_from_matrix(goal.rotation @ hand.transpose(0, 2, 1))
    angle = np.linalg.norm(vector, axis=1, keepdims=True)
    return matrix_from_rotvec(vector * np.minimum(1.0, most / np.maximum(angle, 1e-9))) @ hand


def _phases() -> dict[str, _Phase]:
    return {
        "above_y": _Phase(push(1, "above"), _CLOSE, "lower_y"),
        "lower_y": _Phase(push(1, "lower"), _CLOSE, "push_y", lead=0.04),
        "push_y": _Phase(push(1, "push"), _CLOSE, "leave_y", lead=0.04),
        "leave_y": _Phase(retreat(0.075), _CLOSE, "above_x"),
        "above_x": _Phase(push(0, "above"), _CLOSE, "lower_x"),
        "lower_x": _Phase(push(0, "lower"), _CLOSE, "push_x", lead=0.04),
        "push_x": _Phase(push(0, "push"), _CLOSE, "leave_x", lead=0.04),
        "leave_x": _Phase(retreat(0.075), _OPEN, "over_leg"),
        "over_leg": _Phase(grasp(0.07, 0.02), _OPEN, "reach_leg"),
        "reach_leg": _Phase(grasp(0.0, 0.005), _OPEN, "grasp", lead=0.03, patience=25),
        "grasp": _Phase(hold, _CLOSE, "carry", least=4),
        "carry": _Phase(carry(0.045, 0.008), _CLOSE, "align"),
        "align": _Phase(carry(0.030, 0.003), _CLOSE, "insert", lead=0.02, patience=25),
        "insert": _Phase(insert, _CLOSE, "release", lead=0.02, patience=25),
        "release": _Phase(hold, _OPEN, "back_off", least=3),
        "back_off": _Phase(back_off, _OPEN, "over_pin"),
        "over_pin": _Phase(regrasp(0.05, 0.02), _OPEN, "onto_pin", patience=40),
        "onto_pin": _Phase(regrasp(0.0, 0.006), _OPEN, "squeeze", lead=0.03, patience=25),
        "squeeze": _Phase(squeeze, _CLOSE, "screw", least=4, patience=8),
        "screw": _Phase(screw, _CLOSE, "unhand", lead=0.02),
        "unhand": _Phase(hold, _OPEN, "over_pin", least=3),
    }
