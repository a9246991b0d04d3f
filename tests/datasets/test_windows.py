"""Windows agree with cutting them one by one, and the sampler's stream is the same however it is shared or interrupted."""

from dataclasses import replace

import numpy as np
import pytest

from robolearn.datasets.layout import StoreError
from robolearn.datasets.sampler import WindowSampler
from robolearn.datasets.store import DemoStore
from robolearn.datasets.windows import WindowDataset, split_episodes
from robolearn.errors import UserError
from robolearn.spec import ActionSpec, EnvSpec
from tests.datasets.episodes import SPEC, make_episode

LENGTHS = [1, 7, 3, 20, 2, 11]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("windows") / "demos.zarr"
    with DemoStore.create(path, SPEC) as store:
        store.extend([make_episode(number, steps=steps) for number, steps in enumerate(LENGTHS)])
    return DemoStore.open(path)


def cut_one_by_one(episodes, history, future, pad_before, pad_after):
    """Every window by plain loops: the definition."""
    windows = []
    for episode in episodes:
        length = len(episode)
        for t in range(length):
            past, coming = range(t - history + 1, t + 1), range(t, t + future)
            if (not pad_before and past[0] < 0) or (not pad_after and coming[-1] >= length):
                continue
            joints = [episode.observations["joints"][max(step, 0)] for step in past]
            actions = [episode.actions[min(step, length - 1)] for step in coming]
            windows.append((joints, actions, [step >= length for step in coming]))
    return windows


@pytest.mark.parametrize("history", [1, 2, 5])
@pytest.mark.parametrize("future", [1, 4, 9])
@pytest.mark.parametrize("pad_before", [True, False])
@pytest.mark.parametrize("pad_after", [True, False])
@pytest.mark.parametrize("chosen", [None, [3, 1], [0, 1, 2]])
def test_windows_are_what_the_definition_says(store, history, future, pad_before, pad_after, chosen):
    episodes = [store.episode(index) for index in (range(len(LENGTHS)) if chosen is None else chosen)]
    expected = cut_one_by_one(episodes, history, future, pad_before, pad_after)
    options = {"observation_horizon": history, "prediction_horizon": future, "pad_before": pad_before, "pad_after": pad_after}
    if not expected:
        with pytest.raises(UserError, match="no window"):
            WindowDataset(store, episodes=chosen, **options)
        return
    dataset = WindowDataset(store, episodes=chosen, **options)
    assert len(dataset) == len(expected)
    order = np.random.default_rng(0).permutation(len(expected))
    batch = dataset.batch(order)
    np.testing.assert_array_equal(batch.observations["joints"], np.array([expected[index][0] for index in order]))
    np.testing.assert_array_equal(batch.actions, np.array([expected[index][1] for index in order]))
    np.testing.assert_array_equal(batch.is_pad, np.array([expected[index][2] for index in order]))
    assert batch.observations["joints"].shape == (len(order), history, 3)
    assert batch.actions.dtype == np.float32


def test_several_stores_are_one_after_the_other(store, tmp_path):
    with DemoStore.create(tmp_path / "more.zarr", SPEC) as more:
        more.append(make_episode(50, steps=5))
    both = WindowDataset([store, tmp_path / "more.zarr"], prediction_horizon=2)
    assert len(both) == sum(LENGTHS) + 5
    last = both.batch([len(both) - 5])
    np.testing.assert_array_equal(last.actions[0], make_episode(50, steps=5).actions[:2])
    only = WindowDataset([store, tmp_path / "more.zarr"], prediction_horizon=2, episodes=[len(LENGTHS)])
    np.testing.assert_array_equal(only.array("action"), make_episode(50, steps=5).actions)


def test_stores_of_different_tasks_do_not_mix(store, tmp_path):
    other = EnvSpec("other", SPEC.observation, ActionSpec(("x",), (-1.0,), (1.0,)), 10.0)
    with DemoStore.create(tmp_path / "other.zarr", other):
        pass
    with pytest.raises(StoreError, match="does not go with"):
        WindowDataset([store, tmp_path / "other.zarr"])


def test_an_unknown_key_names_the_nearest(store):
    with pytest.raises(StoreError, match="did you mean 'joints'"):
        WindowDataset(store, observation_keys=["joint"])


