"""What holds for every assembly task: the contract, starts without overlaps, exact snapshots, physics that survives random actions."""

import os

import numpy as np
import pytest

from robolearn.protocols import Environment
from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly
from robolearn.sim.catalog import TASKS, find_task

N = 3
STRESS = int(os.environ.get("ROBOLEARN_STRESS", 0))  # random control steps a task; a million is what is promised


@pytest.fixture(scope="module", params=TASKS)
def env(request):
    """One world a task, for all tests of this file."""
    world = Assembly(request.param, N, threads=1)
    yield world
    world.close()


def begin(env, first=0):
    return env.reset(seed=split_seeds("search", env.num_envs, first).tolist())[0]


def random_actions(env, rng):
    """Somewhere in the workspace, turned anyhow, gripper at random."""
    return rng.uniform(env.single_action_space.low, env.single_action_space.high, env.action_space.shape).astype(np.float32)


def test_it_keeps_the_contract_of_its_spec(env):
    observation = begin(env)
    assert isinstance(env, Environment)
    assert env.observation_space.contains(observation)
    env.env_spec.check_observation(observation)
    assert env.env_spec.task == env.task.name
    assert env.env_spec.stages[-1] == "success"
    assert len(set(env.env_spec.stages)) == len(env.env_spec.stages)
    assert env.env_spec.control_hz == pytest.approx(1 / (env.task.physics.timestep * env.task.physics.substeps))
    _, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert info["stages"].shape == (N, len(env.env_spec.stages))
    assert not (reward.any() or terminated.any() or truncated.any() or info["success"].any())


def test_its_line_search_is_long_enough_for_a_grip(env):
    assert env._engine.model.opt.ls_iterations >= 50  # with 20 a gripped leg was shot away in 4 to 7 of 100 episodes


def test_its_levels_are_low_med_and_high_none_narrower_than_the_one_before(env):
    low, med, high = (env.task.levels[level] for level in ("low", "med", "high"))
    for narrow, wide in ((low, med), (med, high)):
        assert narrow.joints <= wide.joints
        assert (np.array(wide.parts) >= np.array(narrow.parts) - 1e-12).all()


@pytest.mark.parametrize("level", ["low", "med", "high"])
def test_nothing_overlaps_or_moves_at_a_start(env, level):
    world = Assembly(env.task, 48, threads=1, randomness=level)
    begin(world)
    before = world._view.parts.copy()
    for row in range(world.num_envs):
        contact = world._engine.data(row).contact
        assert contact.dist.min(initial=0.0) > -1e-3, f"row {row}: {contact.geom[contact.dist.argmin()]}"
    action = np.concatenate([np.concatenate([arm.tcp_position, arm.tcp_rotation.reshape(-1, 9)[:, :6], -np.ones((48, 1))], 1)
                             for arm in world._view.arms], 1)  # fmt: skip
    for _ in range(round(0.5 * world.env_spec.control_hz)):
        world.step(action)
    assert np.linalg.norm(world._view.parts[..., :3] - before[..., :3], axis=-1).max() < 0.003
    world.close()


def test_the_same_seed_is_the_same_episode_and_a_snapshot_goes_on_to_the_bit(env):
    rng = np.random.default_rng(0)
    actions = [random_actions(env, rng) for _ in range(20)]
    runs = []
    for _ in range(2):
        begin(env)
        for action in actions[:10]:
            env.step(action)
        runs.append(env.get_state())
    np.testing.assert_array_equal(*runs)
    state = env.get_state()
    assert state.shape[1] == env._engine.state.shape[1] + env.task.memory
    ends = []
    for _ in range(2):
        env.set_state(state)
        np.testing.assert_array_equal(env.get_state(), state)
        for action in actions[10:]:
            env.step(action)
        ends.append(env.get_state())
    np.testing.assert_array_equal(*ends)


def test_two_threads_play_what_one_thread_plays(env):
    rng = np.random.default_rng(1)
    actions = [random_actions(env, rng) for _ in range(10)]
    other = Assembly(env.task, N, threads=2)
    for world in (env, other):
        begin(world)
        for action in actions:
            world.step(action)
    np.testing.assert_array_equal(env.get_state(), other.get_state())
    other.close()


def test_a_recorded_observation_is_started_from(env):
    observation = begin(env, 10)
    shown = env.reset_to_observation(observation)[0]
    np.testing.assert_allclose(shown["parts_poses"], observation["parts_poses"], atol=2e-3)


def test_extras_are_in_the_spec_and_the_observation(env):
    world = Assembly(env.task, 1, threads=1, extras=["joint_pos", "finger_force"])
    observation = begin(world)
    world.env_spec.check_observation(observation)
    for arm in env.task.arms:
        assert observation[f"{arm.prefix}joint_pos"].shape == (1, 7)
        assert observation[f"{arm.prefix}finger_force"].shape == (1, 2)
    world.close()


def test_random_pushes_move_parts_and_are_those_of_the_seed(env):
    shown = []
    for force in (0.0, 3.0, 3.0):
        world = Assembly(env.task, 2, threads=1, push_force=force)
        begin(world)
        for _ in range(30):
            world.step(np.nan_to_num(_stay(world)))
        shown.append(world.observation()["parts_poses"])
        world.close()
    assert (shown[0] != shown[1]).any()
    np.testing.assert_array_equal(shown[1], shown[2])


def _stay(env):
    observation, rows = env.observation(), env.num_envs
    each = [[observation[f"{arm.prefix}tcp_pos"], observation[f"{arm.prefix}tcp_rot6d"], -np.ones((rows, 1))] for arm in env.task.arms]
    return np.concatenate([part for parts in each for part in parts], 1)


@pytest.mark.parametrize("task", TASKS)
def test_random_actions_do_not_diverge(task):
    """A few hundred steps here; ``ROBOLEARN_STRESS=1000000 pytest -k random_actions`` for a million."""
    rows, rng = 64, np.random.default_rng(2)
    env = Assembly(task, rows, threads=0 if STRESS else 1, max_episode_steps=100, autoreset="same_step")
    env.reset(seed=split_seeds("stress", rows).tolist())
    diverged = 0
    for step in range(max(STRESS // rows, 12)):
        if step % 4 == 0:
            action = random_actions(env, rng)
        info = env.step(action)[-1]
        diverged += int((info["reason"] == "the simulation diverged").sum()) if "reason" in info else 0
    env.close()
    assert diverged == 0


def test_the_catalog_names_each_task_as_the_task_does():
    assert [find_task(name).name for name in TASKS] == list(TASKS)
