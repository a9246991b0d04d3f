"""Optimisers' states as flat names and tensors, which a checkpoint can hold without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def optimizer_tensors(optimizers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
    """States of named optimisers as tensors called ``optimizer.parameter.entry``; the inverse of :func:`restore_optimizer`."""
    named: dict[str, Tensor] = {}
    for name, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            named |= {f"{name}.{index}.{key}": value.clone() for key, value in state.items()}
    return named


def restore_optimizer(optimizers: Mapping[str, torch.optim.Optimizer], named: Mapping[str, Tensor]) -> None:
    """Load :func:`optimizer_tensors` to the bit; learning rates stay as they are."""
    for name, optimizer in optimizers.items():
        document: dict[str, Any] = optimizer.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for path, value in named.items():
            if path.startswith(f"{name}."):
                _, index, key = path.split(".")
                state.setdefault(int(index), {})[key] = value.clone()
        optimizer.load_state_dict({**document, "state": state})
