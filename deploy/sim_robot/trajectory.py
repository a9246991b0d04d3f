"""Trajectories as ros2_control's joint trajectory controller takes and plays them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError

Array = NDArray[np.float64]


class RejectedTrajectory(UserError):
    """The controller does not take it."""


@dataclass(frozen=True)
class Motion:
    """Joints at some instants: positions, velocities and accelerations, ``(K, J)`` each [rad, rad/s, rad/s^2]."""

    position: Array
    velocity: Array
    acceleration: Array


@dataclass(frozen=True)
class Trajectory:
    """Points in time, and how the joints go between them.

    Args:
        times: ``(P,)`` [ns] on the controller's clock, increasing.
        positions: ``(P, J)``.
        velocities: ``(P, J)``, or None: straight lines.
        accelerations: ``(P, J)``, or None: cubics; quintics where there are some.
    """

    times: NDArray[np.int64]
    positions: Array
    velocities: Array | None
    accelerations: Array | None

    def sample(self, times: NDArray[np.int64]) -> Motion:
        """Where the joints are at ``times (K,)`` [ns]: on their way; at rest in the end point after it."""
        last = len(self.times) - 1
        after = np.searchsorted(self.times, times, side="right")
        left, right = np.clip(after - 1, 0, last), np.clip(after, 0, last)
        span = (self.times[right] - self.times[left]) * 1e-9
        motion = self._between(left, right, np.clip((times - self.times[left]) * 1e-9, 0.0, span), np.where(span > 0, span, 1.0))
        ended = (times >= self.times[last])[:, None]
        still = np.zeros_like(motion.position)
        return Motion(
            np.where(ended, self.positions[last], motion.position),
            np.where(ended, still, motion.velocity),
            np.where(ended, still, motion.acceleration),
        )

    def _between(self, left: NDArray[np.int64], right: NDArray[np.int64], since: Array, span: Array) -> Motion:
        """Polynomials through two points each; ``since (K,)`` and ``span (K,)`` in seconds."""
        t, T = since[:, None], span[:, None]
        p0, p1 = self.positions[left], self.positions[right]
        if self.velocities is None:
            slope = (p1 - p0) / T
            return Motion(p0 + slope * t, slope, np.zeros_like(slope))
        v0, v1 = self.velocities[left], self.velocities[right]
        if self.accelerations is None:
            c2 = (3 * (p1 - p0) - (2 * v0 + v1) * T) / T**2
            c3 = (2 * (p0 - p1) + (v0 + v1) * T) / T**3
            return Motion(p0 + v0 * t + c2 * t**2 + c3 * t**3, v0 + 2 * c2 * t + 3 * c3 * t**2, 2 * c2 + 6 * c3 * t)
        a0, a1 = self.accelerations[left], self.accelerations[right]
        c2 = a0 / 2
        c3 = (20 * (p1 - p0) - (8 * v1 + 12 * v0) * T - (3 * a0 - a1) * T**2) / (2 * T**3)
        c4 = (30 * (p0 - p1) + (14 * v1 + 16 * v0) * T + (3 * a0 - 2 * a1) * T**2) / (2 * T**4)
        c5 = (12 * (p1 - p0) - 6 * (v1 + v0) * T - (a0 - a1) * T**2) / (2 * T**5)
        return Motion(
            p0 + t * (v0 + t * (c2 + t * (c3 + t * (c4 + t * c5)))),
            v0 + t * (2 * c2 + t * (3 * c3 + t * (4 * c4 + t * 5 * c5))),
            2 * c2 + t * (6 * c3 + t * (12 * c4 + t * 20 * c5)),
        )


def read_trajectory(message: Any, joints: tuple[str, ...], now: int) -> Trajectory:
    """A ``trajectory_msgs/msg/JointTrajectory`` as the controller of ``joints`` understands it at ``now`` [ns].

    The rules are those of ros2_control's ``validate_trajectory_msg`` with its default parameters: all joints, in any order; at least one
    point; times that increase; as many positions, and velocities and accelerations or none, as joints, in every point alike; no efforts;
    the last velocity 0; a stamp of 0 begins now, and what would have ended by now is refused. Numbers are finite.

    Raises:
        RejectedTrajectory: a rule is broken; the message says which.
    """
    names = [str(name) for name in message.joint_names]
    if sorted(names) != sorted(joints):
        raise RejectedTrajectory(f"the trajectory is for {', '.join(names) or 'no joints'}; the controller has {', '.join(joints)}")
    if not message.points:
        raise RejectedTrajectory("the trajectory has no points")
    order = [names.index(joint) for joint in joints]
    offsets = np.array([point.time_from_start.sec * 1_000_000_000 + point.time_from_start.nanosec for point in message.points], np.int64)
    if offsets[0] < 0 or (np.diff(offsets) <= 0).any():
        raise RejectedTrajectory("time_from_start has to increase strictly from 0 or more")
    positions = _rows(message.points, "positions", order)
    if positions is None:
        raise RejectedTrajectory("every point needs positions")
    if any(len(point.effort) for point in message.points):
        raise RejectedTrajectory("this controller takes no efforts")
    velocities = _rows(message.points, "velocities", order)
    accelerations = _rows(message.points, "accelerations", order) if velocities is not None else None
    if velocities is not None and np.abs(velocities[-1]).max() > np.finfo(np.float32).eps:
        raise RejectedTrajectory(f"the last point's velocity has to be 0, it is up to {np.abs(velocities[-1]).max():.3g} rad/s")
    stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
    times = offsets + (stamp or now)
    if stamp and times[-1] < now:
        raise RejectedTrajectory(f"the trajectory ended {(now - times[-1]) * 1e-9:.3f} s ago")
    return Trajectory(times, positions, velocities, accelerations)


def _rows(points: Any, field: str, order: list[int]) -> Array | None:
    """A field of all points in the controller's order, ``(P, J)``; None where none has it."""
    sizes = {len(getattr(point, field)) for point in points}
    if sizes == {0}:
        return None
    if sizes != {len(order)}:
        raise RejectedTrajectory(f"{field} of {sorted(sizes)} numbers; every point needs {len(order)}, or none has any")
    rows = np.array([getattr(point, field) for point in points], np.float64)[:, order]
    if not np.isfinite(rows).all():
        raise RejectedTrajectory(f"{field} hold NaN or infinity")
    return rows


def spliced(new: Trajectory, arrival: int, state: Motion) -> Trajectory:
    """A trajectory that begins where the controller is at ``arrival`` [ns]; ``state`` is its desired motion there, ``(1, J)`` each.

    Points of the new one that lie ahead are gone to from the present state. Where it has begun before, it is joined at once: it is up to
    the sender that this is no jump.
    """
    if new.times[0] <= arrival:
        return new
    velocities = None if new.velocities is None else np.concatenate([state.velocity, new.velocities])
    accelerations = None if new.accelerations is None else np.concatenate([state.acceleration, new.accelerations])
    return Trajectory(
        np.concatenate([np.array([arrival], np.int64), new.times]),
        np.concatenate([state.position, new.positions]),
        velocities,
        accelerations,
    )


def standing(position: Array, now: int) -> Trajectory:
    """To stay at ``position (J,)``."""
    return Trajectory(np.array([now], np.int64), position[None].copy(), None, None)
