"""The controllers that a simulated arm has: each says, physics step by physics step, what the arm is to follow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.sim_robot.guard import PERIOD
from robolearn.deploy.sim_robot.trajectory import Motion, RejectedTrajectory, read_trajectory, spliced, standing

Array = NDArray[np.float64]

MILLISECOND = 1_000_000  # [ns]


class Controller(ABC):
    """One controller; everything of it is called by the robot's loop.

    Args:
        name: as its topics begin and the controller manager knows it.

    Attributes:
        servo: what of the world's it drives.
        commands: taken so far.
        rejected: words on the last command that was not taken.
    """

    servo: Literal["pose", "joints"] = "joints"

    def __init__(self, name: str) -> None:
        self.name = name
        self.commands = 0
        self.rejected = ""

    @abstractmethod
    def topic(self) -> tuple[str, str]:
        """Where it takes commands, and of what type."""

    @abstractmethod
    def hold(self, position: Array, now: int) -> None:
        """Stay at the joints ``(J,)``."""

    def take(self, message: Any, now: int) -> None:
        """A command, at ``now`` [ns] of the loop's clock; one that breaks a rule changes nothing.

        Raises:
            RejectedTrajectory: which rule.
        """
        try:
            self._take(message, now)
        except RejectedTrajectory as error:
            self.rejected = str(error)
            raise
        self.commands += 1

    @abstractmethod
    def _take(self, message: Any, now: int) -> None: ...


class JointController(Controller):
    """A controller that commands joints; its motion is looked at in milliseconds."""

    @abstractmethod
    def motion(self, times: NDArray[np.int64]) -> Motion:
        """What is desired at ``times (K,)`` [ns]."""


class TrajectoryController(JointController):
    """ros2_control's joint trajectory controller with its defaults.

    Args:
        joints: names.
        name: its topics' prefix.
        path_tolerance: [rad] by which a joint may be away from where it is desired before the trajectory is aborted; 0: by any.

    Attributes:
        tolerance: the path's [rad].
        aborted: trajectories so far.
    """

    def __init__(self, joints: tuple[str, ...], name: str = "/fr3_arm_controller", *, path_tolerance: float = 0.0) -> None:
        super().__init__(name)
        self.joints, self.tolerance = joints, path_tolerance
        self._trajectory = standing(np.zeros(len(joints)), 0)
        self.aborted = 0

    def topic(self) -> tuple[str, str]:
        """Where trajectories are taken."""
        return f"{self.name}/joint_trajectory", "trajectory_msgs/msg/JointTrajectory"

    def hold(self, position: Array, now: int) -> None:
        """Stay at the joints ``(J,)``."""
        self._trajectory = standing(np.asarray(position, np.float64), now)

    def _take(self, message: Any, now: int) -> None:
        new = read_trajectory(message, self.joints, now)
        self._trajectory = spliced(new, now, self._trajectory.sample(np.array([now], np.int64)))

    @property
    def end(self) -> int:
        """When the last point is due [ns]."""
        return int(self._trajectory.times[-1])

    def motion(self, times: NDArray[np.int64]) -> Motion:
        """What is desired at ``times (K,)`` [ns]."""
        return self._trajectory.sample(times)

    def compare(self, desired: Array, measured: Array, now: int) -> bool:
        """Abort and hold where the arm is too far away; whether that happened."""
        if not self.tolerance or float(np.abs(desired - measured).max()) <= self.tolerance:
            return False
        self.aborted += 1
        self.hold(measured, now)
        return True


class ForwardController(JointController):
    """ros2_control's forward position controller before a servo that takes positions.

    Whatever comes is handed on and held. The servo goes to it evenly within one period of the command stream, as position servos do that
    run faster than they are commanded: a stream at that rate becomes a path without steps, one period late.

    Args:
        joints: names.
        name: its topics' prefix.
        period: [s] of the command stream.
    """

    def __init__(self, joints: tuple[str, ...], name: str = "/forward_position_controller", *, period: float = 0.01) -> None:
        super().__init__(name)
        self.joints, self._period = joints, round(period * 1e9)
        self.hold(np.zeros(len(joints)), 0)

    def topic(self) -> tuple[str, str]:
        """Where positions are taken."""
        return f"{self.name}/commands", "std_msgs/msg/Float64MultiArray"

    def hold(self, position: Array, now: int) -> None:
        """Stay at the joints ``(J,)``."""
        self._from = self._to = np.array(position, np.float64)
        self._begun = now

    def _take(self, message: Any, now: int) -> None:
        position = np.array(message.data, np.float64)
        if position.shape != (len(self.joints),):
            raise RejectedTrajectory(f"{len(position)} numbers for {len(self.joints)} joints")
        here = self.motion(np.array([now], np.int64)).position[0]
        self._from, self._to, self._begun = here, position, now  # finite or not: this kind of controller does not look

    def motion(self, times: NDArray[np.int64]) -> Motion:
        """What the servo makes of it at ``times (K,)`` [ns]."""
        share = np.clip((times - self._begun) / self._period, 0.0, 1.0)[:, None]
        way = self._to - self._from
        going = (share < 1.0) & (way != 0.0)
        position = np.where(share < 1.0, self._from + share * way, self._to)
        return Motion(position, np.where(going, way / (self._period * 1e-9), 0.0), np.zeros_like(position))


class PoseController(Controller):
    """A Cartesian impedance controller: the tool is drawn to an equilibrium pose.

    Args:
        name: its topic's prefix.

    Attributes:
        pose: equilibrium ``(3,)`` [m] and ``(4,)`` wxyz; None while the arm holds.
    """

    servo: Literal["pose", "joints"] = "pose"

    def __init__(self, name: str = "/cartesian_impedance_controller") -> None:
        super().__init__(name)
        self.pose: tuple[Array, Array] | None = None

    def topic(self) -> tuple[str, str]:
        """Where poses are taken."""
        return f"{self.name}/equilibrium_pose", "geometry_msgs/msg/PoseStamped"

    def hold(self, position: Array, now: int) -> None:
        """Forget the pose: the arm holds by itself."""
        self.pose = None

    def _take(self, message: Any, now: int) -> None:
        at, way = message.pose.position, message.pose.orientation
        position, quaternion = np.array([at.x, at.y, at.z]), np.array([way.w, way.x, way.y, way.z])
        if not np.isfinite(position).all() or not np.isfinite(quaternion).all():
            raise RejectedTrajectory("the pose is not finite")
        if abs(float(np.linalg.norm(quaternion)) - 1.0) > 1e-3:
            raise RejectedTrajectory(f"the quaternion's length is {np.linalg.norm(quaternion):.3f}, not 1")
        self.pose = position, quaternion


def milliseconds(until: int, step: float) -> NDArray[np.int64]:
    """The instants [ns] of a physics step of ``step`` [s] that ends at ``until``, a millisecond apart."""
    count = max(1, round(step / PERIOD))
    return until - MILLISECOND * np.arange(count - 1, -1, -1, dtype=np.int64)
