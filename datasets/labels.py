"""What the episodes of some stores are called by: the words that sampling shares and weights are given for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.reader import StoreReader
from robolearn.errors import UserError, nearest
from robolearn.provenance import SOURCES


def episode_labels(stores: Sequence[StoreReader], episodes: NDArray[np.int64]) -> dict[str, NDArray[np.str_]]:
    """``{kind: (E,) words}`` of the chosen episodes (counted over all stores).

    Kinds: ``source`` and ``outcome`` as the columns say; ``task``, the episode's own or its store's; ``store``, the name of its
    directory, or its path where two have the same name.
    """
    names = [store.path.name for store in stores]
    called = [name if names.count(name) == 1 else str(store.path) for name, store in zip(names, stores, strict=True)]
    labels = {kind: np.concatenate([store.column(kind).astype(str) for store in stores]) for kind in ("source", "outcome")}
    labels["task"] = np.array([task for store in stores for task in _tasks(store)], str)
    labels["store"] = np.repeat(np.array(called, str), [store.num_episodes for store in stores])
    return {kind: words[episodes] for kind, words in labels.items()}


def _tasks(store: StoreReader) -> list[str]:
    own = store.env_spec.task
    return [str(json.loads(text).get("task", own)) if '"task"' in text else own for text in map(str, store.column("provenance"))]


def switch(name: str, value: bool | Mapping[str, bool], sources: NDArray[np.str_]) -> NDArray[np.bool_]:
    """A switch of each episode, ``(E,)``: the same for all, or by source; sources that are not named have it on.

    Raises:
        UserError: a source that there is not, or no boolean.
    """
    by_source: Mapping[Any, Any] = value if isinstance(value, Mapping) else dict.fromkeys(np.unique(sources).tolist(), value)
    known = sorted({*SOURCES, *sources.tolist()})
    for source, on in by_source.items():
        if source not in known:
            raise UserError(f"{name} names the source {source!r}; there are {', '.join(known)}{nearest(str(source), known)}")
        if not isinstance(on, bool):
            raise UserError(f"{name} is true or false, or a mapping such as {{augmentation: false}}; got {value!r}")
    return np.array([by_source.get(source, True) for source in sources.tolist()], bool)
