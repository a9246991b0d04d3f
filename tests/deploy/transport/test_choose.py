"""The transport that a machine's installation asks for, and what is said where there is none."""

import pytest

from robolearn.deploy.transport import check, choose
from robolearn.deploy.transport.base import TransportError
from robolearn.errors import UserError
from tests.deploy.transport.conftest import own_domain


@pytest.fixture
def installed(monkeypatch):
    """Have only these transports' packages be there."""
    for name in ("ROS_VERSION", "ROS_MASTER_URI", "ROS_DISTRO", "CYCLONEDDS_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain()))

    def only(*kinds):
        monkeypatch.setattr(choose, "is_there", lambda kind: kind == "in_process" or kind in kinds)
        monkeypatch.setattr(check, "is_there", choose.is_there)

    return only


@pytest.mark.parametrize(
    ("kinds", "environment", "chosen"),
    [
        (("rclpy", "cyclonedds", "rospy"), {}, "rclpy"),
        (("cyclonedds", "rospy"), {}, "cyclonedds"),
        (("cyclonedds", "rospy"), {"ROS_MASTER_URI": "http://robot:11311"}, "cyclonedds"),
        (("rospy",), {"ROS_MASTER_URI": "http://robot:11311"}, "rospy"),
        (("cyclonedds", "rospy"), {"ROS_VERSION": "1"}, "rospy"),
        (("cyclonedds",), {"ROS_VERSION": "1"}, "cyclonedds"),
    ],
)
def test_auto_is_the_best_that_is_there(installed, monkeypatch, kinds, environment, chosen):
    installed(*kinds)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert choose.choose() == chosen


def test_without_any_every_way_to_one_is_named(installed):
    installed()
    with pytest.raises(TransportError, match=r"no transport to a robot.*rclpy: .*cyclonedds: pip install.*rospy: apt-get"):
        choose.open_transport()


def test_a_transport_is_opened_with_its_options(installed):
    installed("cyclonedds")
    with choose.open_transport("in_process") as transport:
        assert transport.name == "in process"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("cyclone_dds", {}, r"no transport 'cyclone_dds'; there are auto, rclpy, cyclonedds.*did you mean 'cyclonedds'"),
        ("rclpy", {}, r"transport=rclpy needs the package rclpy: install ROS 2.*here work cyclonedds, in_process"),
        ("cyclonedds", {"nod": "x"}, r"transport=cyclonedds takes no 'nod'.*did you mean 'node'"),
    ],
)
def test_what_cannot_be_opened_is_said_with_what_would_work(installed, kind, options, message):
    installed("cyclonedds")
    with pytest.raises(UserError, match=message):
        choose.open_transport(kind, **options)


def findings():
    return {finding.name.removeprefix("transport "): finding for finding in check.check_transports()}


def test_the_doctor_says_of_each_missing_transport_how_to_get_it(installed):
    installed()
    found = findings()
    assert [finding.status for finding in found.values()] == ["warn", "warn", "warn"]
    assert "[robot]" in found["cyclonedds"].mend
    assert "apt-get install python3-rospy" in found["rospy"].mend
    assert "cyclonedds" in found["rclpy"].detail


def test_the_doctor_joins_a_dds_domain_to_see_whether_it_can(installed):
    pytest.importorskip("cyclonedds")
    installed("cyclonedds")
    found = findings()["cyclonedds"]
    assert found.status == "ok", found.detail
    assert f"joined ROS domain {own_domain()}" in found.detail


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("ROS_DOMAIN_ID", "twelve", "ROS_DOMAIN_ID must be"), ("CYCLONEDDS_URI", "<CycloneDDS><Wrong/></CycloneDDS>", "Wrong")],
)
def test_the_doctor_says_what_is_wrong_with_ros_variables(installed, monkeypatch, variable, value, said):
    pytest.importorskip("cyclonedds")
    installed("cyclonedds")
    monkeypatch.setenv(variable, value)
    found = findings()["cyclonedds"]
    assert found.status == "warn"
    assert said in found.detail + found.mend


@pytest.mark.parametrize(("master", "status"), [(None, "ok"), ("http://127.0.0.1:9", "warn")])
def test_a_ros_master_that_is_named_and_does_not_answer_is_a_warning(installed, monkeypatch, master, status):
    installed("rospy")
    monkeypatch.setattr(check.Master, "ask", refuse)
    if master:
        monkeypatch.setenv("ROS_MASTER_URI", master)
    assert findings()["rospy"].status == status


def refuse(*_):
    raise TransportError("no ROS master answers")


def test_a_ros_that_is_installed_but_not_sourced_is_named(installed, monkeypatch, tmp_path):
    installed()
    (tmp_path / "jazzy").mkdir()
    (tmp_path / "jazzy" / "local_setup.bash").touch()
    monkeypatch.setattr(check, "ROS2", tmp_path)
    found = findings()["rclpy"]
    assert "ROS jazzy is installed, but not sourced" in found.detail
    assert found.mend == f"source {tmp_path}/jazzy/setup.bash"
