"""Randomness by address: a number depends on its stream, seed and place alone, never on who else draws or in what order."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError

# Disjoint by construction: each split owns a block of 2**40 seeds.
SPLITS = {"train": 0, "search": 1, "evaluation": 2, "stress": 3}
SPLIT_SIZE = 1 << 40


def split_seeds(split: str, count: int, offset: int = 0) -> NDArray[np.int64]:
    """``count`` episode seeds of one split: ``(count,)``.

    Seeds for tuning ("search") and for scoring ("evaluation") can never meet.

    Raises:
        UserError: the split is unknown, or the block would be left.
    """
    if split not in SPLITS:
        raise UserError(f"no seed split {split!r}; there are {', '.join(SPLITS)}")
    if offset < 0 or count < 0 or offset + count > SPLIT_SIZE:
        raise UserError(f"seeds {offset}..{offset + count} leave the block of {SPLIT_SIZE}")
    return SPLITS[split] * SPLIT_SIZE + offset + np.arange(count, dtype=np.int64)


def training_seeds(values: Sequence[Any]) -> list[int]:
    """The training seeds of a run as given, each with a folder of its own.

    Raises:
        UserError: there is none, one is no whole number of at least 0, or one comes twice.
    """
    seeds = list(values)
    if not seeds or any(type(seed) is not int or seed < 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds takes different whole numbers of at least 0, such as seeds=[0,1,2]; got {seeds}")
    return seeds


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The splitmix64 finaliser (Steele et al. 2014): a bijection of 64-bit words that scrambles every bit."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def addressed_uniform(stream: str, seeds: NDArray[np.int64], counters: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1) at (stream, seed, counter, index): ``(B,), (B,) -> (B, size)``.

    A stream is a purpose, such as ``"start"``: two things drawn for one episode have nothing to do with each other.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        key = _mix(seeds.astype(np.uint64) * golden + np.uint64(zlib.crc32(stream.encode())))
        key = _mix(key + counters.astype(np.uint64) * golden)
        index = (np.arange(size, dtype=np.uint64) + np.uint64(1)) * golden
        bits = _mix(key[:, None] + index)  # (B, size)
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def addressed_normal(stream: str, seeds: NDArray[np.int64], counters: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal numbers at (stream, seed, counter, index), by Box and Muller: ``(B,), (B,) -> (B, *shape)``.

    The leading axis of ``shape`` may grow without changing what stood before it, so candidate 0 of K
    draws the noise that a single draw would.
    """
    size = int(np.prod(shape))
    uniform = addressed_uniform(stream, seeds, counters, 2 * size).reshape(len(seeds), size, 2)
    normal: NDArray[np.float64] = np.sqrt(-2.0 * np.log(uniform[..., 0])) * np.cos(2.0 * np.pi * uniform[..., 1])
    return normal.astype(np.float32).reshape(len(seeds), *shape)
