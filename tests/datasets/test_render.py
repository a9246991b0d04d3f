"""Films and new observations: each picture is that of its step, stored or drawn, and what was recorded stays."""

import shutil

import numpy as np
import pytest

from robolearn.datasets.store import DemoStore
from tests.datasets.edit_commands import fails, run
from tests.datasets.view.shown import COUNT, HEIGHT, WIDTH, WITHOUT_STATES, bytes_of, make_store, shade

av = pytest.importorskip("av", reason="PyAV is not installed (it comes with the extra `train`)")
FAKE = "task.pictures._target_=tests.datasets.test_render.Shades"


class Shades:
    """Draws a state as a grey of its first number, made lighter by its appearance; ``beside`` is inverted."""

    cameras = ("above", "beside")

    def __init__(self, task: str, width: int = 320, height: int = 240, appearance: int | None = None) -> None:
        self._size, self._lighter = (height, width, 3), appearance or 0

    def draw(self, state, camera):
        grey = 10 * int(state[0]) + self._lighter
        return np.full(self._size, grey if camera == "above" else 255 - grey, np.uint8)

    def close(self):
        pass


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("demos") / "demos.zarr").path


@pytest.fixture
def store(demos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(demos, tmp_path / "demos.zarr")
    return DemoStore.open(tmp_path / "demos.zarr")


def frames(path):
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]), float(stream.average_rate)


def test_a_folder_gets_a_film_of_each_episode_with_the_stored_pictures(store, capsys):
    facts = run(capsys, "render", "store=demos.zarr", "out=films", "episodes=[1,3]", FAKE)
    assert [film["film"] for film in facts["films"]] == ["films/episode_0001.mp4", "films/episode_0003.mp4"]
    for number in (1, 3):
        pictures, rate = frames(f"films/episode_{number:04d}.mp4")
        assert rate == store.env_spec.control_hz
        assert len(pictures) == store.lengths[number]
        expected = [shade(number, step) for step in range(len(pictures))]
        np.testing.assert_allclose(pictures.mean((1, 2, 3)), expected, atol=6)  # video is lossy


def test_cameras_stand_side_by_side_at_the_size_and_rate_asked_for(store, capsys):
    run(capsys, "render", "store=demos.zarr", "out=one.mp4", "episodes=[2]", "camera=[above,beside]", "size=[64,48]", "fps=25", FAKE)
    pictures, rate = frames("one.mp4")
    assert rate == 25
    assert pictures.shape[1:] == (48, 128, 3)
    np.testing.assert_allclose(pictures[5, 24, [20, 100], 0], [50, 205], atol=8)


def test_a_new_store_gets_pictures_drawn_from_its_states_and_keeps_the_rest(store, capsys):
    before = bytes_of(store.path)
    words = ("observations=[above,beside]", "size=[20,16]", f"where=[episode!={WITHOUT_STATES}]", FAKE)
    facts = run(capsys, "render", "store=demos.zarr", "out=more.zarr", *words)
    made = DemoStore.open("more.zarr")
    assert made.check() == []
    assert (facts["episodes"], facts["fingerprint"]) == (COUNT - 1, made.fingerprint())
    assert made.env_spec.observation["above"].shape == (16, 20, 3)
    assert list(made.env_spec.observation) == [*store.env_spec.observation, "above", "beside"]
    old, new = store.episode(COUNT - 1), made.episode(COUNT - 2)
    for name in store.env_spec.observation:
        np.testing.assert_array_equal(new.observations[name], old.observations[name])
    np.testing.assert_array_equal(new.actions, old.actions)
    np.testing.assert_array_equal(new.sim_state, old.sim_state)
    np.testing.assert_array_equal(new.observations["above"][:, 3, 7, 1], 10 * np.arange(len(old)))
    assert new.provenance["note"] == old.provenance["note"]
    assert (new.provenance["parent"], new.provenance["parent_store"]) == (COUNT - 1, store.fingerprint())
    assert new.provenance["edit"] == {"tool": "render", "cameras": ["above", "beside"], "size": [20, 16], "appearance": None}
    assert made.attrs["edited"]["made_of"][0]["fingerprint"] == store.fingerprint()
    assert bytes_of(store.path) == before


def test_appearance_is_another_for_each_episode_and_the_same_for_the_same_seed(store, capsys):
    for out in ("a.zarr", "b.zarr"):
        run(
            capsys, "render", "store=demos.zarr", f"out={out}", "observations=above", "size=[16,16]", "appearance=3", "episodes=[0,1]", FAKE
        )
    made = DemoStore.open("a.zarr")
    assert [int(made.episode(index).observations["above"][0, 0, 0, 0]) for index in range(2)] == [3, 4]
    assert made.fingerprint() == DemoStore.open("b.zarr").fingerprint()


@pytest.mark.parametrize("rate", [12.5, 0.3, 29.97])
def test_a_film_plays_at_a_rate_that_is_no_whole_number(store, capsys, rate):
    facts = run(capsys, "render", "store=demos.zarr", "out=film.MP4", "episodes=[0]", f"fps={rate}", FAKE)
    assert facts["fps"] == rate
    assert (len(frames("film.MP4")[0]), frames("film.MP4")[1]) == (store.lengths[0], pytest.approx(rate, rel=1e-6))


