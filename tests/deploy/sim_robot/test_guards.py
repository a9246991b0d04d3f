"""What stops the simulated arm: thresholds to the last digit, a fault that stays, and counts."""

import numpy as np
import pytest

from robolearn.deploy.limits import JointLimits
from robolearn.deploy.robots.franka import PUBLISHED
from robolearn.deploy.sim_robot.guard import PERIOD, ArmGuard, FrankaGuard

LIMITS = JointLimits(lower=(-1.0,), upper=(1.0,), velocity=(2.0,), acceleration=(10.0,), jerk=(5000.0,))
POSITION, VELOCITY = "joint_position_limits_violation", "joint_velocity_violation"
JUMP, KINK = "joint_motion_generator_velocity_discontinuity", "joint_motion_generator_acceleration_discontinuity"


def ramp(acceleration, count, start=0.0):
    """Positions ``(count, 1)`` of the milliseconds after standing at ``start``, whose second differences are ``acceleration``."""
    k = np.arange(1, count + 1)
    return (start + acceleration * PERIOD**2 * k * (k + 1) / 2)[:, None]


def guard(**limits):
    return FrankaGuard(JointLimits(**{**vars(LIMITS), "jerk": (1e9,), "braking": (), **limits}))


def test_an_acceleration_just_below_its_limit_passes_and_one_above_is_a_jump_of_velocity():
    assert guard().check(ramp(9.999, 100)) == ""
    assert guard().check(ramp(10.01, 100)) == JUMP


def test_a_velocity_just_below_its_limit_passes_and_one_above_faults():
    fastest = 2.0 / (9.9 * PERIOD)  # milliseconds after which the limit is reached
    assert guard().check(ramp(9.9, int(fastest))) == ""
    assert guard().check(ramp(9.9, int(fastest) + 1)) == VELOCITY


def test_a_jerk_just_below_its_limit_passes_and_one_above_is_a_jump_of_acceleration():
    assert guard(jerk=(5000.0,)).check(ramp(4.999, 3)) == ""
    assert guard(jerk=(5000.0,)).check(ramp(5.01, 3)) == KINK


def test_a_position_at_its_limit_passes_and_one_beyond_faults():
    checked = guard(velocity=(1e9,), acceleration=(1e12,), jerk=(1e15,))
    assert checked.check(np.array([[1.0], [-1.0]])) == ""
    assert checked.check(np.array([[1.0 + 1e-6]])) == POSITION


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_faults_and_the_guard_goes_on(wrong):
    checked = guard()
    assert checked.check(np.array([[0.0], [wrong]])) == "joint_motion_generator_start_pose_invalid"
    checked.reset(np.zeros(1))
    assert checked.check(ramp(5.0, 10)) == ""


def test_the_first_fault_stays_until_a_reset_and_all_are_counted():
    checked = guard()
    checked.check(np.array([[0.5]]))
    first = checked.fault
    assert first == VELOCITY
    assert checked.counts == {VELOCITY: 1, JUMP: 1}
    assert checked.check(np.array([[0.5], [0.5], [0.5]])) == first
    assert checked.counts == {VELOCITY: 1, JUMP: 2}  # it stands at once
    checked.reset(np.array([0.5]))
    assert checked.check(np.array([[0.5]])) == checked.fault == ""
    assert checked.counts[VELOCITY] == 1


def test_motion_is_watched_across_calls():
    whole, apart = guard(), guard()
    path = np.concatenate([ramp(9.0, 30), ramp(9.0, 30)[-1:] * np.ones((3, 1))])
    whole.check(path)
    for start in range(0, len(path), 5):
        apart.check(path[start : start + 5])
    assert whole.fault == apart.fault == JUMP
    assert not guard().check(ramp(9.0, 30))


def test_one_joint_of_seven_is_enough():
    limits = PUBLISHED["panda"]
    at = np.zeros((5, 7)) + (np.array(limits.lower) + np.array(limits.upper)) / 2
    checked = FrankaGuard(limits)
    checked.reset(at[0])
    assert checked.check(at) == ""
    at[-1, 4] += 1e-3
    assert checked.check(at) == JUMP


def test_a_compliant_arm_faults_where_its_joints_are_too_fast_or_out_of_reach():
    for position, velocity, fault in [(1.05, 1.999, ""), (0.0, 2.01, VELOCITY), (0.0, -2.01, VELOCITY), (1.11, 0.0, POSITION)]:
        assert ArmGuard(LIMITS).check(np.array([position]), np.array([velocity])) == fault
    assert ArmGuard(LIMITS).check(np.array([np.nan]), np.zeros(1)) == POSITION
    assert ArmGuard(LIMITS, share=3.0).check(np.zeros(1), np.array([5.99])) == ""


def test_a_compliant_arms_fault_stays_too():
    checked = ArmGuard(LIMITS)
    checked.check(np.zeros(1), np.array([9.0]))
    assert checked.check(np.zeros(1), np.zeros(1)) == VELOCITY
    checked.reset(np.zeros(1))
    assert checked.check(np.zeros(1), np.zeros(1)) == ""
    assert checked.counts == {VELOCITY: 1}
