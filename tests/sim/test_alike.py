"""The two worlds, our own tasks' and robosuite's, answer alike: bad actions, success, snapshots, seeds, words that mean nothing."""

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.sim.assembly import Assembly
from robolearn.sim.robosuite.env import RobosuiteEnv

ROWS = 3
WORLDS = {"pick_cube": Assembly, "lift": RobosuiteEnv}


def make(task, **options):
    return WORLDS[task](task, ROWS, **{"threads": 1, **options})


@pytest.fixture(scope="module", params=WORLDS)
def world(request):
    env = make(request.param)
    yield env
    env.close()


def start(env):
    """Fresh episodes, and the action that holds the tools where they are."""
    shown, _ = env.reset(seed=0)
    return np.concatenate([shown["tcp_pos"], shown["tcp_rot6d"], np.full((ROWS, 1), -1.0)], 1).astype(np.float32)


def test_an_action_of_another_shape_is_an_error_that_names_both(world):
    with pytest.raises(UserError, match=rf"3 rows of {world.env_spec.task} take actions \(3, 10\); got \(3, 7\)"):
        world.step(np.zeros((3, 7)))


def test_an_action_that_is_not_finite_ends_its_row_and_touches_no_other(world):
    action = start(world)
    action[:, 2] += 0.02
    world.step(action)
    expected = world.get_state()
    start(world)
    action[1, 4] = np.nan
    shown, _, terminated, truncated, info = world.step(action)
    assert truncated.tolist() == info["lost"].tolist() == [False, True, False] and not terminated.any()
    assert info["reason"].tolist() == ["", "the action was not finite", ""]
    assert set(info) == {"success", "stages", "lost", "reason"}
    world.env_spec.check_observation(shown)
    np.testing.assert_array_equal(world.get_state()[[0, 2]], expected[[0, 2]])
    start(world)
    assert set(world.step(start(world))[-1]) == {"success", "stages"}


def test_states_that_are_not_finite_are_refused_in_the_rows_that_are_asked_for(world):
    action = start(world)
    world.step(action)
    state = world.get_state()
    state[1, 5], state[2, 3] = np.nan, np.inf
    with pytest.raises(UserError, match="NaN or infinity came in row 1, 2"):
        world.set_state(state)
    with pytest.raises(UserError, match="came in row 2"):
        world.set_state(state, np.array([True, False, True]))
    world.set_state(state, np.array([True, False, False]))


@pytest.mark.parametrize("task", WORLDS)
def test_success_is_what_holds_now(task, monkeypatch):
    env, holds = make(task), np.array([True, False, True])
    action = start(env)
    if task == "lift":
        judge = env.task.judge
        monkeypatch.setattr(env.task, "judge", lambda: judge_with(judge(), holds))
    else:
        monkeypatch.setattr(type(env._goals[0]), "reached", lambda goal, pose: holds)
    for now in ((True, False, True), (False, False, True)):
        holds[:] = now
        _, _, terminated, _, info = env.step(action)
        assert info["success"].tolist() == info["stages"][:, -1].tolist() == terminated.tolist() == list(now)
    env.close()


def judge_with(judged, success):
    return type(judged)(success.copy(), judged.sparse, judged.shaped, judged.stages)


@pytest.mark.parametrize("task", WORLDS)
def test_pictures_are_of_one_row_or_as_gymnasium_asks_of_all(task):
    env = make(task, render_mode="rgb_array")
    env.reset(seed=0)
    try:
        one = env.render(1)
    except UserError as error:
        pytest.skip(str(error))
    everyone = env.render()
    assert [picture.shape for picture in everyone] == [(240, 320, 3)] * ROWS
    np.testing.assert_array_equal(everyone[1], one)
    env.close()


def test_without_a_render_mode_nothing_is_drawn_of_all(world):
    assert world.render() is None
    assert world.metadata["render_modes"] == ["rgb_array"]


