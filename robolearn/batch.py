"""The window batch: what a data set hands to behaviour cloning and to critics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WindowBatch:
    """B windows cut from episodes; numpy arrays, or torch tensors after :meth:`torch`.

    Args:
        observations: ``{name: (B, To, ...)}``.
        actions: ``(B, Tp, A)`` in environment units.
        is_pad: ``(B, Tp)`` bool, true where the window leaves its episode.
        task: ``(B,)`` number of each window's task, where several are learned at once.
    """

    observations: Mapping[str, Any]
    actions: Any
    is_pad: Any
    task: Any = None

    def torch(self, device: str = "cpu") -> WindowBatch:
        """The same batch as tensors on ``device``, without a copy on the CPU; float64, which some projects record, becomes float32."""
        import torch

        def tensor(values: Any) -> torch.Tensor:
            there = torch.from_numpy(values).to(device)
            return there.float() if there.dtype == torch.float64 else there

        observations = {name: tensor(value) for name, value in self.observations.items()}
        return WindowBatch(observations, tensor(self.actions), tensor(self.is_pad), None if self.task is None else tensor(self.task))
