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
    pairs = zip(limits.acceleration, limits.jerk, strict=True)
    return max(math.ceil(2 * acceleration / (jerk * dt) - 1e-9) for acceleration, jerk in pairs)


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
        self._size = settled + averaged + 3
        self._given = np.zeros((self._size + 1, 1))  # positions up to tick m, and below them the velocity
        self._weights: dict[int, tuple[Array, Array]] = {}

    def start(self, joints: Array) -> None:
        """Stand at ``joints (J,)`` since ever."""
        self._given = np.tile(joints, (self._size + 1, 1))

    def append(self, joints: Array) -> None:
        """The position ``(J,)`` at the next tick."""
        self._given[:-2] = self._given[1:-1]
        self._given[-2] = joints

    @property
    def newest(self) -> Array:
        """The position appended last, ``(J,)``."""
        last: Array = self._given[-2]
        return last

    @property
    def still(self) -> bool:
        """Whether all positions kept are the same."""
        return not (self._given[:-2] != self._given[1:-1]).any()

    def points(self, velocity: Array, ticks: int) -> tuple[Array, Array, Array, Array]:
        """Points of the trajectory from knot m - 2 - settled until it rests.

        Args:
            velocity: of the sequence at the newest position ``(J,)`` [rad/s], which falls to nothing in equal steps.
            ticks: in which it does.

        Returns:
            times ``(P,)`` [s] from the first, positions, velocities and accelerations ``(P, J)``. Knots between which the
            acceleration does not change are left out: one piece joins their neighbours exactly.
        """
        if ticks not in self._weights:
            self._weights[ticks] = self._weigh(ticks)
        times, weights = self._weights[ticks]
        self._given[-1] = velocity
        positions, velocities, accelerations = weights.dot(self._given).reshape(3, len(times), -1)
        velocities[-1] = accelerations[-1] = 0.0  # which they are, but for rounding
        return times, positions, velocities, accelerations

    def _weigh(self, ticks: int) -> tuple[Array, Array]:
        """Times, and what makes points of positions and velocity: all of it is linear, so unit vectors show it."""
        basis = np.eye(self._size + 1)
        ahead = basis[-2] + braking(ticks)[:, None] * (basis[-1] * self._dt)  # (ticks, H)
        rest = np.repeat(ahead[-1:], self._averaged + 1, axis=0)
        sequence = np.concatenate([basis[:-1], ahead, rest])
        count = len(sequence) - self._averaged + 1
        control = np.mean([sequence[later : count + later] for later in range(self._averaged)], axis=0)
        before, at, after = control[:-2], control[1:-1], control[2:]
        knots = self._kept(len(at), ticks)
        points = [(before + 4 * at + after) / 6, (after - before) / (2 * self._dt), (after - 2 * at + before) / self._dt**2]
        return knots * self._dt, np.concatenate([values[knots] for values in points])

    def _kept(self, count: int, ticks: int) -> NDArray[np.int64]:
        """Knots that are worth sending: the way to rest is a parabola amid, whose acceleration does not change."""
        newest = self._settled + 2
        begin, end = newest + self._averaged + 1, newest + ticks - 2
        return np.array([index for index in range(count) if index <= begin or index >= end], np.int64)


def braking(ticks: int) -> Array:
    """How far equal steps of braking have come after each tick, in distances of a tick at the speed before them: ``(ticks,)``."""
    way: Array = np.cumsum(1.0 - np.arange(1, ticks + 1) / ticks)
    return way
