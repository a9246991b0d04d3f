"""Windows cut from episodes: observation histories and action chunks, gathered for a whole batch at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.batch import WindowBatch
from robolearn.datasets.blocks import blocks, row_bytes
from robolearn.datasets.flat_files import mapped
from robolearn.datasets.labels import episode_labels, switch
from robolearn.datasets.layout import ACTION, StoreError
from robolearn.datasets.prefetch import Ahead
from robolearn.datasets.rows import Held, Joined, RowCache, RowSource, Streamed
from robolearn.datasets.shards import decoder_of
from robolearn.datasets.store import DemoStore
from robolearn.errors import UserError, nearest
from robolearn.memory import available_memory
from robolearn.normalize import ACTION as NORMALIZER_ACTION
from robolearn.spec import EnvSpec, SpecError

assert ACTION == NORMALIZER_ACTION  # one word for the action, in stores and normalisers

Stores = DemoStore | str | Path | Sequence[DemoStore | str | Path]
MODES = ("auto", "ram", "mmap", "stream")
SNIPPETS = {"augmentation": False}  # their ends are no ends of a task, and must not teach to stop


class Sampler(Protocol):
    """Knows which windows come next."""

    def peek(self) -> NDArray[np.int64]:
        """The next batch's windows; the position stays."""
        ...


