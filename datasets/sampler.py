"""Which windows a batch holds: endless shuffled streams that several processes share and a checkpoint can hold the place of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest

Indices = NDArray[np.int64]


class WindowSampler:
    """An endless stream of shuffled window indices, cut into batches: one permutation of all windows after another.

    With ``shares`` each source has a stream of its own, and every batch holds the same number of its windows (JUICER, Ankile et
    al. 2024, learns from 8 to 20 % synthetic steps, however many there are).

    Ranks of a data-parallel run share the stream: rank r takes the r-th part of every batch, so W processes of
    ``batch_size / W`` see what one process of ``batch_size`` sees. The position is one number, the same for all ranks.

    Args:
        dataset_len: how many windows.
        batch_size: windows in a batch over all ranks.
        seed: of the permutations.
        rank: this process.
        world_size: how many processes.
        sources: ``(n,)`` source of each window; needed with ``shares``.
        shares: ``{source: share of a batch}``; the sources that are not named share the rest as they are.

    Raises:
        UserError: nothing to sample, the batch does not divide over the ranks, or shares of sources that there are not.
    """

    def __init__(
        self,
        dataset_len: int,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        sources: Sequence[str] | NDArray[Any] | None = None,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        if dataset_len < 1 or batch_size < 1:
            raise UserError(f"a sampler needs windows and a batch size of at least 1, got {dataset_len} and {batch_size}")
        if batch_size % world_size or not 0 <= rank < world_size:
            raise UserError(f"a batch of {batch_size} does not divide over {world_size} processes (rank {rank})")
        self.dataset_len, self.batch_size, self.seed = dataset_len, batch_size, seed
        self.shares = {str(name): float(share) for name, share in (shares or {}).items()}
        self._share = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        self._batches = 0
        everything = np.arange(dataset_len)
        self._streams = (
            _streams(np.asarray(sources if sources is not None else [], str), self.shares, batch_size, seed)
            if self.shares
            else [_Stream(everything, batch_size, (seed,))]
        )

    @property
    def epoch(self) -> float:
        """How often every window has been seen, on average."""
        return self._batches * self.batch_size / self.dataset_len

    def __iter__(self) -> Iterator[Indices]:
        return self

    def __next__(self) -> Indices:
        parts = [stream.batch(self._batches) for stream in self._streams]
        batch: Indices = np.concatenate(parts)
        if len(parts) > 1:  # every rank gets some of each source
            batch = np.random.default_rng([self.seed, self._batches, len(parts)]).permutation(batch)
        self._batches += 1
        return batch[self._share]

    def state_dict(self) -> dict[str, Any]:
        """The position; JSON-ready."""
        made = {"batches": self._batches, "dataset_len": self.dataset_len, "batch_size": self.batch_size, "seed": self.seed}
        return made | ({"shares": self.shares} if self.shares else {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken, to the index.

        Raises:
            UserError: the stream was another: windows, batch size, seed or shares differ.
        """
        mine = self.state_dict()
        for name in ("dataset_len", "batch_size", "seed", "shares"):
            if state.get(name) != mine.get(name):
                raise UserError(f"cannot resume the sampler: {name} was {state.get(name)} and is {mine.get(name)} now")
        self._batches = state["batches"]


class _Stream:
    """One permutation of some windows after another, ``count`` of them to a batch."""

    def __init__(self, windows: Indices, count: int, key: tuple[int, ...]) -> None:
        self._windows, self._count, self._key = windows, count, key
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
            order = np.random.default_rng([*self._key, epoch]).permutation(len(self._windows))
            self._cached = (epoch, self._windows[order])
        return self._cached[1]


def _streams(sources: NDArray[np.str_], shares: Mapping[str, float], batch_size: int, seed: int) -> list[_Stream]:
    """A stream for each named source, and one for the others, with their places in a batch."""
    known = sorted(set(sources.tolist()))
    for name, share in shares.items():
        if name not in known:
            raise UserError(f"no windows of source {name!r} to take a share of; there are {', '.join(known)}{nearest(name, known)}")
        if not 0 < share <= 1:
            raise UserError(f"a source's share of a batch is above 0 and at most 1, got {name}={share}")
    counts = {name: max(1, round(share * batch_size)) for name, share in shares.items()}
    others = np.flatnonzero(~np.isin(sources, list(shares)))
    left = batch_size - sum(counts.values())
    if left < 0 or (left > 0) != (len(others) > 0):
        whole = "1, as there are no other sources" if not len(others) else "less than 1, as other sources have the rest"
        raise UserError(f"the shares of a batch come to {sum(shares.values()):g}, expected {whole}")
    groups = [(np.flatnonzero(sources == name), count) for name, count in counts.items()]
    groups += [(others, left)] if left else []
    return [_Stream(windows, count, (seed, number)) for number, (windows, count) in enumerate(groups)]
