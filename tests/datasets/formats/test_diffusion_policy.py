"""diffusion_policy's replay buffers: each variant and trap read as it is, and given back the same."""

import json
import shutil
import zipfile
from dataclasses import replace

import numcodecs
import numpy as np
import pytest
import zarr

from robolearn.cli import main
from robolearn.datasets.formats.diffusion_policy import DiffusionPolicyReader, recognises
from robolearn.datasets.formats.diffusion_policy_export import write
from robolearn.datasets.formats.registry import recognise
from robolearn.datasets.formats.resip import ResipReader
from robolearn.datasets.formats.zarr2_codecs import image_codec
from robolearn.datasets.layout import StoreError
from robolearn.datasets.store import DemoStore
from robolearn.spec import ActionSpec, ArraySpec, EnvSpec
from tests.datasets.episodes import make_episode

ENDS = np.array([7, 12, 20])
T = 20
DEFAULT = numcodecs.Blosc("lz4", 5, numcodecs.Blosc.NOSHUFFLE)
SPEC = EnvSpec(
    task="toy",
    observation={"joints": ArraySpec((3,), units="rad"), "front": ArraySpec((8, 9, 3), "uint8"), "clock": ArraySpec((), "float64")},
    action=ActionSpec(("x", "y"), (-1.0, -1.0), (1.0, 1.0)),
    control_hz=15.0,
    stages=("near",),
)
WIDE = replace(SPEC, action=replace(SPEC.action, dtype="float64"), reward_dtype="float64", extras={"label": ArraySpec((2,), "int64")})


def write_buffer(path, data, *, ends=ENDS, meta=None, compressor=DEFAULT, images=None, attrs=None):
    """A replay buffer as diffusion_policy lays it out; ``images`` is the codec of arrays ``(T, H, W, C)`` of uint8."""
    root = zarr.open_group(path, mode="w", zarr_format=2, attributes=attrs or {})
    arrays = {f"data/{name}": values for name, values in data.items()}
    arrays |= {f"meta/{name}": values for name, values in {"episode_ends": ends, **(meta or {})}.items()}
    for name, values in arrays.items():
        is_image = values.ndim == 4 and values.dtype == np.uint8
        chunks = (1, *values.shape[1:]) if is_image else tuple(max(size, 1) for size in values.shape)
        array = root.create_array(
            name,
            shape=values.shape,
            chunks=chunks,
            dtype=values.dtype,
            compressors=(images if is_image and images else compressor),
            config={"order": "C", "write_empty_chunks": True},
        )
        array[...] = values
    return path


def zipped(source, target, inside=""):
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(source.rglob("*"), reverse=True):
            if file.is_file():
                archive.write(file, f"{inside}{file.relative_to(source)}")
    return target


def rng():
    return np.random.default_rng(3)


def pusht():
    """Variant A."""
    return {
        "action": rng().uniform(0, 512, (T, 2)).astype(np.float32),
        "img": rng().integers(0, 256, (T, 12, 12, 3)).astype(np.float32),
        "keypoint": rng().uniform(0, 512, (T, 9, 2)).astype(np.float32),
        "n_contacts": np.ones((T, 1), np.float32),
        "state": rng().uniform(0, 512, (T, 5)).astype(np.float32),
    }


def umi(robots=2):
    """Variant D."""
    data = {}
    for robot in range(robots):
        data[f"camera{robot}_rgb"] = rng().integers(0, 256, (T, 16, 16, 3), dtype=np.uint8)
        data[f"robot{robot}_eef_pos"] = rng().standard_normal((T, 3)).astype(np.float32) + robot
        data[f"robot{robot}_eef_rot_axis_angle"] = rng().standard_normal((T, 3)).astype(np.float32)
        data[f"robot{robot}_gripper_width"] = rng().uniform(0, 0.1, (T, 1)).astype(np.float32)
        data[f"robot{robot}_demo_start_pose"] = rng().standard_normal((T, 6))
        data[f"robot{robot}_demo_end_pose"] = rng().standard_normal((T, 6))
    return data


