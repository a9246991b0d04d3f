"""Other places: all parts and the tool moved together, turned about the vertical, while what stands fixed stays.

A demonstration assembles where its parts came to lie, at a wall it was pushed to, say. A policy nudges a part on its way and then
has to assemble beside that place, where nobody ever did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_rotvec
from robolearn.seeding import addressed_uniform

Array = NDArray[np.float64]


class Mover(Protocol):
    """Puts parts and the tool of a world elsewhere, which has one as ``mover``; a part by its place in ``parts_poses``."""

    parts: tuple[str, ...]

    def part_pose(self, part: int) -> tuple[Array, Array]:
        """Where it is in every row: ``(N, 3)`` [m], ``(N, 3, 3)``."""
        ...

    def move_part(self, part: int, rows: NDArray[np.bool_], position: Array, rotation: Array) -> None:
        """Put it elsewhere in ``rows (N,)``: ``(N, 3)`` [m], ``(N, 3, 3)``."""
        ...

    def move_tool(self, rows: NDArray[np.bool_], position: Array, rotation: Array) -> None:
        """Put the tool centre point elsewhere in ``rows (N,)``."""
        ...


@dataclass(frozen=True)
class Places:
    """N motions in the plane: a turn ``(N,)`` [rad] about the vertical through ``pivot (N, 2)``, then an offset ``(N, 2)`` [m]."""

    pivot: Array
    offset: Array
    turn: Array

    @classmethod
    def draw(cls, x: tuple[float, float], y: tuple[float, float], most_deg: float, pivot: Array, seeds: NDArray[np.int64]) -> Places:
        """Uniform offsets from least to most along x and y [m], and turns of +-``most_deg``, one a seed."""
        unit = addressed_uniform("places", seeds, np.zeros_like(seeds), 3)  # (N, 3)
        low, high = np.transpose([x, y])
        return cls(pivot, low + unit[:, :2] * (high - low), np.radians(most_deg) * (2 * unit[:, 2] - 1))

    def of(self, row: int) -> Places:
        """The motion of one row."""
        return Places(self.pivot[row : row + 1], self.offset[row : row + 1], self.turn[row : row + 1])

    def any(self) -> bool:
        """Whether anything is moved at all."""
        return bool(self.offset.any() or self.turn.any())

    def moved(self, position: Array, rotation: Array) -> tuple[Array, Array]:
        """Poses ``(N, ..., 3), (N, ..., 3, 3)`` of things that are moved."""
        between = (1,) * (position.ndim - 2)
        turn = matrix_from_rotvec(np.outer(self.turn, [0.0, 0.0, 1.0])).reshape(-1, *between, 3, 3)
        pivot, offset = (np.pad(value, ((0, 0), (0, 1))).reshape(-1, *between, 3) for value in (self.pivot, self.offset))
        return pivot + (turn @ (position - pivot)[..., None])[..., 0] + offset, turn @ rotation

    def apply(self, mover: Mover, position: Array, rotation: Array) -> None:
        """Move the parts, and the tool that is at ``(N, 3), (N, 3, 3)``, in every row."""
        every = np.ones(len(self.turn), bool)
        for part in range(len(mover.parts)):
            mover.move_part(part, every, *self.moved(*mover.part_pose(part)))
        mover.move_tool(every, *self.moved(position, rotation))
