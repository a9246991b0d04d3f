"""Replay for off-policy learning: n-step transitions cut from experience, in a ring that forgets the oldest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from robolearn.learning.collector import Experience


@dataclass(frozen=True)
class Transitions:
    """B transitions over up to n steps.

    Args:
        features: ``(B, F)`` the heads' input before the first step.
        residuals: ``(B, A)`` executed in the first step.
        rewards: ``(B,)`` discounted sum over the steps.
        discounts: ``(B,)`` what the value after the steps is worth: gamma to the number of steps, 0 after termination.
        next_features: ``(B, F)`` the heads' input after the steps, or at a time limit within them.
    """

    features: Tensor
    residuals: Tensor
    rewards: Tensor
    discounts: Tensor
    next_features: Tensor

    def __len__(self) -> int:
        return len(self.rewards)

    def take(self, indices: Tensor) -> Transitions:
        """The transitions at ``indices``."""
        return Transitions(*(getattr(self, part.name)[indices] for part in fields(self)))


def n_step_transitions(experience: Experience, steps: int, gamma: float) -> Transitions:
    """Cut every step of ``experience (T, N)`` into a transition of up to ``steps`` steps (Sutton 1988), T * N in all.

    A transition ends earlier where its episode or the experience ends; its discount says how many steps it took.
    """
    horizon, rows = experience.rewards.shape
    here = torch.arange(horizon)[:, None].expand(horizon, rows)  # (T, N)
    row = torch.arange(rows).expand(horizon, rows)
    which_cut = torch.zeros(horizon, rows, dtype=torch.long)
    which_cut[experience.truncated] = torch.arange(len(experience.final_features))
    returns, discounts = torch.zeros(horizon, rows), torch.ones(horizon, rows)
    is_open = torch.ones(horizon, rows, dtype=torch.bool)
    end = here.clone()  # last step of each transition
    for k in range(steps):
        at = (here + k).clamp(max=horizon - 1)
        is_open = is_open & (here + k < horizon)
        returns += torch.where(is_open, gamma**k * experience.rewards[at, row], 0.0)
        discounts = torch.where(is_open, gamma ** (k + 1), discounts)
        end = torch.where(is_open, at, end)
        is_open = is_open & ~(experience.terminated | experience.truncated)[at, row]
    discounts = discounts.masked_fill(experience.terminated[end, row], 0.0)
    following = experience.features[end + 1, row]  # (T, N, F)
    cut = experience.truncated[end, row]
    following[cut] = experience.final_features[which_cut[end, row][cut]]
    parts = (experience.features[:-1], experience.residuals, returns, discounts, following)
    return Transitions(*(part.flatten(0, 1) for part in parts))


class TransitionBuffer:
    """A ring of transitions.

    Args:
        capacity: transitions kept.
        features: F.
        actions: A.
    """

    def __init__(self, capacity: int, features: int, actions: int) -> None:
        sizes = ((capacity, features), (capacity, actions), (capacity,), (capacity,), (capacity, features))
        self._parts = Transitions(*(torch.zeros(size) for size in sizes))
        self.capacity, self.size, self._next = capacity, 0, 0

    def __len__(self) -> int:
        return self.size

    def add(self, transitions: Transitions) -> None:
        """Store transitions over the oldest."""
        transitions = transitions.take(torch.arange(max(0, len(transitions) - self.capacity), len(transitions)))
        count = len(transitions)
        where = (self._next + torch.arange(count)) % self.capacity
        for part in fields(self._parts):
            getattr(self._parts, part.name)[where] = getattr(transitions, part.name)
        self._next = (self._next + count) % self.capacity
        self.size = min(self.size + count, self.capacity)

    def sample(self, count: int, generator: torch.Generator) -> Transitions:
        """``count`` transitions drawn uniformly, with replacement."""
        return self._parts.take(torch.randint(self.size, (count,), generator=generator))

    def tensors(self) -> dict[str, Tensor]:
        """What is stored; the inverse of :meth:`load_tensors`."""
        stored = {part.name: getattr(self._parts, part.name)[: self.size].clone() for part in fields(self._parts)}
        return {**stored, "next": torch.tensor([self._next])}

    def load_tensors(self, named: Mapping[str, Tensor]) -> None:
        """Restore :meth:`tensors`."""
        self.size, self._next = len(named["rewards"]), int(named["next"])
        for part in fields(self._parts):
            getattr(self._parts, part.name)[: self.size] = named[part.name]
