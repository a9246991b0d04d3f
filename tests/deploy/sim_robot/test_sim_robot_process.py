"""The real ``robolearn sim-robot`` as a process, over DDS: it is found, reset, commanded and ended."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("cyclonedds")

from robolearn.deploy.transport.base import LATCHED, QoS
from robolearn.deploy.transport.cyclone import Cyclone
from robolearn.deploy.transport.cyclone_config import Network
from tests.deploy.sim_robot.sim_fakes import JOINTS, STRING, TRAJECTORY, trajectory
from tests.deploy.transport.conftest import own_domain, until
from tests.deploy.transport.processes import ROOT

DOMAIN = own_domain() + 100


@pytest.fixture(scope="module")
def process():
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ROS_", "CYCLONEDDS"))}
    environment |= {"ROS_DOMAIN_ID": str(DOMAIN), "ROS_LOCALHOST_ONLY": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [sys.executable, "-m", "robolearn", "sim-robot", "task=one_leg", "json=true", f"parent={os.getpid()}", "transport.kind=cyclonedds"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = started.stdout.readline()
        assert line.startswith("{"), started.stderr.read()
        assert json.loads(line) == {
            "ready": True,
            "task": "one_leg",
            "command": "/fr3_arm_controller/joint_trajectory",
            "transport": "cyclonedds",
        }
        yield started
    finally:
        started.kill()
        started.communicate()


def test_it_is_reset_and_commanded_and_ends_when_it_is_told(process):
    status, joints = [{}], []
    with Cyclone("here", network=Network(DOMAIN, "LOCALHOST")) as here:
        new = here.messages.new
        here.subscribe("/sim/status", STRING, lambda heard: status.append(json.loads(heard.message.data)), LATCHED)
        here.subscribe("/joint_states", "sensor_msgs/msg/JointState", lambda heard: joints.append(heard.message))
        resets = here.publisher("/sim/reset", STRING, QoS("reliable", depth=10))
        commands = here.publisher("/fr3_arm_controller/joint_trajectory", TRAJECTORY)
        until(lambda: resets.readers and commands.readers and joints, seconds=20)
        resets.publish(new(STRING, data=json.dumps({"seed": 11, "level": "low", "token": "here"})))
        until(lambda: status[-1].get("token") == "here", seconds=20)
        assert (status[-1]["seed"], status[-1]["running"]) == (11, False)
        joints.clear()
        until(lambda: joints)
        start = joints[-1].position.copy()
        assert joints[-1].name == list(JOINTS)
        assert abs(joints[-1].header.stamp.sec - time.time()) < 5
        goal = start + 0.1 * np.array([1, 1, 1, 1, 1, -1, 1])
        commands.publish(new(TRAJECTORY, **trajectory(goal)))
        until(lambda: np.abs(joints[-1].position - goal).max() < 0.03, seconds=20)
        assert (status[-1]["running"], status[-1]["fault"]) == (True, "")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
        assert (process.returncode, said) == (143, "terminated\n")
