"""Figures of a store for people: ranges of every array, read in blocks, and a row per episode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from robolearn import provenance as origin
from robolearn.datasets.blocks import blocks
from robolearn.datasets.codecs import picture_codec
from robolearn.datasets.findings import episodes_in
from robolearn.datasets.reader import StoreReader

_MOST_CHANNELS = 128


class Moments:
    """Least, largest, mean and spread of each channel, from one block after another (Chan et al. 1979); NaN is left out."""

    def __init__(self, channels: int) -> None:
        self.count = np.zeros(channels, np.int64)
        self.mean, self._squares = np.zeros(channels), np.zeros(channels)
        self.low, self.high = np.full(channels, np.inf), np.full(channels, -np.inf)

    def add(self, rows: NDArray[Any]) -> None:
        """Take in ``rows (n, C)``."""
        values = rows.astype(np.float64)
        known = np.isfinite(values)
        count = known.sum(0)
        total = self.count + count
        blank = np.where(known, values, 0.0)
        mean = blank.sum(0) / np.maximum(count, 1)
        squares = (np.where(known, values - mean, 0.0) ** 2).sum(0)
        shift = mean - self.mean
        self._squares += squares + shift**2 * self.count * count / np.maximum(total, 1)
        self.mean += shift * count / np.maximum(total, 1)
        self.low = np.minimum(self.low, np.where(known, values, np.inf).min(0, initial=np.inf))
        self.high = np.maximum(self.high, np.where(known, values, -np.inf).max(0, initial=-np.inf))
        self.count = total

    def to_dict(self) -> dict[str, list[float | None]]:
        """JSON-ready: None for a channel of which nothing is known."""
        std = np.sqrt(self._squares / np.maximum(self.count, 1))
        named = {"min": self.low, "max": self.high, "mean": self.mean, "std": std}
        return {
            kind: [float(value) if known else None for value, known in zip(values, self.count > 0, strict=True)]
            for kind, values in named.items()
        }


def array_figures(
    store: StoreReader, episodes: Sequence[int] | NDArray[np.int64] | None = None, advance: Callable[[int], None] = lambda rows: None
) -> dict[str, dict[str, Any]]:
    """Per array: type, shape of a step, and over the chosen episodes each channel's min, max, mean and std.

    A channel of an image is a colour. Arrays of more than 128 channels have no figures. ``advance`` is told how many rows
    are done, of ``store.num_steps`` for each array.
    """
    chosen = np.ones(store.num_episodes, bool) if episodes is None else np.isin(np.arange(store.num_episodes), episodes)
    figures = {}
    for name in store.array_names:
        array = store.step_arrays[name]
        shape = tuple(array.shape[1:])
        entry = outline(array)
        is_image = array.dtype == np.uint8 and len(shape) == 3
        channels = shape[-1] if is_image else int(np.prod(shape, dtype=np.int64))
        if 0 < channels <= _MOST_CHANNELS and chosen.any():
            moments = Moments(channels)
            for start, rows in blocks(store, name):
                kept = rows if chosen.all() else rows[np.repeat(chosen, store.lengths)[start : start + len(rows)]]
                if len(kept):
                    moments.add(kept.reshape(-1, channels))
                advance(len(rows))
            entry |= moments.to_dict()
        else:
            advance(store.num_steps)
        figures[name] = entry
    return figures


def outline(array: zarr.Array[Any]) -> dict[str, Any]:
    """Type and shape of a step of an array, and the codec of its pictures where they have one, JSON-ready."""
    codec = picture_codec(array)
    return {"dtype": str(array.dtype), "shape": list(array.shape[1:]), **({"codec": codec.to_dict()} if codec else {})}


def counts(store: StoreReader, episodes: NDArray[np.int64]) -> dict[str, Any]:
    """Episodes, steps, lengths, outcomes and sources of some episodes, JSON-ready."""
    lengths = store.lengths[episodes]
    outcomes, sources = np.asarray(store.outcomes())[episodes].tolist(), [str(entry) for entry in store.column("source")[episodes]]
    return {
        "episodes": len(episodes),
        "steps": int(lengths.sum()),
        "length": {"min": int(lengths.min()), "mean": float(lengths.mean()), "max": int(lengths.max())} if len(lengths) else None,
        "outcomes": dict(Counter(outcomes)),
        "sources": dict(Counter(sources)),
    }


def by_source(store: StoreReader, episodes: NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """For each source: episodes, steps and the share of successes."""
    sources, success = np.asarray(store.column("source"), object)[episodes], np.asarray(store.column("success"))[episodes]
    return {
        str(source): {
            "episodes": int((sources == source).sum()),
            "steps": int(store.lengths[episodes][sources == source].sum()),
            "success": float(success[sources == source].mean()),
        }
        for source in sorted(set(sources))
    }


def rewards(store: StoreReader) -> NDArray[np.float64]:
    """Sum of the rewards of each episode, ``(E,)``."""
    sums = np.zeros(store.num_episodes)
    for start, rows in blocks(store, "reward"):
        for episode, _, part in episodes_in(store.ends, start, rows):
            sums[episode] += float(part.sum(dtype=np.float64))
    return sums


def episode_rows(store: StoreReader, with_rewards: bool = True) -> list[dict[str, Any]]:
    """Per episode: length, seconds, reward (None where it is not read), how it ended, where it came from."""
    lengths, sums = store.lengths, rewards(store) if with_rewards else None
    names = ("outcome", "success", "terminated", "truncated", "source", "seed", "parent", "digest")
    columns = {name: store.column(name).tolist() for name in names}
    return [
        {
            "episode": index,
            "steps": int(lengths[index]),
            "seconds": round(float(lengths[index] / store.env_spec.control_hz), 3),
            "reward": None if sums is None else float(sums[index]),
            **{name: values[index] for name, values in columns.items()},
            "provenance": origin.abridged(store.provenance(index)),
        }
        for index in range(store.num_episodes)
    ]
