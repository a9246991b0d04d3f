"""Stops the arm as its own computer does: where the commanded motion jumps, as libfranka finds it, or where the joints go too fast."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.limits import JointLimits

Array = NDArray[np.float64]

PERIOD = 0.001  # [s]
_SLACK = 1.0 + 1e-6  # for numbers' last digits
_DIGITS = (1e-9, 1e-6, 1e-3)  # what finite differences of [rad] at a thousandth of a second make of them: rad/s, rad/s^2, rad/s^3
_YIELD = 0.1  # [rad] by which a joint may give way at its end; the simulation's give 0.03


class Guard(ABC):
    """Finds faults; the first stays until the guard is reset.

    Attributes:
        fault: libfranka's word for what was wrong; empty where nothing was.
        counts: how often each was found, also while one is latched.
    """

    def __init__(self) -> None:
        self.fault = ""
        self.counts: Counter[str] = Counter()

    @abstractmethod
    def reset(self, position: Array) -> None:
        """Stand at ``position (J,)``, without a fault; the counts go on."""

    def _judge(self, found: dict[str, NDArray[np.bool_]]) -> str:
        """Count what was found; the fault, new or latched, or nothing."""
        for name, where in found.items():
            if where.any():
                self.counts[name] += 1
                self.fault = self.fault or name
        return self.fault


class FrankaGuard(Guard):
    """Looks at every millisecond of the commanded motion.

    Args:
        limits: the robot's own: positions [rad], velocities, accelerations, jerks.
    """

    def __init__(self, limits: JointLimits) -> None:
        super().__init__()
        self._lower, self._upper = np.array(limits.lower) - 1e-9, np.array(limits.upper) + 1e-9
        velocity, acceleration, jerk = (np.array(most) * _SLACK for most in (limits.velocity, limits.acceleration, limits.jerk))
        self._velocity, self._acceleration, self._jerk = velocity + _DIGITS[0], acceleration + _DIGITS[1], jerk + _DIGITS[2]
        self.reset(np.zeros(len(self._lower)))

    def reset(self, position: Array) -> None:
        """Stand at ``position (J,)``, without a fault; the counts go on."""
        self.fault = ""
        self._last = np.tile(np.asarray(position, np.float64), (3, 1))

    def check(self, positions: Array) -> str:
        """The next milliseconds of what is commanded, ``(K, J)``: the fault, new or latched, or nothing."""
        if not np.isfinite(positions).all():
            return self._judge({"joint_motion_generator_start_pose_invalid": ~np.isfinite(positions)})
        path = np.concatenate([self._last, positions])  # (3 + K, J)
        velocity = np.diff(path, axis=0) / PERIOD  # (2 + K, J)
        acceleration = np.diff(velocity, axis=0) / PERIOD  # (1 + K, J)
        jerk = np.diff(acceleration, axis=0) / PERIOD  # (K, J)
        self._last = path[-3:]
        return self._judge(
            {
                "joint_position_limits_violation": (positions < self._lower) | (positions > self._upper),
                "joint_velocity_violation": np.abs(velocity[2:]) > self._velocity,
                "joint_motion_generator_velocity_discontinuity": np.abs(acceleration[1:]) > self._acceleration,
                "joint_motion_generator_acceleration_discontinuity": np.abs(jerk) > self._jerk,
            }
        )


class ArmGuard(Guard):
    """Looks at what the joints do, where the controller draws the arm wherever it is told.

    Args:
        limits: the robot's own: positions [rad], velocities.
        share: of these velocities that the joints may have.
    """

    def __init__(self, limits: JointLimits, share: float = 1.0) -> None:
        super().__init__()
        self._lower, self._upper = np.array(limits.lower) - _YIELD, np.array(limits.upper) + _YIELD
        self._velocity = np.array(limits.velocity) * share * _SLACK

    def reset(self, position: Array) -> None:
        """Be without a fault; the counts go on."""
        self.fault = ""

    def check(self, position: Array, velocity: Array) -> str:
        """Where the joints are, ``(J,)``, and how fast, ``(J,)``: the fault, new or latched, or nothing."""
        return self._judge(
            {
                "joint_position_limits_violation": ~((position >= self._lower) & (position <= self._upper)),
                "joint_velocity_violation": ~(np.abs(velocity) <= self._velocity),
            }
        )
