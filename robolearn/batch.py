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
    """

    observations: Mapping[str, Any]
    actions: Any
    is_pad: Any

    def torch(self, device: str = "cpu") -> WindowBatch:
        """The same batch as tensors on ``device``, without a copy on the CPU."""
        import torch

        return WindowBatch(
            {name: torch.from_numpy(value).to(device) for name, value in self.observations.items()},
            torch.from_numpy(self.actions).to(device),
            torch.from_numpy(self.is_pad).to(device),
        )
