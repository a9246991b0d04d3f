"""A robot that goes where it is told at once, and everything around a runner that a test can bend."""

from types import SimpleNamespace

import numpy as np

from robolearn.deploy.chunks.executor import ChunkExecutor
from robolearn.deploy.latency import DelayEstimator
from robolearn.deploy.limits import Workspace
from robolearn.deploy.motion import MotionGenerator
from robolearn.deploy.robots.franka import franka_limits, robosuite_panda_chain
from robolearn.deploy.runner.autonomy import Autonomy
from robolearn.deploy.runner.checks import LateCheck, TrackingCheck
from robolearn.deploy.runner.command import Command
from robolearn.deploy.runner.episodes import Episodes
from robolearn.deploy.runner.roles import Verdict
from robolearn.deploy.safety import Problem, Supervisor
from robolearn.spec import tool_pose_action

MS = 1_000_000
HOME = np.array([-0.026, 0.376, 0.125, -2.138, -0.094, 2.496, 0.019])
ACTION = tool_pose_action((0.2, -0.35, -0.02), (0.8, 0.35, 0.45))
CHAIN = robosuite_panda_chain()


def here():
    """The canonical action of standing at home, open."""
    position, rotation = CHAIN.forward(HOME)
    return np.concatenate([position, rotation[:2].ravel(), [-1.0]]).astype(np.float32)


class Arm:
    """Sensors and driver of an arm that is at once where a tick's first point is; ``stuck`` it stays."""

    def __init__(self):
        self.q, self.sent, self.grips, self.stuck, self.stopped = HOME.copy(), [], [], False, False
        self.now, self.told, self.delay = 0, True, 0

    def joints(self):
        return self.now, self.q.copy(), np.zeros(7)

    def newest(self):
        return self.now - self.delay if self.told else None

    def observation(self, at):
        return {"joint_pos": self.q.astype(np.float32)}

    def send(self, setpoint, behind=0):
        self.sent.append(setpoint)
        if not self.stuck:
            self.q = setpoint.positions[0].copy()

    def grip(self, closed):
        self.grips.append(closed)

    def forget(self):
        self.grips.append(None)

    def stop(self):
        self.stopped = True


class Inference:
    """Answers what ``policy(observation, seed, decision)`` says, ``after`` so many polls; silent where that is None, or ``broken``."""

    def __init__(self, policy, after=0):
        self.policy, self.after, self.asked, self.refined = policy, after, [], []
        self._waiting, self._number, self.broken = [], 0, ""

    def submit_sample(self, observation, seed, decision):
        self.asked.append((observation, seed, decision))
        return self._put("sample", lambda: self.policy(observation, seed, decision))

    def submit_refine(self, observation, base_action, phase):
        self.refined.append((base_action, phase))
        return self._put("refine", lambda: base_action + np.float32(0.001))

    def submit_dial(self, name, value):
        return self._put("dial", lambda: None)

    def _put(self, kind, answer):
        self._number += 1
        if self.after is not None:
            self._waiting.append([self.after, self._number, kind, answer])
        return self._number

    def poll(self):
        due = [entry for entry in self._waiting if entry[0] <= 0]
        self._waiting = [[polls - 1, *rest] for polls, *rest in self._waiting if polls > 0]
        return [self._answer(number, kind, answer) for _, number, kind, answer in due]

    def _answer(self, number, kind, answer):
        value = None if self.broken else answer()
        return SimpleNamespace(id=number, kind=kind, value=value, error=self.broken, submitted=0.0, finished=0.02)


class Judge:
    """A scene that is ready at once, and over when a test says so."""

    def __init__(self):
        self.prepared, self.ready, self.said = [], True, Verdict()

    def prepare(self, seed):
        self.prepared.append(seed)
        self.said = Verdict()

    def verdict(self):
        return self.said


class Stops:
    def __init__(self):
        self.pending, self.found = [], []

    def events(self):
        events, self.pending = self.pending, []
        return events

    def problems(self, now):
        return list(self.found)

    def note(self, event):
        """As the real one: a press stops until re-armed."""
        if event == "estop":
            self.found = [Problem("e-stop", "e-stop pressed (operator)", "stop")]
        else:
            self.found = [] if event == "rearm" else self.found
            self.pending.append(event)


class Journal:
    def __init__(self):
        self.log, self.steps, self.interventions = [], [], []

    def begin(self, source="rollout", **provenance):
        self.log.append(("begin", provenance["seed"]))
        return 0

    def step(self, observation, action, *, intervention=False, stamp=None):
        self.steps.append((observation, action, stamp))
        self.interventions.append(intervention)

    def finish(self, success, terminated=None, notes="", *, truncated=False):
        self.log.append(("finish", success, terminated, truncated, notes))

    def discard(self):
        self.log.append(("discard",))

    def mark(self, event, words="", stamp=None, **values):
        self.log.append((event, words))


class Runner:
    """Everything put together; ``play(ms)`` lets time pass."""

    def __init__(
        self, policy, *, after=0, mode="synchronous", residual=False, seeds=(7,), horizons=(4, 4), max_steps=50, gripper_ahead=0, **options
    ):
        self.robot, self.judge, self.stops, self.journal = Arm(), Judge(), Stops(), Journal()
        self.inference = Inference(policy, after)
        executor = ChunkExecutor(ACTION, *horizons, mode)
        own = {"observation_horizon": 2, "residual": residual, "gripper_ahead": gripper_ahead}
        self.autonomy = Autonomy(self.inference, executor, DelayEstimator(0.1), **own)
        limits = franka_limits("panda")
        motion = MotionGenerator(CHAIN, limits, Workspace((0.2, -0.35, -0.02), (0.8, 0.35, 0.45)), 100.0, posture=tuple(HOME))
        self.wrong, self.now = [], 10_000 * MS
        self.robot.now = self.now
        actor, judge, journal, own = self.crew()
        checks = [self.stops.problems, *own, lambda now: list(self.wrong)]
        self.supervisor = Supervisor(hold_s=0.5, ramp_s=0.2)
        self.command = Command(self.robot, self.robot, motion, self.supervisor, checks, TrackingCheck(CHAIN, 0.3))
        parts = (self.command, actor, self.robot, judge, self.stops, journal)
        self.episodes = Episodes(*parts, control_hz=10.0, max_steps=max_steps, **{"patience_s": 1.0, **options})
        self._story = self.episodes.story(self.starts(seeds), self.now)
        self.ticks = []

    def crew(self):
        """Who acts, judges and writes down, and what looks at them."""
        return self.autonomy, self.judge, self.journal, [LateCheck(self.autonomy)]

    def starts(self, seeds):
        return seeds

    def between(self):
        """Before every tick."""

    def play(self, ms=10_000):
        """Ticks of 10 ms; whether the story is over."""
        for _ in range(ms // 10):
            self.now += 10 * MS
            self.robot.now = self.now
            self.episodes.tell(self.now)
            self.between()
            try:
                self.ticks.append(next(self._story))
            except StopIteration:
                return True
        return False
