"""Ticks at a rate, on deadlines that do not drift, and says how late each was."""

from __future__ import annotations

import time
from collections.abc import Callable

from robolearn.errors import check_positive


class Ticker:
    """Waits for the next multiple of ``1 / rate_hz`` [1/s] since the first.

    Ticks that have passed altogether are skipped and counted, never made up for in a burst.

    Args:
        rate_hz: ticks a second.
        clock: [ns], monotonic.
        sleep: waits so many seconds.
    """

    def __init__(
        self, rate_hz: float, *, clock: Callable[[], int] = time.monotonic_ns, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        check_positive(rate_hz=rate_hz)
        self.period = round(1e9 / rate_hz)  # [ns]
        self._clock, self._sleep = clock, sleep
        self._deadline = clock()
        self.ticks = self.missed = 0

    def wait(self) -> int:
        """Sleep until the next tick is due; how late it is taken [ns]."""
        self._deadline += self.period
        now = self._clock()
        behind = (now - self._deadline) // self.period
        if behind > 0:
            self.missed += behind
            self._deadline += behind * self.period
        while now < self._deadline:
            self._sleep((self._deadline - now) * 1e-9)
            now = self._clock()
        self.ticks += 1
        return now - self._deadline
