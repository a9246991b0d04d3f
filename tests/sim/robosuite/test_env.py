"""The vector environment of robosuite's tasks: seeds, resets, snapshots, bad actions, and the callback's manners."""

import ctypes
from dataclasses import replace

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.learning.rollout import rollout
from robolearn.protocols import Environment
from robolearn.seeding import split_seeds
from robolearn.sim.experts.pick_and_place import CanExpert, LiftExpert
from robolearn.sim.headless import mujoco
from robolearn.sim.robosuite import callbacks
from robolearn.sim.robosuite.env import TASKS, RobosuiteEnv
from robolearn.sim.robosuite.pictures import StatePictures
from robolearn.tasks import env_spec_of


@pytest.fixture(scope="module")
def lift():
    env = RobosuiteEnv("lift", 4, threads=1)
    yield env
    env.close()


def stay(env):
    here = env.view.here()
    return env.inputs.actions(here, here)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_shows_what_its_spec_says_and_starts_alike_for_a_seed(task):
    env = RobosuiteEnv(task, 2, threads=1)
    spec = env_spec_of(task)
    assert isinstance(env, Environment)
    assert env.env_spec == spec
    first, info = env.reset(seed=[7, 8])
    spec.check_observation(first)
    assert info["stages"].shape == (2, len(spec.stages))
    assert not np.array_equal(first["object"][0], first["object"][1])
    again, _ = env.reset(seed=[8, 7])
    np.testing.assert_array_equal(again["object"], first["object"][::-1])
    observation, reward, *_ = env.step(stay(env))
    spec.check_observation(observation)
    assert reward.shape == (2,)
    env.close()


def test_two_arms_are_named_as_in_our_own_tasks_by_the_side_they_stand_on():
    env, ours = RobosuiteEnv("transport", 2, threads=1), env_spec_of("bimanual_insertion")
    assert set(ours.observation) <= set(env.env_spec.observation)
    assert all(env.env_spec.observation[name] == entry for name, entry in ours.observation.items() if name != "parts_poses")
    assert set(env.env_spec.action.names) == set(ours.action.names)
    shown, _ = env.reset(seed=0)
    for arm, side, y in ((0, "right", -1.0), (1, "left", 1.0)):
        assert np.sign(env.view.frames.position[arm, 1]) == y
        frame = env.view.frames.position[arm], env.view.frames.rotation[arm]
        np.testing.assert_allclose(shown[f"robot{arm}_eef_pos"], shown[f"{side}_tcp_pos"] @ frame[1].T + frame[0], atol=1e-6)
        assert shown[f"{side}_joint_pos"].shape == (2, 7)
    wanted = env.view.here()
    action = dict(zip(env.env_spec.action.names, env.inputs.actions(wanted, wanted).T, strict=True))
    np.testing.assert_allclose(action["left_x"], shown["left_tcp_pos"][:, 0], atol=1e-6)
    env.close()


def played(task, rows, threads):
    """States and observations of a few steps of random deltas, a row's own; ``(T, rows, ...)``."""
    env = RobosuiteEnv(task, rows, input_type="delta", threads=threads)
    env.reset(seed=0)
    rngs, states, shown = [np.random.default_rng(row) for row in range(rows)], [], []
    for _ in range(6):
        observation = env.step(np.array([rng.uniform(-1, 1, env.env_spec.action.size) for rng in rngs]))[0]
        states.append(env.get_state())
        shown.append(np.concatenate(list(observation.values()), 1))
    env.close()
    return np.array(states), np.array(shown)


@pytest.mark.parametrize("task", ["lift", "can", "transport"])
def test_rows_go_alike_to_the_bit_with_any_threads_and_neighbours(task):
    one, two, few = (played(task, rows, threads) for rows, threads in ((6, 1), (6, 2), (2, 1)))
    assert (one[0][-1] != one[0][0]).any(1).all()
    for here, there, alone in zip(one, two, few, strict=True):
        np.testing.assert_array_equal(here, there)
        np.testing.assert_array_equal(here[:, :2], alone)


def test_rows_restored_from_a_snapshot_go_on_to_the_bit(lift):
    lift.reset(seed=0)
    rng = np.random.default_rng(0)
    actions = np.repeat(stay(lift)[None], 6, 0)
    actions[..., :3] += rng.uniform(-0.1, 0.1, (6, 4, 3))
    for action in actions[:2]:
        lift.step(action)
    state = lift.get_state()
    lift.set_state(state)
    ends = []
    for _ in range(2):
        for action in actions[2:]:
            lift.step(action)
        ends.append(lift.get_state())
        lift.set_state(state)
    np.testing.assert_array_equal(*ends)
    rows = np.array([False, True, False, False])
    lift.set_state(ends[0], rows)
    np.testing.assert_array_equal(lift.get_state()[rows], ends[0][rows])
    np.testing.assert_array_equal(lift.get_state()[~rows], state[~rows])


