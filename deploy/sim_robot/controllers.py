"""The controllers that a simulated arm has: each says, physics step by physics step, what the arm is to follow."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.sim_robot.guard import PERIOD
from robolearn.deploy.sim_robot.trajectory import Motion, RejectedTrajectory, read_trajectory, spliced, standing

Array = NDArray[np.float64]

MILLISECOND = 1_000_000  # [ns]


class Controller(ABC):
    """One controller. Commands come on a transport's thread, everything else is called by the loop.

    Attributes:
        servo: what of the world's it drives.
        commands: taken so far.
        rejected: words on the last command that was not taken.
    """

    servo: Literal["pose", "joints"] = "joints"

    def __init__(self) -> None:
        self._lock = threading.Lock()
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
    """

    def __init__(self, joints: tuple[str, ...], name: str = "/fr3_arm_controller", *, path_tolerance: float = 0.0) -> None:
        super().__init__()
        self.joints, self.name, self._tolerance = joints, name, path_tolerance
        self._trajectory = standing(np.zeros(len(joints)), 0)
        self.aborted = 0

    def topic(self) -> tuple[str, str]:
        """Where trajectories are taken."""
        return f"{self.name}/joint_trajectory", "trajectory_msgs/msg/JointTrajectory"

    def hold(self, position: Array, now: int) -> None:
        """Stay at the joints ``(J,)``."""
        with self._lock:
            self._trajectory = standing(np.asarray(position, np.float64), now)

    def _take(self, message: Any, now: int) -> None:
        new = read_trajectory(message, self.joints, now)
        with self._lock:
            self._trajectory = spliced(new, now, self._trajectory.sample(np.array([now], np.int64)))

    def motion(self, times: NDArray[np.int64]) -> Motion:
        """What is desired at ``times (K,)`` [ns]."""
        with self._lock:
            return self._trajectory.sample(times)

    def compare(self, desired: Array, measured: Array, now: int) -> bool:
        """Abort and hold where the arm is too far away; whether that happened."""
        if not self._tolerance or float(np.abs(desired - measured).max()) <= self._tolerance:
            return False
        self.aborted += 1
        self.hold(measured, now)
        return True


class ForwardController(JointController):
    """ros2_control's forward position controller: whatever comes is handed on and held, whole steps at a time."""

    def __init__(self, joints: tuple[str, ...], name: str = "/forward_position_controller") -> None:
        super().__init__()
        self.joints, self.name = joints, name
        self._position = np.zeros(len(joints))

    def topic(self) -> tuple[str, str]:
        """Where positions are taken."""
        return f"{self.name}/commands", "std_msgs/msg/Float64MultiArray"

    def hold(self, position: Array, now: int) -> None:
        """Stay at the joints ``(J,)``."""
        with self._lock:
            self._position = np.array(position, np.float64)

    def _take(self, message: Any, now: int) -> None:
        position = np.array(message.data, np.float64)
        if position.shape != (len(self.joints),):
            raise RejectedTrajectory(f"{len(position)} numbers for {len(self.joints)} joints")
        with self._lock:
            self._position = position  # finite or not: this kind of controller does not look

    def motion(self, times: NDArray[np.int64]) -> Motion:
        """The same at all times."""
        with self._lock:
            at = np.tile(self._position, (len(times), 1))
        return Motion(at, np.zeros_like(at), np.zeros_like(at))


class PoseController(Controller):
    """A Cartesian impedance controller: the tool is drawn to an equilibrium pose.

    Args:
        topic: where poses are taken.
    """

    servo: Literal["pose", "joints"] = "pose"

    def __init__(self, topic: str = "/cartesian_impedance_controller/equilibrium_pose") -> None:
        super().__init__()
        self._topic = topic
        self._pose: tuple[Array, Array] | None = None

    def topic(self) -> tuple[str, str]:
        """Where poses are taken."""
        return self._topic, "geometry_msgs/msg/PoseStamped"

    def hold(self, position: Array, now: int) -> None:
        """Forget the pose: the arm holds by itself."""
        with self._lock:
            self._pose = None

    def _take(self, message: Any, now: int) -> None:
        at, way = message.pose.position, message.pose.orientation
        position, quaternion = np.array([at.x, at.y, at.z]), np.array([way.w, way.x, way.y, way.z])
        if not np.isfinite(position).all() or not np.isfinite(quaternion).all():
            raise RejectedTrajectory("the pose is not finite")
        if abs(float(np.linalg.norm(quaternion)) - 1.0) > 1e-3:
            raise RejectedTrajectory(f"the quaternion's length is {np.linalg.norm(quaternion):.3f}, not 1")
        with self._lock:
            self._pose = position, quaternion

    @property
    def pose(self) -> tuple[Array, Array] | None:
        """Equilibrium ``(3,)`` [m] and ``(4,)`` wxyz; None while the arm holds."""
        with self._lock:
            return self._pose


def milliseconds(until: int, step: float) -> NDArray[np.int64]:
    """The instants [ns] of a physics step of ``step`` [s] that ends at ``until``, a millisecond apart."""
    count = max(1, round(step / PERIOD))
    return until - MILLISECOND * np.arange(count - 1, -1, -1, dtype=np.int64)
