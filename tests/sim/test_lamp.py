"""lamp: the bulb screws in, then the hood stands over it; starts are clear; an expert."""

import numpy as np
import pytest

from robolearn.rotation import matrix_from_quaternion
from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly
from robolearn.sim.experts.lamp import LampExpert
from robolearn.sim.starts import draw_starts
from robolearn.sim.tasks.lamp import BASE_REACH, BULB_REACH, BULB_SEATED, HOOD_REACH, HOOD_SEATED, Lamp
from tests.sim.worlds import stay


def place(env, **heights):
    """Put parts upright over the base, so high above its origin."""
    view = env._view
    base = view.part("lamp_base")[0].copy()
    for name, height in heights.items():
        position = base[:3] + matrix_from_quaternion(base[3:]) @ np.array([0.0, height, 0.0])
        view.qpos[:, view._part_q[view.task.parts.index(name)]] = np.concatenate([position, base[3:]])
    env._engine.forward(np.ones(env.num_envs, bool))


@pytest.fixture
def env():
    world = Assembly("lamp", 1, threads=1)
    world.reset(seed=split_seeds("search", 1).tolist())
    yield world
    world.close()


def test_a_seated_bulb_and_a_hood_on_the_base_are_the_goal_and_stay(env):
    place(env, bulb=BULB_SEATED, hood=HOOD_SEATED + 0.002)
    env._screws.update(env._view.pairs(env._screws.pairs))
    env._view.qpos[:, env._screws._rise_q] = env._view.qpos[:, env._screws._turn_q] = 0.0
    action = stay(env, env.observation())
    rewards = [env.step(action)[1][0] for _ in range(8)]
    assert sum(rewards) == 2
    assert env._stages[0, -1]
    assert abs(env._view.relative("hood", "lamp_base").position[0, 1] - HOOD_SEATED) < 0.001


def test_a_hood_before_the_bulb_earns_nothing(env):
    place(env, hood=HOOD_SEATED)
    action = stay(env, env.observation())
    assert sum(env.step(action)[1][0] for _ in range(5)) == 0


@pytest.mark.parametrize("level", Lamp.levels)
def test_parts_start_clear_of_each_other_and_of_the_fence(level):
    start = draw_starts(Lamp(), np.arange(2000), level)
    base, bulb, hood, fence = (start.xy[:, index] for index in range(4))
    assert (np.linalg.norm(bulb - base, axis=1) > BASE_REACH + BULB_REACH).all()
    assert (np.linalg.norm(hood - base, axis=1) > BASE_REACH + HOOD_REACH).all()
    assert (np.linalg.norm(hood - bulb, axis=1) > BULB_REACH + HOOD_REACH).all()
    assert (base[:, 0] + BASE_REACH < fence[:, 0] - 0.01).all()
    for part, reach in ((bulb, BULB_REACH), (hood, HOOD_REACH)):
        assert (part[:, 0] + reach < fence[:, 0] - 0.16).all()


def test_the_expert_builds_the_lamp_from_most_low_starts():
    rows = 6
    env, expert = Assembly("lamp", rows, threads=1), LampExpert(rows, variation=1.0)
    seeds = split_seeds("search", rows)
    expert.reset(np.ones(rows, bool), seeds)
    observation, _ = env.reset(seed=seeds.tolist())
    success = np.zeros(rows, bool)
    for _ in range(550):
        observation, _, _, _, info = env.step(expert.act(observation))
        success |= info["success"]
        if success.sum() >= 5:
            break
    assert success.sum() >= 5
    base = matrix_from_quaternion(env._view.part("lamp_base")[:, 3:])
    assert (base[:, 2, 1] > 0.99).all()  # no hand has tipped it over the fence
    env.close()
