"""Motion is the training servo's lag where no limit bites, and stays within every limit where one does."""

import numpy as np
import pytest

from robolearn.deploy.limits import JointLimits, ToolLimits, Workspace
from robolearn.deploy.motion import MotionGenerator
from robolearn.deploy.robots.franka import FR3_SLOWING, franka_chain, franka_limits
from robolearn.deploy.turning import rotated, rotvec_between
from robolearn.errors import UserError
from tests.deploy.arms_for_tests import CHAIN, HOME, TICK, WORKSPACE, action, at_home, generator

UP = np.array((0.0, 0.0, 1.0))


def run(motion, target, ticks, begin=0, **options):
    return [motion.follow(target, (begin + tick) * TICK, **options) for tick in range(ticks)]


def tools(points):
    """The tool at each tick, as a controller draws it: ``(T, 3), (T, 3, 3)``."""
    return CHAIN.forward(np.array([point.positions[0] for point in points]))


def lateness(points, target_at, position, direction, rate):
    """By how much more than a lag of ``rate`` the tool is behind a step [s], on average over the way: areas above the curves."""
    shares = (tools(points)[0] - position) @ direction / (direction @ direction)
    times = np.array([point.stamp for point in points]) * 1e-9 - target_at
    return times[0] + np.sum(1 - shares) * 0.01 - 0.5 * 0.01 - 1 / rate


def test_the_tool_follows_as_the_servo_does_latency_made_up_for():
    motion = generator()
    position, rotation = at_home()
    step = np.array((0.002, -0.001, 0.001))
    points = run(motion, action(position + step, rotation), 150)
    assert motion.clamps == {}
    assert abs(lateness(points, 0.0, position, step, 4.86)) < 0.006
    shares = (tools(points)[0] - position) @ step / (step @ step)
    times = np.array([point.stamp for point in points]) * 1e-9
    assert np.interp(0.4, times, shares) == pytest.approx(1 - np.exp(-4.86 * 0.4), abs=0.03)


def test_turning_follows_at_its_own_rate():
    motion = generator()
    position, rotation = at_home()
    points = run(motion, action(position, rotated(0.01 * UP, rotation)), 100)
    angles = np.array([rotvec_between(facing, rotation)[2] for facing in tools(points)[1]]) / 0.01
    late = points[0].stamp * 1e-9 + np.sum(1 - angles) * 0.01 - 0.5 * 0.01 - 1 / 9.16
    assert abs(late) < 0.006
    assert np.abs(tools(points)[0] - position).max() < 1e-5


def test_a_compliant_robot_is_sent_the_target_itself():
    motion = generator(robot_lag=(4.86, 9.16), limits=franka_limits("panda", acceleration=5.0))
    position, rotation = at_home()
    goal, facing = position + np.array((0.004, 0.0, 0.003)), rotated(np.array((0.0, 0.02, 0.01)), rotation)
    for point in run(motion, action(goal, facing), 30):
        np.testing.assert_array_equal(point.position, goal)
        np.testing.assert_allclose(point.rotation, facing, atol=1e-12)
        assert point.reasons == ()


def test_a_compliant_robot_that_is_limited_is_sent_what_makes_its_lag_the_planned_motion():
    motion = generator(robot_lag=(20.0, 20.0), tool=ToolLimits(0.1, 3.0))
    position, rotation = at_home()
    at = position.copy()
    for tick in range(60):
        point = motion.follow(action(position + 0.15 * UP, rotation), tick * TICK)
        at = at + (1 - np.exp(-20.0 * 0.01)) * (point.position - at)  # the robot, exactly
        np.testing.assert_allclose(at, motion.planned[1], atol=1e-9)
    assert motion.clamps["speed"] > 30
    assert np.linalg.norm(point.twist[:3]) == pytest.approx(0.1, rel=0.02)


def test_a_far_target_is_approached_at_the_tools_speed():
    motion = generator(tool=ToolLimits(0.2, 3.0))
    position, rotation = at_home()
    points = run(motion, action(position + np.array((0.0, 0.2, 0.1)), rotation), 60)
    speeds = np.linalg.norm(np.diff(tools(points)[0], axis=0), axis=1) / 0.01
    assert speeds.max() == pytest.approx(0.2, rel=0.02)
    assert motion.clamps["speed"] > 20


