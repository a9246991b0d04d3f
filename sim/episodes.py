"""Which episode each row of a vector environment plays: its seed, its clock, its stages, and why it waits for a reset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from robolearn.errors import UserError, check_positive, nearest
from robolearn.seeding import split_seeds
from robolearn.sim.spaces import RENDER_MODES

AUTORESET = {"disabled": AutoresetMode.DISABLED, "same_step": AutoresetMode.SAME_STEP}
# Why a row is lost, by its code in `Episodes.lost`.
REASONS = np.array(["", "a part left the table", "the simulation diverged", "the action was not finite", "nobody looks at it"])
AWAY, DIVERGED, NO_ACTION, UNWATCHED = 1, 2, 3, 4
_LARGEST_SEED = 2**52  # states hold seeds in float64, and rows and episodes to come are counted on from it


def find_autoreset(name: str) -> AutoresetMode:
    """A mode by its name.

    Raises:
        UserError: no such mode.
    """
    if not isinstance(name, str) or name not in AUTORESET:
        raise UserError(f"no autoreset mode {name!r}; there are {', '.join(AUTORESET)}{nearest(str(name), AUTORESET)}")
    return AUTORESET[name]


def check_world(num_envs: int, max_episode_steps: int, threads: int, render_mode: str | None) -> None:
    """Raise ``UserError`` for what no world can be made with."""
    counts: dict[str, Any] = {"num_envs": num_envs, "max_episode_steps": max_episode_steps, "threads": threads}
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int | np.integer):
            raise UserError(f"{name} must be a whole number, got {count!r}")
    check_positive(max_episode_steps=max_episode_steps, num_envs=num_envs)
    if threads < 0:
        raise UserError(f"threads must be at least 0, which takes every core, got {threads}")
    if render_mode not in (None, *RENDER_MODES):
        raise UserError(f"no render mode {render_mode!r}; there are {', '.join(RENDER_MODES)} and None")


class Episodes:
    """The rows' bookkeeping, apart from any physics.

    Args:
        num_envs: rows N.
        stages: how many a task has.

    Attributes:
        steps: (N,) taken.
        seeds: (N,) of the present episodes; the first reset without seeds starts the training seeds.
        stages: (N, S) reached so far; the last of them, success, is what holds now.
        lost: (N,) codes of :data:`REASONS`; above 0 where a row is over without a result and not reset since.
    """

    def __init__(self, num_envs: int, stages: int) -> None:
        self.num_envs = num_envs
        self.steps = np.zeros(num_envs, np.int64)
        self.seeds = split_seeds("train", num_envs) - num_envs
        self.stages = np.zeros((num_envs, stages), bool)
        self.lost = np.zeros(num_envs, np.int64)

    @property
    def following(self) -> NDArray[np.int64]:
        """Seeds of the rows' next episodes, ``(N,)``."""
        return self.seeds + self.num_envs

    @property
    def live(self) -> NDArray[np.bool_]:
        """Rows that are stepped, ``(N,)``."""
        live: NDArray[np.bool_] = self.lost == 0
        return live

    def asked(self, seed: int | Sequence[int] | None, options: dict[str, Any] | None) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """The rows ``(N,)`` and seeds ``(N,)`` that a call of ``reset`` means.

        An int seeds the rows with itself, itself + 1, ...; without a seed each row goes on to its next episode.

        Raises:
            UserError: no seed each, no mask, or another option.
        """
        for name in options or {}:
            if name != "reset_mask":
                raise UserError(f"no option {name!r} of reset; there is reset_mask{nearest(str(name), ['reset_mask'])}")
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)), bool)
        if mask.shape != (self.num_envs,):
            raise UserError(f"reset_mask of {self.num_envs} rows has a bool each; got shape {mask.shape}")
        return mask, self.following if seed is None else self._checked(seed)

    def _checked(self, seed: int | Sequence[int]) -> NDArray[np.int64]:
        """A seed a row, ``(N,)``."""
        given = np.asarray(seed)
        if given.dtype.kind not in "iu" or (given < 0).any() or (given > _LARGEST_SEED).any():
            raise UserError(f"a seed is a whole number from 0 to {_LARGEST_SEED}; got {seed}")
        seeds: NDArray[np.int64] = given.astype(np.int64)
        if given.ndim == 0:
            seeds = seeds + np.arange(self.num_envs)
        if seeds.shape != (self.num_envs,):
            raise UserError(f"reset of {self.num_envs} rows takes one seed or {self.num_envs}; got shape {seeds.shape}")
        return seeds

    def check_actions(self, actions: NDArray[Any], task: str, size: int) -> NDArray[np.bool_]:
        """Which rows' actions are finite, ``(N,)``.

        Raises:
            UserError: they are not ``(N, size)``.
        """
        if actions.shape != (self.num_envs, size):
            raise UserError(f"{self.num_envs} rows of {task} take actions {(self.num_envs, size)}; got {actions.shape}")
        finite: NDArray[np.bool_] = np.isfinite(actions).all(1)
        return finite

    def lose(self, rows: NDArray[np.bool_], reason: int) -> NDArray[np.bool_]:
        """Let ``rows (N,)`` be over for a reason, those that still play; which these were, ``(N,)``."""
        new = rows & self.live
        self.lost[new] = reason
        return new

    def ended(self, most: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Rows that terminated and rows that were truncated, ``(N,)`` each; ``most`` steps are the time limit."""
        terminated: NDArray[np.bool_] = self.stages[:, -1] | (self.lost == AWAY)
        return terminated, ~terminated & ((self.steps >= most) | ~self.live)

    def latch(self, stages: Iterable[NDArray[np.bool_]], success: NDArray[np.bool_], *, ordered: bool = True) -> None:
        """Bring the stages of rows that still play up to date.

        Args:
            stages: (N,) each, what is the case now of all but the last, success.
            success: (N,) which is what holds now.
            ordered: a stage is reached only after those before it.
        """
        reached = live = self.live
        for index, now in enumerate(stages):
            self.stages[:, index] |= now & reached
            reached = self.stages[:, index] if ordered else live
        self.stages[:, -1] = success & live

    def begin(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Start the episodes of ``seeds (N,)`` in ``rows (N,)``."""
        self.seeds[rows] = seeds[rows]
        for memory in (self.steps, self.stages, self.lost):
            memory[rows] = 0

    def progress(self) -> dict[str, Any]:
        """``success (N,)`` and ``stages (N, S)`` of ``info``."""
        return {"success": self.stages[:, -1].copy(), "stages": self.stages.copy()}

    def fate(self) -> dict[str, Any]:
        """``lost (N,)`` and ``reason (N,)`` of ``info``; nothing where no row is lost."""
        return {"lost": self.lost > 0, "reason": REASONS[self.lost]} if self.lost.any() else {}

    def memory(self) -> list[NDArray[Any]]:
        """All but who is lost, as live columns ``(N, ...)``."""
        return [self.steps[:, None], self.seeds[:, None], self.stages]


def check_states(state: NDArray[np.float64], rows: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which rows a call of ``set_state`` means, ``(N,)``; all unless given.

    Raises:
        UserError: states that are not of this world's ``shape``, ``(N, S)``, or not finite in these rows, or rows that are not ``(N,)``.
    """
    if np.shape(state) != shape:
        raise UserError(
            f"states of this world are {shape}, got {np.shape(state)}: of another task, version or number of rows, or with other"
            " latencies (randomize)"
        )
    mask = np.ones(shape[0], bool) if rows is None else np.asarray(rows, bool)
    if mask.shape != shape[:1]:
        raise UserError(f"rows of {shape[0]} worlds are a mask {shape[:1]}, got {mask.shape}")
    broken = np.flatnonzero(mask & ~np.isfinite(state).all(1))
    if len(broken):
        raise UserError(f"states are finite, as get_state gives them; NaN or infinity came in row {', '.join(map(str, broken))}")
    return mask


def restore(memory: Sequence[NDArray[Any]], state: NDArray[np.float64], rows: NDArray[np.bool_]) -> None:
    """The inverse of ``np.concatenate(memory, 1)`` in ``rows (N,)``."""
    at = 0
    for column in memory:
        column[rows] = state[rows, at : at + column.shape[1]].astype(column.dtype)
        at += column.shape[1]
