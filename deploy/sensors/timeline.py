"""When measurements were made, by our clock: stamps are believed while they can be true, and time never goes back."""

from __future__ import annotations

from dataclasses import dataclass, field

NANO = 1_000_000_000
AHEAD = NANO // 10  # [ns] a stamp may lie ahead of its arrival: clocks are never quite alike
FOREIGN = 60 * NANO  # [ns] behind it from which on it is by another clock; until then the message was delayed
BACK = NANO // 2  # [ns] by which stamps may go back where messages overtake each other; beyond, a clock jumped
TROUBLE_LASTS = NANO  # [ns]


@dataclass
class Timeline:
    """The measurements of one sensor in time.

    Args:
        latency: [ns] from a measurement to its stamp.
        stamped: whether stamps are by our clock.

    Attributes:
        newest: time of the newest measurement [ns], None before the first.
        standing: messages since the newest measurement that had its very stamp.
        counts: of dropped messages ``duplicate`` and ``reordered``, and of ``clock jumps``.
        believed: whether the newest measurement's time is that of its stamp.
        trouble: what was wrong with the clock, empty where nothing was lately.
    """

    latency: int = 0
    stamped: bool = True
    newest: int | None = None
    standing: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"duplicate": 0, "reordered": 0, "clock jumps": 0})
    believed: bool = False
    _trouble: str = ""
    _since: int = 0

    def rewind(self, received: int) -> bool:
        """Whether our own clock went back, so that what was measured lies in the future and has to be forgotten."""
        if self.newest is None or self.newest <= received + AHEAD:
            return False
        self._jumped(f"our clock went back by {(self.newest - received) / NANO:.2f} s", received)
        self.newest = None
        return True

    def place(self, stamp: int, received: int) -> int | None:
        """When a message's content was measured [ns], or None for one that is to be dropped.

        Args:
            stamp: of its header [ns], 0 where it has none.
            received: when it came [ns].
        """
        believed = self.stamped and stamp > 0
        if believed and not -AHEAD <= received - stamp <= FOREIGN:
            side = "ahead of" if stamp > received else "behind"
            self._jumped(
                f"stamps are {abs(received - stamp) / NANO:.2f} s {side} our clock: synchronise the clocks, or set stamped: false", received
            )
            believed = False
        measured = (stamp if believed else received) - self.latency
        if self.newest is not None and measured <= self.newest:
            self.counts["duplicate" if measured == self.newest else "reordered"] += 1
            self.standing += measured == self.newest
            if self.newest - measured > BACK:
                self._jumped(f"stamps went back by {(self.newest - measured) / NANO:.2f} s", received)
            return None
        self.newest, self.standing, self.believed = measured, 0, believed
        return measured

    def trouble(self, now: int) -> str:
        """What was wrong with a clock until lately, or is: the newest measurement lies ahead."""
        if self.newest is not None and self.newest > now + AHEAD:
            return f"the newest measurement lies {(self.newest - now) / NANO:.2f} s ahead: our clock went back"
        return self._trouble if self._trouble and 0 <= now - self._since <= TROUBLE_LASTS else ""

    def _jumped(self, words: str, received: int) -> None:
        self.counts["clock jumps"] += 1
        self._trouble, self._since = words, received
