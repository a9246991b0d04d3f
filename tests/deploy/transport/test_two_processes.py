"""The cyclonedds backend against itself in another process, over real DDS on the loopback interface."""

import contextlib
import signal
import sys
import time

import numpy as np
import pytest

pytest.importorskip("cyclonedds")

from robolearn.deploy.transport.base import LATCHED, QoS, TransportError
from robolearn.deploy.transport.cyclone import Cyclone
from robolearn.deploy.transport.cyclone_config import Network
from tests.deploy.transport.conftest import own_domain, until
from tests.deploy.transport.processes import end_peer, start_peer

GRIPPER = "control_msgs/action/GripperCommand"
TRIGGER = "std_srvs/srv/Trigger"


@pytest.fixture(scope="module")
def peer():
    peer = start_peer()
    try:
        yield peer
    finally:
        ended = end_peer(peer)
    assert ended == (0, "")


@pytest.fixture
def here(peer):
    with Cyclone("here", network=Network(own_domain() + 100, "LOCALHOST")) as transport:
        yield transport


def found(client):
    until(lambda: client.ready)
    return client


def test_a_state_goes_there_and_a_command_comes_back_with_its_stamp(here):
    hellos, came = [], []
    back = here.subscribe(
        "/trajectory",
        "trajectory_msgs/msg/JointTrajectory",
        lambda received: (came if received.message.header.frame_id else hellos).append(received),
        QoS("reliable", depth=10),
    )
    there = here.publisher("/joint_states", "sensor_msgs/msg/JointState", QoS("reliable", depth=10))
    until(lambda: back.writers and there.readers)
    until(lambda: there.publish(here.messages.new("sensor_msgs/msg/JointState")) and hellos)  # the peer sees us a moment later
    for number in range(5):
        header = {"stamp": {"sec": number, "nanosec": 999_999_999}, "frame_id": "base"}
        there.publish(
            here.messages.new("sensor_msgs/msg/JointState", header=header, name=["a", "b"], position=[number, -0.5], velocity=[0, 1])
        )
    until(lambda: len(came) == 5)
    for number, received in enumerate(came):
        message = received.message
        assert (message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id) == (number, 999_999_999, "base")
        assert message.joint_names == ["a", "b"]
        np.testing.assert_array_equal(message.points[0].positions, [number, -0.5])
        np.testing.assert_array_equal(message.points[0].velocities, [0, 1])


def test_a_vga_picture_goes_there_and_back(here):
    came = []
    back = here.subscribe("/picture_back", "sensor_msgs/msg/Image", came.append, QoS("reliable"))
    there = here.publisher("/picture", "sensor_msgs/msg/Image")
    until(lambda: back.writers and there.readers)
    pixels = np.random.default_rng(1).integers(0, 256, 640 * 480 * 3, np.uint8)
    picture = here.messages.new("sensor_msgs/msg/Image", height=480, width=640, step=1920, encoding="rgb8", data=pixels)

    def arrived():
        there.publish(picture)  # the way there is best effort
        return came

    until(arrived)
    np.testing.assert_array_equal(came[0].message.data, pixels)


def test_a_service_answers_from_the_other_process(here):
    answer = found(here.client("/trigger", TRIGGER)).call(here.messages.new(f"{TRIGGER}_Request"), timeout=5)
    assert (answer.success, answer.message) == (True, "pong")


def test_an_action_runs_in_the_other_process(here):
    told = []
    client = found(here.action_client("/gripper", GRIPPER))
    goal = client.send(here.messages.new(f"{GRIPPER}_Goal", command={"position": 0.04}), told.append)
    assert goal.accepted(5)
    status, result = goal.result(5)
    assert (status, result.position) == ("succeeded", 0.04)
    until(lambda: told)
    assert told[0].position == 0.02
    assert not client.send(here.messages.new(f"{GRIPPER}_Goal", command={"position": -1})).accepted(5)


def test_an_action_in_the_other_process_is_canceled(here):
    goal = found(here.action_client("/gripper", GRIPPER)).send(here.messages.new(f"{GRIPPER}_Goal", command={"position": 0.08}))
    assert goal.accepted(5)
    goal.cancel()
    with pytest.raises(TransportError, match="no result"):
        goal.result(0.1)
    assert found(here.client("/stop", TRIGGER)).call(here.messages.new(f"{TRIGGER}_Request"), timeout=5).success
    assert goal.result(5)[0] == "canceled"


def test_a_late_joiner_gets_what_was_latched_before_it_came(here):
    came = []
    here.subscribe("/robot_description", "std_msgs/msg/String", came.append, LATCHED)
    until(lambda: came)
    assert came[0].message.data == "<robot/>"


def test_quality_of_service_that_does_not_match_is_named(here):
    here.subscribe("/best_effort", "std_msgs/msg/String", print, QoS("reliable"))
    until(lambda: any("/best_effort: incompatible QoS, policy reliability" in line for line in here.diagnostics()))


def test_another_type_on_the_same_topic_is_named(here):
    subscription = here.subscribe("/best_effort", "std_msgs/msg/Float64", print)
    until(lambda: any("/best_effort: no publisher" in line or "type" in line for line in here.diagnostics()))
    assert subscription.writers == 0


def test_a_killed_peer_is_gone_after_its_lease():
    killed = start_peer(domain=own_domain() + 130)  # by itself there
    try:
        with Cyclone("here", network=Network(own_domain() + 130, "LOCALHOST")) as here:
            subscription = here.subscribe("/trajectory", "trajectory_msgs/msg/JointTrajectory", print)
            client = found(here.client("/trigger", TRIGGER))
            until(lambda: subscription.writers)
            killed.send_signal(signal.SIGKILL)
            until(lambda: subscription.writers == 0 and not client.ready, seconds=15)
    finally:
        killed.kill()
        killed.communicate()


LEAVES = """
from robolearn.deploy.transport.cyclone import Cyclone
transport = Cyclone("leaves")
transport.subscribe("/joint_states", "sensor_msgs/msg/JointState", print)
transport.publisher("/x", "std_msgs/msg/Float64")
print("ready", flush=True)
"""


def test_a_process_that_leaves_without_closing_ends_cleanly():
    for _ in range(2):
        assert end_peer(start_peer(sys.executable, "-c", LEAVES)) == (0, "")


LISTENS = """
import sys
from robolearn.deploy.transport.base import QoS
from robolearn.deploy.transport.cyclone import Cyclone
transport = Cyclone("listens")
transport.subscribe("/picture", "sensor_msgs/msg/Image", lambda _: None, QoS("reliable"))
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_reader_that_stands_still_holds_a_writer_up_for_a_tenth_of_a_second_at_most():
    stopped = start_peer(sys.executable, "-c", LISTENS, domain=own_domain() + 130)
    try:
        with Cyclone("here", network=Network(own_domain() + 130, "LOCALHOST")) as here:
            publisher = here.publisher("/picture", "sensor_msgs/msg/Image")
            until(lambda: publisher.readers)
            stopped.send_signal(signal.SIGSTOP)
            picture = here.messages.new("sensor_msgs/msg/Image", data=np.zeros(921_600, np.uint8))
            took = []
            for _ in range(12):
                began = time.monotonic()
                with contextlib.suppress(TransportError):
                    publisher.publish(picture)
                took.append(time.monotonic() - began)
            assert max(took) < 0.3
    finally:
        stopped.kill()
        stopped.communicate()
