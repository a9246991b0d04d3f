"""Off-policy residual learning: TD3 with an ensemble of layer-normed critics over replayed steps (ResFiT, arXiv 2509.19301)."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning.collector import Collector, Experience, ResidualActor
from robolearn.learning.optimizer_state import optimizer_tensors, restore_optimizer
from robolearn.learning.q_ensemble import QEnsemble
from robolearn.learning.transition_buffer import TransitionBuffer, Transitions, n_step_transitions
from robolearn.nodes import find_target
from robolearn.precision import autocast
from robolearn.protocols import Environment

DEMO_LIMIT = 3.0  # residuals of demonstrations are clipped to this, far beyond what the actor can do but finite


@dataclass(frozen=True)
class ResidualOffPolicy:
    """Recipe of the off-policy learner; use it with a model whose ``residual_limit`` is set.

    Args:
        horizon: steps T each row plays between updates.
        updates_per_step: critic gradient steps per environment step (UTD); with N rows in one simulator 0.05 to 0.2 balances
            simulation and learning on two cores.
        batch: transitions a gradient step.
        capacity: transitions kept.
        members: critics in the ensemble.
        subset: critics drawn for each target, whose minimum it is.
        hidden: width of each hidden layer of the critics.
        n_step: steps of a transition.
        gamma: discount a step.
        polyak: share of the critics that enters the target critics each update.
        actor_lr: learning rate of the actor.
        critic_lr: learning rate of the critics.
        actor_delay: critic updates between two actor updates.
        target_noise: standard deviation of the target action's smoothing, as a share of the exploration noise; clipped at twice it.
        target_limits: values that returns can take; targets are clipped to them. None where rewards are not one at success.
        warmup_steps: environment steps before the actor learns; the rows play the base with exploration noise.
        progressive_steps: environment steps over which the share of actions with the residual's mean grows from 0 to 1.
        residual_l2: weight of the mean residual's squared size.
        stage_reward: added once per episode for each stage reached; raise ``target_limits`` with it.
        restart_share: see :class:`robolearn.learning.ppo.PPOSettings`.
        demonstrations: store whose successful episodes fill half of every batch.
        demonstration_store: class that opens it.
        save_buffer: write the replay buffer into checkpoints; without it a resumed run refills the buffer before it learns on.
        precision: of the update's matrix products; see :class:`robolearn.learning.ppo.PPOSettings`.
    """

    horizon: int = 16
    updates_per_step: float = 0.1
    batch: int = 256
    capacity: int = 500_000
    members: int = 5
    subset: int = 2
    hidden: tuple[int, ...] = (256, 256)
    n_step: int = 3
    gamma: float = 0.998
    polyak: float = 0.005
    actor_lr: float = 1e-4
    critic_lr: float = 3e-4
    actor_delay: int = 2
    target_noise: float = 0.5
    target_limits: tuple[float, float] | None = (0.0, 1.0)
    warmup_steps: int = 50_000
    progressive_steps: int = 0
    residual_l2: float = 0.0
    stage_reward: float = 0.0
    restart_share: float = 0.0
    demonstrations: str | None = None
    demonstration_store: str = "robolearn.datasets.store.DemoStore"
    save_buffer: bool = False
    precision: str = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.subset <= self.members:
            raise UserError(f"subset is between 1 and members, got {self.subset} of {self.members}")
        if min(self.horizon, self.batch, self.n_step, self.actor_delay) < 1:
            given = f"{self.horizon}, {self.batch}, {self.n_step}, {self.actor_delay}"
            raise UserError(f"horizon, batch, n_step and actor_delay are at least 1, got {given}")

    def begin(self, env: Environment, policy: ResidualActor, seed: int) -> OffPolicyLearner:
        """Label the demonstrations with the base and start all rows' first episodes."""
        return OffPolicyLearner(env, policy, self, seed)


