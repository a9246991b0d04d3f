"""A residual network for images (He et al. 2016), with group norms in place of batch norms, whose averages do not suit averaged weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ResNet(nn.Module):
    """Feature maps of images, 4 x 2^(S-1) times smaller for S stages; ``blocks=(2, 2, 2, 2)`` and width 64 are ResNet-18.

    Args:
        channels: of the images.
        width: channels of the first stage; every further stage has twice as many.
        blocks: residual blocks of each stage.
    """

    def __init__(self, channels: int, width: int = 64, blocks: Sequence[int] = (2, 2, 2, 2)) -> None:
        super().__init__()
        stem = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        layers: list[nn.Module] = [stem, _norm(width), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
        self.channels = width
        for stage, count in enumerate(blocks):
            for index in range(count):
                out = width * 2**stage
                layers.append(Block(self.channels, out, stride=2 if stage and not index else 1))
                self.channels = out
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, channels, h, w)``."""
        maps: Tensor = self.layers(images)
        return maps


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False),
            _norm(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            _norm(out),
        )
        plain = stride == 1 and channels == out
        self.shortcut = nn.Identity() if plain else nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), _norm(out))

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, channels, h, w) -> (B, out, h / stride, w / stride)``."""
        return nn.functional.relu(self.layers(maps) + self.shortcut(maps))


class SpatialSoftmax(nn.Module):
    """Where each of K learned features is, on average: ``(B, C, h, w) -> (B, 2 * K)`` in [-1, 1] (Finn et al. 2016)."""

    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, keypoints, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Expected column and row of each feature."""
        weights = self.score(maps).float().flatten(2).softmax(-1)  # (B, K, h * w)
        rows, columns = (torch.linspace(-1, 1, size, device=maps.device) for size in maps.shape[2:])
        places = torch.cartesian_prod(rows, columns).flip(-1)  # (h * w, 2), column first
        expected: Tensor = (weights @ places).flatten(1)
        return expected


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, max(1, channels // 16)), channels)
