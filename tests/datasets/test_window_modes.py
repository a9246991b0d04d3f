"""Wherever the rows of windows are, batches are the same to the bit, and memory stays within the bound that was given."""

import threading
import tracemalloc

import numpy as np
import pytest

from robolearn.datasets import windows
from robolearn.datasets.flat_files import cache_folder
from robolearn.datasets.layout import StoreError
from robolearn.datasets.rows import RowCache
from robolearn.datasets.sampler import WindowSampler
from robolearn.datasets.store import DemoStore
from robolearn.datasets.windows import WindowDataset
from robolearn.errors import UserError
from robolearn.spec import ActionSpec, ArraySpec, EnvSpec
from tests.datasets.episodes import make_episode

ACTION = ActionSpec(("x", "y"), (-1.0, -1.0), (1.0, 1.0))
SEEING = EnvSpec("seeing", {"joints": ArraySpec((3,)), "camera": ArraySpec((6, 5, 3), "uint8")}, ACTION, 10.0)
WIDE = EnvSpec("wide", {"state": ArraySpec((2048,))}, ACTION, 10.0)
MODES = ("auto", "ram", "mmap", "stream")
SHAPES = {"observation_horizon": 2, "prediction_horizon": 5}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modes")
    for number, name in enumerate("ab"):
        with DemoStore.create(folder / f"{name}.zarr", SEEING) as store:
            store.extend([make_episode(10 * number + index, spec=SEEING) for index in range(6)])
    return [folder / "a.zarr", folder / "b.zarr"]


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """8 MiB of state in chunks of 256 KiB."""
    path = tmp_path_factory.mktemp("wide") / "wide.zarr"
    with DemoStore.create(path, WIDE) as store:
        store.extend([make_episode(index, spec=WIDE, steps=128) for index in range(8)])
    return path


def assert_same(got, expected):
    for name in expected.observations:
        assert got.observations[name].dtype == expected.observations[name].dtype
        assert got.observations[name].tobytes() == expected.observations[name].tobytes()
    assert got.actions.tobytes() == expected.actions.tobytes()
    np.testing.assert_array_equal(got.is_pad, expected.is_pad)


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("episodes", [None, [7, 2, 11]])
def test_every_mode_gives_the_same_batches_to_the_bit(stores, mode, episodes, tmp_path):
    expected = WindowDataset(stores, episodes=episodes, **SHAPES)
    data = WindowDataset(stores, episodes=episodes, mode=mode, cache_dir=tmp_path, **SHAPES)
    assert len(data) == len(expected)
    sampler = WindowSampler(len(data), 8, seed=1)
    data.follow(sampler)
    for _ in range(12):
        indices = next(sampler)
        assert_same(data.batch(indices), expected.batch(indices))
    for name in ("joints", "camera", "action"):
        np.testing.assert_array_equal(data.array(name), expected.array(name))
    whole = np.concatenate([DemoStore.open(path).array("camera") for path in stores])
    assert episodes is not None or (data.array("camera") == whole).all()


def test_a_prefetched_batch_is_the_one_asked_for_even_where_another_was_expected(stores):
    data, sampler = WindowDataset(stores, mode="stream", **SHAPES), WindowSampler(60, 8, seed=1)
    data.follow(sampler)
    first = next(sampler)
    data.batch(first)
    assert_same(data.batch(np.arange(3)), WindowDataset(stores, **SHAPES).batch(np.arange(3)))
    assert any(thread.name.startswith("windows") for thread in threading.enumerate())


def test_only_frames_that_a_batch_needs_are_decoded(stores):
    data = WindowDataset(stores, observation_keys=["camera"], prediction_horizon=2)
    data.batch([0, 0, 5])
    assert data.cache.decoded == 2
    data.batch([5, 0])
    assert data.cache.decoded == 2


