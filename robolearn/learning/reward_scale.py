"""Rewards on a common scale, whatever the task pays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class RewardScale:
    """Divides rewards by the running standard deviation of the discounted return, without moving their mean."""

    STATE = ("returns", "moments")

    def __init__(self, num_envs: int, gamma: float, limit: float = 5.0) -> None:
        self.gamma, self.limit = gamma, limit
        self.returns = np.zeros(num_envs)
        self.moments = np.array([1e-4, 0.0, 1e-4])  # count, mean, sum of squared deviations

    def __call__(self, rewards: NDArray[np.float64], done: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Scale one step's rewards ``(N,)`` and take them into account (Chan et al.'s update of the moments)."""
        self.returns = self.returns * self.gamma + rewards
        count, mean, squares = self.moments
        rows = len(rewards)
        shift = self.returns.mean() - mean
        squares += self.returns.var() * rows + shift**2 * count * rows / (count + rows)
        self.moments = np.array([count + rows, mean + shift * rows / (count + rows), squares])
        self.returns[done] = 0.0
        scaled: NDArray[np.float64] = np.clip(rewards / np.sqrt(squares / (count + rows) + 1e-8), -self.limit, self.limit)
        return scaled
