"""The last measurements of a sensor, and what it measured at any time among them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float64]
Between = Callable[[Row, Row, float], Row]  # of two rows, the one at a share from the first (0) to the second (1)
_STRAIGHT = 0.9995  # between quaternions whose cosine is above this a straight line is as good as an arc


class Ring:
    """Rows of numbers with strictly growing time stamps; the oldest make room for the newest.

    Every row is stored twice, a capacity apart, so that what is held is always one stretch of memory.

    Args:
        capacity: rows.
        width: numbers D in a row.
        between: interpolates; straight lines unless given.
    """

    def __init__(self, capacity: int, width: int, between: Between | None = None) -> None:
        self._capacity, self._between = capacity, between if between is not None else straight
        self._stamps = np.zeros(2 * capacity, np.int64)
        self._rows = np.zeros((2 * capacity, width))
        self._next = self._count = 0

    def __len__(self) -> int:
        return self._count

    def clear(self) -> None:
        """Forget everything."""
        self._next = self._count = 0

    def push(self, stamp: int, row: Row) -> None:
        """Add ``row (D,)`` measured at ``stamp`` [ns], which is after all others."""
        place = self._next
        self._stamps[place] = self._stamps[place + self._capacity] = stamp
        self._rows[place] = self._rows[place + self._capacity] = row
        self._next = (place + 1) % self._capacity
        self._count = min(self._count + 1, self._capacity)

    def at(self, time: int) -> Row:
        """The row ``(D,)`` at ``time`` [ns]: interpolated; beyond either end the one at that end. There must be one."""
        start = self._start()
        stamps = self._stamps[start : start + self._count]
        after = int(np.searchsorted(stamps, time, side="right"))
        if after == 0 or after == self._count:
            row: Row = self._rows[start + max(0, after - 1)].copy()
            return row
        first, second = int(stamps[after - 1]), int(stamps[after])
        share = (time - first) / (second - first)
        return self._between(self._rows[start + after - 1], self._rows[start + after], share)

    def before(self, time: int) -> tuple[int, Row]:
        """The newest row not after ``time`` [ns], or the oldest, with its stamp. There must be one."""
        start = self._start()
        place = int(np.searchsorted(self._stamps[start : start + self._count], time, side="right"))
        place = start + max(0, place - 1)
        return int(self._stamps[place]), self._rows[place].copy()

    def _start(self) -> int:
        return self._next if self._count == self._capacity else 0


def straight(first: Row, second: Row, share: float) -> Row:
    """On the straight line between two rows."""
    return first + share * (second - first)


def poses_between(first: Row, second: Row, share: float) -> Row:
    """Between poses ``(7 n,)``, each a position and a quaternion wxyz: along the straight line, and about one axis (slerp)."""
    one, two = first.reshape(-1, 7), second.reshape(-1, 7)
    mixed = one + share * (two - one)
    mixed[:, 3:] = slerp(one[:, 3:], two[:, 3:], share)
    return mixed.reshape(-1)


def slerp(first: Row, second: Row, share: float) -> Row:
    """Unit quaternions ``(n, 4)`` at a share of the shorter arc between two."""
    cosine = (first * second).sum(1, keepdims=True)
    second, cosine = np.where(cosine < 0, -second, second), np.abs(cosine)
    half = np.arccos(np.minimum(cosine, _STRAIGHT))
    sine = np.sin(half)
    arc = (np.sin((1 - share) * half) * first + np.sin(share * half) * second) / sine
    mixed = np.where(cosine > _STRAIGHT, first + share * (second - first), arc)
    unit: Row = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return unit
