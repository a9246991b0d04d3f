"""Drills of real processes over real DDS, in real time: runner, simulated robot or policy server is killed or stopped in mid-motion."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from robolearn.deploy.drills.cell import Cell
from robolearn.deploy.drills.drill import Row
from robolearn.deploy.drills.process import Process
from robolearn.deploy.drills.track import FAST
from robolearn.errors import UserError

GROUP = "processes"
STOPPED = 0.7  # [s]


@dataclass(frozen=True)
class ProcessDrill:
    """The arm moves at speed when something happens to one of the processes.

    Args:
        name: short.
        fault: in words.
        strike: has it happen.
        says: what the runner has to write down or complain of; nothing where empty.
        ends: the runner's exit code; None: it runs on.
        within: [s] in which the arm has to stand; None: it is not heard of any more.
        seconds: to watch after the fault.
        again: the arm has to move at speed by then.
    """

    name: str
    fault: str
    strike: Callable[[Cell], None]
    says: str = ""
    ends: int | None = None
    within: float | None = 0.6
    seconds: float = 2.0
    again: bool = False

    def run(self) -> Row:
        """Do it; a machine that is too busy for the arm to begin to move costs this row, not the table."""
        try:
            with Cell() as cell:
                cell.heard.track.mark()
                since, faults = len(cell.events), sum(cell.heard.counts.values())
                self.strike(cell)
                cell.play(self.seconds)
                cell.wait(lambda: self.ends is None or not cell.runner.left)
                return self._row(cell, since, faults)
        except UserError as error:
            return Row(GROUP, self.fault, str(error), None, 0.0, "", 0, 0, None, False)

    def _row(self, cell: Cell, since: int, faults: int) -> Row:
        heard, runner, track = cell.heard, cell.runner, cell.heard.track
        told = [f"{event['event']} ({event['words']})" for event in cell.events[since:] if event["words"]]
        told += [f"the runner complains: {runner.complained}"] if runner.code and runner.complained else []
        told += ["processes of the runner are left"] if runner.code is not None and runner.left else []
        told += [f"the robot reports {heard.fault}"] if heard.fault else []
        did, stood = "; ".join(told) or ("went on" if runner.code is None else "the arm comes to rest by itself"), track.standstill()
        guard = sum(heard.counts.values()) - faults or int(bool(heard.fault))
        soon = stood is None if self.within is None else stood is not None and stood <= self.within
        moves = not self.again or track.fastest(1.0) > FAST
        alone = runner.code is None or not runner.left
        sound = runner.code == self.ends and self.says in did and soon and moves and alone and not guard and not track.outside
        state = heard.state if runner.code is None else f"exit {runner.code}"
        return Row(GROUP, self.fault, did, stood, track.moved(), state, guard, track.outside, None, sound)


def _kill(process: Callable[[Cell], Process]) -> Callable[[Cell], None]:
    return lambda cell: process(cell).signal(signal.SIGKILL)


def _stop(cell: Cell) -> None:
    cell.runner.signal(signal.SIGSTOP)
    cell.play(STOPPED)
    cell.runner.signal(signal.SIGCONT)


DRILLS = [
    ProcessDrill("sigkill_runner", "runner's process is killed", _kill(lambda cell: cell.runner), ends=-signal.SIGKILL),
    ProcessDrill("sigstop_runner", "runner's process is stopped for 0.7 s", _stop, again=True, seconds=3.0),
    ProcessDrill(
        "sigkill_robot",
        "robot's process is killed",
        _kill(lambda cell: cell.robot),
        says="measurement on /joint_states is",
        ends=1,
        within=None,
    ),
    ProcessDrill(
        "sigkill_server", "policy server's process is killed", _kill(lambda cell: cell.server), says="no action", ends=1, within=2.5
    ),
]
