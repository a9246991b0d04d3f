"""The residual policy: a small network that nudges a frozen chunked policy at every control step (ResiP, arXiv 2407.16677)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.learning.multitask import take_task
from robolearn.normalize import ACTION, Normalizer
from robolearn.policies.chunking import ChunkedPolicy
from robolearn.policies.relations import Relations, layout_of
from robolearn.protocols import Observation, Policy
from robolearn.spec import EnvSpec, SpecError

GRIPPER = "gripper"


class ResidualModel(nn.Module):
    """Actor and critic on [normalised observation, normalised base action], with the frozen base nested inside.

    The executed action is ``base + strength * scale * half_range * residual``, where ``half_range`` is the normaliser's
    scale of each action channel: the paper's merge in normalised space. The actor's last layer starts at zero, so an
    untrained model acts as its base, bit for bit.

    Args:
        env_spec: observations and actions of the task.
        normalizer: the base's; one object trains and serves.
        base: a chunk sampler; it is frozen and stays in eval mode whatever :meth:`train` says.
        observation_keys: arrays the heads read; every observation that the normaliser knows, unless given.
        hidden: width of each hidden layer, the same for actor and critic.
        scale: half-ranges a residual of 1 moves a channel.
        gripper_scale: the same for channels named ``gripper``, with an arm's prefix or without; at 1 a residual can veto a +-1 command.
        log_std: log of the exploration noise's standard deviation, in residual units.
        gripper_log_std: the same for the gripper; the default is a standard deviation of 0.35.
        learn_std: train the standard deviations.
        phase_input: also tell the heads how far the base's chunk is executed; with one chunk in the queue the base's
            next actions depend on it.
        relations: pairs of positions whose difference the heads also read, finely coded; see :class:`Relations`.
        wavelengths: [m] of that code.
        residual_limit: bounds the mean residual by ``limit * tanh(x / limit)``; unbounded unless given. Beyond 1, so that the
            gripper can still be vetoed.
        input_clamp: normalised inputs are clipped to this magnitude, so that a state outside the demonstrations
            cannot saturate the heads.
    """

    def __init__(
        self,
        *,
        env_spec: EnvSpec,
        normalizer: Normalizer,
        base: nn.Module,
        observation_keys: Sequence[str] | None = None,
        hidden: Sequence[int] = (256, 256),
        scale: float = 0.1,
        gripper_scale: float = 1.0,
        log_std: float = -1.2,
        gripper_log_std: float = -1.05,
        learn_std: bool = False,
        phase_input: bool = False,
        relations: Sequence[Sequence[str]] = (),
        wavelengths: Sequence[float] = (0.32, 0.08),
        residual_limit: float | None = None,
        input_clamp: float = 3.0,
    ) -> None:
        super().__init__()
        if not hasattr(base, "sample"):
            raise UserError(f"a residual refines a policy that draws chunks; this base is a {type(base).__name__}")
        self.env_spec, self.normalizer = env_spec, normalizer
        self.observation_keys = _readable_keys(env_spec, normalizer, observation_keys)
        self.phase_input, self.input_clamp, self.residual_limit, self.learn_std = phase_input, input_clamp, residual_limit, learn_std
        self.base: Any = base.eval().requires_grad_(False)  # a ChunkSampler, and a module
        self._input_offset, self._input_scale = self._input_affine()
        self._low, self._high = np.asarray(env_spec.action.low, np.float32), np.asarray(env_spec.action.high, np.float32)
        gripper = np.array([name.endswith(GRIPPER) for name in env_spec.action.names])
        self.step_size = np.where(gripper, gripper_scale, scale).astype(np.float32) * normalizer[ACTION].scale  # (A,) per unit of residual
        sizes = {name: int(np.prod(env_spec.observation[name].shape)) for name in self.observation_keys}
        self.relations = Relations(relations, layout_of({**sizes, ACTION: env_spec.action.size}), wavelengths)
        inputs = len(self._input_offset) + self.relations.size
        self.actor = _mlp(inputs, hidden, env_spec.action.size, bias=False)
        self.critic = _mlp(inputs, hidden, 1, bias=True)
        nn.init.zeros_(_last(self.actor).weight)
        if residual_limit is not None:
            self.actor.append(SoftLimit(residual_limit))
        nn.init.orthogonal_(_last(self.critic).weight, 0.25)
        nn.init.constant_(_last(self.critic).bias, 0.25)
        initial = torch.from_numpy(np.where(gripper, gripper_log_std, log_std).astype(np.float32))
        self.log_std = nn.Parameter(initial, requires_grad=learn_std)

    def train(self, mode: bool = True) -> ResidualModel:
        """Set the heads' mode; the base stays in eval mode."""
        super().train(mode)
        self.base.eval()
        return self

    def head_parameters(self) -> list[nn.Parameter]:
        """What learning may change: actor, critic and, if learned, the exploration noise."""
        return [*self.actor.parameters(), *self.critic.parameters(), *([self.log_std] if self.learn_std else [])]

    def features(
        self, observation: Observation, base_action: NDArray[np.float32], phase: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """What the heads read: ``{name: (N, ...)}, (N, A), (N,) -> (N, F)``, normalised and clipped.

        Args:
            observation: current observation.
            base_action: what the base would do now, in environment units.
            phase: steps of the current chunk executed before ``base_action``; read where ``phase_input`` is on.
        """
        rows = len(base_action)
        parts = [observation[name].reshape(rows, -1) for name in self.observation_keys] + [base_action]
        if self.phase_input:
            parts.append((np.zeros(rows) if phase is None else phase)[:, None])
        stacked = np.concatenate(parts, 1, dtype=np.float32, casting="same_kind")
        plain = np.clip((stacked - self._input_offset) / self._input_scale, -self.input_clamp, self.input_clamp)
        return np.concatenate([plain, self.relations.encode(stacked)], 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, F) -> mean residual (B, A), value (B,)``."""
        return self.actor(features), self.critic(features)[:, 0]

    def merge(self, base_action: NDArray[np.float32], residual: NDArray[np.float32], strength: float = 1.0) -> NDArray[np.float32]:
        """Add a residual to the base's action: ``(N, A), (N, A) -> (N, A)`` in environment units.

        The sum is clipped to the action's limits, widened to the base's own action where that lies outside, so that
        clipping alone never moves the base.
        """
        change = strength * self.step_size * residual
        moved = np.clip(base_action + change, np.minimum(self._low, base_action), np.maximum(self._high, base_action))
        return np.where(change == 0, base_action, moved).astype(np.float32, copy=False)

    def _input_affine(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        parts = [self.normalizer[name] for name in (*self.observation_keys, ACTION)]
        offset, scale = [part.offset.ravel() for part in parts], [part.scale.ravel() for part in parts]
        if self.phase_input:
            half = np.full(1, self.base.action_horizon / 2, np.float32)
            offset, scale = [*offset, half], [*scale, half]
        return np.concatenate(offset, dtype=np.float32), np.concatenate(scale, dtype=np.float32)


class SoftLimit(nn.Module):
    """``limit * tanh(x / limit)``: the identity near zero, never beyond the limit."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, values: Tensor) -> Tensor:
        """Bounded ``values``, of any shape."""
        return self.limit * torch.tanh(values / self.limit)


class PhasedPolicy(Policy, Protocol):
    """A policy that executes chunks and tells how far each row's chunk is.

    Attributes:
        chunk: ``(N, h, A)`` the chunk being executed.
        phase: ``(N,)`` actions of it already handed out.
    """

    chunk: NDArray[np.float32]
    phase: NDArray[np.int64]


class ResidualPolicy:
    """Acts as ``base`` plus the model's mean residual, turned up or down at run time.

    Args:
        base: the policy the residual was trained on: a chunked policy around ``model.base``, or around a steered sampler.
        model: the trained heads.
        strength: 0 returns the base's actions untouched, 1 is as trained, values between scale the residual.
    """

    def __init__(self, base: PhasedPolicy, model: ResidualModel, strength: float = 1.0) -> None:
        self.base, self.model, self.strength = base, model, strength
        self.env_spec = model.env_spec
        self.refine_keys = tuple(model.observation_keys)

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Forget the episodes of ``rows (N,)``; ``seeds (N,)`` address the base's noise."""
        self.base.reset(rows, seeds)

    def take_task(self, task: str) -> None:
        """Act for the environment's task, where the base knows several."""
        take_task(self.base, task)

    def propose(self, observation: Observation) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The base's next action and what the heads read with it: ``(N, A)`` in environment units, ``(N, F)``."""
        base_action = self.base.act(observation)
        return base_action, self.model.features(observation, base_action, self.base.phase - 1)

    def foresee(self, observation: Observation) -> NDArray[np.float32]:
        """What the heads would read at ``observation`` if the rows went on, ``(N, F)``, without advancing the base.

        The base's action is the next one of its chunk, or the last one where the chunk is used up.
        """
        phase = np.minimum(self.base.phase, self.base.chunk.shape[1] - 1)
        return self.model.features(observation, self.base.chunk[np.arange(len(phase)), phase], phase)

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """``{name: (N, ...)} -> (N, A)`` in environment units."""
        base_action = self.base.act(observation)
        return self.refine(observation, base_action, self.base.phase - 1)

    def refine(self, observation: Observation, base_action: NDArray[np.float32], phase: NDArray[np.int64]) -> NDArray[np.float32]:
        """The base's action with the residual added, without a state of its own: ``{name: (N, ...)}, (N, A), (N,) -> (N, A)``.

        ``phase`` is how many actions of its chunk the base executed before this one.
        """
        if self.strength == 0:
            return base_action
        features = self.model.features(observation, base_action, phase)
        with torch.inference_mode():
            device = self.model.log_std.device
            residual: NDArray[np.float32] = self.model.actor(torch.from_numpy(features).to(device)).cpu().numpy()
        return self.model.merge(base_action, residual, self.strength)


def residual_policy(model: ResidualModel, num_envs: int, strength: float = 1.0) -> ResidualPolicy:
    """Serve a residual model in N rows, on its own base."""
    return ResidualPolicy(ChunkedPolicy(model.base, model.base.action_horizon, num_envs), model, strength)


def _readable_keys(env_spec: EnvSpec, normalizer: Normalizer, wanted: Sequence[str] | None) -> tuple[str, ...]:
    known = [name for name in env_spec.observation if name in normalizer.parts]
    missing = [name for name in wanted or () if name not in known]
    if missing:
        raise SpecError(f"the residual cannot read {missing}: the base's normaliser was fitted on {known} alone")
    return tuple(wanted or known)


def _mlp(inputs: int, hidden: Sequence[int], outputs: int, bias: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in hidden:
        layer = nn.Linear(inputs, width)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs, bias=bias))


def _last(network: nn.Sequential) -> nn.Linear:
    layer = network[-1]
    assert isinstance(layer, nn.Linear)
    return layer
