"""robomimic's HDF5: every trap of the format is told, and what comes in goes out again, to the bit."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from robolearn.cli import main
from robolearn.datasets.formats.registry import open_source, recognise
from robolearn.datasets.formats.robomimic import RobomimicReader
from robolearn.datasets.layout import StoreError
from robolearn.datasets.store import DemoStore
from tests.datasets.episodes import SPEC, assert_same, make_episode
from tests.datasets.formats.hdf5_files import ENV_ARGS, MODEL, everything, robomimic_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "square.hdf5"


def run_import(source, out, *words):
    return main(["data", "import", f"source={source}", f"out={out}", *words])


def run_export(store, out, *words):
    return main(["data", "export", f"store={store}", f"out={out}", "format=robomimic", *words])


def assert_same_file(got, expected):
    """The same arrays and attributes, to the bit and type."""
    (arrays, attributes), (wanted_arrays, wanted_attributes) = everything(got), everything(expected)
    assert arrays.keys() == wanted_arrays.keys()
    for name, values in wanted_arrays.items():
        assert (arrays[name].dtype, arrays[name].shape) == (values.dtype, values.shape), name
        assert arrays[name].tobytes() == values.tobytes(), name
    assert attributes.keys() == wanted_attributes.keys()
    for name, entries in wanted_attributes.items():
        assert attributes[name].keys() == entries.keys(), name
        for key, value in entries.items():
            mine, theirs = np.asarray(attributes[name][key]), np.asarray(value)
            assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), (name, key)
            assert mine.tolist() == theirs.tolist() if mine.dtype.kind in "OUS" else mine.tobytes() == theirs.tobytes(), (name, key)


# -- what comes in ------------------------------------------------------------------------------------------------------


def test_episodes_come_in_by_number_whatever_the_first_and_the_gaps(path):
    robomimic_file(path)
    reader = RobomimicReader(path)
    assert [episode.provenance["original_name"] for episode in reader] == ["demo_1", "demo_2", "demo_10"]
    assert [len(episode) for episode in reader] == [5, 7, 4]
    assert len(reader) == 3


def test_numbers_types_and_words_are_the_sources_own(path):
    robomimic_file(path, image=True)
    reader = RobomimicReader(path)
    assert recognise(path) == "robomimic"
    spec = reader.env_spec
    assert (spec.task, spec.control_hz) == ("Square", 20.0)
    assert spec.action.names == tuple(f"a{channel}" for channel in range(7))
    assert set(spec.action.low) == {-1.0} and set(spec.action.high) == {1.0}
    assert (spec.action.dtype, spec.reward_dtype) == ("float64", "float64")
    assert {name: entry.dtype for name, entry in spec.observation.items()} == {
        "agentview_depth": "float32",
        "agentview_image": "uint8",
        "eef_pos": "float64",
        "gripper_qpos": "float32",
    }
    assert spec.observation["agentview_image"].shape == (6, 8, 3)
    episode = next(iter(reader))
    arrays, _ = everything(path)
    for name in spec.observation:
        np.testing.assert_array_equal(episode.observations[name], arrays[f"data/demo_1/obs/{name}"])
    np.testing.assert_array_equal(episode.actions, arrays["data/demo_1/actions"])
    np.testing.assert_array_equal(episode.sim_state, arrays["data/demo_1/states"])
    np.testing.assert_array_equal(episode.extras["dones"], arrays["data/demo_1/dones"])
    assert (episode.success, episode.terminated, episode.truncated) == (True, True, False)
    assert episode.provenance["filter_keys"] == ["train"]
    assert json.loads(episode.provenance["attrs"][""]["ep_meta"]) == {"layout": 3}


@pytest.mark.parametrize(
    ("env_args", "environment"),
    [
        ({"env_name": "Lift", "type": 1, "env_kwargs": {"controller_configs": {"type": "OSC_POSE"}}}, ("robosuite", "flat")),
        ({"env_name": "Lift", "env_type": 1, "env_kwargs": {"controller_configs": [{"type": "OSC_POSE"}]}}, ("robosuite", "flat")),
        (
            {"env_name": "Lift", "type": 1, "env_kwargs": {"controller_configs": {"type": "BASIC", "body_parts": {}}}},
            ("robosuite", "composite"),
        ),
        ({"env_name": "Lift", "type": 2}, ("gym", None)),
        ({"env_name": "Lift", "type": "robosuite", "env_kwargs": 5}, (None, None)),
    ],
)
def test_env_args_say_the_environment_by_type_or_env_type_and_how_its_controllers_are_written(path, env_args, environment):
    robomimic_file(path, attrs={"env_args": json.dumps(env_args)})
    reader = RobomimicReader(path)
    assert reader.env_spec.task == "Lift"
    assert tuple(reader.attrs["hdf5"]["environment"].values()) == environment


def test_without_env_args_the_file_names_the_task(path):
    robomimic_file(path, attrs={"env_args": None})
    assert RobomimicReader(path).env_spec.task == "square"
    robomimic_file(path, attrs={"env_args": "{'env_name': 'Lift'}"})
    with pytest.raises(StoreError, match="env_args of data is no JSON object"):
        RobomimicReader(path)


@pytest.mark.parametrize(("shaping", "reward", "success"), [(False, 0.3, True), (False, 0.0, False), (True, 0.9, False), (True, 1.0, True)])
def test_a_shaped_reward_means_success_only_at_its_scale(path, shaping, reward, success):
    def edit(demos):
        for arrays in demos.values():
            arrays["rewards"] = np.full(len(arrays["actions"]), reward)

    robomimic_file(path, edit=edit, attrs={"env_args": json.dumps({**ENV_ARGS, "env_kwargs": {"reward_shaping": shaping}})})
    assert [episode.success for episode in RobomimicReader(path)] == [success] * 3


def test_rewards_dones_next_obs_and_observations_may_be_missing(path):
    def edit(demos):
        for arrays in demos.values():
            for key in [key for key in arrays if key not in ("actions", "states")]:
                del arrays[key]

    robomimic_file(path, edit=edit, masks={})
    reader = RobomimicReader(path)
    assert (dict(reader.env_spec.observation), dict(reader.env_spec.extras)) == ({}, {})
    episode = next(iter(reader))
    assert (episode.rewards.sum(), episode.success) == (0, False)
    assert "the source has none" in episode.provenance["reward"]
    assert episode.provenance["success"] == "not recorded"


def test_actions_beyond_one_are_kept_with_the_range_they_have(path):
    def edit(demos):
        demos["demo_2"]["actions"][3, 2] = -40.5

    robomimic_file(path, edit=edit)
    reader = RobomimicReader(path)
    assert reader.env_spec.action.low[2] == -40.5
    actions = np.concatenate([episode.actions for episode in reader])
    np.testing.assert_array_equal(reader.env_spec.action.high, actions.max(0))


def test_a_filter_key_chooses_and_an_unknown_one_names_those_there(path, tmp_path, capsys):
    robomimic_file(path)
    assert [episode.provenance["original_name"] for episode in RobomimicReader(path, filter_key="train")] == ["demo_1", "demo_10"]
    assert run_import(path, tmp_path / "a.zarr", "filter_key=trian") == 1
    assert "it has train, valid; did you mean 'train'?" in capsys.readouterr().err
    assert run_import(path, tmp_path / "a.zarr", "filter_key=valid", "--json") == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 1


def test_a_filter_key_that_lists_what_is_not_there_is_an_error_or_skipped(path):
    robomimic_file(path, masks={"20_percent": ["demo_1", "demo_7"]})
    with pytest.raises(StoreError, match=r"mask/20_percent lists 'demo_7', which is not there \(missing=skip"):
        RobomimicReader(path, filter_key="20_percent")
    reader = RobomimicReader(path, filter_key="20_percent", missing="skip")
    assert (len(reader), len(reader.missing)) == (1, 1)
    assert any("names 1 demonstrations that are not there" in line for line in RobomimicReader(path).lost)


def test_mimicgens_states_group_and_additions_come_in(path):
    def edit(demos):
        for arrays in demos.values():
            states = arrays.pop("states")
            arrays |= {"states/robot/joints": states[:, :9].astype(np.float32), "states/time": states[:, 9]}

    robomimic_file(path, mimicgen=True, edit=edit)
    reader = RobomimicReader(path)
    assert {"datagen_info.eef_pose", "datagen_info.subtask_term_signals.grasp", "src_demo_labels"} < set(reader.env_spec.extras)
    episode = next(iter(reader))
    assert episode.provenance["arrays"]["src_demo_inds"]["data"] == [4, 1]
    assert episode.provenance["states"] == [["states/robot/joints", "float32", [9]], ["states/time", "float64", []]]
    assert episode.sim_state.shape == (5, 10)


def test_names_that_a_store_refuses_are_mapped_and_back(path, tmp_path):
    def edit(demos):
        for arrays in demos.values():
            arrays["obs/robot0/eef pos"] = arrays.pop("obs/eef_pos")
            arrays["obs/action"] = arrays.pop("obs/gripper_qpos")
            arrays.pop("next_obs/eef_pos"), arrays.pop("next_obs/gripper_qpos")

    robomimic_file(path, edit=edit)
    assert set(RobomimicReader(path).env_spec.observation) == {"robot0.eef_pos", "action.2"}
    assert run_import(path, tmp_path / "a.zarr") == 0
    assert run_export(tmp_path / "a.zarr", tmp_path / "back.hdf5") == 0
    assert_same_file(tmp_path / "back.hdf5", path)


# -- what does not come in ----------------------------------------------------------------------------------------------


def lacks(key):
    return lambda demos: demos["demo_2"].pop(key)


def sets(key, change):
    def edit(demos):
        demos["demo_2"][key] = change(demos["demo_2"][key])

    return edit


BROKEN = {
    "no actions": (lacks("actions"), "demo_2 lacks actions; it has"),
    "flat actions": (sets("actions", lambda a: a[:, 0]), r"demo_2/actions is float64 \(7,\), expected numbers of shape"),
    "actions of words": (sets("actions", lambda a: np.full(a.shape, b"left")), "demo_2/actions is"),
    "no steps": (sets("actions", lambda a: a[:0]), "demo_2/actions is float64"),
    "an observation less": (lacks("obs/eef_pos"), "demo_2 lacks obs/eef_pos, which demo_1 has"),
    "a wider action": (sets("actions", lambda a: a[:, :6]), r"demo_2/actions is float64 \(6,\) a step, in demo_1"),
    "another type": (
        sets("obs/eef_pos", lambda a: a.astype("f4")),
        r"demo_2/obs/eef_pos is float32 \(3,\) a step, in demo_1 it is float64",
    ),
    "a short observation": (
        sets("obs/eef_pos", lambda a: a[:-1]),
        "demo_2/obs/eef_pos has shape .6, 3., expected a row for each of 7 actions",
    ),
    "NaN seen": (sets("obs/eef_pos", lambda a: a * np.nan), "demo_2: observation 'eef_pos' holds NaN"),
    "NaN done": (sets("actions", lambda a: a * np.nan), "demo_2: actions hold NaN"),
    "NaN earned": (sets("rewards", lambda a: a + np.inf), "demo_2: rewards hold NaN"),
    "NaN states": (sets("states", lambda a: a * np.nan), "demo_2: states hold NaN"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_demonstration_that_is_broken_is_named_or_skipped(path, name):
    edit, says = BROKEN[name]
    robomimic_file(path, edit=edit)
    with pytest.raises(StoreError, match=says) as caught:
        list(RobomimicReader(path))
    assert "square.hdf5" in str(caught.value) and "\n" not in str(caught.value)
    reader = RobomimicReader(path, missing="skip")
    assert [episode.provenance["original_name"] for episode in reader] == ["demo_1", "demo_10"]
    assert len(reader.missing) == 1


def test_a_failed_import_writes_nothing_and_a_partial_one_says_what_it_left_out(path, tmp_path, capsys):
    robomimic_file(path, edit=BROKEN["NaN seen"][0])
    out = tmp_path / "target" / "out.zarr"
    assert run_import(path, out) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert [file.name for file in out.parent.iterdir()] == [".out.zarr.lock"]
    assert run_import(path, out, "missing=skip", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["episodes"], len(facts["missing"])) == (2, 1)
    store = DemoStore.open(out)
    assert store.check() == []
    assert store.attrs["imported"]["missing"] == facts["missing"]


def test_num_samples_that_is_another_number_than_the_actions_is_an_error(path):
    robomimic_file(path, demo_attrs={"num_samples": 9})
    with pytest.raises(StoreError, match=r"demo_1 has num_samples \[9\] and 5 actions"):
        RobomimicReader(path)
    robomimic_file(path, demo_attrs={"num_samples": None})
    assert len(RobomimicReader(path)) == 3


def test_what_a_store_cannot_hold_is_listed_and_not_lost_in_silence(path, tmp_path, capsys):
    def edit(demos):
        for arrays in demos.values():
            arrays["notes"] = np.array([b"a", b"b"])
            arrays["next_obs/eef_pos"] = arrays["next_obs/eef_pos"] + 1
        demos["demo_1"]["actions_abs"] = np.zeros((5, 200))

    robomimic_file(path, edit=edit)
    with h5py.File(path, "a") as file:
        file.create_group("data/readme")
        file["else"] = np.zeros(3)
        file["data"].attrs["where"] = file["data"].ref
    assert run_import(path, tmp_path / "a.zarr", "--json") == 0
    lost = json.loads(capsys.readouterr().out)["lost"]
    for word in ("notes", "next_obs/eef_pos: not the observation one step later", "actions_abs", "data/readme", "/else", "'where'"):
        assert any(word in line for line in lost), word
    assert DemoStore.open(tmp_path / "a.zarr").attrs["imported"]["lost"] == lost


# -- there and back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [{}, {"image": True, "compression": "gzip"}, {"mimicgen": True}], ids=["low_dim", "image", "mimicgen"])
def test_a_file_comes_back_with_the_same_numbers_and_attributes(path, tmp_path, capsys, kind):
    robomimic_file(path, **kind)
    with h5py.File(path, "a") as file:
        file["data"].attrs["timestamp"] = 1700000000.25
        file["data/demo_1"].attrs["weights"] = np.array([0.5, np.nan], np.float32)
        file["data/demo_1/obs"].attrs["cameras"] = np.array(["front", "wrist"], h5py.string_dtype())
        file.attrs["version"] = "1.5"
    store = tmp_path / "a.zarr"
    assert run_import(path, store) == 0
    assert main(["data", "check", f"store={store}"]) == 0
    assert main(["data", "info", f"store={store}"]) == 0
    capsys.readouterr()
    assert run_export(store, tmp_path / "back.hdf5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["lost"] == []
    assert_same_file(tmp_path / "back.hdf5", path)
    assert run_import(tmp_path / "back.hdf5", tmp_path / "b.zarr") == 0
    assert DemoStore.open(tmp_path / "b.zarr").fingerprint() == DemoStore.open(store).fingerprint()


def test_simulator_models_of_different_size_come_back(path, tmp_path):
    robomimic_file(path, edit=sets("states", lambda a: a[:, :10]))
    assert {episode.sim_state.shape[1] for episode in RobomimicReader(path)} == {13}
    assert run_import(path, tmp_path / "a.zarr") == 0
    assert run_export(tmp_path / "a.zarr", tmp_path / "back.hdf5") == 0
    assert_same_file(tmp_path / "back.hdf5", path)


def test_a_subset_goes_out_with_filter_keys_of_those_that_are_left(path, tmp_path, capsys):
    robomimic_file(path)
    assert run_import(path, tmp_path / "a.zarr", "filter_key=train") == 0
    assert run_export(tmp_path / "a.zarr", tmp_path / "back.hdf5", "valid_share=0.5") == 0
    with h5py.File(tmp_path / "back.hdf5") as file:
        assert set(file["data"]) == {"demo_1", "demo_10"}
        assert file["data"].attrs["total"] == 9
        assert len(file["mask/train"]) == len(file["mask/valid"]) == 1
        assert set(file["mask/train"][:]) | set(file["mask/valid"][:]) == {b"demo_1", b"demo_10"}
    assert run_export(tmp_path / "a.zarr", tmp_path / "again.hdf5") == 0
    assert "not held: mask/valid: none of its episodes is here" in capsys.readouterr().out


def test_env_type_alone_is_written_as_type_too(path, tmp_path):
    robomimic_file(path, attrs={"env_args": json.dumps({"env_name": "Lift", "env_type": 1})})
    assert run_import(path, tmp_path / "a.zarr") == 0
    assert run_export(tmp_path / "a.zarr", tmp_path / "back.hdf5") == 0
    with h5py.File(tmp_path / "back.hdf5") as file:
        assert json.loads(file["data"].attrs["env_args"]) == {"env_name": "Lift", "env_type": 1, "type": 1}


def test_after_a_cut_next_obs_is_what_was_seen_next_and_notes_of_steps_are_cut(path, tmp_path):
    def edit(demos):
        demos["demo_1"]["signal"] = np.arange(5)[:, None]  # of one demonstration alone: a note

    robomimic_file(path, edit=edit)
    assert run_import(path, tmp_path / "a.zarr") == 0
    assert main(["data", "trim", f"store={tmp_path}/a.zarr", f"out={tmp_path}/b.zarr", "ranges=[0:1:3]"]) == 0
    assert run_export(tmp_path / "b.zarr", tmp_path / "back.hdf5") == 0
    (arrays, _), (before, _) = everything(tmp_path / "back.hdf5"), everything(path)
    for name in ("next_obs/eef_pos", "next_obs/gripper_qpos", "obs/eef_pos", "signal"):
        assert arrays[f"data/demo_1/{name}"].tobytes() == before[f"data/demo_1/{name}"][1:3].tobytes()
    assert arrays["data/demo_2/next_obs/eef_pos"].tobytes() == before["data/demo_2/next_obs/eef_pos"].tobytes()


def test_what_a_label_says_goes_out_and_comes_back(path, tmp_path):
    robomimic_file(path)
    assert run_import(path, tmp_path / "a.zarr") == 0
    words = ["episode=1", "success=false", "failure_step=2", "note=slipped"]
    assert main(["data", "label", f"store={tmp_path}/a.zarr", f"out={tmp_path}/b.zarr", *words]) == 0
    labelled = DemoStore.open(tmp_path / "b.zarr")
    for source, out in (("b", "c"), ("c", "d")):
        assert run_export(tmp_path / f"{source}.zarr", tmp_path / f"{out}.hdf5") == 0
        assert run_import(tmp_path / f"{out}.hdf5", tmp_path / f"{out}.zarr") == 0
        back = DemoStore.open(tmp_path / f"{out}.zarr")
        assert back.column("outcome").tolist() == labelled.column("outcome").tolist() == ["success", "failure", "success"]
        assert (back.provenance(1)["note"], back.provenance(1)["failure_step"]) == ("slipped", 2)


@pytest.fixture
def own(tmp_path):
    with DemoStore.create(tmp_path / "own.zarr", SPEC, attrs={"colour": "green"}) as store:
        store.extend([make_episode(number, state_size=4) for number in range(4)])
    return tmp_path / "own.zarr"


def test_a_store_of_our_own_is_robomimics_file_and_comes_back(own, tmp_path, capsys):
    out = tmp_path / "own.hdf5"
    assert run_export(own, out, "next_obs=always", "compress=true") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "not held: next_obs of last steps, which were not recorded: there the observation is repeated",
        "not held: attributes of the store: colour",
    ]
    arrays, attributes = everything(out)
    episode = make_episode(0, state_size=4)
    steps = len(episode)
    np.testing.assert_array_equal(arrays["data/demo_0/obs/joints"], episode.observations["joints"])
    np.testing.assert_array_equal(arrays["data/demo_0/next_obs/joints"][:-1], episode.observations["joints"][1:])
    np.testing.assert_array_equal(arrays["data/demo_0/states"], episode.sim_state)
    assert arrays["data/demo_0/dones"].tolist() == [0] * (steps - 1) + [1]
    assert attributes["data/demo_0"]["num_samples"] == steps
    assert json.loads(attributes["data"]["env_args"]) == {"env_name": "toy", "type": 2, "env_kwargs": {"control_freq": 10.0}}
    _, reader = open_source(out)
    assert (reader.env_spec.action, dict(reader.env_spec.observation)) == (SPEC.action, dict(SPEC.observation))
    assert (reader.env_spec.stages, reader.env_spec.control_hz) == (SPEC.stages, SPEC.control_hz)
    for number, episode in enumerate(reader):
        expected = make_episode(number, state_size=4)
        assert episode.provenance["original"] == expected.provenance
        assert (episode.success, episode.terminated, episode.truncated) == (expected.success, expected.terminated, expected.truncated)
        np.testing.assert_array_equal(episode.actions, expected.actions)
        np.testing.assert_array_equal(episode.rewards, expected.rewards)


def test_options_that_mean_nothing_are_refused_and_nothing_is_written(own, tmp_path, capsys):
    for word in ("next_obs=perhaps", "valid_share=1.5", "valid_share=0.99"):
        assert run_export(own, tmp_path / "x.hdf5", word) == 1
        assert word.split("=")[0] in capsys.readouterr().err or word == "valid_share=0.99"
    assert not list(tmp_path.glob("*x.hdf5"))


FULL = """
import resource, signal, sys
from robolearn.cli import main
import h5py
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(main(["data", "export", f"store={sys.argv[2]}", f"out={sys.argv[3]}", "format=robomimic"]))
"""


@pytest.mark.parametrize("size", [0, 20000])
def test_a_full_disk_is_one_line_and_nothing_is_left(own, tmp_path, size):
    """HDF5 itself crashes on it: the limit on a file's size stands in for the disk."""
    folder = tmp_path / "full"
    folder.mkdir()
    words = [sys.executable, "-c", FULL, str(size), str(own), str(folder / "x.hdf5")]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: could not write") and result.stderr.count("\n") == 1
    assert "File too large; nothing is left of it" in result.stderr
    assert [file.name for file in folder.iterdir()] == [".x.hdf5.lock"]


def test_an_export_replaces_robomimics_files_and_no_other(own, tmp_path, capsys):
    out = tmp_path / "x.hdf5"
    assert run_export(own, out) == 0
    assert run_export(own, out, "overwrite=true") == 0
    out.write_text("diary")
    assert run_export(own, out, "overwrite=true") == 1
    assert "is not robomimic; it is not replaced" in capsys.readouterr().err


def test_models_are_kept_as_they_are(path):
    robomimic_file(path)
    from robolearn.datasets.formats.json_values import unpack

    assert {unpack(episode.provenance["attrs"][""]["model_file"]) for episode in RobomimicReader(path)} == {MODEL}


def test_the_helper_that_compares_files_sees_differences(path, tmp_path):
    robomimic_file(path)
    other = robomimic_file(tmp_path / "other.hdf5", edit=sets("actions", lambda a: a + 1e-12))
    with pytest.raises(AssertionError):
        assert_same_file(other, path)
    with pytest.raises(AssertionError):
        assert_same(make_episode(0), make_episode(1))
