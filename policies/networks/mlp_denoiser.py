"""A residual MLP that denoises whole chunks: the cheapest denoiser, and on low-dimensional state as good as a convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robolearn.policies.networks.embedding import StepModulation


class FilmResidualBlock(nn.Module):
    """``h + W2 silu(W1 (layer_norm(h) * (1 + scale) + shift))``; scale and shift come from the step (Perez et al. 2018)."""

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size, elementwise_affine=False)
        self.layers = nn.Sequential(nn.Linear(size, size), nn.SiLU(), nn.Dropout(dropout), nn.Linear(size, size))

    def forward(self, hidden: Tensor, film: Tensor) -> Tensor:
        """``(M, H), (M or 1, 2 H) -> (M, H)``."""
        scale, shift = film.chunk(2, -1)
        updated: Tensor = hidden + self.layers(torch.addcmul(shift, self.norm(hidden), 1 + scale))
        return updated


class MlpDenoiser(nn.Module):
    """Denoises a flattened chunk given the condition; 2.0 M parameters as it stands for a 64-D observation.

    What a denoiser predicts is mostly a multiple of its input (the preconditioning of Karras et al. 2022, section 5): a gain for each
    channel, which depends on the step alone, spares the network carrying the chunk's noise through its layers.

    Args:
        action_size: A.
        horizon: Tp.
        condition_size: C.
        hidden: width of the residual blocks.
        blocks: how many.
        step_size: width of the step's embedding.
        dropout: within the blocks.
    """

    def __init__(
        self,
        action_size: int,
        horizon: int,
        condition_size: int,
        *,
        hidden: int = 512,
        blocks: int = 3,
        step_size: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape = (horizon, action_size)
        self.modulation_sizes = [action_size, *(2 * hidden,) * blocks]
        self.modulate = StepModulation(step_size, sum(self.modulation_sizes))
        self.prepare = nn.Linear(condition_size, hidden)
        self.embed_chunk = nn.Linear(horizon * action_size, hidden, bias=False)
        self.blocks = nn.ModuleList(FilmResidualBlock(hidden, dropout) for _ in range(blocks))
        self.output = nn.Sequential(nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, horizon * action_size))

    def forward(self, chunk: Tensor, modulation: Tensor, prepared: Tensor) -> Tensor:
        """Denoise: ``(M, Tp, A) -> (M, Tp, A)``.

        Args:
            chunk: noisy actions.
            modulation: ``modulate(steps)`` of each row, or one row for all.
            prepared: ``prepare(condition)`` of each row: what depends on the observation alone.
        """
        gain, *films = torch.split(modulation, self.modulation_sizes, -1)
        # The residual stream stays in float32 where matrix products are in bfloat16.
        hidden = (self.embed_chunk(chunk.flatten(1)) + prepared).float()
        for block, film in zip(self.blocks, films, strict=True):
            hidden = block(hidden, film)
        denoised: Tensor = torch.addcmul(torch.unflatten(self.output(hidden), 1, self.shape), chunk, gain[:, None])
        return denoised
