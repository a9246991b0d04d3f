"""Where zarr cannot be had, episodes become npz files: as safe as the store's, and a store later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robolearn.datasets.formats.recorded_npz import RecordedNpzReader
from robolearn.datasets.formats.registry import open_source
from robolearn.datasets.layout import StoreError
from robolearn.deploy.recording.npz import SPOOL, NpzRecorder
from robolearn.deploy.recording.recorder import Recorder
from robolearn.errors import UserError
from robolearn.spec import SpecError
from tests.deploy.recording.doubles import SPEC, assert_same, definition, episode, play, record


def fill(recorder: NpzRecorder, number: int, **ended: Any) -> int:
    made = episode(number)
    recorder.begin("teleop", seed=number)
    for step in range(len(made)):
        recorder.add({name: rows[step] for name, rows in made.observations.items()}, made.actions[step])
    return recorder.end(**{"success": True, **ended})


def test_episodes_are_imported_as_they_were_sent(tmp_path: Path) -> None:
    with Recorder(tmp_path, definition, SPEC, kind="npz", raw=False) as recorder:
        recorder.wait_ready()
        made = [record(recorder, 0)]
        recorder.begin()
        play(recorder, episode(5))
        recorder.discard()
        made.append(record(recorder, 1))
    assert [entry.index for entry in recorder.episodes] == [0, None, 1]
    folder = tmp_path / "episodes"
    assert sorted(file.name for file in folder.iterdir()) == [f"episode_00000{n}.{kind}" for n in (0, 1) for kind in ("json", "npz")]
    name, reader = open_source(folder)
    assert name == "recorded" and len(reader) == 2
    for read, expected in zip(reader, made, strict=True):
        assert_same(read, expected)
    assert [read.provenance["note"] for read in reader] == ["note 0", "note 1"]


def test_what_a_killed_recorder_left_is_removed_and_counting_goes_on(tmp_path: Path) -> None:
    first = NpzRecorder(tmp_path, SPEC)
    assert fill(first, 0) == 0
    first.begin()
    first.add({name: rows[0] for name, rows in episode(1).observations.items()}, np.zeros(2))
    (tmp_path / ".episode_000001.npz").write_bytes(b"torn")
    (tmp_path / "episode_000001.npz").write_bytes(b"written, but its .json was not")
    second = NpzRecorder(tmp_path, SPEC)
    assert not (tmp_path / SPOOL).exists()
    assert len(RecordedNpzReader(tmp_path)) == 1
    assert fill(second, 1) == 1
    assert [read.rewards[-1] for read in RecordedNpzReader(tmp_path)] == [1.0, 1.0]  # a success whose steps had no reward
    first.close()


def test_an_episode_that_the_disk_does_not_take_is_lost_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = NpzRecorder(tmp_path, SPEC)
    fill(recorder, 0)

    def full(self: NpzRecorder, stream: Any) -> None:
        stream.write(b"half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(NpzRecorder, "_write_arrays", full)
        fill(recorder, 1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["episode_000000.json", "episode_000000.npz"]
    assert fill(recorder, 2) == 1


def test_steps_that_do_not_fit_and_calls_out_of_turn_are_refused(tmp_path: Path) -> None:
    recorder = NpzRecorder(tmp_path, SPEC)
    seen = {name: rows[0] for name, rows in episode(1).observations.items()}
    with pytest.raises(UserError, match=r"call begin\(\) first"):
        recorder.add(seen, np.zeros(2))
    recorder.begin()
    with pytest.raises(UserError, match="no step to commit"):
        recorder.end(success=True)
    with pytest.raises(UserError, match="being recorded"):
        recorder.begin()
    for wrong, words in (
        ({"joints": np.zeros(6)}, r"shape \(6,\), expected float32 of shape \(7,\)"),
        ({"joints": np.full(7, np.inf)}, "NaN or infinity at step 0"),
        ({"wrist": np.zeros(3)}, "'observation/wrist' is not in the spec"),
        ({"front": np.zeros((8, 6, 3))}, "float64 of shape"),
    ):
        with pytest.raises(SpecError, match=words):
            recorder.add({**seen, **wrong}, np.zeros(2))
    with pytest.raises(SpecError, match="'observation/front' is missing"):
        recorder.add({"joints": seen["joints"]}, np.zeros(2))
    recorder.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [({"version": 2}, "expected 'robolearn-episode' 1"), ({"spec": {}}, "another spec|no env spec"), ({"terminated": None}, "")],
)
def test_damaged_episodes_are_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    recorder = NpzRecorder(tmp_path, SPEC)
    fill(recorder, 0)
    fill(recorder, 1)
    file = tmp_path / "episode_000001.json"
    document = json.loads(file.read_text()) | change
    if not words:
        del document["terminated"]
        words = "episode_000001.json is damaged"
    file.write_text(json.dumps(document))
    with pytest.raises(UserError, match=words):
        list(RecordedNpzReader(tmp_path))
    np.savez(tmp_path / "episode_000000.npz", action=np.zeros((12, 2), np.float32))
    file.unlink()
    with pytest.raises(StoreError, match=r"episode_000000.npz lacks reward, observation/joints"):
        list(RecordedNpzReader(tmp_path))
