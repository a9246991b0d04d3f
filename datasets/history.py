"""A store with history (Icechunk): every append is a commit, on branches, with tags; any snapshot opens again; writers may be many."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import RangeByteRequest, Store
from zarr.core.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import WrapperStore

from robolearn import __version__
from robolearn.datasets import layout
from robolearn.datasets.address import Url
from robolearn.datasets.drafts import Draft
from robolearn.datasets.layout import StoreError
from robolearn.datasets.place import one_line
from robolearn.datasets.repository import icechunk, storage_at, told
from robolearn.datasets.store import DemoStore
from robolearn.episode import Episode
from robolearn.errors import nearest
from robolearn.lock import WriterLock
from robolearn.spec import EnvSpec

MAIN = "main"
_ATTEMPTS = 20  # to commit, while others do
_PATIENCE_S = 30.0  # for somebody else's commit on the same disk


class HistoryStorage(WrapperStore[Store]):
    """The files of one snapshot, or of a branch that is being added to."""

    def size(self, key: str) -> int | None:
        """See :meth:`StoreFiles.size`."""
        return sync(self._store.getsize(key)) if sync(self._store.exists(key)) else None

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See :meth:`StoreFiles.read`."""
        size = self.size(key)
        if size is None:
            raise FileNotFoundError(key)
        stop = size if length is None else min(offset + length, size)
        if stop <= offset:
            return b""
        found = sync(self._store.get(key, default_buffer_prototype(), RangeByteRequest(offset, stop)))
        if found is None:
            raise FileNotFoundError(key)
        return bytes(found.to_bytes())

    def keys(self, prefix: str = "") -> list[str]:
        """See :meth:`StoreFiles.keys`."""

        async def gather() -> list[str]:
            return [key async for key in self._store.list_prefix(f"{prefix.rstrip('/')}/" if prefix else "")]

        return sorted(sync(gather()))

    def sync(self) -> None:
        """A commit makes everything durable at once."""


@dataclass(frozen=True)
class Snapshot:
    """One commit.

    Args:
        id: by which it can be opened again.
        when: ISO time, UTC.
        who: user and host.
        what: its message.
        episodes: that it added.
    """

    id: str
    when: str
    who: str
    what: str
    episodes: int

    def __str__(self) -> str:
        return f"{self.what} by {self.who} at {self.when} ({self.id})"