def joined(episodes, name):
    return np.concatenate([episode.observations[name] for episode in episodes])


def test_push_t_comes_in_whole_with_its_images_as_bytes(tmp_path):
    data = pusht()
    reader = DiffusionPolicyReader(write_buffer(tmp_path / "pusht_cchi_v7_replay.zarr", data))
    episodes = list(reader)
    assert [len(episode) for episode in episodes] == [7, 5, 8]
    assert reader.env_spec.task == "pusht_cchi_v7_replay"
    assert set(reader.env_spec.observation) == {"img", "keypoint", "n_contacts", "state"}
    assert joined(episodes, "img").dtype == np.uint8
    for name in reader.env_spec.observation:
        np.testing.assert_array_equal(joined(episodes, name), data[name])
    np.testing.assert_array_equal(np.concatenate([episode.actions for episode in episodes]), data["action"])
    assert reader.env_spec.action.names == ("a0", "a1")
    assert reader.env_spec.action.low == tuple(data["action"].min(0))  # it leaves [-1, 1]: the data's own range
    assert reader.lost == []
    assert reader.attrs == {"control_hz_assumed": 10.0}
    assert not any(episode.success or episode.terminated or episode.truncated for episode in episodes)
    provenance = episodes[1].provenance
    assert (provenance["source"], provenance["format"], provenance["original_index"]) == ("import", "diffusion_policy", 1)
    assert provenance["diffusion_policy"] == {"float_images": ["img"]}


def test_float_images_can_be_kept(tmp_path):
    data = pusht()
    episodes = list(DiffusionPolicyReader(write_buffer(tmp_path / "a.zarr", data), images="keep"))
    assert joined(episodes, "img").dtype == np.float32
    np.testing.assert_array_equal(joined(episodes, "img"), data["img"])


@pytest.mark.parametrize("value", [3.5, -1.0, 256.0, np.nan])
def test_float_images_that_bytes_cannot_hold_are_an_error_and_not_rounded(tmp_path, value):
    data = pusht()
    data["img"][9, 3, 3, 0] = value
    with pytest.raises(StoreError, match="data/img is no whole number of 0 to 255 at step 9; import it with images=keep"):
        list(DiffusionPolicyReader(write_buffer(tmp_path / "a.zarr", data)))


def test_images_from_0_to_1_stay_floats(tmp_path):
    data = pusht() | {"img": rng().uniform(0, 1, (T, 12, 12, 3)).astype(np.float32)}
    episodes = list(DiffusionPolicyReader(write_buffer(tmp_path / "a.zarr", data)))
    np.testing.assert_array_equal(joined(episodes, "img"), data["img"])


@pytest.mark.parametrize(("codec", "exact"), [("imagecodecs_jpeg2k", False), ("imagecodecs_jpegxl", False), ("imagecodecs_png", True)])
@pytest.mark.parametrize("inside", ["", "lift.hdf5.zarr/"])
def test_caches_of_robomimic_with_image_codecs_are_read_from_zips(tmp_path, codec, exact, inside):
    """Variant B: low-dimensional arrays in one chunk without compressor, a frame a chunk in an image codec."""
    pytest.importorskip("imagecodecs")
    y, x = np.mgrid[0:32, 0:40]
    frames = np.stack([np.stack([x * 4, y * 4, x + y + step], -1) for step in range(T)]).astype(np.uint8)
    data = {
        "action": rng().uniform(-1, 1, (T, 10)).astype(np.float32),
        "agentview_image": frames,
        "robot0_eef_pos": np.ones((T, 3), np.float32),
    }
    config = {"id": codec} | ({} if exact else {"level": 50})
    write_buffer(tmp_path / "a.zarr", data, compressor=None, images=image_codec(config))
    archive = zipped(tmp_path / "a.zarr", tmp_path / "lift.hdf5.zarr.zip", inside)
    assert recognise(archive) == "diffusion_policy"
    reader = DiffusionPolicyReader(archive)
    assert reader.env_spec.task == "lift"
    assert reader.env_spec.action.low == (-1.0,) * 10
    read = joined(list(reader), "agentview_image")
    assert read.dtype == np.uint8
    np.testing.assert_allclose(read.astype(int), frames, atol=0 if exact else 40)
    assert np.abs(read.astype(int) - frames).mean() < 4


