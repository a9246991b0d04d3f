"""The parts of the rclpy backend that need no ROS; with one, the shared contract is run over it."""

import sys
import types

import pytest

from robolearn.deploy.transport import rclpy_actions
from robolearn.deploy.transport.base import LATCHED, READ, QoS, TransportError
from robolearn.deploy.transport.rclpy_types import class_of, distro_messages, import_rclpy, policy_name, profile_of
from tests.deploy.transport.conftest import BACKENDS


class Trigger:
    class Request:
        pass


@pytest.fixture
def std_srvs(monkeypatch):
    package, kind = types.ModuleType("std_srvs"), types.ModuleType("std_srvs.srv")
    kind.Trigger = package.srv = Trigger
    monkeypatch.setitem(sys.modules, "std_srvs", package)
    monkeypatch.setitem(sys.modules, "std_srvs.srv", kind)


@pytest.fixture
def qos_module(monkeypatch):
    """What the backend uses of ``rclpy.qos``."""
    module = types.ModuleType("rclpy.qos")
    module.QoSProfile = lambda **policies: policies
    for name in ("DurabilityPolicy", "HistoryPolicy", "ReliabilityPolicy"):
        words = ("VOLATILE", "TRANSIENT_LOCAL", "KEEP_LAST", "RELIABLE", "BEST_EFFORT")
        setattr(module, name, types.SimpleNamespace(**{word: word for word in words}))
    module.qos_policy_name_from_kind = lambda kind: {16: "RELIABILITY", 2: "DURABILITY_QOS_POLICY"}[kind]
    duration = types.ModuleType("rclpy.duration")
    duration.Duration = lambda nanoseconds: nanoseconds
    monkeypatch.setitem(sys.modules, "rclpy", types.ModuleType("rclpy"))
    monkeypatch.setitem(sys.modules, "rclpy.duration", duration)
    monkeypatch.setitem(sys.modules, "rclpy.qos", module)


def test_types_and_their_parts_are_found_by_ros_names(std_srvs):
    assert class_of("std_srvs/srv/Trigger") is Trigger
    assert class_of("std_srvs/srv/Trigger_Request") is Trigger.Request


@pytest.mark.parametrize("type", ["std_srvs/srv/Triger", "no_such_msgs/msg/Thing", "std_srvs/srv/Trigger_Reply"])
def test_a_type_that_this_ros_lacks_is_told_with_the_package_to_install(std_srvs, monkeypatch, type):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    with pytest.raises(TransportError, match=f"no {type}: apt-get install ros-jazzy-{type.split('/')[0].replace('_', '-')}"):
        class_of(type)


@pytest.mark.parametrize("type", ["JointState", "sensor_msgs/JointState", "sensor_msgs/idl/JointState"])
def test_a_name_that_is_no_types_is_told_what_one_looks_like(type):
    with pytest.raises(TransportError, match="a type is pkg/msg/Name"):
        class_of(type)


@pytest.mark.parametrize(
    ("qos", "reliability", "durability", "depth"),
    [
        (READ, "BEST_EFFORT", "VOLATILE", 5),
        (LATCHED, "RELIABLE", "TRANSIENT_LOCAL", 1),
        (QoS("reliable", depth=0), "RELIABLE", "VOLATILE", 1),
    ],
)
def test_quality_of_service_is_said_in_rclpys_words(qos_module, qos, reliability, durability, depth):
    assert profile_of(qos) == {"history": "KEEP_LAST", "reliability": reliability, "durability": durability, "depth": depth}


def test_a_lifespan_is_said_in_nanoseconds(qos_module):
    assert profile_of(QoS("reliable", depth=1, lifespan=0.25))["lifespan"] == 250_000_000


def test_policies_go_by_the_same_names_as_on_other_backends(qos_module):
    assert (policy_name(16), policy_name(2)) == ("reliability", "durability")


@pytest.mark.parametrize(("distro", "messages"), [("jazzy", "jazzy"), ("", "humble"), ("rolling", "lyrical")])
def test_messages_are_of_the_distribution_that_is_sourced(monkeypatch, distro, messages):
    monkeypatch.setenv("ROS_DISTRO", distro)
    assert distro_messages().distro == messages


def test_without_ros_2_it_is_said_what_would_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "rclpy", None)
    with pytest.raises(TransportError, match=r"rclpy cannot be imported.*setup\.bash.*transport=cyclonedds needs no ROS"):
        import_rclpy()


def test_the_shared_contract_is_run_where_rclpy_is():
    pytest.importorskip("rclpy", reason="no ROS 2 here: source its setup.bash, and the contract's tests run over it too")
    assert "rclpy" in BACKENDS


class Handle:
    """Rclpy's handle of an accepted goal, as far as it is used."""

    def __init__(self, is_cancel_requested):
        self.is_cancel_requested, self.ended, self.result = is_cancel_requested, [], None

    def execute(self, callback):
        self.result = callback(self)

    def succeed(self):
        self.ended.append("succeeded")

    def abort(self):
        self.ended.append("aborted")

    def canceled(self):
        assert self.is_cancel_requested, "ROS 2 refuses this"
        self.ended.append("canceled")


@pytest.mark.parametrize(
    ("asked", "status", "ended"),
    [
        (False, "succeeded", "succeeded"),
        (True, "succeeded", "succeeded"),
        (True, "canceled", "canceled"),
        (False, "canceled", "aborted"),
        (True, "aborted", "aborted"),
    ],
)
def test_a_goal_ends_as_ros_2_allows_it_and_once(monkeypatch, asked, status, ended):
    monkeypatch.setattr(rclpy_actions, "to_rclpy", lambda messages, message: ("converted", message))
    handle = Handle(asked)
    goal = rclpy_actions.RclpyGoalHandle(types.SimpleNamespace(messages=None), "control_msgs/action/GripperCommand", handle, "goal")
    assert goal.cancel_requested == asked
    goal.finish(status, "result")
    assert (handle.ended, handle.result) == ([ended], ("converted", "result"))
    with pytest.raises(TransportError, match="ended already"):
        goal.finish("succeeded", "result")
