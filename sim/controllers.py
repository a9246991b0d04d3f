"""From the canonical action to the servo's control vector, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import quaternion_from_rot6d, rot6d_from_quaternion
from robolearn.sim.panda import FINGER_CLOSED, FINGER_OPEN
from robolearn.spec import ActionSpec


def control_from_action(action: NDArray[Any], spec: ActionSpec) -> NDArray[np.float64]:
    """Absolute TCP target ``(N, 10)`` to position 3 [m], quaternion 4 (wxyz) and finger targets 2 [m]: ``(N, 9)``, for each arm.

    The position is clipped to the spec's limits, rot6d made orthonormal, and the gripper closes where its command is positive.
    """
    action = np.asarray(action, np.float64).reshape(-1, 10)  # (N * arms, 10)
    low, high = (np.reshape(limit, (-1, 10))[:, :3] for limit in (spec.low, spec.high))
    rows = len(action) // len(low)
    control = np.empty((len(action), 9))
    control[:, :3] = np.clip(action[:, :3], np.tile(low, (rows, 1)), np.tile(high, (rows, 1)))
    control[:, 3:7] = quaternion_from_rot6d(action[:, 3:9])
    control[:, 7] = np.where(action[:, 9] > 0, FINGER_CLOSED, FINGER_OPEN)
    control[:, 8] = -control[:, 7]
    return control.reshape(rows, 9 * len(low))


def action_from_control(control: NDArray[np.float64]) -> NDArray[np.float32]:
    """The inverse of :func:`control_from_action` within the limits: ``(N, 9) -> (N, 10)``, for each arm."""
    rows, arms, control = len(control), control.shape[1] // 9, control.reshape(-1, 9)
    gripper = np.where(control[:, 7:8] < (FINGER_OPEN + FINGER_CLOSED) / 2, 1.0, -1.0)
    action: NDArray[np.float32] = np.concatenate([control[:, :3], rot6d_from_quaternion(control[:, 3:7]), gripper], 1).astype(np.float32)
    return action.reshape(rows, 10 * arms)
