"""Ctrl-C and SIGTERM, which end a command alike with its work kept: at once, or after a learner's iteration."""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, TypeVar

SAME_WISH_S = 1.0  # a signal that comes twice so soon is one wish: to a process group, and passed on by the parent

_Stop = TypeVar("_Stop", bound="Stop")  # typing.Self is of Python 3.11


class Terminated(KeyboardInterrupt):
    """What SIGTERM raises where Ctrl-C raises ``KeyboardInterrupt``."""


class Stop:
    """While open, SIGINT raises ``KeyboardInterrupt`` and SIGTERM :class:`Terminated`, from the main thread only."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._heard = float("-inf")

    def __enter__(self: _Stop) -> _Stop:
        if threading.current_thread() is threading.main_thread():  # signals can be handled nowhere else
            self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._heard >= SAME_WISH_S:
            self._heard = now
            self._act(number)

    def _act(self, number: int) -> None:
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


class Held(Stop):
    """While open, a signal waits; when it closes, it raises as :class:`Stop` does."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: int | None = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        if self._waiting is not None and error is None:
            super()._act(self._waiting)

    def _act(self, number: int) -> None:
        self._waiting = number


class Interrupt(Stop):
    """While open, the first SIGINT or SIGTERM only sets ``requested``; a second one raises as :class:`Stop` does.

    Args:
        what: what will be finished first, for the line that tells the user.
    """

    def __init__(self, what: str = "this iteration") -> None:
        super().__init__()
        self.what = what
        self._number: int | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self._number is not None

    @property
    def signal(self) -> int:
        """The number of the signal that came, or SIGINT."""
        return signal.SIGINT if self._number is None else self._number

    def raise_if_requested(self) -> None:
        """Raise what the signal that came stands for; called when all is saved."""
        if self._number is not None:
            super()._act(self._number)

    def _act(self, number: int) -> None:
        if self.requested:
            super()._act(number)
        self._number = number
        print(f"\nstopping after {self.what}; once more stops at once", file=sys.stderr, flush=True)
