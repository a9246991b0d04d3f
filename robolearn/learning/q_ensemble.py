"""An ensemble of action values evaluated as one batched network, with the layer norms that keep off-policy values finite."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class EnsembleLinear(nn.Module):
    """E independent linear layers as one batched product: ``(E, B, in) -> (E, B, out)``."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound))

    def forward(self, inputs: Tensor) -> Tensor:
        """``(E, B, in) -> (E, B, out)``."""
        return torch.baddbmm(self.bias, inputs, self.weight)


class EnsembleNorm(nn.Module):
    """Layer norm with a scale and a shift for each member."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, 1, width))
        self.shift = nn.Parameter(torch.zeros(members, 1, width))

    def forward(self, inputs: Tensor) -> Tensor:
        """``(E, B, W) -> (E, B, W)``."""
        return nn.functional.layer_norm(inputs, inputs.shape[-1:]) * self.scale + self.shift


class QEnsemble(nn.Module):
    """Q_e(features, residual) for e in 1..E (REDQ, arXiv 2101.05982, with layer norm as in RLPD, arXiv 2302.02948).

    Args:
        members: E.
        features: F.
        actions: A.
        hidden: width of each hidden layer.
    """

    def __init__(self, members: int, features: int, actions: int, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.members = members
        layers: list[nn.Module] = []
        width = features + actions
        for size in hidden:
            layers += [EnsembleLinear(members, width, size), EnsembleNorm(members, size), nn.ReLU()]
            width = size
        self.layers = nn.Sequential(*layers, EnsembleLinear(members, width, 1))

    def forward(self, features: Tensor, residuals: Tensor) -> Tensor:
        """``(B, F), (B, A) -> (E, B)``."""
        inputs = torch.cat([features, residuals], -1).expand(self.members, -1, -1)
        values: Tensor = self.layers(inputs)[..., 0].float()
        return values
