"""Makes a controller of ros2_control (or ros_control) the one that has the arm."""

from __future__ import annotations

from collections.abc import Sequence

from robolearn.deploy.arms.base import stamp_of
from robolearn.deploy.transport.base import Transport, TransportError

_BEST_EFFORT = 1


def activate(
    transport: Transport, controller: str, others: Sequence[str] = (), *, manager: str = "/controller_manager", timeout: float = 5.0
) -> None:
    """Activate a controller, and deactivate those that it would share joints with; one that is active stays.

    Args:
        transport: where the controller manager is.
        controller: its name.
        others: names of those that have to let go.
        manager: node of the controller manager.
        timeout: [s].

    Raises:
        TransportError: nobody serves, or the manager refuses; the message says how to see why.
    """
    names = {"activate_controllers": [controller.strip("/")], "deactivate_controllers": [other.strip("/") for other in others]}
    type = "controller_manager_msgs/srv/SwitchController"
    request = transport.messages.new(
        f"{type}_Request", **names, strictness=_BEST_EFFORT, activate_asap=True, timeout=stamp_of(round(timeout * 1e9))
    )
    answer = transport.client(f"{manager}/switch_controller", type).call(request, timeout + 1.0)
    if not answer.ok:
        raise TransportError(f"{manager} does not activate {controller}; see `ros2 control list_controllers`")
