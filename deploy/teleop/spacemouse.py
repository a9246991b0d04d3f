"""A SpaceMouse as an operator's device: a cap that is pushed and turned in six directions, and buttons."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.teleop.velocity import GRIPPER, NEXT, PAUSE, VelocityDevice, missing
from robolearn.errors import UserError

BUTTONS = (GRIPPER, NEXT, "undo", "discard", "failure", PAUSE)  # of a mouse with two buttons the first two
_PACKETS = 64  # read at most so many of those that waited


class SpaceMouseDevice(VelocityDevice):
    """The cap moves the tool along and about the base frame's axes: away from you is x, left is y, up is z.

    Args:
        buttons: what each button does, the left one first: ``gripper``, ``next`` (record, then save as a success), ``fine``,
            ``pause or resume``, ``take or release``, ``stop or rearm``, or an event such as ``undo``.
        options: of :class:`VelocityDevice`.
    """

    def __init__(self, buttons: Sequence[str] = BUTTONS, **options: Any) -> None:
        super().__init__(**{"deadband": 0.1, "expo": 2.0, **options})
        self._cap = Cap(tuple(buttons))
        self._mouse: Any = None

    def open(self) -> None:
        """Find the mouse.

        Raises:
            UserError: no pyspacemouse, no hidapi, no mouse, or no right to read it.
        """
        install = "pip install 'robolearn[teleop]', apt-get install libhidapi-hidraw0"
        try:
            import pyspacemouse
        except Exception as error:  # its binding to hidapi raises whatever it likes
            raise UserError(missing("spacemouse", "pyspacemouse and hidapi", error, f"{install}, or give device=browser")) from error
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it says which it found; stdout is a machine's
                self._mouse = pyspacemouse.open(axis_convention=pyspacemouse.AxisConvention.ROS)
        except Exception as error:
            mend = 'plug it in, and let users read it: a udev rule with MODE="0666" for hidraw of vendor 256f or 046d; or device=browser'
            raise UserError(missing("spacemouse", "a SpaceMouse", error, mend)) from error

    def read(self, now_ns: int) -> tuple[NDArray[np.float64], list[str], int]:
        """See :class:`VelocityDevice`."""
        if self._mouse is None:
            return np.zeros(6), [], 0
        try:
            state = self._mouse.read()
            for _ in range(_PACKETS):
                before, state = state.t, self._mouse.read()
                if state.t == before:
                    break
        except Exception:  # it was unplugged
            self._mouse = None
            return np.zeros(6), [], 0
        deflection = np.array([state.x, state.y, state.z, state.roll, state.pitch, state.yaw], np.float64)
        return deflection, self._cap.words(state.buttons), now_ns

    def close(self) -> None:
        """Let go of the mouse."""
        if self._mouse is not None:
            self._mouse.close()
            self._mouse = None


class Cap:
    """What a mouse's buttons say as they go down.

    Args:
        buttons: the word of each, the left one first.
    """

    def __init__(self, buttons: tuple[str, ...] = BUTTONS) -> None:
        self._buttons = buttons
        self._before: tuple[int, ...] = ()

    def words(self, pressed: Sequence[int]) -> list[str]:
        """The words of the buttons that are down and were not at the last call."""
        now = tuple(int(bool(value)) for value in pressed)
        before = self._before + (0,) * (len(now) - len(self._before))
        self._before = now
        return [word for word, was, is_down in zip(self._buttons, before, now, strict=False) if is_down and not was]
