"""The reading half of the demonstration store: committed episodes, arrays and columns, with every checksum verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from robolearn.datasets import layout
from robolearn.datasets.address import Url
from robolearn.datasets.codecs import is_lossy
from robolearn.datasets.commit import DurableStore, array_at, missing_chunks
from robolearn.datasets.files import StoreFiles
from robolearn.datasets.frames import BytesSource, FrameReader, LocalFiles
from robolearn.datasets.layout import ACTION, END, REWARD, SIM_STATE, StoreError
from robolearn.datasets.opening import Storage
from robolearn.datasets.place import check_schema, one_line
from robolearn.datasets.shards import decoder_of
from robolearn.episode import Episode
from robolearn.errors import UserError, nearest
from robolearn.spec import EnvSpec


class StoreReader:
    """What is committed in a store when it is opened; :class:`robolearn.datasets.store.DemoStore` opens it.

    Attributes:
        path: the directory or zip, or the address.
        files: its files, wherever they lie.
        env_spec: what the episodes observe and do.
        attrs: the store's attributes.
        ends: ``(E,)`` where each episode ends, counted in steps of the whole store.
        step_arrays: the zarr arrays under ``data/``, which may be longer than what is committed; :meth:`array` reads them safely.
        torn_steps: steps beyond the last committed episode, found when the store was opened.
    """

    def __init__(self, path: Path | Url, storage: Storage) -> None:
        self.path = path
        self.files: StoreFiles = storage
        self._local = LocalFiles(path) if isinstance(path, Path) and isinstance(storage, DurableStore) else None
        self._columns: dict[str, NDArray[Any]] = {}
        self._frames: dict[str, FrameReader] = {}
        self._identity = _identity(path)
        try:
            self._group = zarr.open_group(storage, mode="r" if storage.read_only else "r+", zarr_format=3)
            self.attrs: dict[str, Any] = dict(self._group.attrs)
            check_schema(path, self.attrs)
            self.env_spec = EnvSpec.from_dict(self.attrs["env_spec"])
            self._load()
        except StoreError:
            raise
        except Exception as error:  # zarr raises many kinds for a damaged file
            raise StoreError(f"{path} is damaged and cannot be opened ({one_line(error)}); restore it from a copy") from error

    def _load(self) -> None:
        """Read the commit first, the arrays after it: what `end` promises is then there, even while somebody appends."""
        end = array_at(self._group, "episodes/end")
        missing = missing_chunks(end, end.shape[0])
        if missing:
            raise StoreError(f"{self.path} lacks {END}/{missing[0]}, its list of episodes; restore the file from a copy")
        self.ends: NDArray[np.int64] = np.asarray(end[:], np.int64)
        if (np.diff(self.ends, prepend=0) <= 0).any():
            raise StoreError(f"{self.path} is damaged: episodes/end does not increase; restore it from a copy")
        self._columns, self._frames = {}, {}
        names = [*layout.array_dtypes(self.env_spec), *([SIM_STATE] if f"data/{SIM_STATE}" in self._group else [])]
        self.step_arrays = {name: array_at(self._group, f"data/{name}") for name in names}
        lengths = {name: array_at(self._group, f"episodes/{name}").shape[0] for name in layout.COLUMNS}
        if min(lengths.values()) < self.num_episodes:
            cut = min(lengths, key=lambda name: lengths[name])
            raise StoreError(f"{self.path} is damaged: episodes/{cut} ends before the last episode; restore it from a copy")
        short = [name for name, array in self.step_arrays.items() if array.shape[0] < self.num_steps and name != SIM_STATE]
        if short:
            raise StoreError(f"{self.path} is damaged: data/{short[0]} ends before the last episode; restore it from a copy")
        self.torn_steps = max(array.shape[0] for array in self.step_arrays.values()) - self.num_steps

    @property
    def source(self) -> BytesSource:
        """What single frames are read from: its files, those of a directory held open."""
        return self._local or self.files

    @property
    def num_episodes(self) -> int:
        """Committed episodes E."""
        return len(self.ends)

    @property
    def num_steps(self) -> int:
        """Committed steps of all episodes."""
        return int(self.ends[-1]) if len(self.ends) else 0

    @property
    def starts(self) -> NDArray[np.int64]:
        """First step of each episode, ``(E,)``."""
        return np.concatenate([[0], self.ends[:-1]]).astype(np.int64) if len(self.ends) else np.zeros(0, np.int64)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of each episode, ``(E,)``."""
        return np.diff(self.ends, prepend=0)

    @property
    def array_names(self) -> list[str]:
        """What :meth:`array` gives: the observations, extra arrays, ``action``, ``reward``, and ``sim_state`` where there is one."""
        return [name for name, array in self.step_arrays.items() if array.shape[0] >= self.num_steps]

    def committed_arrays(self) -> Iterator[tuple[zarr.Array[Any], int]]:
        """Every array of the store, with how many of its rows are committed."""
        yield from ((self.step_arrays[name], self.num_steps) for name in self.array_names)
        yield from ((array_at(self._group, f"episodes/{name}"), self.num_episodes) for name in (*layout.COLUMNS, END))

    def array(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Committed steps ``start`` to ``stop`` (all unless given) of one array, ``(T, ...)``; checksums are verified.

        Raises:
            StoreError: no such array, or its bytes are damaged or missing.
        """
        if name not in self.array_names:
            raise StoreError(f"{self.path} has no array {name!r}; it has {', '.join(self.array_names)}{nearest(name, self.array_names)}")
        array = self.step_arrays[name]
        stop = self.num_steps if stop is None else min(stop, self.num_steps)
        lost = missing_chunks(array, stop, start)
        if lost:
            raise StoreError(
                f"{self.path}: data/{name} lacks the file {lost[0]}; `robolearn data check store={self.path}` names the episodes"
            )
        rows = self._read(array, start, stop) if decoder_of(array) is None else self.frames(name).read(np.arange(start, stop))
        self.require_same()
        return rows

    def require_same(self) -> None:
        """Raise ``StoreError`` where another store has taken this one's place since it was opened: their rows would mix."""
        if _identity(self.path) != self._identity:
            raise StoreError(f"{self.path} was replaced while it was being read; open it again")

    def frames(self, name: str) -> FrameReader:
        """A fast reader of single rows of an array of images; it knows nothing of what is committed.

        Raises:
            StoreError: the array's files are not shards of single frames.
        """
        if name not in self._frames:
            self._frames[name] = FrameReader(self.step_arrays[name], self.source, label=str(self.path))
        return self._frames[name]

    def encoded(self, name: str, start: int, stop: int) -> Iterator[layout.Frame]:
        """Steps ``start`` to ``stop`` of an array of images as encoded, without checksums. Raises as :meth:`array`."""
        for first in range(start, stop, 64):
            yield from self.frames(name).encoded(np.arange(first, min(first + 64, stop)))

    def column(self, name: str) -> NDArray[Any]:
        """One entry per episode, ``(E,)``: success, terminated, truncated, source, outcome, seed, parent, digest, provenance.

        Raises:
            StoreError: no such column, or its bytes are damaged or missing.
        """
        if name not in layout.COLUMNS:
            raise StoreError(f"{self.path} has no column {name!r}; it has {', '.join(layout.COLUMNS)}{nearest(name, layout.COLUMNS)}")
        if name not in self._columns:
            array = array_at(self._group, f"episodes/{name}")
            lost = missing_chunks(array, self.num_episodes)
            if lost:
                raise StoreError(f"{self.path}: episodes/{name} lacks the file {lost[0]}; restore it from a copy")
            self._columns[name] = self._read(array, 0, self.num_episodes)
        return self._columns[name]

    def _read(self, array: zarr.Array[Any], start: int, stop: int) -> NDArray[Any]:
        try:
            return np.asarray(array[start:stop])
        except UserError:  # a place that does not answer, or a codec that is not installed, is no damage
            raise
        except Exception as error:  # zarr raises many kinds for damaged bytes
            raise StoreError(
                f"{self.path}: {array.path} is damaged ({one_line(error)}); `robolearn data check store={self.path}` names the episodes"
            ) from error

    def outcomes(self) -> list[str]:
        """How each episode ended: success, failure, timeout or unfinished."""
        return [str(entry) for entry in self.column("outcome")]

    def provenance(self, index: int) -> dict[str, Any]:
        """Where an episode came from; the keys are those of :mod:`robolearn.provenance`.

        Raises:
            StoreError: it is damaged.
        """
        try:
            return dict(json.loads(str(self.column("provenance")[index])))
        except (ValueError, TypeError) as error:
            raise StoreError(f"{self.path}: the provenance of episode {index} is no JSON object ({error})") from error

    def episode_arrays(self, index: int) -> dict[str, NDArray[Any]]:
        """All per-step arrays of an episode, ``{name: (T, ...)}``; ``sim_state`` only where the episode has one.

        Raises:
            StoreError: no such episode, or its bytes are damaged or missing.
        """
        if not 0 <= index < self.num_episodes:
            raise StoreError(f"{self.path} has no episode {index}; it has {self.num_episodes}, counted from 0")
        start, stop = int(self.starts[index]), int(self.ends[index])
        arrays = {name: self.array(name, start, stop) for name in self.array_names}
        if SIM_STATE in arrays and np.isnan(arrays[SIM_STATE]).all():
            del arrays[SIM_STATE]
        return arrays

    def episode(self, index: int) -> Episode:
        """One episode, the same to the bit as it was appended (pictures: as their codec keeps them).

        Raises:
            StoreError: no such episode, or its content is not what was written.
        """
        arrays = self.episode_arrays(index)
        start, stop = int(self.starts[index]), int(self.ends[index])
        encoded = {name: self.encoded(name, start, stop) for name in arrays if is_lossy(self.step_arrays[name])}
        if layout.digest(arrays, encoded) != str(self.column("digest")[index]):
            raise StoreError(f"{self.path}: episode {index} is not what was written (its digest differs); restore the store from a copy")
        return Episode(
            observations={name: arrays[name] for name in self.env_spec.observation},
            actions=arrays[ACTION],
            rewards=arrays[REWARD],
            terminated=bool(self.column("terminated")[index]),
            truncated=bool(self.column("truncated")[index]),
            success=bool(self.column("success")[index]),
            sim_state=arrays.get(SIM_STATE),
            provenance=self.provenance(index),
            extras={name: arrays[name] for name in self.env_spec.extras},
        )

    def __len__(self) -> int:
        return self.num_episodes

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(index) for index in range(self.num_episodes))

    def fingerprint(self, *, outcomes: bool = False) -> str:
        """32 hex digits that change when anything that was recorded changes; cheap, from the episodes' digests.

        Lineage and flat files name stores by it, so what is said of the episodes later (labels, notes) is not in it; with
        ``outcomes``, how the episodes ended is.
        """
        content = hashlib.blake2b(json.dumps(self.env_spec.to_dict(), sort_keys=True).encode(), digest_size=16)
        for entry in self.column("digest"):
            content.update(str(entry).encode())
        for name in ("success", "terminated", "truncated") if outcomes else ():
            content.update(self.column(name).tobytes())
        return content.hexdigest()

    def check(self) -> list[str]:
        """Everything that is wrong, one line each, empty when all is well; see :func:`robolearn.datasets.verify.problems`."""
        from robolearn.datasets.verify import problems

        return problems(self)


def _identity(path: Path | Url) -> tuple[int, int] | None:
    """What tells a directory or zip from one that takes its place; None for an address, whose files know for themselves."""
    if not isinstance(path, Path):
        return None
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
