"""Whether the robot's clock agrees with ours, on which trajectories are stamped, and by how much a jump of ours has parted the two."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable

from robolearn.deploy.safety import Problem

NANO = 1e-9
ENOUGH = 4  # measurements of the joints to tell anything by ...
SPAN_NS = 250_000_000  # ... in so many [ns]
WINDOW_NS = 1_000_000_000  # [ns] of measurements that are compared
PASSES_NS = 100_000_000  # [ns] in which joints measured before a jump are replaced by some measured after it


class RobotClock:
    """Goes by how old joints are when they come; is a check of the command loop.

    That age holds the way of the messages, too. So clocks that never agreed are none to stamp trajectories on: motion is refused. But with
    a jump of ours the age changes by as much where the robot's clock goes on as before, and not at all where robot and runner are on one
    computer; where it does neither, nothing is known, and nothing moves.

    Args:
        agree_s: by how much the clocks may differ [s]; infinite where commands do not begin at their stamp.
        latency_s: from a measurement of the joints to its stamp [s].
        tick_s: by which joints may be older because nobody looked [s].
        jumps: by how much our clock has jumped so far [ns].
        stamped: whether the times of the joints are those of their stamps.

    Attributes:
        behind: by how much jumps have put the robot's clock behind ours [ns].
        known: whether enough was heard since the beginning, or the last jump, to stamp anything.
    """

    def __init__(
        self,
        agree_s: float = math.inf,
        latency_s: float = 0.0,
        *,
        tick_s: float = 0.01,
        jumps: Callable[[], int] = lambda: 0,
        stamped: Callable[[], bool] = lambda: True,
    ) -> None:
        self._agree, self._latency, self._tick = agree_s / NANO, round(latency_s / NANO), tick_s / NANO
        self._jumps, self._stamped = jumps, stamped
        self.behind, self.known = 0, agree_s == math.inf
        self._ages: deque[tuple[int, int]] = deque()  # when they were heard, how old they were [ns]
        self._newest: int | None = None  # stamp [ns]
        self._jumped = self._accounted = jumps()  # [ns] so far
        self._since: int | None = None  # when the last jump was seen [ns]
        self._before: int | None = None  # age before the first jump that is not accounted for [ns]

    def look(self, now: int, stamp: int | None) -> None:
        """Note when the newest joints were measured, None before the first, at the tick at ``now`` [ns]."""
        if self._jumps() != self._jumped:
            if self._jumped == self._accounted:
                self._before = self._age if self._enough else None
            self._jumped, self._since = self._jumps(), now
            self._ages.clear()
            self.known = self._agree == math.inf
        self._since = None if self._since is None else min(self._since, now)
        if stamp is not None and stamp != self._newest and (self._since is None or now - self._since >= PASSES_NS):
            self._ages.append((now, now - stamp - self._latency))
        self._newest = stamp
        while self._ages and self._ages[-1][0] - self._ages[0][0] > WINDOW_NS:
            self._ages.popleft()
        if self._enough:
            self._account()
            self.known = self._jumped == self._accounted

    def __call__(self, now: int) -> Iterable[Problem]:
        """``hold`` while the clocks differ by more than jumps account for, or nothing is known of that."""
        if self._agree == math.inf:
            return
        if not self.known:
            yield Problem("clocks", "joints were not heard for long enough, or alike enough, to compare the robot's clock with ours")
        elif not self._stamped():
            yield Problem("clocks", "the robot's joints have no stamps to compare its clock with ours: set robot.arm.stamped=false")
        elif self._enough and not -self._agree <= self._age - self.behind <= self._agree + self._tick:
            age = (self._age - self.behind) * NANO
            how = "old when they come: its clock is behind ours, or the network slow" if age > 0 else "ahead of our clock"
            what = f"the robot's joints are {abs(age):.3f} s {how} (at most {self._agree * NANO:.3g} s)"
            yield Problem("clocks", f"{what}: synchronise the clocks, or set robot.arm.stamped=false")

    def _account(self) -> None:
        """Tell a jump of ours alone from one of both clocks; forget one that the robot's clock has followed since."""
        jump, alike = self._jumped - self._accounted, self._agree / 2
        if jump:
            parted = jump if self._before is None else self._age - self._before
            if self._before is not None and abs(parted - jump) <= min(alike, abs(parted)):
                self.behind += jump
            elif self._before is not None and abs(parted) > alike:
                return
            self._accounted = self._jumped
        elif self.behind and abs(self._age) <= self._agree < abs(self._age - self.behind):
            self.behind = 0

    @property
    def _enough(self) -> bool:
        return len(self._ages) >= ENOUGH and self._ages[-1][0] - self._ages[0][0] >= SPAN_NS

    @property
    def _age(self) -> int:
        """Lower quartile [ns]: what is younger was told at the wrong time, what is older was held up."""
        return sorted(age for _, age in self._ages)[len(self._ages) // 4]
