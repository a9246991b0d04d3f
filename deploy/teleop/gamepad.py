"""A gamepad as an operator's device: two sticks, a cross and buttons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.teleop.velocity import FINE, GRIPPER, NEXT, PAUSE, STOP, TAKE, VelocityDevice, missing
from robolearn.errors import UserError

KEY, ABS = 1, 3  # kinds of the kernel's input events (linux/input-event-codes.h)
STICK_X, STICK_Y, RIGHT_X, RIGHT_Y, CROSS_X, CROSS_Y = 0, 1, 3, 4, 16, 17
SOUTH, EAST, NORTH, WEST, LEFT, RIGHT, SELECT, START, MODE = 304, 305, 307, 308, 310, 311, 314, 315, 316
AXES: dict[int, tuple[int, float]] = {  # the kernel's sticks point right and down; axis of the base frame and sign
    STICK_Y: (0, -1.0),
    STICK_X: (1, -1.0),
    RIGHT_Y: (2, -1.0),
    CROSS_X: (3, 1.0),
    CROSS_Y: (4, -1.0),
    RIGHT_X: (5, -1.0),
}
WORDS = {SOUTH: GRIPPER, START: NEXT, NORTH: "failure", EAST: "discard", WEST: "undo", SELECT: PAUSE, LEFT: TAKE, MODE: STOP}


class GamepadDevice(VelocityDevice):
    """Left stick: x and y; right stick: up, down and yaw; cross: pitch and roll; A: gripper; start: record, then save; B: discard.

    Args:
        path: of the device, such as ``/dev/input/event5``; the first gamepad unless given.
        deadman: nothing moves unless the right shoulder button is held; without it that button is fine motion.
        options: of :class:`VelocityDevice`.
    """

    def __init__(self, path: str | None = None, deadman: bool = False, **options: Any) -> None:
        super().__init__(**{"deadband": 0.12, "expo": 2.0, **options})
        self._path, self._deadman = path, deadman
        self._device: Any = None
        self._pad = Pad({})

    def open(self) -> None:
        """Find the pad.

        Raises:
            UserError: no evdev, no gamepad, or no right to read it.
        """
        try:
            import evdev
        except ImportError as error:
            raise UserError(
                missing("gamepad", "evdev", error, "pip install 'robolearn[teleop]' on Linux, or give device=browser")
            ) from error
        paths = [self._path] if self._path else evdev.list_devices()
        for path in paths:
            try:
                device = evdev.InputDevice(path)
            except OSError as error:
                raise UserError(missing("gamepad", f"{path}", error, "add yourself to the group `input`, and log in again")) from error
            known: dict[int, Any] = device.capabilities()
            if SOUTH in known.get(KEY, []) and ABS in known:
                ranges = {code: (info.min, info.max) for code, info in known[ABS]}
                self._device, self._pad = device, Pad(ranges)
                return
            device.close()
        looked = ", ".join(map(str, paths)) or "no input device can be read"
        mend = "plug it in, add yourself to the group `input`, or give devices.gamepad.path=, or device=browser"
        raise UserError(missing("gamepad", "a gamepad", looked, mend))

    def read(self, now_ns: int) -> tuple[NDArray[np.float64], list[str], int]:
        """See :class:`VelocityDevice`."""
        if self._device is None:
            return np.zeros(6), [], 0
        try:
            for event in self._device.read():
                self._pad.hear(event.type, event.code, event.value)
        except BlockingIOError:
            pass  # nothing new
        except OSError:  # it was unplugged
            self._device = None
            return np.zeros(6), [], 0
        words = [word for word in self._pad.words() if not (self._deadman and word == FINE)]
        held = not self._deadman or self._pad.is_down(RIGHT)
        return self._pad.deflection(), words, now_ns if held else 0

    def close(self) -> None:
        """Let go of the pad."""
        if self._device is not None:
            self._device.close()
            self._device = None


class Pad:
    """Where the sticks are, and what was pressed since the last call.

    Args:
        ranges: ``{axis code: (lowest, highest)}`` of the raw values.
    """

    def __init__(self, ranges: Mapping[int, tuple[int, int]]) -> None:
        self._ranges = dict(ranges)
        self._deflection = np.zeros(6)
        self._down: set[int] = set()
        self._words: list[str] = []

    def hear(self, kind: int, code: int, value: int) -> None:
        """One of the kernel's events."""
        if kind == ABS and code in AXES:
            low, high = self._ranges.get(code, (-1, 1))
            axis, sign = AXES[code]
            self._deflection[axis] = sign * (2.0 * (value - low) / max(high - low, 1) - 1.0)
        elif kind == KEY and value == 1:
            self._down.add(code)
            self._words += [WORDS[code]] if code in WORDS else [FINE] if code == RIGHT else []
        elif kind == KEY and value == 0:
            self._down.discard(code)

    def is_down(self, code: int) -> bool:
        """Whether a button is held."""
        return code in self._down

    def deflection(self) -> NDArray[np.float64]:
        """``(6,)`` in [-1, 1]."""
        return self._deflection.copy()

    def words(self) -> list[str]:
        """What was pressed since the last call."""
        words, self._words = self._words, []
        return words
