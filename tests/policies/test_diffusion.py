"""A diffusion policy learns several ways of doing a thing, and draws them by address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robolearn.batch import WindowBatch
from robolearn.checkpoint import load_model, save_checkpoint
from robolearn.errors import UserError
from robolearn.policies.diffusion import DiffusionPolicy
from robolearn.rotation import matrix_from_rot6d
from tests.policies.small import HORIZON, KEYS, NETWORKS, WORDS, numbers, observations, random_batch, small_diffusion

MODES = (-0.4, 0.4)
EVERYWHERE = [(network, scheduler) for network in NETWORKS for scheduler in ("ddim", "dpm-solver++")]


def two_ways(rows: int) -> WindowBatch:
    """From the same observation, half the demonstrations go left and half go right; noise tells no two apart."""
    batch = random_batch(rows)
    side = np.where(np.arange(rows) % 2, *MODES[::-1])
    batch.actions[..., :3] = (side[:, None] * np.linspace(0.5, 1, HORIZON))[..., None]
    still = {name: np.zeros_like(values) for name, values in batch.observations.items()}
    return WindowBatch(still, batch.actions, batch.is_pad)


@pytest.fixture(scope="module", params=["v", "epsilon", "sample"])
def undecided(request: pytest.FixtureRequest) -> tuple[str, dict[str, torch.Tensor]]:
    """What a network predicts, and its weights once it has learned both ways; the scheduler of its samples plays no part in that."""
    policy = small_diffusion(hidden=192, prediction_type=request.param)
    optimizer = torch.optim.AdamW(policy.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    batch = two_ways(64).torch()
    for step in range(800):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / 800)
        loss, _ = policy.loss(batch, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return request.param, policy.state_dict()


@pytest.mark.parametrize("scheduler", ["ddim", "dpm-solver++"])
def test_it_draws_both_ways_and_nothing_between(undecided: tuple[str, dict[str, torch.Tensor]], scheduler: str) -> None:
    prediction_type, weights = undecided
    policy = small_diffusion(hidden=192, prediction_type=prediction_type, inference_scheduler=scheduler, inference_steps=10)
    policy.load_state_dict(weights)
    still = {name: np.zeros((200, 1, 3), np.float32) for name in KEYS}
    ends = policy.eval().sample(still, *numbers(200))[:, 0, -1, 0]
    distance = np.abs(ends[:, None] - np.array(MODES))  # (200, 2)
    assert (distance.min(1) < 0.12).mean() > 0.8
    assert 0.3 < (distance.argmin(1) == 0).mean() < 0.7


@pytest.mark.parametrize(("network", "scheduler"), EVERYWHERE)
def test_a_sample_is_determined_by_observation_seed_and_decision(network: str, scheduler: str) -> None:
    policy = small_diffusion(network, inference_scheduler=scheduler).eval()
    seeds, decisions = numbers(6)
    first = policy.sample(observations(6), seeds, decisions, 3)
    assert (first.shape, first.dtype) == ((6, 3, HORIZON, 10), np.float32)
    np.testing.assert_array_equal(first, policy.sample(observations(6), seeds, decisions, 3))
    for changed in (policy.sample(observations(6), seeds + 1, decisions, 3), policy.sample(observations(6), seeds, decisions + 1, 3)):
        assert (np.abs(changed - first).max((2, 3)) > 1e-3).all()


@pytest.mark.parametrize(("network", "scheduler"), EVERYWHERE)
def test_candidate_0_and_every_row_are_what_they_would_be_alone(network: str, scheduler: str) -> None:
    policy = small_diffusion(network, inference_scheduler=scheduler).eval()
    seen, (seeds, decisions) = observations(6), numbers(6)
    many = policy.sample(seen, seeds, decisions, 4)
    np.testing.assert_allclose(policy.sample(seen, seeds, decisions)[:, 0], many[:, 0], atol=1e-5)
    order = np.array([4, 2, 0])
    some = policy.sample({name: values[order] for name, values in seen.items()}, seeds[order], decisions[order], 4)
    np.testing.assert_allclose(some, many[order], atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_bfloat16_draws_nearly_what_float32_draws(network: str) -> None:
    exact, fast = small_diffusion(network).eval(), small_diffusion(network, precision="bfloat16").eval()
    seen, address = observations(16), numbers(16)
    np.testing.assert_allclose(fast.sample(seen, *address)[..., :3], exact.sample(seen, *address)[..., :3], atol=0.02)


def test_the_precision_is_free_at_run_time() -> None:
    policy, seen, address = small_diffusion(precision="bfloat16").eval(), observations(4), numbers(4)
    fast, exact = policy.sample(seen, *address), small_diffusion().eval().sample(seen, *address)
    policy.set_precision("float32")
    np.testing.assert_array_equal(policy.sample(seen, *address), exact)
    assert (fast != exact).any()


def test_a_changed_weight_changes_what_the_fast_copy_draws() -> None:
    policy = small_diffusion(precision="bfloat16").eval()
    seen, address = observations(4), numbers(4)
    before = policy.sample(seen, *address)
    other = small_diffusion(seed=1, precision="bfloat16").eval()
    policy.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(policy.sample(seen, *address), other.sample(seen, *address))
    assert np.abs(policy.sample(seen, *address) - before).max() > 1e-3


def test_rotations_leave_orthonormal_and_within_reach_of_the_normaliser() -> None:
    actions = small_diffusion().eval().sample(observations(8), *numbers(8), 2)
    rotations = matrix_from_rot6d(actions[..., 3:9].astype(np.float64))
    np.testing.assert_allclose(rotations[..., :2, :].reshape(actions[..., 3:9].shape), actions[..., 3:9], atol=1e-5)
    assert np.abs(actions[..., :3]).max() <= WORDS["normalizer"]["action"].scale[0] * 1.0001


def test_what_lies_beyond_an_episode_does_not_count() -> None:
    def loss(mask: bool, shift: float) -> float:
        batch = random_batch(4, pad=3)
        batch.actions[:, -3:, :3] += shift
        policy = small_diffusion(mask_padding=mask)
        # The MLP sees the whole noisy chunk, so the padded part is cut out of its input too.
        policy.network.embed_chunk.weight.data.unflatten(1, (HORIZON, 10))[:, -3:] = 0.0  # type: ignore[union-attr]
        return float(policy.loss(batch.torch(), torch.Generator().manual_seed(0))[0].detach())

    assert loss(True, 0.0) == loss(True, 0.1)
    assert loss(False, 0.0) != loss(False, 0.1)


def test_observation_noise_is_for_training_alone() -> None:
    def loss(train: bool, noise: float) -> float:
        policy = small_diffusion(observation_noise=noise).train(train)
        torch.nn.init.normal_(policy.network.output[-1].weight)  # type: ignore[arg-type]
        return float(policy.loss(random_batch(4).torch(), torch.Generator().manual_seed(0))[0].detach())

    assert loss(False, 0.5) == loss(False, 0.0)
    assert loss(True, 0.5) != loss(True, 0.0)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_checkpoint_rebuilds_it_to_the_bit(network: str, tmp_path: Path) -> None:
    options = {
        "prediction_horizon": HORIZON,
        "precision": "float32",
        "action_horizon": 4,
        "observation_keys": list(KEYS),
        **NETWORKS[network],
    }
    policy = small_diffusion(network, seed=3).eval()
    config = {"_target_": "robolearn.policies.diffusion.DiffusionPolicy", **options}
    place = save_checkpoint(
        tmp_path, 1, config=config, env_spec=policy.env_spec, normalizer=policy.normalizer, tensors={"model": policy.state_dict()}
    )
    loaded = load_model(place)
    np.testing.assert_array_equal(loaded.sample(observations(5), *numbers(5), 2), policy.sample(observations(5), *numbers(5), 2))


def test_steps_and_scheduler_are_free_at_run_time() -> None:
    policy, wanted = small_diffusion().eval(), small_diffusion(inference_scheduler="dpm-solver++", inference_steps=7).eval()
    policy.set_inference("dpm-solver++", 7)
    np.testing.assert_array_equal(policy.sample(observations(2), *numbers(2)), wanted.sample(observations(2), *numbers(2)))
    policy.set_inference(steps=2)
    assert (policy.schedule.scheduler, len(policy.schedule.timesteps)) == ("dpm-solver++", 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "transformer"}, "there are mlp, unet"),
        ({"prediction_type": "x0"}, "there are v, epsilon"),
        ({"inference_scheduler": "euler"}, "there are ddim"),
        ({"inference_steps": 101}, "1 to train_steps = 100"),
        ({"precision": "float16"}, "there are auto, float32, bfloat16"),
        ({"action_horizon": 9, "prediction_horizon": 8}, "action 9, prediction 8"),
        ({"network": "unet", "prediction_horizon": 9, "action_horizon": 4}, "divisible by 2"),
        ({"network": "unet", "down_dims": (12, 24)}, "divisible by groups"),
        ({"network": "unet", "kernel": 4}, "kernel must be odd"),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_those_that_can(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DiffusionPolicy(**WORDS, **options)


def test_a_key_that_was_not_recorded_is_refused() -> None:
    with pytest.raises(UserError, match="'tcp_velocity'; there are"):
        DiffusionPolicy(**{**WORDS, "observation_keys": ("tcp_velocity",)})
