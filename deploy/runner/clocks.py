"""Whether the robot's clock agrees with ours, on which trajectories are stamped, and by how much a jump of ours has parted the two."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from robolearn.deploy.safety import Problem

NANO = 1e-9
MOST = 100  # measurements of the joints that are compared
ENOUGH = 8  # of them to tell anything by
PASSES_NS = 100_000_000  # [ns] in which joints measured before a jump are replaced by some measured after it


class RobotClock:
    """Goes by how old joints are when they come; is a check of the command loop.

    That age holds the way of the messages, too. So clocks that never agreed are none to stamp trajectories on: motion is refused. But by
    how much the age changed with a jump of ours is by how much that parted the clocks, and known. Where robot and runner are on one
    computer, both clocks jump, and nothing changes.

    Args:
        agree_s: by how much the clocks may differ [s]; infinite where commands do not say when they begin.
        latency_s: from a measurement of the joints to its stamp [s].

    Attributes:
        behind: by how much jumps have put the robot's clock behind ours [ns].
    """

    def __init__(self, agree_s: float = math.inf, latency_s: float = 0.0) -> None:
        self._agree, self._latency = agree_s / NANO, round(latency_s / NANO)
        self.behind = 0
        self._ages: deque[int] = deque(maxlen=MOST)
        self._age_before: int | None = None  # the jump that is not accounted for yet [ns]
        self._jumped: int | None = None  # when [ns]
        self._newest: int | None = None  # stamp [ns]

    def look(self, now: int, stamp: int | None, jumped: bool) -> None:
        """Note when the newest joints were measured, None before the first, at the tick at ``now`` [ns], and whether our clock jumped."""
        if jumped:
            self._age_before = self._age if self._age_before is None and self.known and self._ages else self._age_before
            self._ages.clear()
            self._jumped = now
        elif stamp is not None and stamp != self._newest and (self._jumped is None or now - self._jumped >= PASSES_NS):
            self._ages.append(now - stamp - self._latency)
            if self._age_before is not None and self.known:
                parted, self._age_before = self._age - self._age_before, None
                self.behind += parted if abs(parted) > self._agree / 2 else 0
        self._newest = stamp

    def __call__(self, now: int) -> Iterable[Problem]:
        """``hold`` while the clocks differ by more than jumps account for, and until that is known."""
        if not self.known:
            yield Problem("clocks", "the robot's joints were not heard for long enough to compare its clock with ours")
        elif self._ages and abs(self._age) > self._agree:
            how = "old when they come: its clock is behind ours, or the network slow" if self._age > 0 else "ahead of our clock"
            what = f"the robot's joints are {abs(self._age) * NANO:.3f} s {how} (at most {self._agree * NANO:.3g} s)"
            yield Problem("clocks", f"{what}: synchronise the clocks, or set robot.arm.stamped=false")

    @property
    def known(self) -> bool:
        """Whether enough was heard since the beginning, or the last jump."""
        return self._agree == math.inf or len(self._ages) >= ENOUGH

    @property
    def _age(self) -> int:
        """Of the youngest joints on the robot's time [ns], but for a few that a busy computer has at the wrong time."""
        return sorted(self._ages)[len(self._ages) // 4] - self.behind
