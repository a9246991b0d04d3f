"""Motion for MoveIt Servo: twists or poses of the tool, stamped, because Servo drops what is older than a tenth of a second."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import numpy as np

from robolearn.deploy.arms.base import Arm, stamp_of
from robolearn.deploy.arms.equilibrium_pose import pose_of
from robolearn.deploy.arms.watch import Watch
from robolearn.deploy.robot import Robot
from robolearn.deploy.setpoint import Setpoint
from robolearn.deploy.transport.base import Received, Transport, TransportError
from robolearn.deploy.turning import rotvec_between
from robolearn.errors import UserError

_TYPES = {
    "twist": ("delta_twist_cmds", "geometry_msgs/msg/TwistStamped", 1),
    "pose": ("pose_target_cmds", "geometry_msgs/msg/PoseStamped", 2),
}
_HALTS = {2: "singularity", 5: "collision", 6: "joint bound"}


class ServoArm(Arm):
    """A MoveIt Servo node.

    Twists are those of the planned motion, corrected for how far the measured tool is from it, since twists alone add up their errors.
    Servo has to take them in m/s and rad/s (``command_in_type: speed_units``), and its tool frame has to be the chain's. It stops by
    itself when it hears nothing for ``incoming_command_timeout``.

    Args:
        node: its name.
        command: ``twist`` or ``pose``.
        gain: [1/s] at which a twist corrects the tool.
        largest: correction [m/s] and, likewise, [rad/s].
        timeout: [s] for its services in the beginning.
        watch: listens to what the driver says of itself.

    Raises:
        UserError: another command.
    """

    def __init__(
        self,
        node: str = "/servo_node",
        *,
        command: Literal["twist", "pose"] = "twist",
        gain: float = 2.0,
        largest: float = 0.1,
        timeout: float = 3.0,
        watch: Watch | None = None,
    ) -> None:
        super().__init__(watch)
        if command not in _TYPES:
            raise UserError(f"Servo takes a command of {' or '.join(_TYPES)}, got {command!r}")
        self._node, self._command, self._gain, self._largest, self._timeout = node, command, gain, largest, timeout
        self._measured: np.ndarray[Any, np.dtype[np.float64]] | None = None
        self._code, self._said = 0, ""

    def topic(self) -> tuple[str, str]:
        """Where commands are sent."""
        name, type, _ = _TYPES[self._command]
        return f"{self._node}/{name}", type

    def open(self, transport: Transport, robot: Robot) -> None:
        """Announce the topic, tell Servo what will come, and let it go on; older ones, which know no kinds of commands, are started.

        Raises:
            UserError: Servo does not take this kind of command, or serves nothing.
        """
        super().open(transport, robot)
        transport.subscribe(robot.joint_states, "sensor_msgs/msg/JointState", self._hear_joints)
        transport.subscribe(f"{self._node}/status", "moveit_msgs/msg/ServoStatus", self._hear_status)
        new = transport.messages.new
        kind = new("moveit_msgs/srv/ServoCommandType_Request", command_type=_TYPES[self._command][2])
        try:
            taken = transport.client(f"{self._node}/switch_command_type", "moveit_msgs/srv/ServoCommandType").call(kind, self._timeout)
            if not taken.success:
                raise UserError(f"{self._node} does not take commands of kind {self._command}")
            go_on = new("std_srvs/srv/SetBool_Request", data=False)
            transport.client(f"{self._node}/pause_servo", "std_srvs/srv/SetBool").call(go_on, self._timeout)
        except TransportError as error:
            self._start(error)

    def _start(self, error: TransportError) -> None:
        """Servo of Humble: twists alone, after a trigger."""
        if self._command != "twist":
            raise UserError(
                f"{self._node} does not answer switch_command_type ({error}); Servo of ROS Humble takes twists alone"
            ) from error
        request = self._transport.messages.new("std_srvs/srv/Trigger_Request")
        self._transport.client(f"{self._node}/start_servo", "std_srvs/srv/Trigger").call(request, self._timeout)

    def _hear_joints(self, heard: Received) -> None:
        places = {name: place for place, name in enumerate(heard.message.name)}
        if all(name in places and places[name] < len(heard.message.position) for name in self._robot.joints):
            measured = np.array([heard.message.position[places[name]] for name in self._robot.joints])
            self._measured = measured if np.isfinite(measured).all() else self._measured

    def _hear_status(self, heard: Received) -> None:
        self._code, self._said = int(heard.message.code), str(heard.message.message)

    def message(self, setpoint: Setpoint) -> Any:
        """The twist, or the pose, of now."""
        header = {"stamp": stamp_of(self._transport.now()), "frame_id": self._robot.base_frame}
        new, type = self._transport.messages.new, self.topic()[1]
        if self._command == "pose":
            return new(type, header=header, pose=pose_of(setpoint))
        vx, vy, vz, wx, wy, wz = self._corrected(setpoint).tolist()
        twist = {"linear": {"x": vx, "y": vy, "z": vz}, "angular": {"x": wx, "y": wy, "z": wz}}
        return new(type, header=header, twist=twist)

    def _corrected(self, setpoint: Setpoint) -> Any:
        """The tool's twist on the trajectory now, and so much more as brings it there."""
        chain = self._robot.chain
        at, turned, jacobian = chain.forward_jacobian(setpoint.positions[0])
        twist = jacobian.dot(setpoint.velocities[0])
        if self._measured is None:
            return twist
        position, rotation = chain.forward(self._measured)
        away = self._gain * np.concatenate([at - position, rotvec_between(turned, rotation)])
        return twist + np.minimum(np.maximum(away, -self._largest), self._largest)

    def stop(self) -> None:
        """Send no motion; Servo then halts the arm."""
        if self._publisher is not None and self._command == "twist":
            header = {"stamp": stamp_of(self._transport.now()), "frame_id": self._robot.base_frame}
            with contextlib.suppress(TransportError):
                self._publisher.publish(self._transport.messages.new(self.topic()[1], header=header))

    def problems(self) -> list[str]:
        """What keeps the arm from following."""
        said = super().problems()
        if self._code in _HALTS:
            said.append(f"Servo halts for a {_HALTS[self._code]}: {self._said or 'move the arm away from it'}")
        return said
