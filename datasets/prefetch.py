"""The next batch, gathered in a thread while one is learned from."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from robolearn.batch import WindowBatch

Indices = NDArray[np.int64]


class Ahead:
    """Gathers what will be asked for next; a wrong guess costs time, never correctness.

    Args:
        gather: the batch at some indices.
        peek: the indices that will be asked for next.
    """

    def __init__(self, gather: Callable[[Indices], WindowBatch], peek: Callable[[], Indices]) -> None:
        self._gather, self._peek = gather, peek
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="windows")
        self._begun: tuple[Indices, Future[WindowBatch]] | None = None

    def batch(self, indices: Indices) -> WindowBatch:
        """The batch at ``indices``; the one after it is begun."""
        begun, self._begun = self._begun, None
        made = begun[1].result() if begun is not None and np.array_equal(begun[0], indices) else self._gather(indices)
        upcoming = self._peek()
        self._begun = upcoming, self._pool.submit(self._gather, upcoming)
        return made
