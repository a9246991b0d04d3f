"""An episode that is written while it happens: rows go behind the last commit as they come, and become an episode at its end."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from robolearn.datasets import layout
from robolearn.datasets.appending import held_frames, write_shard
from robolearn.datasets.blocks import rows_a_block
from robolearn.datasets.codecs import is_lossy
from robolearn.datasets.commit import resized_view, rows_per_file
from robolearn.datasets.frames import FrameReader
from robolearn.datasets.layout import REWARD, SIM_STATE, Ended, StoreError
from robolearn.datasets.shards import content, decoder_of, encoder_of
from robolearn.datasets.store import DemoStore

Row = Mapping[str, NDArray[Any]]


class Unfinished:
    """Rows behind the last commit of a store. Memory holds at most a file's worth of encoded images, and a chunk of state, an array.

    Args:
        store: open for appending and claimed until after :meth:`commit`: nobody else adds to it.
        first: the first row, of which only the names and shapes count: whether there is a simulator state.

    Raises:
        StoreError: the store is damaged, open for reading, or the disk is full.
    """

    def __init__(self, store: DemoStore, first: Row) -> None:
        self._store, self._start, self._length = store, store.num_steps, 0
        self._has_state = SIM_STATE in first
        with store.explained():
            store.reserve()
            if self._has_state:
                shape = first[SIM_STATE].shape
                there = store.array_to_extend(SIM_STATE, shape, np.dtype(np.float64)).shape[1:]
                if shape != there:
                    raise StoreError(f"sim_state is {shape} a step, in {store.path} {there}; the episodes of a store share one model")
            self._parts = {name: _part(store.array_to_extend(name), self._start) for name in store.step_arrays}

    def __len__(self) -> int:
        return self._length

    def add(self, row: Row) -> None:
        """Take one step's arrays, ``{name: (...)}``, of the types of the store; all but ``sim_state`` are there.

        Raises:
            StoreError: the disk is full or failing.
        """
        with self._store.explained():
            self._require_place()
            for name, part in self._parts.items():
                if name == SIM_STATE and (name in row) != self._has_state:
                    raise StoreError(
                        f"an episode has a simulator state at every step or at none; step {self._length} differs from the first"
                    )
                part.add(row[name] if name in row else np.full(part.array.shape[1:], np.nan, part.array.dtype))
        self._length += 1

    def commit(self, ended: Ended, provenance: Mapping[str, Any], last_reward: float | None = None) -> int:
        """Make an episode of the rows; when this returns, it survives a crash. Returns its index.

        Args:
            ended: how it did.
            provenance: where it comes from.
            last_reward: in place of the last row's.

        Raises:
            StoreError: the disk is full or failing, or an array read back is not what was written.
        """
        store, stop = self._store, self._start + self._length
        with store.explained():
            self._require_place()
            if last_reward is not None:
                self._parts[REWARD].replace_last(np.asarray(last_reward, store.env_spec.reward_dtype))
            for part in self._parts.values():
                part.flush()
            columns = layout.columns_of(ended, provenance, self._digest(stop))
            for part in self._parts.values():
                part.array.resize((stop, *part.array.shape[1:]))
            store.commit([columns], np.array([stop], np.int64))
        return store.num_episodes - 1

    def _require_place(self) -> None:
        if self._store.num_steps != self._start:
            raise StoreError(f"{self._store.path} got other episodes while this one was recorded, which is not kept; record it again")

    def _digest(self, stop: int) -> str:
        """The digest of the rows, read back where they were not digested as they came."""
        names = [name for name in self._parts if name != SIM_STATE or self._has_state]
        content = {name: self._parts[name].digest or self._read_back(name, stop) for name in names}
        return layout.digest_of_blocks(
            {name: (self._parts[name].array.dtype, (self._length, *self._parts[name].array.shape[1:]), content[name]) for name in names}
        )

    def _read_back(self, name: str, stop: int) -> Any:
        array = resized_view(self._parts[name].array, stop)
        unit = rows_a_block(array)
        edges = [*range(self._start, stop, unit), stop]
        if decoder_of(array) is None:
            return (np.asarray(array[a:b]) for a, b in itertools.pairwise(edges))
        reader = FrameReader(array, self._store.source, label=str(self._store.path))
        return (reader.read(np.arange(a, b)) for a, b in itertools.pairwise(edges))


def _part(array: zarr.Array[Any], start: int) -> _Frames | _States:
    return _States(array, start) if encoder_of(array) is None else _Frames(array, start)


class _States:
    """Rows of numbers, written a chunk at a time."""

    digest: bytes | None = None

    def __init__(self, array: zarr.Array[Any], start: int) -> None:
        self.array, self._start, self._rows = array, start, list[NDArray[Any]]()

    def add(self, row: NDArray[Any]) -> None:
        if self._rows and (self._start + len(self._rows)) % rows_per_file(self.array) == 0:
            self.flush()
        self._rows.append(row)

    def replace_last(self, row: NDArray[Any]) -> None:
        self._rows[-1] = row

    def flush(self) -> None:
        stop = self._start + len(self._rows)
        resized_view(self.array, stop)[self._start : stop] = np.stack(self._rows)
        self._start, self._rows = stop, []


class _Frames:
    """Images, encoded as they come and written a file at a time."""

    def __init__(self, array: zarr.Array[Any], start: int) -> None:
        encode = encoder_of(array)
        assert encode is not None
        self.array, self._encode = array, encode
        self._first = start // rows_per_file(array) * rows_per_file(array)  # row at which the file at hand begins
        self._frames = held_frames(array, self._first, start)
        self._content: hashlib.blake2b | None = layout.new_digest() if is_lossy(array) else None

    @property
    def digest(self) -> bytes | None:
        """Of the encoded rows, where they are the content."""
        return None if self._content is None else self._content.digest()

    def add(self, row: NDArray[Any]) -> None:
        frame = self._encode(row)
        if self._content is not None:
            layout.add_frame(self._content, content(frame))
        if len(self._frames) == rows_per_file(self.array):
            self.flush()
            self._first, self._frames = self._first + rows_per_file(self.array), []
        self._frames.append(frame)

    def replace_last(self, row: NDArray[Any]) -> None:
        raise NotImplementedError

    def flush(self) -> None:
        write_shard(self.array, self._first, self._frames)
