"""The denoisers' layers are what their names say, however they are laid out in memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robolearn.policies.networks.mlp_denoiser import MlpDenoiser
from robolearn.policies.networks.packed import PackedLinear, packed
from robolearn.policies.networks.unet import ConvNorm, TimeConv, TimeUpsample, Unet, time_windows

NETWORKS = {
    "mlp": MlpDenoiser(10, 8, 5, hidden=32, blocks=2, step_size=16),
    "unet": Unet(10, 8, 5, down_dims=(16, 32), kernel=3, groups=4, step_size=16),
}


@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (3, 1), (3, 2)])
def test_a_time_convolution_is_a_convolution(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    ours, reference = TimeConv(6, 4, kernel, stride), nn.Conv1d(6, 4, kernel, stride, padding=kernel // 2)
    with torch.no_grad():
        reference.weight.copy_(ours.linear.weight.unflatten(1, (kernel, 6)).permute(0, 2, 1))
        reference.bias.copy_(ours.linear.bias)  # type: ignore[union-attr]
    values = torch.randn(3, 8, 6)
    torch.testing.assert_close(ours(values), reference(values.transpose(1, 2)).transpose(1, 2), atol=1e-5, rtol=1e-5)


def test_the_norm_is_over_groups_of_channels_and_all_of_time() -> None:
    torch.manual_seed(0)
    layer = ConvNorm(6, 8, 3, groups=2)
    convolved = layer.convolve(values := torch.randn(3, 8, 6))
    grouped = convolved.unflatten(-1, (2, 4))  # (B, T, G, C / G)
    mean, variance = grouped.mean((1, 3), keepdim=True), grouped.var((1, 3), keepdim=True, unbiased=False)
    expected = nn.functional.silu(((grouped - mean) / (variance + 1e-5).sqrt()).flatten(2))
    torch.testing.assert_close(layer(values), expected, atol=1e-5, rtol=1e-4)


def test_upsampling_keeps_the_order_of_time() -> None:
    layer = TimeUpsample(4)
    late = torch.zeros(1, 6, 4)
    late[:, 4:] = 1.0
    changed = (layer(late) - layer(torch.zeros(1, 6, 4))).abs().sum(-1)[0] > 0
    assert changed.tolist() == [False] * 6 + [True] * 6  # the window reaches one step back, which is two doubled steps


@pytest.mark.parametrize("name", NETWORKS)
def test_one_step_for_all_rows_is_that_step_in_each_row(name: str) -> None:
    network, chunk, condition = NETWORKS[name], torch.randn(6, 8, 10), torch.randn(6, 5)
    prepared = network.prepare(condition)
    together, apart = (network(chunk, network.modulate(steps), prepared) for steps in (torch.tensor([7]), torch.full((6,), 7)))
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_learns_and_every_input_matters(name: str) -> None:
    network = NETWORKS[name]
    chunk, condition, steps = torch.randn(6, 8, 10, requires_grad=True), torch.randn(6, 5, requires_grad=True), torch.arange(6)
    for weight in network.parameters():  # zero-initialised layers pass no gradient at first
        nn.init.normal_(weight, std=0.2)
    network(chunk, network.modulate(steps), network.prepare(condition)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in network.parameters())
    assert (chunk.grad != 0).all() and (condition.grad != 0).all()  # type: ignore[union-attr]


def test_the_default_sizes_are_as_documented() -> None:
    count = {name: sum(weight.numel() for weight in network.parameters()) for name, network in full_size().items()}
    assert 1.7e6 < count["mlp"] < 2.1e6
    assert 4.2e6 < count["unet"] < 4.5e6


def full_size() -> dict[str, nn.Module]:
    return {"mlp": MlpDenoiser(10, 16, 64), "unet": Unet(10, 16, 64)}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.15)])
def test_a_packed_copy_computes_the_same(name: str, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    network, chunk, condition, steps = NETWORKS[name], torch.randn(6, 8, 10), torch.randn(6, 5), torch.arange(6)
    copied = packed(network, dtype)
    assert any(isinstance(module, PackedLinear) for module in copied.modules()) and not any(
        isinstance(module, nn.Linear) for module in copied.modules()
    )
    with torch.inference_mode():
        expected = network(chunk, network.modulate(steps), network.prepare(condition))
        given = copied(chunk, copied.modulate(steps), copied.prepare(condition)).float()
    assert (given - expected).abs().max() < tolerance * expected.abs().max()


@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (3, 2)])
def test_windows_are_the_same_with_and_without_gradients(kernel: int, stride: int) -> None:
    values = torch.randn(3, 12, 4)
    with torch.no_grad():
        acting = time_windows(values, kernel, stride)
    assert torch.equal(acting, time_windows(values, kernel, stride))
