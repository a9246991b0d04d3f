"""Every row executes its own chunks on its own clock, whatever the other rows do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.policies.chunking import ChunkedPolicy
from robolearn.protocols import Observation
from tests.fakes import POINT_REACH_SPEC, point_reach_normalizer

ROWS, EXECUTED = 5, 3


class Telltale:
    """Chunks whose actions say what they were drawn from: seed, decision, place in the chunk, newest and oldest observation."""

    env_spec = POINT_REACH_SPEC
    normalizer = point_reach_normalizer()
    observation_keys = ("tcp_pos",)
    prediction_horizon = 6

    def __init__(self, observation_horizon: int = 1) -> None:
        self.observation_horizon = observation_horizon
        self.batches: list[int] = []

    def sample(
        self, observation: Observation, seeds: NDArray[np.int64], decisions: NDArray[np.int64], candidates: int = 1
    ) -> NDArray[np.float32]:
        self.batches.append(len(seeds))
        seen = observation["tcp_pos"]
        assert seen.shape == (len(seeds), self.observation_horizon, 3)
        chunk = np.zeros((len(seeds), candidates, self.prediction_horizon, 10), np.float32)
        chunk[..., 0] = seeds[:, None, None]
        chunk[..., 1] = decisions[:, None, None]
        chunk[..., 2] = np.arange(self.prediction_horizon)
        chunk[..., 3] = seen[:, -1, 0][:, None, None]
        chunk[..., 4] = seen[:, 0, 0][:, None, None]
        return chunk


class OneRow:
    """The same thing said plainly, for one row."""

    def __init__(self, observation_horizon: int) -> None:
        self.horizon = observation_horizon

    def reset(self, seed: int) -> None:
        self.seed, self.decisions, self.queue, self.history = seed, 0, [], []

    def act(self, seen: float) -> list[float]:
        self.history = [*(self.history or [seen] * self.horizon), seen][-self.horizon :]
        if not self.queue:
            self.queue = [[self.seed, self.decisions, place, self.history[-1], self.history[0]] for place in range(EXECUTED)]
            self.decisions += 1
        return self.queue.pop(0)


def observe(values: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    return {"tcp_pos": np.repeat(values[:, None], 3, 1).astype(np.float32), "unused": np.zeros((len(values), 2), np.float32)}


@pytest.mark.parametrize("observation_horizon", [1, 3])
def test_rows_that_reset_at_any_time_act_as_if_each_were_alone(observation_horizon: int) -> None:
    generator = np.random.default_rng(0)
    policy = ChunkedPolicy(Telltale(observation_horizon), EXECUTED, ROWS)
    alone = [OneRow(observation_horizon) for _ in range(ROWS)]
    for step in range(60):
        rows = np.ones(ROWS, bool) if step == 0 else generator.random(ROWS) < 0.15
        seeds = generator.integers(1000, size=ROWS)
        policy.reset(rows, seeds)
        for row in np.flatnonzero(rows):
            alone[row].reset(int(seeds[row]))
        values = generator.integers(1000, size=ROWS).astype(float)
        expected = [one.act(value) for one, value in zip(alone, values, strict=True)]
        np.testing.assert_array_equal(policy.act(observe(values))[:, :5], expected)
        np.testing.assert_array_equal(policy.phase, [EXECUTED - len(one.queue) for one in alone])
        np.testing.assert_array_equal(policy.decisions, [one.decisions for one in alone])


def test_only_rows_whose_chunk_is_used_up_are_sampled_and_as_one_batch() -> None:
    sampler = Telltale()
    policy = ChunkedPolicy(sampler, EXECUTED, ROWS)
    policy.act(observe(np.zeros(ROWS)))
    assert policy.decided.all()
    policy.reset(np.arange(ROWS) == 2, np.arange(ROWS))
    policy.act(observe(np.zeros(ROWS)))
    np.testing.assert_array_equal(policy.decided, np.arange(ROWS) == 2)
    policy.act(observe(np.zeros(ROWS)))
    assert not policy.decided.any()
    policy.act(observe(np.zeros(ROWS)))
    assert sampler.batches == [ROWS, 1, ROWS - 1]


def test_what_a_caller_does_to_actions_leaves_the_queue_alone() -> None:
    policy = ChunkedPolicy(Telltale(), EXECUTED, ROWS)
    before = policy.act(observe(np.zeros(ROWS)))
    chunk = policy.chunk.copy()
    before += 7.0
    np.testing.assert_array_equal(policy.chunk, chunk)


@pytest.mark.parametrize("horizon", [0, 7])
def test_a_horizon_that_the_chunk_cannot_fill_is_refused(horizon: int) -> None:
    with pytest.raises(UserError, match="give 1 to 6"):
        ChunkedPolicy(Telltale(), horizon, ROWS)
