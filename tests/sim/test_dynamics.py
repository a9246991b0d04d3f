"""Dynamics that differ between episodes: those of a seed, restored with a state, felt by the parts; actions come late by whole steps."""

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.sim.assembly import Assembly
from tests.sim.worlds import expert_steps

WIDE = {"dynamics": {"mass": [0.5, 2.0], "friction": [0.3, 3.0], "gains": [0.8, 1.2], "latency": [0, 2]}}


def world(rows=3, ranges=None, **options):
    return Assembly("one_leg", rows, threads=1, randomize=ranges, **options)


def play(env, seeds, steps=25):
    observation, _ = env.reset(seed=seeds)
    for _, result in expert_steps(env, observation, steps):
        observation = result[0]
    return observation


def test_a_seed_has_its_dynamics_in_whatever_row():
    env = world(ranges=WIDE)
    first = play(env, [1, 2, 3])
    alone = world(1, WIDE)
    observation, _ = alone.reset(seed=[2])
    actions = world(ranges=WIDE)
    seen, _ = actions.reset(seed=[1, 2, 3])
    for action, result in expert_steps(actions, seen, 25):
        observation = alone.step(action[1:2])[0]
        np.testing.assert_array_equal(observation["tcp_pos"][0], result[0]["tcp_pos"][1])
    np.testing.assert_array_equal(observation["parts_poses"][0], first["parts_poses"][1])


def test_the_dynamics_change_what_happens_and_none_change_nothing():
    usual, nothing, varied = (play(world(ranges=ranges), [1, 2, 3])["tcp_pos"] for ranges in (None, {"dynamics": {}}, WIDE))
    np.testing.assert_array_equal(usual, nothing)
    assert (np.abs(usual - varied).max(1) > 1e-4).all()


def test_a_state_brings_its_dynamics_and_what_is_on_its_way():
    env = world(ranges=WIDE)
    play(env, [1, 2, 3], 8)
    state, observation = env.get_state(), env.observation()
    env.set_state(state)
    np.testing.assert_array_equal(env.get_state(), state)
    ways = []
    for _ in range(2):
        action = np.concatenate([observation["tcp_pos"] + 0.02, observation["tcp_rot6d"], np.full((3, 1), -1.0)], 1)
        ways.append(np.stack([env.step(action.astype(np.float32))[0]["tcp_pos"] for _ in range(5)]))
        env.reset(seed=[7, 8, 9])
        env.set_state(state)
    np.testing.assert_array_equal(*ways)


def test_a_state_goes_into_no_world_with_other_latencies_and_into_no_other_number_of_rows():
    late, prompt = world(ranges=WIDE), world()
    for env, states in ((prompt, late.get_state()), (late, prompt.get_state()), (prompt, prompt.get_state()[:2])):
        with pytest.raises(UserError, match="states of this world are"):
            env.set_state(states)
    with pytest.raises(UserError, match=r"are a mask \(3,\), got \(2,\)"):
        prompt.set_state(prompt.get_state(), [True, False])


@pytest.mark.parametrize("latency", [1, 2])
def test_late_actions_move_the_tool_as_many_steps_later(latency):
    moved = []
    for late in (0, latency):
        env = world(1, {"dynamics": {"mass": [0.99, 1.0], "latency": [late, late]}})
        observation, _ = env.reset(seed=[1])
        action = np.concatenate([observation["tcp_pos"] + [[0, 0, 0.1]], observation["tcp_rot6d"], [[-1.0]]], 1).astype(np.float32)
        heights = np.array([env.step(action)[0]["tcp_pos"][0, 2] for _ in range(5)]) - observation["tcp_pos"][0, 2]
        moved.append(int(np.argmax(heights > 0.02)))
    assert moved[1] - moved[0] == latency


def test_masses_are_within_their_range_and_inertias_go_with_them():
    env = world(8, {"dynamics": {"mass": [0.5, 2.0]}})
    env.reset(seed=0)
    model, top = env._engine.model, env._engine.model.body("top").id
    factor = env._engine.expand("body_mass")[:, top] / model.body_mass[top]
    assert (factor > 0.5).all() and (factor < 2.0).all() and np.ptp(factor) > 0.3
    inertia = env._engine.expand("body_inertia")[:, top] / model.body_inertia[top]
    np.testing.assert_allclose(inertia, np.repeat(factor[:, None], 3, 1))