def test_films_may_lie_beside_their_store(store, capsys, tmp_path):
    facts = run(capsys, "render", "store=demos.zarr", "out=.", "episodes=[0]", FAKE)
    assert facts["films"][0]["film"] == "episode_0000.mp4"
    assert len(frames(tmp_path / "episode_0000.mp4")[0]) == store.lengths[0]


def test_a_dry_run_writes_nothing(store, capsys, tmp_path):
    facts = run(capsys, "render", "store=demos.zarr", "out=films", "episodes=[0,2-3]", FAKE, "--dry-run")
    assert [film["episode"] for film in facts["films"]] == [0, 2, 3]
    run(capsys, "render", "store=demos.zarr", "out=more.zarr", "observations=[above]", FAKE, "--dry-run")
    assert [entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".")] == ["demos.zarr"]


def test_mistakes_are_told_in_a_line_and_nothing_is_left(store, capsys, tmp_path):
    said = {
        ("out=a.mp4",): "a.mp4 holds one episode, 12 are chosen",
        ("out=a.mp4", "episodes=[0]", "camera=abov"): "no camera 'abov'; there are front, above, beside; did you mean 'above'?",
        (
            "out=a.mp4",
            f"episodes=[{WITHOUT_STATES}]",
            "camera=above",
        ): f"episode {WITHOUT_STATES} of {tmp_path}/demos.zarr has no simulator",
        ("out=a.mp4", "episodes=[0]", "camera=[front,above]"): f"other heights cannot stand side by side: front {WIDTH} x {HEIGHT}",
        ("out=a.mp4", "episodes=[0]", "fps=0"): "fps counts pictures a second",
        ("out=a.mp4", "episodes=[0]", "size=[0,9]"): "size takes width and height",
        ("out=a.zarr",): "name the cameras",
        ("out=a.zarr", "observations=[front]"): "has an array 'front' already",
        ("out=a.zarr", "observations=[above]"): f"episode {WITHOUT_STATES} of",
        ("out=demos.zarr", "observations=[above]", "overwrite=true"): "which it is made of",
        ("out=demos.zarr/films",): "out=demos.zarr/films/episode_0000.mp4 is at demos.zarr",
        ("out=s3://bucket/films",): "films are written on this machine, not to s3://bucket/films: give out=films",
        ("out=icechunk:films",): "not to icechunk:films",
        ("out=s3://bucket/a.zarr", "observations=[above]"): "robolearn data copy store=NAME.zarr out=s3://bucket/a.zarr",
        ("out=film.gif", "episodes=[0]"): "film.gif: films are .mp4, a new store is a directory NAME.zarr",
        ("out=a.zip", "observations=[above]"): "a.zip: films are .mp4",
        ("out=a.mp4", "episodes=[0]", "fps=1e-4"): "fps counts pictures a second, from 0.001 to 1000; got 0.0001",
        ("out=a.mp4", "episodes=[0]", "fps=fast"): "fps takes a number; got 'fast'",
        ("out=a.mp4", "episodes=[0]", "appearance=1.5"): "appearance takes a whole number, at least 0; got 1.5",
        ("out=a.mp4", "episodes=[0]", "appearance=-1"): "appearance takes a whole number, at least 0; got -1",
        ("out=a.mp4", "episodes=[0]", "size=320"): "size takes a list, such as size=[320,240]; got 320",
        ("out=a.mp4", "episodes=[0]", "size=[9999,9999]"): "size takes width and height",
    }
    for words, part in said.items():
        assert part.replace(f"{tmp_path}/", "") in fails(capsys, "render", "store=demos.zarr", *words, FAKE), words
    assert [entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".")] == ["demos.zarr"]
    assert not [entry for entry in tmp_path.rglob("*.mp4")]


def test_one_leg_is_drawn_from_its_states_by_three_cameras(tmp_path, capsys):
    from robolearn.errors import UserError
    from robolearn.sim.assembly import Assembly
    from robolearn.sim.pictures import StatePictures

    env = Assembly("one_leg", 2)
    env.reset(seed=[1, 2])
    states = env.get_state()
    try:
        pictures, others = StatePictures("one_leg", 80, 60), StatePictures("one_leg", 80, 60, appearance=4)
    except UserError as error:
        pytest.skip(f"this machine draws no pictures: {error}")
    drawn = {camera: pictures.draw(states[0], camera) for camera in pictures.cameras}
    assert set(drawn) == {"overview", "front", "wrist"}
    assert all(picture.shape == (60, 80, 3) and picture.std() > 10 for picture in drawn.values())
    assert np.abs(pictures.draw(states[1], "overview").astype(int) - drawn["overview"]).max() > 20  # another state
    np.testing.assert_array_equal(pictures.draw(states[0], "front"), drawn["front"])
    assert np.abs(others.draw(states[0], "front").astype(int) - drawn["front"]).mean() > 10  # other colours
    with pytest.raises(UserError, match=r"no camera 'fron'.*did you mean 'front'"):
        pictures.draw(states[0], "fron")
    with pytest.raises(UserError, match="made with another task, scene or version"):
        pictures.draw(states[0, :-1], "front")
    pictures.close()
    others.close()
    env.close()
