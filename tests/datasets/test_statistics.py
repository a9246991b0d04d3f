"""The normaliser spans the demonstrations, and channels that hardly moved are not blown up."""

from dataclasses import replace

import numpy as np
import pytest
import zarr

from robolearn.datasets.layout import StoreError
from robolearn.datasets.statistics import fit_normalizer
from robolearn.datasets.store import DemoStore
from robolearn.datasets.windows import WindowDataset
from robolearn.episode import Episode
from tests.datasets.episodes import SPEC, make_episode


@pytest.fixture
def store(tmp_path):
    with DemoStore.create(tmp_path / "demos.zarr", SPEC) as store:
        store.extend([make_episode(number) for number in range(4)])
    return DemoStore.open(tmp_path / "demos.zarr")


def test_the_range_of_the_data_maps_to_one(store):
    normalizer = fit_normalizer(store)
    for name in ("joints", "action"):
        mapped = normalizer.forward(name, store.array(name))
        np.testing.assert_allclose([mapped.min(0), mapped.max(0)], [[-1] * mapped.shape[1], [1] * mapped.shape[1]], atol=1e-6)
        np.testing.assert_allclose(normalizer.inverse(name, mapped), store.array(name), atol=1e-6)


def test_a_channel_that_moved_less_than_5_mm_is_not_blown_up(tmp_path):
    joints = np.zeros((10, 3), np.float32)
    joints[:, 0] = np.linspace(0.0, 0.0098, 10)  # half-range 4.9 mm
    joints[:, 1] = np.linspace(0.0, 0.0102, 10)  # half-range 5.1 mm
    with DemoStore.create(tmp_path / "still.zarr", SPEC) as store:
        store.append(Episode({"joints": joints}, np.zeros((10, 2), np.float32), np.zeros(10, np.float32), True, False, True))
        np.testing.assert_allclose(fit_normalizer(store)["joints"].scale, [0.5, 0.0051, 0.5], rtol=1e-5)


def test_quantiles_ignore_outliers(tmp_path):
    episode = make_episode(0, steps=1000)
    episode.actions[0] = 1.0
    episode.observations["joints"][:] = np.random.default_rng(0).uniform(-1, 1, (1000, 3))
    episode.observations["joints"][5] = 500.0
    with DemoStore.create(tmp_path / "demos.zarr", SPEC) as store:
        store.append(episode)
        assert (fit_normalizer(store, method="minmax")["joints"].scale > 100).all()
        assert (fit_normalizer(store, method="quantile")["joints"].scale < 1.1).all()
        with pytest.raises(ValueError, match="no normaliser method"):
            fit_normalizer(store, method="meanstd")


def test_a_data_set_is_normalised_by_its_own_episodes_and_keys(store):
    dataset = WindowDataset(store, episodes=[1, 2])
    mine, same = fit_normalizer(dataset), fit_normalizer(store, episodes=[1, 2])
    assert mine.to_dict() == same.to_dict()
    assert mine.to_dict() != fit_normalizer(store).to_dict()
    assert set(fit_normalizer(store, ["joints"]).parts) == {"joints", "action"}


def test_an_empty_store_has_no_normaliser(tmp_path):
    with DemoStore.create(tmp_path / "empty.zarr", SPEC) as store, pytest.raises(StoreError, match="no episodes"):
        fit_normalizer(store)


def test_nan_is_an_error_that_names_its_array(store):
    zarr.open_group(store.path, mode="r+")["data/joints"][5] = np.nan
    with pytest.raises(StoreError, match="joints holds NaN or infinity"):
        fit_normalizer(DemoStore.open(store.path))


def test_a_source_that_is_left_out_does_not_set_the_range(tmp_path):
    near, far = make_episode(0), make_episode(1)
    far = replace(far, actions=10 * far.actions, provenance={**far.provenance, "source": "augmentation"})
    with DemoStore.create(tmp_path / "demos.zarr", SPEC) as store:
        store.extend([near, far])
    alone = fit_normalizer(tmp_path / "demos.zarr", episodes=[0]).to_dict()
    assert fit_normalizer(tmp_path / "demos.zarr", leave_out=["augmentation"]).to_dict() == alone
    assert fit_normalizer(tmp_path / "demos.zarr").to_dict() != alone
    with pytest.raises(StoreError, match="leaves out all"):
        fit_normalizer(tmp_path / "demos.zarr", episodes=[1], leave_out=["augmentation"])
    with pytest.raises(StoreError, match="windows have their episodes already"):
        fit_normalizer(WindowDataset(tmp_path / "demos.zarr"), leave_out=["augmentation"])
