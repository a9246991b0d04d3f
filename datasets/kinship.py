"""Which episodes of a store are kin: made from one another or from the same one, however many edits and stores lie between."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.reader import StoreReader


def families(store: StoreReader) -> NDArray[np.int64]:
    """A number for each episode ``(E,)``, the same for kin."""
    own = store.fingerprint()
    older = np.arange(store.num_episodes)  # one of the same family each, itself where it stands for all of them
    first: dict[Hashable, int] = {}

    def head(index: int) -> int:
        while older[index] != index:
            older[index] = older[older[index]]
            index = int(older[index])
        return index

    for index in range(store.num_episodes):
        for name in _names(store, index, own):
            older[head(index)] = head(first.setdefault(name, index))
    return np.array([head(index) for index in range(store.num_episodes)], np.int64)


def _names(store: StoreReader, index: int, own: str) -> set[Hashable]:
    """What an episode and those it was made from are known by: store and index, and digest."""
    known = store.provenance(index)
    ancestors = known.get("ancestors")
    names: set[Hashable] = {(own, index), str(store.column("digest")[index])}
    for entry in (known, *(ancestors if isinstance(ancestors, list) else [])):
        if isinstance(entry.get("parent"), int):
            names.add((str(entry.get("parent_store", own)), entry["parent"]))
        if isinstance(entry.get("parent_digest"), str):
            names.add(entry["parent_digest"])
    return names