def test_only_the_masked_rows_start_again(lift):
    lift.reset(seed=0)
    lift.step(stay(lift))
    before = lift.get_state()
    mask = np.array([True, False, False, True])
    lift.reset(seed=[9, 9, 9, 9], options={"reset_mask": mask})
    after = lift.get_state()
    np.testing.assert_array_equal(after[~mask], before[~mask])
    np.testing.assert_array_equal(after[0, :-3], after[3, :-3])


def test_a_position_out_of_reach_is_clipped_to_the_spec(lift):
    lift.reset(seed=0)
    action = stay(lift)
    action[:, 2] = 99.0
    goals = lift.inputs.goals(action, lift.view.here())
    base = lift.view.frames.position[0, 2]
    np.testing.assert_allclose(goals.position[:, 0, 2], base + lift.env_spec.action.high[2])


def test_a_row_whose_physics_fails_is_cut_off_and_the_others_do_not_notice(lift):
    lift.reset(seed=0)
    start = lift.get_state()
    lift.step(stay(lift))
    expected = lift.get_state()
    lift.set_state(start)
    lift.view.qvel[2] = np.inf
    action = stay(lift)
    *_, truncated, info = lift.step(action)
    assert truncated.tolist() == info["lost"].tolist() == [False, False, True, False]
    np.testing.assert_array_equal(lift.get_state()[[0, 1, 3]], expected[[0, 1, 3]])
    assert info["reason"].tolist() == ["", "", "the simulation diverged", ""]
    *_, terminated, truncated, info = lift.step(action)
    assert truncated[2] and not terminated[2]  # it stays what it was while it waits
    assert info["lost"][2]


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("input_type", ["canonical", "delta", "absolute"])
@pytest.mark.parametrize(("channel", "value"), [(3, 1e155), (3, -1.7e308), (0, 1.7e308), (-1, 1.7e308)])
def test_a_row_whose_action_asks_for_more_than_numbers_hold_harms_no_state(input_type, channel, value):
    env = RobosuiteEnv("lift", 2, input_type=input_type, threads=1)
    ends = []
    for wrong in (False, True):
        env.reset(seed=0)
        action = stay(env)
        if wrong:
            action[1, channel] = value
        *_, truncated, info = env.step(action)
        ends.append(env.get_state())
    np.testing.assert_array_equal(ends[0][0], ends[1][0])
    assert np.isfinite(ends[1]).all()
    lost = input_type == "absolute" and channel >= 0  # the others clip, or take a direction
    assert truncated.tolist() == [False, lost]
    assert info.get("reason", ["", ""])[1] == ("the action was not finite" if lost else "")
    env.close()


def say(env, monkeypatch, **said):
    """Let an environment's task find that, whatever is the case."""
    judge = env.task.judge
    monkeypatch.setattr(env.task, "judge", lambda: replace(judge(), **said))


def test_a_row_that_succeeds_is_not_lost_on_the_same_step(lift, monkeypatch):
    lift.reset(seed=0)
    action = stay(lift)
    action[2:] = np.nan
    lift.view.qpos[:2, -5] = 0.2  # the cube's height
    say(lift, monkeypatch, success=np.array([True, False, True, False]))
    *_, terminated, truncated, info = lift.step(action)
    assert info["success"].tolist() == [True, False, True, False]
    assert info["lost"].tolist() == [False, True, False, True]
    assert terminated.tolist() == [True, True, True, False]
    assert truncated.tolist() == [False, False, False, True]


@pytest.mark.parametrize(("task", "ordered"), [("can", True), ("transport", False)])
def test_stages_latch_in_order_where_they_have_one(task, ordered, monkeypatch):
    env = RobosuiteEnv(task, 2, threads=1)
    env.reset(seed=0)
    action = stay(env)
    seen = []
    for now in ([[0, 0, 1], [1, 0, 0]], [[0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0]], [[0, 0, 0], [0, 0, 1]]):
        with monkeypatch.context() as context:
            say(env, context, stages=np.array(now, bool))
            seen.append(env.step(action)[-1]["stages"].astype(int).tolist())
    chained = [[[0, 0, 0, 0], [1, 0, 0, 0]], [[0, 0, 0, 0], [1, 0, 0, 0]], [[1, 0, 0, 0], [1, 1, 0, 0]], [[1, 0, 0, 0], [1, 1, 1, 0]]]
    alone = [[[0, 0, 1, 0], [1, 0, 0, 0]], [[0, 1, 1, 0], [1, 0, 1, 0]], [[1, 1, 1, 0], [1, 1, 1, 0]], [[1, 1, 1, 0], [1, 1, 1, 0]]]
    assert seen == (chained if ordered else alone)
    env.close()


