"""LeRobot's data sets come in with their own numbers and pictures, and every trap of the format is a clear error."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", exc_type=ImportError)

import pyarrow as pa
import pyarrow.parquet as pq

from robolearn.cli import main
from robolearn.datasets.formats.lerobot import LeRobotReader
from robolearn.datasets.formats.lerobot_images import encode_images
from robolearn.datasets.formats.lerobot_outcome import flags_of, from_runs, outcome_of, runs_of
from robolearn.datasets.formats.registry import open_source
from robolearn.datasets.layout import StoreError
from robolearn.datasets.store import DemoStore
from robolearn.errors import UserError
from tests.datasets.formats import lerobot_sets as sets

FIXTURES = os.environ.get("ROBOLEARN_FIXTURES")
VERSIONS = ("v2.0", "v2.1", "v3.0")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lerobot")
    return {version: sets.write_set(folder / version, version) for version in VERSIONS}


@pytest.fixture
def copy(originals, tmp_path):
    """A data set of one's own to damage."""
    return lambda version="v3.0": shutil.copytree(originals[version], tmp_path / f"set-{version}")


def psnr(got, expected):
    return 10 * np.log10(255**2 / max(np.mean((got.astype(float) - expected) ** 2), 1e-9))


def refuses(root, match, **options):
    with pytest.raises(StoreError, match=match):
        list(LeRobotReader(root, **options))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_comes_in_with_the_same_numbers_and_pictures(originals, version):
    name, reader = open_source(originals[version])
    assert (name, len(reader), reader.env_spec.control_hz) == ("lerobot", 3, 10.0)
    assert reader.env_spec.action.names == ("left", "right")
    assert (reader.env_spec.action.low, reader.env_spec.action.high) == ((-1.0, -1.0), (1.0, 1.0))
    assert set(reader.env_spec.observation) == {sets.STATE, sets.CAMERA}
    for index, episode in enumerate(reader):
        expected = sets.numbers(index)
        got = {**episode.observations, "action": episode.actions, "next.reward": episode.rewards}
        for key in (sets.STATE, "action", "next.reward"):
            assert got[key].dtype == np.float32
            assert got[key].tobytes() == expected[key].tobytes()
        assert episode.extras["timestamp"].tobytes() == (np.arange(sets.LENGTHS[index]) / 10).astype(np.float32).tobytes()
        assert episode.observations[sets.CAMERA].dtype == np.uint8
        assert psnr(episode.observations[sets.CAMERA], sets.pictures(index)) > 32  # a frame off is 26
        assert (episode.terminated, episode.truncated, episode.success) == (True, False, index == 1)
        assert episode.provenance["task"] == sets.TASKS[index % 2]
        assert (episode.provenance["source"], episode.provenance["original_index"]) == ("import", index)


def test_a_frame_off_would_be_seen():
    later = np.roll(sets.pictures(0), 1, axis=0)
    assert psnr(later, sets.pictures(0)) < 28


def test_av1_video_comes_in(tmp_path):
    root = sets.write_set(tmp_path / "av1", "v2.1", codec="libsvtav1")
    for index, episode in enumerate(LeRobotReader(root)):
        assert psnr(episode.observations[sets.CAMERA], sets.pictures(index)) > 30


@pytest.mark.parametrize("column", ["task", "__index_level_0__"])
def test_the_text_of_a_task_is_the_pandas_index_under_either_name(tmp_path, column):
    root = sets.write_set(tmp_path / "set", text_column=column)
    assert [episode.provenance["task"] for episode in LeRobotReader(root)] == [sets.TASKS[0], sets.TASKS[1], sets.TASKS[0]]


def test_a_task_that_changes_within_an_episode_is_kept_step_by_step(copy):
    root = sets.edit_tables(copy("v2.1"), sets.with_column("task_index", lambda old: pa.array([0] * 2 + [1] * (len(old) - 2))))
    assert next(iter(LeRobotReader(root))).provenance["tasks"] == [[0, sets.TASKS[0]], [2, sets.TASKS[1]]]


# -- spellings in the wild -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([["left", "right"]], ("left", "right")),
        (["left", "right"], ("left", "right")),
        ({"motors": ["left", "right"]}, ("left", "right")),
        ({"right": 1, "left": 0}, ("left", "right")),
        (None, ("a0", "a1")),
        (["left"], ("a0", "a1")),
        (["left", "left"], ("a0", "a1")),
    ],
)
def test_channels_are_named_by_any_spelling_of_names(copy, names, expected):
    root = sets.edit_info(copy("v2.1"), features={"action": {"dtype": "float32", "shape": [2], "names": names}})
    assert LeRobotReader(root).env_spec.action.names == expected