def test_a_target_too_far_ahead_is_brought_nearer_and_counted():
    motion = generator(tool=ToolLimits(1.0, 3.0, step=0.05, turn=0.1))
    position, rotation = at_home()
    point = motion.follow(action(position + 0.2 * UP, rotated(UP, rotation)), 0)
    assert {"step", "turn"} <= set(point.reasons)


def test_a_ramp_slows_the_beginning():
    position, rotation = at_home()
    full, tenth = (run(generator(), action(position + 0.01 * UP, rotation), 40, share=share) for share in (1.0, 0.1))
    assert 0 < tools(tenth)[0][-1][2] - position[2] < 0.25 * (tools(full)[0][-1][2] - position[2])
    assert "ramp" in tenth[0].reasons


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_repeats_the_last_target(spoilt):
    motion, other = generator(), generator()
    position, rotation = at_home()
    good = action(position + 0.01 * UP, rotation)
    for tick in range(20):
        bad = good.copy()
        bad[tick % 9] = spoilt
        given = motion.follow(good if tick == 0 else bad, tick * TICK)
        wanted = other.follow(good, tick * TICK)
        np.testing.assert_array_equal(given.positions, wanted.positions)
    assert motion.clamps["not finite"] == 19


def test_rows_that_say_no_rotation_keep_the_last_one():
    motion = generator()
    position, rotation = at_home()
    bad = action(position + 0.01 * UP, rotation)
    bad[3:9] = 0.0
    points = run(motion, bad, 50)
    assert motion.clamps["degenerate rotation"] == 50
    np.testing.assert_allclose(tools(points)[1][-1], rotation, atol=1e-4)


def test_the_first_target_that_cannot_be_read_leaves_the_tool_where_it_is():
    motion = generator()
    points = run(motion, np.full(10, np.nan), 20)
    np.testing.assert_allclose(tools(points)[0], np.tile(at_home()[0], (20, 1)), atol=1e-9)


