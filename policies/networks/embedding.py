"""Embeddings of the denoising step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class StepEmbedding(nn.Module):
    """Sines and cosines of the step at geometric frequencies (Vaswani et al. 2017, section 3.5), then two linear layers.

    Args:
        size: width of the embedding; even.
        longest: longest wavelength in steps, over 2 pi.
    """

    frequencies: Tensor

    def __init__(self, size: int, longest: float = 10_000.0) -> None:
        super().__init__()
        half = size // 2
        self.register_buffer("frequencies", torch.exp(-math.log(longest) * torch.arange(half) / max(half - 1, 1)), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * half, 4 * size), nn.SiLU(), nn.Linear(4 * size, size))

    def forward(self, steps: Tensor) -> Tensor:
        """``(B,) -> (B, size)``."""
        angles = steps[:, None].float() * self.frequencies
        embedded: Tensor = self.layers(torch.cat([angles.sin(), angles.cos()], -1))
        return embedded
