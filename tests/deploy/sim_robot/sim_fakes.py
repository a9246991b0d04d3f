"""A world that does at once what it is told, and a robot in it on a clock that a test moves."""

import json
from types import SimpleNamespace

import numpy as np

from robolearn.deploy.robots.franka import PUBLISHED
from robolearn.deploy.sim_robot.main import make_controllers
from robolearn.deploy.sim_robot.node import SimulatedRobot
from robolearn.deploy.transport.base import LATCHED, QoS
from robolearn.deploy.transport.in_process import Bus, InProcess, ManualClock
from robolearn.errors import UserError
from robolearn.protocols import RobotState, RobotVerdict

HOME = np.array([-0.026, 0.376, 0.125, -2.138, -0.094, 2.496, 0.019])
JOINTS = tuple(f"fr3_joint{index}" for index in range(1, 8))
TRAJECTORY, STRING = "trajectory_msgs/msg/JointTrajectory", "std_msgs/msg/String"
MS = 1_000_000
MANY = QoS(depth=100)


class World:
    """Joints and fingers are where they are told with the next step, less ``behind`` [rad]."""

    timestep = 0.005
    cameras = ("front",)

    def __init__(self):
        self.env_spec = SimpleNamespace(task="fake")
        self.q, self.qd, self.width, self.wanted_width = HOME.copy(), np.zeros(7), 0.08, 0.08
        self.behind, self.steps, self.seed, self.level, self.servo, self.holds, self.poses, self.looks = 0.0, 0, 0, "low", "", 0, [], 0
        self._to = HOME.copy()

    def reset(self, seed, level=None):
        if level not in (None, "low", "high"):
            raise UserError(f"no level {level!r}")
        self.seed, self.level, self.steps, self.q, self.qd, self._to = seed, level or "low", 0, HOME.copy(), np.zeros(7), HOME.copy()

    def use(self, servo):
        self.servo = servo

    def command_pose(self, position, quaternion):
        self.poses.append((position, quaternion))

    def command_joints(self, position, velocity):
        self._to = position

    def command_fingers(self, width):
        self.wanted_width = width

    def hold(self):
        self.holds += 1
        self._to = self.q.copy()

    def step(self):
        self.steps += 1
        self.qd = (self._to - self.behind - self.q) / self.timestep
        self.q = self._to - self.behind
        self.width += float(np.clip(self.wanted_width - self.width, -0.001, 0.001))

    def state(self):
        self.looks += 1
        fingers = np.full(2, self.width / 2)
        return RobotState(
            self.q.copy(), self.qd.copy(), np.zeros(7), fingers, np.zeros(2), np.zeros(3), np.array([1.0, 0, 0, 0]), np.arange(6.0), PARTS
        )

    def verdict(self):
        return RobotVerdict(self.seed, self.level, self.steps // 20, {"done": False}, False, "")

    def scene(self):
        return self.steps

    def draw(self, scene, camera):
        return np.full((4, 6, 3), scene % 256, np.uint8)

    def close(self):
        pass


PARTS = np.tile([0.1, 0.2, 0.3, 1.0, 0, 0, 0], (2, 1))


class Stage:
    """A simulated robot, and a participant that talks with it."""

    def __init__(self, active="joint_trajectory", path_tolerance=0.0, seed=0, start=True, **options):
        self.clock, self.world, self.heard = ManualClock(), World(), {}
        self.bus = Bus(self.clock, threaded=False)
        self.inside, self.outside = InProcess(self.bus), InProcess(self.bus)
        controllers = make_controllers(JOINTS, "/fr3_arm_controller", path_tolerance)
        self.robot = SimulatedRobot(
            self.world,
            list(controllers.values()),
            self.inside,
            PUBLISHED["panda"],
            JOINTS,
            active=controllers[active].name,
            seed=seed,
            **options,
        )
        self.new = self.outside.messages.new
        self._publishers = {}
        for topic in ("status", "fault", "robot_mode", "complaint"):
            self.listen(f"/sim/{topic}", STRING, LATCHED)
        if start:
            self.robot.turn()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.robot.close()
        self.outside.close()
        self.inside.close()

    def listen(self, topic, type, qos=MANY):
        self.heard[topic] = []
        self.outside.subscribe(topic, type, lambda received: self.heard[topic].append(received.message), qos)
        return self.heard[topic]

    def send(self, topic, type, **fields):
        if topic not in self._publishers:
            self._publishers[topic] = self.outside.publisher(topic, type, QoS("reliable", depth=10))
        self._publishers[topic].publish(self.new(type, **fields))

    def say(self, topic, **asked):
        self.send(topic, STRING, data=json.dumps(asked))

    def go(self, positions, *, times=(0.5,), velocities=None, stamp=0):
        """A trajectory to ``positions``."""
        self.send("/fr3_arm_controller/joint_trajectory", TRAJECTORY, **trajectory(positions, times, velocities, stamp))

    def run(self, seconds, every=0.005):
        for _ in range(round(seconds / every)):
            self.clock.advance(every)
            self.robot.turn()

    def said(self, what):
        return self.heard[f"/sim/{what}"][-1].data

    @property
    def status(self):
        return json.loads(self.said("status"))


def trajectory(positions, times=(0.5,), velocities=None, stamp=0, joints=JOINTS):
    """Fields of a trajectory through ``positions (P, J)``, at rest at its end unless ``velocities`` say otherwise."""
    positions = np.atleast_2d(positions)
    velocities = np.zeros_like(positions) if velocities is None else np.atleast_2d(velocities)
    points = [
        {"positions": at, "velocities": fast, "time_from_start": {"sec": int(time), "nanosec": round(time % 1 * 1e9)}}
        for at, fast, time in zip(positions, velocities, times, strict=True)
    ]
    return {"header": {"stamp": {"sec": stamp // 10**9, "nanosec": stamp % 10**9}}, "joint_names": list(joints), "points": points}
