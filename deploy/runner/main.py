"""The command ``robolearn run``: a policy on a robot, over the robot's own drivers, with safety that is on unless it is turned off."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from omegaconf import DictConfig

from robolearn.deploy.cadence import ROUND_TRIP, SERVER, Cadence
from robolearn.deploy.chunks.executor import ChunkExecutor
from robolearn.deploy.client import Welcome
from robolearn.deploy.latency import DelayEstimator
from robolearn.deploy.recording.recorder import Recorder
from robolearn.deploy.robot import Robot
from robolearn.deploy.runner.autonomy import Autonomy
from robolearn.deploy.runner.checks import Check, ClockCheck, LateCheck, TrackingCheck
from robolearn.deploy.runner.children import SimulatedRobotChild
from robolearn.deploy.runner.command import Command
from robolearn.deploy.runner.contact import Contact
from robolearn.deploy.runner.driver import RobotDriver
from robolearn.deploy.runner.episodes import Episodes
from robolearn.deploy.runner.journal import Unrecorded
from robolearn.deploy.runner.judges import OperatorJudge, SimulatedJudge
from robolearn.deploy.runner.outcome import finish_run
from robolearn.deploy.runner.stops import Stops
from robolearn.deploy.runner.target_checks import TargetChecks
from robolearn.deploy.runner.ticker import Ticker
from robolearn.deploy.safety import Problem, Supervisor
from robolearn.deploy.sensors.sensors import Sensors
from robolearn.deploy.serving.child import spawn_server
from robolearn.deploy.serving.inference import Inference
from robolearn.deploy.trace import Trace
from robolearn.deploy.transport.base import Transport
from robolearn.errors import UserError, check_positive
from robolearn.nodes import instantiate, to_dict
from robolearn.progress import Progress
from robolearn.run import Run, start_run
from robolearn.seeding import split_seeds

SWITCH_S = 0.0005  # [s] after which a thread that computes lets the command loop in


def main(cfg: DictConfig) -> int:
    """``robolearn run``: 0 when every episode was played to its end.

    Raises:
        UserError: robot and policy do not fit each other, a server or driver is not there, or a fault ended the run.
    """
    options = to_dict(cfg)
    seeds = split_seeds(options["seeds"], int(options["episodes"]), int(options["first_seed"])).tolist()
    check_positive(episodes=len(seeds), steps=options["steps"], control_hz=options["control_hz"])
    if bool(options["checkpoint"]) == bool(options["server"]):
        raise UserError("give what acts: checkpoint=<run folder or checkpoint>, or server=ws://HOST:PORT of `robolearn serve`")
    if options["on_fault"] == "rearm" and not options["simulate"]:
        raise UserError("on_fault=rearm is for simulated robots alone: on a real one somebody has to look first")
    robot: Robot = instantiate(options["robot"])
    with ExitStack() as stack:
        run = stack.enter_context(start_run(cfg, "run", robot.name, log=False))
        story = _Assembly(options, robot, run, stack)
        with _punctual():
            story.play(seeds)
        document = finish_run(run, robot, story.episodes.results, story.cadence, story.trace, story.about)
        if not options["json"]:
            from rich.console import Console

            Console().print(story.cadence.table())
    print(
        json.dumps(document)
        if options["json"]
        else f"{document['text']}\nrun folder: {run.dir}; `robolearn report runs=[{run.dir}]` draws it"
    )
    return 0


class _Assembly:
    """All parts of a run, put together in the order in which they need each other; ``stack`` takes them apart again."""

    def __init__(self, options: Mapping[str, Any], robot: Robot, run: Run, stack: ExitStack) -> None:
        self._options, self._robot = options, robot
        if options["simulate"]:
            stack.callback(SimulatedRobotChild({**options["simulate"]}).close)
        spec = robot.spec(str(options["task"]), float(options["control_hz"]))
        inference = Inference(*self._server(stack), timeout=2.0, spec=spec, token=self._token)
        stack.callback(inference.close)
        welcome = inference.open()
        keys = tuple(dict.fromkeys((*welcome.observation_keys, *welcome.refine_keys)))
        robot.check_serves(welcome.spec, keys)
        transport: Transport = stack.enter_context(instantiate(options["transport"]))
        recorder = stack.enter_context(self._recorder(run, transport, spec, welcome))
        sensors = stack.enter_context(Sensors(robot, transport, spec, tap=recorder.received if options["record"] else None))
        driver = RobotDriver(robot, transport, recorder.sent if options["record"] else None)
        stack.callback(driver.close)
        stops = Stops(transport, deadman=bool(options["safety"]["deadman"]))
        judge = self._judge(transport, recorder)
        self.cadence, self.trace, self._inference = Cadence(robot.rate_hz), Trace(robot.joints), inference
        autonomy = self._autonomy(inference, welcome)
        command = self._command(
            robot,
            sensors,
            driver,
            autonomy,
            [stops.problems, driver.problems, *_checks(judge), self._recorder_check(recorder), ClockCheck(clock=transport.now)],
        )
        stack.callback(command.stop)
        self.about = {"policy": welcome.model, "task": welcome.spec.task, "robot": robot.name, "stages": list(welcome.spec.stages)}
        self.episodes = Episodes(
            command,
            autonomy,
            sensors,
            judge,
            stops,
            recorder,
            control_hz=float(options["control_hz"]),
            max_steps=int(options["steps"]),
            recover=None if robot.recovery is None else lambda: robot.recovery.recover(transport),
            on_fault=str(options["on_fault"]),
            provenance={"task": welcome.spec.task, "checkpoint": options["checkpoint"] or options["server"], "robot": robot.name},
        )
        self._transport, self._command_loop, self._autonomy_side = transport, command, autonomy

    def play(self, seeds: list[int]) -> None:
        """Tick until the story ends."""
        ticker, cadence, clock = Ticker(self._robot.rate_hz), self.cadence, self._transport.now
        missed = 0
        with Progress(f"run {self._robot.name}", len(seeds)) as bar:
            begun = time.monotonic_ns()
            for tick in self.episodes.story(seeds, clock()):
                now = time.monotonic_ns()
                self.trace.add(tick.time, tick.state.value, measured=tick.measured, target=tick.target, setpoint=tick.setpoint)
                if tick.setpoint is not None:
                    for reason in tick.setpoint.reasons:
                        cadence.count("clamps", reason)
                cadence.tick(begun, self._late, now - begun, ticker.missed - missed) if bar.done >= 0 else None
                missed = ticker.missed
                done = len(self.episodes.results)
                if done > bar.done:
                    won = sum(bool(result.success) for result in self.episodes.results)
                    bar.advance(done - bar.done, success=f"{100 * won / done:.0f}%")
                self._late = ticker.wait()
                begun = time.monotonic_ns()
                self.episodes.tell(clock())

    _late = 0

    def _server(self, stack: ExitStack) -> tuple[str]:
        """Where the policy is served; a child of this run's where a checkpoint is given."""
        self._token = os.environ.get("ROBOLEARN_TOKEN")
        if self._options["server"]:
            return (str(self._options["server"]),)
        child = spawn_server({"checkpoint": self._options["checkpoint"], **self._options["policy"]})
        stack.callback(child.close)
        self._token = child.token
        return (child.url,)

    def _recorder(self, run: Run, transport: Transport, spec: Any, welcome: Welcome) -> Any:
        if not self._options["record"]:
            return Unrecorded()
        recorder = Recorder(
            run.dir,
            transport.messages.definition,
            spec,
            store=self._options["store"],
            image_codec=str(self._options["image_codec"]),
            encoding="ros1" if transport.name == "rospy" else "cdr",
            run={"robot": self._robot.name, "policy": welcome.model},
            clock=transport.now,
        )
        recorder.wait_ready()
        return recorder

    def _judge(self, transport: Transport, recorder: Any) -> Any:
        kind = self._options["judge"] or ("simulated" if self._options["simulate"] or self._robot.name.startswith("sim_") else "operator")
        if kind == "operator":
            return OperatorJudge()
        level = (self._options["simulate"] or {}).get("task.env.randomness")
        return SimulatedJudge(transport, level, recorder.received)

    def _autonomy(self, inference: Inference, welcome: Welcome) -> Autonomy:
        chosen = self._options["execution"]
        horizon = int(chosen["action_horizon"] or welcome.action_horizon)
        executor = ChunkExecutor(welcome.spec.action, welcome.prediction_horizon, horizon, str(chosen["mode"]))
        delay = DelayEstimator(1 / welcome.control_hz, grace=chosen["grace_ms"] / 1000)
        return Autonomy(
            inference,
            executor,
            delay,
            observation_horizon=welcome.observation_horizon,
            residual=welcome.residual,
            refine_s=chosen["refine_ms"] / 1000,
            note=self._note,
        )

    def _note(self, outcome: Any) -> None:
        """Put an answer's latencies into the cadence."""
        if outcome.value is not None:
            self.cadence.add(f"{ROUND_TRIP}: {outcome.kind}", outcome.finished - outcome.submitted)
            self.cadence.add(f"{SERVER}: {outcome.kind}", float(outcome.timings.get("inference", 0.0)))
            if outcome.info.get("fallback"):
                self.cadence.count("steering fell back", str(outcome.info["fallback"]))

    def _command(self, robot: Robot, sensors: Sensors, driver: RobotDriver, autonomy: Autonomy, checks: list[Check]) -> Command:
        chosen = self._options["safety"]

        def sensing(now: int) -> Iterator[Problem]:
            for problem in sensors.problems(now):
                yield Problem(f"{problem.kind} {problem.sensor}", problem.words)

        late = LateCheck(autonomy, int(chosen["late_steps"]))
        motion, compliant = robot.motion(), robot.robot_lag is not None
        return Command(
            sensors,
            driver,
            motion,
            Supervisor(float(chosen["hold_s"]), float(chosen["ramp_s"]), int(chosen["holds"])),
            [sensing, *checks, late],
            TrackingCheck(robot.chain, float(chosen["tracking_rad"]), float(chosen["tracking_m"]), compliant=compliant),
            compliant=compliant,
            contact=Contact(deaf_s=float(chosen["deaf_s"]), follow_rad=float(chosen["follow_rad"]), compliant=compliant),
            targets=TargetChecks(motion, float(chosen["near_m"]), float(chosen["near_rad"])),
            dry_run=bool(self._options["dry_run"]),
        )

    def _recorder_check(self, recorder: Any) -> Check:
        required = bool(self._options["record"]) and bool(self._options["safety"]["recorder"])

        def check(now: int) -> Iterator[Problem]:
            if required:
                for problem in recorder.problems():
                    if problem.kind != "behind":
                        yield Problem(f"recorder {problem.kind}", problem.words)

        return check


def _checks(judge: Any) -> list[Check]:
    return [judge.problems] if hasattr(judge, "problems") else []


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