class OffPolicyLearner:
    """Play T steps in N rows, replay, repeat.

    Args:
        env: N rows with autoreset disabled.
        policy: residual policy in N rows; its model's actor learns, its model's value head is left alone.
        settings: see :class:`ResidualOffPolicy`.
        seed: training seed.

    Raises:
        UserError: the residual has no bound, or the demonstrations hold no success or do not fit the environment.
    """

    def __init__(self, env: Environment, policy: ResidualActor, settings: ResidualOffPolicy, seed: int) -> None:
        self.settings, self.model = settings, policy.model
        if self.model.residual_limit is None:
            raise UserError("off-policy learning needs a bounded residual: give model.residual_limit=1.5")
        self.limit = self.model.residual_limit
        self.generator = torch.Generator().manual_seed(seed)
        self.demonstrations = self._demonstrations(env, policy)
        self.collector = Collector(env, policy, seed, stage_reward=settings.stage_reward, restart_share=settings.restart_share)
        sizes = (self.collector.features.shape[1], self.collector.base_action.shape[1])
        self.buffer = TransitionBuffer(settings.capacity, *sizes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.critics = QEnsemble(settings.members, *sizes, settings.hidden)
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        self.actor_optimizer = torch.optim.AdamW(self.model.actor.parameters(), lr=settings.actor_lr, weight_decay=0.0)
        self.critic_optimizer = torch.optim.AdamW(self.critics.parameters(), lr=settings.critic_lr, weight_decay=1e-4)
        self.iteration, self.env_steps, self.updates = 0, 0, 0
        self.owed = 0.0  # updates that env steps have earned

    def iterate(self, progress: float = 0.0) -> dict[str, float]:
        """Play once and make the updates that it earned; metrics ``train/*``, ``offpolicy/*`` and ``time/*``."""
        settings = self.settings
        experience, metrics = self.collector.play(settings.horizon, self._explore)
        self.buffer.add(n_step_transitions(experience, settings.n_step, settings.gamma))
        steps = experience.rewards.numel()
        self.iteration += 1
        self.env_steps += steps
        begun = time.perf_counter()
        self.owed = self.owed + steps * settings.updates_per_step if len(self.buffer) >= min(settings.capacity, 4 * settings.batch) else 0.0
        made = [self._update() for _ in range(int(self.owed))]
        self.owed -= len(made)
        names = dict.fromkeys(name for update in made for name in update)
        update = {name: float(torch.stack([part[name] for part in made if name in part]).mean()) for name in names}
        if not all(np.isfinite(value) for value in update.values()):
            raise UserError(f"the critics' loss is {update.get('value_loss')}; the checkpoints written so far are good: lower critic_lr")
        return {**metrics, "time/update": time.perf_counter() - begun, **{f"offpolicy/{name}": value for name, value in update.items()}}

    def _explore(self, step: int, features: Tensor) -> Tensor:
        mean = self.model.actor(features)
        if self.settings.progressive_steps:
            share = self.env_steps / self.settings.progressive_steps
            mean = mean * (torch.rand(len(mean), 1, generator=self.generator) < share)
        noise = torch.randn(mean.shape, generator=self.generator) * self.model.log_std.exp()
        residual: Tensor = (mean + noise).clamp(-self.limit, self.limit)
        return residual

    def _update(self) -> dict[str, Tensor]:
        batch = self._batch()
        metrics = self._critic_update(batch)
        with torch.no_grad():
            for target, source in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
                target.lerp_(source, self.settings.polyak)
        self.updates += 1
        if self.env_steps > self.settings.warmup_steps and self.updates % self.settings.actor_delay == 0:
            metrics |= self._actor_update(batch)
        return metrics

    def _batch(self) -> Transitions:
        if self.demonstrations is None:
            return self.buffer.sample(self.settings.batch, self.generator)
        half = self.settings.batch // 2
        parts = (self.buffer.sample(half, self.generator), self.demonstrations.sample(half, self.generator))
        return Transitions(*(torch.cat(pair) for pair in zip(*(vars(part).values() for part in parts), strict=True)))

    def _critic_update(self, batch: Transitions) -> dict[str, Tensor]:
        """Regress every critic on r + discount * min over a random subset of the target critics (REDQ, eq. 3)."""
        settings = self.settings
        with torch.no_grad(), autocast(settings.precision, batch.features.device):
            noise = torch.randn(batch.residuals.shape, generator=self.generator).clamp(-2, 2) * self.model.log_std.exp()
            action = (self.model.actor(batch.next_features) + settings.target_noise * noise).clamp(-self.limit, self.limit)
            chosen = torch.randperm(settings.members, generator=self.generator)[: settings.subset]
            following = self.targets(batch.next_features, action.float())[chosen].amin(0)
            target = batch.rewards + batch.discounts * following
            if settings.target_limits is not None:
                target = target.clamp(*settings.target_limits)
        with autocast(settings.precision, batch.features.device):
            values = self.critics(batch.features, batch.residuals)  # (E, B)
        loss = (values - target).square().mean(1).sum()
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.critics.parameters(), 10.0)
        self.critic_optimizer.step()
        return {"value_loss": loss.detach() / settings.members, "value": values.detach().mean(), "spread": values.detach().std(0).mean()}

    def _actor_update(self, batch: Transitions) -> dict[str, Tensor]:
        """Climb the mean of all critics."""
        self.critics.requires_grad_(False)
        with autocast(self.settings.precision, batch.features.device):
            residual = self.model.actor(batch.features).float()
            gain = self.critics(batch.features, residual).mean()
        loss = -gain + self.settings.residual_l2 * residual.square().sum(-1).mean()
        self.actor_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.actor_optimizer.step()
        self.critics.requires_grad_(True)
        return {"actor_value": gain.detach(), "residual_norm": residual.detach().norm(dim=-1).mean()}

    def _demonstrations(self, env: Environment, policy: ResidualActor) -> TransitionBuffer | None:
        if self.settings.demonstrations is None:
            return None
        store = find_target(self.settings.demonstration_store).open(self.settings.demonstrations)
        env.env_spec.check_serves(store.env_spec, recorded=True)
        episodes = [episode for episode in map(store.episode, range(store.num_episodes)) if episode.success]
        if not episodes:
            raise UserError(f"{self.settings.demonstrations} holds no successful episode to learn from")
        experiences = label_demonstrations(policy, episodes, env.num_envs)
        parts = [n_step_transitions(part, self.settings.n_step, self.settings.gamma) for part in experiences]
        buffer = TransitionBuffer(sum(map(len, parts)), parts[0].features.shape[1], parts[0].residuals.shape[1])
        for part in parts:
            buffer.add(part)
        return buffer

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All state beside the model's weights, by checkpoint group; the replay buffer where ``save_buffer`` is on."""
        critics = {f"critics.{name}": value for name, value in self.critics.state_dict().items()}
        critics |= {f"targets.{name}": value for name, value in self.targets.state_dict().items()}
        collector = {name: torch.from_numpy(value) for name, value in self.collector.state_dict().items()}
        counts = torch.tensor([self.iteration, self.env_steps, self.updates, self.owed], dtype=torch.float64)
        optimizers = optimizer_tensors({"actor": self.actor_optimizer, "critic": self.critic_optimizer})
        groups = {"critics": critics, "optimizer": optimizers}
        groups["collector"] = {**collector, "counts": counts, "generator": self.generator.get_state()}
        return {**groups, "buffer": self.buffer.tensors()} if self.settings.save_buffer else groups

    def load_tensors(self, group: Callable[[str], Mapping[str, Tensor]]) -> None:
        """Restore :meth:`tensors`."""
        critics = group("critics")
        for name, module in (("critics.", self.critics), ("targets.", self.targets)):
            module.load_state_dict({key.removeprefix(name): value for key, value in critics.items() if key.startswith(name)})
        restore_optimizer({"actor": self.actor_optimizer, "critic": self.critic_optimizer}, group("optimizer"))
        collector = dict(group("collector"))
        self.generator.set_state(collector.pop("generator"))
        *counts, self.owed = collector.pop("counts").tolist()
        self.iteration, self.env_steps, self.updates = (int(count) for count in counts)
        self.collector.load_state_dict({name: value.numpy() for name, value in collector.items()})
        if self.settings.save_buffer:
            self.buffer.load_tensors(group("buffer"))


