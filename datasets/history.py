"""A store with history (Icechunk): every append is a commit, on branches, with tags; any snapshot opens again; writers may be many."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from robolearn import __version__
from robolearn.datasets.address import REF, REF_LETTERS, Url
from robolearn.datasets.layout import StoreError
from robolearn.datasets.repository import HistoryStorage, folder_at, icechunk, storage_at, told
from robolearn.errors import nearest
from robolearn.lock import WriterLock

MAIN = "main"
_SNAPSHOT = re.compile(r"[0-9A-Z]{20}")
_PATIENCE_S = 30.0  # for somebody else's commit on the same disk


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

    def is_bare(self) -> bool:
        """Whether nothing was ever committed to any branch."""
        return all(len(list(islice(self.log(name), 2))) < 2 for name in self.branches())

    def tag(self, name: str, ref: str | None) -> str:
        """Give a snapshot a name for good; returns its id."""
        return self._name(name, ref, self._repository.create_tag)

    def branch(self, name: str, ref: str | None) -> str:
        """Begin a branch at a snapshot; returns its id."""
        return self._name(name, ref, self._repository.create_branch)

    def _name(self, name: str, ref: str | None, create: Any) -> str:
        if not REF.fullmatch(name) or _SNAPSHOT.fullmatch(name):
            raise StoreError(f"{name!r} cannot name a tag or branch: give {REF_LETTERS}, not of a snapshot's form")
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
        folder = folder_at(self.url)
        return WriterLock(folder, instead="append again", patience_s=_PATIENCE_S) if folder else contextlib.nullcontext()

    def require_empty(self, overwrite: bool) -> None:
        """Raise ``StoreError`` where the branch holds a store that is not to be replaced."""
        if not overwrite and self.at(self.url.ref).size("zarr.json") is not None:
            raise StoreError(f"{self.url} exists; append with mode='a' (resume=true), or give another name or overwrite=true")


def _signature(episodes: int) -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = str(os.getuid())
    return {"who": f"{user}@{socket.gethostname()}", "episodes": episodes, "robolearn": __version__}
