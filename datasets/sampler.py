"""Which windows a batch holds: endless shuffled streams that several processes share and a checkpoint can hold the place of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest

Indices = NDArray[np.int64]
Labels = Mapping[str, NDArray[np.str_]]
PLAIN = "source"  # the kind of a word that is given without one


class WindowSampler:
    """An endless stream of shuffled window indices, cut into batches: one permutation of all windows after another.

    With ``shares`` some windows have a stream of their own, and every batch holds the same number of them (JUICER, Ankile et
    al. 2024, learns from 8 to 20 % synthetic steps, however many there are). With ``weights`` a stream's epoch is as long as
    before, and a window comes up in it as often as its weight says, rounded up or down (systematic resampling).

    Ranks of a data-parallel run share the stream: rank r takes the r-th part of every batch, so W processes of
    ``batch_size / W`` see what one process of ``batch_size`` sees. The position is one number, the same for all ranks.

    Args:
        dataset_len: how many windows.
        batch_size: windows in a batch over all ranks.
        seed: of the permutations.
        rank: this process.
        world_size: how many processes.
        labels: ``{kind: (E,) words}`` of the episodes, such as source, outcome, task, store; needed with shares and weights.
        episode_of: ``(n,)`` episode of each window; likewise.
        shares: of a batch, ``{kind: {word: share}}``, or ``{source: share}``; windows that are not named share the rest as they are.
        weights: ``{kind: {word: weight}}``, or ``{source: weight}``; several that fit a window multiply, what is not named has 1.

    Raises:
        UserError: nothing to sample, the batch does not divide over the ranks, or shares or weights of what there is not.
    """

    def __init__(
        self,
        dataset_len: int,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        labels: Labels | None = None,
        episode_of: Indices | None = None,
        shares: Mapping[str, Any] | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        if dataset_len < 1 or batch_size < 1:
            raise UserError(f"a sampler needs windows and a batch size of at least 1, got {dataset_len} and {batch_size}")
        if batch_size % world_size or not 0 <= rank < world_size:
            raise UserError(f"a batch of {batch_size} does not divide over {world_size} processes (rank {rank})")
        self.dataset_len, self.batch_size, self.seed = dataset_len, batch_size, seed
        self.shares, self.weights = _by_kind("shares", shares or {}), _by_kind("weights", weights or {})
        self._share = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        self._batches = 0
        groups = _Groups(labels or {}, episode_of if episode_of is not None else np.zeros(0, np.int64))
        weight = groups.weights(self.weights) if self.weights else None
        parts = groups.parts(self.shares, batch_size) if self.shares else [(np.arange(dataset_len), batch_size)]
        keys = [(seed, number) if self.shares else (seed,) for number in range(len(parts))]
        self._streams = [
            _Stream(windows, count, key, None if weight is None else weight[windows])
            for (windows, count), key in zip(parts, keys, strict=True)
        ]

    @property
    def epoch(self) -> float:
        """How often every window has been seen, on average."""
        return self._batches * self.batch_size / self.dataset_len

    def __iter__(self) -> Iterator[Indices]:
        return self

    def __next__(self) -> Indices:
        batch = self.peek()
        self._batches += 1
        return batch

    def peek(self) -> Indices:
        """The next batch; the position stays."""
        parts = [stream.batch(self._batches) for stream in self._streams]
        batch: Indices = np.concatenate(parts)
        if len(parts) > 1:  # every rank gets some of each part
            batch = np.random.default_rng([self.seed, self._batches, len(parts)]).permutation(batch)
        return batch[self._share]

    def state_dict(self) -> dict[str, Any]:
        """The position; JSON-ready."""
        made = {"batches": self._batches, "dataset_len": self.dataset_len, "batch_size": self.batch_size, "seed": self.seed}
        return made | {name: value for name, value in (("shares", self.shares), ("weights", self.weights)) if value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken, to the index.

        Raises:
            UserError: the stream was another: windows, batch size, seed, shares or weights differ.
        """
        before = {**state, **{name: _by_kind(name, state.get(name, {})) for name in ("shares", "weights")}}
        for name in ("dataset_len", "batch_size", "seed", "shares", "weights"):
            if before[name] != getattr(self, name):
                raise UserError(f"cannot resume the sampler: {name} was {before[name]} and is {getattr(self, name)} now")
        self._batches = state["batches"]


