"""The goal's tolerance and the latching of stages, from poses written by hand; and what an expert makes of them."""

import numpy as np
import pytest

from robolearn.rotation import matrix_from_rotvec
from robolearn.seeding import split_seeds
from robolearn.sim.experts.one_leg import OneLegExpert
from robolearn.sim.furniture import HOLES, SEATED
from robolearn.sim.pose import Pose
from robolearn.sim.tasks.one_leg import OneLeg
from tests.sim.worlds import expert_steps, start

LIMIT = np.arccos(0.94)  # [rad]


def reached(hole=0, offset=(0.0, 0.0, 0.0), rotvec=(0.0, 0.0, 0.0)):
    position = np.array([HOLES[hole][0], SEATED, HOLES[hole][1]]) + offset
    (goal,) = OneLeg().goals()
    return bool(goal.reached(Pose(position[None], matrix_from_rotvec(np.array(rotvec, float))[None]))[0])


@pytest.mark.parametrize("hole", range(4))
def test_every_hole_is_a_goal(hole):
    assert reached(hole)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_goal_is_five_millimetres_wide_along_each_axis(axis, sign):
    offset = np.zeros(3)
    offset[axis] = sign * 0.0049
    assert reached(offset=offset)
    offset[axis] = sign * 0.0051
    assert not reached(offset=offset)


@pytest.mark.parametrize("axis", range(3))
def test_the_goal_allows_axis_cosines_down_to_094(axis):
    rotvec = np.zeros(3)
    rotvec[axis] = 0.99 * LIMIT
    assert reached(rotvec=rotvec)
    rotvec[axis] = -1.01 * LIMIT
    assert not reached(rotvec=rotvec)


def test_a_quarter_turn_is_no_goal():
    assert not reached(rotvec=(0.0, np.pi / 2, 0.0))


@pytest.fixture(scope="module")
def rollouts():
    """48 low starts played by the expert: stages, success, reward and ends of each step, up to each row's first end."""
    env, observation = start(48)
    assert env.env_spec.stages[-1] == "success"
    steps = [
        (info["stages"], info["success"], reward, terminated) for _, (_, reward, terminated, _, info) in expert_steps(env, observation, 300)
    ]
    return tuple(np.array(values) for values in zip(*steps, strict=True))


def test_the_expert_solves_low_starts(rollouts):
    _, success, _, terminated = rollouts
    first = np.where(terminated.any(0), terminated.argmax(0), -1)
    solved = success[first, np.arange(48)] & (first >= 0)
    assert solved.mean() >= 0.65  # about 0.9 over many starts


def test_stages_come_in_order_and_stay_reached(rollouts):
    stages = rollouts[0][:, :, :-1].astype(int)  # (T, N, 5)
    assert (np.diff(stages, axis=0) >= 0).all()
    assert (np.diff(stages, axis=2) <= 0).all()
    assert stages[-1].mean(0)[0] >= 0.65


def test_the_reward_is_one_where_success_first_ends_the_episode_and_zero_elsewhere(rollouts):
    _, success, reward, terminated = rollouts
    np.testing.assert_array_equal(reward > 0, success & (np.cumsum(success, 0) == 1))
    assert terminated[success].all()


def test_the_expert_plays_the_same_episode_again():
    actions = [np.array([action for action, _ in expert_steps(*start(3), 20)]) for _ in range(2)]
    np.testing.assert_array_equal(*actions)


def test_the_experts_noise_is_that_of_the_seed():
    observation = start(2)[1]
    experts = [OneLegExpert(2, noise=noise) for noise in (0.002, 0.002, 0.0)]
    for expert, seeds in zip(experts, ([1, 2], [1, 3], [1, 2]), strict=True):
        expert.reset(np.ones(2, bool), np.array(seeds))
    first, second, quiet = (expert.act(observation) for expert in experts)
    np.testing.assert_array_equal(first[0], second[0])
    assert (first[1, :3] != second[1, :3]).any()
    assert (first[:, :3] != quiet[:, :3]).any()


def test_resetting_one_row_of_the_expert_leaves_the_others_in_their_phase():
    env, observation = start(2)
    expert = OneLegExpert(2)
    expert.reset(np.ones(2, bool), split_seeds("search", 2))
    for _, result in expert_steps(env, observation, 30, expert):
        observation = result[0]
    expert.reset(np.array([True, False]), np.array([5, 5]))
    first = expert.act(observation)
    assert first[0, 2] > observation["tcp_pos"][0, 2] or first[0, 9] == 1.0
    fresh = OneLegExpert(2)
    fresh.reset(np.ones(2, bool), np.array([5, 5]))
    np.testing.assert_array_equal(first[0], fresh.act(observation)[0])
