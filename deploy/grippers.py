"""Opens and closes a gripper: a command goes out where what is wanted changes, and nobody waits for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from robolearn.deploy.transport.base import ActionClient, Goal, Publisher, Transport
from robolearn.deploy.transport.reasons import Reasons
from robolearn.errors import check_positive


class Gripper(ABC):
    """One gripper. What was asked last is sent again until somebody is there to take it."""

    def __init__(self) -> None:
        self._sent: bool | None = None
        self._transport: Transport | None = None

    def open(self, transport: Transport) -> None:
        """Announce what commands are sent on."""
        self._transport = transport
        self.announce(transport)

    @abstractmethod
    def announce(self, transport: Transport) -> None:
        """Open the topic, or the actions."""

    @abstractmethod
    def move(self, closed: bool) -> bool:
        """Send a command, without waiting; whether somebody was there to take it."""

    def command(self, closed: bool) -> None:
        """Be closed, or open; called at every tick, sends where that changes."""
        if closed != self._sent and self.move(closed):
            self._sent = closed

    def forget(self) -> None:
        """Send the next command, whatever it is: somebody else may have moved the gripper."""
        self._sent = None

    @abstractmethod
    def problems(self) -> list[str]:
        """Why commands do not arrive, in words."""

    def close(self) -> None:
        """Leave the gripper as it is: what it holds would fall."""
        self._transport = None


class ActionGripper(Gripper):
    """A gripper that takes goals; a goal under way is cancelled by the next.

    Args:
        closing: action that closes it, and its type.
        opening: action that opens it, and its type; often the same.
    """

    def __init__(self, closing: tuple[str, str], opening: tuple[str, str]) -> None:
        super().__init__()
        self._closing, self._opening = closing, opening
        self._clients: dict[tuple[str, str], ActionClient] = {}
        self._goal: Goal | None = None

    @abstractmethod
    def goal(self, closed: bool) -> dict[str, Any]:
        """Fields of the goal."""

    def announce(self, transport: Transport) -> None:
        """Find the actions."""
        self._clients = {action: transport.action_client(*action) for action in (self._closing, self._opening)}

    def move(self, closed: bool) -> bool:
        """Send a goal, if there is a server."""
        assert self._transport is not None, "open(transport) comes first"
        name, type = self._closing if closed else self._opening
        client = self._clients[name, type]
        if not client.ready:
            return False
        if self._goal is not None:
            self._goal.cancel()
        self._goal = client.send(self._transport.messages.new(f"{type}_Goal", **self.goal(closed)))
        return True

    def problems(self) -> list[str]:
        """Actions that nobody serves."""
        return [f"nobody serves the action {name}" for (name, _), client in self._clients.items() if not client.ready]


class FrankaGripper(ActionGripper):
    """Franka's hand, through ``grasp`` and ``move``.

    Args:
        node: its name.
        width: when open [m].
        speed: of the fingers [m/s].
        force: of a grasp [N].
    """

    def __init__(self, node: str = "/franka_gripper", *, width: float = 0.08, speed: float = 0.1, force: float = 40.0) -> None:
        check_positive(width=width, speed=speed, force=force)
        super().__init__((f"{node}/grasp", "franka_msgs/action/Grasp"), (f"{node}/move", "franka_msgs/action/Move"))
        self._width, self._speed, self._force = width, speed, force

    def goal(self, closed: bool) -> dict[str, Any]:
        """Grasp whatever is there, however wide; or move open."""
        if not closed:
            return {"width": self._width, "speed": self._speed}
        return {"width": 0.0, "epsilon": {"inner": self._width, "outer": self._width}, "speed": self._speed, "force": self._force}


class GripperCommand(ActionGripper):
    """``control_msgs/action/GripperCommand``: drivers of Humble and Jazzy, MoveIt, and ROS 1.

    Args:
        action: its name.
        opened: position when open, in the driver's unit.
        closed: position when closed.
        effort: at most, in the driver's unit; 0 leaves it to the driver.
    """

    def __init__(
        self, action: str = "/gripper_controller/gripper_cmd", *, opened: float = 0.04, closed: float = 0.0, effort: float = 0.0
    ) -> None:
        both = (action, "control_msgs/action/GripperCommand")
        super().__init__(both, both)
        self._positions, self._effort = (opened, closed), effort

    def goal(self, closed: bool) -> dict[str, Any]:
        """The position."""
        return {"command": {"position": self._positions[closed], "max_effort": self._effort}}


class ParallelGripperCommand(ActionGripper):
    """``control_msgs/action/ParallelGripperCommand``: newer drivers, such as Robotiq's.

    Args:
        action: its name.
        joint: name of the finger's joint.
        opened: its position when open.
        closed: its position when closed.
        effort: at most; 0 leaves it to the driver.
    """

    def __init__(
        self,
        action: str = "/robotiq_gripper_controller/gripper_cmd",
        *,
        joint: str = "robotiq_85_left_knuckle_joint",
        opened: float = 0.0,
        closed: float = 0.8,
        effort: float = 0.0,
    ) -> None:
        both = (action, "control_msgs/action/ParallelGripperCommand")
        super().__init__(both, both)
        self._joint, self._positions, self._effort = joint, (opened, closed), effort

    def goal(self, closed: bool) -> dict[str, Any]:
        """The joint's position."""
        effort = [self._effort] if self._effort else []
        return {"command": {"name": [self._joint], "position": [self._positions[closed]], "effort": effort}}


class TopicGripper(Gripper):
    """A gripper that takes positions from a topic of ``std_msgs/msg/Float64`` or ``std_msgs/msg/Float64MultiArray``.

    Args:
        topic: where.
        type: of the message.
        opened: position when open, in the driver's unit.
        closed: position when closed.
    """

    def __init__(
        self,
        topic: str = "/gripper_position_controller/commands",
        *,
        type: str = "std_msgs/msg/Float64MultiArray",
        opened: float = 0.04,
        closed: float = 0.0,
    ) -> None:
        super().__init__()
        self._topic, self._type, self._positions = topic, type, (opened, closed)
        self._publisher: Publisher | None = None

    def announce(self, transport: Transport) -> None:
        """Announce the topic."""
        self._publisher, self._reasons = transport.publisher(self._topic, self._type), Reasons(transport)

    def move(self, closed: bool) -> bool:
        """Send a position, if anybody listens."""
        assert self._transport is not None and self._publisher is not None, "open(transport) comes first"
        if self._publisher.readers == 0:
            return False
        position = self._positions[closed]
        data = [position] if self._type.endswith("MultiArray") else position
        self._publisher.publish(self._transport.messages.new(self._type, data=data))
        return True

    def problems(self) -> list[str]:
        """Whether anybody listens."""
        if self._publisher is None or self._publisher.readers:
            return []
        why = self._reasons.why(self._topic)
        return [f"nobody listens to {self._topic}" + (f": {why}" if why else "")]
