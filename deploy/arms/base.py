"""How a tick's motion reaches a driver: one class for each kind of controller, all of them alike to the runner."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

from robolearn.deploy.arms.watch import Watch
from robolearn.deploy.robot import Robot
from robolearn.deploy.setpoint import Setpoint
from robolearn.deploy.transport.base import WRITE, Publisher, QoS, Transport
from robolearn.deploy.transport.reasons import Reasons


class Arm(ABC):
    """Sends set points to one controller of an arm.

    Args:
        watch: listens to what the driver says of itself.
    """

    def __init__(self, watch: Watch | None = None) -> None:
        self._watch = watch
        self._publisher: Publisher | None = None

    @abstractmethod
    def topic(self) -> tuple[str, str]:
        """Where set points are sent, and as what type."""

    @abstractmethod
    def message(self, setpoint: Setpoint) -> Any:
        """A set point as the controller takes it."""

    def offered(self, robot: Robot) -> QoS:
        """Quality of service of its topic."""
        return WRITE

    @property
    def stands(self) -> bool:
        """Whether the arm stands at once where it was sent last when ticks are missed, nothing being promised ahead."""
        return False

    @property
    def stamped(self) -> bool:
        """Whether commands begin at their stamp, so that the robot's clock has to agree with ours."""
        return False

    @property
    def settle(self) -> float:
        """How long the controller is given to come to where the joints are before motion begins there [s]."""
        return 0.0

    def within(self, robot: Robot) -> float:
        """For how long after its stamp a set point may be sent [s]."""
        return math.inf

    def open(self, transport: Transport, robot: Robot) -> None:
        """Announce the topic; what has to be called before the first command is called here, and may take seconds.

        Raises:
            UserError: the driver refuses, or the robot does not fit.
        """
        self._transport, self._robot = transport, robot
        self._publisher, self._reasons = transport.publisher(*self.topic(), self.offered(robot)), Reasons(transport)
        if self._watch is not None:
            self._watch.open(transport)

    def send(self, setpoint: Setpoint) -> bytes:
        """Send a tick's motion; never waits. The bytes that went out."""
        assert self._publisher is not None, "open(transport, robot) comes first"
        return self._publisher.publish(self.message(setpoint))

    def stop(self) -> None:
        """Leave the arm standing; nothing, where the controller comes to rest by itself when nobody sends any more."""
        return

    def close(self) -> None:
        """Stop; the transport's owner closes that."""
        if self._publisher is not None:
            self.stop()
        self._publisher = None

    def problems(self) -> list[str]:
        """What keeps the arm from following, in words."""
        said = [] if self._watch is None else self._watch.problems()
        if self._publisher is not None and self._publisher.readers == 0:
            said.append(f"nobody listens to {self.topic()[0]}: {self._reasons.why(self.topic()[0]) or 'is the controller active?'}")
        if self._publisher is not None and self._publisher.rivals:
            said.append(f"somebody else publishes {self.topic()[0]}: another runner commands this arm; end it first")
        return said


def stamp_of(nanoseconds: int) -> dict[str, int]:
    """``builtin_interfaces/Time`` or ``Duration`` of a time [ns]."""
    return {"sec": nanoseconds // 1_000_000_000, "nanosec": nanoseconds % 1_000_000_000}
