"""The chunk critic: its histogram head is unbiased, it scores what is executed, and it learns which chunk is better."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from robolearn.errors import UserError
from robolearn.normalize import Normalizer
from robolearn.policies.critics import ChunkCritic, HLGauss, executed_chunks
from robolearn.rotation import orthonormalize_rot6d
from robolearn.spec import ArraySpec
from tests.fakes import HALF_EXTENT, POINT_REACH_SPEC, point_reach_normalizer

KEYS = ("tcp_pos", "goal")


def critic(**options: Any) -> ChunkCritic:
    torch.manual_seed(0)
    defaults: dict[str, Any] = {"observation_keys": KEYS, "action_horizon": 4, "hidden": (32, 32), "members": 3}
    return ChunkCritic(env_spec=POINT_REACH_SPEC, normalizer=point_reach_normalizer(), **(defaults | options))


def sample(rows: int, candidates: int, seed: int = 0) -> tuple[dict[str, Any], Any]:
    """Observations and chunks whose targets lie within 0.2 m of the goal."""
    generator = np.random.default_rng(seed)
    observation = {key: generator.uniform(-0.3, 0.3, (rows, 3)).astype(np.float32) for key in KEYS}
    chunks = np.zeros((rows, candidates, 4, 10), np.float32)
    chunks[..., 3] = chunks[..., 7] = 1
    offset = generator.uniform(-0.2, 0.2, (rows, candidates, 1, 3))
    chunks[..., :3] = observation["goal"][:, None, None] + offset
    return observation, chunks


@pytest.mark.parametrize("target", [0.0, 0.001, 0.2, 0.5, 0.7654, 1.0])
def test_the_histogram_has_the_mean_and_spread_of_its_gaussian(target: float) -> None:
    head = HLGauss(bins=101)
    width = float(head.edges[1] - head.edges[0])
    probabilities = head.probabilities(torch.tensor(target)).double()
    mean = (probabilities * head.centers).sum()
    std = (probabilities * (head.centers - mean) ** 2).sum().sqrt()
    assert head.sigma == pytest.approx(0.75 * width, rel=1e-4)
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-5)
    assert float(mean) == pytest.approx(target, abs=1e-4)
    # Binning adds the variance of a bin, width^2 / 12 (Sheppard).
    assert float(std) == pytest.approx(np.sqrt(head.sigma**2 + width**2 / 12), abs=1e-4)
    assert float(head.value(probabilities.float().log())) == pytest.approx(target, abs=1e-4)


def test_the_histogram_loss_is_least_at_its_target() -> None:
    head = HLGauss()
    logits = torch.log(head.probabilities(torch.tensor([0.2, 0.5, 0.8])) + 1e-9)
    losses = head.loss(logits, torch.full((3,), 0.5))
    assert losses.argmin() == 1


def test_a_chunk_is_scored_as_it_is_executed() -> None:
    observation, chunks = sample(3, 5)
    outside = chunks.copy()
    outside[..., :3] += 2 * HALF_EXTENT  # beyond the limits
    outside[..., 3:9] = 3 * chunks[..., 3:9] + 0.1
    seen = executed_chunks(outside, POINT_REACH_SPEC.action)
    np.testing.assert_array_equal(seen[..., :3], np.clip(outside[..., :3], -HALF_EXTENT, HALF_EXTENT))
    np.testing.assert_allclose(seen[..., 3:9], orthonormalize_rot6d(outside[..., 3:9]))
    model = critic()
    np.testing.assert_allclose(model.score(observation, outside), model.score(observation, seen), atol=1e-6)


def test_scores_have_one_row_a_member_and_do_not_depend_on_who_else_is_scored() -> None:
    observation, chunks = sample(6, 7)
    model = critic()
    scores = model.score(observation, chunks)
    assert scores.shape == (3, 6, 7) and scores.dtype == np.float32 and (scores >= -0.1).all() and (scores <= 1.1).all()
    one = {key: value[2:3] for key, value in observation.items()}
    np.testing.assert_allclose(model.score(one, chunks[2:3, 4:5])[:, 0, 0], scores[:, 2, 4], atol=1e-6)
    assert not np.allclose(scores[0], scores[1])


def test_the_state_only_control_is_blind_to_the_chunk() -> None:
    observation, chunks = sample(4, 6)
    scores = critic(state_only=True).score(observation, chunks)
    assert np.ptp(scores, axis=2).max() == 0 < np.ptp(scores, axis=1).min()


@pytest.mark.parametrize("head", ["hl_gauss", "mse"])
def test_it_learns_to_rank_the_chunk_that_goes_nearer_to_the_goal_first(head: str) -> None:
    model = critic(head=head)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    observation, chunks = sample(1024, 1)
    near = np.linalg.norm(chunks[:, 0, 0, :3] - observation["goal"], axis=1) < 0.12
    state, features = model.state_features(observation), model.chunk_features(observation, chunks)
    model.fit_features(state, features[:, 0])
    targets = torch.from_numpy(near.astype(np.float32))[None, :, None]
    for _ in range(150):
        loss = model.loss(model(state, features), targets).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    observation, chunks = sample(200, 16, seed=1)
    distance = np.linalg.norm(chunks[:, :, 0, :3] - observation["goal"][:, None], axis=2)
    picked = model.score(observation, chunks).mean(0).argmax(1)
    assert np.take_along_axis(distance, picked[:, None], 1).mean() < 0.6 * distance.mean()


def test_features_are_what_a_chunk_adds_to_the_state() -> None:
    model = critic()
    observation, chunks = sample(500, 1)
    chunks[:, 0, :, :3] = observation["goal"][:, None] + 0.002 * np.random.default_rng(0).standard_normal((500, 4, 3)).astype(np.float32)
    state, features = model.state_features(observation), model.chunk_features(observation, chunks)[:, 0]
    model.fit_features(state, features)
    residual = (features - state @ model.feature_map - model.feature_bias) / model.feature_scale
    moving = features.std(0) > 0
    np.testing.assert_allclose(residual.std(0)[moving], 1, atol=1e-3)  # two millimetres are as large as they come


def test_relations_read_each_candidate_where_it_will_end_and_half_way() -> None:
    model = critic(relations=[["action", "goal"], ["tcp_pos", "goal"]], wavelengths=(0.08,))
    observation, chunks = sample(3, 5)
    chunks[:, :, 2, 0] += 0.01  # neither half way (action 2 of 4) nor the last
    before = model.chunk_features(observation, chunks)[:, :, model.action_size :]
    assert before.shape == (3, 5, 2 * 6) and model.state_features(observation).shape == (3, 6 + 6)
    chunks[:, 3, 3, 0] += 0.003
    after = model.chunk_features(observation, chunks)[:, :, model.action_size :]
    expected = 2 * np.pi * (chunks[:, 3, 3, :3] - observation["goal"]) / 0.08
    np.testing.assert_allclose(after[:, 3, 6:], np.concatenate([np.sin(expected), np.cos(expected)], 1), atol=1e-4)
    changed = (after != before).numpy()
    assert changed[:, 3, [6, 9]].all() and changed.sum() == 2 * 3  # sine and cosine of the last action's x, in each row


def test_what_the_tool_holds_is_compared_where_the_chunk_would_carry_it() -> None:
    spec = dataclasses.replace(POINT_REACH_SPEC, observation={**POINT_REACH_SPEC.observation, "held": ArraySpec((3,), units="m")})
    affine = point_reach_normalizer()["goal"]
    normalizer = Normalizer({**point_reach_normalizer().parts, "held": affine})
    options: dict[str, Any] = {"relations": [["held", "goal"]], "wavelengths": (0.08,), "relation_steps": 1}
    options |= {"env_spec": spec, "normalizer": normalizer, "observation_keys": (*KEYS, "held"), "action_horizon": 4}
    observation, chunks = sample(3, 5)
    observation["held"] = observation["tcp_pos"] + np.float32(0.004)
    model = ChunkCritic(**options)
    features = model.chunk_features(observation, chunks)[:, :, model.action_size :]
    landing = 2 * np.pi * (chunks[:, :, -1, :3] + 0.004 - observation["goal"][:, None]) / 0.08
    np.testing.assert_allclose(features, np.concatenate([np.sin(landing), np.cos(landing)], 2), atol=1e-4)
    assert ChunkCritic(**options, tool=None).chunk_features(observation, chunks).shape[2] == model.action_size


def test_distractors_change_no_score() -> None:
    observation, chunks = sample(3, 5)
    model = critic(distractors=["tcp_pos:1:3"])
    before = model.score(observation, chunks)
    observation["tcp_pos"][:, 1:] += 0.1
    np.testing.assert_array_equal(model.score(observation, chunks), before)
    observation["tcp_pos"][:, :1] += 0.1
    assert not np.array_equal(model.score(observation, chunks), before)


@pytest.mark.parametrize("words", ["tcp_pos", "tcp_pos:1", "legs:0:3", "tcp_pos:0:4", "tcp_pos:2:1", "tcp_pos:0:²"])
def test_a_distractor_that_does_not_exist_is_refused_with_what_there_is(words: str) -> None:
    with pytest.raises(UserError, match=f"no numbers at '{words}'.*tcp_pos:0:3, goal:0:3"):
        critic(distractors=[words])


def test_an_unknown_head_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="hl_gauss, mse"):
        critic(head="gauss")
