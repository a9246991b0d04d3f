"""The demonstration store: episodes in one zarr v3 directory, appended so that a crash at any byte loses nothing committed."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from robolearn.datasets import codecs, layout
from robolearn.datasets.address import Url, address
from robolearn.datasets.appending import Rows, encode, joined, put_rows, told
from robolearn.datasets.commit import DurableStore, array_at, grow, missing_chunks, remove_partial_files, remove_torn_tail, settle
from robolearn.datasets.layout import END, StoreError
from robolearn.datasets.opening import Storage, open_files, require_appendable
from robolearn.datasets.place import create_beside, one_line, require_free, require_store
from robolearn.datasets.reader import StoreReader
from robolearn.datasets.shards import content
from robolearn.episode import Episode
from robolearn.lock import Held, WriterLock
from robolearn.spec import EnvSpec

log = logging.getLogger(__name__)


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
        self._claimed = False  # an episode is being recorded
        self._writing = threading.RLock()  # a recorder writes from a thread of its own

    # -- making and opening ------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | Path,
        env_spec: EnvSpec,
        *,
        overwrite: bool = False,
        attrs: Mapping[str, Any] | None = None,
        image_codec: str = "zstd",
    ) -> DemoStore:
        """A new, empty store, open for appending.

        Args:
            path: its directory, by custom ``<name>.zarr``.
            env_spec: what its episodes observe and do.
            overwrite: replace a store that is there (nothing but a store is ever replaced).
            attrs: JSON-ready notes kept in the store's attributes.
            image_codec: of colour pictures: ``zstd`` and ``jpegxl_lossless`` keep every bit, ``jpeg`` (fast) and ``jpegxl``
                (small) what an eye can see. All but the first need ``robolearn[formats]``.

        Raises:
            StoreError: something is there already, the place cannot be written, or a name cannot be stored.
            UserError: no such codec, or the package for it is not installed.
            LockedError: another process is writing there.
        """
        there = address(path)
        if isinstance(there, Url) and there.has_history:
            from robolearn.datasets.history_store import HistoryStore

            return HistoryStore.make(there, env_spec, overwrite=overwrite, attrs=attrs or {}, image_codec=image_codec)
        path = require_appendable(there)
        layout.array_dtypes(env_spec)
        codecs.codec_named(image_codec)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = WriterLock(path)
        except OSError as error:
            raise StoreError(f"cannot make a store at {path}: {one_line(error)}") from error
        try:
            require_free(path, overwrite)
            create_beside(path, env_spec, attrs or {}, image_codec)
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
        with self._writing:  # a write that has begun is waited for
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
            StoreError: the disk is full or failing (what was committed is whole), the store is open for reading, or a recorder
                has an episode at hand.
        """
        return self.extend([episode])

    def extend(self, episodes: Sequence[Episode]) -> int:
        """Add several episodes in one commit, all or none; returns the index of the first. Raises as :meth:`append`."""
        if not episodes:
            return self.num_episodes
        self.require_writable()
        for episode in episodes:
            episode.check(self.env_spec)
        arrays = [layout.step_arrays(episode, self.env_spec) for episode in episodes]
        frames = [self._encoded(entry) for entry in arrays]
        digests = [layout.digest(entry, self._content(encoded)) for entry, encoded in zip(arrays, frames, strict=True)]
        columns = [layout.columns_of(episode, episode.provenance, digest) for episode, digest in zip(episodes, digests, strict=True)]
        lengths = [len(episode) for episode in episodes]
        states = [{name: rows for name, rows in entry.items() if name not in frames[0]} for entry in arrays]
        with self.explained():
            self._require_unclaimed()
            first = self.num_episodes
            steps: dict[str, Rows] = {**joined(states, lengths, self.step_arrays)}
            steps |= {name: [frame for entry in frames for frame in entry[name]] for name in frames[0]}
            self.reserve()
            for name, rows in steps.items():
                shape_and_dtype = () if isinstance(rows, list) else (rows.shape[1:], rows.dtype)
                put_rows(self.array_to_extend(name, *shape_and_dtype), self.num_steps, rows)
            self.commit(columns, self.num_steps + np.cumsum(lengths))
        return first

    def _encoded(self, steps: Mapping[str, NDArray[Any]]) -> dict[str, list[bytes]]:
        """An episode's images as they are kept, with their checksums."""
        rows = {name: encode(self.step_arrays[name], values) for name, values in steps.items() if name in self.step_arrays}
        return {name: values for name, values in rows.items() if isinstance(values, list)}

    def _content(self, frames: Mapping[str, list[bytes]]) -> dict[str, Iterator[layout.Frame]]:
        """The encoded rows that are content, not the pictures: those kept with loss."""
        return {name: map(content, rows) for name, rows in frames.items() if codecs.is_lossy(self.step_arrays[name])}

    # -- what an episode goes through that is written while it happens: claim, reserve, its rows, commit, unclaim -----

    def require_writable(self) -> None:
        """Raise ``StoreError`` unless the store is open for appending."""
        if self._lock is None:
            raise StoreError(f"{self.path} is open for reading or was closed; open it with mode='a' to append")

    def claim(self) -> None:
        """Keep the rows behind the last commit for one episode, until :meth:`unclaim`.

        Raises:
            StoreError: another has them, or the store is not open for appending.
        """
        with self._writing:
            self.require_writable()
            self._require_unclaimed()
            self._claimed = True

    def unclaim(self) -> None:
        """Let others append again."""
        self._claimed = False

    def _require_unclaimed(self) -> None:
        if self._claimed:
            raise StoreError(f"{self.path}: a recorder has an episode at hand; end() or discard() it before more is added")

    def reserve(self) -> None:
        """Before rows are written: what an earlier attempt left goes."""
        if self._unclean:
            self.repair()
        self._unclean = True  # until the commit is done

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """One at a time writes and commits rows, and whatever goes wrong is a ``StoreError``."""
        with self._writing, told(self.path, self.num_episodes):
            self.require_writable()
            yield

    def array_to_extend(self, name: str, shape: tuple[int, ...] = (), dtype: np.dtype[Any] | None = None) -> zarr.Array[Any]:
        """The array of a name, ready for rows behind the last commit; simulator states may begin in mid-store.

        Args:
            name: of the array.
            shape: of a row, where the array may not be there yet.
            dtype: likewise.

        Raises:
            StoreError: its last file, which rows would go into, is missing.
        """
        if name not in self.step_arrays and dtype is not None:
            self.step_arrays[name] = layout.create_step_array(self._group, name, shape, dtype)
        array, start = self.step_arrays[name], self.num_steps
        if array.shape[0] < start:
            put_rows(array, array.shape[0], np.full((start - array.shape[0], *array.shape[1:]), np.nan, array.dtype))
        lost = missing_chunks(array, start, max(start - 1, 0))
        if lost:  # zarr would make the file anew, with blanks for the rows that are lost
            raise StoreError(f"{self.path}: data/{name} lacks the file {lost[0]}; restore it from a copy before adding to the store")
        return array

    def commit(self, columns: Sequence[Mapping[str, Any]], ends: NDArray[np.int64]) -> None:
        """Make episodes of the rows behind the last commit: their columns, then ``end``. All arrays reach to the last of ``ends``.

        Raises:
            StoreError: the store is not open for appending, or something else was committed meanwhile.
        """
        self.require_writable()
        if (np.diff(ends, prepend=self.num_steps) <= 0).any():
            raise StoreError(f"{self.path} got other episodes meanwhile, nothing was added; add the episode again")
        for name, dtype in layout.COLUMNS.items():
            values = np.array([entry[name] for entry in columns], object if dtype is str else dtype)
            grow(array_at(self._group, f"episodes/{name}"), self.num_episodes, values)
        self._storage.sync()  # everything the commit promises is on disk before it
        grow(array_at(self._group, "episodes/end"), self.num_episodes, ends)
        self._storage.sync()
        self.ends = np.concatenate([self.ends, ends])
        self._columns, self._frames, self._unclean = {}, {}, False

    def tidy(self) -> None:
        """Remove what an attempt left that failed or was given up; nothing where all was committed."""
        with self._writing:
            if self._unclean and not self._claimed and self._lock is not None:
                self.repair()

    def repair(self) -> None:
        """Remove what an interrupted writer left beyond the last committed episode; needs mode ``a``."""
        settle()  # what an attempt that was interrupted is still writing
        self._load()
        assert isinstance(self.path, Path)
        remove_partial_files(self.path)
        for array in self.step_arrays.values():
            remove_torn_tail(array, min(self.num_steps, array.shape[0]))
        for name in (*layout.COLUMNS, END):
            remove_torn_tail(array_at(self._group, f"episodes/{name}"), self.num_episodes)
        self._storage.sync()
        self.torn_steps, self._unclean = 0, False
