"""A residual MLP that denoises whole chunks: the cheapest denoiser, and on low-dimensional state as good as a convolution."""

from __future__ import annotations

from torch import Tensor, nn

from robolearn.policies.networks.embedding import StepEmbedding


class FilmResidualBlock(nn.Module):
    """``h + W2 silu(W1 (film(layer_norm(h))))``; scale and shift come from the denoising step (Perez et al. 2018)."""

    def __init__(self, size: int, step_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size, elementwise_affine=False)
        self.film = nn.Linear(step_size, 2 * size)
        self.layers = nn.Sequential(nn.Linear(size, size), nn.SiLU(), nn.Dropout(dropout), nn.Linear(size, size))
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, hidden: Tensor, step: Tensor) -> Tensor:
        """``(M, H), (M or 1, S) -> (M, H)``."""
        scale, shift = self.film(step).chunk(2, -1)
        updated: Tensor = hidden + self.layers(self.norm(hidden) * (1 + scale) + shift)
        return updated


class MlpDenoiser(nn.Module):
    """Denoises a flattened chunk given the condition; 1.9 M parameters as it stands for a 64-D observation.

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
        self.embed_step = StepEmbedding(step_size)
        self.embed_condition = nn.Linear(condition_size, hidden)
        self.embed_chunk = nn.Linear(horizon * action_size, hidden, bias=False)
        self.blocks = nn.ModuleList(FilmResidualBlock(hidden, step_size, dropout) for _ in range(blocks))
        self.output = nn.Sequential(nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, horizon * action_size))

    def prepare(self, condition: Tensor) -> Tensor:
        """The part that depends on the observation alone, computed once a row: ``(B, C) -> (B, H)``."""
        prepared: Tensor = self.embed_condition(condition)
        return prepared

    def forward(self, chunk: Tensor, steps: Tensor, prepared: Tensor) -> Tensor:
        """``(M, Tp, A), (M,) or (1,), (M, H) -> (M, Tp, A)``."""
        step = nn.functional.silu(self.embed_step(steps))
        hidden = (self.embed_chunk(chunk.flatten(1)) + prepared).float()  # the residual stream stays in float32 under autocast
        for block in self.blocks:
            hidden = block(hidden, step)
        denoised: Tensor = self.output(hidden)
        return denoised.unflatten(1, self.shape)
