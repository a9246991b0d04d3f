"""The command loop's one tick: look, decide who may move, follow the target within the limits, send, and note how it went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.motion import MotionGenerator, Setpoint
from robolearn.deploy.runner.checks import Check, TrackingCheck
from robolearn.deploy.runner.contact import Contact, Heard
from robolearn.deploy.runner.target_checks import TargetChecks
from robolearn.deploy.safety import Problem, State, Supervisor
from robolearn.errors import UserError

Floats = NDArray[np.float64]
SETTLE_S = 0.07  # [s] for which motion that begins stands first: a stiff arm's controller wants it a little beside where it is


class Driver(Protocol):
    """Sends motion to an arm and commands to a gripper."""

    def send(self, setpoint: Setpoint) -> None:
        """Send a tick's motion; never waits."""
        ...

    def grip(self, closed: bool) -> None:
        """Open or close; nothing where it is so already."""
        ...

    def forget(self) -> None:
        """Somebody else may have moved the gripper."""
        ...

    def stop(self) -> None:
        """Whatever the driver needs to stand still when nobody sends any more."""
        ...


class Joints(Protocol):
    """Gives the arm's joints as they were last heard."""

    def joints(self) -> tuple[int, Floats, Floats] | None:
        """``stamp [ns], positions (J,) [rad], velocities (J,) [rad/s]``; None before the first.

        Raises:
            UserError: nothing came yet.
        """
        ...


@dataclass(frozen=True)
class Tick:
    """What a tick did, for the records.

    Args:
        time: [ns] of the transport's clock.
        state: after it.
        target: ``(A,)`` that was followed, or None.
        setpoint: that was sent, or None.
        measured: joints ``(J,)`` [rad], or None.
        problems: what was wrong.
    """

    time: int
    state: State
    target: NDArray[Any] | None
    setpoint: Setpoint | None
    measured: Floats | None
    problems: tuple[Problem, ...]


