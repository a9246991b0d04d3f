"""The keyboard as an operator's device, where there is a display: it hears keys go down and up."""

from __future__ import annotations

import queue
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.teleop.keys import HELP, Keys
from robolearn.deploy.teleop.velocity import VelocityDevice, missing
from robolearn.errors import UserError

_NAMES = {"Key.up": "up", "Key.down": "down", "Key.left": "left", "Key.right": "right", "Key.page_up": "page_up"}
_NAMES |= {"Key.page_down": "page_down", "Key.space": "space", "Key.enter": "enter", "Key.backspace": "backspace", "Key.esc": "esc"}


class KeyboardDevice(VelocityDevice):
    """Keys held down move the tool; see :data:`robolearn.deploy.teleop.keys.HELP`. It hears them whatever window is in front.

    The arguments are those of :class:`VelocityDevice`.
    """

    def open(self) -> None:
        """Listen.

        Raises:
            UserError: no pynput, or no display.
        """
        self._queue: queue.SimpleQueue[tuple[bool, str, int]] = queue.SimpleQueue()
        self._keys = Keys()
        try:
            from pynput import keyboard

            self._listener: Any = keyboard.Listener(on_press=self._down, on_release=self._up)
            self._listener.start()
            self._listener.wait()
        except Exception as error:  # without a display its import raises whatever the system's library does
            instead = "pip install 'robolearn[teleop]' and start it on a desktop with X; over SSH give device=terminal"
            raise UserError(missing("keyboard", "pynput and a display", error, instead)) from error
        if self._stream is not None:
            print(HELP, file=self._stream, flush=True)

    def read(self, now_ns: int) -> tuple[NDArray[np.float64], list[str], int]:
        """See :class:`VelocityDevice`."""
        while not self._queue.empty():
            is_down, key, at = self._queue.get()
            if is_down:
                self._keys.press(key, at)
            else:
                self._keys.release(key)
        return self._keys.deflection(now_ns), self._keys.words(), now_ns if self._listener.running else 0

    def close(self) -> None:
        """Stop listening."""
        self._listener.stop()

    def _down(self, key: Any) -> None:
        self._queue.put((True, name_of(key), time.monotonic_ns()))

    def _up(self, key: Any) -> None:
        self._queue.put((False, name_of(key), time.monotonic_ns()))


def name_of(key: Any) -> str:
    """Our name of one of pynput's keys."""
    character = getattr(key, "char", None)
    return str(character).lower() if character else _NAMES.get(str(key), str(key))
