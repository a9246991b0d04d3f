"""Which controller has the arm: ros2_control's controller manager, as far as switching goes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from robolearn.deploy.sim_robot.controllers import Controller
from robolearn.deploy.transport.base import Message, Transport
from robolearn.errors import UserError, nearest

SWITCH = "controller_manager_msgs/srv/SwitchController"
_STRICT = 2


class ControllerManager:
    """Serves ``/controller_manager/switch_controller``. All controllers are for the same joints: one is active, or none.

    Args:
        transport: where.
        controllers: all there are.
        active: name of the one that begins.

    Raises:
        UserError: no controller has that name.
    """

    def __init__(self, transport: Transport, controllers: Sequence[Controller], active: str) -> None:
        self._new = transport.messages.new
        self._controllers = {controller.name.strip("/"): controller for controller in controllers}
        if active.strip("/") not in self._controllers:
            raise UserError(f"no controller {active!r}; there are {', '.join(self._controllers)}{nearest(active, self._controllers)}")
        self._lock = threading.Lock()
        self._wanted: str | None = active.strip("/")
        transport.serve("/controller_manager/switch_controller", SWITCH, self._serve)

    @property
    def active(self) -> Controller | None:
        """The one that has the arm, from the loop's next turn on."""
        with self._lock:
            return None if self._wanted is None else self._controllers[self._wanted]

    def switch(self, activate: Sequence[str], deactivate: Sequence[str], strict: bool) -> str:
        """Change who has the arm, as a whole or not at all; words on why not, or nothing.

        Without ``strict``, names that nobody has and switches that change nothing are passed over.
        """
        on, off = [name.strip("/") for name in activate], [name.strip("/") for name in deactivate]
        unknown = [name for name in on + off if name not in self._controllers]
        if unknown and strict:
            return f"no controller {unknown[0]!r}; there are {', '.join(self._controllers)}"
        with self._lock:
            if strict and (self._wanted in on or any(name != self._wanted for name in off)):
                return f"{self._wanted} is active, nothing else is"
            left = {self._wanted} - {None} - set(off) | {name for name in on if name in self._controllers}
            if len(left) > 1:
                return f"{', '.join(sorted(str(name) for name in left))} are for the same joints: deactivate all but one"
            if on and not left:
                return f"no controller {on[0]!r}; there are {', '.join(self._controllers)}"
            self._wanted = next(iter(left), None)
        return ""

    def _serve(self, request: Message) -> Message:
        on = [*getattr(request, "activate_controllers", ()), *getattr(request, "start_controllers", ())]
        off = [*getattr(request, "deactivate_controllers", ()), *getattr(request, "stop_controllers", ())]
        return self._new(f"{SWITCH}_Response", ok=not self.switch(on, off, request.strictness == _STRICT))
