"""Stops the arm as libfranka does: where the commanded motion of the joints jumps, at the thousandths of a second that it looks at."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.limits import JointLimits

Array = NDArray[np.float64]

PERIOD = 0.001  # [s]
_SLACK = 1.0 + 1e-6  # for numbers' last digits
_DIGITS = (1e-9, 1e-6, 1e-3)  # what finite differences of [rad] at a thousandth of a second make of them: rad/s, rad/s^2, rad/s^3


class FrankaGuard:
    """Looks at every millisecond of the commanded motion.

    Args:
        limits: the robot's own: positions [rad], velocities, accelerations, jerks.

    Attributes:
        fault: libfranka's word for what was wrong, which stays; empty where nothing was.
        counts: how often each was found, also while it is latched.
    """

    def __init__(self, limits: JointLimits) -> None:
        self._lower, self._upper = np.array(limits.lower) - 1e-9, np.array(limits.upper) + 1e-9
        velocity, acceleration, jerk = (np.array(most) * _SLACK for most in (limits.velocity, limits.acceleration, limits.jerk))
        self._velocity, self._acceleration, self._jerk = velocity + _DIGITS[0], acceleration + _DIGITS[1], jerk + _DIGITS[2]
        self.fault = ""
        self.counts: Counter[str] = Counter()
        self.reset(np.zeros(len(self._lower)))

    def reset(self, position: Array) -> None:
        """Stand at ``position (J,)``, without a fault; the counts go on."""
        self.fault = ""
        self._last = np.tile(np.asarray(position, np.float64), (3, 1))

    def check(self, positions: Array) -> str:
        """The next milliseconds of what is commanded, ``(K, J)``: the fault, new or latched, or nothing."""
        path = np.concatenate([self._last, positions])  # (3 + K, J)
        velocity = np.diff(path, axis=0) / PERIOD  # (2 + K, J)
        acceleration = np.diff(velocity, axis=0) / PERIOD  # (1 + K, J)
        jerk = np.diff(acceleration, axis=0) / PERIOD  # (K, J)
        found = {
            "joint_position_limits_violation": ~((positions >= self._lower) & (positions <= self._upper)),
            "joint_velocity_violation": ~(np.abs(velocity[2:]) <= self._velocity),
            "joint_motion_generator_velocity_discontinuity": ~(np.abs(acceleration[1:]) <= self._acceleration),
            "joint_motion_generator_acceleration_discontinuity": ~(np.abs(jerk) <= self._jerk),
        }
        if not np.isfinite(positions).all():
            found = {"joint_motion_generator_start_pose_invalid": ~np.isfinite(positions)}
        for name, where in found.items():
            if where.any():
                self.counts[name] += 1
                self.fault = self.fault or name
        self._last = path[-3:]
        return self.fault
