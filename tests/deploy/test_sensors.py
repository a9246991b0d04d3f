"""What drivers say, in whatever order and form, becomes the observation that a policy's spec words."""

from types import SimpleNamespace

import numpy as np
import pytest

from robolearn.deploy.sensors.feeds import SensorError
from robolearn.deploy.sensors.sources import ArraySource, CameraSource, GripperSource, JointSource, PoseSource, StackedSource
from robolearn.errors import UserError
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix
from robolearn.spec import ArraySpec, SpecError
from tests.deploy.sensor_fakes import JOINT_STATE, NANO, OWN, World, planar_robot, pose

POSES = "geometry_msgs/msg/PoseArray"
TURN = matrix_from_rotvec(np.array([0, 0, np.pi / 2]))


def test_an_observation_has_the_names_shapes_and_types_of_the_spec():
    with World(planar_robot()) as world:
        world.joints((0.1, 0.2), (0.0, 0.0))
        world.fingers(0.01, 0.02)
        seen = world.observe()
        assert list(seen) == list(OWN)
        assert {name: str(value.dtype) for name, value in seen.items()} == {name: spec.dtype for name, spec in OWN.items()}
        world.spec.check_observation(seen, leading=0)
        assert seen["gripper_width"] == pytest.approx(0.03)
        assert world.sensors.problems(world.now) == []


def test_joints_are_found_by_name_whatever_their_order_and_company():
    with World(planar_robot()) as world:
        world.joints((9.0, 0.2, 8.0, 0.1), (3.0, 2.0, 4.0, 1.0), names=("left", "elbow", "right", "shoulder"))
        stamp, positions, velocities = world.sensors.joints()
        assert stamp == world.now
        np.testing.assert_allclose(positions, (0.1, 0.2))
        np.testing.assert_allclose(velocities, (1.0, 2.0))
        world.clock.advance(0.01)
        world.joints((0.3, 0.4), names=("shoulder", "elbow"))  # another publisher, another order
        np.testing.assert_allclose(world.sensors.joints()[1], (0.3, 0.4))


def test_where_the_tool_is_and_goes_comes_from_the_joints():
    with World(planar_robot()) as world:
        before, after = (0.4, -0.3), (0.4 + 1e-6, -0.3 - 2e-6)
        world.joints(before, (1.0, -2.0))
        world.fingers(0, 0)
        first = world.observe()
        x, y = 0.3 * np.cos(0.4) + 0.2 * np.cos(0.1), 0.3 * np.sin(0.4) + 0.2 * np.sin(0.1)
        np.testing.assert_allclose(first["tcp_pos"], (x, y, 0), atol=1e-6)
        np.testing.assert_allclose(matrix_from_rot6d(first["tcp_rot6d"]), matrix_from_rotvec(np.array([0, 0, 0.1])), atol=1e-6)
        chain = planar_robot().chain
        slope = (chain.forward(np.array(after))[0] - chain.forward(np.array(before))[0]) / 1e-6
        np.testing.assert_allclose(first["tcp_linvel"], slope, atol=1e-5)
        np.testing.assert_allclose(first["tcp_angvel"], (0, 0, -1.0), atol=1e-6)


@pytest.mark.parametrize("velocities", [(), (np.nan, np.nan)])
def test_velocities_that_a_driver_does_not_say_are_those_of_its_positions(velocities):
    with World(planar_robot()) as world:
        for tick in range(6):
            world.joints((0.1 * tick, -0.2 * tick), velocities)
            world.clock.advance(0.01)
        np.testing.assert_allclose(world.sensors.joints()[2], (10.0, -20.0))
        assert np.isfinite(world.sensors.joints()[2]).all()


def test_a_joint_that_is_missing_is_an_error_that_names_both_sides():
    with World(planar_robot()) as world:
        world.joints((0.1, 0.2), names=("shoulder", "elbw"))
        assert ("joint states", "names") in world.kinds()
        assert "['shoulder', 'elbw']" in world.words()
        assert "['shoulder', 'elbow']: elbow missing; did you mean 'elbw'?" in world.words()
        assert world.sensors.joints() is None
        world.clock.advance(0.01)
        world.joints((0.1, 0.2))
        assert ("joint states", "names") not in world.kinds()


def test_messages_of_other_joints_on_the_same_topic_pass_by():
    with World(planar_robot(gripper_states="/joint_states")) as world:
        world.joints((0.02, 0.03), names=("left", "right"))
        assert ("joint states", "missing") in world.kinds()
        assert "messages about something else come" in world.words()
        world.joints((0.1, 0.2))
        assert world.kinds() == []
        assert world.observe()["gripper_width"] == pytest.approx(0.05)
        assert world.sensors.counts()["joint states"] == {"heard": 2, "other": 1, "taken": 1}


