"""Messages without ROS: made, serialised, and of the types that real ROS has."""

import subprocess
import sys

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from robolearn.deploy.messages import MalformedError, Messages, ros1
from robolearn.deploy.messages.field_lists import LAYERS
from robolearn.errors import UserError
from tests.deploy.messages.samples import random_message

DISTROS = [distro for distro in LAYERS if distro != "noetic"]
JOINTS = "sensor_msgs/msg/JointState"


@pytest.fixture(scope="module")
def humble():
    return Messages("humble")


def same(one, other):
    """Whether two messages hold the same values."""
    if hasattr(one, "__msgtype__"):
        return one.__msgtype__ == other.__msgtype__ and all(same(value, vars(other)[name]) for name, value in vars(one).items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return np.array_equal(one, other)


@pytest.mark.parametrize("distro", DISTROS)
def test_every_type_goes_there_and_back(distro):
    messages, random = Messages(distro), np.random.default_rng(0)
    for type in messages.store.types:
        message = random_message(messages, type, random)
        raw = messages.encode(message)
        back = messages.decode(type, raw)
        assert same(message, back), type
        assert messages.encode(back) == raw
        assert messages.definition(type).count("MSG:") == messages.definition(type).count("=" * 80)


@pytest.mark.parametrize("store", [Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY])
def test_bytes_are_those_of_rosbags(store):
    theirs, ours, random = get_typestore(store), Messages(store.value.removeprefix("ros2_")), np.random.default_rng(1)
    for type in theirs.types:
        message = random_message(ours, type, random)
        assert ours.encode(message) == bytes(theirs.serialize_cdr(message, type))


# What ROS 2's own generator computed of its own definitions, in packages that the distributions shipped.
@pytest.mark.parametrize(
    ("distro", "type", "hash"),
    [
        ("humble", JOINTS, "a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e"),
        ("jazzy", "control_msgs/msg/JointJog", "ba249455a20f70168a1acb7bf43b776b72ff1f7eb5fc4cfea443f749e963c6e7"),
        ("iron", "control_msgs/msg/JointTrajectoryControllerState", "6cb9ac0858fc11b54bd6c0a46f032ea243c16856182276d8eb0875f6ce6a8335"),
        ("jazzy", "control_msgs/action/FollowJointTrajectory_Goal", "8a9060704b269608f5a340934cc26e66869dd14bdac29e2e7fd9ec8b9882d205"),
        ("jazzy", "control_msgs/action/FollowJointTrajectory_Result", "8002e99ed2c14c6faa522f2a93c26d744c5982f254f9e98ff9c6f19789bdb220"),
        ("jazzy", "control_msgs/action/FollowJointTrajectory_Feedback", "3fd0aaecf71725121ae1ff7f01098a5e0da581e672be18a6b2c286cb43d96b49"),
        (
            "jazzy",
            "control_msgs/action/FollowJointTrajectory_SendGoal_Request",
            "179c93691f1f6d1d115881ff88c3917b7cc6eac2ba4bf56766cc7c4389e19ef1",
        ),
        (
            "jazzy",
            "control_msgs/action/FollowJointTrajectory_SendGoal_Response",
            "e6a48ba740ae254500129a877f0b071be8663a115da1a539b74599cc97921fbf",
        ),
        (
            "jazzy",
            "control_msgs/action/FollowJointTrajectory_GetResult_Request",
            "ecf7ea8463d3beec7084bca75216d0b01b87b6e1e4e09679bb26093041efcbe9",
        ),
        (
            "jazzy",
            "control_msgs/action/FollowJointTrajectory_GetResult_Response",
            "08eefbaa146ce02ba45898d5e99160afd6c4c54a30d159aee0f2ca6035b1580f",
        ),
        (
            "jazzy",
            "controller_manager_msgs/srv/SwitchController_Request",
            "d258d35c1ce6d7469e015590020251 9be21f82c2641393540babd728a09cfa50".replace(" ", ""),
        ),
        (
            "jazzy",
            "moveit_msgs/srv/ServoCommandType_Request",
            "4e77fd6a0be8f0d88b473f978c73130d6d142e0ffecd5d8199fa28c0086edae5",
        ),
    ],
)
def test_type_hashes_are_those_of_ros(distro, type, hash):
    assert Messages(distro).hash(type) == f"RIHS01_{hash}"


# As rospy's tools give them for the packages' own definitions.
@pytest.mark.parametrize(
    ("type", "md5"),
    [
        (JOINTS, "3066dcd76a6cfaef579bd0f34173e9fd"),
        ("trajectory_msgs/msg/JointTrajectory", "65b4f94a94d1ed67169da35a02f33d3f"),
        ("sensor_msgs/msg/Image", "060021388200f6f0f447d0fcd9c64743"),
        ("control_msgs/msg/GripperCommandActionGoal", "aa581f648a35ed681db2ec0bf7a82bea"),
        ("control_msgs/msg/FollowJointTrajectoryActionGoal", "cff5c1d533bf2f82dd0138d57f4304bb"),
    ],
)
def test_md5_sums_are_those_of_ros_1(type, md5):
    assert ros1.definition(type)[1] == md5


def test_what_is_not_given_is_what_ros_puts_there(humble):
    message = humble.new("geometry_msgs/msg/PoseStamped", pose={"position": {"x": 0.5}})
    assert (message.pose.position.x, message.pose.position.z, message.pose.orientation.w, message.header.frame_id) == (0.5, 0, 1, "")
    assert humble.new(JOINTS).position.dtype == np.float64
    assert humble.new("sensor_msgs/msg/Imu").orientation_covariance.shape == (9,)


def test_numbers_and_lists_become_what_the_field_holds(humble):
    message = humble.new(JOINTS, name=("a", "b"), position=[1, 2], velocity=np.zeros(2, np.float32))
    assert message.position.dtype == message.velocity.dtype == np.float64
    message.effort = [3, 4]  # by hand, afterwards
    assert humble.decode(JOINTS, humble.encode(message)).effort.tolist() == [3.0, 4.0]
    strided = humble.new(JOINTS, position=np.arange(8.0)[::2])
    assert humble.decode(JOINTS, humble.encode(strided)).position.tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("type", "fields", "words"),
    [
        (JOINTS, {"positon": [1.0]}, "has no field 'positon'; it has header, name, .*did you mean 'position'"),
        (JOINTS, {"position": ["far"]}, "JointState.position must be numbers of type float64, got list"),
        (JOINTS, {"position": [[1.0]]}, r"JointState.position must have shape \(n,\), got \(1, 1\)"),
        (JOINTS, {"name": "joint1"}, "JointState.name must be a list, got str 'joint1'"),
        (JOINTS, {"name": [1]}, "JointState.name must be a string, got int"),
        (JOINTS, {"header": 1.5}, "JointState.header must be a std_msgs/msg/Header or a dictionary of its fields, got float"),
        (JOINTS, {"header": {"stamp": {"sec": 2**31}}}, "Time.sec must be from -2147483648 to 2147483647, got 2147483648"),
        ("sensor_msgs/msg/Imu", {"orientation_covariance": [0.0] * 8}, r"must have shape \(9,\), got \(8,\)"),
        ("std_msgs/msg/Bool", {"data": 1}, "Bool.data must be a bool, got int"),
        ("std_msgs/msg/UInt8", {"data": 0.5}, "UInt8.data must be a int, got float"),
        ("sensor_msgs/msg/JointSate", {}, "no message type 'sensor_msgs/msg/JointSate' in ROS humble; did you mean"),
    ],
)
def test_what_does_not_fit_is_said_by_name(humble, type, fields, words):
    with pytest.raises(UserError, match=words):
        humble.new(type, **fields)


