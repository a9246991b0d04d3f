"""Generalised advantage estimation for rows whose episodes end, or are cut, at different times."""

from __future__ import annotations

import torch
from torch import Tensor


def generalized_advantages(
    rewards: Tensor,
    values: Tensor,
    final_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    last_values: Tensor,
    gamma: float,
    lam: float,
) -> tuple[Tensor, Tensor]:
    """Advantages and value targets of T steps in N rows (Schulman et al. 2016, eq. 16).

    A terminated step is worth its reward alone; a truncated one is bootstrapped with the value of the observation that the
    episode was cut at. Neither lets credit flow back from the row's next episode.

    Args:
        rewards: ``(T, N)``.
        values: ``(T, N)`` V of the observation before each step.
        final_values: ``(T, N)`` V of the last observation of a truncated episode; read where ``truncated``.
        terminated: ``(T, N)`` bool, the task itself ended with this step.
        truncated: ``(T, N)`` bool, a time limit cut the episode after this step.
        last_values: ``(N,)`` V of the observation after the last step.
        gamma: discount a step.
        lam: 0 is one-step bootstrapping, 1 the observed return.

    Returns:
        Advantages ``(T, N)`` and returns ``(T, N)`` = advantages + values.
    """
    following = torch.cat([values[1:], last_values[None]])  # (T, N) V after each step, of whatever episode
    following = torch.where(truncated, final_values, following).masked_fill(terminated, 0.0)
    errors = rewards + gamma * following - values
    carry = gamma * lam * (~(terminated | truncated)).to(values.dtype)
    advantages = torch.empty_like(values)
    running = torch.zeros_like(last_values)
    for step in range(len(rewards) - 1, -1, -1):
        running = errors[step] + carry[step] * running
        advantages[step] = running
    return advantages, advantages + values
