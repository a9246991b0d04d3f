"""Proximal policy optimisation of a residual's heads (Schulman et al. 2017): the loss, its minibatches and its brakes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from robolearn.errors import UserError, check_positive, check_share
from robolearn.learning.optimizer_state import optimizer_tensors, restore_optimizer
from robolearn.precision import PRECISIONS, autocast

ADVICE = "the checkpoints written so far are good: resume with a lower learning rate"
SCHEDULES = ("constant", "cosine", "adaptive")


@dataclass(frozen=True)
class PPOSettings:
    """How PPO collects and learns; the defaults suit 64 to 256 environments on two cores.

    Args:
        horizon: steps T each row plays between updates.
        epochs: passes over the T * N samples of an update.
        minibatch: samples a gradient step.
        gamma: discount a step.
        lam: lambda of generalised advantage estimation.
        clip: the probability ratio is held within 1 -+ clip.
        target_kl: the actor stops for this update once KL(old, new) of a minibatch exceeds it; None never stops it.
        actor_lr: learning rate of actor and noise.
        critic_lr: learning rate of the critic.
        schedule: ``constant``; ``cosine`` to zero over the budget of environment steps, or of minutes; ``adaptive`` scales the actor's rate
            by 1.5 whenever an update's KL leaves [target / 4, target].
        weight_decay: of AdamW.
        max_grad_norm: clips actor and critic apart, so that a surprised critic does not silence the actor.
        value_weight: weight of half the squared value error.
        entropy_weight: weight of the noise's entropy; of use where the standard deviation is learned.
        residual_l1: weight of the mean residual's absolute size.
        residual_l2: weight of the mean residual's squared size.
        base_kl: weight of KL(policy, noise around the base).
        normalize_advantages: to mean 0 and deviation 1 over the whole update.
        critic_iterations: first iterations that train the critic alone.
        normalize_rewards: divide rewards by the running deviation of the discounted return.
        stage_reward: added once per episode for each stage reached; 0 is the paper's sparse reward.
        restart_share: of the training episodes begin from a state that an earlier one passed through, each stage of the task
            equally often; evaluation always begins at the beginning.
        precision: of the update's matrix products: ``float32``, ``bfloat16``, or ``auto``, which takes bfloat16 where it is fast.
    """

    horizon: int = 128
    epochs: int = 8
    minibatch: int = 4096
    gamma: float = 0.999
    lam: float = 0.95
    clip: float = 0.2
    target_kl: float | None = 0.1
    actor_lr: float = 3e-4
    critic_lr: float = 1e-3
    schedule: str = "constant"
    weight_decay: float = 1e-6
    max_grad_norm: float = 1.0
    value_weight: float = 1.0
    entropy_weight: float = 0.0
    residual_l1: float = 0.0
    residual_l2: float = 0.0
    base_kl: float = 0.0
    normalize_advantages: bool = True
    critic_iterations: int = 4
    normalize_rewards: bool = False
    stage_reward: float = 0.0
    restart_share: float = 0.0
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise UserError(f"no schedule {self.schedule!r}; there are {', '.join(SCHEDULES)}")
        if self.schedule == "adaptive" and self.target_kl is None:
            raise UserError("schedule=adaptive needs a target_kl")
        if self.precision not in PRECISIONS:
            raise UserError(f"no precision {self.precision!r}; there are {', '.join(PRECISIONS)}")
        if min(self.horizon, self.epochs, self.minibatch) < 1:
            raise UserError(f"horizon, epochs and minibatch are at least 1, got {self.horizon}, {self.epochs}, {self.minibatch}")
        check_positive(actor_lr=self.actor_lr, critic_lr=self.critic_lr, max_grad_norm=self.max_grad_norm, clip=self.clip)
        check_positive(target_kl=self.target_kl)
        check_share(gamma=self.gamma, lam=self.lam, restart_share=self.restart_share)
        check_share(0.0, math.inf, weight_decay=self.weight_decay, value_weight=self.value_weight)


class Heads(Protocol):
    """What PPO trains: a Gaussian over residuals and a value, both read from features."""

    actor: nn.Module
    critic: nn.Module
    log_std: nn.Parameter


@dataclass(frozen=True)
class Samples:
    """What one collection hands to the update; B = T * N samples.

    Args:
        features: ``(B, F)`` the heads' input.
        residuals: ``(B, A)`` as drawn.
        means: ``(B, A)`` of the distribution they were drawn from.
        advantages: ``(B,)``.
        returns: ``(B,)`` value targets.
    """

    features: Tensor
    residuals: Tensor
    means: Tensor
    advantages: Tensor
    returns: Tensor

    def __len__(self) -> int:
        return len(self.returns)

    def take(self, indices: Tensor) -> Samples:
        """The samples at ``indices``."""
        return Samples(
            self.features[indices], self.residuals[indices], self.means[indices], self.advantages[indices], self.returns[indices]
        )


def gaussian_log_prob(residuals: Tensor, means: Tensor, log_std: Tensor) -> Tensor:
    """Log-density of a diagonal Gaussian: ``(B, A), (B, A), (A,) -> (B,)``."""
    standardised = (residuals - means) / log_std.exp()
    return (-0.5 * standardised.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)


def gaussian_kl(old_means: Tensor, old_log_std: Tensor, means: Tensor, log_std: Tensor) -> Tensor:
    """KL(old, new) of diagonal Gaussians, ``(B,)``: exact, so the brake does not react to sampling noise."""
    variance_ratio = (2 * (old_log_std - log_std)).exp()
    shift = (old_means - means).square() / (2 * log_std).exp()
    return 0.5 * (variance_ratio + shift - 1 - 2 * (old_log_std - log_std)).sum(-1)


class PPO:
    """The optimisers of a residual's heads, and one update from collected samples.

    Args:
        model: its ``actor``, ``critic`` and ``log_std`` are trained; nothing else is touched.
        settings: see :class:`PPOSettings`.
        generator: draws the minibatches.
    """

    def __init__(self, model: Heads, settings: PPOSettings, generator: torch.Generator) -> None:
        self.model, self.settings, self.generator = model, settings, generator
        self.initial_log_std = model.log_std.detach().clone()
        self.actor_parameters = [*model.actor.parameters(), *([model.log_std] if model.log_std.requires_grad else [])]
        self.critic_parameters = list(model.critic.parameters())
        self.actor_optimizer = _adamw(self.actor_parameters, settings.actor_lr, settings.weight_decay)
        self.critic_optimizer = _adamw(self.critic_parameters, settings.critic_lr, settings.weight_decay)
        self.actor_lr_factor = 1.0  # of the adaptive schedule

    def update(self, samples: Samples, *, train_actor: bool = True, progress: float = 0.0) -> dict[str, float]:
        """Several epochs over ``samples``.

        Args:
            samples: one collection.
            train_actor: false trains the critic alone.
            progress: share of the budget used, in [0, 1], for the cosine schedule.

        Returns:
            Means over the gradient steps: losses, KL, clip fraction, residual size, explained variance.

        Raises:
            UserError: the loss is not finite; the weights are those before the step.
        """
        self._set_learning_rates(progress)
        advantages = samples.advantages
        if self.settings.normalize_advantages:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        samples = Samples(samples.features, samples.residuals, samples.means, advantages, samples.returns)
        old_log_std = self.model.log_std.detach().clone()
        steps: list[dict[str, Tensor]] = []
        epochs_of_actor = 0
        for _ in range(self.settings.epochs):
            for indices in torch.split(torch.randperm(len(samples), generator=self.generator), self.settings.minibatch):
                part = samples.take(indices)
                values = self._critic_step(part)
                if train_actor:
                    actor_values = self._actor_step(part, old_log_std)
                    train_actor = "policy_loss" in actor_values
                    values |= actor_values
                steps.append(values)
            epochs_of_actor += train_actor
        metrics = {name: float(torch.stack([step[name] for step in steps if name in step]).mean()) for name in _names(steps)}
        self._adapt(steps)
        return {**metrics, **self._summary(samples, epochs_of_actor)}

    def _actor_step(self, part: Samples, old_log_std: Tensor) -> dict[str, Tensor]:
        """One gradient step, or none (and no ``policy_loss``) where the KL brake bites."""
        settings, log_std = self.settings, self.model.log_std
        with self._autocast():
            means = self.model.actor(part.features).float()
        kl = gaussian_kl(part.means, old_log_std, means, log_std).mean()
        _require_finite(kl, "KL")
        if settings.target_kl is not None and kl > settings.target_kl:
            return {"kl_at_stop": kl.detach()}
        log_ratio = gaussian_log_prob(part.residuals, means, log_std) - gaussian_log_prob(part.residuals, part.means, old_log_std)
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
        policy_loss = -torch.minimum(ratio * part.advantages, clipped * part.advantages).mean()
        loss = policy_loss + self._penalties(means)
        _step(self.actor_optimizer, loss, self.actor_parameters, settings.max_grad_norm, "policy")
        return {
            "policy_loss": policy_loss.detach(),
            "kl": kl.detach(),
            "clip_fraction": (ratio != clipped).float().mean(),
            "residual_norm": means.detach().norm(dim=-1).mean(),
        }

    def _penalties(self, means: Tensor) -> Tensor:
        settings, log_std = self.settings, self.model.log_std
        entropy = (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum()
        penalty = -settings.entropy_weight * entropy
        if settings.residual_l1:
            penalty = penalty + settings.residual_l1 * means.abs().sum(-1).mean()
        if settings.residual_l2:
            penalty = penalty + settings.residual_l2 * means.square().sum(-1).mean()
        if settings.base_kl:
            at_base = torch.zeros_like(means)
            penalty = penalty + settings.base_kl * gaussian_kl(means, log_std, at_base, self.initial_log_std.to(means)).mean()
        return penalty

    def _critic_step(self, part: Samples) -> dict[str, Tensor]:
        with self._autocast():
            values = self.model.critic(part.features)[:, 0].float()
        loss = 0.5 * (values - part.returns).square().mean()
        weighted = self.settings.value_weight * loss
        _step(self.critic_optimizer, weighted, self.critic_parameters, self.settings.max_grad_norm, "value")
        return {"value_loss": loss.detach()}

    def _autocast(self) -> torch.autocast:
        return autocast(self.settings.precision, self.model.log_std.device)

    def _set_learning_rates(self, progress: float) -> None:
        settings = self.settings
        factor = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))) if settings.schedule == "cosine" else 1.0
        _set_lr(self.actor_optimizer, settings.actor_lr * factor * self.actor_lr_factor)
        _set_lr(self.critic_optimizer, settings.critic_lr * factor)

    def _adapt(self, steps: list[dict[str, Tensor]]) -> None:
        kls = [float(step["kl_at_stop"] if "kl_at_stop" in step else step["kl"]) for step in steps if "kl" in step or "kl_at_stop" in step]
        if self.settings.schedule != "adaptive" or self.settings.target_kl is None or not kls:
            return
        if kls[-1] > self.settings.target_kl:
            self.actor_lr_factor = max(self.actor_lr_factor / 1.5, 0.03)
        elif kls[-1] < self.settings.target_kl / 4:
            self.actor_lr_factor = min(self.actor_lr_factor * 1.5, 30.0)

    @torch.no_grad()
    def _summary(self, samples: Samples, epochs_of_actor: int) -> dict[str, float]:
        error = samples.returns - self.model.critic(samples.features)[:, 0]
        variance = float(samples.returns.var())
        return {
            "explained_variance": 1 - float(error.var()) / variance if variance > 0 else 0.0,
            "std": float(self.model.log_std.exp().mean()),
            "actor_lr": float(self.actor_optimizer.param_groups[0]["lr"]),
            "actor_epochs": float(epochs_of_actor),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Both optimisers' states as named tensors; the inverse of :meth:`load_tensors`."""
        factor = torch.tensor(self.actor_lr_factor, dtype=torch.float64)
        return {"actor_lr_factor": factor, **optimizer_tensors(self._optimizers())}

    def load_tensors(self, named: Mapping[str, Tensor]) -> None:
        """Restore :meth:`tensors` to the bit."""
        self.actor_lr_factor = float(named["actor_lr_factor"])
        restore_optimizer(self._optimizers(), named)

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"actor": self.actor_optimizer, "critic": self.critic_optimizer}


def _adamw(parameters: list[nn.Parameter], lr: float, weight_decay: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, eps=1e-5)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor, parameters: list[nn.Parameter], max_norm: float, name: str) -> None:
    _require_finite(loss, f"{name} loss")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    _require_finite(nn.utils.clip_grad_norm_(parameters, max_norm), f"{name} gradient")
    optimizer.step()


def _require_finite(value: Tensor, name: str) -> None:
    if not torch.isfinite(value):
        raise UserError(f"the {name} is {float(value.detach())}; {ADVICE}")


def _set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def _names(steps: list[dict[str, Tensor]]) -> list[str]:
    return list(dict.fromkeys(name for step in steps for name in step))
