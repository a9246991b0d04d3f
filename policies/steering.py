"""Steering: of K chunks that a frozen policy draws, execute the one a critic likes, and the first one where it sees no gain.

V-GPS (Nakamoto et al. 2024, arXiv:2410.13816) over chunks: what is scored is what will be executed, scores are centred and scaled
within a state (as Value Augmented Sampling, arXiv:2406.06639, centres them), so that a temperature means the same everywhere, and
the pick abstains to candidate 0, which is what the base would have done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robolearn.learning.multitask import take_task
from robolearn.normalize import Normalizer
from robolearn.policies.critics import executed_chunks
from robolearn.protocols import ChunkSampler, Critic, Observation
from robolearn.seeding import addressed_uniform

PICKS = ("value", "random", "first", "mean")


class SteeredSampler(torch.nn.Module):
    """A chunk sampler that picks among the draws of another; it wraps any sampler and is wrapped like any.

    Args:
        sampler: draws the candidates; not changed, and called directly when there is nothing to pick.
        critic: scores the first ``critic.action_horizon`` actions as they will be executed.
        candidates: K.
        temperature: of the softmax over scores in units of their standard deviation within the state; 0 picks the best.
        strength: multiplies the scaled scores; 0 is the base, bit for bit. It is an inverse temperature: at temperature 0 the best score
            is the best at every strength above 0.
        pick: ``value``; or a control: ``random``, ``first`` (of K), ``mean`` (the average chunk).
        caution: c of the lower bound mean - c * std (over members) of a candidate's advantage over candidate 0.
        threshold: a candidate whose lower bound is not above this (in value units) is not preferred to candidate 0.
    """

    def __init__(
        self,
        sampler: ChunkSampler,
        critic: Critic,
        *,
        candidates: int = 16,
        temperature: float = 0.0,
        strength: float = 1.0,
        pick: str = "value",
        caution: float = 1.0,
        threshold: float = 0.0,
    ) -> None:
        super().__init__()
        if pick not in PICKS:
            raise ValueError(f"no pick {pick!r}; there are {', '.join(PICKS)}")
        if candidates < 1 or temperature < 0 or strength < 0:
            raise ValueError(f"need candidates >= 1, temperature >= 0, strength >= 0; got {candidates}, {temperature}, {strength}")
        if critic.action_horizon > sampler.prediction_horizon:
            raise ValueError(f"the critic scores {critic.action_horizon} actions, the policy predicts {sampler.prediction_horizon}")
        self.sampler, self.critic = sampler, critic
        self.env_spec = sampler.env_spec
        self.normalizer: Normalizer = sampler.normalizer
        self.observation_keys = tuple(dict.fromkeys((*sampler.observation_keys, *getattr(critic, "observation_keys", ()))))
        self.observation_horizon, self.prediction_horizon = sampler.observation_horizon, sampler.prediction_horizon
        self.action_horizon: int = getattr(sampler, "action_horizon", critic.action_horizon)
        self.candidates, self.temperature, self.strength, self.pick = candidates, temperature, strength, pick
        self.caution, self.threshold = caution, threshold
        self.reset_statistics()

    def take_task(self, task: str) -> None:
        """Draw for the environment's task, where the sampler knows several."""
        take_task(self.sampler, task)

    def wrap_critic(self, wrap: Callable[[Critic], Critic]) -> None:
        """Have ``wrap(critic)`` score from now on, such as one with a time limit."""
        critic = wrap(self.critic)
        del self.critic  # a part that is a module could be replaced by a module alone
        self.critic = critic

    def sample(
        self, observation: Observation, seeds: NDArray[np.int64], decisions: NDArray[np.int64], candidates: int = 1
    ) -> NDArray[np.float32]:
        """The picked chunk first, then the other draws: ``{name: (B, To, ...)} -> (B, candidates, Tp, A)``."""
        if self.candidates == 1 or self.strength == 0:
            return self.sampler.sample(observation, seeds, decisions, candidates)
        chunks = self.sampler.sample(observation, seeds, decisions, max(self.candidates, candidates))  # (B, K, Tp, A)
        if self.pick == "mean":
            mean = executed_chunks(chunks[:, : self.candidates].mean(1, keepdims=True), self.env_spec.action)
            return np.concatenate([mean, chunks], 1)[:, :candidates]
        picked = self._pick(observation, chunks[:, : self.candidates], seeds, decisions)  # (B,)
        first = np.arange(chunks.shape[1]) == picked[:, None]  # (B, K)
        order = np.argsort(~first, axis=1, kind="stable")[:, :candidates]
        return np.take_along_axis(chunks, order[:, :, None, None], 1)

    def _pick(
        self, observation: Observation, chunks: NDArray[np.float32], seeds: NDArray[np.int64], decisions: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        rows, count = chunks.shape[:2]
        if self.pick == "first":
            return np.zeros(rows, np.int64)
        gumbel = -np.log(-np.log(addressed_uniform("pick", seeds, decisions, count)))  # (B, K)
        if self.pick == "random":
            return np.asarray(gumbel.argmax(1))
        current = {name: observation[name][:, -1] for name in observation}
        scores = self.critic.score(current, chunks[:, :, : self.critic.action_horizon])  # (E, B, K)
        picked, lower, weights = self._choose(scores.astype(np.float64), gumbel)
        self._note(scores, picked, lower, weights)
        return picked

    def _choose(self, scores: NDArray[np.float64], gumbel: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Picks (B,), lower bounds of the gain (B, K) and selection weights (B, K) from scores (E, B, K)."""
        broken = ~np.isfinite(scores).all((0, 2))  # (B,)
        scores = np.where(broken[:, None], 0.0, scores)
        # Members disagree most about the state; their difference to candidate 0 is what the pick depends on.
        gain = scores - scores[:, :, :1]  # (E, B, K)
        lower = gain.mean(0) - self.caution * gain.std(0)  # (B, K)
        centred = lower - lower.mean(1, keepdims=True)
        scaled = self.strength * centred / np.maximum(centred.std(1, keepdims=True), 1e-9)
        if self.temperature > 0:
            logits = scaled / self.temperature
            picked = (logits + gumbel).argmax(1)
            weights = np.exp(logits - logits.max(1, keepdims=True))
            weights /= weights.sum(1, keepdims=True)
        else:
            picked = scaled.argmax(1)
            weights = np.eye(scaled.shape[1])[picked]
        chosen = np.take_along_axis(lower, picked[:, None], 1)[:, 0]
        return np.where((chosen > self.threshold) & ~broken, picked, 0), lower, weights

    def reset_statistics(self) -> None:
        """Forget what :attr:`statistics` has seen."""
        self._sums = {"decisions": 0.0, "moved": 0.0, "broken": 0.0, "effective_candidates": 0.0, "gain": 0.0, "spread": 0.0}

    def _note(self, scores: NDArray[Any], picked: NDArray[Any], lower: NDArray[Any], weights: NDArray[Any]) -> None:
        entropy = -(weights * np.log(np.maximum(weights, 1e-12))).sum(1)
        broken = ~np.isfinite(scores).all((0, 2))
        values = np.where(broken[:, None], 0.0, scores.mean(0))
        noted = {
            "decisions": len(picked),
            "moved": (picked > 0).sum(),
            "broken": broken.sum(),
            "effective_candidates": np.exp(entropy).sum(),
            "gain": np.take_along_axis(lower, picked[:, None], 1).sum(),
            "spread": values.std(1).sum(),
        }
        for name, value in noted.items():
            self._sums[name] += float(value)

    @property
    def statistics(self) -> dict[str, float]:
        """Decisions so far, and means over them.

        ``abstained``: share that kept candidate 0; ``broken``: share whose scores were not finite; ``effective_candidates``: exp of
        the selection weights' entropy; ``gain``: lower bound of the pick's gain; ``spread`` of the scores within a state.
        """
        count = max(self._sums["decisions"], 1.0)
        means = {name: self._sums[name] / count for name in ("broken", "effective_candidates", "gain", "spread")}
        return {"decisions": self._sums["decisions"], "abstained": 1.0 - self._sums["moved"] / count, **means}
