"""What every kind of world does alike: rows whose episodes start, end, restart, wait, and are saved and restored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from robolearn.sim.engines import PhysicsEngine
from robolearn.sim.episodes import AWAY, DIVERGED, NO_ACTION, UNWATCHED, Episodes, check_states, restore
from robolearn.sim.spaces import give_spaces
from robolearn.spec import EnvSpec

Mask = NDArray[np.bool_]
Observation = dict[str, NDArray[Any]]
Step = tuple[Observation, NDArray[np.float64], Mask, Mask, dict[str, Any]]


class World(gymnasium.vector.VectorEnv[Any, Any, Any], ABC):
    """N rows of a task as a Gymnasium vector environment, apart from what they are and how they are judged.

    ``info["lost"] (N,)`` says which rows are over without a result, and ``info["reason"] (N,)`` why. A kind of world sets
    ``_settled``, the state ``(S,)`` in which lost rows wait.
    """

    _settled: NDArray[np.float64]

    def _open(
        self, spec: EnvSpec, engine: PhysicsEngine, max_episode_steps: int, autoreset: AutoresetMode, render_mode: str | None
    ) -> None:
        """What a kind of world knows once its engine is made."""
        self.env_spec, self._engine, self.num_envs = spec, engine, engine.num_envs
        self.max_episode_steps, self.autoreset_mode, self.render_mode = max_episode_steps, autoreset, render_mode
        give_spaces(self, spec, autoreset)
        self._episodes = Episodes(self.num_envs, len(spec.stages))

    @abstractmethod
    def _start(self, rows: Mask, seeds: NDArray[np.int64]) -> None:
        """Begin the episodes of ``seeds (N,)`` in ``rows (N,)``."""

    @abstractmethod
    def _command(self, actions: NDArray[Any]) -> Mask:
        """Set the controls from ``(N, A)``; a row whose action is not finite keeps those it has. Which rows were finite, ``(N,)``.

        Raises:
            UserError: actions of another shape.
        """

    @abstractmethod
    def _advance(self) -> Mask:
        """Let a control step pass in the rows that are live; which of them failed, ``(N,)``: they are where they were."""

    @abstractmethod
    def _judge(self) -> NDArray[np.float64]:
        """Bring the stages up to date; the reward, ``(N,)``."""

    @abstractmethod
    def _away(self) -> Mask:
        """Rows in which a part is where nothing can be done with it, ``(N,)``."""

    @abstractmethod
    def _draw(self, row: int) -> NDArray[np.uint8]:
        """A picture of a row, ``(240, 320, 3)``."""

    @abstractmethod
    def observation(self) -> Observation:
        """What the rows show now, without stepping."""

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start episodes: ``seed`` one per row, ``options={"reset_mask": (N,) bool}`` for some rows only; see :class:`Episodes`."""
        mask, seeds = self._episodes.asked(seed, options)
        self._start(mask, seeds)
        return self.observation(), self._episodes.progress()

    def step(self, actions: NDArray[Any]) -> Step:
        """Follow each row's command for a control step: ``(N, A)``. See :class:`robolearn.protocols.Environment` for ``info``.

        Raises:
            UserError: actions of another shape.
        """
        episodes, finite = self._episodes, self._command(np.asarray(actions))
        diverged = episodes.lose(self._advance(), DIVERGED)
        if diverged.any():
            self._settle(diverged & self._engine.diverged())  # it was broken from outside: nothing sound to show
        episodes.steps += 1
        reward = self._judge()
        observation, info = self.observation(), episodes.progress()
        undecided = ~info["success"]  # what succeeded in this step has its result
        self._settle(diverged)
        self._park(undecided & self._away(), AWAY)
        self._park(undecided & ~finite, NO_ACTION)
        terminated, truncated = episodes.ended(self.max_episode_steps)
        info |= episodes.fate()
        ended = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            info["final_obs"], info["_final_obs"] = observation, ended
            self._start(ended, episodes.following)
            observation = self.observation()
        return observation, reward, terminated, truncated, info

    def park(self, rows: Mask) -> None:
        """Let ``rows (N,)`` stand still, at no cost, until they are reset: nobody looks at what they do."""
        self._park(rows, UNWATCHED)

    def _park(self, lost: Mask, reason: int) -> None:
        self._settle(self._episodes.lose(lost, reason))

    def _settle(self, lost: Mask) -> None:
        """Put lost rows into the settled state, where they wait for their reset: they are not stepped, so they neither warn nor cost."""
        if lost.any():
            self._engine.load(lost, self._settled)
            self._engine.forward(lost)

    def _memory(self) -> list[NDArray[Any]]:
        """What the world keeps behind the simulator's state, as live columns ``(N, ...)``."""
        return self._episodes.memory()

    def get_state(self) -> NDArray[np.float64]:
        """Integration state (with the controls) and the world's own memory, steps, seed and stages first, of every row: ``(N, S)``."""
        return np.concatenate([self._engine.state, *self._memory()], 1)

    def set_state(self, state: NDArray[np.float64], rows: Mask | None = None) -> None:
        """Restore rows from :meth:`get_state`'s output, every part awake: rows that were given the same state go on alike to the bit.

        Raises:
            UserError: states of another world, or not finite.
        """
        memory, size = self._memory(), self._engine.state.shape[1]
        mask = check_states(state, rows, (self.num_envs, size + sum(column.shape[1] for column in memory)))
        self._engine.load(mask, state[mask, :size])
        restore(memory, state[:, size:], mask)
        self._episodes.lost[mask] = 0
        self._restored(mask)
        self._engine.forward(mask)

    def _restored(self, rows: Mask) -> None:
        """Bring what follows from the memory of ``rows (N,)`` up to date."""

    def render(self, row: int | None = None) -> Any:
        """A picture of one row, ``(240, 320, 3)``; without a row those of all, as Gymnasium's ``render_mode`` asks. Needs EGL or OSMesa."""
        if row is None:
            return None if self.render_mode is None else tuple(self._draw(each) for each in range(self.num_envs))
        return self._draw(row)
