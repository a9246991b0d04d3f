"""What a denoiser makes of the denoising step: scales, shifts and gains."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class StepModulation(nn.Module):
    """Everything in a denoiser that depends on the step alone, in one vector, so that acting can make it once a step and keep it.

    Sines and cosines of the step at geometric frequencies (Vaswani et al. 2017, section 3.5), then three linear layers, of which the last
    starts at 0.

    Args:
        size: width of the embedding; even.
        outputs: length of the vector.
        longest: longest wavelength in steps, over 2 pi.
    """

    frequencies: Tensor

    def __init__(self, size: int, outputs: int, longest: float = 10_000.0) -> None:
        super().__init__()
        half = size // 2
        self.register_buffer("frequencies", torch.exp(-math.log(longest) * torch.arange(half) / max(half - 1, 1)), persistent=False)
        last = nn.Linear(size, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(2 * half, 4 * size), nn.SiLU(), nn.Linear(4 * size, size), nn.SiLU(), last)

    def forward(self, steps: Tensor) -> Tensor:
        """``(M,) -> (M, outputs)``."""
        angles = steps[:, None].float() * self.frequencies
        modulation: Tensor = self.layers(torch.cat([angles.sin(), angles.cos()], -1))
        return modulation
