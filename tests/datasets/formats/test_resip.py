"""ResiP's zarr: frames and labels as they should be, and every trap of the format a clear error."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr

from robolearn.config import compose
from robolearn.datasets.formats.registry import open_source, recognise
from robolearn.datasets.formats.resip import ResipReader
from robolearn.datasets.formats.rotation_labels import RotationRepair
from robolearn.datasets.layout import StoreError
from robolearn.datasets.store import DemoStore
from robolearn.datasets.tools import import_
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix
from robolearn.tasks import one_leg_spec

FIXTURES = os.environ.get("ROBOLEARN_FIXTURES")
LENGTHS = (40, 25)
RESPONSE = 0.6


def turning_hand(rng, steps):
    """A servo that turns 60 % of what it is asked: achieved and asked orientation, rot6d ``(T, 6)`` each."""
    current = matrix_from_rotvec(rng.normal(size=3))
    achieved, asked = [], []
    for _ in range(steps):
        command = rng.uniform(-0.1, 0.1, 3)
        achieved.append(rot6d_from_matrix(current))
        asked.append(rot6d_from_matrix(matrix_from_rotvec(command) @ current))
        current = matrix_from_rotvec(RESPONSE * command) @ current
    return np.array(achieved), np.array(asked)


def scaled_labels(achieved, asked, factor):
    """Targets whose lead is ``factor`` of what was asked, as the defective converter wrote them."""
    current = matrix_from_rot6d(achieved)
    command = rotvec_from_matrix(matrix_from_rot6d(asked) @ current.swapaxes(-1, -2))
    return rot6d_from_matrix(matrix_from_rotvec(factor * command) @ current)


def source_arrays():
    """Two episodes of plausible one_leg data, and the rotation targets before they were scaled."""
    rng = np.random.default_rng(0)
    hands = [turning_hand(rng, steps) for steps in LENGTHS]
    total = sum(LENGTHS)
    state = rng.uniform(0.2, 0.4, (total, 16))
    state[:, 3:9] = np.concatenate([achieved for achieved, _ in hands])
    actions = rng.uniform(0.2, 0.3, (total, 10))
    actions[:, 3:9] = np.concatenate([scaled_labels(*hand, 1 / factor) for hand, factor in zip(hands, (7.0, 8.5), strict=True)])
    quaternions = rng.normal(size=(total, 6, 4))
    quaternions /= np.linalg.norm(quaternions, axis=-1, keepdims=True)
    parts = np.concatenate([rng.uniform(-0.2, 0.2, (total, 6, 3)), quaternions], -1).reshape(total, 42)
    arrays = {
        "robot_state": state.astype(np.float32),
        "action/pos": actions.astype(np.float32),
        "parts_poses": parts.astype(np.float32),
        "episode_ends": np.cumsum(LENGTHS),
        "success": np.array([1, 0], np.uint8),
        "furniture": np.array(["one_leg", "one_leg"]),
    }
    return arrays, np.concatenate([asked for _, asked in hands])


def write_zarr2(path, arrays):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for name, values in arrays.items():
        chunks = (max(len(values) // 2, 1), *values.shape[1:])
        array = group.create_array(name, shape=values.shape, chunks=chunks, dtype=values.dtype)
        array[...] = values
    return path


@pytest.fixture
def source(tmp_path):
    return write_zarr2(tmp_path / "one_leg.zarr", source_arrays()[0])


def edited(tmp_path, **changes):
    arrays = {**source_arrays()[0], **changes}
    return write_zarr2(tmp_path / "edited.zarr", {name: values for name, values in arrays.items() if values is not None})


def test_episodes_have_our_words_shapes_and_ends(source):
    reader = ResipReader(source)
    first, second = reader
    assert (len(first), len(second)) == LENGTHS
    for episode in (first, second):
        episode.check(one_leg_spec())
    assert (first.success, first.terminated, first.truncated) == (True, True, False)
    assert (second.success, second.terminated, second.truncated) == (False, False, False)
    assert first.rewards.tolist() == [0.0] * 39 + [1.0]
    assert second.rewards.sum() == 0
    assert [episode.provenance["original_index"] for episode in reader] == [0, 1]
    state = source_arrays()[0]["robot_state"]
    np.testing.assert_array_equal(second.observations["tcp_pos"], state[40:, :3])
    np.testing.assert_array_equal(second.observations["gripper_width"], state[40:, 15:])


def test_part_poses_go_from_the_tag_frame_to_the_base(tmp_path):
    poses = np.zeros((65, 6, 7), np.float32)
    poses[..., 6] = 1.0  # no rotation; quaternions are xyzw here
    poses[:, 0, :3] = (0.1, 0.2, -0.015)
    poses[:, 1, 3:] = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))  # a quarter turn about the tag's z
    (episode, _) = ResipReader(edited(tmp_path, parts_poses=poses.reshape(65, 42)))
    ours = episode.observations["parts_poses"][0].reshape(6, 9)
    np.testing.assert_allclose(ours[0, :3], (0.2 + 0.3015, 0.1, 0.015), atol=1e-6)  # base = (y + 0.3015, x, -z)
    np.testing.assert_allclose(ours[0, 3:], (0, 1, 0, 1, 0, 0), atol=1e-6)
    # The part's x axis is the tag's y, which is the base's x: first column (1, 0, 0); its y is the tag's -x, the base's -y.
    np.testing.assert_allclose(ours[1, 3:], (1, 0, 0, 0, -1, 0), atol=1e-6)


@pytest.mark.parametrize("method", ["rescale", "achieved"])
def test_scaled_rotation_labels_are_given_back_their_lead(source, method):
    _, asked = source_arrays()
    start = 0
    for episode, factor in zip(ResipReader(source, repair_method=method), (7.0, 8.5), strict=True):
        known = slice(0, len(episode) - (method == "achieved"))  # what the last command achieved is not recorded
        np.testing.assert_allclose(episode.actions[known, 3:9], asked[start : start + len(episode)][known], atol=2e-5)
        note = episode.provenance["rotation_repair"]
        assert note["method"] == method
        assert note["factor"] == pytest.approx(factor, rel=1e-3)
        start += len(episode)


def test_rescaling_keeps_the_push_where_contact_held_the_hand_back():
    achieved, asked = turning_hand(np.random.default_rng(1), 60)
    labels = scaled_labels(achieved, asked, 1 / 7)
    achieved[31] = achieved[30]  # step 30 asked and did not turn
    labels[31] = labels[30]
    repaired, _ = RotationRepair(min_correlation=0.9)(achieved, labels)
    np.testing.assert_allclose(repaired[30], asked[30], atol=0.01)
    replaced, _ = RotationRepair("achieved", min_correlation=0.9)(achieved, labels)
    np.testing.assert_allclose(replaced[30], achieved[30], atol=1e-6)


def test_without_repair_the_labels_stay(source):
    for episode, (start, end) in zip(ResipReader(source, repair_rotation=False), ((0, 40), (40, 65)), strict=True):
        np.testing.assert_allclose(episode.actions, source_arrays()[0]["action/pos"][start:end], atol=1e-6)
        assert "rotation_repair" not in episode.provenance


def test_a_commanded_rotation_is_never_larger_than_allowed(source):
    for episode in ResipReader(source, max_relabel=0.05):
        current, target = matrix_from_rot6d(episode.observations["tcp_rot6d"]), matrix_from_rot6d(episode.actions[:, 3:9])
        angle = np.linalg.norm(rotvec_from_matrix(target @ current.swapaxes(-1, -2)), axis=-1)
        assert angle.max() < 0.0505
        assert episode.provenance["rotation_repair"]["clipped_steps"] > 5


def test_labels_with_another_defect_are_not_repaired(tmp_path):
    actions = source_arrays()[0]["action/pos"]
    actions[:, 3:9] = actions[::-1, 3:9]
    with pytest.raises(StoreError, match=r"another defect.*repair_rotation=false"):
        list(ResipReader(edited(tmp_path, **{"action/pos": actions})))


def zipped(source, target, inside=""):
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(source.rglob("*"), reverse=True):
            if file.is_file():
                archive.write(file, f"{inside}{file.relative_to(source)}")
    return target


@pytest.mark.parametrize("inside", ["", "one_leg.zarr/", "deep/one_leg.zarr/"])
def test_zips_are_read_however_they_are_nested(source, tmp_path, inside):
    archive = zipped(source, tmp_path / "data.zip", inside)
    assert recognise(archive) == "resip"
    np.testing.assert_array_equal([*ResipReader(archive)][1].actions, [*ResipReader(source)][1].actions)


@pytest.mark.parametrize("missing", ["robot_state", "parts_poses", "action/pos", "episode_ends"])
def test_a_missing_array_is_named(tmp_path, missing):
    with pytest.raises(StoreError, match=f"lacks {missing}; it has"):
        ResipReader(edited(tmp_path, **{missing: None}))


def test_a_missing_chunk_is_an_error_and_not_zeros(source):
    (source / "action" / "pos" / "1.0").unlink()
    with pytest.raises(StoreError, match=r"incomplete: 1 chunks of action/pos are missing, first action/pos/1\.0"):
        ResipReader(source)


def test_a_damaged_chunk_names_its_array(source):
    (source / "robot_state" / "0.0").write_bytes(b"\x00" * 50)
    with pytest.raises(StoreError, match="robot_state cannot be read"):
        ResipReader(source)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"shape": [-1]}'])
def test_damaged_metadata_names_its_array(source, content):
    (source / "robot_state" / ".zarray").write_bytes(content)
    with pytest.raises(StoreError, match="robot_state"):
        ResipReader(source)


@pytest.mark.parametrize(
    ("shape", "chunks"), [([10**12, 16], [10**11, 16]), ([65, 16], [0, 16]), ([10**9, 1], [1, 1]), ([-5, 16], [1, 16])]
)
def test_absurd_shapes_are_refused_at_once(source, shape, chunks):
    meta = json.loads((source / "robot_state" / ".zarray").read_text())
    (source / "robot_state" / ".zarray").write_text(json.dumps({**meta, "shape": shape, "chunks": chunks}))
    with pytest.raises(StoreError, match="robot_state"):
        ResipReader(source)


def write_objects(source, name, codec, values):
    folder = source / name
    shutil.rmtree(folder)
    folder.mkdir()
    meta = {"zarr_format": 2, "shape": [2], "chunks": [2], "dtype": "|O", "compressor": {"id": "zlib", "level": 1}}
    (folder / ".zarray").write_text(json.dumps({**meta, "fill_value": None, "order": "C", "filters": [codec.get_config()]}))
    (folder / "0").write_bytes(numcodecs.Zlib(1).encode(codec.encode(np.array(values, object))))


@pytest.mark.parametrize("codec", [numcodecs.JSON(), numcodecs.VLenUTF8()], ids=["json", "vlen-utf8"])
def test_texts_stored_as_objects_are_read(source, codec):
    write_objects(source, "furniture", codec, ["one_leg", "one_leg"])
    assert len(list(ResipReader(source))) == 2


def test_pickles_are_refused_with_the_way_out(source):
    write_objects(source, "furniture", numcodecs.Pickle(), ["one_leg", "one_leg"])
    with pytest.raises(StoreError, match=r"pickles.*VLenUTF8"):
        ResipReader(source)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episode_ends": np.array([40, 64])}, "robot_state is float32 .65, 16., expected numbers of shape .64, 16."),
        ({"episode_ends": np.array([65, 40])}, "episode_ends does not increase"),
        ({"episode_ends": np.zeros(0, np.int64)}, "episode_ends does not increase"),
        ({"success": np.array([1], np.uint8)}, "success has shape"),
        ({"furniture": np.array(["lamp", "lamp"])}, "tasks lamp; one of one_leg"),
        ({"furniture": np.array(["one_leg", "lamp"])}, "tasks lamp, one_leg"),
        ({"furniture": None}, "of unknown name"),
        ({"parts_poses": np.full((65, 42), 0.1, np.float32)}, "quaternions of length 0.2"),
        ({"parts_poses": np.ones((65, 28), np.float32)}, r"expected numbers of shape \[?\(?65, 42"),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path, changes, message):
    with pytest.raises(StoreError, match=message):
        list(ResipReader(edited(tmp_path, **changes)))


def test_nan_names_the_episode(tmp_path):
    state = source_arrays()[0]["robot_state"]
    state[50, 0] = np.nan
    with pytest.raises(StoreError, match="episode 1: observation 'tcp_pos' holds NaN"):
        list(ResipReader(edited(tmp_path, robot_state=state)))


def test_recorded_rewards_are_kept(tmp_path):
    reward = np.zeros(65, np.float32)
    reward[30] = 1.0
    first, second = ResipReader(edited(tmp_path, reward=reward, success=None))
    assert np.flatnonzero(first.rewards).tolist() == [30]
    assert (first.success, second.success) == (True, False)


def test_what_is_no_known_format_is_said(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(StoreError, match="in no format that can be imported"):
        open_source(tmp_path / "notes.txt")
    with pytest.raises(StoreError, match="neither a directory nor a whole zip"):
        open_source(tmp_path / "notes.txt", format="resip")
    with pytest.raises(StoreError, match=r"no file or directory.*did you mean 'notes\.txt'"):
        open_source(tmp_path / "note.txt")
    with pytest.raises(StoreError, match="did you mean 'resip'"):
        open_source(tmp_path, format="resipp")


def run_import(source, out, *options):
    return import_(compose("data_import", [f"source={source}", f"out={out}", *options]))


def test_a_failed_import_leaves_nothing_behind(tmp_path):
    state = source_arrays()[0]["robot_state"]
    state[50, 0] = np.nan
    broken = edited(tmp_path, robot_state=state)
    target = tmp_path / "target"
    with pytest.raises(StoreError, match="NaN"):
        run_import(broken, target / "out.zarr")
    assert [file.name for file in target.iterdir()] == [".out.zarr.lock"]


def test_an_import_replaces_a_store_only_when_told_and_only_when_it_succeeds(source, tmp_path):
    out = tmp_path / "out.zarr"
    assert run_import(source, out) == 0
    before = DemoStore.open(out).fingerprint()
    with pytest.raises(StoreError, match="overwrite=true"):
        run_import(source, out)
    (source / "robot_state" / "0.0").unlink()
    with pytest.raises(StoreError, match="incomplete"):
        run_import(source, out, "overwrite=true")
    assert DemoStore.open(out).fingerprint() == before


@pytest.mark.skipif(not FIXTURES, reason="ROBOLEARN_FIXTURES is not set: no real data")
def test_the_human_demonstrations_come_in_whole_and_repaired(tmp_path, capsys):
    out = tmp_path / "human.zarr"
    assert run_import(Path(str(FIXTURES)) / "resip_one_leg_low" / "one_leg_low.zarr.zip", out, "json=true") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["episodes"], facts["steps"], facts["successes"]) == (50, 23371, 50)
    assert facts["rotation_repair"]["smallest_correlation"] > 0.998
    assert facts["rotation_repair"]["clipped_steps"] == 0
    store = DemoStore.open(out)
    assert store.check() == []
    assert (int(store.lengths.min()), int(store.lengths.max())) == (392, 579)
    parts = np.stack([store.array("parts_poses", start, start + 1)[0] for start in store.starts]).reshape(50, 6, 9)
    np.testing.assert_allclose(parts[:, :, 2], 0.0155, atol=0.003)  # everything lies on the table
    np.testing.assert_allclose(parts[:, 4, :2].mean(0), (0.3715, 0.2), atol=0.005)  # leg 4: tag (0.20, 0.07)
    episode = store.episode(0)
    step = np.diff(episode.observations["tcp_pos"], axis=0).ravel()
    lead = (episode.actions[:-1, :3] - episode.observations["tcp_pos"][:-1]).ravel()
    assert np.corrcoef(step, lead)[0, 1] > 0.95  # positions are targets, ahead of what is achieved
