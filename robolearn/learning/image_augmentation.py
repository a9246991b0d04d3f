"""Image augmentation: colours and focus as they might have been, so that a policy learns what it should look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from robolearn.batch import WindowBatch
from robolearn.errors import UserError, check_share, nearest
from robolearn.learning.parallel import Shard, rand
from robolearn.spec import EnvSpec

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in grey (ITU-R BT.601)


class ImageAugmentation:
    """Jitters the colours of a share of the windows and blurs them, each camera by itself, all images of a window alike.

    Brightness, contrast, saturation and hue are linear maps of (red, green, blue), so they are applied as one. JUICER (Ankile et
    al. 2024) jitters by 0.3 and blurs with 5 pixels. Random crops are the encoder's, which crops in acting too.

    Args:
        env_spec: of the demonstrations.
        observation_keys: what the policy reads.
        share: of the windows that are changed.
        brightness: factor, drawn from 1 - b to 1 + b.
        contrast: the same, about the window's mean grey.
        saturation: the same, about each pixel's grey.
        hue: largest turn about the grey axis, in turns (0.5 reaches every hue).
        blur: smallest and largest standard deviation of a Gaussian, in pixels; null blurs nothing.
        kernel: pixels that the Gaussian spans; odd.
        keys: cameras; every image that the policy reads unless given.

    Raises:
        UserError: a value out of range, or an image that the policy does not read.
    """

    def __init__(
        self,
        env_spec: EnvSpec,
        observation_keys: Sequence[str],
        *,
        share: float = 1.0,
        brightness: float = 0.3,
        contrast: float = 0.3,
        saturation: float = 0.3,
        hue: float = 0.3,
        blur: Sequence[float] | None = (0.1, 5.0),
        kernel: int = 5,
        keys: Sequence[str] | None = None,
    ) -> None:
        check_share(share=share, brightness=brightness, contrast=contrast, saturation=saturation)
        check_share(0.0, 0.5, hue=hue)
        if blur is not None and not (len(blur) == 2 and 0 < blur[0] <= blur[1]):
            raise UserError(f"blur is [smallest, largest] standard deviation above 0, or null; got {list(blur)}")
        if kernel < 1 or kernel % 2 == 0:
            raise UserError(f"a kernel spans an odd number of pixels, got {kernel}")
        images = [name for name in observation_keys if env_spec.observation[name].is_image]
        self.keys = tuple(images if keys is None else keys)
        for name in self.keys:
            if name not in images:
                raise UserError(f"the policy reads no image {name!r}; it reads {', '.join(images) or 'none'}{nearest(name, images)}")
        if not self.keys:
            raise UserError(f"nothing to augment: the policy reads no images, but {', '.join(observation_keys)}")
        self.share, self.kernel, self.blur = share, kernel, tuple(blur) if blur is not None else None
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def __call__(self, batch: WindowBatch, generator: torch.Generator, shard: Shard | None = None) -> WindowBatch:
        """The batch with changed images ``(B, To, H, W, C) uint8``; a camera's draws do not depend on what it shows."""
        if self.share == 0:
            return batch
        changed = dict(batch.observations)
        for name in self.keys:
            images: Tensor = changed[name]
            drawn = rand((len(images), 6), generator, shard).to(images.device)  # (B, 6)
            hit = drawn[:, 0] < self.share
            values = images.movedim(-1, 2).float()  # (B, To, C, H, W)
            if values.shape[2] == 3 and any((self.brightness, self.contrast, self.saturation, self.hue)):
                values = self.jitter(values, 2 * drawn[:, 1:5] - 1)
            if self.blur:
                low, high = self.blur
                values = blurred(values, low + (high - low) * drawn[:, 5], self.kernel)
            after = values.round_().clamp_(0, 255).to(torch.uint8).movedim(2, -1)
            changed[name] = torch.where(hit.view(-1, 1, 1, 1, 1), after, images)
        return replace(batch, observations=changed)

    def jitter(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Colours of ``(B, To, 3, H, W)`` in 0..255 changed by ``drawn (B, 4)`` in [-1, 1] of each strength; not clipped."""
        strengths = torch.tensor([self.brightness, self.contrast, self.saturation], device=images.device)
        bright, contrast, saturation = (1 + drawn[:, :3] * strengths)[..., None, None].unbind(1)  # (B, 1, 1) each
        grey = torch.tensor(LUMA, device=images.device)
        eye = torch.eye(3, device=images.device)
        faded = saturation * eye + (1 - saturation) * grey.expand(3, 3)  # (B, 3, 3)
        turned = _about_grey(2 * math.pi * self.hue * drawn[:, 3])
        matrix = turned @ faded * contrast * bright
        means = images.mean((1, 3, 4)) @ grey  # (B,)
        shift = ((1 - contrast) * bright)[:, 0] * means[:, None]  # (B, 1); grey keeps its colour under fading and turning
        mixed = torch.einsum("bij,btjhw->btihw", matrix, images)
        return mixed + shift[:, None, :, None, None]


def blurred(images: Tensor, deviations: Tensor, kernel: int) -> Tensor:
    """Each row of ``(B, To, C, H, W)`` under a Gaussian of its own deviation ``(B,)`` [pixels]; edges are repeated."""
    half = kernel // 2
    places = torch.arange(-half, half + 1, device=images.device)
    weights = torch.exp(-0.5 * (places / deviations[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdim=True))[..., None, None, None, None]  # (B, kernel, 1, 1, 1, 1)
    for axis, edges in ((-1, (half, half, 0, 0)), (-2, (0, 0, half, half))):
        size = images.shape[axis]
        padded = torch.nn.functional.pad(images.flatten(0, 1), edges, mode="replicate").unflatten(0, images.shape[:2])  # type: ignore[no-untyped-call]
        images = sum(weights[:, place] * padded.narrow(axis, place, size) for place in range(kernel))
    return images


def _about_grey(angles: Tensor) -> Tensor:
    """Turns of (red, green, blue) about the grey axis: ``(B,) [rad] -> (B, 3, 3)``; the sum of the three stays."""
    axis = 1 / math.sqrt(3)
    cross = axis * torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=angles.device)
    sine, cosine = angles.sin()[:, None, None], angles.cos()[:, None, None]
    return torch.eye(3, device=angles.device) + sine * cross + (1 - cosine) * (cross @ cross)
