"""Motion as short trajectories for ros2_control's (ros_control's) joint trajectory controllers: the safest of all ways to command an arm.

Each message begins at its tick, repeats what was promised for the lead, and ends at rest: a message that is late or lost changes nothing
but where new motion begins, and an arm that hears nothing any more comes to rest within its limits. Points carry velocities and
accelerations, so that the controller draws exactly the trajectory that the limits were checked on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robolearn.deploy.arms.base import Arm, stamp_of
from robolearn.deploy.arms.controllers import activate
from robolearn.deploy.arms.watch import Watch
from robolearn.deploy.robot import Robot
from robolearn.deploy.setpoint import Setpoint
from robolearn.deploy.transport.base import WRITE, QoS, Transport
from robolearn.errors import check_positive


class JointTrajectoryArm(Arm):
    """A controller that takes ``trajectory_msgs/msg/JointTrajectory``.

    Args:
        controller: its name; its topic is ``<controller>/joint_trajectory``.
        topic: another one, such as ``/<controller>/command`` on ROS 1.
        stamped: whether messages say when they begin, which needs clocks that agree to a few milliseconds; unstamped ones begin when
            they arrive, and the motion then has their jitter.
        way: most that a message may be under way [s]; one that takes longer comes out of a stall, in which others may have been lost.
        switch: whether to activate the controller in the beginning.
        instead_of: controllers that have the same joints, deactivated with that.
        watch: listens to what the driver says of itself.
    """

    def __init__(
        self,
        controller: str = "/joint_trajectory_controller",
        *,
        topic: str = "",
        stamped: bool = True,
        way: float = 0.01,
        switch: bool = False,
        instead_of: Sequence[str] = (),
        watch: Watch | None = None,
    ) -> None:
        super().__init__(watch)
        check_positive(way=way)
        self._controller, self._topic, self._stamped = controller, topic or f"{controller}/joint_trajectory", stamped
        self._way, self._switch, self._others = way, switch, tuple(instead_of)

    def topic(self) -> tuple[str, str]:
        """Where trajectories are sent."""
        return self._topic, "trajectory_msgs/msg/JointTrajectory"

    def offered(self, robot: Robot) -> QoS:
        """A message that is not read while the arm does what it repeats is dropped: joined later, it would be a jump."""
        spare = min(robot.lead - self.within(robot), self._way)
        return replace(WRITE, lifespan=spare) if self._stamped and spare > 0 else WRITE

    @property
    def stamped(self) -> bool:
        """Whether trajectories begin at their stamp."""
        return self._stamped

    @property
    def settle(self) -> float:
        """What holds an arm pulls where friction or an obstacle does not let it: motion from there would be a jump of the controller's."""
        return 0.3

    def within(self, robot: Robot) -> float:
        """Most of the time in which the arm does what the message repeats; the rest is for its way."""
        return 0.6 * robot.lead if self._stamped and robot.lead > 0 else math.inf

    def open(self, transport: Transport, robot: Robot) -> None:
        """Announce the topic, and activate the controller if asked.

        Raises:
            TransportError: the controller manager does not answer, or refuses.
        """
        super().open(transport, robot)
        self._names = list(robot.joints)
        self._types = transport.messages.store.types  # built directly: at every tick, `new` would cost half a millisecond
        if self._switch:
            activate(transport, self._controller, self._others)

    def message(self, setpoint: Setpoint) -> Any:
        """The trajectory that begins with the tick."""
        types, none = self._types, np.zeros(0)
        point, duration = types["trajectory_msgs/msg/JointTrajectoryPoint"], types["builtin_interfaces/msg/Duration"]
        rows = zip(setpoint.times.tolist(), setpoint.positions, setpoint.velocities, setpoint.accelerations, strict=True)
        points = [
            point(at, velocity, acceleration, effort=none, time_from_start=duration(**stamp_of(round(time * 1e9))))
            for time, at, velocity, acceleration in rows
        ]
        stamp = types["builtin_interfaces/msg/Time"](**stamp_of(setpoint.stamp if self._stamped else 0))
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="")
        return types["trajectory_msgs/msg/JointTrajectory"](header=header, joint_names=self._names, points=points)
