"""What drivers say of themselves that keeps an arm from following."""

from __future__ import annotations

from abc import ABC, abstractmethod

from robolearn.deploy.transport.base import LATCHED, Received, Transport


class Watch(ABC):
    """Listens to a driver's topics."""

    @abstractmethod
    def open(self, transport: Transport) -> None:
        """Begin to listen."""

    @abstractmethod
    def problems(self) -> list[str]:
        """What is wrong now, in words; nothing of what was never heard of, as drivers differ in what they tell."""


class UrWatch(Watch):
    """A UR driver's program, safety mode and speed.

    A trajectory with stamps is of the clock's time, not of the slowed-down robot's: the pendant's slider has to be at 100 %.

    Args:
        program: topic of whether the robot's program runs.
        safety: topic of its safety mode.
        speed: topic of the share of its speed that it runs at, 1 or 100 for all of it.
    """

    def __init__(
        self,
        program: str = "/io_and_status_controller/robot_program_running",
        safety: str = "/io_and_status_controller/safety_mode",
        speed: str = "/speed_scaling_state_broadcaster/speed_scaling",
    ) -> None:
        self._topics = program, safety, speed
        self._running: bool | None = None
        self._safety = self._normal = 1
        self._speed = 1.0

    def open(self, transport: Transport) -> None:
        """Begin to listen."""
        program, safety, speed = self._topics
        transport.subscribe(program, "std_msgs/msg/Bool", self._hear_program, LATCHED)
        transport.subscribe(safety, "ur_dashboard_msgs/msg/SafetyMode", self._hear_safety, LATCHED)
        transport.subscribe(speed, "std_msgs/msg/Float64", self._hear_speed)

    def _hear_program(self, heard: Received) -> None:
        self._running = bool(heard.message.data)

    def _hear_safety(self, heard: Received) -> None:
        self._safety = int(heard.message.mode)

    def _hear_speed(self, heard: Received) -> None:
        value = float(heard.message.data)
        self._speed = value / 100.0 if value > 1.5 else value

    def problems(self) -> list[str]:
        """What is wrong now."""
        said = []
        if self._running is False:
            said.append("the robot's program does not run: play External Control on the pendant, or resend_robot_program")
        if self._safety != self._normal:
            said.append(f"the robot's safety mode is {_SAFETY.get(self._safety, self._safety)}, not normal")
        if self._speed < 0.99:
            said.append(f"the robot runs at {100 * self._speed:.0f} % of its speed: put the pendant's slider to 100 %")
        return said


_SAFETY = {
    1: "normal",
    2: "reduced",
    3: "protective stop",
    4: "recovery",
    5: "safeguard stop",
    6: "system emergency stop",
    7: "robot emergency stop",
    8: "violation",
    9: "fault",
    10: "validate joint id",
    11: "undefined",
    12: "automatic mode safeguard stop",
    13: "system three position enabling stop",
}


class BoolWatch(Watch):
    """A topic of ``std_msgs/msg/Bool`` that is to be true.

    Args:
        topic: where it is heard.
        words: what is wrong while it is false.
    """

    def __init__(self, topic: str, words: str) -> None:
        self._topic, self._words, self._sound = topic, words, True

    def open(self, transport: Transport) -> None:
        """Begin to listen."""
        transport.subscribe(self._topic, "std_msgs/msg/Bool", self._hear, LATCHED)

    def _hear(self, heard: Received) -> None:
        self._sound = bool(heard.message.data)

    def problems(self) -> list[str]:
        """What is wrong now."""
        return [] if self._sound else [self._words]
