"""What the runner looks at in every tick: each check is given the time and says what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.kinematics import Chain
from robolearn.deploy.runner.autonomy import Autonomy
from robolearn.deploy.safety import Problem

Floats = NDArray[np.float64]
UNUSABLE = ("not finite", "no rotation", "shape")  # reasons that tell of a policy that is wrong, not of one that is late
Check = Callable[[int], Iterable[Problem]]


class TrackingCheck:
    """The arm is where it was told to be, give or take.

    A stiff arm's joints are compared; of a compliant one, which presses where it is sent behind what it touches, the tool.

    Args:
        chain: of the arm.
        joint: tolerance of a stiff arm's joints [rad].
        tool: tolerance of a compliant arm's tool [m].
        compliant: whether it is one.
        for_s: how long it may be further away [s].
    """

    def __init__(self, chain: Chain, joint: float = 0.2, tool: float = 0.15, *, compliant: bool = False, for_s: float = 0.2) -> None:
        self._chain, self._compliant, self._for_ns = chain, compliant, round(for_s * 1e9)
        self._tolerance, self._unit = (tool, "m") if compliant else (joint, "rad")
        self._since: int | None = None
        self._error = 0.0

    def compare(self, commanded: Floats, measured: Floats, now: int) -> None:
        """Note where the joints should be and are, ``(J,)`` [rad], at ``now`` [ns]."""
        if self._compliant:
            self._error = float(np.linalg.norm(self._chain.forward(commanded)[0] - self._chain.forward(measured)[0]))
        else:
            self._error = float(np.abs(commanded - measured).max())
        if self._error <= self._tolerance:
            self._since = None
        elif self._since is None:
            self._since = now

    def reset(self) -> None:
        """Begin again: the arm was moved by others, or is told nothing any more."""
        self._since = None

    def __call__(self, now: int) -> Iterable[Problem]:
        """``stop`` where it has been away for too long: it is blocked, or does not listen."""
        if self._since is not None and now - self._since > self._for_ns:
            what = "the tool" if self._compliant else "a joint"
            away = f"{self._error:.2f} {self._unit}"
            yield Problem("tracking", f"{what} is {away} from where it should be (at most {self._tolerance:g} {self._unit})", "stop")


class ClockCheck:
    """The clock that stamps are of goes like the monotonic one.

    Args:
        tolerance_s: by which it may jump [s]; a trajectory whose time jumps is a jump of the arm.
        monotonic: [ns].
        clock: that stamps are of [ns], read together with the monotonic one; the tick's time unless given.

    Attributes:
        jumps: by how much it jumped so far [ns].
    """

    def __init__(
        self, tolerance_s: float = 0.003, monotonic: Callable[[], int] = time.monotonic_ns, clock: Callable[[], int] | None = None
    ) -> None:
        self._tolerance, self._monotonic, self._clock = round(tolerance_s * 1e9), monotonic, clock
        self._offset: int | None = None
        self.jumps = 0

    def __call__(self, now: int) -> Iterable[Problem]:
        """``hold`` in the tick of a jump; from then on the new time is the time."""
        before = self._monotonic()
        offset = (now if self._clock is None else self._clock()) - before
        if self._monotonic() - before > self._tolerance // 4:
            return  # something came between the two, which tells nothing
        jump = 0 if self._offset is None else offset - self._offset
        if self._offset is None or abs(jump) > self._tolerance:
            self._offset = offset
        else:
            self._offset += jump // 64  # a clock that is being adjusted drifts, and that is no jump
        if abs(jump) > self._tolerance:
            self.jumps += jump
            yield Problem("clock", f"the clock jumped by {jump * 1e-9:+.3f} s")


class LateCheck:
    """The policy's answers come.

    Args:
        autonomy: whose.
        hold_steps: policy steps without an action after which the robot holds.
        failures: chunks in a row that may be unusable; answers that do not come are late, no more.
    """

    def __init__(self, autonomy: Autonomy, hold_steps: int = 3, failures: int = 5) -> None:
        self._autonomy, self._steps, self._failures = autonomy, hold_steps, failures
        self._accepted = self._before = 0  # chunks, and those of no use when the last was accepted

    def __call__(self, now: int) -> Iterable[Problem]:
        """``hold`` while there is none, ``stop`` where what comes is of no use again and again."""
        late = self._autonomy.late_steps
        if late > self._steps:
            why = f" ({self._autonomy.trouble})" if self._autonomy.trouble else ""
            yield Problem("inference", f"no action for {late} policy steps{why}")
        counts = self._autonomy.executor.counts
        unusable = sum(counts.refused[reason] for reason in UNUSABLE)
        if counts.accepted != self._accepted:
            self._accepted, self._before = counts.accepted, unusable
        broken = unusable - self._before
        if broken >= self._failures:
            reasons = ", ".join(reason for reason in UNUSABLE if counts.refused[reason])
            yield Problem("policy", f"{broken} chunks in a row were unusable ({reasons})", "stop")
