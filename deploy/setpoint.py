"""What a tick of the command loop sends: the motion of the joints from now on, and the pose of the tool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setpoint:
    """What a tick sends.

    Args:
        stamp: [ns] on the transport's clock: time of the tick, on the grid of ticks.
        times: ``(P,)`` [s] after the stamp, from 0; the last point is at rest.
        positions: ``(P, J)`` [rad].
        velocities: ``(P, J)`` [rad/s].
        accelerations: ``(P, J)`` [rad/s^2].
        position: ``(3,)`` [m] the pose that a tool with the robot's own lag is to be sent to; that of a stiff one is where it is to be.
        rotation: ``(3, 3)``.
        twist: ``(6,)`` [m/s, rad/s] of the tool, linear before angular, base frame.
        reasons: limits that bit in this tick.
    """

    stamp: int
    times: Array
    positions: Array
    velocities: Array
    accelerations: Array
    position: Array
    rotation: Array
    twist: Array
    reasons: tuple[str, ...] = ()

    def only_end(self, time: float) -> Setpoint:
        """To be at rest in the last point ``time`` [s] after the stamp; how is up to the controller."""
        end = slice(-1, None)
        points = self.positions[end], self.velocities[end], self.accelerations[end]
        return Setpoint(self.stamp, np.array([time]), *points, self.position, self.rotation, self.twist, self.reasons)

    def at(self, time: float) -> Array:
        """Where the joints are ``time`` [s] after the stamp, ``(J,)`` [rad]: on the cubics that a controller draws between the points."""
        times = self.times
        if time >= times[-1]:
            time = float(times[-1])
        place = min(max(int(np.searchsorted(times, time, side="right")) - 1, 0), len(times) - 2)
        width = float(times[place + 1] - times[place])
        share = max(time - float(times[place]), 0.0) / width
        start, goal = self.positions[place], self.positions[place + 1]
        leaving, arriving = self.velocities[place] * width, self.velocities[place + 1] * width
        cubic, square = 2.0 * (start - goal) + leaving + arriving, 3.0 * (goal - start) - 2.0 * leaving - arriving
        where: Array = ((cubic * share + square) * share + leaving) * share + start
        return where