class WindowDataset:
    """Every window of the chosen episodes.

    Window i stands at one step t of one episode: observations of steps ``t-To+1 .. t``, actions ``t .. t+Tp-1``. It never
    leaves its episode: before the first step the first observation is repeated, after the last the last action is, with
    ``is_pad`` true there.

    Where the rows are (``mode``) changes speed and memory, never a batch:

    - ``auto``: state in memory; pictures streamed, so that only the frames a batch needs are ever decoded. A small store's
      pictures are in the cache after an epoch; a large one starts at once.
    - ``ram``: everything decoded in memory.
    - ``mmap``: everything decoded in flat files, made once and shared by runs and processes; the kernel holds what fits.
    - ``stream``: chunks read when a batch needs them, the last used ``cache_bytes`` of them kept.

    Args:
        stores: a store, its path, or several of the same spec.
        observation_keys: which observations; all of the spec's unless given.
        observation_horizon: To, steps of history (1: only the present).
        prediction_horizon: Tp, steps of action.
        pad_before: keep windows whose history starts before the episode; or by source, those not named being kept.
        pad_after: keep windows whose actions end after the episode; or by source. Snippets never do unless it is said.
        episodes: which episodes, counted over all stores in order; all unless given. Splits are of episodes, never of windows.
        mode: where the rows are.
        cache_bytes: decoded chunks kept by what is streamed; memory stays below it and a batch (two, with ``prefetch``).
        cache_dir: where ``mmap`` keeps flat files; beside each store unless given.
        prefetch: gather the next batch of streamed rows in a thread, once :meth:`follow` has said which that is.

    Raises:
        StoreError: a store cannot be read, holds no such array, or the stores' specs differ.
        UserError: a horizon is below 1, no window is left, no such mode, or what should be in memory does not fit there.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        observation_keys: Sequence[str] | None = None,
        observation_horizon: int = 1,
        prediction_horizon: int = 16,
        pad_before: bool | Mapping[str, bool] = True,
        pad_after: bool | Mapping[str, bool] = SNIPPETS,
        episodes: Sequence[int] | NDArray[np.int64] | None = None,
        mode: str = "auto",
        cache_bytes: int = 1 << 30,
        cache_dir: str | Path | None = None,
        prefetch: bool = True,
    ) -> None:
        opened = open_stores(stores)
        if observation_horizon < 1 or prediction_horizon < 1:
            raise UserError(f"horizons are at least 1, got observation {observation_horizon}, prediction {prediction_horizon}")
        if mode not in MODES:
            raise UserError(f"no mode {mode!r}; there are {', '.join(MODES)}{nearest(str(mode), MODES)}")
        self.env_spec: EnvSpec = opened[0].env_spec
        self.observation_keys = tuple(observation_keys if observation_keys is not None else self.env_spec.observation)
        self.observation_horizon, self.prediction_horizon = observation_horizon, prediction_horizon
        self.fingerprints = [store.fingerprint() for store in opened]
        chosen = _choose(sum(store.num_episodes for store in opened), episodes)
        lengths = np.concatenate([store.lengths for store in opened])[chosen]
        self.episode_ends = np.cumsum(lengths)  # (E,) in steps of the chosen episodes, end to end
        self.episode_starts = self.episode_ends - lengths  # (E,)
        self.labels = episode_labels(opened, chosen)  # {source, outcome, task, store: (E,) words}
        self.episode_of, self.step_of = self._place_windows(lengths, pad_before, pad_after)  # (n,), (n,): where each window stands
        self._in_stores = _spans(opened)[0][chosen] - self.episode_starts  # (E,) from those steps to steps of all stores
        self.cache = RowCache(cache_bytes)
        self._held, self._elsewhere = _sources(opened, (*self.observation_keys, ACTION), chosen, mode, self.cache, cache_dir)
        self._prefetch = prefetch
        self._ahead: Ahead | None = None

    def _place_windows(
        self, lengths: NDArray[np.int64], pad_before: bool | Mapping[str, bool], pad_after: bool | Mapping[str, bool]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Episode and step of each window, ``(n,)`` each."""
        sources = self.labels["source"]
        by_source = {**SNIPPETS, **pad_after} if isinstance(pad_after, Mapping) else pad_after
        before, after = switch("pad_before", pad_before, sources), switch("pad_after", by_source, sources)
        first = np.where(before, 0, np.minimum(self.observation_horizon - 1, lengths))
        last = np.where(after, lengths, np.maximum(lengths - self.prediction_horizon + 1, 0))
        counts = np.maximum(last - first, 0)  # windows of each episode
        if counts.sum() == 0:
            wanted, longest = f"{self.observation_horizon} + {self.prediction_horizon}", lengths.max(initial=0)
            raise UserError(f"no window of {wanted} steps fits; the longest episode has {longest}")
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(np.arange(len(lengths)), counts), within + np.repeat(self.episode_starts + first, counts)

    def __len__(self) -> int:
        return len(self.step_of)

    def array(self, name: str) -> NDArray[Any]:
        """All steps of the chosen episodes, ``(T, ...)``, in memory: an observation of ``observation_keys``, or ``action``."""
        if name in self._held:
            return self._held[name]
        lengths = self.episode_ends - self.episode_starts
        return self._elsewhere[name].take(np.arange(lengths.sum()) + np.repeat(self._in_stores, lengths))

    def follow(self, sampler: Sampler) -> None:
        """Batches will be asked for as ``sampler`` draws them: what is streamed may be fetched ahead."""
        streams = any(isinstance(part, Streamed) for source in self._elsewhere.values() for part in source.sources)
        self._ahead = Ahead(self._gather, sampler.peek) if self._prefetch and streams else None

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> WindowBatch:
        """Windows ``indices (B,)``."""
        indices = np.asarray(indices, np.int64)
        return self._gather(indices) if self._ahead is None else self._ahead.batch(indices)

    def _gather(self, indices: NDArray[np.int64]) -> WindowBatch:
        """One gather an array, no Python per row."""
        step, episode = self.step_of[indices][:, None], self.episode_of[indices]  # (B, 1), (B,)
        start, end = self.episode_starts[episode][:, None], self.episode_ends[episode][:, None]  # (B, 1)
        past = np.maximum(step + np.arange(1 - self.observation_horizon, 1), start)  # (B, To)
        future = step + np.arange(self.prediction_horizon)  # (B, Tp)
        shift = self._in_stores[episode][:, None]  # (B, 1)
        observations = {name: self._take(name, past, shift) for name in self.observation_keys}
        return WindowBatch(observations, self._take(ACTION, np.minimum(future, end - 1), shift), future >= end)

    def _take(self, name: str, steps: NDArray[np.int64], shift: NDArray[np.int64]) -> NDArray[Any]:
        return self._held[name].take(steps, axis=0) if name in self._held else self._elsewhere[name].take(steps + shift)


