"""The rospy backend over a real rosmaster: with Debian's own rospy and actionlib, and where rospy has its limits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robolearn.deploy.transport.rospy_types import md5_of, ros1_name, service_md5_of
from robolearn.errors import UserError
from tests.deploy.transport import ros1
from tests.deploy.transport.peers import Peer

PROGRAMS = Path(__file__).parent / "rospy_programs.py"
SUCCEEDED, PREEMPTED, REJECTED = 3, 2, 5  # actionlib_msgs/GoalStatus


@pytest.fixture(scope="module")
def environment():
    with ros1.master() as environment:
        yield environment


@pytest.fixture(scope="module")
def peers(environment):
    """Robot, runner and Debian's program."""
    found = [Peer(PROGRAMS, role, environment) for role in ("robot", "runner", "debian")]
    yield found
    assert [peer.close() for peer in found] == [0, 0, 0]


@pytest.fixture
def robot(peers):
    return peers[0]


@pytest.fixture
def runner(peers):
    return peers[1]


@pytest.fixture
def debian(peers):
    return peers[2]


@pytest.mark.parametrize(
    ("type", "md5"),
    [
        ("std_msgs/msg/Header", "2176decaecbce78abc3b96ef049fabed"),
        ("sensor_msgs/msg/JointState", "3066dcd76a6cfaef579bd0f34173e9fd"),
        ("trajectory_msgs/msg/JointTrajectory", "65b4f94a94d1ed67169da35a02f33d3f"),
        ("geometry_msgs/msg/PoseStamped", "d3812c3cbc69362b77dc0b19b345f8f5"),
        ("actionlib_msgs/msg/GoalStatusArray", "8b2b82f13216d0a8ea88bd3af735e619"),
    ],
)
def test_a_type_has_the_md5_sum_that_ros_1_programs_know(type, md5):
    assert md5_of(type) == md5


@pytest.mark.parametrize(
    ("type", "md5"),
    [
        ("std_srvs/srv/Trigger", "937c9679a518e3a18d831e57125ea522"),
        ("std_srvs/srv/SetBool", "09fb03525b03e7ea1fd3992bafd87e16"),
        ("std_srvs/srv/Empty", "d41d8cd98f00b204e9800998ecf8427e"),
    ],
)
def test_a_service_has_the_md5_sum_that_ros_1_programs_know(type, md5):
    assert service_md5_of(type) == md5


def test_a_type_goes_by_its_name_in_ros_1():
    assert ros1_name("sensor_msgs/msg/JointState") == "sensor_msgs/JointState"
    assert ros1_name("std_srvs/srv/Trigger_Request") == "std_srvs/TriggerRequest"
    with pytest.raises(UserError, match="ROS 1 has no action_msgs/msg/GoalStatusArray"):
        ros1_name("action_msgs/msg/GoalStatusArray")


def test_states_come_back_as_commands_at_a_steady_rate(runner):
    times = sorted(runner("round_trips", count=50, hz=100))
    assert 0 < times[25] < 500  # generous: whoever shares the machine is in it


def test_debians_programs_hear_and_are_heard(debian):
    assert debian("echo") == [["a", "b"], [3.0, 4.0], "base", 7, 8]


def test_debians_programs_call_our_services(debian):
    assert debian("call") == [True, "on"]
    with pytest.raises(RuntimeError, match="its handler failed"):
        debian("call_in_vain")


def test_actionlibs_client_is_served_by_our_server(debian):
    assert debian("gripper_action_md5") == "950b2a6ebe831f5d4f4ceaba3d8be01e"  # as of control_msgs of ROS Noetic
    assert debian("grip", position=0.25)[:2] == [SUCCEEDED, 0.25]  # feedback may come after the result, on another connection
    assert debian("grip", position=1.0, cancel=True) == [PREEMPTED, 1.0, [0.5]]
    assert debian("grip", position=-1.0)[0] == REJECTED


def test_our_client_is_served_by_actionlibs_server(debian, runner):
    debian("serve_gripper")
    assert runner("grip", action="/debian/gripper", position=0.25) == [True, "succeeded", 0.25, [0.5]]
    assert runner("grip", action="/debian/gripper", position=1.0, cancel=True) == [True, "canceled", 1.0, [0.5]]
    assert runner("grip", action="/debian/gripper", position=-1.0) == [True, "aborted", -1.0, [0.5]]


def test_hostile_bytes_reach_no_callback_and_end_nothing(debian, robot):
    debian("publish_hostile", payloads=[[255] * 40, [], [0, 0, 0]])
    assert debian("echo")[0] == ["a", "b"]
    assert "/joint_states: 3 malformed messages" in robot("diagnostics")


