"""The demonstration store: episodes in one zarr v3 directory, appended so that a crash at any byte loses nothing committed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets import layout
from robolearn.datasets.address import Url, address
from robolearn.datasets.commit import DurableStore, array_at, grow, missing_chunks, remove_partial_files, remove_torn_tail
from robolearn.datasets.layout import END, SIM_STATE, StoreError
from robolearn.datasets.opening import Storage, open_files, require_appendable
from robolearn.datasets.place import create_beside, one_line, require_free, require_store
from robolearn.datasets.reader import StoreReader
from robolearn.episode import Episode
from robolearn.lock import WriterLock
from robolearn.spec import EnvSpec

log = logging.getLogger(__name__)


class Held(Protocol):
    """The right to write."""

    def release(self) -> None:
        """Let the next writer in."""


class DemoStore(StoreReader):
    """Episodes on disk; made by :meth:`create` and :meth:`open`, usable as a context.

    ``episodes/end`` is the commit: :meth:`append` writes the steps, then the episode's columns, then extends ``end``, whose
    metadata file is replaced last, by one rename. Whoever reads sees either all of an episode or nothing of it.
    Rows beyond the last ``end`` (a writer at work, or one that was interrupted) do not exist for a reader; opening to append
    removes them. One process writes at a time; any number read meanwhile.
    """

    def __init__(self, path: Path | Url, storage: Storage, lock: Held | None) -> None:
        super().__init__(path, storage)
        self._storage = storage
        self._lock = lock
        self._unclean = False  # an append was interrupted

    # -- making and opening ------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | Path, env_spec: EnvSpec, *, overwrite: bool = False, attrs: Mapping[str, Any] | None = None) -> DemoStore:
        """A new, empty store, open for appending.

        Args:
            path: its directory, by custom ``<name>.zarr``.
            env_spec: what its episodes observe and do.
            overwrite: replace a store that is there (nothing but a store is ever replaced).
            attrs: JSON-ready notes kept in the store's attributes.

        Raises:
            StoreError: something is there already, the place cannot be written, or a name cannot be stored.
            LockedError: another process is writing there.
        """
        there = address(path)
        if isinstance(there, Url) and there.has_history:
            from robolearn.datasets.history_store import HistoryStore

            return HistoryStore.make(there, env_spec, overwrite=overwrite, attrs=attrs or {})
        path = require_appendable(there)
        layout.array_dtypes(env_spec)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = WriterLock(path)
        except OSError as error:
            raise StoreError(f"cannot make a store at {path}: {one_line(error)}") from error
        try:
            require_free(path, overwrite)
            create_beside(path, env_spec, attrs or {})
            return cls(path, DurableStore(path), lock)
        except BaseException as error:
            lock.release()
            if isinstance(error, OSError):
                raise StoreError(f"cannot make a store at {path}: {one_line(error)}") from error
            raise

    @classmethod
    def open(cls, path: str | Path | Url, mode: str = "r", *, at: str | None = None, cache_bytes: int | None = None) -> DemoStore:
        """Open a store to read (``r``) or to append (``a``).

        Args:
            path: a directory, a zip, ``s3://bucket/demos.zarr`` (``gs://``, ``az://``), ``icechunk:DIR`` or ``icechunk+s3://...``.
            mode: ``r`` or ``a``; zips and buckets are only read.
            at: of a store with history, the branch, tag or snapshot; the branch ``main`` unless given.
            cache_bytes: of a zip or bucket, most bytes to keep in memory; unless given, all of them share 256 MB.

        Raises:
            StoreError: nothing there, not a store, damaged, or of a newer schema.
            LockedError: another process is writing (mode ``a`` only).
        """
        there = address(path)
        if mode not in ("r", "a"):
            raise StoreError(f"no mode {mode!r}; there are 'r' (read) and 'a' (append)")
        if isinstance(there, Url) and there.has_history:
            from robolearn.datasets.history_store import HistoryStore

            return HistoryStore.start(there, mode, at)
        if at is not None:
            raise StoreError(f"{there} has no history, so nothing can be opened at {at!r}; icechunk:DIR addresses have")
        if mode == "r":
            store = cls(there, open_files(there, cache_bytes), None)
            if store.torn_steps:
                log.info("%s: %d steps beyond the last committed episode are ignored", path, store.torn_steps)
            return store
        path = require_appendable(there)
        require_store(path)
        lock = WriterLock(path)
        try:
            store = cls(path, DurableStore(path), lock)
            if store.torn_steps:
                log.warning("%s: removing %d steps of an episode that was never committed", path, store.torn_steps)
            store.repair()
            return store
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Let the next writer in; reading goes on working."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> DemoStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- writing -----------------------------------------------------------------------------------------------------

    def append(self, episode: Episode) -> int:
        """Add one episode; when this returns, it survives a crash. Returns its index.

        Raises:
            SpecError: the episode does not fit ``env_spec``, or holds NaN.
            StoreError: the disk is full or failing (what was committed is whole), or the store is open for reading.
        """
        return self.extend([episode])

    def extend(self, episodes: Sequence[Episode]) -> int:
        """Add several episodes in one commit, all or none; returns the index of the first. Raises as :meth:`append`."""
        first = self.num_episodes
        if not episodes:
            return first
        if self._lock is None:
            raise StoreError(f"{self.path} is open for reading; open it with mode='a' to append")
        for episode in episodes:
            episode.check(self.env_spec)
        arrays = [layout.step_arrays(episode, self.env_spec) for episode in episodes]
        columns = [layout.columns_of(episode, steps) for episode, steps in zip(episodes, arrays, strict=True)]
        ends = self.num_steps + np.cumsum([len(episode) for episode in episodes])
        steps = self._joined(arrays, [len(episode) for episode in episodes])
        if self._unclean:
            self.repair()
        self._unclean = True  # until the commit is done
        try:
            self._commit(steps, columns, ends)
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"could not write to {self.path}: {one_line(error)}; "
                f"its {self.num_episodes} committed episodes are whole, what was being added is not kept"
            ) from error
        except Exception as error:  # zarr raises many kinds for a damaged last file, which it reads to add to it
            raise StoreError(
                f"{self.path} is damaged ({one_line(error)}), nothing was added; "
                f"`robolearn data check store={self.path}` names the episodes"
            ) from error
        self._unclean = False
        return first

    def _joined(self, arrays: Sequence[Mapping[str, NDArray[Any]]], lengths: Sequence[int]) -> dict[str, NDArray[Any]]:
        """Episodes' arrays end to end; an episode without simulator state gets NaN where others have one."""
        steps = {name: np.concatenate([entry[name] for entry in arrays]) for name in layout.array_dtypes(self.env_spec)}
        sizes = {entry[SIM_STATE].shape[1:] for entry in arrays if SIM_STATE in entry}
        sizes |= {self.step_arrays[SIM_STATE].shape[1:]} if SIM_STATE in self.step_arrays else set()
        if len(sizes) > 1:
            raise StoreError(f"sim_state has shapes {sorted(sizes)} a step; the episodes of a store share one simulator model")
        for shape in sizes:
            blanks = [np.full((length, *shape), np.nan) for length in lengths]
            steps[SIM_STATE] = np.concatenate([entry.get(SIM_STATE, blank) for entry, blank in zip(arrays, blanks, strict=True)])
        return steps

    def _commit(self, steps: Mapping[str, NDArray[Any]], columns: Sequence[Mapping[str, Any]], ends: NDArray[np.int64]) -> None:
        for name, rows in steps.items():
            if name not in self.step_arrays:
                self.step_arrays[name] = layout.create_step_array(self._group, name, rows.shape[1:], rows.dtype)
            array, start = self.step_arrays[name], self.num_steps
            lost = missing_chunks(array, start, max(start - 1, 0))
            if lost and array.shape[0] >= start:  # zarr would make the file anew, with blanks for the rows that are lost
                raise StoreError(f"{self.path}: data/{name} lacks the file {lost[0]}; restore it from a copy before adding to the store")
            if array.shape[0] < start:  # simulator states that begin in mid-store
                blank = np.full((start - array.shape[0], *rows.shape[1:]), np.nan)
                rows, start = np.concatenate([blank, rows]), array.shape[0]
            grow(array, start, rows)
        for name, dtype in layout.COLUMNS.items():
            values = np.array([entry[name] for entry in columns], object if dtype is str else dtype)
            grow(array_at(self._group, f"episodes/{name}"), self.num_episodes, values)
        self._storage.sync()  # everything the commit promises is on disk before it
        grow(array_at(self._group, "episodes/end"), self.num_episodes, ends)
        self._storage.sync()
        self.ends = np.concatenate([self.ends, ends])
        self._columns = {}

    def repair(self) -> None:
        """Remove what an interrupted writer left beyond the last committed episode; needs mode ``a``."""
        self._load()
        assert isinstance(self.path, Path)
        remove_partial_files(self.path)
        for array in self.step_arrays.values():
            remove_torn_tail(array, min(self.num_steps, array.shape[0]))
        for name in (*layout.COLUMNS, END):
            remove_torn_tail(array_at(self._group, f"episodes/{name}"), self.num_episodes)
        self._storage.sync()
        self.torn_steps, self._unclean = 0, False
