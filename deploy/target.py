"""From what a policy or an operator says to a pose that the tool may be sent to, whatever was said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.limits import ToolLimits, Workspace
from robolearn.deploy.turning import rotated, rotation_of, rotvec_between
from robolearn.errors import UserError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """A pose that the tool may be sent to: position ``(3,)`` [m], rotation ``(3, 3)``, what was changed, and the way there [m, rad]."""

    position: Array
    rotation: Array
    reasons: tuple[str, ...]
    offset: Array
    turn: Array


class TargetReader:
    """Reads canonical actions; what cannot be read repeats what was read before.

    Args:
        workspace: where targets are brought into.
        tool: how far from the tool they may be.
    """

    def __init__(self, workspace: Workspace, tool: ToolLimits) -> None:
        self._low, self._high = np.asarray(workspace.low, np.float64), np.asarray(workspace.high, np.float64)
        self._table, self._points = workspace.table_height, np.asarray(workspace.tool_points, np.float64)
        self._step, self._turn = tool.step, tool.turn
        self.reset(np.zeros(3), np.eye(3))

    def reset(self, position: Array, rotation: Array) -> None:
        """Begin with the tool's present pose: what the first unreadable target repeats."""
        self._position, self._rotation = position.copy(), rotation.copy()

    def read(self, action: NDArray[Any], position: Array, rotation: Array) -> Target:
        """The pose that ``action`` (10,) or (9,) stands for, seen from the tool at ``position (3,)``, ``rotation (3, 3)``.

        Raises:
            UserError: an action of another size, which is no target at all.
        """
        values = np.asarray(action, np.float64)
        if values.shape not in ((10,), (9,)):
            raise UserError(f"a target is position 3 [m], rot6d 6 and gripper 1: (10,), got {values.shape}")
        reasons = []
        if not np.isfinite(values[:9]).all():
            reasons.append("not finite")
        else:
            turned = rotation_of(values[3:9])
            if turned is None:
                reasons.append("degenerate rotation")
            else:
                self._rotation = turned
            self._position = np.minimum(np.maximum(values[:3], self._low), self._high)
            if (self._position != values[:3]).any():
                reasons.append("workspace")
        offset, turn = self._position - position, rotvec_between(self._rotation, rotation)
        distance, angle = math.sqrt(offset.dot(offset)), math.sqrt(turn.dot(turn))
        goal, facing = self._position, self._rotation
        if distance > self._step:
            offset = offset * (self._step / distance)
            goal = position + offset
            reasons.append("step")
        if angle > self._turn:
            turn = turn * (self._turn / angle)
            facing = rotated(turn, rotation)
            reasons.append("turn")
        if self._table is not None:
            below = self._table - (goal[2] + self._points.dot(facing[2]).min())
            if below > 0:
                goal = goal + np.array((0.0, 0.0, below))
                offset = goal - position
                reasons.append("table")
        return Target(goal, facing, tuple(reasons), offset, turn)