def test_what_does_not_fit_is_said_when_encoding_too(humble):
    message = humble.new(JOINTS)
    message.position = "far"
    with pytest.raises(UserError, match=r"JointState\.position"):
        humble.encode(message)
    with pytest.raises(UserError, match="not a message: 5"):
        humble.encode(5)


def test_an_unknown_distribution_is_said_with_those_that_are_there():
    with pytest.raises(UserError, match=r"no messages of ROS distribution 'jazy'; there are humble, iron, jazzy.*did you mean 'jazzy'"):
        Messages("jazy")


def test_a_later_distribution_reads_its_own_fields_and_not_anothers():
    type = "control_msgs/msg/JointTrajectoryControllerState"
    messages = {distro: Messages(distro) for distro in ("humble", "iron", "jazzy")}
    for writer in messages.values():
        raw = writer.encode(random_message(writer, type, np.random.default_rng(2)))
        for reader in messages.values():
            if reader is not writer:
                with pytest.raises(MalformedError):
                    reader.decode(type, raw)


def test_big_endian_bytes_are_read(humble):
    message = random_message(humble, JOINTS, np.random.default_rng(3))
    raw = bytes(humble.store.serialize_cdr(message, JOINTS, little_endian=False))
    assert same(humble.decode(JOINTS, raw), message)


def test_messages_travel_over_ros_1_and_back(humble):
    random = np.random.default_rng(4)
    for type in (JOINTS, "trajectory_msgs/msg/JointTrajectory", "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/Image"):
        message = random_message(humble, type, random)
        message.header.stamp.sec = abs(message.header.stamp.sec)
        raw = humble.encode_ros1(message)
        assert raw[:4] == bytes(4)  # seq, which ROS 2 does not have
        assert same(humble.decode_ros1(type, raw), message)
    goal = humble.new("control_msgs/action/FollowJointTrajectory_Goal", trajectory={"joint_names": ["a"]})
    back = humble.decode_ros1("control_msgs/action/FollowJointTrajectory_Goal", humble.encode_ros1(goal))
    assert back.trajectory.joint_names == ["a"]
    assert humble.encode_ros1(humble.new("std_msgs/msg/Empty")) == b""


def test_what_ros_1_lacks_is_said(humble):
    with pytest.raises(UserError, match="ROS 1 has no action_msgs/msg/GoalInfo"):
        humble.encode_ros1(humble.new("action_msgs/msg/GoalInfo"))
    with pytest.raises(UserError, match="other types"):
        humble.encode_ros1(humble.new("controller_manager_msgs/srv/SwitchController_Request"))


def test_a_robot_computer_needs_neither_torch_nor_a_simulator_nor_a_middleware():
    code = (
        "import sys, robolearn.deploy.messages, robolearn.deploy.transport.in_process, robolearn.deploy.transport.faults;"
        "print([name for name in ('torch', 'mujoco', 'robosuite', 'gymnasium', 'scipy', 'cyclonedds') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
