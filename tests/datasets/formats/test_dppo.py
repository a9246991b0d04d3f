"""DPPO's npz: read without pickle, its numbers as they are."""

import numpy as np
import pytest

from robolearn.datasets.formats.dppo import DppoReader
from robolearn.datasets.formats.registry import recognise
from robolearn.datasets.layout import StoreError

LENGTHS = np.array([4, 6])


def arrays(**changes):
    rng = np.random.default_rng(0)
    found = {
        "states": rng.uniform(-1, 1, (10, 5)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (10, 3)).astype(np.float32),
        "rewards": np.arange(10.0),
        "terminals": np.array([0, 0, 0, 1, 0, 0, 0, 0, 0, 0], bool),
        "images": rng.integers(0, 256, (10, 3, 6, 8), dtype=np.uint8),
        "traj_lengths": LENGTHS,
    }
    return {name: values for name, values in (found | changes).items() if values is not None}


def saved(tmp_path, allow_pickle=True, **changes):
    folder = tmp_path / "hopper"
    folder.mkdir(exist_ok=True)
    np.savez(folder / "train.npz", **arrays(**changes))
    return folder / "train.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_trajectories_come_in_with_their_numbers(tmp_path, save):
    source = saved(tmp_path)
    save(source, **arrays())
    np.savez(source.with_name("normalization.npz"), obs_min=np.zeros(5), obs_max=np.ones(5), action_min=-np.ones(3), action_max=np.ones(3))
    assert recognise(source) == "dppo"
    reader = DppoReader(source, control_hz=50)
    first, second = reader
    assert (len(reader), len(first), len(second)) == (2, 4, 6)
    np.testing.assert_array_equal(second.observations["states"], arrays()["states"][4:])
    np.testing.assert_array_equal(second.observations["images"], arrays()["images"][4:].transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(first.actions, arrays()["actions"][:4])
    assert second.rewards.tolist() == [4, 5, 6, 7, 8, 9]
    assert (first.terminated, second.terminated) == (True, False)
    assert (reader.env_spec.task, reader.env_spec.control_hz) == ("hopper", 50.0)
    assert reader.attrs["dppo"]["obs_max"] == [1.0] * 5


def test_only_states_and_actions_are_needed(tmp_path):
    (first, _) = DppoReader(saved(tmp_path, rewards=None, terminals=None, images=None))
    assert set(first.observations) == {"states"}
    assert first.provenance["reward"] == "the source has none: 0"


@pytest.mark.parametrize("name", ["states", "rewards", "traj_lengths"])
def test_pickles_are_refused_with_the_way_out(tmp_path, name):
    with pytest.raises(StoreError, match=f"{name} is stored as Python pickles.*np.stack"):
        DppoReader(saved(tmp_path, **{name: np.array([{}, 1], object)}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"traj_lengths": np.array([4, 5])}, r"states is float32 \(10, 5\), the trajectories end at step 9"),
        ({"traj_lengths": np.array([10, 0])}, "expected a positive length"),
        ({"traj_lengths": np.array([2.5, 7.5])}, "expected a positive length"),
        ({"traj_lengths": np.array([2**63, 10], np.uint64)}, "expected a positive length"),
        ({"traj_lengths": np.zeros(0, int)}, "expected a positive length"),
        ({"actions": None}, "lacks actions; it has states, traj_lengths"),
        ({"actions": np.zeros((10, 0))}, "actions is float64 .10, 0."),
        ({"images": np.zeros((10, 6, 8))}, "images is float64"),
        ({"states": np.full((10, 5), np.nan)}, "episode 0: observation 'states' holds NaN"),
        ({"states": np.zeros((10, 5), complex)}, "states is complex128"),
        ({"rewards": np.zeros((10, 2))}, r"rewards is float64 \(10, 2\)"),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path, changes, message):
    with pytest.raises(StoreError, match=message):
        list(DppoReader(saved(tmp_path, **changes)))


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path):
    source = saved(tmp_path)
    content = source.read_bytes().replace(b"(10, 5)", b"(99, 5)")
    source.write_bytes(content)
    with pytest.raises(StoreError, match="states"):
        DppoReader(source)


def test_a_npy_header_is_held_against_its_bytes():
    from pathlib import Path

    from robolearn.datasets.formats.dppo import _array

    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    data = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(16)
    with pytest.raises(StoreError, match=r"x cannot be read: its header claims \(1000000000000,\) of float32, its data have 16 bytes"):
        _array(Path("a.npz"), "x", data)
