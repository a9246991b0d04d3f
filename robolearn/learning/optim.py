"""Optimiser helpers: AdamW, a learning rate that depends on progress alone, and the state of a single optimiser."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from robolearn.learning import optimizer_state


def warmup_cosine(step: int, progress: float, warmup: int, floor: float = 0.0) -> float:
    """Factor of the learning rate: linear over ``warmup`` steps, then half a cosine of ``progress`` in [0, 1] to ``floor``."""
    rise = min(1.0, (step + 1) / max(warmup, 1))
    return rise * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))))


def adamw(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over all trained weights, as one kernel; decays matrices, not biases and gains."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in trained if weight.ndim >= 2], "weight_decay": weight_decay},
        {"params": [weight for weight in trained if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of one optimiser as named tensors; the inverse of :func:`load_optimizer_tensors`."""
    return optimizer_state.optimizer_tensors({"optimizer": optimizer})


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore :func:`optimizer_tensors` to the bit; learning rates stay as they are."""
    optimizer_state.restore_optimizer({"optimizer": optimizer}, tensors)
