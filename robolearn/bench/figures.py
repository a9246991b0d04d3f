"""What a bench reports: one figure, beside a peer's measured in turns with it, so that a busy machine slows both alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TIMES = ("s", "ms", "kB/frame", "MB")  # units of which less is better


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Args:
        name: ``<part>/<what>``.
        value: median over ``n`` samples, unless the name says otherwise (p99).
        unit: of durations and sizes (:data:`TIMES`) less is better, of all others more.
        n: samples.
        peer: what it stands beside; None where there is none, or it is not installed.
        peer_value: the peer's, in the same unit.
    """

    name: str
    value: float
    unit: str
    n: int
    peer: str | None = None
    peer_value: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as fast (or as small) as the peer: above 1 is better, for rates and for durations; None beside nothing."""
        if not self.peer_value or not self.value:
            return None
        return self.peer_value / self.value if self.unit in TIMES else self.value / self.peer_value

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, in the order of the documentation."""
        numbers = {"value": self.value, "peer_value": self.peer_value, "ratio": self.ratio}
        rounded = {name: None if number is None else float(f"{number:.5g}") for name, number in numbers.items()}
        return {
            "name": self.name,
            "value": rounded["value"],
            "unit": self.unit,
            "peer": self.peer,
            "peer_value": rounded["peer_value"],
            "ratio": rounded["ratio"],
            "n": self.n,
        }


def in_turns(rounds: int, *tasks: Callable[[], float | list[float]]) -> list[NDArray[np.float64]]:
    """Seconds that each task says it took, ``(samples,)`` a task.

    Every round runs each task once, and every other round in reverse order. What came before the first round is not counted:
    warm the tasks up there.

    Args:
        rounds: how often.
        tasks: do something and return its seconds, or those of several samples.
    """
    samples: list[list[float]] = [[] for _ in tasks]
    for turn in range(rounds):
        order = list(enumerate(tasks))
        for index, task in order if turn % 2 == 0 else reversed(order):
            samples[index] += np.atleast_1d(task()).tolist()
    return [np.array(seconds) for seconds in samples]
