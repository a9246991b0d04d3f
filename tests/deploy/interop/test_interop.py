"""The cyclonedds backend with other vendors' programs: Fast DDS in C++ and Cyclone DDS in C, built here from Debian's packages.

Takes a minute, so it runs when asked: ``ROBOLEARN_INTEROP=1 pytest tests/deploy/interop``.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from robolearn.deploy.transport.base import QoS
from tests.deploy.transport.conftest import own_domain, until

HERE = Path(__file__).parent
FAST = ["g++", "-std=c++17", "-O1", "-o", "echo", "fastdds_echo.cpp", "Ros2.cxx", "Ros2PubSubTypes.cxx", "-lfastrtps", "-lfastcdr"]
CYCLONE = ["gcc", "-O1", "-Wall", "-o", "echo", "cyclone_echo.c", "Ros2.c", "-lddsc"]
# Tools that must be there, commands that build, and the packages that bring them.
PROGRAMS = {
    "fastdds": (("fastddsgen", "g++"), [["fastddsgen", "-replace", "Ros2.idl"], FAST], "fastddsgen libfastrtps-dev libfastcdr-dev g++"),
    "cyclone": (("idlc", "gcc"), [["idlc", "Ros2.idl"], CYCLONE], "cyclonedds-dev cyclonedds-tools gcc"),
    "cyclone, bare types": (("idlc", "gcc"), [["idlc", "-t", "Ros2.idl"], CYCLONE], "cyclonedds-dev cyclonedds-tools gcc"),
}
KEPT = QoS("reliable", depth=10)
JOINTS = [f"fr3_joint{number}" for number in range(1, 8)]

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(os.environ.get("ROBOLEARN_INTEROP") != "1", reason="takes a minute; ROBOLEARN_INTEROP=1 runs it"),
]


@pytest.fixture(scope="module", params=PROGRAMS)
def built(request, tmp_path_factory):
    """An echo program."""
    tools, commands, packages = PROGRAMS[request.param]
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {' and '.join(missing)}: apt-get install {packages}")
    folder = tmp_path_factory.mktemp("interop")
    for file in HERE.glob("*.*"):
        shutil.copy(file, folder)
    for command in commands:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    return folder / "echo"


@pytest.fixture(scope="module")
def ends(built):
    """Our transport, joined with the program that runs."""
    pytest.importorskip("cyclonedds")
    from robolearn.deploy.transport.cyclone import Cyclone
    from robolearn.deploy.transport.cyclone_config import Network

    network = Network(own_domain(), "LOCALHOST")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ROS_", "CYCLONEDDS", "FASTRTPS"))}
    environment["CYCLONEDDS_URI"] = network.xml
    program = subprocess.Popen([built, str(network.domain)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    try:
        assert program.stdout.readline() == "ready\n"
        with Cyclone("interop", network=network) as transport:
            yield Ends(transport)
        program.communicate(timeout=15)
        assert program.returncode == 0
    finally:
        program.kill()
        program.wait()


class Ends:
    """Joint states out, trajectories in."""

    def __init__(self, transport):
        self.new, self.came = transport.messages.new, []
        self.states = transport.publisher("/joint_states", "sensor_msgs/msg/JointState", KEPT)
        self.trajectories = transport.subscribe("/joint_trajectory", "trajectory_msgs/msg/JointTrajectory", self.came.append, KEPT)
        until(lambda: self.states.readers and self.trajectories.writers, seconds=30)

    def send(self, number):
        header = {"stamp": {"sec": 1_700_000_000, "nanosec": number}, "frame_id": "fr3_link0"}
        position, velocity = np.arange(7) + number, np.arange(7) / 8
        self.states.publish(self.new("sensor_msgs/msg/JointState", header=header, name=JOINTS, position=position, velocity=velocity))


def test_a_state_goes_out_and_a_trajectory_comes_back_whole(ends):
    ends.came.clear()
    ends.send(5)
    until(lambda: ends.came)
    message = ends.came[0].message
    (point,) = message.points
    assert (message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id) == (1_700_000_000, 5, "fr3_link0")
    assert message.joint_names == JOINTS
    np.testing.assert_array_equal(point.positions, np.arange(7) + 5)
    np.testing.assert_array_equal(point.velocities, np.arange(7) / 8)
    assert (len(point.accelerations), len(point.effort)) == (0, 0)
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (1, 500_000_000)


def test_round_trips_at_100_hz_lose_nothing(ends, capsys, request):
    ends.came.clear()
    sent, began = [], time.monotonic()
    for number in range(300):
        time.sleep(max(0.0, began + number / 100 - time.monotonic()))
        sent.append(time.time_ns())
        ends.send(number)
    until(lambda: len(ends.came) == 300)
    times = [(received.received - sent[received.message.header.stamp.nanosec]) / 1e6 for received in ends.came]
    with capsys.disabled():
        p50, p99 = np.percentile(times, (50, 99))
        print(f"\n{request.node.callspec.id}: round trip at 100 Hz, p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    assert [received.message.header.stamp.nanosec for received in ends.came] == list(range(300))
