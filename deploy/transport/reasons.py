"""Why a topic has no counterpart, for who asks at every tick."""

from __future__ import annotations

import math
import threading
import time

from robolearn.deploy.transport.base import Transport
from robolearn.deploy.transport.matching import alone


class Reasons:
    """What a transport's diagnostics say of single topics; asked rarely and on a thread, since a backend may ask the network.

    Args:
        transport: whose.
        every_s: how often it is asked at most [s].
    """

    def __init__(self, transport: Transport, every_s: float = 1.0) -> None:
        self._transport, self._every = transport, every_s
        self._lines: list[str] = []
        self._asked = -math.inf
        self._asking = threading.Lock()  # held while the thread asks

    def why(self, topic: str) -> str:
        """What is known to be wrong with a topic, apart from that nobody is at its other end; empty where nothing is. Never waits."""
        since = time.monotonic() - self._asked
        if since > self._every and self._asking.acquire(blocking=False):
            if since > 2 * self._every:
                self._lines = []  # of a trouble that has passed
            self._asked = time.monotonic()
            threading.Thread(target=self._ask, name="diagnostics", daemon=True).start()
        known = alone(topic, "publisher"), alone(topic, "subscription")
        return "; ".join(line.removeprefix(f"{topic}: ") for line in self._lines if line.startswith(f"{topic}: ") and line not in known)

    def _ask(self) -> None:
        try:
            self._lines = self._transport.diagnostics()
        except Exception:  # the transport closes meanwhile
            self._lines = []
        finally:
            self._asking.release()
