"""Keys of the terminal that a run was started in, for whoever watches the robot without another device."""

from __future__ import annotations

import os
import re
import select
import sys
import threading
from typing import Any, Protocol

KEYS = {" ": "estop", "\x1b": "estop", "b": "begin", "r": "rearm", "s": "success", "f": "failure", "d": "discard", "q": "quit"}
HELP = "space or Esc: emergency stop; b: begin; r: re-arm; s: success; f: failure; d: discard; q: quit"
_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z~]|O[A-Za-z])")
_LOOK_S = 0.1  # [s] after which it is seen that nobody listens any more


class Listener(Protocol):
    """Hears what is wanted; see :class:`robolearn.deploy.runner.stops.Stops`."""

    def note(self, event: str) -> None:
        """Take a word."""
        ...


class TerminalKeys:
    """Hears single keys while it is open, and gives the terminal back as it was.

    Args:
        stops: is told what they mean.
        descriptor: of the terminal; standard input unless given. Nothing is heard where it is no terminal, or belongs to another job.
    """

    def __init__(self, stops: Listener, descriptor: int | None = None) -> None:
        self._stops, self._descriptor = stops, descriptor
        self._before: Any = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def hears(self) -> bool:
        """Whether keys are heard."""
        return self._before is not None

    def __enter__(self) -> TerminalKeys:
        try:
            descriptor = sys.stdin.fileno() if self._descriptor is None else self._descriptor
            if not os.isatty(descriptor) or (self._descriptor is None and os.tcgetpgrp(descriptor) != os.getpgrp()):
                return self
            import termios
            import tty
        except (ImportError, OSError, ValueError, AttributeError):  # no terminal at all
            return self
        self._descriptor, self._before = descriptor, termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor)
        print(HELP, file=sys.stderr, flush=True)
        self._thread = threading.Thread(target=self._listen, name="keys", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._before is None or self._descriptor is None:
            return
        import termios

        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
        self._before = None
        if self._thread is not None:
            self._thread.join(1.0)

    def _listen(self) -> None:
        assert self._descriptor is not None
        while not self._closed.is_set():
            try:
                if not select.select([self._descriptor], [], [], _LOOK_S)[0]:
                    continue
                typed = os.read(self._descriptor, 64).decode(errors="ignore")
            except OSError:  # the terminal is gone
                return
            if not typed:
                return
            for key in _SEQUENCE.sub("", typed):  # an arrow's letters mean nothing
                if key.lower() in KEYS:
                    self._stops.note(KEYS[key.lower()])
