"""A FiLM-conditioned U-Net over time (Janner et al. 2022; Chi et al. 2023), laid out for processors.

Activations are ``(B, T, C)``, channels last, and a convolution is one matrix product over unfolded windows: chunks are so short (16 steps)
that the product in bfloat16 beats the libraries' convolutions, and norms and FiLM then run along contiguous channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.errors import UserError
from robolearn.policies.networks.embedding import StepModulation


class TimeConv(nn.Module):
    """Convolution over time with zero padding, "same" at stride 1: ``(B, T, in) -> (B, T / stride, out)``."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.linear = nn.Linear(kernel * inputs, outputs)

    def forward(self, values: Tensor) -> Tensor:
        """Convolve."""
        padded = functional.pad(values, (0, 0, self.kernel // 2, self.kernel // 2))
        convolved: Tensor = self.linear(time_windows(padded, self.kernel, self.stride))
        return convolved


def time_windows(padded: Tensor, kernel: int, stride: int) -> Tensor:
    """Every window of ``kernel`` steps, flattened: ``(B, L, C) -> (B, (L - kernel) / stride + 1, kernel * C)``, by one copy."""
    if torch.is_grad_enabled():  # slices have a far cheaper gradient than overlapping windows
        last = padded.shape[1] - kernel + 1
        return torch.cat([padded[:, shift : shift + last : stride] for shift in range(kernel)], -1)
    return padded.unfold(1, kernel, stride).transpose(2, 3).flatten(2).contiguous()


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
        # As an image of width 1 with channels last, for which group norm has a kernel: no copy is made.
        image = convolved.unsqueeze(2).permute(0, 3, 1, 2)  # (B, C, T, 1)
        normed = self.norm(image).permute(0, 2, 3, 1).squeeze(2)  # (B, T, C)
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


class Level(nn.Module):
    """Two FiLM blocks, one after the other."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.first = FilmBlock(inputs, outputs, kernel, groups)
        self.second = FilmBlock(outputs, outputs, kernel, groups)

    def forward(self, values: Tensor, films: Iterator[Tensor]) -> Tensor:
        """``(B, T, in) -> (B, T, out)``; takes two scale-and-shifts ``(B, 1, 2 out)`` from ``films``."""
        changed: Tensor = self.second(self.first(values, next(films)), next(films))
        return changed


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

        self.down = nn.ModuleList(Level(inputs, outputs, kernel, groups) for inputs, outputs in itertools.pairwise(sizes))
        self.middle = Level(sizes[-1], sizes[-1], kernel, groups)
        widths = list(itertools.pairwise(down_dims))[::-1]
        self.up = nn.ModuleList(Level(2 * outputs, inputs, kernel, groups) for inputs, outputs in widths)
        self.downsample = nn.ModuleList(TimeConv(size, size, 3, stride=2) for size in down_dims[:-1])
        self.upsample = nn.ModuleList(TimeUpsample(size) for size in reversed(down_dims[:-1]))
        self.output = nn.Sequential(ConvNorm(down_dims[0], down_dims[0], kernel, groups), nn.Linear(down_dims[0], action_size))
        self.film_sizes = [2 * block.outputs for block in self.modules() if isinstance(block, FilmBlock)]
        # All blocks' scales and shifts by two products: the condition's share is made once a row, the step's once a pass.
        self.prepare = nn.Linear(condition_size, sum(self.film_sizes))
        self.modulate = StepModulation(step_size, action_size + sum(self.film_sizes))
        self._start_unmodulated()

    def forward(self, chunk: Tensor, modulation: Tensor, prepared: Tensor) -> Tensor:
        """Denoise: ``(M, Tp, A) -> (M, Tp, A)``.

        Args:
            chunk: noisy actions.
            modulation: ``modulate(steps)`` of each row, or one row for all.
            prepared: ``prepare(condition)`` of each row: what depends on the observation alone.
        """
        gain, film = modulation[:, None, : chunk.shape[-1]], prepared + modulation[:, chunk.shape[-1] :]
        films = iter(torch.split(film[:, None], self.film_sizes, -1))
        values, skips = chunk, []
        for index, level in enumerate(self.down):
            values = level(values, films)
            skips.append(values)
            if index < len(self.downsample):
                values = self.downsample[index](values)
        values = self.middle(values, films)
        for level, upsample in zip(self.up, self.upsample, strict=True):
            values = upsample(level(torch.cat([values, skips.pop()], -1), films))
        denoised: Tensor = torch.addcmul(self.output(values), chunk, gain)  # the gain: see MlpDenoiser
        return denoised

    def _start_unmodulated(self) -> None:
        """Biases such that scales start around 1 and shifts around 0."""
        with torch.no_grad():
            for scale_and_shift in torch.split(self.prepare.bias, self.film_sizes):
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
