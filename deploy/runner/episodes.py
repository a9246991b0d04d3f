"""The story of a run: reset, arm, play until it is over, come to rest; once for every seed, one tick at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.runner.command import Command, Tick
from robolearn.deploy.runner.rearm import DRIVER, Rearming
from robolearn.deploy.runner.roles import Actor, Journal, Judge, Observation, Sensors, Stops
from robolearn.deploy.safety import ESTOP, Problem, State
from robolearn.errors import UserError

ON_FAULT = ("end", "wait", "rearm")


@dataclass(frozen=True)
class Result:
    """What became of one episode; ``success`` is None where nobody said."""

    seed: int
    success: bool | None
    steps: int
    stages: Mapping[str, bool]
    reason: str


@dataclass
class _Play:
    """An episode under way: the step whose action is not known yet."""

    seed: int
    period: int
    due: int
    steps: int = 0
    observation: Observation | None = None
    stamp: int = 0
    intervened: bool = False


class Episodes:
    """Plays episodes on a robot.

    :meth:`story` is a generator that is advanced once a tick: what it is sent is the time, what it yields is the tick.

    Args:
        command: the robot's side.
        autonomy: the policy's side, or an operator's.
        sensors: what the policy sees.
        judge: who prepares and judges.
        stops: where operators are heard.
        journal: where it is written down.
        control_hz: policy steps a second.
        max_steps: after which an episode is cut.
        patience_s: how long it may take until nothing is wrong [s]; infinite for a person who sees on a page what is.
        scene_s: how long a scene may take to be ready [s]; infinite where a person says so, who is asked again where something is wrong.
        recover: brings the robot's driver out of its fault when somebody re-arms; may take seconds.
        on_fault: ``end`` the run, ``wait`` until somebody re-arms, or ``rearm`` by itself, which is for simulated robots alone.
        provenance: of every episode, JSON-ready.
        tell: told ``(event, words)`` of what somebody who watches has to know.
    """

    def __init__(
        self,
        command: Command,
        autonomy: Actor,
        sensors: Sensors,
        judge: Judge,
        stops: Stops,
        journal: Journal,
        *,
        control_hz: float,
        max_steps: int,
        patience_s: float = 20.0,
        scene_s: float | None = None,
        recover: Callable[[], None] | None = None,
        on_fault: str = "wait",
        provenance: Mapping[str, Any] | None = None,
        tell: Callable[[str, str], None] = lambda event, words: None,
    ) -> None:
        self.command, self.autonomy, self._sensors, self._judge = command, autonomy, sensors, judge
        self._stops, self._journal, self._provenance = stops, journal, dict(provenance or {})
        self._period, self._max_steps, self._patience = round(1e9 / control_hz), max_steps, patience_s * 1e9
        self._scene = self._patience if scene_s is None else scene_s * 1e9
        if on_fault not in ON_FAULT:
            raise UserError(f"no on_fault={on_fault!r}; there are {', '.join(ON_FAULT)}")
        self._on_fault = on_fault
        self.results: list[Result] = []
        self._told = 0
        self._wrong: Sequence[Problem] = ()
        self._tell = tell
        self._rearming = Rearming(command, recover, self._mark)
        self._left = False  # somebody has quit

    def story(self, seeds: Iterable[int], now: int) -> Iterator[Tick]:
        """Play the episodes of ``seeds`` until somebody quits; :attr:`results` holds what came of those that ended.

        Raises:
            UserError: a scene or the robot does not become ready, or a fault is not re-armed within the patience.
        """
        self._now = now
        for seed in seeds:
            yield from self._prepare(seed)
            if not self._left:
                yield from self._play(seed)
            yield from self._rest(seed)
            if self._left:
                return

    def tell(self, now: int) -> None:
        """The time of the tick to come."""
        self._now = now

    def _tick(self, target: NDArray[Any] | None) -> Tick:
        """One tick, and what changed in it written down."""
        tick = self.command.tick(self._now, target)
        log = self.command.supervisor.log
        for entry in log[self._told :]:
            self._mark(entry.after.value, entry.why, entry.time)
        self._told = len(log)
        return tick

    def _prepare(self, seed: int) -> Iterator[Tick]:
        """Bring the scene to its start and the robot into motion; where something comes between, the scene is set anew."""
        begun = False
        while not (begun or self._left):
            yield from self._set(seed)
            begun = yield from self._begin(seed)

    def _set(self, seed: int) -> Iterator[Tick]:
        """Wait until the scene is at its start."""
        self._judge.prepare(seed)
        until = self._now + self._scene
        while not (self._judge.ready or self._quits()):
            if self._now > until:
                words = f"the scene of seed {seed} was not ready within {self._scene * 1e-9:g} s"
                hint = "is `robolearn sim-robot` running? simulate={task: ...} starts one"
                raise UserError("; ".join([words, *self._wrong_now(), hint]))
            yield self._tick(None)

    def _begin(self, seed: int) -> Generator[Tick, None, bool]:
        """Move as soon as nothing is wrong; returns whether it does."""
        self.autonomy.reset(seed)
        until, since = self._now + self._patience, self._now
        while not self._quits():
            if self.command.supervisor.state in (State.STOPPING, State.FAULT):
                yield from self._rest(seed)
                return False
            heard = (self._sensors.newest() or 0) >= since  # what they told before is of another scene
            wrong = self._wrong_now()
            if self.command.supervisor.state is State.IDLE and not wrong and heard and self.command.standing:
                self._stops.events()  # what was pressed before the beginning is of no episode
                self.command.arm(self._now)
                while self.command.settling(self._now):
                    yield self._tick(None)
                return True
            if self._now > until:
                words = "; ".join(wrong) or f"the robot is {self.command.supervisor.state.value}"
                if self._scene < math.inf:
                    raise UserError(f"not begun with seed {seed}: {words}")
                self._mark("not begun", words, self._now)
                return False
            yield self._tick(None)
        return False

    def _wrong_now(self) -> list[str]:
        return [problem.words for problem in self.command.look(self._now)]

    def _mark(self, event: str, words: str, now: int) -> None:
        """Write down what happened, and tell whoever watches."""
        self._journal.mark(event, words, now)
        self._tell(event, words)

    def _quits(self) -> bool:
        """Hear what is wanted between episodes; whether it is the end."""
        events = self._stops.events()
        self._heed(events)
        self._left = self._left or "quit" in events
        return self._left

    def _play(self, seed: int) -> Iterator[Tick]:
        play = _Play(seed, self._period, self._now)
        self._journal.begin(**{"source": "rollout", **self._provenance, "seed": seed})
        while True:
            events = self._stops.events()
            self._heed(events)
            before = self.command.supervisor.state
            if before is State.RUNNING or (before is State.HOLD and self._only_inference()):
                self._step(play)
            elif before is State.HOLD:
                play.due = self._now
                self.autonomy.restart()  # an answer that came meanwhile is of what was before
            self.autonomy.poll(self._now)
            tick = self._tick(self.autonomy.target)
            self._wrong = tick.problems
            yield tick
            if before is not State.HOLD and tick.state is State.HOLD:
                self.autonomy.restart()
                play.observation = None  # what comes after the hold was not done for it
            result = self._ended(play, tick.state, events)
            if result is not None:
                self._left = result.reason == "quit"
                self._finish(play, result, discard=result.reason in ("discard", "quit"))
                return

    def _only_inference(self) -> bool:
        return {problem.cause for problem in self._wrong} <= {"inference"}

    def _step(self, play: _Play) -> None:
        """Begin the policy's next step, if it is due."""
        if self._now < play.due:
            return
        self._write_down(play)
        behind = (self._now - play.due) // play.period
        play.due += (1 + behind) * play.period
        play.observation, play.stamp = self._sensors.observation(self._now), self._now
        self.autonomy.begin_step(play.steps, play.observation, self._now)
        play.steps += 1

    def _write_down(self, play: _Play) -> None:
        """The last step with the action that came of it."""
        if play.observation is not None and self.autonomy.target is not None:
            self._journal.step(play.observation, np.asarray(self.autonomy.target, np.float32), stamp=play.stamp)
        play.observation = None

    def _ended(self, play: _Play, state: State, events: Sequence[str]) -> Result | None:
        verdict = self._judge.verdict()
        told = next((event for event in events if event in ("success", "failure", "discard", "quit")), None)
        if told in ("success", "failure"):
            return Result(play.seed, told == "success", play.steps, verdict.stages, "" if told == "success" else "the operator said so")
        if told is not None:
            return Result(play.seed, verdict.success, play.steps, verdict.stages, told)
        if verdict.over:
            return Result(play.seed, verdict.success, play.steps, verdict.stages, verdict.reason)
        if state in (State.STOPPING, State.FAULT):
            return Result(play.seed, False, play.steps, verdict.stages, f"fault: {self.command.supervisor.fault}")
        if play.steps >= self._max_steps and self._now >= play.due:
            return Result(play.seed, verdict.success or False, play.steps, verdict.stages, "time limit")
        return None

    def _finish(self, play: _Play, result: Result, *, discard: bool) -> None:
        self._write_down(play)
        self.command.supervisor.disarm(self._now, result.reason or "done")
        if discard:
            self._journal.discard()
            return
        cut = result.reason == "time limit"
        self._journal.finish(result.success, terminated=not cut and result.success is not None, notes=result.reason, truncated=cut)
        self.results.append(result)

    def _rest(self, seed: int) -> Iterator[Tick]:
        """Tick until the robot stands, and any fault was re-armed; what a person has stopped, a person re-arms."""
        supervisor, mended = self.command.supervisor, False
        while not self.command.standing or (supervisor.state in (State.STOPPING, State.FAULT) and not self._left):
            latched = supervisor.state is State.FAULT and self.command.standing
            if latched and self._on_fault == "end":
                raise UserError(f"ended by a fault: {supervisor.fault}")
            by_itself = latched and self._on_fault == "rearm" and supervisor.cause != ESTOP
            if by_itself and not mended:
                self._judge.prepare(seed)  # a simulated robot's own fault ends with its scene
                mended = True
            self._quits()
            if by_itself and self._judge.ready:
                self._heed(["rearm"])
            yield self._tick(None)

    def _heed(self, events: Sequence[str]) -> None:
        """Re-arm when asked; a refusal is written down."""
        if "rearm" in events and (self.command.supervisor.state is not State.IDLE or self._driver_faulty()):
            self._rearming.ask(self._now)
        self._rearming.turn(self._now)

    def _driver_faulty(self) -> bool:
        return any(problem.cause == DRIVER for problem in self.command.look(self._now))