def test_a_publisher_of_another_type_is_not_heard_but_named(robot, runner):
    robot("publish_wrongly")
    found = runner("subscribe_wrongly")
    assert (found["writers"], found["heard"]) == (0, 0)
    (told,) = [line for line in found["told"] if "md5" in line]
    assert "/wrong: this subscription has sensor_msgs/JointState" in told
    assert "trajectory_msgs/JointTrajectory" in told


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("publish_two_types", "/joint_states carries sensor_msgs/msg/JointState already"),
        ("serve_what_is_served", "/switch is served already, at rosrpc://"),
        ("second_node", "one node a process"),
        ("subscribe_to_ros2", "ROS 1 has no action_msgs/msg/GoalStatusArray"),
        ("call_in_a_callback", "a callback cannot wait for its own transport"),
        ("use_after_close", "this transport is closed"),
    ],
)
def test_what_rospy_cannot_do_is_said(runner, order, message):
    with pytest.raises(RuntimeError, match=message):
        runner(order)


def run(program, environment, **more):
    environment = {**environment, "PYTHONPATH": str(ros1.ROOT), **more}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_without_a_master_it_is_said_where_one_was_looked_for(environment):
    program = "from robolearn.deploy.transport.rospy_transport import Rospy; Rospy()"
    said = run(program, environment, ROS_MASTER_URI="http://127.0.0.1:9").stderr
    assert "TransportError: no ROS master answers at http://127.0.0.1:9" in said
    assert "set ROS_MASTER_URI" in said


LEAVES = """
import logging, signal, time
logging.basicConfig()
handlers, interrupted = logging.root.handlers[:], signal.getsignal(signal.SIGINT)
from robolearn.deploy.transport.base import LATCHED
from robolearn.deploy.transport.rospy_transport import Rospy
transport = Rospy("leaves", timeout=20.0)
came = []
transport.subscribe("/own", "std_msgs/msg/String", came.append)
sender = transport.publisher("/own", "std_msgs/msg/String", LATCHED)
sender.publish(transport.messages.new("std_msgs/msg/String", data="hello"))
while not came:
    time.sleep(0.01)
assert signal.getsignal(signal.SIGINT) is interrupted
assert set(handlers) <= set(logging.root.handlers)
raise SystemExit(3)
"""


def test_a_process_that_leaves_without_closing_ends_and_its_signals_and_log_stay_its_own(environment):
    ended = run(LEAVES, environment)
    assert ended.returncode == 3, ended.stderr


SIMULATED = """
import time
from robolearn.deploy.transport.base import LATCHED
from robolearn.deploy.transport.rospy_node import Master
from robolearn.deploy.transport.rospy_transport import Rospy
try:
    Rospy(use_sim_time=True, timeout=20.0)
except Exception as error:
    print(error)
master = Master("/test", 20.0)
master.ask("setParam", "/use_sim_time", True)
with Rospy(use_sim_time=True, timeout=20.0) as transport:
    master.ask("deleteParam", "/use_sim_time")
    clock = transport.publisher("/clock", "rosgraph_msgs/msg/Clock", LATCHED)
    clock.publish(transport.messages.new("rosgraph_msgs/msg/Clock", clock={"sec": 12, "nanosec": 5}))
    end = time.monotonic() + 20
    while transport.now() != 12_000_000_005 and time.monotonic() < end:
        time.sleep(0.01)
    print(transport.now())
"""


def test_time_is_simulated_where_that_is_asked_for_and_the_master_says_so(environment):
    ended = run(SIMULATED, environment)
    refused, now = ended.stdout.splitlines()
    assert "rosparam set /use_sim_time true" in refused, ended.stderr
    assert now == "12000000005"


LEFT_ALONE = """
import os, signal, sys
from robolearn.deploy.transport.rospy_transport import Rospy
with Rospy("alone", timeout=20.0) as transport:
    publisher = transport.publisher("/state", "std_msgs/msg/String")
    os.kill(int(sys.stdin.readline()), signal.SIGKILL)
    for begin, name, *arguments in (
        (transport.subscribe, "/state", "std_msgs/msg/String", print),
        (transport.client, "/x", "std_srvs/srv/Empty"),
    ):
        try:
            begin(name, *arguments)
        except Exception as error:
            print(error)
    publisher.publish(transport.messages.new("std_msgs/msg/String"))
    print(transport.diagnostics()[0])
"""


def test_a_master_that_has_died_is_told_and_nothing_hangs():
    with ros1.own_master() as (environment, process):
        program = [sys.executable, "-c", LEFT_ALONE]
        ended = subprocess.run(program, env=environment, input=f"{process.pid}\n", capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("no ROS master answers") == 3


def test_ros_1_that_is_not_installed_says_how_to_install_it(monkeypatch):
    from robolearn.deploy.transport import rospy_node

    monkeypatch.setitem(sys.modules, "rospy", None)
    monkeypatch.setattr(rospy_node, "DEBIAN", os.devnull)
    with pytest.raises(UserError, match=r"ROS 1 is not installed .*apt-get install python3-rospy"):
        rospy_node.import_rospy()