def test_the_tool_slides_along_the_workspace_and_never_leaves_it():
    motion = generator()
    _, rotation = at_home()
    outside = [action(corner, rotation) for corner in ((0.6, 0.6, 0.1), (0.9, 0.6, 0.1), (0.9, 0.0, 0.1), (0.5, 0.0, 0.9))]
    points = [motion.follow(outside[tick // 300], tick * TICK) for tick in range(1200)]
    positions, _ = tools(points)
    assert (positions > np.array(WORKSPACE.high) + 1e-3).sum() == 0
    assert positions[299][1] == pytest.approx(0.35, abs=2e-3) and positions[599][0] > 0.7
    assert motion.clamps["workspace"] == 1200


def test_the_fingers_stay_above_the_table_however_the_tool_is_tilted():
    workspace = Workspace((0.2, -0.35, -0.1), (0.8, 0.35, 0.45), 0.0, ((0.0, 0.05, 0.01), (0.0, -0.05, 0.01)))
    motion = generator(workspace=workspace)
    position, rotation = at_home()
    tilted = rotated(np.array((0.5, 0.0, 0.0)), rotation)
    points = run(motion, action((position[0], position[1], -0.1), tilted), 200)
    positions, rotations = tools(points)
    lowest = (positions[:, 2:] + rotations[:, 2] @ np.array(workspace.tool_points).T).min(1)
    assert lowest.min() > -1e-3 and lowest[-1] < 3e-3
    assert motion.clamps["table"] == 200


def test_a_tool_that_starts_outside_may_come_in():
    motion = generator(workspace=Workspace((0.2, -0.35, 0.2), (0.8, 0.35, 0.45)))
    _, rotation = at_home()
    points = run(motion, action((0.55, 0.05, 0.3), rotation), 150)
    heights = tools(points)[0][:, 2]
    assert heights[0] < 0.2 and heights[-1] == pytest.approx(0.3, abs=2e-3) and (np.diff(heights) > -1e-5).all()


def test_a_joint_stops_before_its_end_and_the_others_go_on():
    limits = franka_limits("panda")
    lower = list(limits.lower)
    lower[3] = HOME[3] - 0.1  # the elbow may hardly bend further
    tight = JointLimits(tuple(lower), limits.upper, limits.velocity, limits.acceleration, limits.jerk)
    motion = generator(limits=tight)
    position, rotation = at_home()
    points = run(motion, action(position + np.array((-0.1, 0.0, 0.2)), rotation), 300)
    elbow = np.array([point.positions[0][3] for point in points])
    assert elbow.min() >= lower[3] - 1e-9 and elbow.min() < lower[3] + 0.02
    assert np.abs(points[-1].positions[0] - HOME)[[1, 5]].min() > 0.05
    assert motion.clamps["joint position"] > 0


def test_joints_that_do_not_move_the_tool_go_back_to_their_posture():
    motion = MotionGenerator(CHAIN, franka_limits("panda"), WORKSPACE, 100, posture=HOME)
    position, rotation = at_home()
    jacobian = CHAIN.jacobian(np.array(HOME))
    idle = np.linalg.svd(jacobian)[2][-1]
    bent = CHAIN.solve(position, rotation, np.array(HOME) + 0.2 * idle)
    assert np.abs(bent - HOME).max() > 0.05
    motion.start(bent, 0)
    points = run(motion, action(position, rotation), 1500)
    assert np.abs(tools(points)[0] - position).max() < 2e-4
    assert np.abs(points[-1].positions[0] - HOME).max() < 0.02


def test_the_trajectory_ends_at_rest_within_the_limits_and_is_what_is_done_when_nobody_calls():
    motion = generator()
    position, rotation = at_home()
    last = run(motion, action(position + np.array((0.05, 0.2, 0.1)), rotation), 30)[-1]
    assert np.abs(last.velocities[0]).max() > 0.3
    assert not last.velocities[-1].any() and not last.accelerations[-1].any()
    late = motion.follow(action(position, rotation), 41 * TICK)
    assert motion.missed == 11
    np.testing.assert_allclose(late.positions[0], last.at((late.stamp - last.stamp) * 1e-9), atol=1e-9)


def test_a_tick_too_early_repeats_the_last_and_a_late_one_loses_nothing():
    motion, steady = generator(), generator()
    position, rotation = at_home()
    target = action(position + 0.03 * UP, rotation)
    given = {}
    for call in (0, 1, 2.45, 2.6, 3, 4.4, 5.3, 6, 7.45, 8, 8.1, 9):
        point = motion.follow(target, round(call * TICK))
        given[point.stamp] = point
        assert point.stamp <= call * TICK
    for point in run(steady, target, 10):
        np.testing.assert_array_equal(given[point.stamp].positions, point.positions)
    assert motion.missed == 0


def test_a_clock_that_jumps_does_not_move_the_arm():
    motion = generator()
    position, rotation = at_home()
    target = action(position + 0.1 * UP, rotation)
    before = run(motion, target, 20)[-1]
    back = motion.follow(target, -3600 * 1_000_000_000)
    assert np.abs(back.positions[0] - before.at(0.01)).max() < 1e-9
    forth = motion.follow(target, 3600 * 1_000_000_000)
    np.testing.assert_allclose(forth.positions[0], back.positions[-1], atol=1e-9)


def test_coming_to_rest_takes_as_long_as_the_limits_ask_and_then_it_stays():
    motion = generator()
    position, rotation = at_home()
    run(motion, action(position + 0.2 * UP, rotation), 30)
    assert not motion.resting
    points = [motion.decelerate((30 + tick) * TICK) for tick in range(60)]
    assert motion.resting
    np.testing.assert_allclose(points[-1].positions[0], points[-1].positions[-1], atol=1e-14)
    accelerations = np.array([point.accelerations[0] for point in points])
    assert (np.abs(accelerations) <= np.array(motion.limits.acceleration) + 1e-6).all()
    nothing = motion.follow(np.full(10, np.nan), 90 * TICK)  # what was followed before is forgotten
    np.testing.assert_allclose(nothing.position, tools(points)[0][-1], atol=1e-7)


def test_the_margins_of_an_fr3_are_below_what_it_allows_near_its_ends():
    limits, share = franka_limits("fr3"), np.linspace(0, 1, 500)
    rows = zip(limits.lower, limits.upper, limits.velocity, limits.braking, FR3_SLOWING, strict=True)
    for lower, upper, fastest, braking, (end, other, factor, offset) in rows:
        angles = lower + (upper - lower) * share
        towards = np.minimum(fastest, np.sqrt(2 * braking * (upper - angles)))
        away = np.minimum(fastest, np.sqrt(2 * braking * (angles - lower)))
        assert (towards <= np.sqrt(factor * (end - angles)) - offset).all()
        assert (away <= np.sqrt(factor * (angles - other)) - offset).all()
    with pytest.raises(UserError, match="give an inset"):
        franka_limits("fr3", inset=0.0)
    with pytest.raises(UserError, match="did you mean 'panda'"):
        franka_limits("pandas")


def test_misuse_is_said_plainly():
    limits = franka_limits("panda")
    with pytest.raises(UserError, match="call start"):
        MotionGenerator(CHAIN, limits, WORKSPACE, 100).follow(np.zeros(10), 0)
    with pytest.raises(UserError, match="7 finite joint angles"):
        generator().start(np.full(7, np.nan), 0)
    with pytest.raises(UserError, match="7 joints, its limits 7, its posture 3"):
        MotionGenerator(CHAIN, limits, WORKSPACE, 100, posture=(0.0, 0.0, 0.0))
    with pytest.raises(UserError, match="10 to 1000 ticks"):
        MotionGenerator(CHAIN, limits, WORKSPACE, 5)
    with pytest.raises(UserError, match="135 ms of latency cannot be taken"):
        MotionGenerator(CHAIN, limits, WORKSPACE, 100, response=0.095)
    with pytest.raises(UserError, match=r"\(10,\), got \(7,\)"):
        generator().follow(np.zeros(7), 0)


def test_an_fr3_keeps_its_own_slowing_whatever_is_asked():
    chain, limits = franka_chain(), franka_limits("fr3")
    motion = MotionGenerator(chain, limits, Workspace((-1.0, -1.0, -1.0), (1.0, 1.0, 1.5)), 100, tool=ToolLimits(2.0, 6.0))
    motion.start(np.array((0.0, 0.1, 0.0, -2.2, 0.0, 2.3, 0.785)), 0)
    random = np.random.default_rng(0)
    ends, others, factors, offsets = np.array(FR3_SLOWING).T
    for tick in range(3000):
        if tick % 40 == 0:
            target = action(random.uniform(-0.9, 0.9, 3), rotated(random.normal(size=3) * 2, np.eye(3)))
        point = motion.follow(target, tick * TICK)
        angles, speeds = point.positions, point.velocities
        assert (speeds <= np.sqrt(factors * (ends - angles)) - offsets).all()
        assert (-speeds <= np.sqrt(factors * (angles - others)) - offsets).all()
    assert motion.clamps["joint position"] > 100


def test_a_robot_that_stands_when_ticks_are_missed_goes_on_from_there_without_a_jump():
    limits = franka_limits("panda")
    motion = generator(lead=0.0, stands=True)
    position, rotation = at_home()
    goal = position + np.array((0.0, 0.2, 0.1))
    ticks = [*range(40), *range(41, 60), *range(130, 200)]  # one missed, then seventy
    path = [motion.follow(action(goal, rotation), tick * TICK).positions[0] for tick in ticks]
    speeds = np.abs(np.diff(path, axis=0)) / 0.01
    assert speeds[38].max() > 0.1 and speeds[57].max() > 0.1  # amid motion
    for begin in (39, 58):
        assert speeds[begin].max() < 1e-9
        assert (speeds[begin + 1] <= np.array(limits.acceleration) * 0.01).all()
    np.testing.assert_allclose(CHAIN.forward(path[-1])[0], goal, atol=0.05)