class Command:
    """Owns limits, watchdogs and what is sent; knows nothing of where targets come from.

    Args:
        sensors: where the arm is.
        driver: the arm and the gripper.
        motion: makes targets into motion within the limits.
        supervisor: says who may move.
        checks: what could be wrong.
        tracking: compares where the arm should be with where it is.
        compliant: the arm follows poses as a spring does, and its joints find their own way.
        contact: notices that the arm does not get what is sent, or is not heard.
        targets: what keeps a target from being followed; any that is ten finite numbers is near enough unless given.
        dry_run: send nothing.
        clock: [ns] of the transport, by which a tick that is held up is noticed.
        spare_s: [s] after its tick that a stiff arm's command may still leave; later it would be joined with a jump. 0: any time.
    """

    def __init__(
        self,
        sensors: Joints,
        driver: Driver,
        motion: MotionGenerator,
        supervisor: Supervisor,
        checks: Sequence[Check],
        tracking: TrackingCheck,
        *,
        compliant: bool = False,
        contact: Contact | None = None,
        targets: TargetChecks | None = None,
        dry_run: bool = False,
        clock: Callable[[], int] | None = None,
        spare_s: float = 0.0,
    ) -> None:
        self.sensors, self.driver, self.motion, self.supervisor = sensors, driver, motion, supervisor
        self._checks: list[Check] = [*checks, tracking]
        self._tracking, self.dry_run = tracking, dry_run
        self._compliant = compliant
        self.contact, self._targets = contact or Contact(compliant=compliant), targets or TargetChecks(motion)
        self._clock, self._spare = clock, 0 if compliant else round(spare_s * 1e9)
        self._started = False

    def look(self, now: int) -> list[Problem]:
        """All that is wrong at ``now`` [ns], but for the target."""
        return [*self._found(now), *self.contact.problems]

    def _found(self, now: int) -> list[Problem]:
        return [problem for check in self._checks for problem in check(now)]

    def arm(self, now: int) -> None:
        """Begin to move from where the joints are.

        Raises:
            UserError: something is wrong, a fault is latched, or nothing was heard of the joints.
        """
        heard = self.sensors.joints()
        if heard is None:
            raise UserError("not armed: nothing was heard of the joints")
        self.supervisor.arm(now, self.look(now))
        self._start(now, heard)
        self.driver.forget()
        self._started = True

    def tick(self, now: int, target: NDArray[Any] | None) -> Tick:
        """One tick at ``now`` [ns] towards a canonical action ``(10,)``, or to rest where there is none or motion is forbidden."""
        heard = self._heard()
        measured = None if heard is None else heard[1]
        problems = self._problems(now, heard, target)
        state = self.supervisor.update(now, problems, not self._started or self.motion.resting)
        if not self._started:
            if self.contact.lost and self.contact.again(now, heard):
                self.contact.reset()
            return Tick(now, state, None, None, measured, tuple(problems))
        if state is not State.RUNNING:
            self._targets.begin()
        if self.contact.lost:
            self._find(now, heard)
            return Tick(now, state, None, None, measured, tuple(problems))
        followed = target if state is State.RUNNING else None
        if self._compliant and measured is not None:
            self.motion.lean(measured)
        share = self.supervisor.scale(now)
        setpoint = self.motion.decelerate(now) if followed is None else self.motion.follow(followed, now, share)
        if self._held_up(now):
            self.contact.lost = "a tick was held up"
            return Tick(now, state, None, None, measured, tuple(problems))
        if not self.dry_run:
            self._send(setpoint, followed, measured, now)
        if followed is not None:
            self._targets.followed()
        self._started = state not in (State.IDLE, State.FAULT) or not self.motion.resting
        if not self._started:
            self.contact.reset()  # what moves the arm from now on is not what was sent
        return Tick(now, state, followed, setpoint, measured, tuple(problems))

    def _problems(self, now: int, heard: Heard | None, target: NDArray[Any] | None) -> list[Problem]:
        """What is wrong with the world, the way to the arm, and the target."""
        problems = self._found(now)
        clock = any(problem.cause == "clock" for problem in problems)
        resting = not self._started or (self.motion.resting and not self.supervisor.moves)
        self.contact.look(now, heard, resting=resting, clock=clock)
        return [*problems, *self.contact.problems, *(self._targets.look(target) if self.supervisor.moves else [])]

    def _held_up(self, now: int) -> bool:
        """Whether the computer let so much time pass since the tick began that the arm is already coming to rest by itself."""
        return self._clock is not None and 0 < self._spare < self._clock() - now

    def _send(self, setpoint: Setpoint, target: NDArray[Any] | None, measured: Floats | None, now: int) -> None:
        if measured is not None:
            self._tracking.compare(setpoint.positions[0], measured, now)
        self.driver.send(setpoint)
        self.contact.sent(setpoint)
        if target is not None:
            self.driver.grip(bool(target[-1] > 0))

    def _find(self, now: int, heard: Heard | None) -> None:
        """While contact is lost: plan to be at rest, and start from where the arm is as soon as it stands."""
        self.motion.decelerate(now)
        if self.contact.again(now, heard):
            self._start(now, heard)
        self._started = self.supervisor.state not in (State.IDLE, State.FAULT)

    def _start(self, now: int, heard: Heard | None) -> None:
        assert heard is not None
        self.motion.start(heard[1], now, 0.0 if self._compliant else SETTLE_S)
        self._tracking.reset()
        self.contact.reset()
        self._targets.begin()

    def _heard(self) -> Heard | None:
        try:
            return self.sensors.joints()
        except UserError:
            return None

    @property
    def standing(self) -> bool:
        """Whether nothing is sent any more, the motion being at rest."""
        return not self._started

    def stop(self) -> None:
        """Leave the robot standing by itself."""
        if not self.dry_run:
            self.driver.stop()
