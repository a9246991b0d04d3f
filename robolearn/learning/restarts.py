"""Restarts: some training episodes begin where earlier ones have been, so that a long task's late stages are practised too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.seeding import addressed_uniform


class RestartBank:
    """Simulator states that training passed through, in one ring for each number of stages reached.

    Args:
        share: of the episodes begin from the bank, once it holds anything.
        capacity: states kept in each ring.
        stages: S of the task; there are S + 1 rings.
        state_size: numbers in a row's state.
    """

    def __init__(self, share: float, capacity: int, stages: int, state_size: int) -> None:
        self.share = share
        self.states = np.zeros((stages + 1, capacity, state_size))
        self.flags = np.zeros((stages + 1, capacity, stages), bool)
        self.counts = np.zeros(stages + 1, np.int64)  # ever stored

    def keep(self, states: NDArray[np.float64], flags: NDArray[np.bool_]) -> None:
        """Store the rows' states ``(N, D)`` and the stages reached in them ``(N, S)``, over the oldest."""
        reached = flags.sum(1)
        for ring in np.unique(reached):
            rows = np.flatnonzero(reached == ring)
            where = (self.counts[ring] + np.arange(len(rows))) % self.states.shape[1]
            self.states[ring, where], self.flags[ring, where] = states[rows], flags[rows]
            self.counts[ring] += len(rows)

    def draw(self, seeds: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
        """Which episodes restart, and where: ``(B,) -> restarts (B,), states (B, D), stages reached (B, S)``.

        A ring is drawn uniformly among those that hold anything, then a state in it; both depend on the episode's seed
        and the bank alone.
        """
        chance, ring_at, place = addressed_uniform("restart", seeds, np.zeros_like(seeds), 3).T
        filled = np.flatnonzero(self.counts)
        if len(filled) == 0:
            return np.zeros(len(seeds), bool), self.states[0, :1].repeat(len(seeds), 0), self.flags[0, :1].repeat(len(seeds), 0)
        rings = filled[(ring_at * len(filled)).astype(np.int64)]
        slots = (place * np.minimum(self.counts[rings], self.states.shape[1])).astype(np.int64)
        return chance < self.share, self.states[rings, slots], self.flags[rings, slots]

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """What is stored; the inverse of :meth:`load_state_dict`."""
        return {"states": self.states.copy(), "flags": self.flags.copy(), "counts": self.counts.copy()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore :meth:`state_dict`."""
        self.states, self.flags, self.counts = (state[name].copy() for name in ("states", "flags", "counts"))