def test_all_numbers_are_of_one_instant():
    robot = planar_robot(sensors={"force": ArraySource("/force", (2,))})
    with World(robot, {**OWN, "force": ArraySpec((2,))}) as world:
        start = world.now
        for tick in range(11):  # joints at 0, 20 ... 200 ms, fingers at 0, 100, 200 ms, force stamped by arrival at 0 and 200 ms
            world.clock.now = start + tick * 20_000_000
            world.joints((0.2 * tick, 0.0), (1.0 * tick, 0.0))
            if tick % 5 == 0:
                world.fingers(0.01 * tick, 0.0)
            if tick % 10 == 0:
                world.say("/force", "std_msgs/msg/Float64MultiArray", data=[tick, -tick])
        assert world.sensors.newest() == start + 200_000_000
        seen = world.observe(start + 50_000_000)
        np.testing.assert_allclose(seen["joint_pos"], (0.5, 0), atol=1e-9)
        np.testing.assert_allclose(seen["joint_vel"], (2.5, 0), atol=1e-6)
        np.testing.assert_allclose(seen["gripper_width"], 0.025, atol=1e-6)
        np.testing.assert_allclose(seen["force"], (2.5, -2.5), atol=1e-6)
        np.testing.assert_allclose(world.observe(start + NANO)["joint_pos"], (2.0, 0))  # nothing is made up
        np.testing.assert_allclose(world.observe(start - NANO)["joint_pos"], (0.0, 0))


def test_a_sensors_latency_is_taken_off_its_stamps():
    late = JointSource("/joint_states", ("shoulder", "elbow"), latency=0.03)
    with World(planar_robot(joint_states=late), {"joint_pos": OWN["joint_pos"]}) as world:
        world.joints((0.1, 0.2))
        assert world.sensors.joints()[0] == world.now - 30_000_000
        world.clock.advance(0.01)
        world.joints((0.1, 0.2), stamp=0)  # without a stamp: of its arrival
        assert world.sensors.joints()[0] == world.now - 30_000_000


def test_poses_turn_about_one_axis_between_measurements():
    robot = planar_robot(sensors={"parts_poses": PoseSource("/poses", ("top", "leg"))})
    with World(robot, {"parts_poses": ArraySpec((18,))}) as world:
        start = world.now
        world.say("/poses", POSES, poses=[pose((0, 0, 0), np.eye(3)), pose((1, 2, 3), TURN)])
        world.clock.advance(0.1)
        world.say("/poses", POSES, poses=[pose((1, 0, 0), TURN), pose((1, 2, 3), TURN @ TURN)])
        seen = world.observe(start + 30_000_000)["parts_poses"].reshape(2, 9)
        np.testing.assert_allclose(seen[:, :3], [(0.3, 0, 0), (1, 2, 3)], atol=1e-6)
        for body, angle in ((0, 0.3 * np.pi / 2), (1, 1.3 * np.pi / 2)):
            expected = rot6d_from_matrix(matrix_from_rotvec(np.array([0, 0, angle])))
            np.testing.assert_allclose(seen[body, 3:], expected, atol=1e-6)
        assert world.sensors.problems(world.now)[0].kind == "missing"  # the joints: never said


def test_poses_of_a_tracker_are_brought_into_the_base_frame():
    camera = (0.5, 0.0, 1.0, np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5))  # turned by a quarter about z
    robot = planar_robot(
        sensors={
            "both": StackedSource(
                (
                    PoseSource("/top", ("top",), "geometry_msgs/msg/PoseStamped", "tracker", camera),
                    PoseSource("/leg", ("leg",), "geometry_msgs/msg/PoseStamped"),
                )
            )
        }
    )
    with World(robot, {"both": ArraySpec((18,))}) as world:
        world.joints((0, 0))
        world.say("/top", "geometry_msgs/msg/PoseStamped", header={"frame_id": "tracker"}, pose=pose((0.1, 0.2, -0.3), np.eye(3)))
        assert ("both[1]", "missing") in world.kinds()
        with pytest.raises(SensorError, match=r"both\[1\].*/leg"):
            world.observe()
        world.say("/leg", "geometry_msgs/msg/PoseStamped", pose=pose((7, 8, 9), TURN))
        seen = world.observe()["both"].reshape(2, 9)
        np.testing.assert_allclose(seen[0, :3], (0.5 - 0.2, 0.1, 0.7), atol=1e-6)
        np.testing.assert_allclose(matrix_from_rot6d(seen[0, 3:]), TURN, atol=1e-6)
        np.testing.assert_allclose(seen[1, :3], (7, 8, 9))
        world.clock.advance(0.01)
        world.say("/top", "geometry_msgs/msg/PoseStamped", header={"frame_id": "camera"}, pose=pose((0, 0, 0), np.eye(3)))
        assert "/top is in frame 'camera', the robot expects 'tracker'" in world.words()


def test_too_few_poses_are_an_error_that_names_the_bodies():
    robot = planar_robot(sensors={"parts_poses": PoseSource("/poses", ("top", "leg"))})
    with World(robot, {"parts_poses": ArraySpec((18,))}) as world:
        world.say("/poses", POSES, poses=[pose((0, 0, 0), np.eye(3))])
        assert "/poses holds 1 poses, the robot expects 2: top, leg" in world.words()


