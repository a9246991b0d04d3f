"""A setting of the whole process that is on for as long as anyone needs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Before = TypeVar("Before")


class Counted(Generic[Before]):
    """Switched on by the first who enters :meth:`on`, put back by the last who leaves, in whatever threads they are.

    Args:
        switch: turns it on, and gives what was there.
        restore: puts that back.
    """

    def __init__(self, switch: Callable[[], Before], restore: Callable[[Before], None]) -> None:
        self._switch, self._restore = switch, restore
        self._lock, self._users = threading.Lock(), 0
        self._before: list[Before] = []

    @contextmanager
    def on(self) -> Iterator[None]:
        """Keep it on meanwhile."""
        with self._lock:
            if not self._users:
                self._before = [self._switch()]
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._restore(self._before.pop())
