"""Ctrl-C that waits for a good moment: the first press asks a learner to stop after its iteration, the second stops at once."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """While open, the first SIGINT or SIGTERM only sets ``requested``; a second one raises ``KeyboardInterrupt``.

    Args:
        what: what will be finished first, for the line that tells the user.
    """

    def __init__(self, what: str = "this iteration") -> None:
        self.what, self.requested = what, False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():  # signals can be handled nowhere else
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(f"\nstopping after {self.what}; once more stops at once", file=sys.stderr, flush=True)