def test_a_real_robots_buffer_has_its_rate_from_time_stamps_and_its_videos_are_listed(tmp_path):
    """Variant C."""
    clock = np.concatenate([np.arange(length) / 20 + start for length, start in ((7, 100.0), (5, 700.0), (8, 300.0))])
    data = {"timestamp": clock, "action": rng().standard_normal((T, 6)), "stage": np.arange(T) // 5, "robot_joint": np.ones((T, 6))}
    write_buffer(tmp_path / "cup" / "replay_buffer.zarr", data)
    for episode in range(2):
        (tmp_path / "cup" / "videos" / str(episode)).mkdir(parents=True)
        (tmp_path / "cup" / "videos" / str(episode) / "0.mp4").write_bytes(b"no video")
    for source in (tmp_path / "cup", tmp_path / "cup" / "replay_buffer.zarr"):
        reader = DiffusionPolicyReader(source)
        assert reader.env_spec.control_hz == 20.0
        assert reader.attrs == {}
        episodes = list(reader)
        np.testing.assert_array_equal(joined(episodes, "timestamp"), clock)
        assert joined(episodes, "stage").dtype == np.int64
        assert any("2 videos" in line for line in reader.lost)
        actions = np.concatenate([episode.actions for episode in episodes])
        assert actions.dtype.name == reader.env_spec.action.dtype == "float64"
        np.testing.assert_array_equal(actions, data["action"])


def test_umi_has_no_actions_and_is_refused_with_the_ways_to_derive_them(tmp_path):
    source = write_buffer(tmp_path / "dataset.zarr", umi())
    with pytest.raises(StoreError, match=r"holds no action .*derive_action=next .*derive_action=same"):
        DiffusionPolicyReader(source)


@pytest.mark.parametrize("derive", ["next", "same"])
def test_umis_derived_actions_are_poses_and_say_so(tmp_path, derive):
    data = umi()
    reader = DiffusionPolicyReader(write_buffer(tmp_path / "dataset.zarr", data), derive_action=derive)
    parts = ("eef_pos", "eef_rot_axis_angle", "gripper_width")
    poses = np.concatenate([data[f"robot{robot}_{part}"] for robot in range(2) for part in parts], 1)
    start = 0
    for episode, end in zip(reader, ENDS, strict=True):
        expected = poses[start:end] if derive == "same" else np.concatenate([poses[start + 1 : end], poses[end - 1 : end]])
        np.testing.assert_array_equal(episode.actions, expected)
        np.testing.assert_array_equal(episode.observations["robot1_eef_pos"], data["robot1_eef_pos"][start:end])
        assert episode.provenance["action_derived"].startswith(f"{derive}: the pose and gripper width of the")
        start = end
    assert reader.env_spec.action.names[6:8] == ("robot0_gripper_width", "robot1_eef_pos.0")
    np.testing.assert_array_equal(joined(list(reader), "robot0_demo_start_pose"), data["robot0_demo_start_pose"])


def test_actions_of_several_arrays_are_put_side_by_side(tmp_path):
    """Variant E."""
    data = {
        "robot_0_camera_images": rng().integers(0, 256, (T, 2, 8, 8, 3), dtype=np.uint8),
        "robot_0_tcp_xyz_wxyz": rng().standard_normal((T, 7)).astype(np.float32),
        "action_0_gripper_width": rng().uniform(0, 1, (T, 1)).astype(np.float32),
        "action_0_tcp_xyz_wxyz": rng().standard_normal((T, 7)).astype(np.float32),
    }
    reader = DiffusionPolicyReader(write_buffer(tmp_path / "e.zarr", data))
    expected = np.concatenate([data["action_0_tcp_xyz_wxyz"], data["action_0_gripper_width"]], 1)
    np.testing.assert_array_equal(np.concatenate([episode.actions for episode in reader]), expected)
    assert reader.env_spec.action.names == (*(f"0_tcp_xyz_wxyz.{channel}" for channel in range(7)), "0_gripper_width")
    assert set(reader.env_spec.observation) == {"robot_0_camera_images", "robot_0_tcp_xyz_wxyz"}


def test_arrays_of_episodes_go_to_the_provenance(tmp_path):
    meta = {
        "seed": np.array([4, 5, 6]),
        "operator": np.array(["ann", "bob", "ann"]),
        "success": np.array([True, False, True]),
        "odd": np.ones(9),
    }
    reader = DiffusionPolicyReader(write_buffer(tmp_path / "a.zarr", pusht(), meta=meta))
    assert [episode.success for episode in reader] == [True, False, True]
    assert [episode.provenance["meta"] for episode in reader][1] == {"seed": 5, "operator": "bob"}
    assert [line.split(":")[0] for line in reader.lost] == ["meta/odd"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": None}, r"holds no action \(data/action or data/action_\*\); it has data/img, data/keypoint"),
        ({"state": np.ones((T + 1, 5))}, r"data/state has shape \[21, 5\], the episodes end at step 20"),
        ({"state": np.full((T, 5), np.nan)}, r"episode 0: observation 'state' holds NaN"),
        ({"action": np.full((T, 2), np.inf)}, r"episode 0: actions hold NaN or infinity"),
        ({"state": np.zeros((T, 0))}, r"data/state has shape \[20, 0\]"),
        ({"action": np.zeros((T, 5000))}, r"5000 channels"),
        ({"st.ate": np.zeros((T, 1)), "st ate": np.zeros((T, 1)), "st_ate": np.zeros((T, 1))}, r"come to one name in a store, 'st_ate'"),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path, changes, message):
    data = {name: values for name, values in (pusht() | changes).items() if values is not None}
    with pytest.raises(StoreError, match=message):
        list(DiffusionPolicyReader(write_buffer(tmp_path / "a.zarr", data)))


@pytest.mark.parametrize(
    "ends", [np.array([7, 7, 20]), np.array([12, 7, 20]), np.zeros(0, np.int64), np.array([5.0, 20.0]), np.array([[20]])]
)
def test_episodes_that_do_not_follow_each_other_are_refused(tmp_path, ends):
    with pytest.raises(StoreError, match="meta/episode_ends does not increase"):
        DiffusionPolicyReader(write_buffer(tmp_path / "a.zarr", pusht(), ends=ends))


def test_a_lost_chunk_is_an_error_and_not_zeros(tmp_path):
    source = write_buffer(tmp_path / "a.zarr", umi())
    (source / "data" / "camera0_rgb" / "13.0.0.0").unlink()
    with pytest.raises(StoreError, match=r"incomplete: 1 chunks of data/camera0_rgb are missing, first data/camera0_rgb/13\.0\.0\.0"):
        DiffusionPolicyReader(source, derive_action="next")


def test_pickled_objects_are_refused_by_name(tmp_path):
    source = write_buffer(tmp_path / "a.zarr", pusht())
    folder = source / "data" / "label"
    folder.mkdir()
    meta = json.loads((source / "data" / "state" / ".zarray").read_text())
    (folder / ".zarray").write_text(json.dumps({**meta, "dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}]}))
    with pytest.raises(StoreError, match=r"data/label cannot be read: it is stored as Python pickles.*VLenUTF8"):
        DiffusionPolicyReader(source)


@pytest.mark.parametrize(
    "options", [{"images": "jpeg"}, {"derive_action": "last"}, {"control_hz": 0}, {"control_hz": "fast"}, {"derive_action": "next"}]
)
def test_options_that_mean_nothing_are_refused(tmp_path, options):
    with pytest.raises(StoreError, match=next(iter(options))):
        DiffusionPolicyReader(write_buffer(tmp_path / "a.zarr", pusht()), **options)


def test_an_episode_is_read_without_the_rest(tmp_path):
    source = write_buffer(tmp_path / "a.zarr", umi())
    (source / "data" / "camera1_rgb" / "19.0.0.0").write_bytes(b"damaged")
    episodes = iter(DiffusionPolicyReader(source, derive_action="next"))
    assert len(next(episodes)) == 7
    assert len(next(episodes)) == 5
    with pytest.raises(StoreError, match=r"data/camera1_rgb/19\.0\.0\.0"):
        next(episodes)


# -- export ------------------------------------------------------------------------------------------------------------


def make_store(path, spec=SPEC, **options):
    with DemoStore.create(path, spec) as store:
        store.extend([make_episode(number, spec=spec, **options) for number in range(4)])
    return DemoStore.open(path)


def assert_same_numbers(got, expected):
    assert got.observations.keys() == expected.observations.keys()
    pairs = [(got.observations[name], expected.observations[name]) for name in expected.observations]
    pairs += [(got.actions, expected.actions), (got.rewards, expected.rewards)]
    assert got.extras.keys() == expected.extras.keys()
    pairs += [(got.extras[name], expected.extras[name]) for name in expected.extras]
    pairs += [] if expected.sim_state is None else [(got.sim_state, expected.sim_state)]
    for mine, theirs in pairs:
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        assert mine.tobytes() == theirs.tobytes()
    assert (got.terminated, got.truncated, got.success) == (expected.terminated, expected.truncated, expected.success)


@pytest.mark.parametrize("name", ["out.zarr", "out.zarr.zip"])
@pytest.mark.parametrize(("spec", "state_size"), [(SPEC, 0), (WIDE, 11)])
def test_a_store_comes_back_from_an_export_to_the_bit(tmp_path, name, spec, state_size):
    store = make_store(tmp_path / "store.zarr", spec, state_size=state_size)
    lost = write(store, tmp_path / name)
    assert len(lost) == 1
    assert lost[0].startswith("provenance of 4 episodes")
    reader = DiffusionPolicyReader(tmp_path / name)
    assert reader.env_spec == spec
    assert (reader.attrs, reader.lost) == ({}, [])
    episodes = list(reader)
    assert len(episodes) == 4
    for got, expected in zip(episodes, store, strict=True):
        assert_same_numbers(got, expected)


@pytest.mark.parametrize("name", ["out.zarr", "out.zarr.zip"])
def test_an_export_is_what_diffusion_policys_replay_buffer_opens(tmp_path, name):
    """Format 2, ``data`` and ``meta``, every array as long as the last episode's end, codecs of numcodecs."""
    store = make_store(tmp_path / "store.zarr")
    write(store, tmp_path / name)
    storage = zarr.storage.ZipStore(tmp_path / name, mode="r") if name.endswith(".zip") else tmp_path / name
    root = zarr.open_group(storage, mode="r", zarr_format=2)
    assert sorted(root.group_keys()) == ["data", "meta"]
    ends = root["meta/episode_ends"]
    assert ends.dtype == np.int64
    np.testing.assert_array_equal(ends[:], store.ends)
    assert sorted(root["data"].array_keys()) == ["action", "clock", "front", "joints", "reward"]
    assert all(array.shape[0] == ends[-1] for array in root["data"].array_values())
    assert root["data/front"].chunks == (1, 8, 9, 3)
    assert root["data/action"].compressors[0].get_config() == {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 2, "blocksize": 0}
    for key in ("action", "clock", "front", "joints", "reward"):
        np.testing.assert_array_equal(root[f"data/{key}"][:], store.array(key))
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            assert ".zgroup" in archive.namelist()  # not nested
            assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


@pytest.mark.parametrize("codec", ["jpeg2k", "jpegxl"])
def test_an_image_codec_keeps_all_but_pixels_and_says_so(tmp_path, codec):
    pytest.importorskip("imagecodecs")
    store = make_store(tmp_path / "store.zarr")
    assert any(line.startswith("exact pixels of front") for line in write(store, tmp_path / "out.zarr.zip", image_codec=codec))
    for got, expected in zip(DiffusionPolicyReader(tmp_path / "out.zarr.zip"), store, strict=True):
        np.testing.assert_allclose(got.observations["front"].astype(int), expected.observations["front"], atol=12)
        np.testing.assert_array_equal(got.actions, expected.actions)
    with pytest.raises(StoreError, match="image_codec takes blosc, jpeg2k, jpegxl"):
        write(store, tmp_path / "other.zarr", image_codec="jpeg")


def imported(source, out, *options):
    assert main(["data", "import", f"source={source}", f"out={out}", *options]) == 0
    return DemoStore.open(out)


@pytest.mark.parametrize("variant", ["pusht", "split", "renamed", "float64"])
def test_what_came_from_a_buffer_goes_back_under_its_names_and_types(tmp_path, variant):
    data = pusht()
    if variant == "split":
        data |= {"action_0_tcp": data["action"], "action_0_gripper": np.ones((T, 1), np.float32)}
        del data["action"]
    if variant == "float64":
        data["action"] = rng().standard_normal((T, 2))
    if variant == "renamed":
        data |= {"end": np.ones((T, 2), np.float32), "arm/pose": np.ones((T, 7), np.float32)}
    source = write_buffer(tmp_path / "a.zarr", data, meta={"success": np.array([True, True, False])})
    store = imported(source, tmp_path / "store.zarr")
    assert store.check() == []
    assert main(["data", "export", f"store={tmp_path / 'store.zarr'}", f"out={tmp_path / 'b.zarr'}", "format=diffusion_policy"]) == 0
    back = zarr.open_group(tmp_path / "b.zarr", mode="r", zarr_format=2)
    for name, values in data.items():
        assert back[f"data/{name}"].dtype == values.dtype
        np.testing.assert_array_equal(back[f"data/{name}"][:], values)
    np.testing.assert_array_equal(back["meta/episode_ends"][:], ENDS)
    again = DiffusionPolicyReader(tmp_path / "b.zarr")
    assert again.env_spec == store.env_spec
    for got, expected in zip(again, store, strict=True):
        assert_same_numbers(got, expected)


def test_an_export_replaces_only_a_buffer_and_is_a_zip_by_its_name(tmp_path, capsys):
    make_store(tmp_path / "store.zarr")
    command = ["data", "export", f"store={tmp_path / 'store.zarr'}", f"out={tmp_path / 'out.zarr.zip'}", "format=diffusion_policy"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 4
    assert zipfile.is_zipfile(tmp_path / "out.zarr.zip")
    assert main(command) == 1
    assert "overwrite=true" in capsys.readouterr().err
    assert main([*command, "overwrite=true"]) == 0
    (tmp_path / "out.zarr.zip").write_text("notes")
    assert main([*command, "overwrite=true"]) == 1
    assert (tmp_path / "out.zarr.zip").read_text() == "notes"


def test_a_spec_that_does_not_fit_the_arrays_is_said(tmp_path):
    write(make_store(tmp_path / "store.zarr"), tmp_path / "out.zarr")
    shutil.rmtree(tmp_path / "out.zarr" / "data" / "clock")
    with pytest.raises(StoreError, match=r"env_spec in \.zattrs does not fit the arrays \(clock\); take 'robolearn' out"):
        DiffusionPolicyReader(tmp_path / "out.zarr")


@pytest.mark.parametrize("spec", [5, {}, {"task": 1}, {**SPEC.to_dict(), "task": 5}, {**SPEC.to_dict(), "control_hz": float("nan")}])
def test_a_damaged_spec_is_said(tmp_path, spec):
    source = write_buffer(tmp_path / "a.zarr", pusht(), attrs={"robolearn": {"env_spec": spec}})
    with pytest.raises(StoreError, match=r"env_spec in \.zattrs is damaged"):
        DiffusionPolicyReader(source)


def test_formats_of_one_family_are_told_apart(tmp_path):
    source = write_buffer(tmp_path / "a.zarr", pusht())
    assert recognise(source) == "diffusion_policy"
    assert recognises(zipped(source, tmp_path / "a.zip", "deep/a.zarr/"))
    with pytest.raises(StoreError, match="lacks robot_state"):
        ResipReader(source)
