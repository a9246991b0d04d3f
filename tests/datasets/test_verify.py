"""`check` finds any damage and names the episode."""

import dataclasses

import numpy as np
import pytest
import zarr

from robolearn.datasets.store import DemoStore, StoreError
from robolearn.episode import Episode
from tests.datasets.episodes import SPEC, make_episode

LENGTHS = [1000, 1000, 10, 1100]  # three files of 1024 steps: episodes 0-1, 1-3, 3


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "demos.zarr"
    with DemoStore.create(path, SPEC) as store:
        store.extend([make_episode(number, steps=steps) for number, steps in enumerate(LENGTHS)])
    return path


def flip_bit(file, position):
    content = bytearray(file.read_bytes())
    content[position % len(content)] ^= 0x10
    file.write_bytes(content)


def test_a_whole_store_has_no_problems(path):
    assert DemoStore.open(path).check() == []


@pytest.mark.parametrize("array", ["joints", "action", "reward"])
@pytest.mark.parametrize("position", [0, 17, 500, -1])
def test_a_flipped_bit_is_found_and_its_episodes_named(path, array, position):
    flip_bit(chunk(path, array, 1), position)
    (problem,) = DemoStore.open(path).check()
    assert f"data/{array}/c/1" in problem
    assert problem.endswith("episodes 1-3")
    assert DemoStore.open(path).episode(0) is not None  # what is whole stays readable
    with pytest.raises(StoreError, match=f"data/{array} is damaged"):
        DemoStore.open(path).episode(2)


def chunk(path, array, number):
    (file,) = [file for file in (path / "data" / array / "c" / str(number)).rglob("*") if file.is_file()] or [
        path / "data" / array / "c" / str(number)
    ]
    return file


def test_a_lost_file_is_found_and_not_read_as_zeros(path):
    chunk(path, "action", 2).unlink()
    (problem,) = DemoStore.open(path).check()
    assert "is missing: episodes 3" in problem
    with pytest.raises(StoreError, match="lacks the file"):
        DemoStore.open(path).array("action")


def test_numbers_changed_behind_the_checksums_fail_the_digest(path):
    zarr.open_array(path / "data" / "action", mode="r+")[1005, 0] = 0.123  # step 5 of episode 1, with a fresh checksum
    (problem,) = DemoStore.open(path).check()
    assert problem.startswith("episode 1: its content is not what was written")
    with pytest.raises(StoreError, match="episode 1 is not what was written"):
        DemoStore.open(path).episode(1)


def test_nan_is_found_and_its_step_named(path):
    zarr.open_array(path / "data" / "joints", mode="r+")[2003, 1] = np.nan
    problems = DemoStore.open(path).check()
    assert any(line.startswith("episode 2: joints holds NaN or infinity at 1 steps, first at step 3") for line in problems)
    assert not any(line.startswith(("episode 0", "episode 1", "episode 3")) for line in problems)


def test_simulator_states_that_some_episodes_lack_are_no_problem(path):
    with DemoStore.open(path, "a") as store:
        store.extend([make_episode(7, state_size=3), make_episode(8)])
    assert DemoStore.open(path).check() == []
    zarr.open_array(path / "data" / "sim_state", mode="r+")[3111, 1] = np.nan  # the second step of episode 4, which has states
    problems = DemoStore.open(path).check()
    assert any(line.startswith("episode 4: sim_state holds NaN or infinity at 1 steps, first at step 1") for line in problems)


def test_a_damaged_column_is_found(path):
    flip_bit(path / "episodes" / "provenance" / "c" / "0", 30)
    assert any("episodes/provenance is damaged" in line for line in DemoStore.open(path).check())


@pytest.mark.parametrize("position", [0, 5, -1])
def test_a_damaged_list_of_episodes_is_one_clear_error(path, position):
    flip_bit(path / "episodes" / "end" / "c" / "0", position)
    with pytest.raises(StoreError, match="restore it from a copy"):
        DemoStore.open(path)


@pytest.mark.parametrize("file", ["zarr.json", "data/action/zarr.json", "episodes/end/zarr.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_damaged_metadata_is_one_clear_error(path, file, content):
    (path / file).write_bytes(content)
    with pytest.raises(StoreError):
        DemoStore.open(path)


def test_states_of_a_shape_that_no_episode_may_have_any_more_are_checked_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(Episode, "check", lambda episode, spec: None)
    with DemoStore.create(tmp_path / "flat.zarr", SPEC) as store:
        store.append(dataclasses.replace(make_episode(0, steps=5), sim_state=np.arange(5.0)))
        assert store.check() == []
