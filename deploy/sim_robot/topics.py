"""What a simulated robot publishes, each topic at its own rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from robolearn.deploy.arms.base import stamp_of
from robolearn.deploy.transport.base import LATCHED, WRITE, Transport
from robolearn.protocols import RobotState

JOINTS_HZ, FINGERS_HZ, PARTS_HZ, STATUS_HZ = 100.0, 50.0, 50.0, 20.0


class Topics:
    """The publishers of a robot.

    Args:
        transport: where.
        joints: names of the arm's joints.
        fingers: names of the fingers' joints.
        frame: of poses.
    """

    def __init__(
        self,
        transport: Transport,
        joints: tuple[str, ...],
        fingers: tuple[str, ...] = ("fr3_finger_joint1", "fr3_finger_joint2"),
        frame: str = "base",
    ) -> None:
        self._new, self._names, self._fingers, self._frame = transport.messages.new, list(joints), list(fingers), frame
        state = "sensor_msgs/msg/JointState"
        self._joints = transport.publisher("/joint_states", state, WRITE)
        self._hand = transport.publisher("/franka_gripper/joint_states", state, WRITE)
        self._parts = transport.publisher("/parts_poses", "geometry_msgs/msg/PoseArray", WRITE)
        self._tool = transport.publisher("/franka_robot_state_broadcaster/current_pose", "geometry_msgs/msg/PoseStamped", WRITE)
        self._status = transport.publisher("/sim/status", "std_msgs/msg/String", LATCHED)
        self._fault = transport.publisher("/sim/fault", "std_msgs/msg/String", LATCHED)
        self._complaint = transport.publisher("/sim/complaint", "std_msgs/msg/String", LATCHED)
        self._next: dict[str, int] = {}
        self._said: tuple[str, str | None] = ("", None)

    def publish(self, look: Callable[[], RobotState], stamp: int, status: str, fault: str) -> None:
        """Send what is due at ``stamp`` [ns] of the world's clock; ``status`` and ``fault`` where they changed."""
        due = {name for name, hz in _RATES.items() if self._due(name, hz, stamp)}
        if due & {"joints", "fingers", "parts"}:
            state, header = look(), {"stamp": stamp_of(stamp), "frame_id": self._frame}
            if "joints" in due:
                self._send_joints(state, header)
            if "fingers" in due:
                self._send_fingers(state, header)
            if "parts" in due:
                self._send_parts(state, header)
        if fault != self._said[1] or (status != self._said[0] and "status" in due):
            self._status.publish(self._new("std_msgs/msg/String", data=status))
            if fault != self._said[1]:
                self._fault.publish(self._new("std_msgs/msg/String", data=fault))
            self._said = (status, fault)

    def forget(self) -> None:
        """Send everything at the next occasion."""
        self._next, self._said = {}, ("", None)

    def complain(self, words: str) -> None:
        """Say what was asked and cannot be done."""
        self._complaint.publish(self._new("std_msgs/msg/String", data=words))

    def _due(self, name: str, hz: float, stamp: int) -> bool:
        if stamp < self._next.get(name, 0):
            return False
        period = round(1e9 / hz)
        self._next[name] = (stamp // period + 1) * period
        return True

    def _send_joints(self, state: RobotState, header: Mapping[str, object]) -> None:
        fields = {"position": state.position, "velocity": state.velocity, "effort": state.effort}
        self._joints.publish(self._new("sensor_msgs/msg/JointState", header=header, name=self._names, **fields))

    def _send_fingers(self, state: RobotState, header: Mapping[str, object]) -> None:
        fields = {"position": state.fingers, "velocity": state.finger_velocity, "effort": np.zeros(2)}
        self._hand.publish(self._new("sensor_msgs/msg/JointState", header=header, name=self._fingers, **fields))

    def _send_parts(self, state: RobotState, header: Mapping[str, object]) -> None:
        poses = [_pose(entry) for entry in state.parts.tolist()]
        self._parts.publish(self._new("geometry_msgs/msg/PoseArray", header=header, poses=poses))
        tool = _pose([*state.tool_position.tolist(), *state.tool_quaternion.tolist()])
        self._tool.publish(self._new("geometry_msgs/msg/PoseStamped", header=header, pose=tool))


_RATES = {"joints": JOINTS_HZ, "fingers": FINGERS_HZ, "parts": PARTS_HZ, "status": STATUS_HZ}


def _pose(numbers: list[float]) -> dict[str, dict[str, float]]:
    """``geometry_msgs/Pose`` of a position and a quaternion wxyz."""
    x, y, z, qw, qx, qy, qz = numbers
    return {"position": {"x": x, "y": y, "z": z}, "orientation": {"x": qx, "y": qy, "z": qz, "w": qw}}
