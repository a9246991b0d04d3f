"""Where one part is, seen from another, in N rows at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pose:
    """``position (N, 3)`` [m] and ``rotation (N, 3, 3)`` of a frame, seen from another."""

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]

    @property
    def twist(self) -> NDArray[np.float64]:
        """Angle about the common y axis, in (-pi, pi]: ``(N,)`` [rad]."""
        angle: NDArray[np.float64] = np.arctan2(self.rotation[..., 0, 2], self.rotation[..., 0, 0])
        return angle

    def point(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """A point ``(3,)`` of the frame, seen from the other: ``(N, 3)``."""
        point: NDArray[np.float64] = self.position + self.rotation @ at
        return point

    def seen_from(self, other: Pose) -> Pose:
        """This frame seen from ``other``, both of them seen from one and the same."""
        back = np.swapaxes(other.rotation, -1, -2)
        return Pose((back @ (self.position - other.position)[..., None])[..., 0], back @ self.rotation)
