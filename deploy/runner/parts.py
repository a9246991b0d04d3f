"""Puts a run together, each part in its turn, and takes it apart again."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from robolearn.deploy.cadence import ROUND_TRIP, SERVER, Cadence
from robolearn.deploy.chunks.executor import ChunkExecutor
from robolearn.deploy.client import Welcome
from robolearn.deploy.latency import DelayEstimator
from robolearn.deploy.messages.ros1 import definition as ros1_definition
from robolearn.deploy.recording.recorder import Recorder
from robolearn.deploy.robot import Robot
from robolearn.deploy.runner.autonomy import Autonomy
from robolearn.deploy.runner.checks import Check, LateCheck
from robolearn.deploy.runner.children import SimulatedRobotChild
from robolearn.deploy.runner.command import Command
from robolearn.deploy.runner.commanding import make_command
from robolearn.deploy.runner.dials import Dials
from robolearn.deploy.runner.driver import RobotDriver
from robolearn.deploy.runner.episodes import Episodes
from robolearn.deploy.runner.journal import Unrecorded
from robolearn.deploy.runner.judges import OperatorJudge, SimulatedJudge
from robolearn.deploy.runner.operating import Beside, Crew, assemble_crew
from robolearn.deploy.runner.stops import Stops
from robolearn.deploy.safety import ESTOP, Problem
from robolearn.deploy.sensors.sensors import Sensors
from robolearn.deploy.serving.child import spawn_server
from robolearn.deploy.serving.inference import Inference
from robolearn.deploy.trace import Trace
from robolearn.deploy.transport.base import Transport
from robolearn.nodes import instantiate
from robolearn.provenance import describe
from robolearn.run import Run
from robolearn.spec import EnvSpec

TOKEN = "ROBOLEARN_TOKEN"
PASSING = ("behind", "lost", "events")  # what a recorder says of what is over
PATIENCE_S = 20.0  # [s] for a scene to be ready, where no person begins
SOUND_S = 3.0  # [s] after a person has begun until which what is wrong may pass
TOLD = ("hold", "fault", "not re-armed", "not begun")  # to whoever stands beside the robot


class Parts:
    """All parts of a run.

    Args:
        options: of the verb.
        robot: which.
        run: whose folder is recorded into.
        stack: takes the parts apart.

    Raises:
        UserError: a part is not there, or does not fit the others; nothing was commanded.
    """

    def __init__(self, options: Mapping[str, Any], robot: Robot, run: Run, stack: ExitStack) -> None:
        self._options, self._robot, self._stack = options, robot, stack
        self.cadence, self.trace = Cadence(robot.rate_hz), Trace(robot.joints)
        self.transport: Transport = stack.enter_context(instantiate(options["transport"]))
        self._simulated = SimulatedRobotChild(options["simulate"]) if options["simulate"] else None
        if self._simulated is not None:
            stack.callback(self._simulated.close)
        self.inference: Inference | None = None
        self.welcome: Welcome | None = None
        hz = float(options["control_hz"])
        if options["checkpoint"] or options["server"]:
            self.inference, self.welcome = self._inference(robot.spec(str(options["task_name"] or ""), hz))
        self.spec = robot.spec(str(options["task_name"] or self._task()), hz)
        self.recorder = self._recorder(run)
        tap, sent = (self.recorder.received, self.recorder.sent) if options["record"] else (None, None)
        self.sensors = stack.enter_context(Sensors(robot, self.transport, self.spec, tap=tap))
        driver = RobotDriver(robot, self.transport, sent)
        stack.callback(driver.close)
        self.stops = Stops(self.transport, deadman=bool(options["safety"]["deadman"]), estop=robot.estop)
        self.judge = self._judge()
        self.dials = self._dials()
        self.autonomy = self._autonomy()
        self.crew = self._crew()
        self.command = self._command(driver)
        stack.callback(self.command.stop)
        self.episodes = self._episodes()

    def about(self) -> dict[str, Any]:
        """What runs, JSON-ready."""
        options = self._options
        return {
            "robot": self._robot.name,
            "policy": "" if self.welcome is None else self.welcome.model,
            "checkpoint": str(options["checkpoint"] or options["server"] or ""),
            "device": str(options["device"] or ""),
            "task": self._task() or self.spec.task,
            "split": str(options["seeds"]),
            "mode": str(options["execution"]["mode"]),
            "transport": self.transport.name,
            "rate_hz": self._robot.rate_hz,
            "control_hz": float(options["control_hz"]),
            "dry_run": bool(options["dry_run"]),
            "store": str(options["store"] or "episodes.zarr") if options["record"] else "",
        }

    @property
    def stages(self) -> tuple[str, ...]:
        """Of the task, in order, as far as they are known."""
        return () if self.welcome is None else self.welcome.spec.stages

    def attend(self, seconds: float, clock: Callable[[], int]) -> None:
        """Sleep; an answer of the inference that comes meanwhile is seen to at once, so that the next tick heeds it."""
        if self.inference is None or self.autonomy is None:
            time.sleep(max(0.0, seconds))
        elif self.inference.came.wait(max(0.0, seconds)):
            self.inference.came.clear()
            self.autonomy.poll(clock())

    def _task(self) -> str:
        """Name of the policy's task, or else of the simulated robot's."""
        return str((self._options["simulate"] or {}).get("task", "")) if self.welcome is None else self.welcome.spec.task

    def _inference(self, spec: EnvSpec) -> tuple[Inference, Welcome]:
        """Where the policy is served, by a child of this run's where a checkpoint is given, and what is."""
        if self._options["server"]:
            url, token = str(self._options["server"]), os.environ.get(TOKEN)
        else:
            child = spawn_server({"checkpoint": self._options["checkpoint"], **_flat(self._options["policy"])})
            self._stack.callback(child.close)
            url, token = child.url, child.token
        inference = Inference(url, spec, token, timeout=2.0)
        self._stack.callback(inference.close)
        welcome = inference.open()
        self._robot.check_serves(welcome.spec, tuple(dict.fromkeys((*welcome.observation_keys, *welcome.refine_keys))))
        return inference, welcome

    def _recorder(self, run: Run) -> Any:
        if not self._options["record"]:
            return Unrecorded()
        ros1 = self.transport.name == "rospy"
        recorder = Recorder(
            run.dir,
            (lambda type: ros1_definition(type)[0]) if ros1 else self.transport.messages.definition,
            self.spec,
            store=None if self._options["store"] is None else str(self._options["store"]),
            image_codec=str(self._options["image_codec"]),
            encoding="ros1" if ros1 else "cdr",
            run={"robot": self._robot.name, "policy": self.about()["policy"]},
            clock=self.transport.now,
        )
        self._stack.enter_context(recorder)
        recorder.wait_ready()
        return recorder

    def _judge(self) -> Any:
        simulated = self._options["simulate"]
        kind = self._options["judge"] or ("simulated" if simulated or self._robot.name.startswith("sim_") else "operator")
        if kind == "operator":
            return OperatorJudge() if self._options["device"] else OperatorJudge(self.stops.begins, self._ask_to_begin)
        return SimulatedJudge(self.transport, (simulated or {}).get("task.env.randomness"), self.recorder.received)

    def _dials(self) -> Dials | None:
        if self.welcome is None or self.inference is None:
            return None
        return Dials(self.transport, self.welcome.dials, self.inference.submit_dial, self.recorder.mark)

    def _autonomy(self) -> Autonomy | None:
        chosen, welcome = self._options["execution"], self.welcome
        if welcome is None or self.inference is None:
            return None
        horizon = int(chosen["action_horizon"] or welcome.action_horizon)
        return Autonomy(
            self.inference,
            ChunkExecutor(welcome.spec.action, welcome.prediction_horizon, horizon, str(chosen["mode"])),
            DelayEstimator(1 / welcome.control_hz, grace=chosen["grace_ms"] / 1000),
            observation_horizon=welcome.observation_horizon,
            residual=welcome.residual,
            refine_s=chosen["refine_ms"] / 1000,
            gripper_ahead=round(self._robot.gripper_response * welcome.control_hz),
            note=self._note,
        )

    def _crew(self) -> Crew:
        """Who acts, judges and writes down."""
        late = None if self.autonomy is None else LateCheck(self.autonomy, self._options["safety"]["late_steps"])
        beside = Beside(self.stops, lambda: self.sensors.observation(self.transport.now()), self.spec.task)
        return assemble_crew(self._stack, self._options, self._robot, beside, self.autonomy, late, self.judge, self.recorder)

    def _note(self, outcome: Any) -> None:
        """Put an answer's latencies into the cadence, and what came of a dial into the events."""
        if outcome.kind == "dial" and self.dials is not None:
            self.dials.answered(outcome)
        if outcome.value is not None:
            self.cadence.add(f"{ROUND_TRIP}: {outcome.kind}", outcome.finished - outcome.submitted)
            self.cadence.add(f"{SERVER}: {outcome.kind}", float(outcome.timings.get("inference", 0.0)))
            if outcome.info.get("fallback"):
                self.cadence.count("steering fell back", str(outcome.info["fallback"]))

    def _command(self, driver: RobotDriver) -> Command:
        chosen = self._options["safety"]
        checks: list[Check] = [
            self._sensing,
            self.stops.problems,
            driver.problems,
            *self.crew.checks,
        ]
        checks += [self.judge.problems] if isinstance(self.judge, SimulatedJudge) else []
        checks += [self._simulated.problems] if self._simulated is not None else []
        checks += [self._recording] if self._options["record"] and chosen["recorder"] else []
        dry_run = bool(self._options["dry_run"])
        return make_command(self._robot, chosen, self.sensors, driver, checks, clock=self.transport.now, dry_run=dry_run)

    def _sensing(self, now: int) -> Iterator[Problem]:
        for problem in self.sensors.problems(now):
            yield Problem(f"{problem.kind} {problem.sensor}", problem.words)

    def _recording(self, now: int) -> Iterator[Problem]:
        for problem in self.recorder.problems():
            if problem.kind not in PASSING:
                yield Problem(f"recorder {problem.kind}", problem.words)

    def _episodes(self) -> Episodes:
        recovery, simulated = self._robot.recovery, isinstance(self.judge, SimulatedJudge)
        return Episodes(
            self.command,
            self.crew.actor,
            self.sensors,
            self.crew.judge,
            self.stops,
            self.crew.journal,
            control_hz=float(self._options["control_hz"]),
            max_steps=sys.maxsize if self.autonomy is None else int(self._options["steps"]),  # who demonstrates has time
            patience_s=math.inf if self.crew.operator is not None else PATIENCE_S if simulated else SOUND_S,
            scene_s=PATIENCE_S if simulated and self.crew.operator is None else math.inf,
            on_fault=str(self._options["on_fault"]),
            recover=None if recovery is None else lambda: recovery.recover(self.transport),
            provenance=self._provenance(),
            tell=self._tell,
        )

    def _ask_to_begin(self) -> None:
        how = "press b (or call /robolearn/begin)"
        if not self.crew.keys:
            how = "call /robolearn/begin: no key is heard here, nor can this terminal stop the robot"
        print(f"set the scene, step back, then {how}", file=sys.stderr, flush=True)

    def _tell(self, event: str, words: str) -> None:
        if event in TOLD:
            waits = event == "fault" and (self._options["on_fault"] == "wait" or self.command.supervisor.cause == ESTOP)
            mend = "; r (or /robolearn/rearm) re-arms" if waits else ""
            print(f"{event}: {words.removeprefix(f'{event}: ')}{mend}", file=sys.stderr, flush=True)

    def _provenance(self) -> dict[str, Any]:
        """Of every episode."""
        options, about = self._options, self.about()
        known = {name: about[name] or None for name in ("task", "checkpoint", "robot", "device")}
        return describe("teleop" if self.autonomy is None else "rollout", **known, operator=options["operator_name"], note=options["note"])


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Options of a verb with dots for nesting; what is nested may be new to the verb's configuration."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix or '++'}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
