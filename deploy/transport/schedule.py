"""Does things at given times, in order."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


class Schedule:
    """Calls that wait for their time.

    Args:
        clock: [ns].
        threaded: a thread makes the calls; otherwise :meth:`release` does.
    """

    def __init__(self, clock: Callable[[], int], threaded: bool) -> None:
        self._clock = clock
        self._waiting: list[tuple[int, int, Callable[[], Any]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="schedule", daemon=True) if threaded else None
        if self._thread is not None:
            self._thread.start()

    def at(self, due: int, call: Callable[[], Any]) -> None:
        """Call at ``due`` [ns]; now, on this thread, when that has passed and nothing waits."""
        with self._changed:
            direct = not self._waiting and due <= self._clock()
            if not direct:
                heapq.heappush(self._waiting, (due, next(self._numbers), call))
                self._changed.notify()
        if direct:
            call()

    def release(self) -> None:
        """Make the calls that are due."""
        while (call := self._next()) is not None:
            call()

    def close(self) -> None:
        """Make no more calls; the thread has ended when this returns."""
        with self._changed:
            self._open = False
            self._waiting.clear()
            self._changed.notify()
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join()

    def _next(self) -> Callable[[], Any] | None:
        with self._changed:
            if self._waiting and self._waiting[0][0] <= self._clock():
                return heapq.heappop(self._waiting)[2]
        return None

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._open:
                    return
                left = (self._waiting[0][0] - self._clock()) / 1e9 if self._waiting else None
                if left is None or left > 0:
                    self._changed.wait(left)
                    continue
            try:
                self.release()
            except Exception:
                log.exception("a scheduled call raised")
