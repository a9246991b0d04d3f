"""square_table: any leg in any hole counts, each once, untwisted; the expert screws leg after leg."""

import itertools

import numpy as np
import pytest

from robolearn.rotation import matrix_from_rotvec, quaternion_from_matrix
from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly
from robolearn.sim.experts.square_table import SquareTableExpert
from robolearn.sim.furniture import HOLES, SEATED
from tests.sim.worlds import stay

LEGS = ("leg1", "leg2", "leg3", "leg4")
STAGES = ("pushed", "inserted_1", "screwed_1", "inserted_2", "screwed_2", "inserted_3", "screwed_3", "inserted_4", "screwed_4", "success")


def begin(rows):
    env = Assembly("square_table", rows, threads=1)
    return env, env.reset(seed=split_seeds("search", rows).tolist())[0]


def put_leg(env, row, leg, hole, height=0.0, twist=0.0):
    """A leg of one row over a hole, ``height`` [m] above its seat."""
    top, qpos = env._view.pose("top"), env._engine.view("qpos")
    at = env._engine.model.joint(leg).qposadr[0]
    x, z = HOLES[hole]
    qpos[row, at : at + 3] = top.position[row] + top.rotation[row] @ np.array([x, SEATED + height, z])
    qpos[row, at + 3 : at + 7] = quaternion_from_matrix(top.rotation[row] @ matrix_from_rotvec(np.array([0.0, twist, 0.0])))


def screw_home(env, row, leg, hole):
    """A leg of one row on its seat, held by its thread."""
    put_leg(env, row, leg, hole)
    screws, qpos, active = env._screws, env._engine.view("qpos"), env._engine.view("eq_active")
    place = next(index for index, (_, child) in enumerate(screws.pairs) if child == leg and screws._socket[index] == hole)
    qpos[row, [screws._rise_q[place], screws._turn_q[place]]] = 0.0
    active[row, [screws._weld[place], screws._law[place]]] = 1


def settle(env):
    env._engine.forward(np.ones(env.num_envs, bool))


@pytest.fixture(scope="module")
def all_in():
    """Every permutation of four legs over four holes, put home: what the next 10 steps returned."""
    ways = list(itertools.permutations(range(4)))
    env, observation = begin(len(ways))
    for row, holes in enumerate(ways):
        for leg, hole in zip(LEGS, holes, strict=True):
            screw_home(env, row, leg, hole)
    settle(env)
    return [env.step(stay(env, observation)) for _ in range(10)]


def test_any_leg_in_any_hole_is_a_goal_and_stays_there(all_in):
    rewards = np.array([reward for _, reward, *_ in all_in])
    np.testing.assert_array_equal(rewards[0], 4.0)
    assert not rewards[1:].any()
    assert all(info["success"].all() and terminated.all() for _, _, terminated, _, info in all_in)


def test_each_leg_gives_its_reward_once_and_the_last_one_ends_the_episode():
    env, observation = begin(1)
    total = 0.0
    for count, (leg, hole) in enumerate(zip(LEGS, (2, 0, 3, 1), strict=True), 1):
        screw_home(env, 0, leg, hole)
        settle(env)
        for _ in range(3):
            _, reward, terminated, _, info = env.step(stay(env, observation))
            total += float(reward[0])
        assert total == count
        assert terminated[0] == info["success"][0] == (count == 4)


def test_stages_count_legs():
    env, observation = begin(1)
    assert env.env_spec.stages == STAGES
    env._stages[:, 0] = True  # as if pushed
    for count, leg in enumerate(LEGS[:2], 1):
        put_leg(env, 0, leg, count, height=0.008, twist=1.0)
        settle(env)
        info = env.step(stay(env, observation))[4]
        assert info["stages"][0].sum() == 2 * count  # inserted, not screwed
        screw_home(env, 0, leg, count)
        settle(env)
        info = env.step(stay(env, observation))[4]
        assert info["stages"][0].sum() == 2 * count + 1


def test_a_leg_turned_by_a_quarter_is_not_at_its_goal():
    env, _ = begin(2)
    put_leg(env, 0, "leg2", 1, twist=np.pi / 2)
    put_leg(env, 1, "leg2", 1)
    settle(env)
    goal = env.task.goals()[1]
    np.testing.assert_array_equal(goal.reached(env._view.relative("leg2", "top")), [False, True])


def test_a_leg_that_stands_in_its_thread_does_not_turn_itself_home():
    env, observation = begin(2)
    for row, (leg, hole) in enumerate((("leg1", 0), ("leg3", 2))):
        put_leg(env, row, leg, hole, height=0.008, twist=1.0)
    settle(env)
    heights = []
    for _ in range(50):
        env.step(stay(env, observation))
        heights.append(env._screws.heights().min(1))
    assert np.isfinite(heights).all()
    assert np.ptp(heights, 0).max() < 3e-4


@pytest.mark.long
def test_the_expert_screws_leg_after_leg():
    env, observation = begin(3)
    expert = SquareTableExpert(3, variation=1.0)
    expert.reset(np.ones(3, bool), split_seeds("search", 3))
    legs, success = np.zeros(3), np.zeros(3, bool)
    for _ in range(1000):
        observation, reward, _, _, info = env.step(expert.act(observation))
        legs += reward
        success |= info["success"]
        if success.all():
            break
    assert legs.mean() >= 3.0
    assert success.sum() >= 2
