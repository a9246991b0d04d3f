"""Appending to a store with history: every append is a commit, and writers that meet append after one another."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from zarr.core.buffer import cpu
from zarr.core.sync import sync

from robolearn.datasets import layout
from robolearn.datasets.address import Url
from robolearn.datasets.codecs import codec_named
from robolearn.datasets.drafts import Draft
from robolearn.datasets.history import History, Snapshot
from robolearn.datasets.layout import StoreError
from robolearn.datasets.place import one_line, remove
from robolearn.datasets.repository import HistoryStorage, folder_at, icechunk, told
from robolearn.datasets.store import DemoStore
from robolearn.episode import Episode
from robolearn.spec import EnvSpec

_ATTEMPTS = 20  # to commit, while others do


class HistoryStore(DemoStore):
    """Episodes with history; every :meth:`extend` is a commit.

    Where somebody else has committed to the branch meanwhile, the episodes are appended again, after theirs; what came
    between is in :attr:`rebased`. Where that cannot be, nothing is committed and the error reports who did what.
    """

    rebased: list[Snapshot]

    @classmethod
    def start(cls, url: Url, mode: str, at: str | None) -> DemoStore:
        """Open a snapshot to read, or a branch to append; see :meth:`DemoStore.open`."""
        if at is not None and url.ref is not None and at != url.ref:
            raise StoreError(f"{url} opened at {at!r}: say either")
        history, ref = History(url), at or url.ref
        storage = history.at(ref) if mode == "r" else None
        if storage is not None and storage.size("zarr.json") is None:
            raise StoreError(f"no store at {url}: nothing is committed there yet")
        if storage is not None:
            return DemoStore(url, storage, None)
        return cls(history, ref)

    @classmethod
    def make(cls, url: Url, env_spec: EnvSpec, *, overwrite: bool, attrs: Mapping[str, Any], image_codec: str) -> HistoryStore:
        """A new, empty store on a branch; see :meth:`DemoStore.create`. What was on the branch stays in its history."""
        layout.array_dtypes(env_spec)
        codec_named(image_codec)
        history = History(url, create=True)
        history.require_empty(overwrite)
        session = history.begin(url.ref)
        try:
            layout.create_arrays(zarr.open_group(HistoryStorage(session.store), mode="w", zarr_format=3), env_spec, attrs, image_codec)
        except TypeError as error:
            raise StoreError(f"the attributes of {url} are not JSON: {one_line(error)}") from error
        history.commit(session, "a new store")
        return cls(history, url.ref)

    def __init__(self, history: History, branch: str | None) -> None:
        self._history, self._branch, self.rebased = history, branch, []
        self._session = history.begin(branch)
        if HistoryStorage(self._session.store).size("zarr.json") is None:
            raise StoreError(f"no store at {history.url}: nothing is committed there yet")
        super().__init__(history.url, HistoryStorage(self._session.store), _Open())

    def extend(self, episodes: Sequence[Episode]) -> int:
        """Add several episodes in one commit; returns the index of the first. Raises as :meth:`append`."""
        for _ in range(_ATTEMPTS):
            first = super().extend(episodes)
            if not episodes:
                return first
            base = self._session.snapshot_id
            self._unclean = True  # until it is committed
            try:
                said = f"{len(episodes)} episode{'s' if len(episodes) > 1 else ''}"
                self._history.commit(self._session, said, len(episodes))
            except icechunk().ConflictError:
                self._rebase(base, first, episodes)
                continue
            self._unclean = False
            self._attach()
            return first
        raise StoreError(f"{self.path}: others committed {_ATTEMPTS} times in a row; append again, or to a branch of your own")

    def _rebase(self, base: str, committed: int, episodes: Sequence[Episode]) -> None:
        """Go on from the branch's tip, where what was committed before is still what it was."""
        spec, digests = self.env_spec, self.column("digest")[:committed]
        between = list(self._history.log(self._branch, since=base))
        self._attach()
        kept = self.num_episodes >= committed and np.array_equal(self.column("digest")[:committed], digests)
        within = any(isinstance(parent := episode.provenance.get("parent"), int) and parent >= committed for episode in episodes)
        if self.env_spec != spec or not kept or within:
            why = "name one another as parents" if kept and self.env_spec == spec else "do not fit what is there now"
            raise StoreError(
                f"{self.path}: nothing was added, because others came first and these {len(episodes)} episodes {why}: "
                f"{'; '.join(str(entry) for entry in between[:3])}; look at the store again, and append what still fits, "
                f"or append to a branch (`robolearn data branch store={self._history.url.base} name=NAME at={base}`)"
            )
        self.rebased += between

    def _attach(self) -> None:
        """Stand at the tip of the branch, as it is now."""
        self._session = self._history.begin(self._branch)
        self._storage = self.files = HistoryStorage(self._session.store)
        self._group = zarr.open_group(self._storage, mode="r+", zarr_format=3)
        self.attrs = dict(self._group.attrs)
        self.env_spec = EnvSpec.from_dict(self.attrs["env_spec"])
        self._unclean = False
        self._load()

    def repair(self) -> None:
        """Let go of what was not committed."""
        self._attach()


class _Open:
    """In place of a writer's lock: writers need not wait for one another."""

    def release(self) -> None:
        """Nothing to let go of."""


class HistoryDraft(Draft):
    """A store copied into a repository, as one commit."""

    metadata_first = True
    after_failure = "nothing was committed"

    def __init__(self, url: Url, overwrite: bool) -> None:
        super().__init__()
        folder = folder_at(url)
        self._url = url
        self._made = folder if folder and not (folder.exists() and any(folder.iterdir())) else None
        try:
            self._history = History(url, create=True)
            self._history.require_empty(overwrite)
            self._session = self._history.begin(url.ref)
            with told(url):
                sync(self._session.store.clear())
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Remove the repository where this copy made it, half or whole, and nobody has committed to it since."""
        with contextlib.suppress(StoreError):
            if self._made and not History(self._url).is_bare():
                return
        if self._made:
            remove(self._made)

    def _write(self, key: str, data: bytes) -> bool:
        with told(self._url):
            sync(self._session.store.set(key, cpu.Buffer.from_bytes(data)))
        return False

    def finish(self, episodes: int = 0) -> None:
        """Commit it."""
        self._history.commit(self._session, "a copied store", episodes)
