"""The same seed is the same episode: at any thread count, and from any exact snapshot on."""

import numpy as np
import pytest

from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly
from robolearn.sim.engine import Engine
from robolearn.sim.scene import build_model
from robolearn.sim.tasks.one_leg import OneLeg
from robolearn.sim.view import View, settled_state
from tests.sim.worlds import expert_steps, start


def states(env, observation, steps):
    return np.array([env.get_state() for _ in expert_steps(env, observation, steps)])


def test_two_threads_play_what_one_thread_plays():
    one, two = (states(*start(6, threads=threads), 45) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_neighbours_do_not_change_a_row():
    env, observation = start(5)
    alone, _ = start(2)
    for action, result in expert_steps(env, observation, 40):
        shown = alone.step(action[:2])[0]
        np.testing.assert_array_equal(shown["parts_poses"], result[0]["parts_poses"][:2])
    np.testing.assert_array_equal(alone.get_state(), env.get_state()[:2])


@pytest.mark.parametrize("after", [8, 40])
def test_a_restored_row_continues_to_the_bit_in_another_environment(after):
    env, observation = start(3)
    for _, result in expert_steps(env, observation, after):
        observation = result[0]
    state = env.get_state()
    env.set_state(state)  # wakes what slept, which is no part of the state
    other = Assembly("one_leg", 3, threads=1)
    other.reset(seed=99)
    other.set_state(state)
    assert all((other.observation()[name] == values).all() for name, values in observation.items())
    for action, result in expert_steps(env, observation, 25):
        repeated = other.step(action)
        for name in result[0]:
            np.testing.assert_array_equal(repeated[0][name], result[0][name])
    np.testing.assert_array_equal(other.get_state(), env.get_state())


def test_some_rows_are_restored_and_the_others_stay():
    env, observation = start(3)
    begin = env.get_state()
    for _ in expert_steps(env, observation, 6):
        pass
    now, chosen = env.get_state(), np.array([False, True, False])
    env.set_state(begin, chosen)
    np.testing.assert_array_equal(env.get_state()[1], begin[1])
    np.testing.assert_array_equal(env.get_state()[~chosen], now[~chosen])


def test_a_recorded_observation_is_started_from():
    env, observation = start(3)
    for _, result in expert_steps(env, observation, 20):
        observation = result[0]
    shown = Assembly("one_leg", 3, threads=1).reset_to_observation(observation, split_seeds("search", 3))[0]
    for name, tolerance in (("tcp_pos", 1e-3), ("tcp_rot6d", 9e-3), ("gripper_width", 5e-4), ("parts_poses", 2e-3)):
        np.testing.assert_allclose(shown[name], observation[name], atol=tolerance)


def test_a_model_field_can_differ_from_row_to_row():
    model = build_model(OneLeg())
    engine = Engine(model, 3, 1)
    engine.load(np.ones(3, bool), np.tile(settled_state(Engine(model, 1, 1), OneLeg(), "low"), (3, 1)))
    leg = model.body("leg1").id
    engine.expand("body_mass")[:, leg] *= (1.0, 2.0, 1.0)
    engine.view("xfrc_applied")[:, leg, 2] = 0.3  # [N] between the weights of the light and the heavy leg
    engine.step(40)
    rise = View(engine, OneLeg()).parts[:, 1, 2] - 0.015
    assert rise[0] > 0.05
    assert rise[1] < 0.001
    assert rise[0] == rise[2]


def test_only_the_chosen_rows_are_stepped():
    model = build_model(OneLeg())
    engine, every = (Engine(model, 3, 1) for _ in range(2))
    for each in (engine, every):
        each.load(np.ones(3, bool), np.tile(settled_state(Engine(model, 1, 1), OneLeg(), "low"), (3, 1)))
        each.view("xfrc_applied")[:, model.body("leg1").id, 2] = 0.3
    before, rows = engine.state.copy(), np.array([True, False, True])
    engine.step(20, rows)
    every.step(20)
    np.testing.assert_array_equal(engine.state[1], before[1])
    np.testing.assert_array_equal(engine.state[rows], every.state[rows])
