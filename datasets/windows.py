"""Windows cut from episodes: observation histories and action chunks, gathered for a whole batch at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
        stops = np.concatenate([~np.isin(store.column("source").astype(str), list(open_ended)) for store in opened])[chosen] & pad_after
        last = np.where(stops, lengths, np.maximum(lengths - prediction_horizon + 1, 0))
        counts = np.maximum(last - first, 0)  # windows of each episode
        if counts.sum() == 0:
            longest = lengths.max(initial=0)
            raise UserError(f"no window of {observation_horizon} + {prediction_horizon} steps fits; the longest episode has {longest}")
        self.episode_of = np.repeat(np.arange(len(lengths)), counts)  # (n,) episode of each window
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


class WindowSampler:
    """An endless stream of shuffled window indices: one permutation of all windows after another, cut into batches.

    Ranks of a data-parallel run share the stream: rank r takes the r-th part of every batch, so W processes of
    ``batch_size / W`` see what one process of ``batch_size`` sees. The position is one number, the same for all ranks.

    Args:
        dataset_len: how many windows.
        batch_size: windows in a batch over all ranks.
        seed: of the permutations.
        rank: this process.
        world_size: how many processes.

    Raises:
        UserError: nothing to sample, or the batch does not divide over the ranks.
    """

    def __init__(self, dataset_len: int, batch_size: int, seed: int, *, rank: int = 0, world_size: int = 1) -> None:
        if dataset_len < 1 or batch_size < 1:
            raise UserError(f"a sampler needs windows and a batch size of at least 1, got {dataset_len} and {batch_size}")
        if batch_size % world_size or not 0 <= rank < world_size:
            raise UserError(f"a batch of {batch_size} does not divide over {world_size} processes (rank {rank})")
        self.dataset_len, self.batch_size, self.seed = dataset_len, batch_size, seed
        self._share = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        self._batches = 0
        self._cached: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    @property
    def epoch(self) -> float:
        """How often every window has been seen."""
        return self._batches * self.batch_size / self.dataset_len

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return self

    def __next__(self) -> NDArray[np.int64]:
        begin, end = self._batches * self.batch_size, (self._batches + 1) * self.batch_size
        parts = []
        while begin < end:
            epoch, offset = divmod(begin, self.dataset_len)
            part = self._permutation(epoch)[offset : offset + end - begin]
            parts.append(part)
            begin += len(part)
        self._batches += 1
        batch: NDArray[np.int64] = np.concatenate(parts)
        return batch[self._share]

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if self._cached[0] != epoch:
            self._cached = (epoch, np.random.default_rng([self.seed, epoch]).permutation(self.dataset_len))
        return self._cached[1]

    def state_dict(self) -> dict[str, int]:
        """The position; JSON-ready."""
        return {"batches": self._batches, "dataset_len": self.dataset_len, "batch_size": self.batch_size, "seed": self.seed}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where :meth:`state_dict` was taken, to the index.

        Raises:
            UserError: the stream was another: windows, batch size or seed differ.
        """
        mine = self.state_dict()
        for name in ("dataset_len", "batch_size", "seed"):
            if state[name] != mine[name]:
                raise UserError(f"cannot resume the sampler: {name} was {state[name]} and is {mine[name]} now")
        self._batches = state["batches"]


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
