"""Messages that come late, as they do, are played by a trajectory controller without a jump; ROBOLEARN_ADVERSARIAL as elsewhere."""

import contextlib
import os

import numpy as np
import pytest

from robolearn.deploy.arms.joint_trajectory import JointTrajectoryArm
from robolearn.deploy.limits import ToolLimits
from robolearn.deploy.messages import Messages
from robolearn.deploy.motion import MotionGenerator
from robolearn.deploy.robot import Robot
from robolearn.deploy.robots.franka import franka_limits
from robolearn.deploy.sim_robot.controllers import MILLISECOND, TrajectoryController
from robolearn.deploy.sim_robot.guard import FrankaGuard
from robolearn.deploy.sim_robot.trajectory import RejectedTrajectory
from robolearn.deploy.transport.in_process import Bus, InProcess
from tests.deploy.adversaries import Adversary
from tests.deploy.arms_for_tests import CHAIN, HOME, WORKSPACE

ASKED = int(os.environ.get("ROBOLEARN_ADVERSARIAL", "600"))
JOINTS = tuple(f"fr3_joint{index}" for index in range(1, 8))


class Played:
    """A trajectory controller and libfranka's watch on it, fed with messages that arrive when they arrive."""

    def __init__(self, limits):
        self.controller, self.guard = TrajectoryController(JOINTS), FrankaGuard(limits)
        self.controller.hold(np.array(HOME), 0)
        self.guard.reset(np.array(HOME))
        self._now = 0
        self._waiting = []
        self._messages = Messages()

    def send(self, message, arrival):
        """Through the wire, to arrive at ``arrival`` [ns], in order."""
        after = max([arrival] + [when for when, _ in self._waiting])
        self._waiting.append((after, self._messages.decode("trajectory_msgs/msg/JointTrajectory", self._messages.encode(message))))

    def play(self, until):
        """The milliseconds up to ``until`` [ns]."""
        while self._waiting and self._waiting[0][0] <= until:
            arrival, message = self._waiting.pop(0)
            self._play(arrival)
            with contextlib.suppress(RejectedTrajectory):
                self.controller.take(message, arrival)
        self._play(until)

    def _play(self, until):
        times = np.arange(self._now + MILLISECOND, until + 1, MILLISECOND, dtype=np.int64)
        if len(times):
            self.guard.check(self.controller.motion(times).position)
            self._now = int(times[-1])


def stream(ticks, latest, limits, seed=0, lost=0.0, **options):
    """Adversarial targets through an arm to a controller; each message arrives up to ``latest`` [s] after its tick, or never."""
    motion = MotionGenerator(CHAIN, limits, WORKSPACE, 100, tool=ToolLimits(1.0, 3.0), posture=HOME, **options)
    arm = JointTrajectoryArm()
    robot = Robot("test", JOINTS, CHAIN, limits, HOME, WORKSPACE, arm)
    played, adversary, random = Played(limits), Adversary(seed, WORKSPACE.low, WORKSPACE.high), np.random.default_rng(seed)
    with InProcess(Bus(threaded=False)) as transport:
        arm.open(transport, robot)
        now = 1_000_000_000
        motion.start(np.array(HOME), now)
        gone = False
        for _ in range(ticks):
            now += 10_000_000
            played.play(now)
            called = now + int(random.exponential(3e5))
            point = motion.follow(adversary.action(), called)
            gone = not gone and random.random() < lost  # never two in a row
            if not gone:
                played.send(arm.message(point), called + int(random.uniform(0, latest) * 1e9))
        played.play(now + 2_000_000_000)
    return played, motion


@pytest.mark.timeout(3600)
def test_late_messages_are_no_jumps():
    limits = franka_limits("panda")
    played, motion = stream(ASKED, 0.008, limits)
    assert played.controller.rejected == ""
    assert played.controller.commands == ASKED
    assert played.guard.counts == {}
    assert motion.missed < 0.01 * ASKED


def test_a_lost_message_is_no_jump_if_the_next_is_in_time():
    played, _ = stream(400, 0.008, franka_limits("panda"), seed=1, lost=0.1)
    assert 320 < played.controller.commands < 390
    assert played.guard.counts == {}


def test_the_guard_sees_messages_later_than_the_lead():
    played, _ = stream(300, 0.1, franka_limits("panda"), seed=2)
    assert played.guard.fault != ""


def test_a_runner_that_dies_leaves_the_arm_at_rest_where_it_was_promised_to_stop():
    limits = franka_limits("panda")
    played, motion = stream(57, 0.005, limits, seed=3)
    last = played.controller.motion(np.array([played._now], np.int64))
    assert not last.velocity.any()
    np.testing.assert_allclose(last.position[0], motion._sent.positions[-1], atol=1e-12)
    assert played.guard.counts == {}
