"""The robot's arm and gripper as the command loop sees them: what goes out is also recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from robolearn.deploy.robot import Robot
from robolearn.deploy.safety import Problem
from robolearn.deploy.setpoint import Setpoint
from robolearn.deploy.transport.base import Transport

Sent = Callable[[str, str, bytes, int], None]


class RobotDriver:
    """One arm and its gripper.

    Args:
        robot: which.
        transport: where its drivers are.
        sent: told of every arm command: topic, type, bytes, stamp [ns].
    """

    def __init__(self, robot: Robot, transport: Transport, sent: Sent | None = None) -> None:
        self._arm, self._gripper, self._sent = robot.arm, robot.gripper, sent
        self._topic, self._type = self._arm.topic()
        self._arm.open(transport, robot)
        if self._gripper is not None:
            self._gripper.open(transport)

    def send(self, setpoint: Setpoint, behind: int = 0) -> None:
        """Send a tick's motion, stamped on the robot's clock, which is ``behind`` ours [ns]."""
        raw = self._arm.send(replace(setpoint, stamp=setpoint.stamp - behind) if behind else setpoint)
        if self._sent is not None:
            self._sent(self._topic, self._type, raw, setpoint.stamp)

    def grip(self, closed: bool) -> None:
        """Open or close."""
        if self._gripper is not None:
            self._gripper.command(closed)

    def forget(self) -> None:
        """Somebody else may have moved the gripper: its next command is sent whatever it is."""
        if self._gripper is not None:
            self._gripper.forget()

    def stop(self) -> None:
        """What the driver needs to stand by itself."""
        self._arm.stop()

    def close(self) -> None:
        """Stop, and leave the topics."""
        self._arm.close()
        if self._gripper is not None:
            self._gripper.close()

    def problems(self, now: int) -> Iterable[Problem]:
        """Why commands would not be followed."""
        words = [*self._arm.problems(), *(self._gripper.problems() if self._gripper is not None else [])]
        for said in words:
            yield Problem("driver", said)
