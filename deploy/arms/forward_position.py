"""Motion as positions, one set a tick, for controllers that hand on whatever they are sent and hold it for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robolearn.deploy.arms.base import Arm
from robolearn.deploy.arms.controllers import activate
from robolearn.deploy.arms.watch import Watch
from robolearn.deploy.robot import Robot
from robolearn.deploy.setpoint import Setpoint
from robolearn.deploy.transport.base import Transport


class ForwardPositionArm(Arm):
    """A controller that takes ``std_msgs/msg/Float64MultiArray``, in the robot's order of joints.

    Nothing in such a driver stops the arm when the runner dies amid a motion: it stands at once where it was sent last. What can be done
    from here is done: positions are on the smooth trajectory, after missed ticks motion begins anew from the last of them, and
    :meth:`stop` plays the rest. Prefer a trajectory controller.

    Args:
        controller: its name; its topic is ``<controller>/commands``.
        switch: whether to activate the controller in the beginning.
        instead_of: controllers that have the same joints, deactivated with that.
        watch: listens to what the driver says of itself.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        controller: str = "/forward_position_controller",
        *,
        switch: bool = False,
        instead_of: Sequence[str] = (),
        watch: Watch | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(watch)
        self._controller, self._switch, self._others, self._sleep = controller, switch, tuple(instead_of), sleep
        self._last: Setpoint | None = None

    def topic(self) -> tuple[str, str]:
        """Where positions are sent."""
        return f"{self._controller}/commands", "std_msgs/msg/Float64MultiArray"

    @property
    def stands(self) -> bool:
        """It does."""
        return True

    def open(self, transport: Transport, robot: Robot) -> None:
        """Announce the topic, and activate the controller if asked.

        Raises:
            TransportError: the controller manager does not answer, or refuses.
        """
        super().open(transport, robot)
        if self._switch:
            activate(transport, self._controller, self._others)

    def send(self, setpoint: Setpoint) -> bytes:
        """Send where the arm is to be now."""
        self._last = setpoint
        return super().send(setpoint)

    def message(self, setpoint: Setpoint) -> Any:
        """The positions of now."""
        return self._transport.messages.new("std_msgs/msg/Float64MultiArray", data=setpoint.positions[0])

    def stop(self) -> None:
        """Play what is left of the last trajectory, which ends at rest; takes as long as that, some tenths of a second."""
        if self._last is None or self._publisher is None:
            return
        last, self._last, period = self._last, None, 1.0 / self._robot.rate_hz
        for tick in range(1, round(float(last.times[-1]) / period) + 1):
            self._sleep(period)
            positions = last.at(tick * period)
            self._publisher.publish(self._transport.messages.new("std_msgs/msg/Float64MultiArray", data=np.ascontiguousarray(positions)))
