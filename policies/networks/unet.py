"""A FiLM-conditioned U-Net over time (Janner et al. 2022; Chi et al. 2023), laid out for processors.

Activations are ``(B, T, C)``, channels last, and a convolution is one matrix product over unfolded windows: chunks are so short (16 steps)
that the product in bfloat16 beats the libraries' convolutions, and norms and FiLM then run along contiguous channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.errors import UserError
from robolearn.policies.networks.embedding import StepEmbedding


class TimeConv(nn.Module):
    """Convolution over time with zero padding, "same" at stride 1: ``(B, T, in) -> (B, T / stride, out)``."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.linear = nn.Linear(kernel * inputs, outputs)

    def forward(self, values: Tensor) -> Tensor:
        """Convolve."""
        length, reach = values.shape[1], self.kernel // 2
        padded = functional.pad(values, (0, 0, reach, reach))
        windows = [padded[:, shift : shift + length : self.stride] for shift in range(self.kernel)]
        convolved: Tensor = self.linear(torch.cat(windows, -1))  # (B, T / stride, kernel * in) -> (B, T / stride, out)
        return convolved


class TimeUpsample(nn.Module):
    """Doubles the time steps: one convolution makes both halves of each step, ``(B, T, C) -> (B, 2 T, C)``."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.convolve = TimeConv(size, 2 * size, 3)

    def forward(self, values: Tensor) -> Tensor:
        """Upsample."""
        rows, length, size = values.shape
        doubled: Tensor = self.convolve(values).reshape(rows, 2 * length, size)
        return doubled


class ConvNorm(nn.Module):
    """Convolution, group norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.convolve = TimeConv(inputs, outputs, kernel)
        self.norm = nn.GroupNorm(groups, outputs)

    def forward(self, values: Tensor) -> Tensor:
        """``(B, T, in) -> (B, T, out)``."""
        convolved = self.convolve(values)
        # As an image of width 1 with channels last, which group norm has a kernel for: no copy is made.
        normed = self.norm(convolved.transpose(1, 2).unsqueeze(-1)).squeeze(-1).transpose(1, 2)
        return functional.silu(normed, inplace=not torch.is_grad_enabled())


class FilmBlock(nn.Module):
    """Two convolutions with FiLM between them, and a residual connection; the scale and shift are handed in."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.first = ConvNorm(inputs, outputs, kernel, groups)
        self.second = ConvNorm(outputs, outputs, kernel, groups)
        self.skip: nn.Module = nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs)

    def forward(self, values: Tensor, film: Tensor) -> Tensor:
        """``(B, T, in), (B, 1, 2 out) -> (B, T, out)``; ``film`` is scale, then shift."""
        scale, shift = film.chunk(2, -1)
        modulated: Tensor = self.second(torch.addcmul(shift, self.first(values), scale)) + self.skip(values)
        return modulated


class Unet(nn.Module):
    """Denoises a chunk given the condition; 4.3 M parameters at (128, 256), 66 M at (256, 512, 1024).

    Args:
        action_size: A.
        horizon: Tp; divisible by 2 for each level but the first.
        condition_size: C.
        down_dims: channels of each level.
        kernel: width of the convolutions; odd.
        groups: of the group norms.
        step_size: width of the step's embedding.

    Raises:
        UserError: sizes that do not divide.
    """

    def __init__(
        self,
        action_size: int,
        horizon: int,
        condition_size: int,
        *,
        down_dims: Sequence[int] = (128, 256),
        kernel: int = 5,
        groups: int = 8,
        step_size: int = 128,
    ) -> None:
        super().__init__()
        _check_sizes(horizon, down_dims, kernel, groups)
        sizes = [action_size, *down_dims]
        self.embed_step = StepEmbedding(step_size)

        def pair(inputs: int, outputs: int) -> nn.ModuleList:
            return nn.ModuleList([FilmBlock(inputs, outputs, kernel, groups), FilmBlock(outputs, outputs, kernel, groups)])

        self.down = nn.ModuleList(pair(inputs, outputs) for inputs, outputs in itertools.pairwise(sizes))
        self.middle = pair(sizes[-1], sizes[-1])
        self.up = nn.ModuleList(pair(2 * outputs, inputs) for inputs, outputs in reversed(list(itertools.pairwise(down_dims))))
        self.downsample = nn.ModuleList(TimeConv(size, size, 3, stride=2) for size in down_dims[:-1])
        self.upsample = nn.ModuleList(TimeUpsample(size) for size in reversed(down_dims[:-1]))
        self.output = nn.Sequential(ConvNorm(down_dims[0], down_dims[0], kernel, groups), nn.Linear(down_dims[0], action_size))
        self.film_sizes = [2 * block.outputs for block in self.modules() if isinstance(block, FilmBlock)]
        # All blocks' scales and shifts by two products: the condition's share is made once a row, the step's once a pass.
        self.film_condition = nn.Linear(condition_size, sum(self.film_sizes))
        self.film_step = nn.Linear(step_size, sum(self.film_sizes), bias=False)
        self._start_unmodulated()

    def prepare(self, condition: Tensor) -> Tensor:
        """The part that depends on the observation alone, computed once a row: ``(B, C) -> (B, F)``."""
        prepared: Tensor = self.film_condition(condition)
        return prepared

    def forward(self, chunk: Tensor, steps: Tensor, prepared: Tensor) -> Tensor:
        """``(M, Tp, A), (M,) or (1,), (M, F) -> (M, Tp, A)``."""
        film = prepared + self.film_step(functional.silu(self.embed_step(steps)))
        films = iter(film[:, None].split(self.film_sizes, -1))
        values, skips = chunk, []
        for level, (first, second) in enumerate(self.down):
            values = second(first(values, next(films)), next(films))
            skips.append(values)
            if level < len(self.downsample):
                values = self.downsample[level](values)
        for block in self.middle:
            values = block(values, next(films))
        for (first, second), upsample in zip(self.up, self.upsample, strict=True):
            values = second(first(torch.cat([values, skips.pop()], -1), next(films)), next(films))
            values = upsample(values)
        denoised: Tensor = self.output(values)
        return denoised

    def _start_unmodulated(self) -> None:
        """Biases such that scales start around 1 and shifts around 0."""
        with torch.no_grad():
            for scale_and_shift in self.film_condition.bias.split(self.film_sizes):
                scale_and_shift.zero_()
                scale_and_shift[: len(scale_and_shift) // 2] = 1.0


def _check_sizes(horizon: int, down_dims: Sequence[int], kernel: int, groups: int) -> None:
    halvings = 2 ** (len(down_dims) - 1)
    if not down_dims or horizon % halvings:
        raise UserError(f"prediction_horizon {horizon} must be divisible by {halvings} for {len(down_dims)} levels of down_dims")
    if kernel % 2 == 0:
        raise UserError(f"kernel must be odd, got {kernel}")
    if any(size % groups for size in down_dims):
        raise UserError(f"every size in down_dims must be divisible by groups = {groups}, got {list(down_dims)}")