def test_actions_and_state_are_understood_under_their_other_names(copy):
    def rename(old):
        return old.rename_columns([{"action": "actions", sets.STATE: "state"}.get(name, name) for name in old.column_names])

    described = sets.features()
    changes = {"action": None, sets.STATE: None, "actions": described["action"], "state": described[sets.STATE]}
    episode = next(iter(LeRobotReader(sets.edit_info(sets.edit_tables(copy(), rename), features=changes))))
    assert episode.actions.tobytes() == sets.numbers(0)["action"].tobytes()
    assert episode.observations["state"].tobytes() == sets.numbers(0)[sets.STATE].tobytes()


@pytest.mark.parametrize("names", [["height", "width", "channel"], ["channels", "height", "width"], None])
def test_image_columns_are_decoded_whatever_the_order_of_their_shape(copy, names):
    shape = [3, sets.HEIGHT, sets.WIDTH] if names and names[0] == "channels" else [sets.HEIGHT, sets.WIDTH, 3]

    def images(old):
        frames = np.concatenate([sets.pictures(index) for index in dict.fromkeys(old.column("episode_index").to_pylist())])
        return pa.array(encode_images(frames), pa.struct([("bytes", pa.binary()), ("path", pa.string())]))

    root = sets.edit_tables(copy(), sets.with_column(sets.CAMERA, images))
    sets.edit_info(root, features={sets.CAMERA: {"dtype": "image", "shape": shape, "names": names}}, video_path=None)
    for index, episode in enumerate(LeRobotReader(root)):
        assert (episode.observations[sets.CAMERA] == sets.pictures(index)).all()


