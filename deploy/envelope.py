"""States of an arm from which it can still stop within every limit: the promise that motion is held to, tick by tick.

From any state the arm may brake along a straight line in joint space, all joints together. A step is taken only if that way to
rest, from where the step leads, was found to be within the limits; if none is, the arm brakes, along the way that was checked before.
So the promise holds whatever is asked: a state inside leads to states inside, and the way to rest is there when the runner dies.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.kinematics import Chain
from robolearn.deploy.limits import JointLimits, ToolLimits, Workspace

Array = NDArray[np.float64]

_SLACK = 4e-4  # [m] beyond the declared workspace: steps along its edge are straight in joint space, not in the base frame
_SPACING = 0.05  # [rad] between the checked points of a way to rest; between two the tool leaves their chord by 0.3 mm at most
_FASTER = 1.01  # a step's speed is checked on its end, and was set by the Jacobian at its beginning
_SHARES = (1.0, 0.6, 0.3, 0.1)  # of the difference between what is wanted and braking, tried in turn


class Envelope:
    """Checks steps of an arm.

    Args:
        chain: the arm and its tool.
        limits: of the joints.
        workspace: of the tool.
        tool: how fast that may be.
        dt: of a tick [s].
    """

    def __init__(self, chain: Chain, limits: JointLimits, workspace: Workspace, tool: ToolLimits, dt: float) -> None:
        self._chain, self._dt = chain, dt
        self._lower, self._upper = np.array(limits.lower), np.array(limits.upper)
        self._braking = np.array(limits.braking)
        self._slower = 1.0 / (np.array(limits.acceleration) * dt)  # ticks to rest for each rad/s
        self._low, self._high = np.array(workspace.low) - _SLACK, np.array(workspace.high) + _SLACK
        self._table = -math.inf if workspace.table_height is None else workspace.table_height - _SLACK
        self._points = np.array(workspace.tool_points)
        self._fractions: dict[int, Array] = {}
        self._reach, self._angle = tool.speed * dt * _FASTER, tool.turning_speed * dt * _FASTER

    def ticks_to_rest(self, velocity: Array) -> int:
        """Ticks of braking until all joints rest: their velocities fall in equal steps, within the accelerations."""
        return math.ceil(float((np.abs(velocity) * self._slower).max()) - 1e-9)

    def braked(self, velocity: Array) -> Array:
        """Velocities ``(J,)`` [rad/s] a tick further on the way to rest."""
        ticks = self.ticks_to_rest(velocity)
        return velocity * ((ticks - 1) / ticks) if ticks > 1 else np.zeros_like(velocity)

    def step(self, joints: Array, velocity: Array, wanted: Array, position: Array, rotation: Array) -> tuple[Array, str]:
        """Velocities ``(J,)`` for the next tick, as near to ``wanted`` as may be, and what stood in the way, if anything.

        Args:
            joints: where the arm is ``(J,)`` [rad].
            velocity: its present velocities ``(J,)`` [rad/s].
            wanted: velocities within a tick's acceleration of these.
            position: of the tool at ``joints`` ``(3,)``.
            rotation: of it ``(3, 3)``.
        """
        first, braked = "", None
        heights = position[2] + self._points.dot(rotation[2])
        # Who starts outside may come in: the limits are drawn around where the tool is.
        low, high = np.minimum(self._low, position - 1e-9), np.maximum(self._high, position + 1e-9)
        table = min(self._table, float(heights.min()) - 1e-9)
        tried = wanted
        for share in _SHARES:
            if share < 1.0:
                braked = self.braked(velocity) if braked is None else braked
                tried = braked + share * (wanted - braked)
            trouble = self._trouble(joints, tried, position, rotation, low, high, table)
            if not trouble:
                return tried, first
            first = first or trouble
        return self.braked(velocity), first

    def inside(self, position: Array, rotation: Array, end: tuple[Array, Array]) -> Array:
        """The position ``(3,)`` brought into the workspace and above the table; no further than the tool is at ``end`` (3,), (3, 3)."""
        low, high = np.minimum(self._low, end[0]), np.maximum(self._high, end[0])
        table = min(self._table, float((end[0][2] + self._points.dot(end[1][2])).min()))
        brought: Array = np.minimum(np.maximum(position, low), high)
        brought[2] = max(brought[2], table - float(self._points.dot(rotation[2]).min()))
        return brought

    def _trouble(self, joints: Array, velocity: Array, position: Array, rotation: Array, low: Array, high: Array, table: float) -> str:
        """What a tick at ``velocity`` and the way to rest behind it would break, or nothing."""
        begin = joints + velocity * self._dt
        way = velocity * (self._dt * max(self.ticks_to_rest(velocity) - 1, 0) / 2)
        rest = begin + way
        if (rest > np.maximum(self._upper, joints)).any() or (rest < np.minimum(self._lower, joints)).any():
            return "joint position"
        # The end that a joint turns to is approached by braking: the speed's square falls in line with the distance.
        left = np.where(velocity > 0, self._upper - begin, begin - self._lower)
        speed = np.abs(velocity)
        if (speed * (speed - self._braking * self._dt) > 2 * self._braking * np.maximum(left, 0.0) + 1e-9).any():
            return "joint position"
        pieces = math.ceil(float(np.abs(way).max()) / _SPACING)
        if pieces not in self._fractions:
            self._fractions[pieces] = np.linspace(0.0, 1.0, pieces + 1)[:, None] if pieces else np.zeros((1, 1))
        fractions: Array = self._fractions[pieces]
        at = begin + way * fractions
        tool, turned = self._chain.forward(at)  # (points, 3), (points, 3, 3)
        if (tool < low).any() or (tool > high).any():
            return "workspace ahead"
        if table > -math.inf and float((tool[:, 2] + (turned[:, 2] @ self._points.T).min(1)).min()) < table:
            return "table ahead"
        moved = tool[0] - position
        if moved.dot(moved) > self._reach * self._reach:
            return "speed"
        # The trace of a small turn is 1 + 2 cos, about 3 - angle^2.
        if 3.0 - float(np.vdot(turned[0], rotation)) > self._angle * self._angle:
            return "turning speed"
        return ""
