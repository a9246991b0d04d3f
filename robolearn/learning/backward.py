"""JUICER's backward augmentation (Ankile et al. 2024, section IV): away from a bottleneck state, then back along the same way.

Demonstrations show a bottleneck from one side only. From its exact state the tool moves away on a random path; the path is
then played in reverse, each action recomputed from the pose the tool really has, and goes over into the demonstration's own
continuation. What arrives where the demonstration was is a new snippet of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.episode import Episode
from robolearn.errors import UserError, check_positive, check_share
from robolearn.learning.grips import Grips, part_in_hand, share_after
from robolearn.learning.paths import Path, action_towards, draw_paths, turned_round
from robolearn.learning.places import Places
from robolearn.rotation import matrix_from_rot6d, rot6d_from_matrix, rotvec_from_matrix

Array = NDArray[np.float64]
ACCEPTED, LOST, PARTS, TURNED, GRIPPER = "accepted", "lost", "a part elsewhere", "a part turned", "gripper width"
REASONS = (ACCEPTED, LOST, PARTS, TURNED, GRIPPER)


@dataclass(frozen=True)
class Backward:
    """How far a snippet leads away, and what counts as having come back.

    Args:
        step: way of the tool in a control step [m].
        up_steps: fewest and most steps straight up before anything else.
        distance: shortest and longest straight way after that [m].
        cone_deg: smallest and largest angle of that way from the vertical [deg].
        rotation_deg: largest roll, pitch and yaw at its end [deg]; the paper's is 180.
        rotation_step_deg: turn of the tool in a control step [deg].
        response: share of the way to a commanded pose that the servo covers in a control step.
        settle: steps after the next gripper toggle at which the snippet is judged.
        part_m: farthest a part may be from where the demonstration had it, moved as ``place_*`` say [m].
        part_deg: most that it may be turned [deg].
        gripper_m: largest difference of the gripper's width [m].
        grip_m: farthest that a part in hand is shifted along the pads first [m], see :mod:`robolearn.learning.grips`.
        grip_deg: most that it is turned between them [deg].
        place_x: how far all parts and the tool are moved along x first, least and most [m], see :mod:`robolearn.learning.places`.
        place_y: along y.
        place_deg: most that they are turned about the vertical through the tool [deg].
    """

    step: float = 0.02
    up_steps: tuple[int, int] = (0, 9)
    distance: tuple[float, float] = (0.2, 0.5)
    cone_deg: tuple[float, float] = (5.0, 80.0)
    rotation_deg: float = 180.0
    rotation_step_deg: float = 7.5
    response: float = 0.385
    settle: int = 30
    part_m: float = 0.017
    part_deg: float = 20.0
    gripper_m: float = 0.005
    grip_m: float = 0.0
    grip_deg: float = 0.0
    place_x: tuple[float, float] = (0.0, 0.0)
    place_y: tuple[float, float] = (0.0, 0.0)
    place_deg: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("up_steps", 0), ("distance", 1e-6), ("cone_deg", 0), ("place_x", -1), ("place_y", -1)):
            pair = getattr(self, name)
            if not (isinstance(pair, Sequence) and len(pair) == 2 and least <= pair[0] <= pair[1] < np.inf):
                raise UserError(f"backward.{name} takes the smallest and the largest, such as {name}=[{least:g},{least + 1:g}]; got {pair}")
        check_positive(
            **{name: getattr(self, name) for name in ("step", "rotation_step_deg", "response", "part_m", "part_deg", "gripper_m")}
        )
        degrees = {name: getattr(self, name) for name in ("rotation_deg", "grip_deg", "place_deg")}
        check_share(0.0, 180.0, cone_deg=self.cone_deg[1], **degrees)
        check_share(0.0, float("inf"), grip_m=self.grip_m)
        if self.settle < 0:
            raise UserError(f"backward.settle is a number of steps, at least 0; got {self.settle}")


@dataclass(frozen=True)
class Attempt:
    """One snippet to be tried: from ``start`` of ``episode``, judged at its step ``check``; ``seed`` addresses the random path."""

    episode: Episode
    start: int
    check: int
    seed: int


def check_movable(env: Any, settings: Backward) -> None:
    """Raise ``UserError`` where the settings move parts and the world cannot."""
    moved = (settings.grip_m, settings.grip_deg, *settings.place_x, *settings.place_y, settings.place_deg)
    if any(moved) and not hasattr(env, "mover"):
        wanted = "backward.grip_m, grip_deg, place_x, place_y and place_deg move parts"
        raise UserError(f"{wanted}, which task {env.env_spec.task!r} cannot: set them to 0")


def play(env: Any, attempts: Sequence[Attempt], settings: Backward, provenance: dict[str, Any]) -> tuple[list[Episode], list[str]]:
    """Try at most N snippets at once; returns the accepted ones, and for each attempt what became of it (:data:`REASONS`).

    Args:
        env: N worlds of the demonstrations' task, with the canonical action.
        attempts: at most N.
        settings: how.
        provenance: written into every snippet, beside ``seed`` and ``parent_step``.

    Raises:
        UserError: the settings move parts, which the worlds cannot.
    """
    check_movable(env, settings)
    return _Round(env, attempts, settings).play(provenance)


class _Round:
    """All rows go out, turn round when their own path ends, and come back; a row that is done holds still."""

    def __init__(self, env: Any, attempts: Sequence[Attempt], settings: Backward) -> None:
        self.env, self.attempts, self.settings = env, attempts, settings
        self.rows = [attempts[row if row < len(attempts) else 0] for row in range(env.num_envs)]  # spare rows count for nothing
        self.demo = np.array([attempt.check - attempt.start for attempt in self.rows])  # (N,) steps of the demonstration's own
        self.states: list[Array] = []
        self.seen: list[dict[str, NDArray[Any]]] = []
        self.sent: list[NDArray[np.float32]] = []
        self.solved: list[NDArray[np.bool_]] = []
        self.lost = np.zeros(env.num_envs, bool)

    def play(self, provenance: dict[str, Any]) -> tuple[list[Episode], list[str]]:
        env = self.env
        env.reset(seed=[attempt.seed for attempt in self.rows])
        env.set_state(np.stack([np.asarray(attempt.episode.sim_state)[attempt.start] for attempt in self.rows]))
        seeds = np.array([attempt.seed for attempt in self.rows], np.int64)
        hand = _pose(env.observation())
        self.places = Places.draw(self.settings.place_x, self.settings.place_y, self.settings.place_deg, hand[0][:, :2], seeds)
        grips = Grips.draw(self.settings.grip_m, self.settings.grip_deg, seeds)
        if self.places.any():
            self.places.apply(env.mover, *hand)
        self.grips = self._shift(grips, _pose(env.observation()))
        observation = env.observation()
        hand = self.grips.hand(*_pose(observation), np.ones(env.num_envs))
        path = draw_paths(self.settings, *hand, seeds)
        ends = 2 * path.length + self.demo
        commands = self._commands(path, hand)
        for step in range(int(ends[: len(self.attempts)].max())):
            self.states.append(env.get_state())
            self.seen.append(observation)
            self.sent.append(commands(step, observation))
            observation, _, _, _, info = env.step(self.sent[-1])
            self.solved.append(np.asarray(info["success"]))
            self.lost |= info.get("lost", np.zeros(env.num_envs, bool)) & (step < ends)
        self.seen.append(observation)
        outcomes = [self._judge(row, int(ends[row])) for row in range(len(self.attempts))]
        accepted = [row for row, word in enumerate(outcomes) if word == ACCEPTED]
        return [self._episode(row, int(path.length[row]), int(ends[row]), provenance) for row in accepted], outcomes

    def _shift(self, grips: Grips, hand: tuple[Array, Array]) -> Grips:
        """Move the parts in hand; the shifts of the rows that hold one."""
        if not grips.any():
            return grips
        parts = [part_in_hand(attempt.episode, attempt.start) for attempt in self.rows]
        for part in {part for part in parts if part is not None}:
            rows = np.array([held == part for held in parts])
            position, rotation = self.env.mover.part_pose(part)
            self.env.mover.move_part(part, rows, *grips.shifted(position, rotation, *hand))
        return grips.of(np.array([part is not None for part in parts]))

    def _adapt(self, continuation: NDArray[np.float32]) -> None:
        """Move the hands' targets of ``(N, D, A)`` to the other places, and against the parts in hand for as long as these are held."""
        share = np.stack([share_after(steps) for steps in continuation])  # (N, D)
        for step in range(continuation.shape[1]):
            target = np.asarray(continuation[:, step, :9], np.float64)
            there = self.places.moved(target[:, :3], matrix_from_rot6d(target[:, 3:]))
            position, rotation = self.grips.hand(*there, share[:, step])
            continuation[:, step, :9] = np.concatenate([position, rot6d_from_matrix(rotation)], 1)

    def _commands(self, path: Path, hand: tuple[Array, Array]) -> Callable[[int, Any], NDArray[np.float32]]:
        """What to do at each step: out along the drawn path, back through the poses reached, on as the demonstration did."""
        rows, length = np.arange(self.env.num_envs), path.length
        longest = path.position.shape[1]
        position, rotation = np.empty((longest + 1, len(rows), 3)), np.empty((longest + 1, len(rows), 3, 3))  # poses reached on the way out
        position[0], rotation[0] = hand
        own = [attempt.episode.actions[attempt.start : attempt.check + 1] for attempt in self.rows]
        continuation = np.stack([steps[np.minimum(np.arange(self.demo.max() + 1), len(steps) - 1)] for steps in own])  # (N, D, A)
        gripper = continuation[:, 0, -1]
        if self.places.any() or self.grips.any():
            self._adapt(continuation)

        def command(step: int, observation: Any) -> NDArray[np.float32]:
            if 0 < step <= longest:
                position[step], rotation[step] = _pose(observation)
            out, returned = step < length, np.maximum(step - 2 * length, 0)
            ahead, behind = np.minimum(step, longest - 1), np.clip(2 * length - 1 - step, 0, longest)
            goal = np.where(out[:, None], path.position[:, ahead], position[behind, rows])
            facing = np.where(out[:, None, None], path.rotation[:, ahead], rotation[behind, rows])
            travelling = action_towards(observation, goal, facing, gripper, self.settings.response)
            own_now = continuation[rows, np.minimum(returned, continuation.shape[1] - 1)]
            action: NDArray[np.float32] = np.where((step < 2 * length)[:, None], travelling, own_now).astype(np.float32)
            return action

        return command

    def _judge(self, row: int, end: int) -> str:
        settings, attempt = self.settings, self.rows[row]
        if self.lost[row]:
            return LOST
        now = {name: np.asarray(values[row], np.float64) for name, values in self.seen[end].items()}
        then = {name: np.asarray(values[attempt.check], np.float64) for name, values in attempt.episode.observations.items()}
        here, there = (_poses(values["parts_poses"]) for values in (now, then))
        if self.places.any():
            free = len(self.env.mover.parts)  # fixtures stay
            for value, moved in zip(there, self.places.of(row).moved(there[0][None, :free], there[1][None, :free]), strict=True):
                value[:free] = moved[0]
        if np.linalg.norm(here[0] - there[0], axis=1).max() > settings.part_m:
            return PARTS
        turn = here[1] @ there[1].transpose(0, 2, 1)
        if np.degrees(np.linalg.norm(rotvec_from_matrix(turn), axis=1)).max() > settings.part_deg:
            return TURNED
        if abs(now["gripper_width"] - then["gripper_width"]).max() > settings.gripper_m:
            return GRIPPER
        return ACCEPTED

    def _episode(self, row: int, length: int, end: int, provenance: dict[str, Any]) -> Episode:
        """The way back and on, up to success where it comes earlier."""
        back = {name: np.stack([seen[name][row] for seen in self.seen[length : 2 * length + 1]]) for name in ("tcp_pos", "tcp_rot6d")}
        start = length + turned_round(self.settings, *_pose(back))
        solved = np.flatnonzero([step[row] for step in self.solved[start:end]])
        end, success = (start + int(solved[0]) + 1, True) if len(solved) else (end, False)
        attempt = self.rows[row]
        rewards = np.zeros(end - start, np.float32)
        rewards[-1] = float(success)
        return Episode(
            observations={name: np.stack([seen[name][row] for seen in self.seen[start:end]]) for name in self.env.env_spec.observation},
            actions=np.stack([sent[row] for sent in self.sent[start:end]]),
            rewards=rewards,
            terminated=success,
            truncated=False,
            success=success,
            sim_state=np.stack([state[row] for state in self.states[start:end]]),
            provenance={**provenance, "seed": attempt.seed, "parent_step": attempt.start, "judged_at": attempt.check},
        )


def _pose(observation: Any) -> tuple[Array, Array]:
    return np.asarray(observation["tcp_pos"], np.float64), matrix_from_rot6d(np.asarray(observation["tcp_rot6d"], np.float64))


def _poses(parts: Array) -> tuple[Array, Array]:
    """``parts_poses`` of one step as ``(P, 3), (P, 3, 3)``."""
    poses = parts.reshape(-1, 9)
    return poses[:, :3].copy(), matrix_from_rot6d(poses[:, 3:])
