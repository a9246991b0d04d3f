"""One policy for several tasks: a learned vector for each tells the network which one it is at (JUICER's multitask training)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robolearn.errors import UserError, nearest


class TaskEmbedding(nn.Module):
    """A vector for each task, and which task the policy acts in: the one it was told, else its environment's.

    Args:
        tasks: their names, in the order of their numbers.
        size: of a vector; JUICER's have 128 numbers.

    Raises:
        UserError: no tasks, one named twice, or a negative size.
    """

    def __init__(self, tasks: Sequence[str], size: int) -> None:
        super().__init__()
        if size < 1 or not tasks or len(set(tasks)) != len(tasks):
            named = ", ".join(tasks) or "none"
            raise UserError(f"a task embedding has a size of at least 1 and tasks with different names, got {size} and {named}")
        self.tasks, self.size = tuple(tasks), size
        self.vectors = nn.Embedding(len(tasks), size)
        self.told: int | None = None
        self.around: int | None = None

    def number(self, task: str) -> int:
        """Number of a task by its name.

        Raises:
            UserError: the policy was not trained on it; the message names the nearest.
        """
        if task not in self.tasks:
            known = ", ".join(self.tasks)
            raise UserError(f"this policy was trained on the tasks {known}, not on {task!r}{nearest(task, self.tasks)}; or say task=...")
        return self.tasks.index(task)

    def acting(self, rows: int) -> Tensor:
        """Number of the task that the policy acts in, ``(rows,)``.

        Raises:
            UserError: there are several tasks, and nobody has said which.
        """
        number = self.told if self.told is not None else self.around
        if number is None and len(self.tasks) > 1:
            raise UserError(f"this policy was trained on several tasks: say task=..., one of {', '.join(self.tasks)}")
        return torch.full((rows,), number or 0, device=self.vectors.weight.device)

    def forward(self, numbers: Tensor) -> Tensor:
        """``(B,) -> (B, size)``."""
        vectors: Tensor = self.vectors(numbers)
        return vectors