def test_streaming_an_epoch_over_a_store_four_times_the_cache_stays_within_it(wide):
    bound, batch_size = 2 << 20, 16
    WindowDataset(wide, mode="stream", prediction_horizon=2).batch([0])  # what is imported and made once
    tracemalloc.start()
    try:
        data = WindowDataset(wide, mode="stream", prediction_horizon=2, cache_bytes=bound)
        sampler = WindowSampler(len(data), batch_size, seed=0)
        overhead, _ = tracemalloc.get_traced_memory()
        for _ in range(len(data) // batch_size):
            data.batch(next(sampler))
        _, peak = tracemalloc.get_traced_memory()
        batch_bytes = batch_size * (2048 + 2 * 2) * 4
        chunk = 256 << 10
        assert peak - overhead < bound + 2 * batch_bytes + 3 * chunk  # zarr holds the chunk it decodes, encoded and decoded
        assert bound // 2 < data.cache.peak <= bound
        assert data.cache.decoded > 8 * 128 * 2048 * 4 / chunk  # it had to drop some
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        held = WindowDataset(wide, mode="ram", prediction_horizon=2)
        assert tracemalloc.get_traced_memory()[1] - before > bound + 2 * batch_bytes + 3 * chunk  # the bound means something
        assert len(held) == len(data)
    finally:
        tracemalloc.stop()


def test_a_chunk_is_decoded_once_a_batch_even_where_the_cache_holds_just_one(wide):
    data = WindowDataset(wide, observation_keys=["state"], mode="stream", prediction_horizon=1, cache_bytes=256 << 10)
    rows = np.random.default_rng(0).permutation(1024)[:64]
    data._elsewhere["state"].take(rows)
    assert data.cache.decoded == len(np.unique(rows // 32))
    with pytest.raises(StoreError, match="more than cache_bytes=262,143; give a larger"):
        WindowDataset(wide, mode="stream", cache_bytes=(256 << 10) - 1)


def test_blocks_used_longest_ago_are_dropped_first():
    cache = RowCache(40)
    for key in "abcd":
        cache.put((key,), np.zeros(10, np.int8))
    assert cache.get(("a",)) is not None
    cache.put(("e",), np.zeros(10, np.int8))
    assert cache.get(("b",)) is None
    assert all(cache.get((key,)) is not None for key in "acde")
    assert (cache.bytes, cache.peak) == (40, 40)


def test_flat_files_are_made_once_and_again_only_for_other_content(stores, tmp_path):
    options = {"mode": "mmap", "cache_dir": tmp_path, **SHAPES}
    WindowDataset(stores[0], **options)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npy")}
    assert sorted(file.name for file in files) == ["action.npy", "camera.npy", "joints.npy"]
    WindowDataset(stores[0], episodes=[1], **options)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()} == files  # nor is anything left beside
    WindowDataset(stores[1], **options)
    assert len(list(tmp_path.rglob("*.npy"))) == 6


def test_a_torn_flat_file_is_made_anew(stores, tmp_path):
    options = {"mode": "mmap", "cache_dir": tmp_path, **SHAPES}
    expected = WindowDataset(stores[0], **options).batch([3, 4])
    path = cache_folder(DemoStore.open(stores[0]), tmp_path) / "camera.npy"
    path.write_bytes(path.read_bytes()[:-7])
    assert_same(WindowDataset(stores[0], **options).batch([3, 4]), expected)


def test_flat_files_lie_beside_the_store_and_a_place_that_cannot_be_written_is_named(stores, tmp_path):
    WindowDataset(stores[0], mode="mmap", **SHAPES)
    assert list(stores[0].parent.glob(".a.zarr.flat/*/joints.npy"))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot keep joints decoded at .*cache_dir=.*mode=stream"):
        WindowDataset(stores[0], mode="mmap", cache_dir=tmp_path / "file", **SHAPES)


def test_flat_files_of_a_store_elsewhere_need_a_place(stores, monkeypatch, tmp_path):
    store = DemoStore.open(stores[0])
    monkeypatch.setattr(store, "path", "s3://bucket/a.zarr")
    with pytest.raises(StoreError, match="cache_dir=DIRECTORY"):
        cache_folder(store)
    assert cache_folder(store, tmp_path).parent == tmp_path


def test_what_does_not_fit_the_memory_is_refused_naming_the_other_modes(stores, monkeypatch):
    monkeypatch.setattr(windows, "available_memory", lambda: 5000)
    with pytest.raises(UserError, match=r"camera, action of 12 episodes take .* memory are free; data.mode=mmap .* data.mode=stream"):
        WindowDataset(stores, mode="ram", **SHAPES)
    WindowDataset(stores, mode="auto", **SHAPES)  # its state is small
    monkeypatch.setattr(windows, "available_memory", lambda: 100)
    with pytest.raises(UserError, match="joints, action of 12"):
        WindowDataset(stores, mode="auto", **SHAPES)


def test_an_unknown_mode_names_the_nearest(stores):
    with pytest.raises(UserError, match="did you mean 'stream'"):
        WindowDataset(stores, mode="streem")
    with pytest.raises(UserError, match="cache_bytes must be at least 1"):
        WindowDataset(stores, cache_bytes=0)


def test_labels_say_source_outcome_task_and_store(stores):
    data = WindowDataset(stores, episodes=[0, 11], **SHAPES)
    assert data.labels["store"].tolist() == ["a.zarr", "b.zarr"]
    assert data.labels["task"].tolist() == ["seeing", "seeing"]
    assert set(data.labels) == {"source", "outcome", "task", "store"}