def test_states_of_another_width_are_refused(lift):
    lift.reset(seed=0)
    state = lift.get_state()
    for wrong in (state[:, :-1], np.concatenate([state, state], 1), state[:2]):
        with pytest.raises(UserError, match="states of this world are"):
            lift.set_state(wrong)


def test_ended_rows_restart_within_the_step_where_that_is_asked_for():
    env = RobosuiteEnv("lift", 2, threads=1, autoreset="same_step", max_episode_steps=2)
    env.reset(seed=0)
    env.step(stay(env))
    observation, _, _, truncated, info = env.step(stay(env))
    assert truncated.all()
    assert info["_final_obs"].all()
    assert not np.array_equal(info["final_obs"]["object"], observation["object"])
    env.close()


def test_stepping_leaves_the_processs_callbacks_as_they_were(lift):
    calls = []
    control = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(lambda model, data: calls.append(1))
    mujoco.set_mjcb_control(control)
    try:
        lift.step(stay(lift))
        assert not calls
        assert mujoco.get_mjcb_control() is control
    finally:
        mujoco.set_mjcb_control(None)
    assert all(there() is None for there in (mujoco.get_mjcb_time, mujoco.get_mjcb_passive, mujoco.get_mjcb_contactfilter))


def test_the_controller_leaves_other_models_alone():
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><size nuserdata="3"/><custom><numeric name="x" data="1 2 3"/></custom><worldbody><body><joint name="j"/>'
        '<geom size=".1"/></body></worldbody><actuator><motor joint="j"/></actuator></mujoco>'
    )
    data = mujoco.MjData(model)
    data.ctrl[0], data.userdata[:] = 0.25, (4, 5, 6)
    with callbacks.installed():
        mujoco.mj_step(model, data)
    assert data.ctrl[0] == 0.25
    assert data.userdata.tolist() == [4, 5, 6]


def test_a_sleeping_world_lifts_as_an_exact_one():
    expert, env = LiftExpert(8), RobosuiteEnv("lift", 8, threads=1, sleep=True)
    assert rollout(env, expert, split_seeds("search", 8)).success_rate == 1.0
    env.close()


def test_the_expert_puts_cans_into_their_bin():
    expert, env = CanExpert(8), RobosuiteEnv("can", 8, threads=1, sleep=True)
    result = rollout(env, expert, split_seeds("search", 8))
    assert result.success.sum() >= 7
    assert result.stages[result.success].all()
    env.close()


@pytest.mark.parametrize("input_type", ["canonical", "delta", "absolute"])
def test_every_way_to_write_an_action_has_its_inverse(input_type):
    env = RobosuiteEnv("transport", 2, input_type=input_type, threads=1)
    env.reset(seed=0)
    here = env.view.here()
    wanted = type(here)(
        here.position + 0.01, here.rotation[..., [1, 2, 0], :][..., [1, 2, 0]] if input_type != "delta" else here.rotation, here.gripper + 1
    )
    goals = env.inputs.goals(env.inputs.actions(wanted, here), here)
    np.testing.assert_allclose(goals.position, wanted.position, atol=1e-9)
    np.testing.assert_allclose(goals.rotation, wanted.rotation, atol=1e-6)
    np.testing.assert_array_equal(goals.gripper, wanted.gripper)
    env.close()


def test_pictures_of_its_states_are_drawn_by_the_tools_of_stores_in_robosuites_looks_alone(lift):
    lift.reset(seed=0)
    with pytest.raises(UserError, match="lift has robosuite's looks and no others; leave appearance=3 out"):
        StatePictures("lift", appearance=3)
    try:
        pictures = StatePictures("lift", 64, 48, appearance=None)  # as tools_render asks for them
    except UserError as error:
        pytest.skip(str(error))
    assert pictures.draw(lift.get_state()[0]).std() > 5
    pictures.close()
    assert pictures._host.sim is None  # robosuite's environment is closed too


def test_rows_that_nobody_looks_at_stand_still_until_they_are_reset(lift):
    lift.reset(seed=0)
    lift.park(np.array([False, True, False, False]))
    before = lift.view.qpos.copy()
    *_, truncated, info = lift.step(stay(lift))
    assert truncated.tolist() == info["lost"].tolist() == [False, True, False, False]
    assert (lift.view.qpos == before).all(1).tolist() == truncated.tolist()
    lift.park(np.ones(4, bool))
    assert lift.step(stay(lift))[-1]["lost"].all()
    lift.reset(seed=0)
    assert "lost" not in lift.step(stay(lift))[-1]
