"""Windows cut from episodes: observation histories and action chunks, gathered for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.batch import WindowBatch
from robolearn.datasets.layout import ACTION, StoreError
from robolearn.datasets.store import DemoStore
from robolearn.errors import UserError
from robolearn.normalize import ACTION as NORMALIZER_ACTION
from robolearn.spec import SpecError

assert ACTION == NORMALIZER_ACTION  # one word for the action, in stores and normalisers

Stores = DemoStore | str | Path | Sequence[DemoStore | str | Path]


class WindowDataset:
    """Every window of the chosen episodes, held in memory.

    Window i stands at one step t of one episode: observations of steps ``t-To+1 .. t``, actions ``t .. t+Tp-1``. It never
    leaves its episode: before the first step the first observation is repeated, after the last the last action is, with
    ``is_pad`` true there.

    Args:
        stores: a store, its path, or several of the same spec.
        observation_keys: which observations; all of the spec's unless given.
        observation_horizon: To, steps of history (1: only the present).
        prediction_horizon: Tp, steps of action.
        pad_before: keep windows whose history starts before the episode.
        pad_after: keep windows whose actions end after the episode.
        open_ended: sources whose episodes are snippets, which must not teach to stop: no window of theirs ends after the episode.
        episodes: which episodes, counted over all stores in order; all unless given. Splits are of episodes, never of windows.

    Raises:
        StoreError: a store cannot be read, holds no such array, or the stores' specs differ.
        UserError: a horizon is below 1, or no window is left.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        observation_keys: Sequence[str] | None = None,
        observation_horizon: int = 1,
        prediction_horizon: int = 16,
        pad_before: bool = True,
        pad_after: bool = True,
        open_ended: Sequence[str] = ("augmentation",),
        episodes: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> None:
        opened = open_stores(stores)
        if observation_horizon < 1 or prediction_horizon < 1:
            raise UserError(f"horizons are at least 1, got observation {observation_horizon}, prediction {prediction_horizon}")
        self.env_spec = opened[0].env_spec
        self.observation_keys = tuple(observation_keys if observation_keys is not None else self.env_spec.observation)
        self.observation_horizon, self.prediction_horizon = observation_horizon, prediction_horizon
        self.fingerprints = [store.fingerprint() for store in opened]
        chosen = _choose(sum(store.num_episodes for store in opened), episodes)
        self._arrays = load_arrays(opened, (*self.observation_keys, ACTION), chosen)
        lengths = np.concatenate([store.lengths for store in opened])[chosen]
        self.episode_ends = np.cumsum(lengths)  # (E,)
        self.episode_starts = self.episode_ends - lengths  # (E,)
        first = np.zeros_like(lengths) if pad_before else np.minimum(observation_horizon - 1, lengths)
        sources = np.concatenate([store.column("source").astype(str) for store in opened])[chosen]
        stops = ~np.isin(sources, list(open_ended)) & pad_after
        last = np.where(stops, lengths, np.maximum(lengths - prediction_horizon + 1, 0))
        counts = np.maximum(last - first, 0)  # windows of each episode
        if counts.sum() == 0:
            longest = lengths.max(initial=0)
            raise UserError(f"no window of {observation_horizon} + {prediction_horizon} steps fits; the longest episode has {longest}")
        self.episode_of = np.repeat(np.arange(len(lengths)), counts)  # (n,) episode of each window
        self.source_of = sources[self.episode_of]  # (n,) who acted in it: expert, rollout, augmentation, ...
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        self.step_of = within + np.repeat(self.episode_starts + first, counts)  # (n,) where each window stands, in array rows

    def __len__(self) -> int:
        return len(self.step_of)

    def array(self, name: str) -> NDArray[Any]:
        """All steps of the chosen episodes, ``(T, ...)``: an observation of ``observation_keys``, or ``action``."""
        return self._arrays[name]

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> WindowBatch:
        """Windows ``indices (B,)``: one gather an array, no Python per row."""
        indices = np.asarray(indices, np.int64)
        step, episode = self.step_of[indices][:, None], self.episode_of[indices]  # (B, 1), (B,)
        start, end = self.episode_starts[episode][:, None], self.episode_ends[episode][:, None]  # (B, 1)
        past = np.maximum(step + np.arange(1 - self.observation_horizon, 1), start)  # (B, To)
        future = step + np.arange(self.prediction_horizon)  # (B, Tp)
        is_pad = future >= end
        observations = {name: self._arrays[name].take(past, axis=0) for name in self.observation_keys}
        return WindowBatch(observations, self._arrays[ACTION].take(np.minimum(future, end - 1), axis=0), is_pad)


def split_episodes(num: int, fraction: float, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split ``num`` episodes into (training, held out), both sorted; ``fraction`` is held out.

    At least one is held out when ``fraction`` > 0, and at least one is always left for training.

    Raises:
        UserError: the fraction is not in [0, 1), or one episode cannot be split.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"a held-out fraction is in [0, 1), got {fraction}")
    held_out = 0 if fraction == 0 else max(1, round(fraction * num))
    if held_out >= num:
        raise UserError(f"{num} episodes cannot be split with {fraction} held out")
    order = rng.permutation(num)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def open_stores(stores: Stores) -> list[DemoStore]:
    """Open what is a path; several stores must observe and do the same.

    Raises:
        StoreError: none given, one cannot be read, or their specs differ.
    """
    listed = [stores] if isinstance(stores, DemoStore | str | Path) else list(stores)
    opened = [store if isinstance(store, DemoStore) else DemoStore.open(store) for store in listed]
    if not opened:
        raise StoreError("no store given")
    for store in opened[1:]:
        try:
            store.env_spec.check_serves(opened[0].env_spec)
        except SpecError as error:
            raise StoreError(f"{store.path} does not go with {opened[0].path}: {error}") from error
    return opened


def load_arrays(stores: Sequence[DemoStore], names: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Arrays of the chosen episodes (counted over all stores), end to end, in the order of ``episodes``."""
    offsets = np.cumsum([0, *(store.num_steps for store in stores[:-1])])
    starts = np.concatenate([store.starts + offset for store, offset in zip(stores, offsets, strict=True)])[episodes]
    ends = np.concatenate([store.ends + offset for store, offset in zip(stores, offsets, strict=True)])[episodes]
    total = sum(store.num_steps for store in stores)
    is_all = len(starts) > 0 and starts[0] == 0 and ends[-1] == total and bool((starts[1:] == ends[:-1]).all())
    arrays = {}
    for name in names:
        everything = np.concatenate([store.array(name) for store in stores])
        pieces = [everything[start:end] for start, end in zip(starts, ends, strict=True)]
        arrays[name] = everything if is_all else np.concatenate(pieces) if pieces else everything[:0]
    return arrays


def _choose(num: int, episodes: Sequence[int] | NDArray[np.int64] | None) -> NDArray[np.int64]:
    chosen = np.arange(num) if episodes is None else np.asarray(episodes, np.int64)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= num):
        raise UserError(f"there are {num} episodes, counted from 0; got {chosen.min()}..{chosen.max()}")
    return chosen
