"""Copies a store as it is encoded from one place to another: directory, zip, bucket, whole or not seen at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from robolearn.datasets.address import Url
from robolearn.datasets.commit import chunk_keys, rows_per_file
from robolearn.datasets.copying import read_verified
from robolearn.datasets.drafts import Draft, draft_at
from robolearn.datasets.layout import END, StoreError
from robolearn.datasets.place import one_line
from robolearn.datasets.reader import StoreReader

_AT_ONCE = 8  # files on their way: waiting for a network, not working
ROOT = "zarr.json"


@dataclass(frozen=True)
class Entry:
    """A file of a store, and how to get its bytes, their checksums verified."""

    key: str
    read: Callable[[], bytes]


def entries(store: StoreReader) -> Iterator[Entry]:
    """What is committed of a store: the chunks, then what describes them, ``episodes/end`` and the root last.

    An array that a writer has begun to extend is described as long as it is committed.
    """
    arrays = list(store.committed_arrays())
    for array, length in arrays:
        for row, key in zip(range(0, length, rows_per_file(array)), chunk_keys(array, length), strict=True):
            yield Entry(f"{array.path}/{key}", partial(read_verified, store, array, row))
    described = [Entry(f"{array.path}/{ROOT}", partial(_metadata, store, array.path, length)) for array, length in arrays]
    groups = [Entry(key, partial(_read, store, key)) for key in (f"data/{ROOT}", f"episodes/{ROOT}", ROOT)]
    last = [entry for entry in described if entry.key == f"episodes/{END}/{ROOT}"]
    yield from (*(entry for entry in described if entry not in last), *groups[:2], *last, *groups[2:])


def count(store: StoreReader) -> int:
    """How many files that are."""
    return 3 + sum(1 + -(-length // rows_per_file(array)) for array, length in store.committed_arrays())


def copy(store: StoreReader, out: Path | Url, overwrite: bool, advance: Callable[[int], None] = lambda files: None) -> Draft:
    """Copy a store; returns what it was written through, with its counters.

    Args:
        store: from where.
        out: to where.
        overwrite: replace a store that is there.
        advance: told how many of :func:`count` files are done.

    Raises:
        StoreError: the place is taken or fails, or a file of the store is damaged. At ``out`` is what was before;
            only in a bucket something is left, which the same call goes on with.
        LockedError: somebody writes there.
    """
    require_elsewhere(store, out)
    with draft_at(out, overwrite, store.fingerprint()) as draft, ThreadPoolExecutor(_AT_ONCE) as pool:

        def send(entry: Entry) -> None:
            draft.put(entry.key, entry.read())
            advance(1)

        described = [entry for entry in entries(store) if entry.key.endswith(ROOT)]
        chunks = (entry for entry in entries(store) if not entry.key.endswith(ROOT))
        for entry in reversed(described) if draft.metadata_first else ():
            send(entry)
        while batch := list(islice(chunks, 4 * _AT_ONCE)):
            list(pool.map(send, batch))
        for entry in () if draft.metadata_first else described:
            send(entry)
        draft.finish(store.num_episodes)
    return draft


def require_elsewhere(store: StoreReader, out: Path | Url) -> None:
    """Raise ``StoreError`` where a store would be copied onto, into or around itself."""
    if isinstance(store.path, Url) or isinstance(out, Url):
        one, other = str(store.path), str(out)
        same = one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
    else:
        place, there = out.resolve(), store.path.resolve()
        same = place == there or there in place.parents or place in there.parents
    if same:
        raise StoreError(f"out={out} is at {store.path} itself; give another out=")


def _metadata(store: StoreReader, path: str, length: int) -> bytes:
    """An array's description, with its committed length."""
    content = _read(store, f"{path}/zarr.json")
    described: dict[str, Any] = json.loads(content)
    if described["shape"][0] == length:
        return content
    described["shape"][0] = length
    return json.dumps(described, indent=2).encode()


def _read(store: StoreReader, key: str) -> bytes:
    try:
        return store.files.read(key)
    except OSError as error:
        raise StoreError(f"{store.path}: {key} cannot be read ({one_line(error)}); restore it from a copy") from error