def test_a_split_is_of_episodes_whole_and_reproducible():
    train, held_out = split_episodes(50, 0.1, np.random.default_rng(3))
    assert len(held_out) == 5
    assert sorted([*train, *held_out]) == list(range(50))
    np.testing.assert_array_equal(held_out, split_episodes(50, 0.1, np.random.default_rng(3))[1])
    assert len(split_episodes(3, 0.01, np.random.default_rng(0))[1]) == 1
    assert len(split_episodes(3, 0.0, np.random.default_rng(0))[1]) == 0
    with pytest.raises(UserError, match="cannot be split"):
        split_episodes(1, 0.5, np.random.default_rng(0))


def test_every_window_is_seen_once_an_epoch_in_another_order_each_time():
    sampler = WindowSampler(30, 10, seed=1)
    epochs = [np.concatenate([next(sampler) for _ in range(3)]) for _ in range(2)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(30))
    assert (epochs[0] != epochs[1]).any()
    assert sampler.epoch == 2.0


@pytest.mark.parametrize(("windows", "batch"), [(30, 7), (5, 16)])
def test_batches_are_full_and_run_on_across_epochs(windows, batch):
    sampler = WindowSampler(windows, batch, seed=0)
    stream = np.concatenate([next(sampler) for _ in range(3 * windows)])
    assert len(stream) == 3 * windows * batch
    counts = np.bincount(stream[: windows * (len(stream) // windows)], minlength=windows)
    assert counts.min() == counts.max()


def test_the_ranks_of_a_parallel_run_share_one_stream():
    alone = WindowSampler(23, 8, seed=5)
    ranks = [WindowSampler(23, 8, seed=5, rank=rank, world_size=2) for rank in range(2)]
    for _ in range(10):
        np.testing.assert_array_equal(next(alone), np.concatenate([next(rank) for rank in ranks]))
    assert ranks[0].state_dict() == ranks[1].state_dict() == alone.state_dict()
    with pytest.raises(UserError, match="does not divide"):
        WindowSampler(23, 9, seed=5, world_size=2)


@pytest.mark.parametrize("steps", [0, 3, 11])
def test_a_resumed_sampler_goes_on_to_the_index(steps):
    whole = WindowSampler(23, 8, seed=5)
    for _ in range(steps):
        next(whole)
    resumed = WindowSampler(23, 8, seed=5)
    resumed.load_state_dict(whole.state_dict())
    for _ in range(9):
        np.testing.assert_array_equal(next(whole), next(resumed))


def test_a_sampler_of_other_data_is_not_resumed():
    with pytest.raises(UserError, match="dataset_len was 23 and is 24"):
        WindowSampler(24, 8, seed=5).load_state_dict(WindowSampler(23, 8, seed=5).state_dict())


def test_snippets_do_not_teach_to_stop(tmp_path):
    path = tmp_path / "mixed.zarr"
    with DemoStore.create(path, SPEC) as store:
        whole = make_episode(0, steps=8)
        store.append(whole)
        store.append(replace(whole, provenance={"source": "augmentation"}))
    padded = [WindowDataset(path, prediction_horizon=4), WindowDataset(path, prediction_horizon=4, pad_after=True)]
    assert [len(data) for data in padded] == [8 + 5, 8 + 8]
    assert len(WindowDataset(path, prediction_horizon=4, pad_after={"rollout": False})) == 8 + 5
    windows = padded[0].batch(np.arange(13))
    assert windows.is_pad[:8].any() and not windows.is_pad[8:].any()


def test_padding_is_switched_by_source_and_a_source_that_there_is_not_is_an_error(tmp_path):
    with DemoStore.create(tmp_path / "mixed.zarr", SPEC) as store:
        for source in ("expert", "teleop"):
            store.append(replace(make_episode(0, steps=8), provenance={"source": source}))
    options = {"observation_horizon": 3, "prediction_horizon": 4}
    data = WindowDataset(tmp_path / "mixed.zarr", pad_before={"expert": False}, pad_after={"teleop": False, "rollout": False}, **options)
    assert np.bincount(data.episode_of).tolist() == [8 - 2, 8 - 3]
    for pad in ("pad_before", "pad_after"):
        with pytest.raises(UserError, match=f"{pad} names the source 'experts'.*did you mean 'expert'"):
            WindowDataset(tmp_path / "mixed.zarr", **{pad: {"experts": False}})
    with pytest.raises(UserError, match="true or false"):
        WindowDataset(tmp_path / "mixed.zarr", pad_after={"expert": 1})
