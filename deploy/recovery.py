"""Makes a robot that stopped itself ready to move again; a person decides when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from robolearn.deploy.transport.base import Transport, TransportError


class Recovery(ABC):
    """What a driver needs after a reflex or a protective stop. May take seconds: never called from the command loop's thread."""

    @abstractmethod
    def recover(self, transport: Transport) -> None:
        """Bring the robot out of its fault.

        Raises:
            TransportError: nobody answers, or the robot stays in its fault.
        """


class FrankaRecovery(Recovery):
    """Franka's error recovery.

    Args:
        action: its name; franka_ros has ``/franka_control/error_recovery``.
        timeout: [s].
    """

    def __init__(self, action: str = "/action_server/error_recovery", timeout: float = 5.0) -> None:
        self._action, self._timeout = action, timeout

    def recover(self, transport: Transport) -> None:
        """Send the goal and wait for its end."""
        type = "franka_msgs/action/ErrorRecovery"
        client = transport.action_client(self._action, type)
        goal = client.send(transport.messages.new(f"{type}_Goal"))
        if not goal.accepted(self._timeout):
            raise TransportError(f"{self._action} refuses to recover: is the robot unlocked, the user stop released?")
        status, _ = goal.result(self._timeout)
        if status != "succeeded":
            raise TransportError(f"{self._action} ended as {status}: see the robot's log")


class TriggerRecovery(Recovery):
    """Services without arguments (``std_srvs/srv/Trigger``), one after the other: those of UR's dashboard and driver unless given.

    Args:
        services: their names.
        timeout: of each [s].
    """

    def __init__(
        self,
        services: Sequence[str] = (
            "/dashboard_client/close_safety_popup",
            "/dashboard_client/unlock_protective_stop",
            "/io_and_status_controller/resend_robot_program",
        ),
        timeout: float = 5.0,
    ) -> None:
        self._services, self._timeout = tuple(services), timeout

    def recover(self, transport: Transport) -> None:
        """Call them; the last decides."""
        answer, type = None, "std_srvs/srv/Trigger"
        for service in self._services:
            answer = transport.client(service, type).call(transport.messages.new(f"{type}_Request"), self._timeout)
        if answer is not None and not answer.success:
            raise TransportError(f"{self._services[-1]} says: {answer.message or 'no'}")
