"""Residual PPO: the paper's on-policy refinement of a frozen chunked policy (ResiP, arXiv 2407.16677), as a resumable learner."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robolearn.learning.collector import Collector, Experience, ResidualActor
from robolearn.learning.gae import generalized_advantages
from robolearn.learning.ppo import PPO, PPOSettings, Samples
from robolearn.learning.reward_scale import RewardScale
from robolearn.protocols import Environment

GENERATOR = "generator"


@dataclass(frozen=True)
class ResidualPPO(PPOSettings):
    """Recipe of the PPO learner: :class:`robolearn.learning.ppo.PPOSettings`, and how to begin."""

    def begin(self, env: Environment, policy: ResidualActor, seed: int) -> PPOLearner:
        """Start all rows' first episodes; ``seed`` addresses episodes, exploration noise and minibatches."""
        return PPOLearner(env, policy, self, seed)


class PPOLearner:
    """Collect T steps in N rows, update, repeat.

    Args:
        env: N rows with autoreset disabled.
        policy: residual policy in N rows; its model learns.
        settings: see :class:`robolearn.learning.ppo.PPOSettings`.
        seed: training seed.
    """

    def __init__(self, env: Environment, policy: ResidualActor, settings: PPOSettings, seed: int) -> None:
        self.settings = settings
        self.generator = torch.Generator().manual_seed(seed)
        self.model = policy.model
        scale = RewardScale(env.num_envs, settings.gamma) if settings.normalize_rewards else None
        options = {"stage_reward": settings.stage_reward, "restart_share": settings.restart_share}
        self.collector = Collector(env, policy, seed, **options, reward_scale=scale)
        self.ppo = PPO(policy.model, settings, self.generator)
        self.iteration, self.env_steps = 0, 0

    def iterate(self, progress: float = 0.0) -> dict[str, float]:
        """One collection and its update.

        Args:
            progress: share of the budget used, for the cosine schedule.

        Returns:
            Metrics: ``train/*`` of episodes, ``ppo/*`` of the update, ``time/*`` in seconds.
        """
        experience, metrics = self.collector.play(self.settings.horizon, self._explorer())
        samples = self._samples(experience)
        begun = time.perf_counter()
        train_actor = self.iteration >= self.settings.critic_iterations
        update = self.ppo.update(samples, train_actor=train_actor, progress=progress)
        self.iteration += 1
        self.env_steps += len(samples)
        return {**metrics, "time/update": time.perf_counter() - begun, **{f"ppo/{name}": value for name, value in update.items()}}

    def _explorer(self) -> Callable[[int, Tensor], Tensor]:
        """The mean residual plus this collection's noise, drawn beforehand."""
        shape = (self.settings.horizon, self.collector.env.num_envs, len(self.model.log_std))
        noise = torch.randn(shape, generator=self.generator) * self.model.log_std.detach().exp()
        return lambda step, features: self.model.actor(features) + noise[step]

    @torch.no_grad()
    def _samples(self, experience: Experience) -> Samples:
        """Means, values and advantages of a whole collection."""
        values = self.model.critic(experience.features)[..., 0]  # (T + 1, N)
        final_values = torch.zeros_like(values[:-1])
        final_values[experience.truncated] = self.model.critic(experience.final_features)[:, 0]
        ends = (experience.terminated, experience.truncated)
        gamma, lam = self.settings.gamma, self.settings.lam
        advantages, returns = generalized_advantages(experience.rewards, values[:-1], final_values, *ends, values[-1], gamma, lam)
        features = experience.features[:-1]
        parts = (features, experience.residuals, self.model.actor(features), advantages, returns)
        return Samples(*(part.flatten(0, 1) for part in parts))

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All state beside the model's weights, by checkpoint group."""
        collector = {name: torch.from_numpy(value) for name, value in self.collector.state_dict().items()}
        counts = torch.tensor([self.iteration, self.env_steps])
        return {"optimizer": self.ppo.tensors(), "collector": {**collector, "counts": counts, GENERATOR: self.generator.get_state()}}

    def load_tensors(self, group: Callable[[str], Mapping[str, Tensor]]) -> None:
        """Restore :meth:`tensors`; ``group(name)`` gives a checkpoint group."""
        self.ppo.load_tensors(group("optimizer"))
        collector = dict(group("collector"))
        self.generator.set_state(collector.pop(GENERATOR))
        self.iteration, self.env_steps = (int(count) for count in collector.pop("counts"))
        self.collector.load_state_dict({name: value.numpy() for name, value in collector.items()})
