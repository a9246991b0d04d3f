"""Asks every open page, again and again, whether it still answers: a tab that is closed, or a browser that hangs, is nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from robolearn.deploy.teleop.steering import Heartbeat

_PERIOD = 0.12  # [s] between an answer and the next question


class Pulse:
    """Heartbeats of the pages, by client; the last to have done something drives, and it is it that has to be alive.

    A page answers between two frames that it draws, so that one which shows nothing any more does not count as alive.

    Args:
        timeout: silence after which a page is dead [s].
        clock: [ns], monotonic.
    """

    def __init__(self, timeout: float, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._timeout, self._clock = timeout, clock
        self._lock = threading.Lock()
        self._beats: dict[int, Heartbeat] = {}
        self._driver: int | None = None
        self._closed = threading.Event()

    def came(self, client: int) -> None:
        """A page was opened; it counts from its first answer."""
        with self._lock:
            self._beats[client] = Heartbeat(self._timeout)

    def watch(self, client: Any) -> None:
        """Begin to ask a ``viser.ClientHandle`` that came."""
        self.came(client.client_id)
        threading.Thread(target=self._ask, args=(client,), daemon=True, name=f"pulse-{client.client_id}").start()

    def heard(self, client: int, *, drives: bool = True) -> None:
        """A page said something; ``drives``: its operator did it."""
        with self._lock:
            if client in self._beats:  # it is not gone
                self._beats[client].beat(self._clock())
                self._driver = client if drives else self._driver

    def gone(self, client: int) -> None:
        """A page was closed; if it drove, nobody does until another page's operator does something."""
        with self._lock:
            self._beats.pop(client, None)

    def last(self) -> int:
        """When the driving page was last heard of, or any where none drives yet [ns, monotonic]; 0: never, or it is gone."""
        with self._lock:
            if self._driver is not None:
                return self._beats[self._driver].last if self._driver in self._beats else 0
            return max((beat.last for beat in self._beats.values()), default=0)

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()

    def _ask(self, client: Any) -> None:
        while not self._closed.wait(_PERIOD):
            with self._lock:
                if client.client_id not in self._beats:
                    return
            try:
                client.local_storage.get_item("robolearn", timeout=4 * self._timeout)
            except TimeoutError:
                continue
            except RuntimeError as error:
                if "disconnected" in str(error):
                    return  # a page whose storage is blocked answers, too: that it cannot read
            self.heard(client.client_id, drives=False)
