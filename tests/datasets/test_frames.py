"""Single pictures are read in any order from their shards, verified, and damage is named."""

import numpy as np
import pytest

from robolearn.datasets.frames import FrameReader, LocalFiles
from robolearn.datasets.shards import index_bytes, pack, parse_index, sealed
from robolearn.datasets.store import DemoStore, StoreError
from robolearn.spec import ArraySpec, EnvSpec
from tests.datasets.episodes import SPEC, make_episode

CAMERA = EnvSpec("toy", {"camera": ArraySpec((8, 6, 3), "uint8")}, SPEC.action, 10.0)


@pytest.fixture
def store(tmp_path):
    with DemoStore.create(tmp_path / "demos.zarr", CAMERA) as store:
        for number in range(3):
            store.append(make_episode(number, spec=CAMERA, steps=50))
    return DemoStore.open(tmp_path / "demos.zarr")


@pytest.fixture
def pictures():
    return np.concatenate([make_episode(number, spec=CAMERA, steps=50).observations["camera"] for number in range(3)])


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_come_in_the_order_they_are_asked_for(store, pictures, threads):
    reader = FrameReader(store.step_arrays["camera"], store.source, threads=threads)
    rows = np.random.default_rng(0).integers(0, 150, 200)  # with repetitions, over three shards
    assert (reader.read(rows) == pictures[rows]).all()
    out = np.zeros((3, 8, 6, 3), np.uint8)
    assert reader.read([149, 0, 149], out) is out
    assert (out == pictures[[149, 0, 149]]).all()
    assert reader.read([]).shape == (0, 8, 6, 3)


def test_neighbouring_rows_are_one_read(store):
    class Counting(LocalFiles):
        reads = 0

        def read(self, key, offset, length):
            self.reads += 1
            return super().read(key, offset, length)

    source = Counting(store.path)
    reader = FrameReader(store.step_arrays["camera"], source)
    reader.read(np.arange(10, 40))
    assert source.reads == 2  # the index, then thirty frames
    reader.read(np.arange(20, 30))
    assert source.reads == 3  # the index is known


def test_files_beyond_the_bound_are_closed_and_opened_again(store, pictures):
    source = LocalFiles(store.path, open_files=1)
    reader = FrameReader(store.step_arrays["camera"], source)
    for row in (0, 70, 140, 1, 71, 141):
        assert (reader.read([row])[0] == pictures[row]).all()


def test_a_row_beyond_the_array_is_an_error(store):
    with pytest.raises(StoreError, match="data/camera has rows 0 to 149; 150 was asked for"):
        store.frames("camera").read([3, 150])


@pytest.mark.parametrize("place", ["frame", "index", "short", "missing"])
def test_damage_names_the_file(store, place):
    file = store.path / "data/camera/c/1/0/0/0"
    data = bytearray(file.read_bytes())
    if place == "missing":
        file.unlink()
    else:
        data[{"frame": 5, "index": -20, "short": 0}[place]] ^= 1
        file.write_bytes(bytes(data) if place != "short" else data[:100])
    reader = FrameReader(store.step_arrays["camera"], store.source, label="demos.zarr")
    assert reader.read([0, 63]).any()
    with pytest.raises(StoreError, match=r"demos.zarr: data/camera/c/1/0/0/0 is (damaged|missing)"):
        reader.read([64])


def test_an_index_that_leads_out_of_its_file_is_damage_whatever_its_checksum_says(store):
    file = store.path / "data/camera/c/0/0/0/0"
    index = np.full((64, 2), 2**63, "<u8")
    file.write_bytes(sealed(index.tobytes()))
    with pytest.raises(StoreError, match="is damaged"):
        store.frames("camera").read([0])


def test_frames_of_another_size_are_damage(store):
    file = store.path / "data/camera/c/0/0/0/0"
    index = parse_index(file.read_bytes()[-index_bytes(64) :])
    assert index is not None
    file.write_bytes(pack([sealed(b"no zstd")] * 64, 64))
    with pytest.raises(StoreError, match=r"c/0/0/0/0 is damaged \(row 0: "):
        store.frames("camera").read([0])


def test_a_shard_that_grows_while_it_is_read_is_read_again(store, pictures):
    reader = store.frames("camera")
    assert (reader.read([149])[0] == pictures[149]).all()
    with DemoStore.open(store.path, "a") as writer:
        writer.append(make_episode(3, spec=CAMERA, steps=10))
        assert (writer.array("camera", 150) == make_episode(3, spec=CAMERA, steps=10).observations["camera"]).all()
    assert (reader.read([149])[0] == pictures[149]).all()
    again = FrameReader(DemoStore.open(store.path).step_arrays["camera"], store.source)
    assert (again.read([155])[0] == make_episode(3, spec=CAMERA, steps=10).observations["camera"][5]).all()
