"""A message that nobody read in time is dropped, where its publisher says so."""

import threading
import time

import pytest

from robolearn.deploy.arms.joint_trajectory import JointTrajectoryArm
from robolearn.deploy.robot import Robot
from robolearn.deploy.robots.franka import franka_limits
from robolearn.deploy.transport.base import QoS
from tests.deploy.arms_for_tests import CHAIN, HOME, WORKSPACE
from tests.deploy.transport.conftest import BACKENDS, until

FLOAT = "std_msgs/msg/Float64"


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "rospy"])  # ROS 1 has no lifespan
@pytest.mark.parametrize(("lifespan", "read"), [(0.05, [0.0, 2.0]), (None, [0.0, 1.0, 2.0])])
def test_a_message_that_waits_for_longer_than_its_lifespan_is_dropped(backend, lifespan, read):
    came, held = [], threading.Event()

    def hear(received):
        came.append(received.message.data)
        if received.message.data == 0.0:
            held.wait(5)  # meanwhile messages wait to be read

    with BACKENDS[backend]() as (one, other):
        subscription = other.subscribe("/late", FLOAT, hear, QoS("reliable", depth=10))
        publisher = one.publisher("/late", FLOAT, QoS("reliable", depth=10, lifespan=lifespan))
        until(lambda: publisher.readers and subscription.writers)
        until(lambda: publisher.publish(one.messages.new(FLOAT, data=0.0)) and came)
        time.sleep(0.1)
        came[1:] = []
        publisher.publish(one.messages.new(FLOAT, data=1.0))
        time.sleep(0.2)
        held.set()
        until(lambda: publisher.publish(one.messages.new(FLOAT, data=2.0)) and came[-1] == 2.0)
        assert sorted(set(came)) == read


def test_trajectories_live_as_long_as_what_they_repeat():
    robot = Robot("test", tuple("abcdefg"), CHAIN, franka_limits("panda"), HOME, WORKSPACE, JointTrajectoryArm())
    assert JointTrajectoryArm().offered(robot).lifespan == pytest.approx(0.01)
    assert JointTrajectoryArm(way=0.05).offered(robot).lifespan == pytest.approx(0.012)  # what is left of the lead, at most
    assert JointTrajectoryArm(stamped=False).offered(robot).lifespan is None
