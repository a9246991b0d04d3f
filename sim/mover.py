"""Puts the parts and the tool of running episodes elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.engines import PhysicsEngine
from robolearn.sim.pose import Pose
from robolearn.sim.view import View


class Mover:
    """What :class:`robolearn.learning.places.Mover` asks of a world.

    Args:
        engine: the world's N rows.
        view: of them.
        moved: is told which rows have moved, ``(N,)``.
    """

    def __init__(self, engine: PhysicsEngine, view: View, moved: Callable[[NDArray[np.bool_]], None]) -> None:
        self._engine, self._view, self._moved = engine, view, moved
        self.parts = view.task.parts  # the free ones, in the order of ``parts_poses``, which holds fixtures behind them

    def part_pose(self, part: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where a part is in every row: ``(N, 3)`` [m], ``(N, 3, 3)``."""
        pose = self._view.pose(self.parts[part])
        return pose.position, pose.rotation

    def move_part(self, part: int, rows: NDArray[np.bool_], position: NDArray[np.float64], rotation: NDArray[np.float64]) -> None:
        """Put a part of ``rows (N,)`` elsewhere, with the velocity it has: ``(N, 3)`` [m], ``(N, 3, 3)``."""
        self._view.put(self.parts[part], rows, Pose(position, rotation))
        self._refresh(rows)

    def move_tool(self, rows: NDArray[np.bool_], position: NDArray[np.float64], rotation: NDArray[np.float64]) -> None:
        """Bend the first arm of ``rows (N,)`` so that its tool is at ``(N, 3)`` [m], ``(N, 3, 3)``."""
        self._view.reach(rows, Pose(position, rotation))
        self._refresh(rows)

    def _refresh(self, rows: NDArray[np.bool_]) -> None:
        self._engine.forward(rows)
        self._moved(rows)
