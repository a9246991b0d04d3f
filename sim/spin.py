"""How fast parts may turn: what a hand has flung faster is braked, once a control step.

MuJoCo's ``implicitfast`` takes gyroscopic torques explicitly: a slender part that turns at w about its axis wobbles more and more,
by a factor of up to ``sqrt(1 + (w h)^2)`` in each physics step h, and diverges in flight (a leg of round_table, turned at 80 rad/s, after
half a second). ``implicit`` does not let it, at 1.2 to 1.5 times the cost. The experts stay below 30 rad/s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robolearn.sim.engines import PhysicsEngine

FASTEST = 40.0  # [rad/s]


class Brake:
    """Holds the free parts of N rows to :data:`FASTEST`.

    Args:
        engine: the rows.
        parts: names of bodies with free joints.
    """

    def __init__(self, engine: PhysicsEngine, parts: Sequence[str]) -> None:
        self._qvel = engine.view("qvel")
        first = np.array([int(engine.model.body_dofadr[engine.model.body(part).id]) + 3 for part in parts])
        self._columns = first[:, None] + np.arange(3)  # (P, 3)

    def apply(self) -> None:
        """Slow down what turns too fast, about the axis that it has."""
        turning = self._qvel[:, self._columns]  # (N, P, 3)
        square = np.einsum("npk,npk->np", turning, turning)
        if (square > FASTEST**2).any():
            fast = np.maximum(np.sqrt(square) / FASTEST, 1.0)
            self._qvel[:, self._columns] = turning / fast[..., None]
