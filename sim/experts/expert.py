"""A scripted expert: a closed-loop sequence of phases that sees what a policy sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from robolearn.protocols import Observation
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix
from robolearn.seeding import addressed_normal, addressed_uniform
from robolearn.sim.catalog import find_task
from robolearn.sim.experts.skills import Array, Goal, Mask, Scene, Skill, hand_rotation, yaw_of
from robolearn.sim.pose import Pose

OPEN, CLOSE = -1.0, 1.0
_LEAD = 0.05  # [m] usual
_PAUSES, _LONGEST = 0.15, 8  # share of phases that begin with a pause, its most steps
_BOW = 0.03  # [m] of a way's detour, at most
_SPEED = 0.35  # share by which an episode is slower, at most


@dataclass(frozen=True)
class Phase:
    """What an expert does until it does something else.

    Args:
        goal: the skill, or one for each arm.
        gripper: -1 open, 1 closed, or one for each arm.
        following: the phase after it.
        patience: most steps in it; then it counts as finished.
        lead: how far ahead of the tool the target is held [m]: the servo covers 0.385 of it in 0.1 s.
        least: steps in it before it may be finished.
        failed: rows in which it cannot succeed any more; they go on with ``instead``.
        instead: a phase to recover in.
        turn: how far ahead of the hand the target is turned [rad].
    """

    goal: Skill | tuple[Skill, ...]
    gripper: float | tuple[float, ...]
    following: str
    patience: int = 60
    lead: float = _LEAD
    least: int = 0
    failed: Callable[[Scene], Mask] | None = None
    instead: str = ""
    turn: float = 0.5


class Expert:
    """Plays a task's phases, each row at its own pace; subclasses name the task and give the phases, of which the first begins.

    Args:
        num_envs: rows N.
        noise: standard deviation of the position target's noise [m], a slowly varying offset drawn per episode and phase.
        variation: 0 to 1, how much episodes differ as a person's do: in speed, in the ways taken, in pauses, in grasp points.
    """

    task: ClassVar[str]

    def __init__(self, num_envs: int, noise: float = 0.002, variation: float = 0.0) -> None:
        task = find_task(self.task)
        self.env_spec = task.spec()
        self._bodies = (*task.parts, *task.fixtures)
        self._prefixes = tuple(arm.prefix for arm in task.arms)
        self._noise, self._variation = noise, variation
        self._phase = np.zeros(num_envs, np.int64)
        self._steps = np.zeros(num_envs, np.int64)
        self._turns = np.zeros((len(self._prefixes), num_envs))  # unwrapped yaw of each hand
        self._seeds = np.zeros(num_envs, np.int64)
        self._phases = dict(self.phases())
        self._names = list(self._phases)

    def phases(self) -> Mapping[str, Phase]:
        """The phases by name."""
        raise NotImplementedError

    def reset(self, rows: Mask, seeds: NDArray[np.int64]) -> None:
        """Begin again in ``rows (N,)``."""
        self._phase[rows] = 0
        self._steps[rows] = 0
        self._turns[:, rows] = 0.0
        self._seeds[rows] = seeds[rows]

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """The next target of every row: ``{name: (N, ...)} -> (N, A)``."""
        count = len(self._phase)
        poses = np.asarray(observation["parts_poses"], np.float64).reshape(count, len(self._bodies), 9)
        hands = [matrix_from_rot6d(np.asarray(observation[f"{prefix}tcp_rot6d"], np.float64)) for prefix in self._prefixes]
        for turn, hand in zip(self._turns, hands, strict=True):
            turn += (yaw_of(hand) - turn + np.pi) % (2 * np.pi) - np.pi
        action = np.zeros((count, 10 * len(hands)), np.float32)
        phase = self._phase.copy()  # a row that moves on acts in its next phase from the next step
        for index in np.unique(phase):
            rows = np.flatnonzero(phase == index)
            action[rows] = self._pursue(self._phases[self._names[index]], self._scenes(observation, poses, hands, rows), rows)
        self._steps += 1
        return action

    def _scenes(self, observation: Observation, poses: Array, hands: list[Array], rows: NDArray[np.int64]) -> list[Scene]:
        """What these rows show to each arm."""
        part = {name: Pose(poses[rows, place, :3], matrix_from_rot6d(poses[rows, place, 3:])) for place, name in enumerate(self._bodies)}
        varied = np.zeros((len(rows), 4))
        if self._variation:
            seeds = self._seeds[rows]
            varied = self._variation * (2.0 * addressed_uniform("expert_episode", seeds, np.zeros_like(seeds), 4) - 1.0)
        return [
            Scene(
                tcp=np.asarray(observation[f"{prefix}tcp_pos"], np.float64)[rows],
                hand=hands[index][rows],
                width=np.asarray(observation[f"{prefix}gripper_width"], np.float64)[rows, 0],
                poses=part,
                steps=self._steps[rows].astype(np.float64),
                yaw=self._turns[index, rows],
                variation=varied,
            )
            for index, prefix in enumerate(self._prefixes)
        ]

    def _pursue(self, phase: Phase, scenes: list[Scene], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        skills = phase.goal if isinstance(phase.goal, tuple) else (phase.goal,)
        goals = [skill(scene) for skill, scene in zip(skills, scenes, strict=True)]
        grippers = phase.gripper if isinstance(phase.gripper, tuple) else (phase.gripper,) * len(goals)
        noise = addressed_normal("expert", self._seeds[rows], self._phase[rows], (3 * len(goals),)).reshape(len(rows), -1, 3)
        noise *= self._noise * phase.lead / _LEAD
        waits = np.zeros(len(rows), bool)
        lead = np.full((len(rows), 1), phase.lead)
        if self._variation:
            waits, bow = self._detours(rows, scenes[0].steps)
            lead *= 1.0 - _SPEED * (self._variation + scenes[0].variation[:, :1]) / 2
        action = np.empty((len(rows), 10 * len(goals)), np.float32)
        for index, (goal, scene) in enumerate(zip(goals, scenes, strict=True)):
            step = goal.position + noise[:, index] - scene.tcp
            length = np.linalg.norm(step, axis=1, keepdims=True)
            if self._variation:
                step += bow * np.minimum(1.0, length / 0.15) ** 2
            step = step * np.minimum(1.0, lead / np.maximum(length, 1e-9)) * ~waits[:, None]
            rotation = np.where(waits[:, None, None], scene.hand, _turn_towards(scene.hand, goal, scene.yaw, phase.turn))
            gripper = np.full((len(rows), 1), grippers[index])
            command = np.concatenate([scene.tcp + step, rot6d_from_matrix(rotation), gripper], 1)
            action[:, 10 * index : 10 * index + 10] = command
        self._move_on(phase, goals, scenes[0], rows, waits)
        return action

    def _detours(self, rows: NDArray[np.int64], steps: Array) -> tuple[Mask, Array]:
        """Which rows pause now ``(n,)``, and how their way in this phase is bowed, ``(n, 3)`` [m]."""
        unit = addressed_uniform("expert_phase", self._seeds[rows], self._phase[rows], 5)
        pause = np.where(unit[:, 0] < _PAUSES * self._variation, unit[:, 1] * _LONGEST, 0.0)
        waits: Mask = steps < pause - 0.5
        bow = _BOW * self._variation * (2.0 * unit[:, 2:] - 1.0)
        bow[:, 2] = np.abs(bow[:, 2])  # over things, not through them
        return waits, bow

    def _move_on(self, phase: Phase, goals: Sequence[Goal], scene: Scene, rows: NDArray[np.int64], waits: Mask) -> None:
        """One step of the old phase's command, then the new phase: no phase ends without a command."""
        done = np.logical_and.reduce([goal.done for goal in goals])
        finished = ((done & (scene.steps >= phase.least)) | (scene.steps >= phase.patience)) & ~waits
        moves = [(finished, phase.following)]
        if phase.failed is not None:
            failed = phase.failed(scene)
            moves = [(failed, phase.instead), (finished & ~failed, phase.following)]
        for which, name in moves:
            self._phase[rows[which]] = self._names.index(name)
            self._steps[rows[which]] = -1


def _turn_towards(hand: Array, goal: Goal, yaw: Array, most: float) -> Array:
    """A rotation at most ``most`` [rad] from the hand, on the way to the goal; the long way round where the goal names a yaw."""
    if goal.yaw is not None:
        turn = np.clip(goal.yaw - yaw, -most, most)
        return hand_rotation(yaw + turn, 0.0, len(yaw))
    vector = rotvec_from_matrix(goal.rotation @ hand.transpose(0, 2, 1))
    angle = np.linalg.norm(vector, axis=1, keepdims=True)
    return matrix_from_rotvec(vector * np.minimum(1.0, most / np.maximum(angle, 1e-9))) @ hand
