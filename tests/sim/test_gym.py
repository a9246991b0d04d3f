"""Gymnasium: every task at every level is in the registry, what is made passes Gymnasium's own checks, and mistakes name what there is."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from robolearn.errors import UserError
from robolearn.sim import gym
from robolearn.sim.catalog import LEVELS, TASKS, find_task

ONE_LEG = "robolearn/OneLeg-low-v0"


def rows(count=3, **options):
    return gymnasium.make_vec(ONE_LEG, num_envs=count, threads=1, **options)


def test_the_registry_is_filled_without_a_simulator():
    code = "import sys, gymnasium, robolearn.sim.gym as g; assert {*g.ids()} <= {*gymnasium.registry}; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_the_levels_that_are_registered(task):
    assert set(find_task(task).levels) == set(LEVELS)
    assert find_task(task).name == task


@pytest.mark.parametrize("name", gym.ids())
def test_every_task_is_made_in_rows_and_steps_within_its_spaces(name):
    env = gymnasium.make_vec(name, num_envs=2, threads=1)
    observation, _ = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation)
    assert reward.shape == terminated.shape == truncated.shape == info["success"].shape == (2,)
    assert env.spec.id == name
    env.close()


def test_the_autoreset_mode_is_said_and_ended_rows_begin_anew_within_the_step():
    env = rows(max_episode_steps=2)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    env.reset(seed=[1, 2, 3])
    action = env.action_space.sample()
    env.step(action)
    observation, _, _, truncated, info = env.step(action)
    assert truncated.all() and info["_final_obs"].all()
    assert not np.array_equal(info["final_obs"]["parts_poses"], observation["parts_poses"])
    np.testing.assert_array_equal(observation["parts_poses"], rows().reset(seed=[4, 5, 6])[0]["parts_poses"])


def test_rows_of_gymnasium_are_batches_of_its_single_space():
    env = rows(2)
    observation, _ = env.reset(seed=0)
    each = list(iterate(env.observation_space, observation))
    assert all(env.single_observation_space.contains(one) for one in each)
    joined = concatenate(env.single_observation_space, each, create_empty_array(env.single_observation_space, 2))
    np.testing.assert_array_equal(joined["tcp_pos"], observation["tcp_pos"])


def test_disabled_leaves_ended_rows_to_the_caller_and_next_step_is_not_offered():
    assert rows(autoreset="disabled").metadata["autoreset_mode"] is AutoresetMode.DISABLED
    with pytest.raises(UserError, match="no autoreset mode 'next_step'; there are disabled, same_step"):
        rows(autoreset="next_step")


@pytest.mark.filterwarnings("ignore:.*(infinity|symmetric and normalized):UserWarning")
def test_one_row_passes_gymnasiums_checker():
    env = gymnasium.make(ONE_LEG)
    check_env(env.unwrapped, skip_render_check=True)


def test_one_row_is_the_first_of_the_batch_and_goes_on_from_a_state_to_the_bit():
    one, batch = gymnasium.make(ONE_LEG, max_episode_steps=3).unwrapped, rows(1)
    observation, of_batch = one.reset(seed=7)[0], batch.reset(seed=7)[0]
    action = one.action_space.sample()
    for name, values in observation.items():
        np.testing.assert_array_equal(values, of_batch[name][0])
    state = one.get_state()
    one.set_state(state)
    first = [one.step(action)[0]["tcp_pos"] for _ in range(3)]
    one.set_state(state)
    again = [one.step(action)[0]["tcp_pos"] for _ in range(3)]
    np.testing.assert_array_equal(first, again)


def test_one_row_whose_physics_fails_shows_what_was_last_sound():
    one = gymnasium.make(ONE_LEG).unwrapped
    before, _ = one.reset(seed=0)
    one._rows._engine.view("qfrc_applied")[:] = 1e30
    shown, _, terminated, truncated, info = one.step(one.action_space.sample())
    assert truncated and not terminated and info["reason"] == "the simulation diverged"
    for name, values in before.items():
        np.testing.assert_array_equal(shown[name], values)


def test_one_row_refuses_what_a_batch_refuses():
    one = gymnasium.make(ONE_LEG).unwrapped
    with pytest.raises(UserError, match="a seed is a whole number from 0"):
        one.reset(seed=-1)
    with pytest.raises(UserError, match="no option 'reset_maks'"):
        one.reset(options={"reset_maks": [True]})


def test_a_time_limit_of_gymnasium_truncates():
    env = gymnasium.make(ONE_LEG, max_episode_steps=2)
    env.reset(seed=0)
    assert [env.step(env.action_space.sample())[3] for _ in range(2)] == [False, True]


@pytest.mark.parametrize(("name", "near"), [("OneLeg-hihg", "OneLeg-high"), ("OneLge-low", "OneLeg-low")])
def test_an_unknown_task_or_level_names_the_nearest(name, near):
    with pytest.raises(gymnasium.error.NameNotFound, match=f"Did you mean: `{near}`"):
        gymnasium.make_vec(f"robolearn/{name}-v0", num_envs=1)


def test_the_module_may_be_named_instead_of_imported():
    assert gymnasium.make_vec(f"robolearn.sim.gym:{ONE_LEG}", num_envs=1, threads=1).num_envs == 1
