"""What an arm did in a drill: when it stood, how far its tool went, and whether it ever left its limits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.robot import Robot
from robolearn.deploy.robots.franka import PUBLISHED

FAST = 0.3  # [rad/s] of some joint: the arm moves at speed, and not to the end of a chunk
STILL = 0.01  # [rad/s] of every joint
STANDS = 0.25  # [s] for which it has to be still
SLACK = 2e-3  # [m] that a tool may be beyond its workspace between two ticks


class Track:
    """Looks at the arm itself, every tick.

    Args:
        world: the arm; has ``position`` and ``velocity``.
        robot: its description.
        simulated: the robot, whose guard counts: has ``commanded.counts``.
        clock: of all, has ``now`` [ns].

    Attributes:
        speed: of the fastest joint [rad/s].
        outside: ticks in which the tool was outside of its workspace, or a joint outside of its limits.
    """

    def __init__(self, world: Any, robot: Robot, simulated: Any, clock: Any) -> None:
        self._world, self._robot, self._simulated, self._clock = world, robot, simulated, clock
        self._low, self._high = np.array(robot.workspace.low) - SLACK, np.array(robot.workspace.high) + SLACK
        self._lower, self._upper = np.array(PUBLISHED["panda"].lower), np.array(PUBLISHED["panda"].upper)
        self._fastest = np.array(PUBLISHED["panda"].velocity) * (1 + 1e-6)
        self.speed, self.outside = 0.0, 0
        self._times: list[int] = []
        self._tools: list[NDArray[np.float64]] = []
        self._speeds: list[float] = []
        self._mark = 0

    def look(self) -> None:
        """Note where it is now."""
        position, velocity = self._world.position, self._world.velocity
        tool, rotation = self._robot.chain.forward(position)
        points = tool[2] + np.array(self._robot.workspace.tool_points) @ rotation[2]
        table = self._robot.workspace.table_height
        wrong = (tool < self._low).any() or (tool > self._high).any() or (table is not None and points.min() < table - SLACK)
        wrong = wrong or (position < self._lower).any() or (position > self._upper).any() or (np.abs(velocity) > self._fastest).any()
        self.outside += bool(wrong)
        self.speed = float(np.abs(velocity).max())
        self._times.append(self._clock.now)
        self._tools.append(tool)
        self._speeds.append(self.speed)

    def mark(self) -> None:
        """The fault happens now."""
        self._mark = len(self._times)
        self.at = self._times[-1]

    def standstill(self) -> float | None:
        """[s] from the mark until the arm stood for a while; None where it never did."""
        still, first = np.array(self._speeds[self._mark :]) < STILL, None
        for index, stands in enumerate(still):
            first = None if not stands else index if first is None else first
            if first is not None and (self._times[self._mark + index] - self._times[self._mark + first]) * 1e-9 >= STANDS:
                return (self._times[self._mark + first] - self.at) * 1e-9
        return None

    def fastest(self, seconds: float) -> float:
        """[rad/s] of the fastest joint in the last ``seconds``."""
        since = self._clock.now - seconds * 1e9
        return max(speed for time, speed in zip(self._times, self._speeds, strict=True) if time >= since)

    def moved(self) -> float:
        """[m] that the tool went from the mark until it stood, or until now where it went on."""
        stood = self.standstill()
        until = self._clock.now if stood is None else self.at + round(stood * 1e9)
        tools = [tool for time, tool in zip(self._times[self._mark :], self._tools[self._mark :], strict=True) if time <= until]
        return float(np.linalg.norm(np.diff(np.array(tools), axis=0), axis=1).sum()) if len(tools) > 1 else 0.0

    @property
    def guard(self) -> dict[str, int]:
        """What libfranka's checks found, by their names."""
        return dict(self._simulated.commanded.counts)
