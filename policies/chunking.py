"""Executes chunks: a queue, a phase and an observation history for each row, so that rows may reset at any time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.learning.multitask import take_task
from robolearn.protocols import ChunkSampler, Observation

_STATE = ("seeds", "decisions", "phase", "decided", "chunk", "_fresh")  # arrays that the next action depends on


class ChunkedPolicy:
    """Plays ``action_horizon`` actions of each chunk that a sampler draws, every row on its own clock (receding horizon).

    Only rows whose chunk is used up are sampled, together as one batch. A chunk's first action is for the current step.

    Args:
        sampler: draws the chunks; a diffusion policy, an MLP, a steered sampler.
        action_horizon: actions h executed before the next chunk is drawn; at most the sampler's prediction horizon.
        num_envs: rows N.

    Attributes:
        phase: ``(N,)`` actions of the current chunk already handed out, 1 to h after :meth:`act`, 0 after :meth:`reset`.
        decisions: ``(N,)`` chunks drawn in the current episode.
        decided: ``(N,)`` bool, rows that drew a new chunk in the last :meth:`act`.
        chunk: ``(N, h, A)`` the chunk being executed, in environment units.

    Raises:
        UserError: the execution horizon is below 1 or beyond the prediction horizon.
    """

    def __init__(self, sampler: ChunkSampler, action_horizon: int, num_envs: int) -> None:
        if not 1 <= action_horizon <= sampler.prediction_horizon:
            raise UserError(f"action_horizon is {action_horizon}; give 1 to {sampler.prediction_horizon}, which the policy predicts")
        self.sampler, self.action_horizon, self.num_envs = sampler, action_horizon, num_envs
        self.env_spec = sampler.env_spec
        self.observation_keys = tuple(sampler.observation_keys)
        self.seeds = np.zeros(num_envs, np.int64)
        self.decisions = np.zeros(num_envs, np.int64)
        self.phase = np.zeros(num_envs, np.int64)
        self.decided = np.zeros(num_envs, bool)
        self.chunk = np.zeros((num_envs, action_horizon, self.env_spec.action.size), np.float32)
        self._fresh = np.ones(num_envs, bool)  # rows whose history is not begun
        self._history: dict[str, NDArray[Any]] = {}  # {name: (N, To, ...)}
        self._rows = np.arange(num_envs)

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Forget the episodes of ``rows (N,)``; ``seeds (N,)`` address the noise of the new ones."""
        self.seeds = np.where(rows, seeds, self.seeds)
        self.decisions[rows] = 0
        self.phase[rows] = 0
        self._fresh |= rows

    def take_task(self, task: str) -> None:
        """Act for the environment's task, where the sampler knows several."""
        take_task(self.sampler, task)

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """The next action of each row: ``{name: (N, ...)} -> (N, A)`` in environment units."""
        self._remember(observation)
        self.decided = (self.phase == 0) | (self.phase >= self.action_horizon)
        if self.decided.any():
            self._decide(self.decided)
        actions: NDArray[np.float32] = self.chunk[self._rows, self.phase]  # (N, A), a copy
        self.phase += 1
        return actions

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Queues, clocks and histories of all rows; the inverse of :meth:`load_state_dict`, to the bit."""
        state = {name: getattr(self, name).copy() for name in _STATE}
        return state | {f"history.{name}": history.copy() for name, history in self._history.items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from :meth:`state_dict`."""
        for name in _STATE:
            setattr(self, name, state[name].copy())
        prefix = "history."
        self._history = {name.removeprefix(prefix): history.copy() for name, history in state.items() if name.startswith(prefix)}

    def _decide(self, rows: NDArray[np.bool_]) -> None:
        seen = {name: history[rows] for name, history in self._history.items()}
        chunks = self.sampler.sample(seen, self.seeds[rows], self.decisions[rows])  # (B, 1, Tp, A)
        self.chunk[rows] = chunks[:, 0, : self.action_horizon]
        self.decisions[rows] += 1
        self.phase[rows] = 0

    def _remember(self, observation: Observation) -> None:
        """Shift the histories by one; a new episode's history is its first observation repeated."""
        horizon = self.sampler.observation_horizon
        for name in self.observation_keys:
            now = np.asarray(observation[name])[:, None]  # (N, 1, ...)
            now = now if now.dtype == np.uint8 else now.astype(np.float32, copy=False)  # images stay as they are
            if horizon == 1 or name not in self._history:
                self._history[name] = np.repeat(now, horizon, axis=1)
                continue
            shifted = np.concatenate([self._history[name][:, 1:], now], axis=1)
            fresh = self._fresh.reshape(-1, *(1,) * (shifted.ndim - 1))
            self._history[name] = np.where(fresh, now, shifted)
        self._fresh[:] = False
