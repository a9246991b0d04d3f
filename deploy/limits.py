"""Keeps a stream of tool targets within a robot's workspace and speed, whatever the policy says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix
from robolearn.spec import ActionSpec


@dataclass(frozen=True)
class Limited:
    """An action that may be sent.

    Args:
        action: ``(10,)`` canonical action: position [m], rot6d, gripper.
        reasons: what had to be changed: ``not finite``, ``workspace``, ``speed``, ``turning speed``; empty when nothing.
    """

    action: NDArray[np.float32]
    reasons: tuple[str, ...]


class TargetLimiter:
    """Clamps absolute tool targets to the action's limits, and each step from one to the next to a speed.

    Args:
        action: the canonical tool-pose action; its limits are the workspace.
        control_hz: actions a second [1/s].
        max_speed: of the target [m/s].
        max_turning_speed: of the target [rad/s].

    Raises:
        UserError: the action is not the canonical one, or a rate is not positive.
    """

    def __init__(self, action: ActionSpec, control_hz: float, *, max_speed: float = 0.5, max_turning_speed: float = 1.5) -> None:
        if action.size != 10 or action.names[:3] != ("x", "y", "z"):
            raise UserError(f"limits need the canonical action (x, y, z, rot6d, gripper), got {action.names}")
        if min(control_hz, max_speed, max_turning_speed) <= 0:
            raise UserError(f"rates must be positive, got {control_hz} Hz, {max_speed} m/s, {max_turning_speed} rad/s")
        self._low, self._high = np.asarray(action.low), np.asarray(action.high)
        self._step, self._turn = max_speed / control_hz, max_turning_speed / control_hz
        self._last: NDArray[np.float64] | None = None

    def reset(self, target: NDArray[Any]) -> None:
        """Start from ``target (10,)``: the pose that the tool is in now."""
        self._last = np.asarray(target, np.float64).copy()

    def limit(self, target: NDArray[Any]) -> Limited:
        """The nearest target to ``target (10,)`` that may be sent now; one with NaN repeats the last.

        Raises:
            UserError: :meth:`reset` was not called.
        """
        if self._last is None:
            raise UserError("call reset(target) with the tool's present pose before the first limit(target)")
        if not np.isfinite(target).all():
            return Limited(self._last.astype(np.float32), ("not finite",))
        reasons = []
        allowed = np.clip(np.asarray(target, np.float64), self._low, self._high)
        if (allowed[:3] != target[:3]).any():
            reasons.append("workspace")
        offset = allowed[:3] - self._last[:3]
        distance = float(np.linalg.norm(offset))
        if distance > self._step:
            allowed[:3] = self._last[:3] + offset * (self._step / distance)
            reasons.append("speed")
        before = matrix_from_rot6d(self._last[3:9])
        turn = rotvec_from_matrix(matrix_from_rot6d(np.asarray(target[3:9], np.float64)) @ before.T)  # in the base frame
        angle = float(np.linalg.norm(turn))
        if angle > self._turn:
            turn = turn * (self._turn / angle)
            reasons.append("turning speed")
        allowed[3:9] = rot6d_from_matrix(matrix_from_rotvec(turn) @ before)
        self._last = allowed
        return Limited(allowed.astype(np.float32), tuple(reasons))