class History:
    """The repository of a store: its branches, tags and snapshots.

    Args:
        url: ``icechunk:DIR`` or ``icechunk+s3://bucket/prefix``, with ``@branch``, ``@tag`` or ``@snapshot`` behind it or not.
        create: make it where there is none.

    Raises:
        StoreError: there is none, or its place does not answer.
        UserError: icechunk is not installed.
    """

    def __init__(self, url: Url, create: bool = False) -> None:
        self.url = url
        storage = storage_at(url)
        repository = icechunk().Repository
        with told(url):
            if repository.exists(storage):
                self._repository = repository.open(storage)
            elif create:
                self._repository = repository.create(storage)
            else:
                raise StoreError(f"no store at {url.base} (`robolearn data copy store=NAME.zarr out={url.base}` makes one)")

    @staticmethod
    def exists(url: Url) -> bool:
        """Whether there is a repository."""
        with told(url):
            return bool(icechunk().Repository.exists(storage_at(url)))

    def branches(self) -> dict[str, str]:
        """``{branch: snapshot}``."""
        return {name: str(self._repository.lookup_branch(name)) for name in sorted(self._repository.list_branches())}

    def tags(self) -> dict[str, str]:
        """``{tag: snapshot}``."""
        return {name: str(self._repository.lookup_tag(name)) for name in sorted(self._repository.list_tags())}

    def snapshot(self, ref: str | None) -> str:
        """The snapshot that a branch, a tag or its own id stands for.

        Raises:
            StoreError: none of these.
        """
        ref = ref or MAIN
        names = {**self.tags(), **self.branches()}
        if ref in names:
            return names[ref]
        try:
            return str(self._repository.lookup_snapshot(ref).id)
        except Exception:  # icechunk raises many kinds for what is no snapshot
            raise StoreError(
                f"{self.url.base} has no branch, tag or snapshot {ref!r}; it has {', '.join(names)}{nearest(ref, list(names))} "
                f"(`robolearn data history store={self.url.base}` lists them)"
            ) from None

    def at(self, ref: str | None) -> HistoryStorage:
        """The files of a snapshot, to read."""
        with told(self.url):
            return HistoryStorage(self._repository.readonly_session(snapshot_id=self.snapshot(ref)).store)

    def begin(self, branch: str | None) -> Any:
        """A session that adds to a branch, from its tip on."""
        name, known = branch or MAIN, self.branches()
        if name not in known:
            raise StoreError(
                f"{self.url.base} has no branch {name!r} to add to; it has {', '.join(known)}{nearest(name, list(known))} "
                f"(`robolearn data branch store={self.url.base} name={name}` makes it)"
            )
        with told(self.url):
            return self._repository.writable_session(name)

    def log(self, ref: str | None = None, since: str | None = None) -> Iterator[Snapshot]:
        """The commits that led to a branch, tag or snapshot, the latest first, as far as the one called ``since``."""
        for entry in self._repository.ancestry(snapshot_id=self.snapshot(ref)):
            if entry.id == since:
                return
            known = dict(entry.metadata)
            when = entry.written_at.strftime("%Y-%m-%d %H:%M:%S")
            yield Snapshot(entry.id, when, str(known.get("who", "unknown")), entry.message, int(known.get("episodes", 0)))

    def tag(self, name: str, ref: str | None) -> str:
        """Give a snapshot a name for good; returns its id."""
        return self._name(name, ref, self._repository.create_tag)

    def branch(self, name: str, ref: str | None) -> str:
        """Begin a branch at a snapshot; returns its id."""
        return self._name(name, ref, self._repository.create_branch)

    def _name(self, name: str, ref: str | None, create: Any) -> str:
        taken = {**self.tags(), **self.branches()}
        if name in taken:
            raise StoreError(f"{self.url.base} has {name!r} already, at {taken[name]}; give another name")
        snapshot = self.snapshot(ref)
        with told(self.url):
            create(name, snapshot)
        return snapshot

    def commit(self, session: Any, message: str, episodes: int = 0) -> str:
        """Commit what a session wrote; returns the snapshot.

        Raises:
            icechunk.ConflictError: somebody else committed to the branch meanwhile.
        """
        with told(self.url), self._alone():
            return str(session.commit(message, _signature(episodes)))

    def _alone(self) -> contextlib.AbstractContextManager[Any]:
        """On a disk, where Icechunk cannot tell who was first, commits wait for one another."""
        if self.url.scheme != "icechunk":
            return contextlib.nullcontext()
        place = Path(self.url.base.partition(":")[2])
        return WriterLock(place, instead="append again", patience_s=_PATIENCE_S)

    def require_empty(self, overwrite: bool) -> None:
        """Raise ``StoreError`` where the branch holds a store that is not to be replaced."""
        if not overwrite and self.at(self.url.ref).size("zarr.json") is not None:
            raise StoreError(f"{self.url} exists; append with mode='a' (resume=true), or give another name or overwrite=true")


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
    def make(cls, url: Url, env_spec: EnvSpec, *, overwrite: bool, attrs: Mapping[str, Any]) -> HistoryStore:
        """A new, empty store on a branch; see :meth:`DemoStore.create`. What was on the branch stays in its history."""
        layout.array_dtypes(env_spec)
        history = History(url, create=True)
        history.require_empty(overwrite)
        session = history.begin(url.ref)
        try:
            layout.create_arrays(zarr.open_group(HistoryStorage(session.store), mode="w", zarr_format=3), env_spec, attrs)
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
        self._history = History(url, create=True)
        self._history.require_empty(overwrite)
        self._session = self._history.begin(url.ref)
        sync(self._session.store.clear())

    def _write(self, key: str, data: bytes) -> bool:
        sync(self._session.store.set(key, cpu.Buffer.from_bytes(data)))
        return False

    def finish(self) -> None:
        """Commit it."""
        self._history.commit(self._session, "a copied store")


def _signature(episodes: int) -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = str(os.getuid())
    return {"who": f"{user}@{socket.gethostname()}", "episodes": episodes, "robolearn": __version__}
