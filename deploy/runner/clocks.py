"""How far the robot's clock is behind this computer's, once a jump has parted them: a trajectory is stamped on the clock that plays it."""

from __future__ import annotations

from collections import deque

AGREE_NS = 10_000_000  # [ns] by which ages differ on a network as it is
TICKS = 100  # in which the youngest joints are looked for
PASSES_NS = 100_000_000  # [ns] in which joints measured before a jump are replaced by some measured after it


class RobotClock:
    """Compares how old joints are when they come, before the clock jumped and after.

    Ages hold the way of the messages, too, so that two clocks are never compared by them alone: what counts is by how much the age of the
    youngest changed with a jump. Where robot and runner are on one computer, both clocks jump, and nothing changes.
    """

    def __init__(self) -> None:
        self._ages: deque[int] = deque(maxlen=TICKS)
        self._usual: int | None = None  # age [ns] before the first jump
        self._jumped: int | None = None  # when [ns]

    def look(self, now: int, stamp: int | None, jumped: bool) -> None:
        """Note joints measured at ``stamp`` [ns], None before the first, at the tick at ``now`` [ns], and whether the clock jumped."""
        if jumped:
            self._usual = min(self._ages, default=None) if self._usual is None else self._usual
            self._ages.clear()
            self._jumped = now
        elif stamp is not None and (self._jumped is None or now - self._jumped >= PASSES_NS):
            self._ages.append(now - stamp)

    @property
    def behind(self) -> int:
        """By how much the robot's clock is behind [ns]; 0 while no jump parted them. Motion under way keeps the one it began with."""
        if self._usual is None or not self._ages:
            return 0
        parted = min(self._ages) - self._usual
        return parted if abs(parted) > AGREE_NS else 0
