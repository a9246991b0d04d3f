"""An exponential moving average of weights: what acts, while the raw weights learn."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """A second model whose weights trail the first's: ``average <- d * average + (1 - d) * weight``.

    Early on d is ``(1 + n) / (10 + n)`` after n updates, so that the first average is not the random start.

    Args:
        model: the one that learns.
        decay: d in the long run; 0 copies the weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow ``model`` after its ``step``-th gradient step, counted from 0; buffers are copied."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages = [average.detach() for average in self.model.parameters()]
        torch._foreach_lerp_(averages, [weight.detach() for weight in model.parameters()], 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