def label_demonstrations(policy: ResidualActor, episodes: Iterable[Episode], num_envs: int) -> list[Experience]:
    """What residual would have turned the base's action into the demonstrator's, at every step of every episode.

    The base plans along the demonstrated observations as it would while acting, chunk by chunk, N episodes at a time.

    Args:
        policy: residual policy in N rows; its episodes are forgotten.
        episodes: successful ones; the last step counts as terminated.
        num_envs: N.

    Returns:
        One experience of one row per episode.
    """
    remaining, labelled = list(episodes), list[Experience]()
    while remaining:
        group, remaining = remaining[:num_envs], remaining[num_envs:]
        padded = [*group, *[group[-1]] * (num_envs - len(group))]
        everyone, seeds = np.ones(num_envs, bool), np.arange(num_envs, dtype=np.int64) + len(labelled)
        policy.reset(everyone, seeds)
        features, residuals = [], []
        for step in range(max(map(len, group))):
            at = [min(step, len(episode) - 1) for episode in padded]
            names = padded[0].observations
            seen = {name: np.stack([episode.observations[name][t] for episode, t in zip(padded, at, strict=True)]) for name in names}
            base_action, read = policy.propose(seen)
            wanted = np.stack([episode.actions[t] for episode, t in zip(padded, at, strict=True)])
            features.append(read)
            residuals.append(np.clip((wanted - base_action) / policy.model.step_size, -DEMO_LIMIT, DEMO_LIMIT))
        stacked = [torch.from_numpy(np.stack(part).astype(np.float32)) for part in (features, residuals)]  # (T, N, ...)
        labelled += [_one_row(episode, *(part[: len(episode), row : row + 1] for part in stacked)) for row, episode in enumerate(group)]
    return labelled


def _one_row(episode: Episode, features: Tensor, residuals: Tensor) -> Experience:
    steps = len(episode)
    terminated = torch.zeros(steps, 1, dtype=torch.bool)
    terminated[-1] = True
    rewards = torch.zeros(steps, 1)
    rewards[-1] = 1.0
    following = torch.cat([features, features[-1:]])
    return Experience(following, residuals, rewards, terminated, torch.zeros_like(terminated), features[:0, 0])
