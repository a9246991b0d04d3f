"""What devices that give velocities (keys, SpaceMouse, gamepad) have in common: targets, the gripper, and words on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.teleop.device import EVENTS, OperatorInput
from robolearn.deploy.teleop.steering import Integrator, Limits, Pose
from robolearn.errors import check_share
from robolearn.learning.session import Status

# Words beside the events: the gripper, fine motion, and what depends on how things stand.
GRIPPER, FINE, NEXT, PAUSE, TAKE, STOP = "gripper", "fine", "next", "pause or resume", "take or release", "stop or rearm"


class VelocityDevice:
    """Base of a device: a subclass implements :meth:`open`, :meth:`read` and :meth:`close`.

    Args:
        limits: speeds of full deflection and lead over the tool; the defaults of :class:`Limits` unless given.
        deadband: share of full deflection that counts as none.
        expo: 1: linear; 3: gentle in the middle.
        fine: share of the speed while fine motion is on.
        stream: where it is said how things stand; None: nowhere.
    """

    def __init__(
        self,
        limits: Mapping[str, float] | None = None,
        deadband: float = 0.08,
        expo: float = 1.0,
        fine: float = 0.2,
        stream: TextIO | None = sys.stderr,
    ) -> None:
        check_share(fine=fine)
        self._integrator = Integrator(Limits(**(limits or {})), deadband, expo)
        self._fine, self._is_fine, self._stream = fine, False, stream
        self._status, self._gripper = Status(), -1.0
        self._said = ""

    def open(self) -> None:
        """Connect."""
        raise NotImplementedError

    def read(self, now_ns: int) -> tuple[NDArray[np.float64], list[str], int]:
        """What the hand does.

        Returns the deflection ``(6,)`` in [-1, 1] along and about the base frame's axes, what was pressed, and when the device was heard
        of last [ns]; 0: it is gone, or its deadman is not held.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything."""

    def poll(self, now_ns: int, tool: Pose) -> OperatorInput:
        """See :class:`robolearn.deploy.teleop.device.Device`."""
        deflection, words, alive = self.read(now_ns)
        events = [event for word in words for event in self._meant(word)]
        if not alive:
            return OperatorInput(self._integrator.rest(now_ns, tool).copy(), False, tuple(events), 0)
        status = self._status
        if status.paused or status.phase == "ended" or status.actor == "policy":
            return OperatorInput(self._integrator.rest(now_ns, tool).copy(), True, tuple(events), alive)
        deflection = deflection * (self._fine if self._is_fine else 1.0)
        target = self._integrator.move(deflection, self._gripper, now_ns, tool)
        return OperatorInput(target.copy(), True, tuple(events), alive)

    def show(self, status: Status, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        """See :class:`robolearn.deploy.teleop.device.Device`; pictures are not shown."""
        if status.jumps != self._status.jumps:
            self._integrator.forget()
        if status.jumps != self._status.jumps or status.actor == "policy":
            self._gripper = status.gripper
        self._status = status
        said = sentence(status)
        if self._stream is not None and said != self._said:
            bell = "\a" if status.phase == "recording" and not self._said.startswith("recording") else ""
            print(f"{bell}{said}", file=self._stream, flush=True)
        self._said = said

    def _meant(self, word: str) -> list[str]:
        """The events of a word, which may depend on how things stand."""
        status = self._status
        if word == GRIPPER:
            self._gripper = -self._gripper
        elif word == FINE:
            self._is_fine = not self._is_fine
        depends = {
            NEXT: "record" if status.phase == "ready" else "success",
            PAUSE: "resume" if status.paused else "pause",
            TAKE: "takeover" if status.actor == "policy" else "release",
            STOP: "rearm" if status.paused.startswith("emergency") else "estop",
        }
        event = depends.get(word, word)
        return [event] if event in EVENTS else []


def sentence(status: Status) -> str:
    """How things stand, in a line."""
    saved = f"{status.episodes} of {status.wanted} episodes saved"
    if status.phase == "ended":
        return f"{status.message or 'over'}: save it as a success or failure, undo, or discard it; {saved}"
    if status.paused:
        return f"paused: {status.paused}; {saved}"
    if status.phase == "ready":
        return f"ready{f' ({status.message})' if status.message else ''}; {saved}"
    return "recording" + (f", the {status.actor} acts" if status.has_policy else "") + f"; {saved}"


def missing(device: str, package: str, error: Any, instead: str) -> str:
    """The message of a device whose package or hardware is not there."""
    return f"device={device} needs {package} ({' '.join(str(error).split())[:160]}); {instead}"
