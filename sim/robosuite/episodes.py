"""Which episode each row of a vector environment plays: its seed, its clock, and whether it waits for a reset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.seeding import split_seeds


class Episodes:
    """The rows' bookkeeping, apart from any physics.

    Args:
        num_envs: rows N.
        max_steps: time limit.
        stages: how many a task has.

    Attributes:
        steps: (N,) taken.
        seeds: (N,) of the present episodes; the first reset without seeds starts the training seeds.
        stages: (N, S) reached so far.
        parked: (N,) lost, and not reset since.
    """

    def __init__(self, num_envs: int, max_steps: int, stages: int) -> None:
        self.num_envs, self.max_steps = num_envs, max_steps
        self.steps = np.zeros(num_envs, np.int64)
        self.seeds = split_seeds("train", num_envs) - num_envs
        self.stages = np.zeros((num_envs, stages), bool)
        self.parked = np.zeros(num_envs, bool)

    @property
    def following(self) -> NDArray[np.int64]:
        """Seeds of the rows' next episodes, ``(N,)``."""
        return self.seeds + self.num_envs

    def asked(self, seed: int | Sequence[int] | None, options: dict[str, Any] | None) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """The rows ``(N,)`` and seeds ``(N,)`` that a call of ``reset`` means.

        An int seeds the rows with itself, itself + 1, ...; without a seed each row goes on to its next episode.

        Raises:
            ValueError: one mask entry and one seed a row were expected.
        """
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)), bool)
        if seed is None:
            seeds = self.following
        else:
            seeds = seed + np.arange(self.num_envs) if isinstance(seed, (int, np.integer)) else np.asarray(seed, np.int64)
        if mask.shape != (self.num_envs,) or seeds.shape != (self.num_envs,):
            raise ValueError(f"reset of {self.num_envs} rows got a mask of shape {mask.shape} and seeds of shape {seeds.shape}")
        return mask, seeds

    def begin(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Start the episodes of ``seeds (N,)`` in ``rows (N,)``."""
        self.steps[rows] = 0
        self.seeds[rows] = seeds[rows]
        self.stages[rows] = False
        self.parked[rows] = False

    def advance(self, stages: NDArray[np.bool_]) -> None:
        """Count a step, and remember the stages ``(N, S)`` that are reached now."""
        self.steps += 1
        self.stages |= stages

    def progress(self) -> dict[str, Any]:
        """``success (N,)`` and ``stages (N, S)`` of ``info``."""
        return {"success": self.stages[:, -1].copy(), "stages": self.stages.copy()}

    def pack(self) -> NDArray[np.float64]:
        """All but who is parked, ``(N, 2 + S)``."""
        return np.concatenate([self.steps[:, None], self.seeds[:, None], self.stages], 1)

    def unpack(self, state: NDArray[np.float64], rows: NDArray[np.bool_]) -> None:
        """The inverse of :meth:`pack`, of ``rows (N,)``, which wait no longer."""
        self.steps[rows], self.seeds[rows] = state[rows, 0].astype(np.int64), state[rows, 1].astype(np.int64)
        self.stages[rows] = state[rows, 2:] > 0
        self.parked[rows] = False
