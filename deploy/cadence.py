"""How punctual a run was: lateness and duration of every tick, ages, latencies, and counts of what went wrong, for 2 us a tick."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import check_positive

LATE, TOOK = "tick lateness", "tick duration"
# Names for the rest of what a run measures; any other is taken too.
AGE = "observation age"  # from its oldest sensor to the observation
REACTION = "observation to command"  # from an observation to the first command that heeds it
ROUND_TRIP, SERVER = "inference, round trip", "inference, server"
WAIT = "wait for a chunk"  # policy time without an action
CAPACITY = 1 << 20  # values kept of each: the last 2.9 hours at 100 Hz
PERCENTILES = (50, 95, 99)


class Series:
    """Durations as they come; the last ``capacity`` are kept, and the longest of all.

    Args:
        capacity: most that are kept.
    """

    def __init__(self, capacity: int) -> None:
        self._values = np.empty(capacity, np.float32)
        self._times = np.empty(capacity, np.float64)
        self.count, self.longest = 0, 0.0

    def add(self, seconds: float, at: float) -> None:
        """Note a duration [s] at a time [s]."""
        place = self.count % len(self._values)
        self._values[place], self._times[place] = seconds, at
        self.count += 1
        self.longest = max(self.longest, seconds)

    @property
    def kept(self) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Times and durations ``(N,)`` [s], oldest first."""
        size, start = min(self.count, len(self._values)), self.count % len(self._values) if self.count > len(self._values) else 0
        order = (start + np.arange(size)) % len(self._values)
        return self._times[order], self._values[order]

    def summary(self) -> dict[str, float]:
        """Count, mean, percentiles and maximum, durations in ms."""
        values = self.kept[1].astype(np.float64) * 1e3
        shares = np.percentile(values, PERCENTILES) if len(values) else np.zeros(len(PERCENTILES))
        named = {f"p{share}": float(value) for share, value in zip(PERCENTILES, shares, strict=True)}
        return {"count": self.count, "mean": float(values.mean()) if len(values) else 0.0, **named, "max": 1e3 * self.longest}


class Cadence:
    """Statistics of one run's command loop; used by one thread.

    Args:
        rate_hz: ticks a second that there should be.
        capacity: values kept of each series.
    """

    def __init__(self, rate_hz: float, capacity: int = CAPACITY) -> None:
        check_positive(rate_hz=rate_hz, capacity=capacity)
        self.rate_hz, self._capacity = rate_hz, capacity
        self.missed = 0
        self._series: dict[str, Series] = {LATE: Series(capacity), TOOK: Series(capacity)}
        self._late, self._took = self._series[LATE], self._series[TOOK]
        self._counts: dict[str, Counter[str]] = {}
        self._first: int | None = None
        self._now = 0.0

    def tick(self, now: int, late: int, took: int, missed: int = 0) -> None:
        """Note a tick.

        Args:
            now: [ns] when it began.
            late: [ns] after it was due.
            took: [ns] that it lasted.
            missed: ticks since the last that were not taken at all.
        """
        if self._first is None:
            self._first = now
        self._now = (now - self._first) * 1e-9
        self._late.add(late * 1e-9, self._now)
        self._took.add(took * 1e-9, self._now)
        self.missed += missed

    def add(self, name: str, seconds: float) -> None:
        """Note a duration of a kind, at the time of the last tick."""
        series = self._series.get(name)
        if series is None:
            series = self._series[name] = Series(self._capacity)
        series.add(seconds, self._now)

    def count(self, group: str, reason: str, by: int = 1) -> None:
        """Count something, such as ``clamps``, ``faults``, ``steering`` or ``chunks``, by its reason."""
        self._counts.setdefault(group, Counter())[reason] += by

    def summary(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        ticks = self._late.count
        return {
            "rate_hz": self.rate_hz,
            "seconds": self._now,
            "ticks": ticks,
            "missed": self.missed,
            "began_ns": self._first,
            "series_ms": {name: series.summary() for name, series in self._series.items()},
            "counts": {group: dict(counts.most_common()) for group, counts in self._counts.items()},
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """``{"<name>/time": (N,) [s] since the first tick, "<name>/ms": (N,)}``, for plots."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, series in self._series.items():
            times, values = series.kept
            arrays |= {f"{name}/time": times, f"{name}/ms": values * np.float32(1e3)}
        return arrays

    def table(self) -> Any:
        """A ``rich`` table for the end of a run."""
        from rich.table import Table

        told = self.summary()
        ticks, missed = told["ticks"], told["missed"]
        table = Table(title=f"{ticks} ticks at {self.rate_hz:g} Hz in {told['seconds']:.0f} s, {missed} missed", title_justify="left")
        for column in ("[ms]", "count", "mean", "p50", "p95", "p99", "max"):
            table.add_column(column, justify="left" if column == "[ms]" else "right")
        for name, row in told["series_ms"].items():
            figures = [f"{row[key]:.2f}" for key in ("mean", "p50", "p95", "p99", "max")]
            table.add_row(name, f"{row['count']}", *figures)
        for group, counts in told["counts"].items():
            table.add_section()
            for reason, number in counts.items():
                table.add_row(f"{group}: {reason}", f"{number}")
        return table
