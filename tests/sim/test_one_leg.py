"""one_leg keeps the contract of a vector environment, plays the same episode from the same seed, and ends when it should."""

import gymnasium
import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.protocols import Environment
from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly
from tests.sim.worlds import expert_steps, start, stay

N = 4


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def rows_of(observation, rows):
    return {name: values[rows] for name, values in observation.items()}


def put_part(env, row, name, position):
    """Move a part of one row [m]."""
    at = env._engine.model.joint(name).qposadr[0]
    env._engine.view("qpos")[row, at : at + 3] = position


def test_spaces_shapes_and_types_are_those_of_the_spec():
    env, observation = start(N)
    assert isinstance(env, gymnasium.vector.VectorEnv)
    assert isinstance(env, Environment)
    assert env.observation_space.contains(observation)
    assert sum(values.shape[1] for values in observation.values()) == 70
    env.env_spec.check_observation(observation)
    action = stay(env, observation)
    assert env.action_space.shape == action.shape == (N, 10)
    observation, reward, terminated, truncated, info = env.step(action)
    assert env.observation_space.contains(observation)
    assert (reward.shape, reward.dtype) == ((N,), np.float64)
    assert terminated.dtype == truncated.dtype == info["success"].dtype == bool
    assert info["stages"].shape == (N, len(env.env_spec.stages))
    assert not (reward.any() or terminated.any() or truncated.any() or "lost" in info)


def test_what_is_returned_is_not_changed_by_the_next_step():
    env, observation = start(2)
    action = stay(env, observation)
    action[:, 2] -= 0.05
    shown, *_, info = env.step(action)
    before, stages = {name: values.copy() for name, values in shown.items()}, info["stages"].copy()
    assert (env.step(action)[0]["tcp_pos"] != before["tcp_pos"]).any()
    assert_same(shown, before)
    np.testing.assert_array_equal(info["stages"], stages)


def test_the_tool_goes_where_the_action_says():
    env, observation = start(2)
    action = stay(env, observation)
    action[:, 0] += 0.03
    action[:, 9] = 1.0
    for _ in range(30):
        observation = env.step(action)[0]
    np.testing.assert_allclose(observation["tcp_pos"], action[:, :3], atol=0.002)
    np.testing.assert_allclose(observation["tcp_rot6d"], action[:, 3:9], atol=0.01)
    np.testing.assert_allclose(observation["gripper_width"], 0.007, atol=0.001)


@pytest.mark.parametrize("rows", [1, 2])
def test_without_a_seed_every_episode_is_another(rows):
    env = Assembly("one_leg", num_envs=rows)
    starts = [env.reset()[0]["parts_poses"] for _ in range(3)]
    env.close()
    assert len(np.unique(np.concatenate(starts)[:, 0])) == 3 * rows


def test_an_int_seeds_the_rows_upwards_and_a_list_seeds_each():
    env, _ = start(N)
    counted = env.reset(seed=7)[0]
    assert_same(counted, env.reset(seed=[7, 8, 9, 10])[0])
    assert_same(rows_of(counted, [2, 0]), rows_of(env.reset(seed=[9, 7, 1, 1])[0], [0, 1]))
    with pytest.raises(ValueError, match="4 rows"):
        env.reset(seed=[1, 2])


def test_without_a_seed_episodes_go_on_to_new_ones():
    env = Assembly("one_leg", N, threads=1)
    first = env.reset()[0]
    second = env.reset()[0]
    assert (first["parts_poses"] != second["parts_poses"]).any(1).all()
    assert_same(first, env.reset(seed=split_seeds("train", N).tolist())[0])


def test_a_masked_reset_leaves_the_other_rows_alone_to_the_bit():
    (left, observation), (right, _) = start(N), start(N)
    mask = np.array([True, False, True, False])
    for action, _ in expert_steps(left, observation, 25):
        right.step(action)
    before = left.get_state()
    after_reset = left.reset(seed=[100, 101, 102, 103], options={"reset_mask": mask})[0]
    np.testing.assert_array_equal(left.get_state()[~mask], before[~mask])
    assert_same(rows_of(after_reset, mask), rows_of(start(N)[0].reset(seed=[100, 101, 102, 103])[0], mask))
    hold = stay(left, after_reset)
    for _ in range(5):
        shown, expected = left.step(hold)[0], right.step(hold)[0]
    assert_same(rows_of(shown, ~mask), rows_of(expected, ~mask))


@pytest.mark.parametrize("name", ["same_stp", "next_step"])
def test_an_unknown_autoreset_is_an_error_that_names_what_there_is(name):
    with pytest.raises(UserError, match=rf"{name}.*disabled, same_step"):
        Assembly("one_leg", 1, autoreset=name)


