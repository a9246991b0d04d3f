"""What goes wrong on a transport's threads, where nobody could catch it: noted, counted, and told by diagnostics."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from robolearn.deploy.transport.base import TransportError

log = logging.getLogger(__name__)
_MOST = 1000  # kinds of trouble that are remembered


class Troubles:
    """A list of troubles, each with how often it happened."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def note(self, trouble: str) -> None:
        """Remember what went wrong, counting repetitions."""
        if trouble in self._counts or len(self._counts) < _MOST:
            self._counts[trouble] = self._counts.get(trouble, 0) + 1

    def told(self) -> list[str]:
        """What went wrong so far, in words."""
        return [f"{trouble} ({count} times)" if count > 1 else trouble for trouble, count in list(self._counts.items())]


class Turns:
    """Lets callbacks run one at a time, whichever threads the middleware brings them on; an exception ends there, noted."""

    def __init__(self, troubles: Troubles) -> None:
        self._troubles = troubles
        self._lock = threading.Lock()
        self._running: int | None = None

    def run(self, what: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call back when it is this one's turn; gives what the callback gave, None when it raised."""
        with self._lock:
            self._running = threading.get_ident()
            try:
                return call(*arguments)
            except Exception as error:
                self._troubles.note(f"{what} raised {type(error).__name__}: {error}")
                log.exception("%s raised", what)
                return None
            finally:
                self._running = None

    def check_may_wait(self) -> None:
        """Raise unless the calling thread may wait for what a callback brings.

        Raises:
            TransportError: it is in a callback itself, so that it would wait for its own end.
        """
        if self._running == threading.get_ident():
            raise TransportError("a callback cannot wait for its own transport: wait on another thread")

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait at most ``timeout`` [s] for what a callback sets."""
        if not event.is_set():
            self.check_may_wait()
        return event.wait(timeout)
