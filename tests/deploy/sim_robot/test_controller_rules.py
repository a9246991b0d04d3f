"""What the simulated robot's controllers take, and what they make of it."""

import copy

import numpy as np
import pytest

from robolearn.deploy.messages import Messages
from robolearn.deploy.sim_robot.controllers import ForwardController, PoseController, TrajectoryController, milliseconds
from robolearn.deploy.sim_robot.trajectory import RejectedTrajectory, Trajectory, read_trajectory, spliced, standing
from tests.deploy.sim_robot.sim_fakes import MS, TRAJECTORY, trajectory

MESSAGES = Messages()
AB = ("a", "b")
NOW = 10_000 * MS


def message(positions=((0.1, 0.2), (0.3, 0.4)), times=(0.1, 0.2), **options):
    return MESSAGES.new(TRAJECTORY, **trajectory(np.array(positions, float), times, joints=AB, **options))


def changed(change):
    made = copy.deepcopy(message())
    change(made)
    return made


def duration(made, point, seconds):
    made.points[point].time_from_start.sec = int(seconds // 1)
    made.points[point].time_from_start.nanosec = round(seconds % 1 * 1e9)


def test_a_trajectory_is_read_in_the_controllers_order_of_joints():
    read = read_trajectory(message(), ("b", "a"), NOW)
    np.testing.assert_array_equal(read.positions, [[0.2, 0.1], [0.4, 0.3]])
    np.testing.assert_array_equal(read.times, [NOW + 100 * MS, NOW + 200 * MS])


def test_a_stamp_says_when_the_trajectory_begins():
    assert read_trajectory(message(stamp=NOW - 150 * MS), AB, NOW).times.tolist() == [NOW - 50 * MS, NOW + 50 * MS]


BROKEN = {
    "the controller has a, b": lambda made: setattr(made, "joint_names", ["a", "c"]),
    "no joints": lambda made: setattr(made, "joint_names", []),
    "is for a; ": lambda made: setattr(made, "joint_names", ["a"]),
    "is for a, a; ": lambda made: setattr(made, "joint_names", ["a", "a"]),
    "no points": lambda made: setattr(made, "points", []),
    "increase strictly": lambda made: duration(made, 1, 0.1),
    "strictly from 0": lambda made: duration(made, 0, -0.1),
    "every point needs positions": lambda made: [setattr(point, "positions", np.zeros(0)) for point in made.points],
    "positions of": lambda made: setattr(made.points[0], "positions", np.zeros(3)),
    "velocities of": lambda made: setattr(made.points[0], "velocities", np.zeros(0)),
    "accelerations of": lambda made: setattr(made.points[0], "accelerations", np.zeros(2)),
    "no efforts": lambda made: setattr(made.points[1], "effort", np.zeros(2)),
    "has to be 0, it is up to 0.01": lambda made: setattr(made.points[1], "velocities", np.array([0.0, 0.01])),
    "positions hold NaN": lambda made: setattr(made.points[0], "positions", np.array([0.0, np.nan])),
    "velocities hold NaN": lambda made: setattr(made.points[0], "velocities", np.array([0.0, np.inf])),
    "ended 0.100 s ago": lambda made: (
        setattr(made.header.stamp, "sec", (NOW - 300 * MS) // 10**9) or setattr(made.header.stamp, "nanosec", (NOW - 300 * MS) % 10**9)
    ),
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_trajectory_that_breaks_a_rule_is_refused(words):
    controller = TrajectoryController(AB)
    controller.hold(np.array([0.5, 0.5]), NOW)
    with pytest.raises(RejectedTrajectory, match=words):
        controller.take(changed(BROKEN[words]), NOW)
    assert words in controller.rejected
    assert controller.commands == 0
    np.testing.assert_array_equal(controller.motion(np.array([NOW + 10**9])).position, [[0.5, 0.5]])


def test_what_breaks_no_rule_is_taken():
    controller = TrajectoryController(AB)
    controller.take(message(stamp=NOW - 199 * MS), NOW)  # ends in a millisecond
    controller.take(changed(lambda made: [setattr(point, "velocities", np.zeros(0)) for point in made.points]), NOW)
    assert (controller.commands, controller.rejected) == (2, "")


def sampled(velocities, accelerations, at):
    times = np.array([0, 500 * MS], np.int64)
    rows = [None if given is None else np.array(given, float)[:, None] for given in (velocities, accelerations)]
    motion = Trajectory(times, np.array([[1.0], [2.0]]), *rows).sample(np.array([round(at * 1e9)], np.int64))
    return [float(part[0, 0]) for part in (motion.position, motion.velocity, motion.acceleration)]


def test_positions_alone_are_joined_by_lines():
    assert sampled(None, None, 0.125) == pytest.approx([1.25, 2.0, 0.0])


def test_velocities_make_cubics():
    # 1 + 0.5 t + a t^2 + b t^3 over 0.5 s to 2 with velocity 0: a = (3 - (2 * 0.5) 0.5) / 0.25 = 10, b = (-2 + 0.5 * 0.5) / 0.125 = -14
    t = 0.3
    assert sampled([0.5, 0.0], None, t) == pytest.approx([1 + 0.5 * t + 10 * t**2 - 14 * t**3, 0.5 + 20 * t - 42 * t**2, 20 - 84 * t])


def test_accelerations_make_quintics():
    # minimum jerk from 1 to 2 in 0.5 s: 1 + 10 s^3 - 15 s^4 + 6 s^5 with s = t / 0.5
    s = 0.4
    assert sampled([0, 0], [0, 0], 0.2) == pytest.approx(
        [1 + 10 * s**3 - 15 * s**4 + 6 * s**5, (30 * s**2 - 60 * s**3 + 30 * s**4) / 0.5, (60 * s - 180 * s**2 + 120 * s**3) / 0.25]
    )


def test_a_quintic_meets_any_velocities_and_accelerations_at_its_ends():
    generator = np.random.default_rng(0)
    positions, velocities, accelerations = generator.normal(size=(3, 2, 4))
    drawn = Trajectory(np.array([0, 700 * MS], np.int64), positions, velocities, accelerations)
    ends = drawn.sample(np.array([0, 700 * MS - 1], np.int64))
    np.testing.assert_allclose(ends.position, positions, atol=1e-6)
    np.testing.assert_allclose(ends.velocity, velocities, atol=1e-6)
    np.testing.assert_allclose(ends.acceleration, accelerations, atol=1e-5)


def test_after_its_end_a_trajectory_is_at_rest():
    assert sampled([0.5, 0.0], None, 0.5) == [2.0, 0.0, 0.0]
    assert sampled([0.5, 0.0], None, 99.0) == [2.0, 0.0, 0.0]


def test_points_ahead_are_gone_to_from_where_the_arm_is_without_a_jump():
    controller = TrajectoryController(AB)
    controller.hold(np.zeros(2), NOW)
    controller.take(message(), NOW)
    now = NOW + 73 * MS
    before = controller.motion(np.array([now]))
    controller.take(message(((-0.5, 0.0), (0.2, 0.1)), stamp=now), now)
    after = controller.motion(np.array([now]))
    np.testing.assert_allclose(after.position, before.position, atol=1e-12)
    np.testing.assert_allclose(after.velocity, before.velocity, atol=1e-9)
    assert before.velocity.any()
    path = controller.motion(milliseconds(now + 200 * MS, 0.2)).position
    assert np.abs(np.diff(path, axis=0)).max() < 0.02
    np.testing.assert_allclose(path[-1], [0.2, 0.1])


def test_a_trajectory_that_has_begun_is_joined_where_it_is_by_now():
    new = read_trajectory(message(stamp=NOW - 150 * MS), AB, NOW)
    assert spliced(new, NOW, standing(np.zeros(2), NOW).sample(np.array([NOW]))) is new


def test_the_end_is_when_the_last_point_is_due():
    controller = TrajectoryController(AB)
    controller.take(message(), NOW)
    assert controller.end == NOW + 200 * MS


def test_an_arm_too_far_from_its_path_aborts_and_holds():
    controller = TrajectoryController(AB, path_tolerance=0.1)
    controller.take(message(), NOW)
    assert not controller.compare(np.array([0.1, 0.2]), np.array([0.19, 0.2]), NOW)
    assert controller.compare(np.array([0.1, 0.2]), np.array([0.1, 0.31]), NOW + MS)
    np.testing.assert_array_equal(controller.motion(np.array([NOW + 10**9])).position, [[0.1, 0.31]])
    assert controller.aborted == 1


def floats(*data):
    return MESSAGES.new("std_msgs/msg/Float64MultiArray", data=np.array(data, float))


def test_positions_are_gone_to_evenly_within_a_period_and_held():
    controller = ForwardController(AB, period=0.01)
    controller.hold(np.array([1.0, 0.0]), NOW)
    controller.take(floats(1.1, 0.0), NOW)
    motion = controller.motion(NOW + MS * np.array([0, 5, 10, 5000]))
    np.testing.assert_allclose(motion.position[:, 0], [1.0, 1.05, 1.1, 1.1])
    np.testing.assert_allclose(motion.velocity, [[10.0, 0.0], [10.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    controller.take(floats(1.0, 0.0), NOW + 5 * MS)  # before it arrived: from where it is
    assert controller.motion(NOW + MS * np.array([5, 15])).position[:, 0].tolist() == pytest.approx([1.05, 1.0])


def test_a_forward_controller_counts_but_does_not_look():
    controller = ForwardController(AB)
    controller.take(floats(np.nan, 0.0), NOW)
    assert np.isnan(controller.motion(np.array([NOW + 20 * MS])).position[0, 0])
    with pytest.raises(RejectedTrajectory, match="3 numbers for 2 joints"):
        controller.take(floats(1, 2, 3), NOW)


def pose(**orientation):
    return MESSAGES.new("geometry_msgs/msg/PoseStamped", pose={"position": {"x": 0.4, "y": 0.1, "z": 0.2}, "orientation": orientation})


def test_an_equilibrium_pose_is_taken_as_it_is():
    controller = PoseController()
    assert controller.pose is None
    controller.take(pose(x=1.0, w=0.0), NOW)
    np.testing.assert_array_equal(np.concatenate(controller.pose), [0.4, 0.1, 0.2, 0, 1, 0, 0])
    controller.hold(np.zeros(2), NOW)
    assert controller.pose is None


@pytest.mark.parametrize(("orientation", "words"), [({"x": 0.5, "w": 0.0}, "length is 0.5"), ({"x": np.nan}, "not finite")])
def test_a_pose_that_is_none_is_refused(orientation, words):
    with pytest.raises(RejectedTrajectory, match=words):
        PoseController().take(pose(**orientation), NOW)


def test_milliseconds_of_a_step_end_with_it():
    assert milliseconds(100 * MS, 0.005).tolist() == [96 * MS, 97 * MS, 98 * MS, 99 * MS, 100 * MS]
    assert milliseconds(100 * MS, 0.0005).tolist() == [100 * MS]
