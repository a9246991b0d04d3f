"""Images change in colour and focus as much as asked, all of a window alike, and not at all at no strength."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest
import torch

from robolearn.batch import WindowBatch
from robolearn.errors import UserError
from robolearn.learning.image_augmentation import ImageAugmentation, blurred
from robolearn.learning.parallel import Shard
from robolearn.spec import ArraySpec, EnvSpec, tool_pose_action

SPEC = EnvSpec(
    task="looking",
    observation={
        "front": ArraySpec((12, 16, 3), "uint8"),
        "wrist": ArraySpec((12, 16, 3), "uint8"),
        "depth": ArraySpec((12, 16, 1), "uint8"),
        "tcp_pos": ArraySpec((3,), units="m"),
    },
    action=tool_pose_action((-1.0,) * 3, (1.0,) * 3),
    control_hz=10.0,
)
READ = ("front", "wrist", "tcp_pos")
NOTHING: dict[str, Any] = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "blur": None}


def batch_of(rows: int, horizon: int = 2, low: int = 60, high: int = 190) -> WindowBatch:
    rng = np.random.default_rng(0)
    seen: dict[str, Any] = {name: rng.integers(low, high, (rows, 1, 12, 16, 3), np.uint8).repeat(horizon, 1) for name in READ[:2]}
    seen["tcp_pos"] = np.zeros((rows, horizon, 3), np.float32)
    return WindowBatch(seen, np.zeros((rows, 4, 10), np.float32), np.zeros((rows, 4), bool)).torch()


def changed(batch: WindowBatch, seed: int = 0, **options: Any) -> WindowBatch:
    return ImageAugmentation(SPEC, READ, **options)(batch, torch.Generator().manual_seed(seed))


def test_no_strength_changes_no_byte() -> None:
    batch = batch_of(8)
    after = changed(batch, **NOTHING)
    plain = changed(batch, **{**NOTHING, "brightness": 1e-9, "blur": (1e-3, 1e-3)})  # through all the arithmetic
    for name, values in batch.observations.items():
        assert torch.equal(after.observations[name], values)
        assert torch.equal(plain.observations[name], values)


def test_brightness_spreads_as_asked_and_keeps_bytes() -> None:
    batch = batch_of(400, horizon=1)
    after = changed(batch, **{**NOTHING, "brightness": 0.3})
    assert after.observations["front"].dtype == torch.uint8
    ratio = after.observations["front"].float().mean((1, 2, 3, 4)) / batch.observations["front"].float().mean((1, 2, 3, 4))
    assert float(ratio.min()) == pytest.approx(0.7, abs=0.02)
    assert float(ratio.max()) == pytest.approx(1.3, abs=0.02)
    assert float(ratio.std()) == pytest.approx(0.6 / 12**0.5, rel=0.1)  # uniform


def test_contrast_keeps_the_mean_and_saturation_the_grey() -> None:
    images = batch_of(50, horizon=1).observations["front"].movedim(-1, 2).float()
    luma = torch.tensor([0.299, 0.587, 0.114])
    grey = (images.movedim(2, -1) @ luma)[..., None]
    drawn = torch.full((50, 4), 0.7)
    contrasted = ImageAugmentation(SPEC, READ, **{**NOTHING, "contrast": 0.5}).jitter(images, drawn)
    mean = grey.mean((1, 2, 3))[:, :, None, None, None]
    torch.testing.assert_close(contrasted, mean + 1.35 * (images - mean), atol=1e-3, rtol=1e-5)
    saturated = ImageAugmentation(SPEC, READ, **{**NOTHING, "saturation": 0.5}).jitter(images, drawn).movedim(2, -1)
    torch.testing.assert_close((saturated @ luma)[..., None], grey, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(saturated - grey, 1.35 * (images.movedim(2, -1) - grey), atol=1e-3, rtol=1e-5)


def test_a_third_of_a_turn_of_hue_exchanges_red_green_and_blue() -> None:
    images = torch.tensor([200.0, 90.0, 60.0]).view(1, 1, 3, 1, 1)
    augmentation = ImageAugmentation(SPEC, READ, **{**NOTHING, "hue": 0.5})
    turned = augmentation.jitter(images, torch.full((1, 4), 2 / 3)).flatten()
    torch.testing.assert_close(turned, torch.tensor([60.0, 200.0, 90.0]), atol=1e-3, rtol=0)
    little = augmentation.jitter(images, torch.full((1, 4), 0.1)).flatten()
    hues = [colorsys.rgb_to_hsv(*(values / 255).tolist())[0] for values in (images.flatten(), little)]
    assert hues[1] - hues[0] == pytest.approx(0.05, abs=0.02)  # a twentieth of a turn


def test_blur_spreads_a_point_as_a_gaussian_and_loses_no_light() -> None:
    images = torch.zeros(2, 1, 1, 15, 15)
    images[..., 7, 7] = 1
    spread = blurred(images, torch.tensor([0.5, 1.0]), 7)[:, 0, 0]
    torch.testing.assert_close(spread.sum((1, 2)), torch.ones(2))
    places = torch.arange(15.0) - 7
    variance = (spread.sum(1) * places**2).sum(1)
    torch.testing.assert_close(variance.sqrt(), torch.tensor([0.5, 1.0]), atol=0.05, rtol=0)


def test_a_windows_images_change_alike_and_cameras_apart() -> None:
    batch = batch_of(30)
    after = changed(batch).observations
    assert torch.equal(after["front"][:, 0], after["front"][:, 1])
    assert not torch.equal(after["front"], batch.observations["front"])
    same = WindowBatch({**batch.observations, "wrist": batch.observations["front"]}, batch.actions, batch.is_pad)
    after = changed(same).observations
    assert not torch.equal(after["front"], after["wrist"])


def test_a_share_of_the_windows_changes_and_the_same_generator_changes_them_alike() -> None:
    batch = batch_of(200, horizon=1)
    first, second = changed(batch, seed=3, share=0.4), changed(batch, seed=3, share=0.4)
    for name, values in first.observations.items():
        assert torch.equal(values, second.observations[name])
    hit = (first.observations["front"] != batch.observations["front"]).flatten(1).any(1)
    assert float(hit.float().mean()) == pytest.approx(0.4, abs=0.1)
    part = WindowBatch({name: values[100:] for name, values in batch.observations.items()}, batch.actions[100:], batch.is_pad[100:])
    mine = ImageAugmentation(SPEC, READ, share=0.4)(part, torch.Generator().manual_seed(3), Shard(100, 100, 200))
    assert (mine.observations["front"].int() - first.observations["front"][100:].int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keys": ["frnt"]}, "reads no image 'frnt'; it reads front, wrist; did you mean 'front'"),
        ({"hue": 0.7}, "hue must be from 0 to 0.5"),
        ({"kernel": 4}, "an odd number of pixels, got 4"),
        ({"blur": [2.0, 1.0]}, "blur is .smallest, largest."),
    ],
)
def test_a_mistake_names_what_would_have_worked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ImageAugmentation(SPEC, READ, **options)


def test_images_that_nobody_reads_are_not_augmented() -> None:
    with pytest.raises(UserError, match="the policy reads no images, but tcp_pos"):
        ImageAugmentation(SPEC, ("tcp_pos",))
