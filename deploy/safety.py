"""Who may move: the state machine between what is wrong and what the robot does about it."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from robolearn.errors import UserError, check_positive, check_share

NANO = 1e-9
ESTOP = "e-stop"  # cause of what a person has pressed


class State(str, enum.Enum):
    """What the robot is doing."""

    IDLE = "idle"  # stands; waits to be armed
    RUNNING = "running"  # follows its policy or its operator
    HOLD = "hold"  # stands where it is until what is wrong passes
    STOPPING = "stopping"  # comes to rest, for good
    FAULT = "fault"  # stands until somebody re-arms it


@dataclass(frozen=True)
class Problem:
    """Something that is wrong now.

    Args:
        cause: a short name that stays the same while it lasts, such as ``stale joint_states``.
        words: the same with its figures, for people.
        reaction: ``hold`` waits for it to pass, ``stop`` does not; ``wait`` holds for as long as it lasts (a deadman that is let go).
    """

    cause: str
    words: str
    reaction: Literal["wait", "hold", "stop"] = "hold"


@dataclass(frozen=True)
class Transition:
    """One change of state: when [ns], from what to what, and why."""

    time: int
    before: State
    after: State
    why: str


@dataclass
class Supervisor:
    """Hold, then come to rest, then stay: every problem ends in a robot that stands.

    A problem whose reaction is ``hold`` holds at once; when it is gone the robot goes on, its speed ramped from nothing; when it lasts
    longer than ``hold_s``, or comes again and again, the robot comes to rest and the fault is latched. ``stop`` comes to rest at once. A
    latched fault ends by :meth:`rearm`, and only while nothing is wrong. An emergency stop is latched between episodes, too: whoever
    lets go of it does not set the robot in motion.

    Args:
        hold_s: how long a hold may last [s].
        ramp_s: in which the speed grows from nothing to all of it whenever motion begins [s].
        holds: how often the robot may hold ...
        within_s: ... in so many seconds; waiting does not count.

    Attributes:
        state: now.
        fault: that is latched, or comes to be, in words.
        cause: of it, see :class:`Problem`.
    """

    hold_s: float = 1.0
    ramp_s: float = 0.3
    holds: int = 8
    within_s: float = 10.0
    state: State = State.IDLE
    fault: str = ""
    cause: str = ""
    log: list[Transition] = field(default_factory=list)
    _since: int = 0
    _held: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_positive(hold_s=self.hold_s, holds=self.holds, within_s=self.within_s)
        check_share(high=float("inf"), ramp_s=self.ramp_s)

    def arm(self, now: int, problems: Iterable[Problem] = ()) -> None:
        """Begin to move.

        Raises:
            UserError: a fault is latched, it moves already, or something is wrong; the message says what.
        """
        if self.state is State.FAULT:
            raise UserError(f"a fault is latched ({self.fault}): see to it, then re-arm")
        if self.state is not State.IDLE:
            raise UserError(f"only an idle robot is armed; this one is {self.state.value}")
        wrong = [problem.words for problem in problems]
        if wrong:
            raise UserError(f"not armed: {'; '.join(wrong)}")
        self._enter(State.RUNNING, now, "armed")

    def disarm(self, now: int, why: str = "done") -> None:
        """Stand still and wait; a latched fault stays, and what is coming to rest for one goes on to it."""
        if self.state in (State.RUNNING, State.HOLD):
            self._enter(State.IDLE, now, why)

    def rearm(self, now: int, problems: Iterable[Problem] = ()) -> None:
        """Forget a latched fault.

        Raises:
            UserError: no fault is latched, or something is still wrong.
        """
        if self.state is not State.FAULT:
            raise UserError(f"there is no latched fault; the robot is {self.state.value}")
        wrong = [problem.words for problem in problems if problem.reaction != "wait"]
        if wrong:
            raise UserError(f"not re-armed: {'; '.join(wrong)}")
        self.fault = self.cause = ""
        self._enter(State.IDLE, now, "re-armed")

    def update(self, now: int, problems: Iterable[Problem], at_rest: bool) -> State:
        """What to do in this tick, at ``now`` [ns], given what is wrong and whether the commanded motion is at rest."""
        wrong = list(problems)
        stop = next((problem for problem in wrong if problem.reaction == "stop"), None)
        if self.emergency(now, wrong):
            return self.state
        if self.state is State.STOPPING:
            if at_rest:
                self._enter(State.FAULT, now, self.fault)
        elif self.state in (State.RUNNING, State.HOLD):
            lasting = next((problem for problem in wrong if problem.reaction == "hold"), None)
            if stop is not None:
                self._stop(now, stop.words, stop.cause)
            elif self.state is State.RUNNING and wrong:
                self._hold(now, wrong[0].words, lasting)
            elif self.state is State.HOLD and not wrong:
                self._enter(State.RUNNING, now, "passed")
            elif self.state is State.HOLD and lasting is None:
                self._since = now  # only waiting: that may take as long as it takes
            elif self.state is State.HOLD and lasting is not None and (now - self._since) * NANO > self.hold_s:
                self._stop(now, f"{lasting.words} for more than {self.hold_s:g} s", lasting.cause)
        return self.state

    def emergency(self, now: int, problems: Iterable[Problem]) -> bool:
        """Stop for an emergency stop among ``problems``, in every state and whoever looked; whether that changed anything.

        One that comes amid another fault takes its place: a person re-arms from then on.
        """
        pressed = next((problem.words for problem in problems if problem.cause == ESTOP), None)
        if pressed is None or (self.state in (State.STOPPING, State.FAULT) and self.cause == ESTOP):
            return False
        if self.state in (State.STOPPING, State.FAULT):
            self.fault, self.cause = pressed, ESTOP
            self._enter(self.state, now, pressed)
        else:
            self._stop(now, pressed, ESTOP)
        return True

    def scale(self, now: int, since: int = 0) -> float:
        """Share of its speed that the robot may have, 0 to 1: it ramps up after every beginning, one at ``since`` [ns] among them."""
        if self.state is not State.RUNNING:
            return 0.0
        return 1.0 if self.ramp_s == 0 else min(1.0, max(now - max(self._since, since), 0) * NANO / self.ramp_s)

    @property
    def moves(self) -> bool:
        """Whether policy or operator are followed."""
        return self.state is State.RUNNING

    def _hold(self, now: int, why: str, lasting: Problem | None) -> None:
        """Hold, unless that has happened too often lately."""
        if lasting is not None:
            self._held = [time for time in self._held if 0 <= now - time <= self.within_s / NANO] + [now]
        if lasting is not None and len(self._held) > self.holds:
            self._held = []
            self._stop(now, f"held more than {self.holds} times within {self.within_s:g} s, the last time for: {why}", lasting.cause)
        else:
            self._enter(State.HOLD, now, why)

    def _stop(self, now: int, why: str, cause: str) -> None:
        self.fault, self.cause = why, cause
        self._enter(State.STOPPING, now, why)

    def _enter(self, state: State, now: int, why: str) -> None:
        self.log.append(Transition(now, self.state, state, why))
        self.state, self._since = state, now
