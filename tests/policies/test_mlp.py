"""The regression baselines predict one chunk, and explore around it smoothly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robolearn.policies.mlp import smoothing_matrix
from tests.policies.small import HORIZON, KEYS, numbers, observations, random_batch, small_mlp


@pytest.mark.parametrize("horizon", [1, HORIZON])
def test_it_learns_a_function_of_the_observation(horizon: int) -> None:
    policy = small_mlp(prediction_horizon=horizon, action_horizon=1, dropout=0.0, sizes=(64, 64))
    batch = random_batch(64)
    batch.actions[..., :3] = batch.observations["goal"]
    batch = type(batch)(batch.observations, batch.actions[:, :horizon], batch.is_pad[:, :horizon])
    optimizer = torch.optim.AdamW(policy.parameters(), 3e-3)
    for _ in range(200):
        loss, _ = policy.loss(batch.torch(), torch.Generator())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seen = {name: np.asarray(batch.observations[name]) for name in KEYS}
    predicted = policy.eval().sample(seen, *numbers(64))
    assert predicted.shape == (64, 1, horizon, 10)
    assert np.abs(predicted[:, 0, 0, :3] - seen["goal"][:, 0]).max() < 0.05


def test_candidate_0_is_the_prediction_and_the_others_are_addressed() -> None:
    policy = small_mlp().eval()
    seen, (seeds, decisions) = observations(4), numbers(4)
    many = policy.sample(seen, seeds, decisions, 5)
    np.testing.assert_array_equal(many[:, :1], policy.sample(seen, seeds, decisions))
    np.testing.assert_array_equal(many[:, :1], policy.sample(seen, seeds + 9, decisions))
    np.testing.assert_array_equal(many[:, :3], policy.sample(seen, seeds, decisions, 3))
    assert np.abs(many - policy.sample(seen, seeds + 9, decisions, 5))[:, 1:].max() > 1e-3


def test_exploration_is_as_strong_as_said_and_smooth() -> None:
    weights = smoothing_matrix(16)
    np.testing.assert_allclose((weights**2).sum(1), 1.0, rtol=1e-5)
    covariance = weights @ weights.T
    neighbours, distant = np.diag(covariance, 1), np.diag(covariance, 10)
    assert (neighbours > 0.85).all()
    assert (distant < 0.1).all()


def test_dropout_is_for_training_alone() -> None:
    policy = small_mlp(dropout=0.5)
    seen = observations(4)
    policy.train()
    first = policy.network(policy.encode_numpy(seen))
    assert not torch.equal(first, policy.network(policy.encode_numpy(seen)))
    policy.eval()
    np.testing.assert_array_equal(policy.sample(seen, *numbers(4)), policy.sample(seen, *numbers(4)))


def test_what_lies_beyond_an_episode_does_not_count() -> None:
    def loss(shift: float) -> float:
        batch = random_batch(4, pad=3)
        batch.actions[:, -3:, :3] += shift
        return float(small_mlp(dropout=0.0).loss(batch.torch(), torch.Generator())[0].detach())

    assert loss(0.0) == loss(0.1)
