"""A sequence of joint positions, one a tick, as a smooth trajectory that drivers reproduce exactly.

The positions are averaged over a few ticks, and the averages are the control points of a uniform cubic B-spline. Averages and splines
stay in the convex hull of what they are made of, and so do their derivatives of the sequence's differences: positions, velocities and
accelerations of the trajectory keep, at every instant, the limits that the sequence's differences keep, and its jerk is at most twice the
acceleration over the averaged time. Every piece is a cubic, which is what controllers draw between points with velocities (and, with
accelerations, a quintic that is that cubic).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.limits import JointLimits

Array = NDArray[np.float64]


def ticks_averaged(limits: JointLimits, dt: float) -> int:
    """How many ticks have to be averaged for the jerk to keep its limit."""
    return max(math.ceil(2 * acceleration / (jerk * dt) - 1e-9) for acceleration, jerk in zip(limits.acceleration, limits.jerk))


class Spline:
    """The last positions of a sequence, and the trajectory through them.

    Positions are numbered by ticks. With the newest at tick m, knots up to tick m - 2 are settled: nothing that is appended changes them.

    Args:
        averaged: ticks, at least 1.
        settled: knots kept before the newest settled one.
        dt: of a tick [s].
    """

    def __init__(self, averaged: int, settled: int, dt: float) -> None:
        self._averaged, self._settled, self._dt = averaged, settled, dt
        self._positions = np.zeros((settled + averaged + 3, 1))  # from tick m - settled - averaged - 2 to m

    def start(self, joints: Array) -> None:
        """Stand at ``joints (J,)`` since ever."""
        self._positions = np.tile(joints, (len(self._positions), 1))

    def append(self, joints: Array) -> None:
        """The position ``(J,)`` at the next tick."""
        self._positions[:-1] = self._positions[1:]
        self._positions[-1] = joints

    @property
    def newest(self) -> Array:
        """The position appended last, ``(J,)``."""
        return self._positions[-1]

    def points(self, way_to_rest: Array) -> tuple[Array, Array, Array, Array]:
        """Points of the trajectory from knot m - 2 - settled until it rests.

        Args:
            way_to_rest: positions ``(n, J)`` of the sequence that would follow, the last of them for good.

        Returns:
            times ``(P,)`` [s] from the first, positions, velocities and accelerations ``(P, J)``. Knots between which the
            acceleration does not change are left out: one piece joins their neighbours exactly.
        """
        width, ahead = self._averaged, len(way_to_rest)
        rest = np.repeat(way_to_rest[-1:], width + 1, axis=0)
        sequence = np.concatenate([self._positions, way_to_rest, rest])
        if width == 1:
            control = sequence
        else:
            count = len(sequence) - width + 1
            control = sequence[:count].copy()
            for later in range(1, width):
                control += sequence[later : count + later]
            control /= width
        before, at, after = control[:-2], control[1:-1], control[2:]
        knots = self._kept(len(at), ahead)
        before, at, after = before[knots], at[knots], after[knots]
        positions = (before + 4.0 * at + after) / 6.0
        velocities = (after - before) / (2.0 * self._dt)
        accelerations = (after - 2.0 * at + before) / (self._dt * self._dt)
        return knots * self._dt, positions, velocities, accelerations

    def _kept(self, count: int, ahead: int) -> NDArray[np.int64]:
        """Knots that are worth sending: the way to rest is a parabola amid, whose acceleration does not change."""
        newest = self._settled + 2
        begin, end = newest + self._averaged + 1, newest + ahead - 2
        return np.array([index for index in range(count) if index <= begin or index >= end], np.int64)