def test_an_image_can_lie_beside_the_table(copy):
    root = copy("v2.1")
    shutil.rmtree(root / "videos")
    for index in range(3):
        for step, cell in enumerate(encode_images(sets.pictures(index))):
            file = root / f"images/{index}_{step}.png"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(cell["bytes"])

    def paths(old):
        index = old.column("episode_index")[0].as_py()
        cells = [{"bytes": None, "path": f"images/{index}_{step}.png"} for step in range(len(old))]
        return pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))

    sets.edit_tables(root, sets.with_column(sets.CAMERA, paths))
    sets.edit_info(root, features={sets.CAMERA: {"dtype": "image", "shape": [sets.HEIGHT, sets.WIDTH, 3]}})
    assert (next(iter(LeRobotReader(root))).observations[sets.CAMERA] == sets.pictures(0)).all()
    cell = [{"bytes": None, "path": "../outside.png"}]
    hostile = sets.with_column(
        sets.CAMERA, lambda old: pa.array(cell * len(old), pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    )
    refuses(sets.edit_tables(root, hostile), "leads out of the data set's folder")


def test_lists_without_fixed_size_and_other_number_types_keep_their_numbers(copy):
    values = np.arange(2 * sum(sets.LENGTHS), dtype=np.float64).reshape(-1, 2) / 3

    def column(old):
        first = old.column("index")[0].as_py()
        return pa.array(list(values[first : first + len(old)]), pa.list_(pa.float64()))

    reader = LeRobotReader(sets.edit_tables(copy(), sets.with_column("action", column)))
    assert reader.env_spec.action.dtype == "float64"
    assert np.concatenate([episode.actions for episode in reader]).tobytes() == values.tobytes()
    assert reader.env_spec.action.high == (values[-1, 0], values[-1, 1])  # beyond [-1, 1]: the data's own range


def test_texts_are_kept_as_runs_and_what_is_no_number_is_listed(copy):
    root = sets.edit_tables(copy("v2.1"), sets.with_column("said", lambda old: pa.array(["go"] * 2 + ["stop"] * (len(old) - 2))))
    sets.edit_tables(root, sets.with_column("odd", lambda old: pa.array([{"a": 1}] * len(old))))
    text = {"dtype": "string", "shape": [1], "names": None}
    reader = LeRobotReader(sets.edit_info(root, features={"said": text, "odd": text}))
    assert next(iter(reader)).provenance["texts"] == {"said": [[0, "go"], [2, "stop"]]}
    assert reader.lost == ["odd: neither numbers, pictures nor text"]


def test_names_that_a_store_refuses_are_changed_and_noted(copy):
    described = sets.features()[sets.STATE]
    root = sets.edit_tables(copy(), lambda old: old.append_column("arm/left", old.column(sets.STATE)))
    reader = LeRobotReader(sets.edit_info(root, features={"arm/left": described}))
    assert reader.attrs["lerobot"]["renamed"] == {"arm.left": "arm/left"}
    assert next(iter(reader)).observations["arm.left"].tobytes() == sets.numbers(0)[sets.STATE].tobytes()
    sets.edit_tables(root, lambda old: old.append_column("arm.left", old.column(sets.STATE)))
    refuses(sets.edit_info(root, features={"arm.left": described}), "come to one name")


# -- outcomes ------------------------------------------------------------------------------------------------------------


def test_done_truncated_and_success_become_an_outcome_and_back():
    yes, no = np.array([False, True]), np.array([False, False])
    assert outcome_of({}) == (False, False, False)
    assert outcome_of({"next.done": yes}) == (True, False, False)
    assert outcome_of({"next.done": yes, "next.truncated": yes}) == (False, True, False)
    assert outcome_of({"next.done": yes, "next.truncated": no, "next.success": yes[::-1]}) == (True, False, True)
    for outcome in [(False, False, True), (True, False, False), (False, True, False), (True, False, True)]:
        assert outcome_of(flags_of(*outcome, 3)) == outcome


def test_runs_give_back_what_they_were_made_of():
    values = list("aabbbca")
    assert runs_of(values) == [[0, "a"], [2, "b"], [5, "c"], [6, "a"]]
    assert from_runs(runs_of(values), 7) == values
    assert [from_runs(runs, 7) for runs in ("x", [], [[1, "a"]], [[0, "a"], [9, "b"]], [[0]], [["0", 1]])] == [None] * 6


# -- what is missing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_partial_data_set_names_what_is_missing_or_is_imported_as_far_as_it_goes(copy, version):
    root = copy(version)
    lost = sorted((root / "videos").rglob("*.mp4"))[-1]
    lost.unlink()
    refuses(root, rf"lists 3 episodes and lacks files of 1 \(2\), first episode 2: .*{lost.name} is not there.*missing=skip imports the 2")
    reader = LeRobotReader(root, missing="skip")
    assert [episode.provenance["original_index"] for episode in reader] == [0, 1]
    assert len(reader.missing) == 1
    assert lost.name in reader.missing[0]
    assert len(LeRobotReader(root, leave_out=[sets.CAMERA])) == 3  # its files are then not needed


def test_a_file_that_is_only_an_lfs_pointer_is_missing(copy):
    root = copy("v2.1")
    file = root / "data/chunk-000/episode_000001.parquet"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    refuses(root, "episode_000001.parquet is a Git LFS pointer without its data")


def test_rows_that_a_shared_file_lacks_are_missing(copy):
    root = sets.edit_tables(copy(), lambda old: old.filter(pa.compute.not_equal(old.column("episode_index"), 1)))
    refuses(root, "episode 1: data/chunk-000/file-000.parquet holds no rows of it")
    assert len(LeRobotReader(root, missing="skip")) == 2


def test_nothing_there_is_an_error_even_when_skipping(copy):
    root = copy()
    shutil.rmtree(root / "data")
    refuses(root, "lacks files of 3 .0-2.*; fetch them$", missing="skip")
    refuses(root, "did you mean 'skip'", missing="skp")


# -- damage --------------------------------------------------------------------------------------------------------------


def test_another_number_of_rows_or_frames_than_listed_is_an_error(copy):
    root = copy("v2.1")
    rows = [json.loads(line) for line in (root / "meta/episodes.jsonl").read_text().splitlines()]
    sets.write_lines(root / "meta/episodes.jsonl", [{**row, "length": row["length"] + 1} for row in rows])
    refuses(root, "episode 0 has 6 rows, meta/ says 7")


@pytest.mark.parametrize("frames", [3, 9])
def test_a_video_of_another_length_is_an_error(copy, frames):
    root = copy("v2.1")
    sets.write_mp4(next((root / "videos").rglob("*0.mp4")), sets.pictures(0, frames))
    refuses(root, f"holds {frames} frames for an episode of 6 steps")


def test_a_shared_video_that_was_cut_short_is_an_error(copy):
    root = copy()
    sets.write_mp4(root / f"videos/{sets.CAMERA}/chunk-000/file-000.mp4", sets.pictures(0, 8))
    refuses(root, "no frame of its own for step 2 of 4, wanted at 0.800 s")


def test_pictures_of_another_size_are_an_error(copy):
    described = {**sets.features()[sets.CAMERA], "shape": [32, 32, 3]}
    refuses(sets.edit_info(copy(), features={sets.CAMERA: described}), "pictures are 48x64 in colour, meta/info.json says")


def test_an_episode_under_anothers_name_is_an_error(copy):
    root = copy("v2.1")
    shutil.copy(root / "data/chunk-000/episode_000002.parquet", root / "data/chunk-000/episode_000001.parquet")
    refuses(root, "episode_000001.parquet holds episode 2 in place of 1")


def test_depth_is_refused_and_can_be_left_out(copy):
    root = sets.edit_info(copy(), features={sets.CAMERA: {**sets.features()[sets.CAMERA], "info": {"video.is_depth_map": True}}})
    refuses(root, rf"holds depth.*leave_out=\[{sets.CAMERA}\]")
    assert set(LeRobotReader(root, leave_out=[sets.CAMERA]).env_spec.observation) == {sets.STATE}
    refuses(root, "did you mean 'action'", leave_out=["actio"])


def test_a_playlist_by_the_name_of_a_video_opens_nothing(copy):
    root = copy("v2.1")
    other = root / "videos/chunk-000" / sets.CAMERA / "episode_000002.mp4"
    next((root / "videos").rglob("*0.mp4")).write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{other}\n#EXT-X-ENDLIST\n")
    refuses(root, "is damaged or no mp4")


def nan_at(row):
    def change(old):
        values = np.stack(old.column(sets.STATE).to_numpy())
        values[row, 0] = np.nan
        return sets.column(values)

    return sets.with_column(sets.STATE, change)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (nan_at(2), "episode 0: observation 'observation.state' holds NaN"),
        (lambda old: old.drop_columns(["action"]), "lacks the column 'action'"),
        (lambda old: old.drop_columns([sets.STATE]), "lacks the column 'observation.state'"),
        (lambda old: old.drop_columns(["episode_index"]), "lacks the column 'episode_index'"),
        (
            lambda old: old.take(pa.array(np.argsort(np.arange(len(old)) % 2, kind="stable"))),
            "the rows of an episode do not follow each other",
        ),
        (sets.with_column("action", lambda old: pa.array(["x"] * len(old))), "'action' holds string, expected numbers"),
        (sets.with_column("action", lambda old: pa.array([[0.5]] * len(old))), r"'action' has \[1\] numbers a row"),
        (sets.with_column("action", lambda old: pa.array([[0.1, None]] * len(old))), "has .* empty entries"),
        (sets.with_column("action", lambda old: pa.array([[0.1, 0.2]] + [[0.1]] * (len(old) - 1))), "rows of 1 and of 2 numbers"),
        (
            sets.with_column("task_index", lambda old: pa.array([float("nan")] * len(old))),
            "'task_index' holds float64, expected whole numbers",
        ),
        (sets.with_column("timestamp", lambda old: pa.array(np.zeros(len(old), np.float32))), "time stamps do not increase"),
        (sets.with_column("timestamp", lambda old: pa.array(np.arange(len(old)) / 7)), "no frame of its own for step"),
    ],
)
def test_a_broken_table_is_named_with_its_column(copy, change, match):
    refuses(sets.edit_tables(copy(), change), match)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"codebase_version": "v1.6"}, "version 'v1.6'; v2.0, v2.1, v3.0 are read"),
        ({"codebase_version": ["v3.0"]}, "are read"),
        ({"fps": 0}, "fps is '0'"),
        ({"fps": float("nan")}, "fps is 'nan'"),
        ({"chunks_size": 0}, "chunks_size is '0'"),
        ({"features": {"action": None}}, "has no feature 'action'"),
        ({"features": {"action": {"dtype": "float32", "shape": [-1]}}}, "'action' has the shape"),
        ({"features": {"action": {"dtype": "float32", "shape": [1 << 40]}}}, "'action' has the shape"),
        ({"features": {sets.CAMERA: {"dtype": "video", "shape": [48, 64, 7]}}}, "expected .height, width, 3."),
        ({"video_path": None}, "gives no video_path"),
        ({"data_path": "../../{chunk_index}/{file_index}.parquet"}, "leads out of the data set's folder"),
        ({"data_path": "/etc/passwd"}, "leads out of the data set's folder"),
        ({"video_path": "videos/../../{video_key}.mp4"}, "leads out of the data set's folder"),
        ({"data_path": "{chunk_index.__class__}"}, "is no file name template"),
        ({"data_path": "{chunk_index:999999999d}"}, "is no file name template"),
        ({"data_path": "{password}"}, "asks for 'password'"),
        ({"data_path": 3}, "is no file name template"),
    ],
)
def test_a_broken_description_is_named_with_its_key(copy, changes, match):
    refuses(sets.edit_info(copy(), **changes), match)


