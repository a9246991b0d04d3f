"""What a policy sees: camera images, uint8 as they were recorded, to a few numbers each, by one path in training and in acting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from robolearn.errors import UserError, nearest
from robolearn.learning.parallel import Shard, rand
from robolearn.normalize import Normalizer
from robolearn.policies.networks.resnet import ResNet, SpatialSoftmax
from robolearn.spec import EnvSpec

Size = tuple[int, int]


class Encoder(Protocol):
    """What a policy asks of whatever looks at images for it: a module with these.

    Attributes:
        keys: cameras.
        size: numbers that the images of one step become, all cameras together.
    """

    keys: tuple[str, ...]
    size: int

    def __call__(self, images: Mapping[str, Tensor], generator: torch.Generator | None = None, shard: Shard | None = None) -> Tensor:
        """``{name: (B, To, H, W, C) uint8} -> (B, To, size)``; ``generator`` draws what is drawn while training."""
        ...


class ImageEncoder(nn.Module):
    """A ResNet for each camera; images are resized, cropped (anywhere in training, in the middle otherwise) and scaled to [-1, 1] here.

    Args:
        env_spec: of the task.
        normalizer: not used: pixels have a range of their own.
        keys: cameras; every image that the task shows unless given.
        features: numbers that an image becomes.
        width: channels of the ResNet's first stage; 64 is ResNet-18's, 16 suits processors.
        blocks: residual blocks of each stage.
        pooling: ``average`` of the last maps, or ``spatial_softmax``: where each of ``keypoints`` learned features is.
        keypoints: of the spatial softmax.
        crop: (height, width) cut out of each image; null takes all of it.
        resize: (height, width) to which images are brought before.
        whole: cameras that are resized to the crop's size instead of cropped, such as a wrist's, whose edges matter.

    Raises:
        UserError: no such camera, or an image smaller than its crop.
    """

    def __init__(
        self,
        *,
        env_spec: EnvSpec,
        normalizer: Normalizer,
        keys: Sequence[str] | None = None,
        features: int = 128,
        width: int = 64,
        blocks: Sequence[int] = (2, 2, 2, 2),
        pooling: str = "average",
        keypoints: int = 32,
        crop: Sequence[int] | None = (224, 224),
        resize: Sequence[int] | None = None,
        whole: Sequence[str] = (),
    ) -> None:
        super().__init__()
        cameras = [name for name, spec in env_spec.observation.items() if spec.is_image]
        self.keys = tuple(cameras if keys is None else keys)
        for name in (*self.keys, *whole):
            if name not in cameras:
                raise UserError(
                    f"task {env_spec.task!r} shows no image {name!r}; it shows {', '.join(cameras) or 'none'}{nearest(name, cameras)}"
                )
        if not self.keys:
            raise UserError("an image encoder without images: name them among the policy's observation_keys")
        if pooling not in ("average", "spatial_softmax"):
            raise UserError(f"no pooling {pooling!r}; there are average, spatial_softmax")
        self.crop, self.resizes = _size("crop", crop), dict.fromkeys(self.keys, _size("resize", resize))
        self.resizes |= dict.fromkeys(whole, self.crop or self.resizes[self.keys[0]])
        self.networks = nn.ModuleList()  # in the order of the cameras, whose names may hold dots
        for name in self.keys:
            height, breadth, channels = env_spec.observation[name].shape
            given = self.resizes[name] or (height, breadth)
            if self.crop and (self.crop[0] > given[0] or self.crop[1] > given[1]):
                raise UserError(f"a crop of {self.crop} does not fit into {name!r}, {given}; give crop, or resize, another size")
            trunk = ResNet(channels, width, blocks)
            pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if pooling == "average" else [SpatialSoftmax(trunk.channels, keypoints)]
            pooled = trunk.channels if pooling == "average" else 2 * keypoints
            self.networks.append(nn.Sequential(trunk, *pool, nn.Linear(pooled, features), nn.LayerNorm(features)))
        self.size = features * len(self.keys)

    def forward(self, images: Mapping[str, Tensor], generator: torch.Generator | None = None, shard: Shard | None = None) -> Tensor:
        """Features of ``{name: (B, To, H, W, C) uint8}``: ``(B, To, size)``.

        Args:
            images: of all cameras; others are ignored.
            generator: draws where images are cropped, while training; in the middle without it.
            shard: which rows of a global batch these are.
        """
        seen = []
        for name, network in zip(self.keys, self.networks, strict=True):
            pixels = self.pixels(name, images[name], generator, shard)  # (B, To, C, h, w)
            encoded: Tensor = network(pixels.flatten(0, 1).contiguous(memory_format=torch.channels_last))
            seen.append(encoded.unflatten(0, pixels.shape[:2]))  # type: ignore[no-untyped-call]
        return torch.cat(seen, -1)

    def pixels(self, name: str, images: Tensor, generator: torch.Generator | None = None, shard: Shard | None = None) -> Tensor:
        """What the network of a camera sees: ``(B, To, H, W, C) uint8 -> (B, To, C, h, w)`` in [-1, 1].

        All images of a window are cropped at the same place.
        """
        if images.dtype != torch.uint8:
            raise UserError(f"images are uint8, as they are recorded; {name!r} came as {images.dtype}")
        planes = images.movedim(-1, 2)  # (B, To, C, H, W)
        size = self.resizes[name]
        if size and size != planes.shape[-2:]:
            flat = planes.flatten(0, 1).float()
            resized = nn.functional.interpolate(flat, size, mode="bilinear", align_corners=False, antialias=True)
            planes = resized.view(*planes.shape[:3], *size)
        if self.crop and self.crop != planes.shape[-2:]:
            planes = crop_each(planes, self._corners(planes, generator, shard), self.crop)
        return planes.float() / 127.5 - 1

    def _corners(self, planes: Tensor, generator: torch.Generator | None, shard: Shard | None) -> Tensor:
        """Upper left corners of the crops, (B, 2): anywhere in training, in the middle otherwise."""
        assert self.crop is not None
        room = torch.tensor([size - crop for size, crop in zip(planes.shape[-2:], self.crop, strict=True)])  # (2,)
        if self.training and generator is not None:
            return (rand((len(planes), 2), generator, shard).cpu() * (room + 1)).long()
        return (room // 2).expand(len(planes), 2)


def crop_each(planes: Tensor, corners: Tensor, size: Size) -> Tensor:
    """Cut ``size`` (h, w) out of each row of ``(B, ..., H, W)`` at its corner ``(B, 2)``: ``(B, ..., h, w)``."""
    height, width = size
    return torch.stack(
        [row[..., top : top + height, left : left + width] for row, (top, left) in zip(planes, corners.tolist(), strict=True)]
    )


def _size(name: str, size: Sequence[int] | None) -> Size | None:
    if size is None:
        return None
    if len(size) != 2 or min(size) < 1:
        raise UserError(f"{name} is [height, width], got {list(size)}")
    return (int(size[0]), int(size[1]))
