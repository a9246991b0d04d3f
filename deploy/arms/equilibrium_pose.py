"""Motion as poses of the tool for compliant controllers, which pull it there as a spring does."""

from __future__ import annotations

from typing import Any

from robolearn.deploy.arms.base import Arm, stamp_of
from robolearn.deploy.arms.watch import Watch
from robolearn.deploy.setpoint import Setpoint
from robolearn.rotation import quaternion_from_matrix


class EquilibriumPoseArm(Arm):
    """A controller that takes ``geometry_msgs/msg/PoseStamped`` of the tool in the robot's base frame.

    franka_ros has it as ``/cartesian_impedance_example_controller/equilibrium_pose``, SERL as
    ``/cartesian_impedance_controller/equilibrium_pose``; franka_ros2 has none, users add theirs. The controller's tool frame has to be
    the chain's. When the runner dies the tool comes to rest at the last pose it was sent, as a spring does.

    Args:
        pose_topic: where poses are taken.
        watch: listens to what the driver says of itself.
    """

    def __init__(self, pose_topic: str = "/cartesian_impedance_controller/equilibrium_pose", *, watch: Watch | None = None) -> None:
        super().__init__(watch)
        self._topic = pose_topic

    def topic(self) -> tuple[str, str]:
        """Where poses are sent."""
        return self._topic, "geometry_msgs/msg/PoseStamped"

    def message(self, setpoint: Setpoint) -> Any:
        """The equilibrium pose of now."""
        header = {"stamp": stamp_of(self._transport.now()), "frame_id": self._robot.base_frame}
        return self._transport.messages.new("geometry_msgs/msg/PoseStamped", header=header, pose=pose_of(setpoint))


def pose_of(setpoint: Setpoint) -> dict[str, dict[str, float]]:
    """``geometry_msgs/Pose`` of a set point."""
    x, y, z = setpoint.position.tolist()
    qw, qx, qy, qz = quaternion_from_matrix(setpoint.rotation).tolist()
    return {"position": {"x": x, "y": y, "z": z}, "orientation": {"x": qx, "y": qy, "z": qz, "w": qw}}
