"""The terminal as an operator's device: keys over SSH, without any display."""

from __future__ import annotations

import os
import select
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.teleop.keys import HELP, Keys, keys_of
from robolearn.deploy.teleop.velocity import VelocityDevice
from robolearn.errors import UserError, check_positive


class TerminalDevice(VelocityDevice):
    """A key moves the tool for a moment, held down it repeats; see :data:`robolearn.deploy.teleop.keys.HELP`.

    Args:
        hold: seconds for which a key counts as held, since a terminal does not say when it is released.
        options: of :class:`VelocityDevice`.
    """

    def __init__(self, hold: float = 0.15, **options: Any) -> None:
        super().__init__(**options)
        check_positive(hold=hold)
        self._hold = hold
        self._before: Any = None
        self._ended = False

    def open(self) -> None:
        """Take the terminal's keys as they are pressed.

        Raises:
            UserError: standard input is no terminal.
        """
        if not sys.stdin.isatty():
            raise UserError("device=terminal reads keys from the terminal, and standard input is none; start it in one, or device=browser")
        import termios
        import tty

        self._keys = Keys(self._hold)
        self._descriptor = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        if self._stream is not None:
            print(HELP, file=self._stream, flush=True)

    def read(self, now_ns: int) -> tuple[NDArray[np.float64], list[str], int]:
        """See :class:`VelocityDevice`."""
        while not self._ended and select.select([self._descriptor], [], [], 0)[0]:
            typed = os.read(self._descriptor, 1024)
            self._ended = not typed  # the terminal was closed
            for key in keys_of(typed):
                self._keys.press(key, now_ns)
        return self._keys.deflection(now_ns), self._keys.words(), 0 if self._ended else now_ns

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._before is not None:
            import termios

            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
            self._before = None
