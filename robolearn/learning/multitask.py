"""Several tasks in one training: which task each window is of, and which one a policy is put to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.batch import WindowBatch
from robolearn.errors import UserError, nearest


class TaskedWindows:
    """Windows that say their task's number; wraps a data set whose ``episode_of (n,)`` says each window's episode.

    Args:
        data: windows.
        tasks: ``(E,)`` task of each of its episodes.
        known: names of the tasks, in the order of their numbers.

    Raises:
        UserError: an episode of a task that is not among them.
    """

    def __init__(self, data: Any, tasks: NDArray[np.str_], known: Sequence[str]) -> None:
        for task in dict.fromkeys(tasks.tolist()):
            if task not in known:
                raise UserError(f"the store holds the task {task!r}; policy.tasks names {', '.join(known)}{nearest(task, known)}")
        self._data = data
        self._numbers = np.array([list(known).index(task) for task in tasks.tolist()], np.int64)

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, indices: NDArray[np.int64]) -> WindowBatch:
        """The windows at ``indices (B,)``, with ``task (B,)``."""
        batch: WindowBatch = self._data.batch(indices)
        return replace(batch, task=self._numbers[self._data.episode_of[indices]])


def tasks_of(stores: Sequence[Any], episodes: NDArray[np.int64]) -> NDArray[np.str_]:
    """Task of each chosen episode (counted over all stores): its own where its provenance says one, else its store's; ``(E,)``."""
    tasks = [str(store.provenance(index).get("task") or store.env_spec.task) for store in stores for index in range(store.num_episodes)]
    return np.array(tasks, str)[episodes]


def take_task(policy: Any, task: str) -> None:
    """Tell a policy the task of the environment it is put into; one that knows but one task takes no notice.

    Raises:
        UserError: it was trained on others, and nobody has told it which of them to act for.
    """
    if hasattr(policy, "take_task"):
        policy.take_task(task)
