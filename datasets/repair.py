"""Repair, the one change in place: what an interrupted writer left beyond the last committed episode, and beside the store, goes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robolearn.datasets.commit import PARTIAL, DurableStore, chunk_keys, folder_of, sync_directory
from robolearn.datasets.place import leftovers, require_store, set_aside
from robolearn.datasets.store import DemoStore
from robolearn.lock import WriterLock, lock_file


@dataclass(frozen=True)
class Torn:
    """What does not belong to a store's committed episodes.

    Args:
        steps: steps beyond the last committed episode.
        episodes: entries of such episodes in the columns.
        files: files of the arrays in which nothing is committed.
        partial_files: half-written files.
        drafts: unfinished stores beside it, by name.
        put_back: name under which the store itself was set aside by a writer that died while replacing it; None: it is in place.
        bytes: what all of these take.
    """

    steps: int
    episodes: int
    files: int
    partial_files: int
    drafts: tuple[str, ...]
    put_back: str | None
    bytes: int

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing to repair."""
        return not (self.steps or self.episodes or self.files or self.partial_files or self.drafts or self.put_back)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def repair(path: Path, dry_run: bool = False) -> Torn:
    """Remove what is torn, and say what it was; with ``dry_run`` only say it.

    Raises:
        StoreError: there is no store, or it is damaged in what is committed, which a copy alone can mend.
        LockedError: a living process is writing; one that died holds nothing.
    """
    path = path.resolve() if path.is_symlink() else path
    if not set_aside(path):
        require_store(path)
    with _alone(path, dry_run):
        aside = set_aside(path)
        put_back = aside.pop() if aside and not path.exists() else None
        if put_back and not dry_run:
            put_back.rename(path)
            sync_directory(path.parent)
        there = put_back if put_back and dry_run else path
        store = DemoStore(there, DurableStore(there, read_only=dry_run), None)
        files, partial = _torn_files(store), [file for file in there.rglob(f".*{PARTIAL}") if file.is_file()]
        drafts = [*leftovers(path), *aside]
        torn = Torn(
            steps=store.torn_steps,
            episodes=max(array.shape[0] - length for array, length in store.committed_arrays() if array.path.startswith("episodes/")),
            files=len(files),
            partial_files=len(partial),
            drafts=tuple(draft.name for draft in drafts),
            put_back=put_back.name if put_back else None,
            bytes=sum(file.stat().st_size for file in (*files, *partial)) + sum(_bytes_below(draft) for draft in drafts),
        )
        if not dry_run:
            store.repair()
            for draft in drafts:
                shutil.rmtree(draft, ignore_errors=True)
    return torn


@contextlib.contextmanager
def _alone(path: Path, dry_run: bool) -> Iterator[None]:
    """Hold the writer's lock; a dry run writes nothing, so it makes no lock where there never was one."""
    if dry_run and not lock_file(path).exists():
        yield
        return
    with WriterLock(path, instead="read, which sees what is committed"):
        yield


def _torn_files(store: DemoStore) -> list[Path]:
    """Files of the arrays that hold no committed row."""
    found = []
    arrays = [(array, min(store.num_steps, array.shape[0])) for array in store.step_arrays.values()]
    arrays += [entry for entry in store.committed_arrays() if entry[0].path.startswith("episodes/")]
    for array, length in arrays:
        kept = set(chunk_keys(array, length))
        folder = folder_of(array)
        found += [
            file
            for file in (folder / "c").rglob("*")
            if file.is_file() and not file.name.endswith(PARTIAL) and file.relative_to(folder).as_posix() not in kept
        ]
    return found


def _bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
