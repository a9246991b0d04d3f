"""What an operator holds: a device says where the tool is to go, what was pressed, and whether anybody is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.learning.session import Status

EVENTS = (
    "record",  # begin an episode
    "success",  # end it, and save it as a success
    "failure",
    "discard",  # throw it away; the same start again
    "undo",  # take back its last steps
    "pause",
    "resume",
    "takeover",  # from the policy
    "release",  # to the policy
    "estop",
    "rearm",
    "reset",  # another start
    "quit",
)


@dataclass(frozen=True)
class OperatorInput:
    """What a device says when it is asked.

    Args:
        target: ``(10,)`` canonical action: absolute pose of the tool in the base frame and gripper; None asks for nothing.
        active: somebody is there: the page answers, the device is connected, its deadman (where it has one) is held. Where it
            is False, ``target`` is the tool's own pose.
        events: of :data:`EVENTS`, in the order in which they happened since the last call.
        alive: [ns] when the device last heard of the operator.
    """

    target: NDArray[np.float32] | None
    active: bool
    events: tuple[str, ...] = ()
    alive: int = 0


class Device(Protocol):
    """One operator's device; its methods are called by one thread."""

    def open(self) -> None:
        """Connect.

        Raises:
            UserError: the package or the device is not there; says how to mend that.
        """
        ...

    def poll(self, now_ns: int, tool: NDArray[np.float32]) -> OperatorInput:
        """What the operator wants at ``now_ns`` (a monotonic clock), the tool being at ``tool (10,)``; never waits."""
        ...

    def show(self, status: Status, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        """Tell the operator how things stand; ``pictures`` are the cameras', ``{name: (height, width, 3)}``. Never waits."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Scene(Protocol):
    """A world as a browser's page draws it; made by whoever knows the world.

    Attributes:
        base: where the robot's base frame stands in what is drawn: position ``(3,)`` [m], quaternion ``(4,)`` wxyz.
    """

    base: tuple[NDArray[np.float64], NDArray[np.float64]]

    def attach(self, server: Any) -> None:
        """Draw into a ``viser.ViserServer``."""
        ...

    def show(self, state: NDArray[np.float64]) -> None:
        """Bring the drawing up to a simulator's state ``(S,)``."""
        ...