def test_an_unknown_randomness_is_an_error_that_names_what_there_is():
    with pytest.raises(UserError, match=r"'lwo'.*low, med, high.*did you mean 'low'"):
        Assembly("one_leg", 1, randomness="lwo")


def test_time_limit_truncates_and_without_autoreset_the_row_goes_on():
    env, observation = start(2, max_episode_steps=3)
    flags = [env.step(stay(env, observation))[2:5] for _ in range(4)]
    assert [truncated.all() for _, truncated, _ in flags] == [False, False, True, True]
    assert not any(terminated.any() or "final_obs" in info for terminated, _, info in flags)


def test_same_step_starts_the_next_episode_and_keeps_the_last_observation():
    (env, observation), (twin, _) = start(2, max_episode_steps=3, autoreset="same_step"), start(2, max_episode_steps=3)
    assert env.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    action = stay(env, observation)
    for _ in range(3):
        after, _, _, truncated, info = env.step(action)
        last = twin.step(action)[0]
    assert truncated.all()
    assert info["_final_obs"].all()
    assert_same(info["final_obs"], last)
    assert_same(after, twin.reset(seed=(split_seeds("search", 2) + 2).tolist())[0])
    assert not env.step(stay(env, after))[3].any()


def test_a_part_that_leaves_the_table_ends_the_row_without_reward_and_the_row_waits():
    env, observation = start(3)
    action = stay(env, observation)
    put_part(env, 1, "leg1", (0.5, 1.5, 0.0155))
    observation, reward, terminated, truncated, info = env.step(action)
    np.testing.assert_array_equal(terminated, [False, True, False])
    np.testing.assert_array_equal(info["lost"], [False, True, False])
    assert observation["parts_poses"][1, 9 + 1] > 1.4  # the last observation shows what happened
    assert not (reward.any() or truncated.any() or info["success"].any())
    waiting = env.get_state()[1]
    action[1, :3] = (0.7, 0.3, 0.0)
    observation, _, terminated, _, info = env.step(action)
    assert terminated[1] and info["lost"][1]
    np.testing.assert_array_equal(env.get_state()[1, 1:53], waiting[1:53])  # positions: not stepped
    env.reset(seed=[1, 2, 3], options={"reset_mask": np.array([False, True, False])})
    assert not env.step(action)[2].any()


def test_physics_that_fails_ends_its_row_in_silence_and_touches_no_other(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (env, observation), (twin, _) = start(3), start(3)
    env._engine.view("qvel")[1, 0] = np.nan
    env._engine.view("qvel")[2, 8] = 1e9
    for action, result in expert_steps(env, observation, 6):
        shown, reward, _, truncated, info = result
        expected = twin.step(action)[0]
        np.testing.assert_array_equal(truncated, [False, True, True])
        np.testing.assert_array_equal(info["lost"], truncated)
        assert set(info["reason"][1:]) == {"the simulation diverged"} and not info["reason"][0]
        env.env_spec.check_observation(shown)
        assert not reward.any()
        assert_same(rows_of(shown, [0]), rows_of(expected, [0]))
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_no_finite_action_at_all_ends_every_row():
    env, observation = start(2)
    *_, truncated, info = env.step(np.full_like(stay(env, observation), np.nan))
    assert truncated.all() and set(info["reason"]) == {"the action was not finite"}


def test_an_action_that_is_not_finite_ends_its_row_and_touches_no_other():
    (env, observation), (twin, _) = start(3), start(3)
    action = stay(env, observation)
    broken = action.copy()
    broken[1, 4] = np.nan
    shown, _, terminated, truncated, info = env.step(broken)
    np.testing.assert_array_equal(truncated, [False, True, False])
    assert not terminated.any()
    assert list(info["reason"]) == ["", "the action was not finite", ""]
    env.env_spec.check_observation(shown)
    for _ in range(3):
        expected, shown = twin.step(action)[0], shown
        shown = env.step(action)[0] if _ else shown
        assert_same(rows_of(shown, [0, 2]), rows_of(expected, [0, 2]))


def test_an_action_of_another_shape_is_an_error_that_names_both():
    env, _ = start(3)
    with pytest.raises(UserError, match=r"3 rows of one_leg take actions \(3, 10\); got \(3, 7\)"):
        env.step(np.zeros((3, 7)))


def test_an_unknown_task_is_an_error_that_names_the_nearest():
    with pytest.raises(UserError, match=r"'one_leh'.*did you mean 'one_leg'"):
        Assembly("one_leh", 1)
