"""robosuite's raw recordings: states and actions whole, the model wherever it is, and a clear word where there is nothing to learn from."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from robolearn.cli import main
from robolearn.datasets.formats.json_values import unpack
from robolearn.datasets.formats.registry import recognise
from robolearn.datasets.formats.robosuite import RobosuiteReader
from robolearn.datasets.layout import StoreError
from robolearn.datasets.store import DemoStore
from tests.datasets.formats.hdf5_files import ENV_INFO, MODEL, everything, robosuite_file

FIXTURES = os.environ.get("ROBOLEARN_FIXTURES")


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "lift"
    folder.mkdir()
    return folder / "demo.hdf5"


def with_sidecar(path, name="model_1.xml"):
    robosuite_file(path, model=name)
    (path.parent / "models").mkdir()
    (path.parent / "models" / "model_1.xml").write_text(MODEL)
    return path


def run_import(source, out, *words):
    return main(["data", "import", f"source={source}", f"out={out}", *words])


@pytest.mark.parametrize("place", ["inline", "sidecar"])
def test_states_actions_and_the_model_come_in_without_observations(path, place):
    robosuite_file(path) if place == "inline" else with_sidecar(path)
    assert recognise(path) == recognise(path.parent) == "robosuite"
    reader = RobosuiteReader(path.parent)
    assert (reader.env_spec.task, reader.env_spec.control_hz, dict(reader.env_spec.observation)) == ("Lift", 25.0, {})
    arrays, _ = everything(path)
    first, second = reader
    assert [len(first), len(second)] == [6, 4]
    np.testing.assert_array_equal(first.actions, arrays["data/demo_1/actions"])
    np.testing.assert_array_equal(second.sim_state, arrays["data/demo_2/states"])
    assert (first.success, first.terminated, first.truncated) == (False, False, False)
    assert first.provenance["success"] == "not recorded"
    kept = first.provenance["attrs"][""]["model_file"] if place == "inline" else first.provenance["model_xml"]
    assert unpack(kept) == MODEL
    assert reader.attrs["hdf5"]["environment"] == {"type": "robosuite", "controllers": "flat"}


def test_other_arrays_are_kept_beside_and_seen_by_no_policy(path):
    def edit(demos):
        for arrays in demos.values():
            arrays["joint_torques"] = arrays["actions"] * 40

    robosuite_file(path, edit=edit)
    reader = RobosuiteReader(path)
    assert list(reader.env_spec.extras) == ["joint_torques"]
    episode = next(iter(reader))
    np.testing.assert_array_equal(episode.extras["joint_torques"], episode.actions * 40)


@pytest.mark.parametrize("info", [None, "no json", json.dumps({**ENV_INFO, "control_freq": -3}), json.dumps([1]), "[" * 100_000])
def test_without_usable_env_info_the_rate_is_robosuites_default(path, info):
    robosuite_file(path, attrs={"env_info": info})
    reader = RobosuiteReader(path)
    assert (reader.env_spec.task, reader.env_spec.control_hz) == ("Lift", 20.0)


def test_recordings_of_robosuite_0_have_no_actions_and_that_is_said(path):
    def edit(demos):
        for arrays in demos.values():
            steps = len(arrays.pop("actions"))
            arrays |= {
                "joint_velocities": np.zeros((steps, 7)),
                "gripper_actuations": np.zeros((steps, 1)),
                "left_dpos": np.zeros((steps, 0)),
            }

    robosuite_file(path, edit=edit, attrs={"env_info": None})
    with pytest.raises(
        StoreError, match=r"demo_1 lacks actions; it has gripper_actuations.*robosuite v0.x recorded joint velocities and no actions"
    ):
        RobosuiteReader(path)


@pytest.mark.parametrize("name", ["../secret.xml", "/etc/hostname", "..", "", "models/model_1.xml", "model_1.xml\x01/..", "link.xml"])
def test_a_model_is_never_read_from_elsewhere(path, tmp_path, name):
    with_sidecar(path, name)
    (path.parent / "secret.xml").write_text("secret")
    (path.parent / "models" / "link.xml").symlink_to(path.parent / "secret.xml")
    with pytest.raises(StoreError, match=r"model_file names .*(which is not a file in|but there is no)"):
        list(RobosuiteReader(path))


def test_a_missing_model_is_named_or_skipped(path, tmp_path, capsys):
    with_sidecar(path)
    (path.parent / "models" / "model_1.xml").unlink()
    assert run_import(path, tmp_path / "a.zarr") == 1
    assert "fetch the folder models/ with it (missing=skip" in capsys.readouterr().err
    (path.parent / "models" / "model_1.xml").write_bytes(b"\xff\xfe\x00")
    assert run_import(path, tmp_path / "a.zarr") == 1
    assert "which is no text" in capsys.readouterr().err


def test_a_recording_becomes_robomimics_file_with_env_args_and_num_samples(path, tmp_path):
    with_sidecar(path)
    assert run_import(path.parent, tmp_path / "a.zarr") == 0
    assert main(["data", "export", f"store={tmp_path / 'a.zarr'}", f"out={tmp_path / 'a.hdf5'}", "format=robomimic"]) == 0
    arrays, _ = everything(path)
    got, attributes = everything(tmp_path / "a.hdf5")
    assert {name: values.tobytes() for name, values in got.items()} == {name: values.tobytes() for name, values in arrays.items()}
    assert attributes["data/demo_1"] == {"model_file": MODEL, "num_samples": 6}
    args = json.loads(attributes["data"]["env_args"])
    assert args == {"env_name": "Lift", "type": 1, "env_version": "1.0.0", "env_kwargs": ENV_INFO}
    assert recognise(tmp_path / "a.hdf5") == "robomimic"


@pytest.mark.skipif(not FIXTURES, reason="ROBOLEARN_FIXTURES is not set: no real data")
@pytest.mark.parametrize(("task", "steps", "width"), [("lift", 412, 32), ("stack", 532, 45)])
def test_the_real_recordings_come_in_whole(tmp_path, capsys, task, steps, width):
    source = Path(str(FIXTURES)) / "robosuite_v1" / task
    out = tmp_path / "out.zarr"
    assert run_import(source, out, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["format"], facts["episodes"], facts["steps"], facts["lost"]) == ("robosuite", 1, steps, [])
    assert main(["data", "check", f"store={out}"]) == 0
    assert main(["data", "info", f"store={out}"]) == 0
    store = DemoStore.open(out)
    episode = store.episode(0)
    with h5py.File(source / "demo.hdf5") as file:
        group = file["data/demo_1"]
        for name, values in (
            ("actions", episode.actions),
            ("states", episode.sim_state),
            ("joint_torques", episode.extras["joint_torques"]),
        ):
            assert values.tobytes() == group[name][()].tobytes()
    assert episode.sim_state.shape == (steps, width)
    assert unpack(episode.provenance["model_xml"]) == (source / "models" / "model_1.xml").read_text()
    assert store.env_spec.task == task.capitalize()
