"""The action of the simulated trajectory controller: tolerances, ends, and who may interrupt it."""

import numpy as np
import pytest

from robolearn.deploy.sim_robot.follow import GOAL_VIOLATED, INVALID_GOAL, PATH_VIOLATED, SUCCESSFUL, TYPE
from robolearn.deploy.transport.base import TransportError
from tests.deploy.sim_robot.sim_fakes import HOME, JOINTS, Stage, trajectory

NEAR = HOME + 0.1


def send(stage, to=NEAR, feedback=None, tolerance=None, **fields):
    tolerances = {name: [{"name": JOINTS[2], "position": value}] for name, value in (tolerance or {}).items()}
    goal = stage.new(f"{TYPE}_Goal", trajectory=trajectory(to), **tolerances, **fields)
    return stage.outside.action_client("/fr3_arm_controller/follow_joint_trajectory", TYPE).send(goal, feedback)


def ended(goal):
    status, result = goal.result(0)
    return status, result.error_code, result.error_string


def under_way(goal):
    with pytest.raises(TransportError, match="no result"):
        goal.result(0)
    return True


def test_a_goal_is_followed_to_its_end_with_feedback():
    with Stage() as stage:
        told = []
        goal = send(stage, feedback=told.append)
        assert goal.accepted(0)
        stage.run(0.45)
        assert under_way(goal)
        stage.run(0.1)
        assert ended(goal) == ("succeeded", SUCCESSFUL, "")
        np.testing.assert_allclose(stage.world.q, NEAR)
        assert 9 <= len(told) <= 11
        assert told[0].joint_names == list(JOINTS)
        assert HOME[0] < told[4].desired.positions[0] < told[6].desired.positions[0] < NEAR[0]
        np.testing.assert_allclose(told[4].error.positions, 0, atol=1e-12)


def test_an_arm_that_leaves_its_path_aborts_the_goal_and_holds():
    with Stage() as stage:
        goal = send(stage, tolerance={"path_tolerance": 0.02})
        stage.run(0.2)
        assert under_way(goal)
        stage.world.behind = 0.03
        stage.run(0.05)
        status, code, words = ended(goal)
        assert (status, code) == ("aborted", PATH_VIOLATED)
        assert "fr3_joint3 is 0.03" in words
        assert "path tolerance of 0.02" in words


def test_an_arm_within_its_path_tolerance_goes_on():
    with Stage() as stage:
        stage.world.behind = 0.019
        goal = send(stage, tolerance={"path_tolerance": 0.02})
        stage.run(0.6)
        assert ended(goal)[0] == "succeeded"


def test_an_arm_has_as_long_as_the_goal_says_to_come_near_enough():
    with Stage() as stage:
        stage.world.behind = 0.03
        patient, fields = {"goal_tolerance": 0.01}, {"goal_time_tolerance": {"sec": 0, "nanosec": 300_000_000}}
        goal = send(stage, tolerance=patient, **fields)
        stage.run(0.7)
        assert under_way(goal)
        stage.world.behind = 0.0
        stage.run(0.01)
        assert ended(goal)[0] == "succeeded"
        stage.world.behind = 0.03
        goal = send(stage, tolerance=patient, **fields)
        stage.run(0.9)
        assert ended(goal)[:2] == ("aborted", GOAL_VIOLATED)


def test_without_tolerances_a_goal_ends_when_its_time_is_over():
    with Stage() as stage:
        stage.world.behind = 0.5
        goal = send(stage)
        stage.run(0.55)
        assert ended(goal)[0] == "succeeded"


def test_a_canceled_goal_holds_the_arm_where_it_is():
    with Stage() as stage:
        goal = send(stage)
        stage.run(0.25)
        goal.cancel()
        stage.run(0.01)
        assert ended(goal)[0] == "canceled"
        stood = stage.world.q.copy()
        stage.run(0.5)
        np.testing.assert_allclose(stage.world.q, stood, atol=1e-2)
        assert np.abs(stage.world.q - NEAR).min() > 0.03


def test_a_later_goal_or_a_message_takes_over():
    with Stage() as stage:
        first = send(stage)
        stage.run(0.1)
        second = send(stage, NEAR + 0.05)
        stage.run(0.1)
        assert ended(first) == ("aborted", INVALID_GOAL, "another goal came")
        stage.go(HOME)
        stage.run(0.1)
        assert ended(second) == ("aborted", INVALID_GOAL, "a trajectory came on the topic")
        stage.run(0.6)
        np.testing.assert_allclose(stage.world.q, HOME)


def test_a_goal_that_never_began_is_ended_by_the_next():
    with Stage() as stage:
        first, second = send(stage), send(stage)
        assert ended(first)[0] == "aborted"
        stage.run(0.6)
        assert ended(second)[0] == "succeeded"


@pytest.mark.parametrize("how", ["fault", "reset"])
def test_a_fault_or_a_reset_aborts_the_goal(how):
    with Stage() as stage:
        goal = send(stage, HOME + (1.0 if how == "fault" else 0.1))  # from rest at 24 rad/s^2
        stage.run(0.2)
        if how == "reset":
            stage.say("/sim/reset", seed=1)
        stage.run(0.2)
        assert ended(goal)[0] == "aborted"
        assert ended(goal)[2] == ("the scene was reset" if how == "reset" else "joint_motion_generator_velocity_discontinuity")


def test_goals_that_break_a_rule_are_refused():
    with Stage() as stage:
        wrong = stage.new(f"{TYPE}_Goal", trajectory=trajectory(NEAR, joints=("a",) * 7))
        client = stage.outside.action_client("/fr3_arm_controller/follow_joint_trajectory", TYPE)
        assert not client.send(wrong).accepted(0)
        unknown = stage.new(f"{TYPE}_Goal", trajectory=trajectory(NEAR), path_tolerance=[{"name": "elbow", "position": 0.1}])
        assert not client.send(unknown).accepted(0)
        stage.run(0.1)
        assert stage.world.steps == 0
    with Stage(active="equilibrium_pose") as stage:
        assert not send(stage).accepted(0)
