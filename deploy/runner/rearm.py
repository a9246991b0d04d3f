"""Re-arming: the robot's own driver recovers first, which takes its time, then the latched fault is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Callable

from robolearn.deploy.runner.command import Command
from robolearn.deploy.safety import ESTOP, State
from robolearn.errors import UserError

DRIVER = "driver"  # cause of what the robot says of itself
Tell = Callable[[str, str, int], None]


class Rearming:
    """Does what somebody who re-arms asks for, without ever holding the command loop up.

    Args:
        command: the loop that is to be re-armed.
        recover: brings the driver out of its fault, and may take seconds, see :mod:`robolearn.deploy.recovery`; None where a person
            has to.
        tell: told ``(event, words, now)`` when it does not work, once for each reason.
        patience_s: how long the driver may tell of its fault after it has recovered [s].
    """

    def __init__(self, command: Command, recover: Callable[[], None] | None, tell: Tell, patience_s: float = 2.0) -> None:
        self._command, self._recover, self._tell, self._patience = command, recover, tell, round(patience_s * 1e9)
        self._thread: threading.Thread | None = None
        self._error, self._said = "", ""
        self._until: int | None = None  # [ns] when the driver's fault has to be gone
        self._revoked = ""  # by an emergency stop since it was asked

    def ask(self, now: int) -> None:
        """Somebody re-arms; nothing where that is under way, or something forbids it that the driver cannot mend."""
        if self._thread is not None or self._until is not None:
            return
        supervisor, wrong = self._command.supervisor, self._command.look(now)
        lasting = [problem for problem in wrong if problem.reaction != "wait" and problem.cause != DRIVER]
        if supervisor.state not in (State.IDLE, State.FAULT) or lasting or self._recover is None:
            self._rearm(now)
            return
        self._error = self._revoked = ""
        self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)
        self._thread.start()

    def turn(self, now: int) -> None:
        """Go on with it, at every tick; an emergency stop meanwhile takes the wish back, also one that is let go again."""
        if self._thread is not None or self._until is not None:
            pressed = [problem.words for problem in self._command.look(now) if problem.cause == ESTOP]
            self._revoked = self._revoked or "; ".join(pressed)
        if self._thread is not None and not self._thread.is_alive():
            self._thread = None
            if self._error:
                self._refuse(f"not re-armed: {self._error}", now)
            else:
                self._until = now + self._patience
        if self._until is not None:
            faulty = any(problem.cause == DRIVER for problem in self._command.look(now))
            if not faulty or not now < self._until:
                self._until = None
                if self._revoked:
                    self._refuse(f"not re-armed: {self._revoked} meanwhile", now)
                else:
                    self._rearm(now)

    def _run(self) -> None:
        assert self._recover is not None
        try:
            self._recover()
        except UserError as error:
            self._error = str(error)
        except Exception as error:  # a driver that does not keep to its types must not end the thread unheard
            self._error = f"{type(error).__name__}: {error}"

    def _rearm(self, now: int) -> None:
        supervisor, wrong = self._command.supervisor, self._command.look(now)
        faults = [problem.words for problem in wrong if problem.cause == DRIVER]
        if supervisor.state is State.IDLE:  # between episodes nothing is latched, and the robot may have a fault all the same
            if faults:
                self._refuse(f"not re-armed: {'; '.join(faults)}", now)
            return
        try:
            supervisor.rearm(now, wrong)
            self._said = ""
        except UserError as error:
            self._refuse(str(error), now)

    def _refuse(self, words: str, now: int) -> None:
        if words != self._said:
            self._tell("not re-armed", words, now)
        self._said = words
