"""A policy that is steered by a critic which takes far too long: what a runner has to bear."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.nodes import find_target
from robolearn.protocols import Observation


class SlowCritic:
    """Sleeps, then finds all chunks alike.

    Args:
        sampler: whose chunks it judges.
        seconds: how long it takes.
    """

    def __init__(self, sampler: Any, seconds: float) -> None:
        self.env_spec, self.action_horizon = sampler.env_spec, sampler.action_horizon
        self._seconds = seconds

    def score(self, observation: Observation, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(B, K, h, A) -> (1, B, K)``."""
        time.sleep(self._seconds)
        return np.zeros((1, *chunks.shape[:2]), np.float32)


def load(checkpoint: str, num_envs: int, *, seconds: float, candidates: int | None = None, **options: Any) -> Any:
    """``load_policy`` with a critic that takes ``seconds`` for every decision."""
    given = {name: value for name, value in options.items() if value is not None and name != "critic"}
    policy = find_target("robolearn.policies.loading.load_policy")(checkpoint, num_envs, **given)
    steered = find_target("robolearn.policies.steering.SteeredSampler")
    chunked = getattr(policy, "base", policy)  # of a refined policy, what is steered is its base
    chunked.sampler = steered(chunked.sampler, SlowCritic(chunked.sampler, seconds), candidates=candidates or 4)
    return policy
