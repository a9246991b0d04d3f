"""A whole run in one process on a clock that is moved by hand: real runner, sensors, drivers and simulated robot; no network, no physics.

Everything but the world, the policy and the network's faults is what ``robolearn run`` is made of.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

import robolearn
from robolearn.deploy.chunks.executor import ChunkExecutor
from robolearn.deploy.drills.page import Page
from robolearn.deploy.drills.policy import HORIZON, DrillPolicy
from robolearn.deploy.drills.track import FAST, Track
from robolearn.deploy.drills.world import KinematicWorld
from robolearn.deploy.latency import DelayEstimator
from robolearn.deploy.robot import Robot
from robolearn.deploy.robots.franka import PUBLISHED
from robolearn.deploy.runner.autonomy import Autonomy
from robolearn.deploy.runner.checks import Check, LateCheck
from robolearn.deploy.runner.commanding import make_command
from robolearn.deploy.runner.driver import RobotDriver
from robolearn.deploy.runner.episodes import Episodes
from robolearn.deploy.runner.journal import Unrecorded
from robolearn.deploy.runner.judges import SimulatedJudge
from robolearn.deploy.runner.operated import OperatedActor, OperatedJournal, OperatedJudge
from robolearn.deploy.runner.operator import Operator
from robolearn.deploy.runner.roles import Actor, Journal, Judge
from robolearn.deploy.runner.stops import Stops
from robolearn.deploy.safety import Problem, State
from robolearn.deploy.sensors.sensors import Sensors
from robolearn.deploy.sim_robot.main import find_controller, make_controllers
from robolearn.deploy.sim_robot.node import SimulatedRobot
from robolearn.deploy.transport.faults import FaultyTransport
from robolearn.deploy.transport.in_process import Bus, InProcess, ManualClock
from robolearn.errors import UserError
from robolearn.nodes import instantiate

TICK = 0.01  # [s]
TURNS = round(TICK / KinematicWorld.timestep)  # of the robot in a tick
CONF = Path(robolearn.__file__).parent / "conf"
IMAGE = "sensor_msgs/msg/Image"
CAMERA = "/camera/color/image_raw"
OWN_ESTOP = "/cell/estop"  # the robot's own


class Notes(Unrecorded):
    """A journal that keeps what happened.

    Attributes:
        marks: event and words of each.
    """

    def __init__(self) -> None:
        self.marks: list[tuple[str, str]] = []

    def mark(self, event: str, words: str = "", stamp: int | None = None, **values: Any) -> None:
        """Something happened."""
        self.marks.append((event, words))


class Rig:
    """One run; :meth:`play` lets time pass.

    Args:
        robot: name of the robot's YAML.
        controller: of the simulated robot.
        camera: whether the policy sees a camera, which the rig publishes at 20 Hz.
        residual: whether the policy has one.
        deadman: whether a deadman has to be held.
        operator: who is beside the run at a page of the browser, and has begun it: nobody, one who demonstrates ``alone``, one
            who watches ``beside`` the policy, or one who has ``taken_over`` from it.
        journal: a recorder; without one, nothing is written down.
        seed: of the network's faults.

    Attributes:
        network: between runner and robot.
        policy: what acts.
        world: the arm.
        simulated: the robot; stands still while ``robot_runs`` is False.
        track: what the arm did.
        page: the operator's.
        operator: who holds it, if anybody; asks the page nothing while ``operator_asks`` is False.
        recovers: the driver, when asked; it takes its time until then.
        refused: why the run ended, where it did.
    """

    def __init__(
        self,
        robot: str = "sim_franka",
        controller: str = "joint_trajectory",
        *,
        camera: bool = False,
        residual: bool = False,
        deadman: bool = False,
        operator: Literal["", "alone", "beside", "taken_over"] = "",
        journal: Any = None,
        seed: int = 0,
    ) -> None:
        self.clock = ManualClock(1_000_000_000_000)
        bus = Bus(self.clock, threaded=False)
        self.site, self._person = InProcess(bus), InProcess(bus)  # the robot's side, and whoever else is there
        self.network = FaultyTransport(InProcess(bus), np.random.default_rng(seed), threaded=False)
        self.robot: Robot = instantiate(options_of(robot, camera))
        safety = yaml.safe_load((CONF / "run.yaml").read_text())["safety"]
        spec = self.robot.spec("drill", 10.0)
        self.world = KinematicWorld(spec, self.robot.chain, self.robot.home)
        controllers = make_controllers(self.robot.joints, "/fr3_arm_controller")
        self.controller = find_controller(controllers, controller)
        parts = (self.world, list(controllers.values()), self.site, PUBLISHED["panda"], self.robot.joints)
        self.simulated = SimulatedRobot(*parts, active=self.controller.name)
        self.track = Track(self.world, self.robot, self.simulated, self.clock)
        self._sensors = Sensors(self.robot, self.network, spec)
        self._driver = RobotDriver(self.robot, self.network)
        self.stops, self.journal = Stops(self.network, deadman=deadman, estop=self.robot.estop), journal or Notes()
        judge = SimulatedJudge(self.network)
        self.policy = DrillPolicy(self.clock)
        self.autonomy = self._autonomy(residual)
        checks = [self._sensing, self.stops.problems, self._driver.problems, judge.problems, self._diary]
        self.page = Page(self.clock, grabs=operator != "beside")
        self.operator = self._operator(operator)
        actor, judged, journal, watch = self._crew(judge, LateCheck(self.autonomy, int(safety["late_steps"])), operator == "alone")
        given = (self.robot, safety, self._sensors, self._driver, checks + watch)
        self.command = make_command(*given, clock=self.network.now, monotonic=self.clock)
        self.supervisor = self.command.supervisor
        self.episodes = self._episodes(actor, judged, journal)
        self._may_recover = threading.Event()
        self._story = self.episodes.story([7, 8, 9], self.network.now())
        self._picture, self._pictures = self.site.publisher(CAMERA, IMAGE), 0
        self._camera = camera
        self.runner_runs = self.robot_runs = self.camera_runs = self.camera_moves = True
        self.operator_asks = self.recovers = True
        self.every_tick: list[Callable[[], None]] = [] if self.operator is None else [self.page.act, self._ask]
        self.refused = ""

    def play(self, seconds: float) -> None:
        """Let time pass, in ticks."""
        for _ in range(round(seconds / TICK)):
            for _ in range(TURNS):
                self.clock.advance(TICK / TURNS)
                if self.robot_runs:
                    self.simulated.turn()
                self.network.release()
            if self._camera and self.camera_runs:
                self._show()
            for act in self.every_tick:
                act()
            self.network.release()
            self._settle()
            if self.runner_runs and not self.refused:
                self._tick()
            self.track.look()

    def _tick(self) -> None:
        self.episodes.tell(self.network.now())
        try:
            tick = next(self._story)
            if self.operator is not None:
                self.operator.see(tick, self.supervisor.fault)
        except StopIteration:
            self.refused = "the run is over"
        except UserError as error:
            self.refused = str(error)

    def begin(self, seconds: float = 1.2) -> None:
        """Play until the arm moves at speed."""
        self.play(seconds)
        while self.track.speed < FAST and not self.refused and seconds < 10:
            self.play(0.1)
            seconds += 0.1

    def _ask(self) -> None:
        """What the operator's thread does every 20 ms."""
        if self.operator is not None and self.operator_asks and round(self.clock.now * 1e-9 / TICK) % 2:
            self.operator_asks = self.operator.try_turn()

    def press(self, topic: str, value: bool) -> None:
        """Publish a Bool as a person's button does."""
        self._person.publisher(topic, "std_msgs/msg/Bool").publish(self._person.messages.new("std_msgs/msg/Bool", data=value))

    def call(self, service: str) -> None:
        """Call a Trigger."""
        client = self._person.client(service, "std_srvs/srv/Trigger")
        client.call(self._person.messages.new("std_srvs/srv/Trigger_Request"), 1.0)

    def rearm(self) -> None:
        """Somebody re-arms; the driver recovers on a thread, in its own time."""
        self.call("/robolearn/rearm")
        for _ in range(400):
            if self.state is not State.FAULT:
                return
            time.sleep(0.005)
            self.play(0.01)

    def observe(self) -> Mapping[str, Any]:
        """What the policy would see now."""
        return self._sensors.observation(self.network.now())

    @property
    def person(self) -> InProcess:
        """The transport of whoever else is there."""
        return self._person

    @property
    def state(self) -> State:
        """Of the runner."""
        return self.supervisor.state

    def close(self) -> None:
        """End it."""
        self._sensors.close()
        self.network.close()
        self.site.close()
        self._person.close()

    def _recover(self) -> None:
        """What the thread that recovers does, while everything else waits for it: what is in one process comes one after the other."""
        self._may_recover.wait(10.0)
        self.robot.recovery.recover(self.network)

    def _settle(self) -> None:
        """Let that thread do so, if there is one."""
        threads = [thread for thread in threading.enumerate() if thread.name == "recovery"]
        if threads and self.recovers:
            self._may_recover.set()
            threads[0].join(10.0)
            self._may_recover.clear()

    def _sensing(self, now: int) -> Iterable[Problem]:
        return [Problem(f"{problem.kind} {problem.sensor}", problem.words) for problem in self._sensors.problems(now)]

    def _diary(self, now: int) -> Iterable[Problem]:
        found = [problem for problem in self.journal.problems() if problem.kind != "behind"]
        return [Problem(f"recorder {problem.kind}", problem.words) for problem in found]

    def _autonomy(self, residual: bool) -> Autonomy:
        executor = ChunkExecutor(self.robot.action, HORIZON, 4, "receding")
        return Autonomy(self.policy, executor, DelayEstimator(0.1, grace=0.06), observation_horizon=2, residual=residual)

    def _operator(self, kind: str) -> Operator | None:
        if not kind:
            return None
        self.page.press("record")
        return Operator(self.page.device, self.stops, self.observe, has_policy=kind != "alone", clock=self.clock)

    def _crew(self, judge: Judge, late: Check, alone: bool) -> tuple[Actor, Judge, Journal, list[Check]]:
        """Who acts, judges and writes down, and what looks at them."""
        if self.operator is None:
            return self.autonomy, judge, self.journal, [late]
        actor = OperatedActor(self.operator, None if alone else self.autonomy)
        journal = OperatedJournal(self.journal, self.operator, actor)
        return actor, OperatedJudge(judge, self.operator), journal, [self.operator.problems, actor.spared(late)]

    def _episodes(self, actor: Actor, judge: Judge, journal: Journal) -> Episodes:
        given = {"control_hz": 10.0, "max_steps": 10_000, "patience_s": 3.0}
        return Episodes(self.command, actor, self._sensors, judge, self.stops, journal, **given, recover=self._recover)  # type: ignore[arg-type]

    def _show(self) -> None:
        """A picture every 50 ms, each a little different unless the camera is frozen."""
        if round(self.clock.now * 1e-9 / TICK) % 5:
            return
        self._pictures += self.camera_moves
        picture = np.full((32, 32, 3), self._pictures % 256, np.uint8)
        new = self.site.messages.new
        stamp = {"sec": self.clock.now // 10**9, "nanosec": self.clock.now % 10**9}
        fields = {"height": 32, "width": 32, "encoding": "rgb8", "step": 96, "data": picture.reshape(-1)}
        self._picture.publish(new(IMAGE, header={"stamp": stamp, "frame_id": "camera"}, **fields))
        self._sensors.settle()


def options_of(robot: str, camera: bool = False) -> dict[str, Any]:
    """What ``robolearn/conf/robot`` says, with an emergency stop of its own, and a camera if asked."""
    options = {**yaml.safe_load((CONF / "robot" / f"{robot}.yaml").read_text()), "estop": OWN_ESTOP}
    if camera:
        options["cameras"] = {"front": {"topic": CAMERA, "shape": [32, 32, 3]}}
    return dict(options)
