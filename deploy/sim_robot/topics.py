"""What a simulated robot publishes, each topic at its own rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.deploy.arms.base import stamp_of
from robolearn.deploy.sim_robot.controllers import TrajectoryController
from robolearn.deploy.sim_robot.trajectory import Motion
from robolearn.deploy.transport.base import LATCHED, WRITE, Message, Publisher, Transport
from robolearn.protocols import RobotState

RATES = {"joints": 200.0, "fingers": 100.0, "parts": 200.0, "tool": 50.0, "controller": 50.0, "status": 20.0}  # [Hz]
LOOK_AGAIN = 0.3  # [s] after which it is looked whether somebody listens
STATE, CONTROLLER = "sensor_msgs/msg/JointState", "control_msgs/msg/JointTrajectoryControllerState"
STRING, POSE, TWIST = "std_msgs/msg/String", "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/TwistStamped"


@dataclass(frozen=True)
class Looks:
    """What topics are made of, worked out only where one is due.

    Args:
        state: of the world.
        status: JSON on the episode.
        desired: what the trajectory controller desires, and the controller; None where another one is active.
    """

    state: Callable[[], RobotState]
    status: Callable[[], str]
    desired: Callable[[], tuple[TrajectoryController, Motion] | None]


class Topics:
    """The publishers of a robot.

    Args:
        transport: where.
        joints: names of the arm's joints.
        controller: of trajectories, which tells of its state.
        fingers: names of the fingers' joints.
        frame: of poses.
    """

    def __init__(
        self,
        transport: Transport,
        joints: tuple[str, ...],
        controller: str,
        fingers: tuple[str, ...] = ("fr3_finger_joint1", "fr3_finger_joint2"),
        frame: str = "base",
    ) -> None:
        self._new, self._names, self._finger_names, self._frame = transport.messages.new, list(joints), list(fingers), frame
        self._joints = transport.publisher("/joint_states", STATE, WRITE)
        self._fingers = transport.publisher("/franka_gripper/joint_states", STATE, WRITE)
        self._parts = transport.publisher("/parts_poses", "geometry_msgs/msg/PoseArray", WRITE)
        self._tool = _Wanted(transport.publisher("/franka_robot_state_broadcaster/current_pose", POSE, WRITE))
        self._twist = _Wanted(transport.publisher("/sim/tool_twist", TWIST, WRITE))
        self._controller = _Wanted(transport.publisher(f"{controller}/controller_state", CONTROLLER, WRITE))
        self._controller_fields = {name for name, _ in transport.messages.store.fielddefs[CONTROLLER][1]}
        words = "status", "fault", "robot_mode", "complaint"
        self._words = {name: transport.publisher(f"/sim/{name}", STRING, LATCHED) for name in words}
        self._next: dict[str, int] = {}
        self._said: dict[str, str] = {}

    def publish(self, looks: Looks, stamp: int, fault: str, mode: str) -> None:
        """Send what is due at ``stamp`` [ns] of the world's clock; words where they changed."""
        due = {name for name, hz in RATES.items() if self._due(name, hz, stamp)}
        if due - {"status", "controller"}:
            self._send_state(looks.state(), due, {"stamp": stamp_of(stamp), "frame_id": self._frame})
        if "controller" in due and self._controller.wanted:
            self._send_controller(looks, stamp)
        if "status" in due or fault != self._said.get("fault"):
            for name, words in (("status", looks.status()), ("fault", fault), ("robot_mode", mode)):
                self._say(name, words)

    def forget(self) -> None:
        """Send everything at the next occasion."""
        self._next.clear()
        self._said.clear()

    def complain(self, words: str) -> None:
        """Say what was asked and cannot be done."""
        self._words["complaint"].publish(self._new(STRING, data=words))

    def _say(self, name: str, words: str) -> None:
        if words != self._said.get(name):
            self._words[name].publish(self._new(STRING, data=words))
            self._said[name] = words

    def _due(self, name: str, hz: float, stamp: int) -> bool:
        if stamp < self._next.get(name, 0):
            return False
        period = round(1e9 / hz)
        self._next[name] = (stamp // period + 1) * period
        return True

    def _send_state(self, state: RobotState, due: set[str], header: dict[str, object]) -> None:
        if "joints" in due:
            fields = {"position": state.position, "velocity": state.velocity, "effort": state.effort}
            self._joints.publish(self._new(STATE, header=header, name=self._names, **fields))
        if "fingers" in due:
            fields = {"position": state.fingers, "velocity": state.finger_velocity, "effort": np.zeros(len(state.fingers))}
            self._fingers.publish(self._new(STATE, header=header, name=self._finger_names, **fields))
        if "parts" in due:
            poses = [_pose(entry) for entry in state.parts.tolist()]
            self._parts.publish(self._new("geometry_msgs/msg/PoseArray", header=header, poses=poses))
        if "tool" in due and self._tool.wanted:
            pose = _pose([*state.tool_position.tolist(), *state.tool_quaternion.tolist()])
            self._tool.publisher.publish(self._new(POSE, header=header, pose=pose))
        if "tool" in due and self._twist.wanted:
            parts = state.tool_twist.tolist()
            twist = {name: dict(zip("xyz", part, strict=True)) for name, part in (("linear", parts[:3]), ("angular", parts[3:]))}
            self._twist.publisher.publish(self._new(TWIST, header=header, twist=twist))

    def _send_controller(self, looks: Looks, stamp: int) -> None:
        found = looks.desired()
        if found is not None:
            self._controller.publisher.publish(self._told(*found, looks.state(), stamp))

    def _told(self, controller: TrajectoryController, desired: Motion, state: RobotState, stamp: int) -> Message:
        """The controller's state in the words of whichever distribution: desired and actual are older ones' reference and feedback."""
        wanted = {"positions": desired.position[0], "velocities": desired.velocity[0], "accelerations": desired.acceleration[0]}
        actual = {"positions": state.position, "velocities": state.velocity}
        error = {name: wanted[name] - actual[name] for name in actual}
        points = {"reference": wanted, "desired": wanted, "feedback": actual, "actual": actual, "error": error, "output": wanted}
        fields: dict[str, Any] = {name: point for name, point in points.items() if name in self._controller_fields}
        return self._new(CONTROLLER, header={"stamp": stamp_of(stamp)}, joint_names=list(controller.joints), **fields)


class _Wanted:
    """A publisher of what few listen to: nothing is made for nobody."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self._looked, self._wanted = -LOOK_AGAIN, False

    @property
    def wanted(self) -> bool:
        """Whether somebody listens, as seen lately."""
        now = time.monotonic()
        if now - self._looked >= LOOK_AGAIN:
            self._looked, self._wanted = now, bool(self.publisher.readers)
        return self._wanted


def _pose(numbers: list[float]) -> dict[str, dict[str, float]]:
    """``geometry_msgs/Pose`` of a position and a quaternion wxyz."""
    x, y, z, qw, qx, qy, qz = numbers
    return {"position": {"x": x, "y": y, "z": z}, "orientation": {"x": qx, "y": qy, "z": qz, "w": qw}}