def test_a_camera_by_a_hostile_name_opens_nothing_outside(copy):
    described = sets.features()[sets.CAMERA]
    refuses(sets.edit_info(copy("v2.1"), features={"../../../../etc": described}), "leads out of the data set's folder")


def test_a_file_cut_short_is_damaged(copy):
    root = copy()
    for file in [*root.rglob("*.parquet"), *root.rglob("*.mp4"), root / "meta/info.json"]:
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        refuses(root, "damaged")
        file.write_bytes(whole)
    assert len(list(LeRobotReader(root))) == 3


@pytest.mark.parametrize("package", ["pyarrow", "av"])
def test_without_its_packages_an_import_says_how_to_get_them(originals, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs the package {package} .*pip install robolearn\[formats\]"):
        list(LeRobotReader(originals["v3.0"]))


def test_row_groups_are_read_a_few_at_a_time(copy, monkeypatch):
    root = copy()
    for file in (root / "data").rglob("*.parquet"):
        pq.write_table(pq.read_table(file), file, row_group_size=4)
    assert [len(episode) for episode in LeRobotReader(root)] == list(sets.LENGTHS)
    read = []
    plain = pq.ParquetFile.read_row_groups
    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", lambda self, groups, **more: read.append(groups) or plain(self, groups, **more))
    reader = LeRobotReader(root, leave_out=[sets.CAMERA])
    read.clear()
    episodes = list(reader)
    assert read == [[0, 1], [1, 2], [0, 1]]
    assert episodes[1].actions.tobytes() == sets.numbers(1)["action"].tobytes()


# -- on the command line -------------------------------------------------------------------------------------------------


def test_the_command_line_imports_and_records_what_was_missing(copy, tmp_path, capsys):
    root, out = copy("v2.1"), tmp_path / "out.zarr"
    (root / "data/chunk-000/episode_000001.parquet").unlink()
    assert main(["data", "import", f"source={root}", f"out={out}"]) == 1
    assert "missing=skip" in capsys.readouterr().err
    assert not out.exists()
    assert main(["data", "import", f"source={root}", f"out={out}", "missing=skip", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["episodes"], facts["steps"], len(facts["missing"])) == (2, 13, 1)
    store = DemoStore.open(out)
    assert store.check() == []
    assert store.attrs["lerobot"]["robot_type"] == "toy"
    assert store.attrs["imported"]["missing"] == facts["missing"]


@pytest.mark.skipif(not FIXTURES, reason="ROBOLEARN_FIXTURES is not set: no real data")
def test_a_real_partial_data_set_names_98_missing_episodes_and_imports_two(tmp_path, capsys):
    root, out = Path(str(FIXTURES)) / "lerobot_v21", tmp_path / "g1.zarr"
    assert main(["data", "import", f"source={root}", f"out={out}"]) == 1
    assert "lists 100 episodes and lacks files of 98 (0-27, 30-99)" in capsys.readouterr().err
    camera = "leave_out=[observation.images.cam_high]"  # the pictures are half a gigabyte; one episode of them below
    assert main(["data", "import", f"source={root}", f"out={out}", "missing=skip", camera, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 278 + 221
    reader = LeRobotReader(root, missing="skip")
    assert len(reader.missing) == 98
    assert reader.env_spec.action.names[0] == "kLeftShoulderPitch"
    episode = next(iter(reader))
    table = pq.read_table(root / "data/chunk-000/episode_000028.parquet")
    assert (np.stack(table.column("action").to_numpy()) == episode.actions).all()
    images = episode.observations["observation.images.cam_high"]
    assert images.shape == (278, 480, 640, 3)
    assert 20 < images[::50].mean() < 235
    assert all((images[step] != images[step + 50]).any() for step in range(0, 200, 50))
