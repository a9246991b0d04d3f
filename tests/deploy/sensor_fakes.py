"""A two-jointed robot, what its drivers say, and a clock that stands until it is moved."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from robolearn.deploy.kinematics import Chain
from robolearn.deploy.sensors.sensors import Sensors
from robolearn.deploy.transport.in_process import Bus, InProcess, ManualClock
from robolearn.rotation import quaternion_from_matrix
from robolearn.spec import ArraySpec, EnvSpec, tool_pose_action

JOINT_STATE, IMAGE = "sensor_msgs/msg/JointState", "sensor_msgs/msg/Image"
NANO = 1_000_000_000
OWN = {
    "tcp_pos": ArraySpec((3,)),
    "tcp_rot6d": ArraySpec((6,)),
    "tcp_linvel": ArraySpec((3,)),
    "tcp_angvel": ArraySpec((3,)),
    "joint_pos": ArraySpec((2,), "float64"),
    "joint_vel": ArraySpec((2,)),
    "gripper_width": ArraySpec((1,)),
}


def planar_robot(**more):
    """Two links of 0.3 m and 0.2 m that turn about z; two fingers."""
    origins = np.stack([np.eye(4)] * 2)
    origins[1, 0, 3] = 0.3
    tool = np.eye(4)
    tool[0, 3] = 0.2
    standard = {
        "name": "planar",
        "joints": ("shoulder", "elbow"),
        "chain": Chain(origins, np.array([[0, 0, 1.0]] * 2), tool),
        "joint_states": "/joint_states",
        "gripper_states": "/gripper/joint_states",
        "fingers": ("left", "right"),
        "finger_scale": 1.0,
        "finger_offset": 0.0,
        "cameras": {},
        "sensors": {},
    }
    return SimpleNamespace(**{**standard, **more})


class World:
    """Sensors of a robot on a bus, and the drivers' side of it."""

    def __init__(self, robot, observation=None, keys=None, tap=None):
        self.clock = ManualClock(1_000 * NANO)
        self.bus = Bus(self.clock, threaded=False)
        self.drivers, self.transport = InProcess(self.bus), InProcess(self.bus)
        wanted = OWN if observation is None else observation
        self.spec = EnvSpec("t", wanted, tool_pose_action((-1,) * 3, (1,) * 3), 10.0)
        self.sensors = Sensors(robot, self.transport, self.spec, keys, tap)
        self.publishers = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sensors.close()
        self.transport.close()
        self.drivers.close()

    @property
    def now(self):
        return self.clock.now

    def say(self, topic, type, stamp=None, **fields):
        """Publish with a header stamped ``stamp`` [ns], now unless given; 0 for none. Types without a header ignore it."""
        if topic not in self.publishers:
            self.publishers[topic] = self.drivers.publisher(topic, type)
        at = self.now if stamp is None else stamp
        header = {"header": {"stamp": {"sec": at // NANO, "nanosec": at % NANO}}} if type.split("/")[-1] not in HEADLESS else {}
        header.get("header", {}).update(fields.pop("header", {}))
        self.publishers[topic].publish(self.drivers.messages.new(type, **header, **fields))

    def joints(self, positions, velocities=(), names=("shoulder", "elbow"), **options):
        self.say("/joint_states", JOINT_STATE, name=list(names), position=list(positions), velocity=list(velocities), **options)

    def fingers(self, left, right, **options):
        self.say("/gripper/joint_states", JOINT_STATE, name=["left", "right"], position=[left, right], **options)

    def picture(self, pixels, topic="/camera", encoding="rgb8", step=None, **options):
        height, width, channels = pixels.shape
        self.say(topic, IMAGE, height=height, width=width, encoding=encoding, step=step or width * channels, data=pixels.ravel(), **options)
        assert self.sensors.settle()

    def observe(self, at=None):
        return self.sensors.observation(self.now if at is None else at)

    def kinds(self):
        return [(problem.sensor, problem.kind) for problem in self.sensors.problems(self.now)]

    def words(self):
        return " / ".join(problem.words for problem in self.sensors.problems(self.now))


HEADLESS = ("Float64MultiArray",)


def pose(position, matrix):
    """Fields of a ``geometry_msgs/msg/Pose``."""
    w, x, y, z = quaternion_from_matrix(np.asarray(matrix, float))
    at = dict(zip("xyz", map(float, position), strict=True))
    return {"position": at, "orientation": {"w": float(w), "x": float(x), "y": float(y), "z": float(z)}}