@pytest.mark.parametrize("task", WORLDS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": -1}, "threads must be at least 0, which takes every core, got -1"),
        ({"render_mode": "human"}, "no render mode 'human'; there are rgb_array and None"),
    ],
)
def test_a_world_that_cannot_be_is_refused_with_what_can(task, options, message):
    with pytest.raises(UserError, match=message):
        make(task, **options)


def test_one_extra_without_its_list_is_refused_with_the_list():
    with pytest.raises(UserError, match=r"extras is a list, such as extras=\[front\]; got 'front'"):
        make("pick_cube", extras="front")


@pytest.mark.parametrize("seed", [-1, [0, 1, -2], 1.5, [0, 1, 2.0], "7", True, [0, None, 1], 2**60, 2**70])
def test_a_seed_that_is_no_whole_number_from_0_is_refused(world, seed):
    before = world.get_state()
    with pytest.raises(UserError, match="a seed is a whole number from 0 to"):
        world.reset(seed=seed)
    np.testing.assert_array_equal(world.get_state(), before)


def test_seeds_are_one_or_one_a_row_and_masks_a_bool_a_row(world):
    one, _ = world.reset(seed=np.int32(5))
    each, _ = world.reset(seed=np.array([5, 6, 7], np.uint8))
    np.testing.assert_array_equal(one["parts_poses"], each["parts_poses"])
    with pytest.raises(UserError, match=r"3 rows takes one seed or 3; got shape \(2,\)"):
        world.reset(seed=[1, 2])
    with pytest.raises(UserError, match=r"a bool each; got shape \(2,\)"):
        world.reset(options={"reset_mask": np.ones(2, bool)})


def test_an_unknown_option_of_reset_names_the_nearest(world):
    with pytest.raises(UserError, match="no option 'reset_maks' of reset; there is reset_mask; did you mean 'reset_mask'"):
        world.reset(options={"reset_maks": np.ones(ROWS, bool)})


def blow_up(env, row):
    """Let a row's physics fail in the next step, from a state that is sound."""
    engine = getattr(env, "engine", None) or env._engine
    engine.view("qfrc_applied")[row] = 1e30


@pytest.mark.parametrize("autoreset", ["disabled", "same_step"])
@pytest.mark.parametrize("task", WORLDS)
def test_a_row_whose_physics_fails_shows_what_was_last_sound_and_then_waits(task, autoreset):
    env = make(task, autoreset=autoreset)
    action = start(env)
    action[:, 2] += 0.05
    for _ in range(3):
        before = env.step(action)[0]
    blow_up(env, 1)
    shown, reward, terminated, truncated, info = env.step(action)
    assert truncated.tolist() == info["lost"].tolist() == [False, True, False] and not terminated.any() and not reward.any()
    assert info["reason"][1] == "the simulation diverged"
    final = shown if autoreset == "disabled" else info["final_obs"]
    for name, values in before.items():
        np.testing.assert_array_equal(final[name][1], values[1])
    assert (final["tcp_pos"][0] != before["tcp_pos"][0]).any()
    after = env.step(action)
    assert ("lost" in after[-1]) == (autoreset == "disabled")
    assert (after[0]["tcp_pos"][1] != before["tcp_pos"][1]).any()
    env.close()


def test_physics_that_fails_while_a_success_is_held_is_no_success(monkeypatch):
    env = make("pick_cube")
    monkeypatch.setattr(type(env.task), "hold_steps", 1)
    monkeypatch.setattr(type(env._goals[0]), "reached", lambda goal, pose: np.ones(ROWS, bool))
    action = start(env)
    env.step(action)
    blow_up(env, 1)
    _, reward, terminated, truncated, info = env.step(action)
    assert terminated.tolist() == info["success"].tolist() == [True, False, True] == reward.astype(bool).tolist()
    assert truncated.tolist() == [False, True, False]
    env.close()