class _Stream:
    """One permutation of some windows after another, ``count`` of them to a batch; with ``weights (n,)`` some come more often."""

    def __init__(self, windows: Indices, count: int, key: tuple[int, ...], weights: NDArray[np.float64] | None) -> None:
        self._windows, self._count, self._key, self._weights = windows, count, key, weights
        if weights is not None and not weights.sum() > 0:
            raise UserError("the weights leave no window to sample; one at least must be above 0")
        self._cached: tuple[int, Indices] = (-1, np.zeros(0, np.int64))

    def batch(self, number: int) -> Indices:
        begin, end = number * self._count, (number + 1) * self._count
        parts = []
        while begin < end:
            epoch, offset = divmod(begin, len(self._windows))
            part = self._permutation(epoch)[offset : offset + end - begin]
            parts.append(part)
            begin += len(part)
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def _permutation(self, epoch: int) -> Indices:
        if self._cached[0] != epoch:
            rng = np.random.default_rng([*self._key, epoch])
            order = rng.permutation(len(self._windows))
            if self._weights is not None:
                order = rng.permutation(_resample(order, self._weights, rng))
            self._cached = (epoch, self._windows[order])
        return self._cached[1]


def _resample(order: Indices, weights: NDArray[np.float64], rng: np.random.Generator) -> Indices:
    """As many windows as there are, each ``n w / sum(w)`` times, rounded up or down at random: one comb over their weights end to end."""
    ends = np.cumsum(weights[order])
    comb = (np.arange(len(order)) + rng.random()) / len(order) * ends[-1]
    drawn: Indices = order[np.searchsorted(ends, np.minimum(comb, np.nextafter(ends[-1], 0)), side="right")]
    return drawn


class _Groups:
    """Windows by the words that their episodes are called."""

    def __init__(self, labels: Labels, episode_of: Indices) -> None:
        self._labels, self._episode_of = labels, episode_of

    def weights(self, weights: Mapping[str, Mapping[str, float]]) -> NDArray[np.float64]:
        """Weight of each window, ``(n,)``."""
        product = np.ones(len(self._episode_of))
        for kind, words in weights.items():
            for word, weight in words.items():
                if not 0 <= weight < np.inf:
                    raise UserError(f"a weight is at least 0, got {word}={weight}")
                product[self._find(kind, word)] *= weight
        return product

    def parts(self, shares: Mapping[str, Mapping[str, float]], batch_size: int) -> list[tuple[Indices, int]]:
        """Windows of each share, and of what is left, with their places in a batch."""
        chosen, taken = [], np.zeros(len(self._episode_of), bool)
        wanted = [(kind, word, share) for kind, words in shares.items() for word, share in words.items()]
        for kind, word, share in wanted:
            if not 0 < share <= 1:
                raise UserError(f"a share of a batch is above 0 and at most 1, got {word}={share}")
            windows = self._find(kind, word)
            if taken[windows].any():
                raise UserError(f"some windows of {kind} {word!r} have another share already; shares are of different windows")
            taken[windows] = True
            chosen.append(windows)
        others, total = np.flatnonzero(~taken), sum(share for _, _, share in wanted)
        if total > 1 + 1e-9 or (total > 1 - 1e-9) == bool(len(others)):
            whole = "less than 1, as others have the rest" if len(others) else "1, as there are no other windows"
            raise UserError(f"the shares of a batch come to {total:g}, expected {whole}")
        ends = np.round(np.cumsum([0.0, *(share for _, _, share in wanted)]) * batch_size).astype(int)
        counts = [*np.diff(ends), batch_size - ends[-1]] if len(others) else [*np.diff(ends)]
        if min(counts) < 1:
            raise UserError(f"a batch of {batch_size} is too small for these shares: one of them gets no place; give a larger batch_size")
        return list(zip([*chosen, others] if len(others) else chosen, map(int, counts), strict=True))

    def _find(self, kind: str, word: str) -> Indices:
        """Windows whose episodes are called so."""
        if kind not in self._labels:
            raise UserError(f"episodes have no {kind!r}; they have {', '.join(self._labels)}{nearest(kind, self._labels)}")
        windows = np.flatnonzero((self._labels[kind] == word)[self._episode_of])
        if not len(windows):
            known = np.unique(self._labels[kind]).tolist()
            raise UserError(f"there are no windows of {kind} {word!r}; there are {', '.join(known)}{nearest(word, known)}")
        return windows


def _by_kind(name: str, given: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """``{kind: {word: number}}`` in the order of the alphabet; a number without a kind is a source's."""
    made: dict[str, dict[str, float]] = {}
    for key, value in given.items():
        kind, words = (str(key), value) if isinstance(value, Mapping) else (PLAIN, {key: value})
        for word, number in words.items():
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise UserError(f"{name} are numbers by word, such as {{augmentation: 0.15}} or {{outcome: {{success: 2}}}}; got {given!r}")
            made.setdefault(kind, {})[str(word)] = float(number)
    return {kind: dict(sorted(made[kind].items())) for kind in sorted(made)}
