"""Demonstrations: batches of windows a second beside a torch DataLoader, and what keeping and reading an episode costs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from robolearn.bench import data_pictures, data_state, recording
from robolearn.bench.figures import Figure, in_turns
from robolearn.bench.stand_ins import random_episode
from robolearn.bench.train import seconds_of
from robolearn.episode import Episode
from robolearn.nodes import find_target, instantiate
from robolearn.spec import EnvSpec

HORIZON = 16  # actions of a window


def figures(options: Mapping[str, Any]) -> Iterator[Figure]:
    """``robolearn bench data``: what appending and loading take, batches beside torch, robomimic and LeRobot, sizes, recording."""
    part, rounds = options["data"], int(options["rounds"])
    spec: EnvSpec = instantiate(options["task"]["env_spec"])
    rng = np.random.default_rng(0)
    episodes = [random_episode(spec, int(part["steps"]), rng) for _ in range(int(part["episodes"]))]
    store_type = find_target(options["store_type"])
    with tempfile.TemporaryDirectory() as folder:
        with store_type.create(Path(folder) / "store.zarr", spec) as store:
            store.extend(episodes[1:])
            yield _append(store, episodes[0], rounds, Path(folder))
        yield _load(part, Path(folder) / "store.zarr", rounds)
        yield _windows(part, Path(folder) / "store.zarr", rounds, int(options["train"]["batch_size"]))
    yield from data_state.figures(options)
    yield from data_pictures.figures(options)
    yield from recording.figures({**part["recording"], "store_type": options["store_type"]})


def _append(store: Any, episode: Episode, rounds: int, folder: Path) -> Figure:
    """An episode to disk, beside the same arrays grown in a bare zarr group: the difference is what crash safety costs."""
    arrays = {**episode.observations, "action": episode.actions, "reward": episode.rewards}
    group = zarr.open_group(folder / "bare.zarr", mode="w")
    grown: dict[str, Any] = {
        name: group.create_array(name, shape=(0, *values.shape[1:]), chunks=(1024, *values.shape[1:]), dtype=values.dtype)
        for name, values in arrays.items()
    }

    def grow() -> None:
        for name, values in arrays.items():
            grown[name].append(values)

    ours, theirs = in_turns(rounds, lambda: seconds_of(lambda: store.append(episode)), lambda: seconds_of(grow))
    alone = 1e3 * float(np.median(theirs))
    return Figure("data/append_episode", 1e3 * float(np.median(ours)), "ms", rounds, "zarr without commit, checksum or sync", alone)


def _load(part: Mapping[str, Any], path: Path, rounds: int) -> Figure:
    """A store on disk to windows in memory."""
    (seconds,) = in_turns(rounds, lambda: seconds_of(lambda: instantiate(part["windows"], stores=path, prediction_horizon=HORIZON)))
    return Figure("data/load_store", 1e3 * float(np.median(seconds)), "ms", rounds)


def _windows(part: Mapping[str, Any], path: Path, rounds: int, batch_size: int) -> Figure:
    """Shuffled batches as tensors, beside a DataLoader that cuts the same windows one by one from the same arrays."""
    data = instantiate(part["windows"], stores=path, prediction_horizon=HORIZON)
    sampler = instantiate(part["sampler"], dataset_len=len(data), batch_size=batch_size, seed=0)
    arrays = {name: data.array(name) for name in (*data.observation_keys, "action")}
    loader = _endless(DataLoader(_Windows(arrays, data.step_of, data.episode_ends[data.episode_of]), batch_size, shuffle=True))
    count = int(part["batches"])

    def ours() -> list[float]:
        return [seconds_of(lambda: data.batch(next(sampler)).torch()) for _ in range(count)]

    def theirs() -> list[float]:
        return [seconds_of(lambda: next(loader)) for _ in range(count)]

    in_turns(1, ours, theirs)
    mine, its = (1 / float(np.median(seconds)) for seconds in in_turns(rounds, ours, theirs))
    return Figure("data/window_batches", mine, "batches/s", rounds * count, "torch DataLoader", its)


class _Windows(Dataset[dict[str, torch.Tensor]]):
    """Windows as most training code cuts them: one item at a time."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], steps: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self.arrays = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self.steps, self.ends = steps.tolist(), ends.tolist()

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        step, end = self.steps[index], self.ends[index]
        future = torch.arange(step, step + HORIZON)
        item = {name: array[step : step + 1] for name, array in self.arrays.items() if name != "action"}
        return {**item, "action": self.arrays["action"][future.clamp(max=end - 1)], "is_pad": future >= end}


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader
