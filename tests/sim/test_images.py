"""Pictures as observations: on request, of each row, drawn again only where something moved; without OpenGL the rest works."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import robolearn.sim.gym  # noqa: F401
from robolearn.errors import UserError
from robolearn.sim.assembly import Assembly
from robolearn.sim.headless import mujoco
from robolearn.sim.pictures import StatePictures
from robolearn.sim.randomize import find_ranges

SIZE = (48, 36)


@pytest.fixture(scope="module")
def draws():
    try:
        StatePictures("one_leg", 16, 16, quality="fast").close()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def usual(draws):
    pictures = StatePictures("one_leg", *SIZE, quality="fast")
    yield pictures
    pictures.close()


@pytest.fixture
def world(draws):
    made = []

    def make(rows=2, **options):
        made.append(Assembly("one_leg", rows, threads=1, image_size=SIZE, **{"extras": ["front", "wrist"], **options}))
        return made[-1]

    yield make
    for env in made:
        env.close()


def stay(env):
    return np.tile([0.5, 0.0, 0.3, 1, 0, 0, 0, -1, 0, -1], (env.num_envs, 1)).astype(np.float32)


def test_an_environment_gives_pictures_of_its_cameras_as_its_spec_says(world):
    env = world(extras=["front", "joint_pos", "wrist"])
    observation, _ = env.reset(seed=[1, 2])
    env.env_spec.check_observation(observation)
    assert env.observation_space.contains(observation)
    assert env.env_spec.observation["front"].is_image
    for camera in ("front", "wrist"):
        assert (observation[camera].shape, observation[camera].dtype) == ((2, 36, 48, 3), np.uint8)
        assert observation[camera].std() > 10
    assert not np.array_equal(*observation["front"])  # rows that start elsewhere look different
    after = env.step(stay(env))[0]
    assert not np.array_equal(after["wrist"], observation["wrist"])


def test_pictures_are_those_of_stored_states_and_rows_do_not_disturb_each_other(world):
    env = world()
    env.reset(seed=[1, 2])
    env.step(stay(env))
    later = env.reset(seed=[7, 8], options={"reset_mask": np.array([False, True])})[0]
    pictures = StatePictures("one_leg", *SIZE, quality="fast")
    for row, state in enumerate(env.get_state()):
        for camera in ("front", "wrist"):
            np.testing.assert_array_equal(later[camera][row], pictures.draw(state, camera))
    pictures.close()


def test_the_last_picture_of_an_ended_row_is_kept_and_the_new_episode_is_shown(world):
    env = world(autoreset="same_step", max_episode_steps=1)
    env.reset(seed=[1, 2])
    observation, *_, info = env.step(stay(env))
    assert not np.array_equal(info["final_obs"]["front"], observation["front"])
    np.testing.assert_array_equal(observation["front"], world().reset(seed=[3, 4])[0]["front"])


def test_a_seed_has_its_looks_and_another_seed_others(world):
    env, usual = world(rows=3, randomize="wide"), world(rows=3)
    first, again = env.reset(seed=[1, 2, 1])[0], env.reset(seed=[2, 1, 2])[0]
    np.testing.assert_array_equal(first["front"][0], first["front"][2])
    np.testing.assert_array_equal(first["front"][1], again["front"][0])
    assert not np.array_equal(first["front"][0], usual.reset(seed=[1, 2, 1])[0]["front"][0])


def test_a_restored_row_has_the_looks_of_its_episode(world):
    env = world(randomize="resip")
    first = env.reset(seed=[1, 2])[0]
    state = env.get_state()
    env.reset(seed=[3, 4])
    env.set_state(state)
    np.testing.assert_array_equal(env.observation()["front"], first["front"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("light_color", [[0.5, 0.5, 0.5], [0.6, 0.6, 0.6]]),
        ("light_intensity", [0.5, 0.6]),
        ("light_direction", 60),
        ("part_colors", [[[0.0, 0.8, 0.0], [0.2, 1, 0.2]]]),
        ("table_color", 0.3),
        ("materials", 1.0),
        ("camera_position", {"front": 0.05}),
        ("camera_rotation", {"front": 10}),
        ("camera_fovy", 10),
        ("distractors", 6),
    ],
)
def test_every_range_of_looks_changes_what_is_observed_as_it_does_pictures_of_stored_states(world, usual, name, value):
    env, changed = world(1, extras=["front"], randomize={"looks": {name: value}}), False
    for seed in (8, 9):  # the second is dressed in the first's place
        seen, state = env.reset(seed=seed)[0]["front"][0], env.get_state()[0]
        stored = StatePictures("one_leg", *SIZE, quality="fast", appearance=seed, randomize={"looks": {name: value}})
        np.testing.assert_array_equal(seen, stored.draw(state, "front"))
        stored.close()
        changed |= not np.array_equal(seen, usual.draw(state, "front"))
    assert changed


@pytest.mark.filterwarnings("ignore:.*(infinity|symmetric and normalized):UserWarning")
def test_a_row_with_pictures_passes_gymnasiums_checker_and_renders(draws):
    env = gymnasium.make("robolearn/OneLeg-low-v0", extras=["front"], image_size=SIZE, render_mode="rgb_array").unwrapped
    check_env(env)
    assert env.render().shape == (240, 320, 3)
    env.close()
    rows = gymnasium.make_vec("robolearn/OneLeg-low-v0", num_envs=2, threads=1, render_mode="rgb_array")
    rows.reset(seed=0)
    assert [picture.shape for picture in rows.render()] == [(240, 320, 3)] * 2
    rows.close()


def test_without_opengl_only_pictures_fail_and_say_why(monkeypatch):
    def broken(*_):
        raise ImportError("no libEGL")

    monkeypatch.setattr(mujoco, "Renderer", broken)
    env = Assembly("one_leg", 1, threads=1)
    env.step(stay(env))
    for draw in (
        lambda: env.render(0),
        lambda: Assembly("one_leg", 1, threads=1, extras=["front"]).reset(seed=0),
        lambda: StatePictures("one_leg"),
    ):
        with pytest.raises(UserError, match=r"draws no pictures .*no libEGL"):
            draw()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extras": ["frnt"]}, "no observation 'frnt'.*did you mean 'front'"),
        ({"extras": ["front", "front"]}, "names each observation once"),
        ({"extras": ["front"], "image_quality": "fats"}, "no picture quality 'fats'; there are fast, fine; did you mean 'fast'"),
        ({"image_size": [84]}, r"a width and a height.*got \[84\]"),
        ({"image_size": 84}, "a width and a height.*got 84"),
        ({"image_size": [84.5, 84]}, "a width and a height"),
        ({"image_size": [84, 0]}, "too small"),
        ({"image_size": [1290, 80]}, "too large; the largest is 1280 x 960"),
        ({"randomize": "resipp"}, "no ranges 'resipp'; there are resip, wide.*did you mean 'resip'"),
        ({"randomize": {"look": {}}}, "randomize has no 'look'.*did you mean 'looks'"),
        ({"randomize": {"looks": {"materials": "many"}}}, "looks.materials takes something like 0.0; got 'many'"),
        (
            {"randomize": {"looks": {"camera_position": {"fron": 0.1}}}},
            "position has no camera 'fron'; there are overview, front, wrist; .*'front'",
        ),
        ({"randomize": {"looks": {"camera_rotation": {"front": -1}}}}, "looks.camera_rotation takes numbers from 0 to 180; got"),
        ({"randomize": {"looks": {"camera_rotation": {"left_wrist": 1}}}, "extras": ["front"]}, "no camera 'left_wrist'"),
        ({"randomize": {"looks": {"own_colors": -1}}}, "looks.own_colors takes numbers from 0 to 1; got -1"),
        ({"randomize": {"looks": {"materials": 5}}}, "looks.materials takes numbers from 0 to 1; got 5"),
        ({"randomize": {"looks": {"distractors": -3}}}, "looks.distractors takes numbers from 0 to 6; got -3"),
        ({"randomize": {"looks": {"distractors": 1000}}}, "looks.distractors takes numbers from 0 to 6; got 1000"),
        ({"randomize": {"looks": {"distractors": 2.7}}}, "looks.distractors takes something like 0; got 2.7"),
        ({"randomize": {"looks": {"part_colors": [[[0, 0, 0], [1, 1, 2]]]}}}, "looks.part_colors takes numbers from 0 to 1"),
        ({"randomize": {"looks": {"camera_fovy": float("nan")}}}, "looks.camera_fovy takes numbers from 0 to 45; got nan"),
        ({"randomize": {"dynamics": {"mass": [2, 1]}}}, "dynamics.mass takes .*; got"),
        ({"randomize": {"dynamics": {"mass": [1, float("inf")]}}}, "dynamics.mass takes numbers from 0.01 to 100"),
        ({"randomize": {"dynamics": {"mass": [0, 0]}}}, "dynamics.mass takes numbers from 0.01 to 100"),
        ({"randomize": {"dynamics": {"friction": [1, float("inf")]}}}, "dynamics.friction takes numbers from 0 to 100"),
        ({"randomize": {"dynamics": {"gains": [1, 1e308]}}}, "dynamics.gains takes numbers from 0.01 to 100"),
        ({"randomize": {"dynamics": {"latency": [0, 9]}}}, "0 to 3 control steps"),
        ({"randomize": {"dynamics": {"latency": [0, 1.5]}}}, "0 to 3 control steps"),
        ({"push_force": -1}, "push_force must be at least 0, got -1"),
        ({"push_force": float("nan")}, "push_force must be at least 0"),
    ],
)
def test_what_there_is_not_is_said_in_a_line(options, message):
    with pytest.raises(UserError, match=message):
        Assembly("one_leg", 1, threads=1, **options)


def test_the_ranges_that_come_along_are_ranges():
    assert find_ranges("resip").dynamics == find_ranges(None).dynamics  # ResiP varies pictures alone
    assert find_ranges("wide").looks.distractors > 0


def test_a_part_that_was_put_elsewhere_is_seen_there(world):
    env = world()
    before = env.reset(seed=[1, 2])[0]["front"].copy()
    position, rotation = env.mover.part_pose(0)
    env.mover.move_part(0, np.array([True, False]), position + np.array([-0.1, 0.0, 0.0]), rotation)
    after = env.observation()["front"]
    assert not np.array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[1], before[1])
