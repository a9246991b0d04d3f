"""Steering picks well, abstains when it should, and at no strength is the base to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from robolearn.policies.steering import SteeredSampler
from robolearn.protocols import Observation
from robolearn.seeding import split_seeds
from tests.fake_sampler import ScriptedSampler
from tests.fakes import POINT_REACH_SPEC

ROWS, K = 6, 8
SEEDS, DECISIONS = split_seeds("search", ROWS), np.arange(ROWS)


class StubCritic:
    """Scores whatever a function of the chunks (B, K, h, A) says, with E members that agree."""

    env_spec = POINT_REACH_SPEC
    action_horizon = 4
    observation_keys = ("goal",)

    def __init__(self, scores: Any, members: int = 3) -> None:
        self.scores, self.members, self.calls = scores, members, 0

    def score(self, observation: Observation, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        self.calls += 1
        assert observation["goal"].ndim == 2 and chunks.shape[2] == self.action_horizon
        values = np.asarray(self.scores(observation, chunks), np.float32)
        return values if values.ndim == 3 else np.stack([values] * self.members)


def calls(sampler: SteeredSampler) -> int:
    assert isinstance(sampler.critic, StubCritic)
    return sampler.critic.calls


def nearness(observation: Observation, chunks: NDArray[np.float32]) -> NDArray[Any]:
    return -np.asarray(np.linalg.norm(chunks[:, :, 0, :3] - observation["goal"][:, None], axis=2))


def steered(scores: Any = nearness, **options: Any) -> SteeredSampler:
    return SteeredSampler(ScriptedSampler(noise=0.05, bias=0.0), StubCritic(scores), **({"candidates": K, "caution": 0.0} | options))


def history() -> dict[str, NDArray[np.float32]]:
    generator = np.random.default_rng(0)
    return {name: generator.uniform(-0.2, 0.2, (ROWS, 1, 3)).astype(np.float32) for name in ("tcp_pos", "goal")}


def draws(count: int = K) -> NDArray[np.float32]:
    return ScriptedSampler(noise=0.05, bias=0.0).sample(history(), SEEDS, DECISIONS, count)


@pytest.mark.parametrize("off", [{"strength": 0.0}, {"candidates": 1}])
def test_without_strength_or_choice_it_is_the_base_to_the_bit_and_asks_no_critic(off: dict[str, Any]) -> None:
    sampler = steered(**off)
    np.testing.assert_array_equal(sampler.sample(history(), SEEDS, DECISIONS), draws(1))
    assert calls(sampler) == 0


def test_the_best_candidate_is_picked() -> None:
    picked = steered().sample(history(), SEEDS, DECISIONS)
    best = nearness({"goal": history()["goal"][:, 0]}, draws()).argmax(1)
    np.testing.assert_array_equal(picked[:, 0], draws()[np.arange(ROWS), best])
    assert (best > 0).any()


def test_it_is_itself_a_chunk_sampler_whose_further_candidates_are_the_other_draws() -> None:
    several = steered().sample(history(), SEEDS, DECISIONS, 3)
    assert several.shape == (ROWS, 3, 8, 10)
    np.testing.assert_array_equal(several[:, :1], steered().sample(history(), SEEDS, DECISIONS))


def test_it_abstains_to_candidate_0_when_the_members_disagree_about_the_gain() -> None:
    def disagreeing(observation: Observation, chunks: NDArray[np.float32]) -> NDArray[Any]:
        scores = np.zeros((3, ROWS, K))
        scores[:, :, 5] = np.array([0.3, -0.1, 0.1])[:, None]  # mean gain 0.1, std 0.16
        scores += np.array([0.0, 0.4, -0.4])[:, None, None]  # about the state they may disagree as they like
        return scores

    bold, cautious = steered(disagreeing, caution=0.5), steered(disagreeing, caution=1.0)
    np.testing.assert_array_equal(bold.sample(history(), SEEDS, DECISIONS)[:, 0], draws()[:, 5])
    np.testing.assert_array_equal(cautious.sample(history(), SEEDS, DECISIONS), draws(1))
    assert bold.statistics["abstained"] == 0 and cautious.statistics["abstained"] == 1


def test_it_abstains_when_the_gain_is_below_the_threshold() -> None:
    np.testing.assert_array_equal(steered(threshold=10.0).sample(history(), SEEDS, DECISIONS), draws(1))


def test_at_temperature_0_every_strength_above_0_is_the_same() -> None:
    full, faint = (steered(strength=strength).sample(history(), SEEDS, DECISIONS) for strength in (1.0, 0.01))
    np.testing.assert_array_equal(full, faint)


def test_below_threshold_0_equal_scores_are_the_base_at_temperature_0_and_a_random_pick_above_it() -> None:
    def flat(observation: Observation, chunks: NDArray[np.float32]) -> NDArray[Any]:
        return np.zeros((ROWS, K))

    np.testing.assert_array_equal(steered(flat, threshold=-1.0).sample(history(), SEEDS, DECISIONS), draws(1))
    spread = steered(flat, threshold=-1.0, temperature=1.0).sample(history(), SEEDS, DECISIONS)
    np.testing.assert_array_equal(spread, steered(pick="random").sample(history(), SEEDS, DECISIONS))


def test_equal_scores_abstain_at_every_temperature() -> None:
    def flat(observation: Observation, chunks: NDArray[np.float32]) -> NDArray[Any]:
        return np.zeros((ROWS, K))

    for temperature in (0.0, 1.0):
        np.testing.assert_array_equal(steered(flat, temperature=temperature).sample(history(), SEEDS, DECISIONS), draws(1))


def test_a_row_with_broken_scores_keeps_candidate_0_and_the_others_are_steered() -> None:
    def broken(observation: Observation, chunks: NDArray[np.float32]) -> NDArray[Any]:
        scores = np.tile(np.arange(K, dtype=float), (ROWS, 1))
        scores[2, 4] = np.nan
        scores[3, 1] = np.inf
        return scores

    sampler = steered(broken)
    picked = sampler.sample(history(), SEEDS, DECISIONS)[:, 0]
    expected = np.where(np.isin(np.arange(ROWS), (2, 3))[:, None, None], draws()[:, 0], draws()[:, -1])
    np.testing.assert_array_equal(picked, expected)
    assert sampler.statistics["broken"] == pytest.approx(2 / ROWS)


def test_a_temperature_means_the_same_whatever_the_scale_and_offset_of_the_scores() -> None:
    def scaled(observation: Observation, chunks: NDArray[np.float32]) -> NDArray[Any]:
        return 7 + 0.01 * nearness(observation, chunks)

    plain, other = (steered(scores, temperature=0.5).sample(history(), SEEDS, DECISIONS) for scores in (nearness, scaled))
    np.testing.assert_array_equal(plain, other)


def test_the_softmax_picks_by_addressed_noise_and_spreads_with_temperature() -> None:
    first, again = (steered(temperature=1.0).sample(history(), SEEDS, DECISIONS) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, steered(temperature=1.0).sample(history(), SEEDS + 1000, DECISIONS))
    spread = []
    for temperature in (0.0, 0.3, 3.0):
        sampler = steered(temperature=temperature)
        sampler.sample(history(), SEEDS, DECISIONS)
        spread.append(sampler.statistics["effective_candidates"])
    assert 1 == spread[0] < spread[1] < spread[2] < K + 1e-9


def test_the_random_control_picks_every_candidate_equally_often() -> None:
    rows = 4000
    sampler = SteeredSampler(ScriptedSampler(noise=0.05), StubCritic(nearness), candidates=4, pick="random")
    observation = {name: np.zeros((rows, 1, 3), np.float32) for name in ("tcp_pos", "goal")}
    seeds, decisions = split_seeds("search", rows), np.zeros(rows, np.int64)
    picked = sampler.sample(observation, seeds, decisions)[:, 0]
    drawn = sampler.sampler.sample(observation, seeds, decisions, 4)
    counts = (picked[:, None] == drawn).all((2, 3)).sum(0)
    assert calls(sampler) == 0 and abs(counts - rows / 4).max() < 4 * np.sqrt(rows * 3 / 16)


def test_the_mean_control_is_the_average_chunk_with_proper_rotations() -> None:
    mean = steered(pick="mean").sample(history(), SEEDS, DECISIONS)
    np.testing.assert_allclose(mean[:, 0, :, :3], draws()[..., :3].mean(1), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(mean[..., 3:6], axis=-1), 1, atol=1e-6)


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="value, random, first, mean"):
        steered(pick="best")
    with pytest.raises(ValueError, match="candidates >= 1"):
        steered(candidates=0)
