"""Who runs callbacks: a thread, or the call that causes them."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from robolearn.deploy.transport.base import TransportError


class Worker:
    """A thread that does one thing after another."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="in-process transport", daemon=True)
        self._thread.start()

    def do(self, call: Callable[[], Any]) -> None:
        """Do this after what is to be done already."""
        self._work.put(call)

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait at most ``timeout`` [s] for what a callback sets."""
        if threading.current_thread() is self._thread and not event.is_set():
            raise TransportError("a callback cannot wait for its own transport: wait on another thread")
        return event.wait(timeout)

    def close(self) -> None:
        """Do no more."""
        self._work.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while (call := self._work.get()) is not None:
            call()


class Inline:
    """Does things within the call that asks for them, in order: what a callback asks for comes after it."""

    def __init__(self) -> None:
        self._work: deque[Callable[[], Any]] = deque()
        self._busy = False

    def do(self, call: Callable[[], Any]) -> None:
        """Do this after what is to be done already."""
        self._work.append(call)
        if self._busy:
            return
        self._busy = True
        try:
            while self._work:
                self._work.popleft()()
        finally:
            self._busy = False

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait at most ``timeout`` [s] for what a callback sets."""
        if self._busy and not event.is_set():
            raise TransportError("a callback cannot wait for its own transport: wait on another thread")
        return event.is_set()  # whatever will happen by itself has happened

    def close(self) -> None:
        """Do no more."""
        self._work.clear()