def test_any_field_of_any_message_can_be_a_sensor():
    robot = planar_robot(sensors={"wrench": ArraySource("/wrench", (6,), "geometry_msgs/msg/WrenchStamped", "wrench")})
    with World(robot, {"wrench": ArraySpec((6,))}) as world:
        world.joints((0, 0))
        force, torque = {"x": 1.0, "y": 2.0, "z": 3.0}, {"x": 4.0, "y": 5.0, "z": 6.0}
        world.say("/wrench", "geometry_msgs/msg/WrenchStamped", wrench={"force": force, "torque": torque})
        np.testing.assert_array_equal(world.observe()["wrench"], (1, 2, 3, 4, 5, 6))


def test_a_gripper_may_close_as_its_joint_grows():
    one = planar_robot(fingers=("knuckle",), finger_scale=-0.085 / 0.8, finger_offset=0.085)
    with World(one) as world:
        world.joints((0, 0))
        world.say("/gripper/joint_states", JOINT_STATE, name=["knuckle"], position=[0.6])
        assert world.observe()["gripper_width"] == pytest.approx(0.02125)


def test_a_sensor_can_be_described_by_its_words_alone():
    robot = planar_robot(
        cameras={"front": SimpleNamespace(topic="/camera", shape=(4, 4, 3), type="sensor_msgs/msg/Image", latency=0.02)},
        sensors={
            "parts": SimpleNamespace(topic="/parts", shape=(18,), type="geometry_msgs/msg/PoseArray", field="poses"),
            "force": SimpleNamespace(topic="/force", shape=(3,)),
        },
    )
    wanted = {"front": ArraySpec((4, 4, 3), "uint8"), "parts": ArraySpec((18,)), "force": ArraySpec((3,))}
    with World(robot, wanted) as world:
        world.joints((0, 0))
        world.say("/parts", POSES, poses=[pose((0, 0, 0), np.eye(3))] * 2)
        world.say("/force", "std_msgs/msg/Float64MultiArray", data=[1, 2, 3])
        world.picture(np.full((8, 8, 3), 7, np.uint8))
        assert world.kinds() == []
        world.spec.check_observation(world.observe(), leading=0)
    for wrong, words in (({"topic": "/x"}, "needs a topic and a shape"), ({"topic": "/x", "shape": (7,), "type": POSES}, "9 numbers each")):
        with pytest.raises(UserError, match=words):
            World(planar_robot(sensors={"x": SimpleNamespace(**wrong)}), {})


def test_only_what_is_wanted_is_heard_once_for_each_topic_and_recorded_as_it_came():
    recorded = []
    robot = planar_robot(gripper_states="/joint_states", cameras={"front": CameraSource("/camera")})
    wanted = {**OWN, "front": ArraySpec((84, 84, 3), "uint8")}
    with World(robot, wanted, keys=("joint_pos", "gripper_width"), tap=recorded.append) as world:
        assert [subscription.topic for subscription in world.bus.subscriptions] == ["/joint_states"]
        world.joints((0.1, 0.2, 0.0, 0.0), names=("shoulder", "elbow", "left", "right"))
        assert list(world.observe()) == ["joint_pos", "gripper_width"]
        assert [received.topic for received in recorded] == ["/joint_states"]


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        ({"tcp_pose": ArraySpec((3,))}, "reads 'tcp_pose', robot 'planar' gives .*tcp_pos.*did you mean 'tcp_pos'"),
        ({"joint_pos": ArraySpec((7,))}, r"shape \(7,\), robot 'planar' gives \(2,\)"),
        ({"front": ArraySpec((84, 84, 3), "uint8")}, r"shape \(84, 84, 3\), robot 'planar' gives \(48, 48, 3\)"),
        ({"front": ArraySpec((48, 48, 3))}, "as numbers, robot 'planar' gives a picture"),
    ],
)
def test_what_the_robot_does_not_give_is_refused_before_anything_is_heard(observation, words):
    robot = planar_robot(cameras={"front": CameraSource("/camera", (48, 48, 3))})
    with pytest.raises(SpecError, match=words):
        World(robot, observation)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: JointSource("/j", ("a", "a")), "each joint's name once"),
        (lambda: JointSource("", ("a",)), "needs the name of a topic"),
        (lambda: GripperSource("/g", ("a",), latency=-1.0), "latency must be"),
        (lambda: ArraySource("/a", (3,), max_age=0.0), "max_age must be above 0"),
        (lambda: PoseSource("/p", ("a", "b"), "geometry_msgs/msg/PoseStamped"), "the one of a PoseStamped"),
        (lambda: PoseSource("/p", ("a",), "geometry_msgs/msg/Pose"), "PoseArray or geometry_msgs/msg/PoseStamped, not"),
        (lambda: PoseSource("/p", ("a",), base_from_frame=(0, 0, 0, 1, 1, 0, 0)), "unit quaternion"),
        (lambda: CameraSource("/c", (84, 84)), "height, width and 3"),
        (lambda: CameraSource("/c", type="sensor_msgs/msg/PointCloud2"), "pictures come as"),
        (lambda: CameraSource("/c", crop=(0, 0, 0, 9)), "left, top, width and height"),
        (lambda: StackedSource(()), "at least one"),
    ],
)
def test_sources_that_cannot_be_are_refused(make, words):
    with pytest.raises(UserError, match=words):
        make()
