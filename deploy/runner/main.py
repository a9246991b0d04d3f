"""The command ``robolearn run``: a policy on a robot, over the robot's own drivers, with safety that is on unless it is turned off."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from omegaconf import DictConfig

from robolearn.deploy.cadence import AGE, REACTION
from robolearn.deploy.robot import Robot
from robolearn.deploy.runner.command import Command, Tick
from robolearn.deploy.runner.operated import starts
from robolearn.deploy.runner.options import checked
from robolearn.deploy.runner.outcome import as_text, check_beside, write_results
from robolearn.deploy.runner.parts import Parts
from robolearn.deploy.runner.ticker import Ticker
from robolearn.deploy.safety import State
from robolearn.nodes import instantiate, to_dict
from robolearn.progress import Progress
from robolearn.robot_run import write_run, write_statistics
from robolearn.run import start_run

SWITCH_S = 0.0005  # [s] after which a thread that computes lets the command loop in


def main(cfg: DictConfig) -> int:
    """``robolearn run``: 0 when every episode was played to its end and none was lost on the way to the store.

    Raises:
        UserError: robot and policy do not fit each other, a server or driver is not there, or a fault ended the run.
    """
    options = to_dict(cfg)
    seeds = checked(options)
    robot: Robot = instantiate(options["robot"])
    lost: list[str] = []
    with start_run(cfg, "run", robot.name, log=False, begins=True) as run:
        with ExitStack() as stack:
            parts = Parts(options, robot, run, stack)
            about, stages = parts.about(), parts.stages
            beside = check_beside(options, seeds, stages)
            write_run(run.dir, about)
            try:
                with contextlib.closing(parts.recorder), _stopping(parts.command), _punctual():
                    play(parts, robot.rate_hz, seeds, run.begin)
            finally:
                lost += parts.recorder.lost
                if lost:
                    print(f"error: not in the store: {'; '.join(lost)}", file=sys.stderr)
                document = write_results(run.dir, parts.episodes.results, stages, about, beside, lost)
                troubles = [problem.words for problem in parts.recorder.problems()]
                write_statistics(run.dir, parts.cadence.summary(), parts.trace.arrays(), parts.cadence.arrays(), problems=troubles)
                if not options["json"]:
                    _show(parts.cadence.table())
        run.finish(document)
    print(json.dumps(document) if options["json"] else as_text(document, run.dir))
    return 1 if lost else 0


def play(parts: Parts, rate_hz: float, seeds: Sequence[int], on_begin: Callable[[], None]) -> None:
    """Tick through the episodes of ``seeds``, ``rate_hz`` times a second; ``on_begin`` is called whenever the robot begins to run."""
    episodes, cadence, clock = parts.episodes, parts.cadence, parts.transport.now
    with Progress(f"run {parts.about()['robot']}", len(seeds)) as bar:
        ticker, late, missed, answered = Ticker(rate_hz, sleep=lambda seconds: parts.attend(seconds, clock)), 0, 0, -1
        said: State | None = None
        told = 0
        begun = time.monotonic_ns()
        operator = parts.crew.operator
        wanted = starts(seeds, episodes.results, _never if operator is None else operator.skips)
        for tick in episodes.story(wanted, clock()):
            if operator is not None:
                operator.see(tick, parts.command.supervisor.fault)
            log = parts.command.supervisor.log
            if tick.state is not said or len(log) != told:
                if tick.state is State.RUNNING and said is not State.RUNNING:
                    on_begin()
                said, told = tick.state, len(log)
                parts.stops.say(said.value, log[-1].why if log else "")
            parts.trace.add(tick.time, tick.state.value, measured=tick.measured, target=tick.target, setpoint=tick.setpoint)
            for reason in tick.setpoint.reasons if tick.setpoint is not None else ():
                cadence.count("clamps", reason)
            cadence.tick(begun, late, time.monotonic_ns() - begun, ticker.missed - missed)
            missed = ticker.missed
            answered = _measure(parts, tick, answered)
            _advance(bar, episodes.results)
            late = ticker.wait()
            begun = time.monotonic_ns()
            episodes.tell(clock() - late)  # ticks are on a grid, however late they are taken
        _advance(bar, episodes.results)


def _never() -> bool:
    return False


def _measure(parts: Parts, tick: Tick, answered: int) -> int:
    """Note how old an observation was and how long its first command took, once a policy step; the step."""
    autonomy = parts.autonomy
    if autonomy is None:
        return answered
    if autonomy.answered not in (answered, -1) and tick.target is not None:
        parts.cadence.add(REACTION, time.monotonic() - autonomy.begun)
        parts.cadence.add(AGE, (tick.time - (parts.sensors.newest() or tick.time)) * 1e-9)
    return autonomy.answered


def _advance(bar: Progress, results: Sequence[Any]) -> None:
    if len(results) > bar.done:
        won = sum(bool(result.success) for result in results)
        bar.advance(len(results) - bar.done, success=f"{100 * won / len(results):.0f}%")


def _show(table: Any) -> None:
    from rich.console import Console

    Console().print(table)


@contextlib.contextmanager
def _stopping(command: Command) -> Iterator[None]:
    """However it ends, the robot is left standing before anything is written: an arm may go on with what it was sent last."""
    try:
        yield
    finally:
        command.stop()


@contextlib.contextmanager
def _punctual() -> Iterator[None]:
    """Keep the interpreter from holding the loop up: no collections of garbage, and threads that let go soon."""
    before = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        gc.enable()
        gc.unfreeze()
