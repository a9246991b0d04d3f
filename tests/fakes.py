"""Tiny stand-ins built to the contracts: a world of points, and an expert of moods; without torch, which a process is long in loading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from robolearn.normalize import ACTION, Affine, Normalizer
from robolearn.protocols import Observation
from robolearn.seeding import addressed_uniform
from robolearn.spec import ArraySpec, EnvSpec, tool_pose_action

HALF_EXTENT = 0.5  # [m] of the cube the point lives in
TOLERANCE = 0.03  # [m] distance to the goal that counts as success
RESPONSE = 0.5  # share of the way to the target covered in a step
POINT_REACH_SPEC = EnvSpec(
    task="point_reach",
    observation={
        "tcp_pos": ArraySpec((3,), units="m", frame="base"),
        "goal": ArraySpec((3,), units="m", frame="base"),
        "gripper_width": ArraySpec((1,), units="m"),
    },
    action=tool_pose_action((-HALF_EXTENT,) * 3, (HALF_EXTENT,) * 3),
    control_hz=10.0,
    stages=("near", "reached"),
)
IDENTITY_ROT6D = np.array([1, 0, 0, 0, 1, 0], np.float32)


def point_reach_normalizer() -> Normalizer:
    """The normaliser that data covering the whole cube would give."""
    cube = Affine(np.zeros(3, np.float32), np.full(3, HALF_EXTENT, np.float32))
    action_scale = np.array([HALF_EXTENT] * 3 + [1] * 7, np.float32)
    return Normalizer(
        {
            "tcp_pos": cube,
            "goal": cube,
            "gripper_width": Affine(np.full(1, 0.04, np.float32), np.full(1, 0.04, np.float32)),
            ACTION: Affine(np.zeros(10, np.float32), action_scale),
        }
    )


class PointReach(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """N points that chase their commanded position; reward 1, once, when a point is within 30 mm of its goal.

    A row's episode depends on its seed alone. ``get_state`` is ``(N, 12)``: tcp 3, goal 3, width, steps, near,
    reached, two spare.

    Args:
        num_envs: rows N.
        max_episode_steps: after this many steps without success a row is truncated.
        autoreset_mode: ``disabled`` (reset rows with ``options={"reset_mask": (N,) bool}``) or ``same_step``.
        needs_grip: success also asks the gripper to be closed (command > 0).
    """

    env_spec = POINT_REACH_SPEC

    def __init__(
        self, num_envs: int = 8, *, max_episode_steps: int = 30, autoreset_mode: str = "disabled", needs_grip: bool = False
    ) -> None:
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.needs_grip = needs_grip
        self.autoreset_mode = {"disabled": AutoresetMode.DISABLED, "same_step": AutoresetMode.SAME_STEP}[autoreset_mode]
        self.metadata = {"autoreset_mode": self.autoreset_mode}
        boxes: dict[str, gymnasium.Space[Any]] = {
            name: gymnasium.spaces.Box(-np.inf, np.inf, spec.shape, np.float32) for name, spec in self.env_spec.observation.items()
        }
        self.single_observation_space = gymnasium.spaces.Dict(boxes)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        limits = self.env_spec.action
        self.single_action_space = gymnasium.spaces.Box(np.float32(limits.low), np.float32(limits.high), dtype=np.float32)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._state = np.zeros((num_envs, 12))
        self._next_seed = 0

    def reset(self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Start new episodes in the rows of ``options["reset_mask"]``, all without it; ``seed`` is one per row."""
        mask = np.ones(self.num_envs, bool) if not options or "reset_mask" not in options else np.asarray(options["reset_mask"], bool)
        if seed is None:
            seeds = self._next_seed + np.arange(self.num_envs)
        elif isinstance(seed, int | np.integer):
            seeds = int(seed) + np.arange(self.num_envs)
        else:
            seeds = np.asarray(seed, np.int64)
        if len(seeds) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, got {len(seeds)}")
        self._next_seed = int(seeds.max()) + 1
        fresh = np.zeros_like(self._state)
        fresh[:, :6] = (2 * addressed_uniform("start", seeds, np.zeros_like(seeds), 6) - 1) * 0.8 * HALF_EXTENT
        fresh[:, 6] = 0.08
        self._state[mask] = fresh[mask]
        return self._observation(), self._info()

    def step(self, actions: NDArray[Any]) -> tuple[Any, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Move a share of the way to the commanded position, ``(N, 10)``."""
        actions = np.asarray(actions, np.float64)
        if actions.shape != (self.num_envs, 10) or not np.isfinite(actions).all():
            raise ValueError(f"actions have shape {actions.shape}, or hold NaN; expected ({self.num_envs}, 10) finite")
        state = self._state
        state[:, :3] += RESPONSE * (np.clip(actions[:, :3], -HALF_EXTENT, HALF_EXTENT) - state[:, :3])
        state[:, 6] = np.where(actions[:, 9] > 0, 0.0, 0.08)
        state[:, 7] += 1
        distance = np.linalg.norm(state[:, :3] - state[:, 3:6], axis=1)
        grip = (state[:, 6] == 0.0) | (not self.needs_grip)
        before = state[:, 9] > 0
        state[:, 8] = np.maximum(state[:, 8], distance < 2 * TOLERANCE)
        state[:, 9] = np.maximum(state[:, 9], (distance < TOLERANCE) & grip)
        success = state[:, 9] > 0
        reward = (success & ~before).astype(np.float32)
        truncated = ~success & (state[:, 7] >= self.max_episode_steps)
        observation, info = self._observation(), self._info()
        done = success | truncated
        if self.autoreset_mode == AutoresetMode.SAME_STEP and done.any():
            info["final_obs"], info["_final_obs"] = observation, done
            observation, _ = self.reset(options={"reset_mask": done})
        return observation, reward, success.copy(), truncated, info

    def get_state(self) -> NDArray[np.float64]:
        """``(N, 12)``."""
        return self._state.copy()

    def set_state(self, state: NDArray[np.float64], rows: NDArray[np.bool_] | None = None) -> None:
        """Restore rows to the bit."""
        mask = np.ones(self.num_envs, bool) if rows is None else rows
        self._state[mask] = state[mask]

    def observation(self) -> dict[str, NDArray[np.float32]]:
        """What the rows show now, without stepping."""
        return self._observation()

    def close(self, **_: Any) -> None:
        """Nothing to release."""

    def _observation(self) -> dict[str, NDArray[np.float32]]:
        state = self._state.astype(np.float32)
        return {"tcp_pos": state[:, :3].copy(), "goal": state[:, 3:6].copy(), "gripper_width": state[:, 6:7].copy()}

    def _info(self) -> dict[str, Any]:
        return {"success": self._state[:, 9] > 0, "stages": self._state[:, 8:10] > 0}


class MoodyExpert:
    """Reaches the goal in half of the episodes, at a speed of its own in each; which ones depends on the seed."""

    env_spec = POINT_REACH_SPEC

    def __init__(self, num_envs: int) -> None:
        self.shares = np.zeros(num_envs)

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        draws = addressed_uniform("test", seeds, np.zeros_like(seeds), 2)
        self.shares = np.where(rows, np.where(draws[:, 0] < 0.5, 0.3 + 0.7 * draws[:, 1], 0.0), self.shares)

    def act(self, observation: Observation) -> NDArray[np.float32]:
        target = observation["tcp_pos"] + self.shares[:, None] * (observation["goal"] - observation["tcp_pos"])
        fixed = np.tile(np.float32([1, 0, 0, 0, 1, 0, 1]), (len(target), 1))
        return np.concatenate([target, fixed], 1).astype(np.float32)
