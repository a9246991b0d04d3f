"""What is logged between two lines of a training's metrics: means, and steps per second."""

from __future__ import annotations

import time
from collections.abc import Mapping


class RunningMean:
    """Means of metrics since they were last taken."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0
        self._begun = time.perf_counter()

    def add(self, values: Mapping[str, float]) -> None:
        """Count one step's values."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def take(self) -> dict[str, float]:
        """Means by ``train/<name>`` and steps per second; starts anew."""
        seconds = time.perf_counter() - self._begun
        means = {f"train/{name}": total / self._count for name, total in self._sums.items()}
        means["time/steps_per_s"] = self._count / max(seconds, 1e-9)
        self._start()
        return means