def _sources(
    stores: Sequence[DemoStore],
    names: Sequence[str],
    episodes: NDArray[np.int64],
    mode: str,
    cache: RowCache,
    cache_dir: str | Path | None,
) -> tuple[dict[str, NDArray[Any]], dict[str, Joined]]:
    """Arrays of the chosen episodes in memory, and sources of the others, whose rows count over all stores."""
    for store in stores:
        for name in names:
            store.array(name, 0, 0)  # no such array: an error that names the nearest
    held = [name for name in names if mode == "ram" or (mode == "auto" and decoder_of(stores[0].step_arrays[name]) is None)]
    lengths = [store.num_steps for store in stores]
    elsewhere: dict[str, Joined] = {}
    for name in (name for name in names if name not in held):
        parts: list[RowSource] = [
            Held(mapped(store, name, cache_dir)) if mode == "mmap" else Streamed(store, name, cache) for store in stores
        ]
        elsewhere[name] = Joined(parts, lengths)
    return load_arrays(stores, held, episodes), elsewhere


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
            store.env_spec.check_serves(opened[0].env_spec, recorded=True)
        except SpecError as error:
            raise StoreError(f"{store.path} does not go with {opened[0].path}: {error}") from error
    return opened


def load_arrays(stores: Sequence[DemoStore], names: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Arrays of the chosen episodes (counted over all stores), end to end, in the order of ``episodes``, in memory.

    Raises:
        StoreError: a store cannot be read, or holds no such array.
        UserError: they do not fit the memory that is free.
    """
    starts, ends = (bounds[episodes] for bounds in _spans(stores))
    steps = int((ends - starts).sum())
    for name in names:
        stores[0].array(name, 0, 0)
    needed = sum(steps * row_bytes(stores[0].step_arrays[name]) for name in names)
    free = available_memory()
    if free is not None and needed > free:
        raise UserError(
            f"{', '.join(names)} of {len(episodes)} episodes take {needed / 1e9:.1f} GB decoded, {free / 1e9:.1f} GB of memory are free; "
            "data.mode=mmap keeps them in flat files, data.mode=stream reads chunks when they are needed (data.cache_bytes of memory)"
        )
    lengths = ends - starts
    rows = np.arange(steps) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    return {name: _load(stores, name, rows) for name in names}


def _load(stores: Sequence[DemoStore], name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    """``rows`` of one array, in their order; blocks are read one after the other, each once."""
    first = stores[0].step_arrays[name]
    array = np.empty((len(rows), *first.shape[1:]), first.dtype)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    offset = 0
    for store in stores:
        low, high = np.searchsorted(ordered, [offset, offset + store.num_steps])
        if low < high:
            for begin, block in blocks(store, name, int(ordered[low]) - offset, int(ordered[high - 1]) + 1 - offset):
                low, high = np.searchsorted(ordered, [offset + begin, offset + begin + len(block)])
                array[order[low:high]] = block[ordered[low:high] - offset - begin]
        offset += store.num_steps
    return array


def _spans(stores: Sequence[DemoStore]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First step and step after the last of every episode, ``(E,)`` each, counted over all stores."""
    offsets = np.cumsum([0, *(store.num_steps for store in stores[:-1])])
    starts = np.concatenate([store.starts + offset for store, offset in zip(stores, offsets, strict=True)])
    return starts, starts + np.concatenate([store.lengths for store in stores])


def _choose(num: int, episodes: Sequence[int] | NDArray[np.int64] | None) -> NDArray[np.int64]:
    chosen = np.arange(num) if episodes is None else np.asarray(episodes, np.int64)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= num):
        raise UserError(f"there are {num} episodes, counted from 0; got {chosen.min()}..{chosen.max()}")
    return chosen
