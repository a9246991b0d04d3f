"""Whether what was sent is what the arm did: where messages are lost, it stands elsewhere than planned, and begins anew from there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.safety import Problem
from robolearn.deploy.setpoint import Setpoint

Floats = NDArray[np.float64]
Heard = tuple[int, Floats, Floats]

NOISE_NS = 1_000_000  # [ns] of a tick's time
LATE_NS = 100_000_000  # [ns] for which a message that is under way may still come after the last one's motion has ended


class Contact:
    """Watches the way there and back between command loop and arm.

    While it is lost nothing may be sent: a network that stalls delivers late what was sent, and joining that plan would be a jump. The
    arm comes to rest by itself, at the end of the last motion it was promised. Contact is found again when the joints are heard, stand
    still, and nothing that was sent can move them any more; motion then starts from where they are. A stiff arm that is heard but does
    not follow is blocked, or its commands are lost: its controller may want to be where the arm is not, so it stops for good.

    Args:
        deaf_s: age of the newest joints from which on the arm is not heard any more [s] ...
        silent_s: ... or for how long nothing new came of them, whatever its age [s].
        follow_rad: by which a stiff arm's joint may be away from where it should be [rad].
        follow_s: for how long it may be further away [s].
        still_rad: speed of each joint below which the arm stands [rad/s].
        rest_s: in which it comes to rest when its commands have [s].
        compliant: its joints find their own way; only silence counts.

    Attributes:
        lost: why nothing may be sent, in words; empty while all is well.
        problems: what was wrong at the last look.
    """

    def __init__(
        self,
        *,
        deaf_s: float = 0.15,
        silent_s: float = 0.15,
        follow_rad: float = 0.15,
        follow_s: float = 0.1,
        still_rad: float = 0.03,
        rest_s: float = 1.0,
        compliant: bool = False,
    ) -> None:
        self._deaf, self._silence = round(deaf_s * 1e9), round(silent_s * 1e9)
        self._follow, self._still = follow_rad, still_rad
        self._follow_ns, self._rest_ns, self._compliant = round(follow_s * 1e9), round(rest_s * 1e9), compliant
        self.lost = ""
        self.problems: list[Problem] = []
        self._news = (0, 0)  # stamp of the newest joints, and since when they are [ns]
        self.reset()

    def reset(self) -> None:
        """Begin at rest where the arm is."""
        self.lost, self.problems = "", []
        self._ends = 0  # [ns] when the motion that was sent last has ended
        self._sent: Setpoint | None = None
        self._apart = False  # it is heard, and does not follow: nobody but a person knows why
        self._away: int | None = None  # since when a joint has not followed [ns]
        self._told: int | None = None  # since when commands have been at rest [ns]

    def lose(self, why: str) -> None:
        """Send nothing more until the arm stands: what it does now is not what was planned."""
        self.lost = self.lost or why

    def sent(self, setpoint: Setpoint) -> None:
        """What was sent last."""
        self._sent, self._ends = setpoint, setpoint.stamp + round(setpoint.times[-1] * 1e9)

    def look(self, now: int, heard: Heard | None, *, resting: bool, clock: bool = False) -> None:
        """Find out what is wrong at ``now`` [ns].

        Args:
            now: time of the tick.
            heard: the newest joints: measured when [ns], positions, velocities ``(J,)``.
            resting: whether commands are at rest, or none are sent.
            clock: whether the clock jumped since the last tick.
        """
        if heard is not None and (heard[0] != self._news[0] or now < self._news[1]):
            self._news = heard[0], now
        if self._sent is not None:
            self.lost = self.lost or self._why(now, heard, clock)
        self.problems = [] if not self.lost else [self._problem()]
        self._told = None if not resting else self._told if self._told is not None and self._told <= now else now
        if heard is not None and self._told is not None and now - self._told > self._rest_ns and self._fastest(heard) > 3 * self._still:
            words = f"the arm moves at {self._fastest(heard):.2f} rad/s although it was told to stand"
            self.problems.append(Problem("moving", words, "stop"))

    def again(self, now: int, heard: Heard | None) -> bool:
        """Whether motion may start anew from where the joints were heard to be."""
        if heard is None or self._silent(now, heard) or self._fastest(heard) > self._still:
            return False
        return not now - LATE_NS < self._ends < now + self._deaf  # unless the clock went back so far that this means nothing

    def _why(self, now: int, heard: Heard | None, clock: bool) -> str:
        if clock:
            return "the clock jumped"
        if heard is None or self._silent(now, heard):
            return "the arm is not heard"
        if self._compliant or self._sent is None:
            return ""
        error = float(np.abs(self._sent.positions[0] - heard[1]).max())
        self._away = None if error <= self._follow else now if self._away is None else self._away
        if self._away is not None and now - self._away >= self._follow_ns:
            self._apart = True
            return f"a joint is {error:.2f} rad from where it should be"
        return ""

    def _problem(self) -> Problem:
        if not self._apart:
            return Problem("contact", f"{self.lost}: the arm comes to rest by itself, and goes on from there")
        return Problem("contact", f"{self.lost}: commands are lost, or the arm is blocked", "stop")

    def _silent(self, now: int, heard: Heard) -> bool:
        stamp, since = self._news
        return not -self._deaf <= now - heard[0] <= self._deaf or (heard[0] == stamp and now - since > self._silence - NOISE_NS)

    def _fastest(self, heard: Heard) -> float:
        speeds = np.abs(heard[2])
        return float(speeds.max()) if np.isfinite(speeds).all() else float("inf")
