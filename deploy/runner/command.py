"""The command loop's one tick: look, decide who may move, follow the target within the limits, send, and note how it went."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.motion import MotionGenerator
from robolearn.deploy.runner.checks import Check, TrackingCheck
from robolearn.deploy.runner.clocks import RobotClock
from robolearn.deploy.runner.contact import Contact, Heard
from robolearn.deploy.runner.target_checks import TargetChecks
from robolearn.deploy.safety import Problem, State, Supervisor
from robolearn.deploy.setpoint import Setpoint
from robolearn.errors import UserError

Floats = NDArray[np.float64]

LAST_WORD_S = 0.1  # [s] before an arm has settled from which on nothing is sent


class Driver(Protocol):
    """Sends motion to an arm and commands to a gripper."""

    def send(self, setpoint: Setpoint, behind: int = 0) -> None:
        """Send a tick's motion to a robot whose clock is ``behind`` ours [ns]; never waits."""
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
        setpoint: that was sent, or would be but for the dry run; None: nothing was.
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
        within: [s] after its stamp until which a set point may be sent; one that is later would be a jump, and the arm rests instead.
        clock: [ns], of the stamps.
        settle: [s] in which the arm's controller comes to where the joints are, before motion begins there.
        robot_clock: compares the robot's clock with that one; unless given, they need not agree.
        dry_run: send nothing.
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
        within: float = math.inf,
        clock: Callable[[], int] = time.time_ns,
        settle: float = 0.0,
        robot_clock: RobotClock | None = None,
        dry_run: bool = False,
    ) -> None:
        self.sensors, self.driver, self.motion, self.supervisor = sensors, driver, motion, supervisor
        self._robot_clock, self._behind = robot_clock or RobotClock(), 0
        self._checks: list[Check] = [*checks, tracking, self._robot_clock]
        self._tracking, self.dry_run = tracking, dry_run
        self._compliant = compliant
        self.contact, self._targets = contact or Contact(compliant=compliant), targets or TargetChecks(motion)
        self._within, self._clock, self._settle = within, clock, round(settle * 1e9)
        self._settled = 0  # [ns] when it has
        self._started = False
        self._jumped = False  # the clock, since the last tick; a jump is told once, to whoever looks first

    def look(self, now: int) -> list[Problem]:
        """All that is wrong at ``now`` [ns], but for the target; an emergency stop among it stops at once."""
        found = [*self._found(now), *self.contact.problems]
        self.supervisor.emergency(now, found)
        return found

    def _found(self, now: int) -> list[Problem]:
        found = [problem for check in self._checks for problem in check(now)]
        self._jumped = self._jumped or any(problem.cause == "clock" for problem in found)
        return found

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
            self._tracking.reset()  # it is told nothing, and has nowhere to be
            if self.contact.lost and self.contact.again(now, heard):
                self.contact.reset()
            return Tick(now, state, None, None, measured, tuple(problems))
        if state is not State.RUNNING:
            self._targets.begin()
        if self.contact.lost:
            self._find(now, heard)
            return Tick(now, state, None, None, measured, tuple(problems))
        followed = target if state is State.RUNNING and not self.settling(now) else None
        if self._compliant and measured is not None:
            self.motion.lean(measured)
        share = self.supervisor.scale(now, self._settled)
        setpoint = self.motion.decelerate(now) if followed is None else self.motion.follow(followed, now, share)
        sent = self.dry_run or self._send(setpoint, followed, measured, now)
        if followed is not None:
            self._targets.followed()
        self._started = state not in (State.IDLE, State.FAULT) or not self.motion.resting
        if not self._started:
            self.contact.reset()  # what moves the arm from now on is not what was sent
        return Tick(now, state, followed, setpoint if sent else None, measured, tuple(problems))

    def _problems(self, now: int, heard: Heard | None, target: NDArray[Any] | None) -> list[Problem]:
        """What is wrong with the world, the way to the arm, and the target."""
        problems = self._found(now)
        clock, self._jumped = self._jumped, False
        resting = not self._started or (self.motion.resting and not self.supervisor.moves)
        self.contact.look(now, heard, resting=resting, clock=clock)
        self._robot_clock.look(now, None if heard is None else heard[0])
        if self._started and not self.dry_run and self._robot_clock.behind != self._behind:
            self.contact.lose("the clock jumped")
        return [*problems, *self.contact.problems, *(self._targets.look(target) if self.supervisor.moves else [])]

    def _send(self, setpoint: Setpoint, target: NDArray[Any] | None, measured: Floats | None, now: int) -> bool:
        """Send it, if it is not too late."""
        if measured is not None:
            self._tracking.compare(setpoint.positions[0], measured, now)
        if self.settling(now):
            left = (self._settled - setpoint.stamp) * 1e-9
            if left < LAST_WORD_S:
                return False
            setpoint = setpoint.only_end(left)
        late = (self._clock() - setpoint.stamp) * 1e-9
        if late > self._within:
            self.contact.lose(f"a tick of the command loop took {1000 * late:.0f} ms")
            return False
        self.driver.send(setpoint, self._behind)
        self.contact.sent(setpoint)
        if target is not None:
            self.driver.grip(bool(target[-1] > 0))
        return True

    def _find(self, now: int, heard: Heard | None) -> None:
        """While contact is lost: plan to be at rest, and start from where the arm is as soon as it stands."""
        self.motion.decelerate(now)
        self._tracking.reset()
        if self._robot_clock.known and self.contact.again(now, heard):
            self._start(now, heard)
        self._started = self.supervisor.state not in (State.IDLE, State.FAULT)

    def _start(self, now: int, heard: Heard | None) -> None:
        assert heard is not None
        self.motion.start(heard[1], now)
        self._settled, self._behind = now + self._settle, self._robot_clock.behind
        self._tracking.reset()
        self.contact.reset()
        self._targets.begin()

    def _heard(self) -> Heard | None:
        try:
            return self.sensors.joints()
        except UserError:
            return None

    def settling(self, now: int) -> bool:
        """Whether motion does not begin yet at ``now`` [ns]: a stiff arm's controller wants to be a little beside where the joints are."""
        return now < self._settled

    @property
    def standing(self) -> bool:
        """Whether nothing is sent any more, the motion being at rest."""
        return not self._started

    def stop(self) -> None:
        """Leave the robot standing by itself."""
        if not self.dry_run:
            self.driver.stop()
