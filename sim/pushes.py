"""Random pushes on the parts while an episode is played: a disturbance that a policy must correct."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robolearn.seeding import addressed_uniform
from robolearn.sim.engines import PhysicsEngine

_OFTEN = 0.05  # share of control steps at which a part is pushed


class Pushes:
    """Pushes each part in one control step of twenty with a horizontal force; drawn by seed and step, so an episode is the same again.

    Args:
        engine: N rows.
        parts: bodies.
        force: the largest [N]; it is drawn evenly from zero.
    """

    def __init__(self, engine: PhysicsEngine, parts: Sequence[str], force: float) -> None:
        self._bodies = np.array([engine.model.body(name).id for name in parts])
        self._applied, self._force = engine.view("xfrc_applied"), force

    def apply(self, seeds: NDArray[np.int64], steps: NDArray[np.int64]) -> None:
        """Set the forces of this control step: ``seeds (N,)`` and ``steps (N,)`` of each row's episode."""
        unit = addressed_uniform("push", seeds, steps, 3 * len(self._bodies)).reshape(len(seeds), -1, 3)
        size = np.where(unit[..., 0] < _OFTEN, unit[..., 1] * self._force, 0.0)
        angle = 2 * np.pi * unit[..., 2]
        self._applied[:, self._bodies, 0] = size * np.cos(angle)
        self._applied[:, self._bodies, 1] = size * np.sin(angle)
