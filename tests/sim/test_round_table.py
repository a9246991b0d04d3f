"""round_table: two threads in a row, ordered goals, an expert."""

import numpy as np
import pytest

from robolearn.rotation import matrix_from_quaternion, matrix_from_rotvec, quaternion_from_matrix
from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly
from robolearn.sim.experts.round_table import RoundTableExpert
from robolearn.sim.starts import draw_starts
from robolearn.sim.tasks.round_table import (
    BASE_REACH,
    BASE_SEATED,
    BASE_TWIST,
    LEG_REACH,
    LEG_SEATED,
    LEG_TWIST,
    TOP_REACH,
    RoundTable,
    about_y,
)
from tests.sim.worlds import stay

TURN = 2 * np.pi
PITCH = RoundTable().fit.pitch


def screw_in(env, leg_turns, base_turns):
    """Put the leg and the base on their threads, so many turns above their seats, with the top where it lies."""
    view = env._view
    parent = view.part("top")[0].copy()
    for name, seated, twist, turns in (
        ("leg", LEG_SEATED, LEG_TWIST, leg_turns),
        ("table_base", BASE_SEATED, BASE_TWIST, base_turns),
    ):
        rotation = matrix_from_quaternion(parent[3:])
        position = parent[:3] + rotation @ np.array([0.0, seated + PITCH * turns, 0.0])
        parent = np.concatenate([position, quaternion_from_matrix(rotation @ about_y(twist + TURN * turns))])
        at = view._part_q[view.task.parts.index(name)]
        view.qpos[:, at] = parent
    env._engine.forward(np.ones(env.num_envs, bool))
    env._screws.update(view.pairs(env._screws.pairs))


@pytest.fixture
def env():
    world = Assembly("round_table", 1, threads=1)
    world.reset(seed=split_seeds("search", 1).tolist())
    yield world
    world.close()


def steps(env, count):
    """Let the arm stay away; rewards and what the last step returned."""
    action = stay(env, env.observation())
    results = [env.step(action) for _ in range(count)]
    return [result[1][0] for result in results], results[-1]


def test_parts_at_their_seats_are_the_goal_once_they_have_stayed_there(env):
    screw_in(env, 0.0, 0.0)
    for index, seated in ((0, LEG_SEATED), (1, BASE_SEATED)):
        env._view.qpos[:, env._screws._rise_q[index]] = env._view.qpos[:, env._screws._turn_q[index]] = 0.0
        assert env._screws.engaged()[0, index], seated
    rewards, (_, _, terminated, _, info) = steps(env, 4)
    assert sum(rewards) == 2
    assert rewards[-1] == 1
    assert terminated[0]
    assert info["success"][0]


def test_a_leg_a_turn_above_its_seat_is_no_goal_and_does_not_turn_itself_home(env):
    screw_in(env, 1.0, 1.2)
    before = env._view.relative("leg", "top").position[0, 1]
    rewards, (*_, info) = steps(env, 30)
    assert sum(rewards) == 0
    assert not info["success"][0]
    after = env._view.relative("leg", "top")
    assert before - after.position[0, 1] < 0.0005
    assert after.rotation[0, 1, 1] > 0.999
    assert env._screws.engaged().all()


def test_turning_the_base_home_screws_it_into_the_leg_which_stays(env):
    screw_in(env, 0.0, 1.2)
    env._view.qpos[:, env._screws._rise_q[0]] = env._view.qpos[:, env._screws._turn_q[0]] = 0.0
    body = env._engine.model.body("table_base").id
    force = env._engine.view("xfrc_applied")
    start = env._view.relative("table_base", "leg")
    height, twist = [start.position[0, 1] - BASE_SEATED], [start.twist[0]]
    for _ in range(40):
        force[0, body, 3:] = (0.0, 0.0, -0.006)
        steps(env, 1)
        pose = env._view.relative("table_base", "leg")
        height.append(pose.position[0, 1] - BASE_SEATED)
        twist.append(pose.twist[0])
        if height[-1] < 0.002:
            break
    turned = np.unwrap(twist)
    np.testing.assert_allclose(np.diff(height), PITCH * np.diff(turned) / TURN, atol=3e-4)
    assert height[-1] < 0.002
    assert np.abs(env._view.relative("leg", "top").position[0] - [0, LEG_SEATED, 0]).max() < 5e-4


def test_a_base_that_was_put_on_first_earns_nothing():
    world = Assembly("round_table", 1, threads=1)
    world.reset(seed=split_seeds("search", 1).tolist())
    screw_in(world, 1.0, 0.0)
    world._view.qpos[:, world._screws._rise_q[1]] = world._view.qpos[:, world._screws._turn_q[1]] = 0.0
    rewards, (*_, info) = steps(world, 5)
    assert sum(rewards) == 0
    assert not info["success"][0]
    world.close()


@pytest.mark.parametrize("level", RoundTable.levels)
def test_parts_start_clear_of_each_other_and_of_the_fence(level):
    start = draw_starts(RoundTable(), np.arange(2000), level)
    top, leg, base, fence = (start.xy[:, index] for index in range(4))
    assert (np.linalg.norm(leg - top, axis=1) > TOP_REACH + LEG_REACH).all()
    assert (np.linalg.norm(base - top, axis=1) > TOP_REACH + BASE_REACH).all()
    assert (np.linalg.norm(base - leg, axis=1) > BASE_REACH + LEG_REACH).all()
    assert (top[:, 0] + TOP_REACH < fence[:, 0] - 0.01).all()
    assert (np.abs(top - fence)[:, 1] + TOP_REACH < 0.165).all()
    for part, reach in ((leg, LEG_REACH), (base, BASE_REACH)):  # clear of the fence's side bars
        assert (part[:, 0] + reach < fence[:, 0] - 0.16).all()


def test_the_base_lies_on_its_pin_and_two_bars_and_stays(env):
    before = env._view.pose("table_base")
    _, (_, _, _, _, info) = steps(env, 20)
    after = env._view.pose("table_base")
    assert np.abs(after.position - before.position).max() < 0.001
    assert (after.rotation[0] * before.rotation[0]).sum(0).min() > 0.9999
    assert not info["stages"].any()
    lean = np.degrees(np.arccos(after.rotation[0, 2, 1]))
    assert 25 < lean < 33


def test_the_expert_assembles_the_table_from_most_low_starts():
    rows = 6
    env, expert = Assembly("round_table", rows, threads=1), RoundTableExpert(rows, variation=1.0)
    seeds = split_seeds("search", rows)
    expert.reset(np.ones(rows, bool), seeds)
    observation, _ = env.reset(seed=seeds.tolist())
    success = np.zeros(rows, bool)
    for _ in range(600):
        observation, _, _, _, info = env.step(expert.act(observation))
        success |= info["success"]
        if success.sum() >= 5:
            break
    assert success.sum() >= 5
    env.close()


def test_a_free_seat_takes_a_part_as_it_comes_turned_by_the_least_angle():
    from robolearn.sim.experts.skills import _righted

    rng = np.random.default_rng(0)
    rotation = matrix_from_rotvec(rng.normal(size=(5, 3)))
    axis = rng.normal(size=(5, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    righted = _righted(rotation, axis)
    np.testing.assert_allclose(righted[:, :, 1], axis, atol=1e-9)
    angle = np.arccos((np.trace(righted @ rotation.transpose(0, 2, 1), axis1=1, axis2=2) - 1) / 2)
    np.testing.assert_allclose(angle, np.arccos((rotation[:, :, 1] * axis).sum(1)), atol=1e-6)
