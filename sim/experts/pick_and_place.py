"""Scripted experts for robosuite's Lift and PickPlaceCan: reach, grasp, lift, carry, let go; batched, and varied as people are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.protocols import Observation
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix
from robolearn.seeding import addressed_normal
from robolearn.tasks_robosuite import robosuite_spec

_OPEN, _CLOSE = -1.0, 1.0
_DOWN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])  # of the hand, fingers along the base's x, as episodes start
_FUNNEL = 0.03  # [m] a hand so far beside its goal does not go down yet
Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Phase:
    """One leg of the way.

    Args:
        height: of the tool above the part, or above the base where ``place`` is given [m].
        gripper: its command.
        place: where to, x and y in the base frame [m]; above the part unless given.
        close: how near is there [m].
        least: control steps at least.
        patience: control steps at most; then the next phase begins all the same.
        lead: how far ahead of the tool its target is held [m].
    """

    height: float
    gripper: float
    place: tuple[float, float] | None = None
    close: float = 0.01
    least: int = 0
    patience: int = 60
    lead: float = 0.15


class PickAndPlace:
    """Plays phases one after the other on the first of a task's parts, and begins again where the part was lost on the way.

    Args:
        task: whose spec it acts in.
        phases: the way; the third one closes the gripper.
        align: whether the fingers turn to the part's sides, as a cube asks for.
        num_envs: rows N.
        noise: standard deviation of the target's offset [m], drawn for each episode and phase; speeds differ too.
    """

    def __init__(self, task: str, phases: Sequence[_Phase], align: bool, num_envs: int, noise: float) -> None:
        self.env_spec = robosuite_spec(task)
        self._phases, self._align, self._noise = phases, align, noise
        self._phase = np.zeros(num_envs, np.int64)
        self._steps = np.zeros(num_envs, np.int64)
        self._seeds = np.zeros(num_envs, np.int64)

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Begin again in ``rows (N,)``."""
        self._phase[rows] = 0
        self._steps[rows] = 0
        self._seeds[rows] = seeds[rows]

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """The next target of every row: ``{name: (N, ...)} -> (N, 10)``."""
        tool, part = (np.asarray(observation[name], np.float64) for name in ("tcp_pos", "parts_poses"))
        self._retry(tool, part, np.asarray(observation["gripper_width"], np.float64)[:, 0])
        phases = [self._phases[index] for index in self._phase]
        goal = np.array(
            [[*(phase.place or at[:2]), phase.height + (0.0 if phase.place else at[2])] for phase, at in zip(phases, part, strict=True)]
        )
        varied = addressed_normal("expert", self._seeds, self._phase, (4,)).astype(np.float64)
        closing = np.array([phase.least > 0 for phase in phases])
        goal += varied[:, :3] * self._noise * ~closing[:, None] * (0.4, 0.4, 1.0)
        speed = np.clip(1.0 + 0.2 * varied[:, 3], 0.6, 1.4)
        step = goal - tool
        length = np.linalg.norm(step, axis=1)
        beside = np.linalg.norm(step[:, :2], axis=1)
        step[:, 2] = np.where(step[:, 2] < 0, step[:, 2] * np.clip(1.5 - beside / (0.5 * _FUNNEL), 0.0, 1.0), step[:, 2])
        reach = np.array([phase.lead for phase in phases]) * speed
        target = tool + step * np.minimum(1.0, reach / np.maximum(np.linalg.norm(step, axis=1), 1e-9))[:, None]
        there = length < np.array([phase.close for phase in phases]) + 1.5 * self._noise
        least, patience = (np.array([getattr(phase, name) for phase in phases]) for name in ("least", "patience"))
        done = (there & (self._steps >= least)) | (self._steps >= patience)
        self._steps += 1
        gripper = np.array([[phase.gripper] for phase in phases])
        rotation = self._rotation(np.asarray(observation["tcp_rot6d"], np.float64), part)
        self._phase[done] = np.minimum(self._phase[done] + 1, len(self._phases) - 1)
        self._steps[done] = 0
        action: NDArray[np.float32] = np.concatenate([target, rot6d_from_matrix(rotation), gripper], 1).astype(np.float32)
        return action

    def _retry(self, tool: Array, part: Array, width: Array) -> None:
        """Go back to the start where the fingers closed on nothing, or the part fell out of them."""
        last_hold = max(index for index, phase in enumerate(self._phases) if phase.gripper == _CLOSE)
        holding = (self._phase > 2) & (self._phase <= last_hold)
        apart = np.linalg.norm(tool - part[:, :3], axis=1) > 0.08
        lost = holding & (apart | (width < 0.005))
        self._phase[lost] = 0
        self._steps[lost] = 0

    def _rotation(self, rot6d: Array, part: Array) -> Array:
        """Hand down, turned by the least angle that lines the fingers up with the part, half a radian a step at most."""
        wanted = np.tile(_DOWN, (len(part), 1, 1))
        if self._align:
            sides = matrix_from_rot6d(part[:, 3:9])
            yaw = np.arctan2(sides[:, 1, 0], sides[:, 0, 0])
            yaw = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
            wanted = matrix_from_rotvec(yaw[:, None] * (0.0, 0.0, 1.0)) @ wanted
        hand = matrix_from_rot6d(rot6d)
        turn = rotvec_from_matrix(wanted @ hand.swapaxes(-1, -2))
        angle = np.linalg.norm(turn, axis=1, keepdims=True)
        return matrix_from_rotvec(turn * np.minimum(1.0, 0.5 / np.maximum(angle, 1e-9))) @ hand


class LiftExpert(PickAndPlace):
    """Lifts the cube; see :class:`PickAndPlace`."""

    def __init__(self, num_envs: int, noise: float = 0.005) -> None:
        phases = (
            _Phase(0.08, _OPEN),
            _Phase(0.0, _OPEN, close=0.008, lead=0.06, patience=30),
            _Phase(0.0, _CLOSE, least=10, patience=12),
            _Phase(0.12, _CLOSE),
        )
        super().__init__("lift", phases, True, num_envs, noise)


class CanExpert(PickAndPlace):
    """Puts the can into its bin; see :class:`PickAndPlace`."""

    def __init__(self, num_envs: int, noise: float = 0.005) -> None:
        over_bin = (0.6975, 0.5025)  # the middle of the can's quarter, in the robot's base frame [m]
        phases = (
            _Phase(0.1, _OPEN),
            _Phase(0.0, _OPEN, close=0.01, lead=0.06, patience=40),
            _Phase(0.0, _CLOSE, least=10, patience=12),
            _Phase(0.22, _CLOSE, patience=30, close=0.03),
            _Phase(0.15, _CLOSE, place=over_bin, close=0.04, patience=100),
            _Phase(0.0, _CLOSE, place=over_bin, close=0.02, patience=30),
            _Phase(0.0, _OPEN, place=over_bin, least=8, patience=10),
            _Phase(0.2, _OPEN, place=over_bin, patience=1000),
        )
        super().__init__("can", phases, False, num_envs, noise)
