"""Critics over action chunks: how likely, and how soon, does what is about to be executed lead to success?

Value convention: the reward is 1 on the step that succeeds and 0 elsewhere, ``discount`` is per control step, so
Q(s, a_{t:t+h}) = E[discount^(steps until success)] lies in [0, 1] whatever the task and its time limit. The support of the
distributional head is therefore known, a failure is 0 and not "-1/(1 - discount) at the latest", and at discount 1 the value is a
success probability that a reliability diagram can check.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.normalize import ACTION, Normalizer
from robolearn.policies.relations import Relations, all_but, layout_of
from robolearn.protocols import Observation
from robolearn.rotation import orthonormalize_rot6d
from robolearn.spec import ActionSpec, EnvSpec

FEATURE_LIMIT = 5.0  # normalised features beyond this say "far outside the demonstrations", no more


def executed_chunks(chunks: NDArray[Any], action: ActionSpec) -> NDArray[np.float32]:
    """What the environment makes of ``(..., A)``: clipped to the limits, rot6d rows made orthonormal."""
    executed = np.clip(chunks, np.asarray(action.low, np.float32), np.asarray(action.high, np.float32)).astype(np.float32)
    if "r11" in action.names:
        first = action.names.index("r11")
        executed[..., first : first + 6] = orthonormalize_rot6d(np.asarray(chunks[..., first : first + 6], np.float32))
    return executed


class HLGauss(nn.Module):
    """Histogram-loss value head (Farebrother et al. 2024, arXiv:2403.03950, eq. 3.4).

    A target y becomes the categorical of N(y, sigma^2) over equal bins, sigma = ``sigma_ratio`` bin widths. The bins reach four sigma
    beyond the support, so that the expectation of the categorical is y also at its ends (a failure is 0, not sigma).

    Args:
        bins: number of bins m, margins included.
        support: smallest and largest possible value.
        sigma_ratio: sigma over bin width.
    """

    centers: Tensor
    edges: Tensor

    def __init__(self, bins: int = 51, support: tuple[float, float] = (0.0, 1.0), sigma_ratio: float = 0.75) -> None:
        super().__init__()
        low, high = support
        width = (high - low) / (bins - 8 * sigma_ratio)
        if width <= 0:
            raise ValueError(f"{bins} bins are too few for sigma_ratio {sigma_ratio}: more than {8 * sigma_ratio:.0f} are needed")
        self.size, self.sigma = bins, sigma_ratio * width
        edges = (low - 4 * self.sigma + width * torch.arange(bins + 1, dtype=torch.float64)).float()
        self.register_buffer("edges", edges, persistent=False)  # (m + 1,)
        self.register_buffer("centers", (edges[:-1] + edges[1:]) / 2, persistent=False)  # (m,)

    def probabilities(self, targets: Tensor) -> Tensor:
        """``(...) -> (..., m)``, summing to 1."""
        # The normal distribution function is (1 + erf(z / sqrt(2))) / 2: the sqrt(2) belongs to erf.
        cdf = torch.erf((self.edges - targets[..., None]) / (math.sqrt(2.0) * self.sigma))  # (..., m + 1)
        return (cdf[..., 1:] - cdf[..., :-1]) / (cdf[..., -1:] - cdf[..., :1])

    def value(self, logits: Tensor) -> Tensor:
        """Expectation: ``(..., m) -> (...)``."""
        return (torch.softmax(logits, -1) * self.centers).sum(-1)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy: ``(..., m), (...) -> (...)``."""
        return -(self.probabilities(targets) * torch.log_softmax(logits, -1)).sum(-1)


class Scalar(nn.Module):
    """Plain regression head: squared error."""

    size = 1

    def value(self, outputs: Tensor) -> Tensor:
        """``(..., 1) -> (...)``."""
        return outputs[..., 0]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Squared error: ``(..., 1), (...) -> (...)``."""
        return torch.square(outputs[..., 0] - targets)


class EnsembleLinear(nn.Module):
    """E linear maps as one batched product: ``(E, B, in)`` or shared ``(B, in)`` -> ``(E, B, out)``."""

    def __init__(self, members: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(max(inputs, 1))
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound)) if bias else None

    def forward(self, values: Tensor) -> Tensor:
        """Apply every member's map."""
        product = torch.matmul(values, self.weight)
        return product if self.bias is None else product + self.bias


class EnsembleLayerNorm(nn.Module):
    """Layer normalisation with each member's own gain and bias: ``(E, ..., D) -> (E, ..., D)``."""

    def __init__(self, members: int, size: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(members, 1, size))
        self.bias = nn.Parameter(torch.zeros(members, 1, size))

    def forward(self, values: Tensor) -> Tensor:
        """Normalise the last axis."""
        return nn.functional.layer_norm(values, values.shape[-1:]) * self.gain + self.bias


class ChunkEnsemble(nn.Module):
    """E networks Q_e(s, chunk); the state's share of the first layer is computed once a row and broadcast over its K candidates."""

    def __init__(self, members: int, state_size: int, chunk_size: int, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.state = EnsembleLinear(members, state_size, hidden[0])
        self.chunk = EnsembleLinear(members, chunk_size, hidden[0], bias=False)
        layers: list[nn.Module] = [EnsembleLayerNorm(members, hidden[0]), nn.SiLU()]
        for inputs, size in itertools.pairwise(hidden):
            layers += [EnsembleLinear(members, inputs, size), EnsembleLayerNorm(members, size), nn.SiLU()]
        self.trunk = nn.Sequential(*layers, EnsembleLinear(members, hidden[-1], outputs))

    def forward(self, state: Tensor, chunks: Tensor) -> Tensor:
        """``(B, S), (B, K, F) -> (E, B, K, outputs)``."""
        rows, candidates, size = chunks.shape
        first = self.state(state)[:, :, None] + self.chunk(chunks.reshape(-1, size)).unflatten(1, (rows, candidates))
        outputs: Tensor = self.trunk(first.flatten(1, 2)).unflatten(1, (rows, candidates))
        return outputs


class ChunkCritic(nn.Module):
    """An ensemble of Q(observation, the ``action_horizon`` actions that will be executed), and a state value for IQL.

    The chunk enters as what it adds to the state: its normalised actions less their linear prediction from the state, in units of
    that residual's standard deviation (:meth:`fit_features`). Candidates of one state differ by millimetres in a workspace of
    decimetres; without this they look alike to the network.

    Args:
        env_spec: what the policy observes and does.
        normalizer: the base policy's own.
        observation_keys: observations read.
        action_horizon: actions h of a chunk that are executed before the next decision.
        members: ensemble size E.
        hidden: layer widths.
        head: ``hl_gauss`` (cross-entropy) or ``mse``.
        bins: bins of the ``hl_gauss`` head.
        discount: per control step, of the values this critic was trained to give (for the record; learners read it).
        state_only: control: the chunk is ignored, so nothing can be gained by picking.
        distractors: numbers that are not read, as ``name:begin:end``; where something differs between episodes and matters to none,
            values of a few hundred episodes are learned by heart.
        relations: pairs of positions whose differences are also read, finely coded; see :class:`Relations`. Those of ``action`` are
            read at the chunk's ``relation_steps``, the others are features of the state.
        tool: position that ``action`` sends somewhere. Pairs without either are read at those actions too, as they would be if their first
            place went along with the tool: whether a held leg would stand over its hole. None reads them in the state alone.
        wavelengths: [m] of that code.
        relation_steps: how many actions of the chunk, evenly spaced and its last among them, are compared.
    """

    feature_map: Tensor
    feature_bias: Tensor
    feature_scale: Tensor

    def __init__(
        self,
        *,
        env_spec: EnvSpec,
        normalizer: Normalizer,
        observation_keys: tuple[str, ...],
        action_horizon: int,
        members: int = 5,
        hidden: tuple[int, ...] = (256, 256),
        head: str = "hl_gauss",
        bins: int = 51,
        discount: float = 0.998,
        state_only: bool = False,
        distractors: Sequence[str] = (),
        relations: Sequence[Sequence[str]] = (),
        tool: str | None = "tcp_pos",
        wavelengths: Sequence[float] = (0.32, 0.08),
        relation_steps: int = 2,
    ) -> None:
        super().__init__()
        if head not in ("hl_gauss", "mse"):
            raise ValueError(f"no critic head {head!r}; there are hl_gauss, mse")
        if members < 1 or not hidden or min(hidden) < 1:
            raise ValueError(f"a critic needs members and hidden layers of at least one unit, got members={members}, hidden={list(hidden)}")
        self.env_spec, self.normalizer, self.observation_keys = env_spec, normalizer, tuple(observation_keys)
        self.action_horizon, self.members, self.discount, self.state_only = action_horizon, members, discount, state_only
        self.head: HLGauss | Scalar = HLGauss(bins) if head == "hl_gauss" else Scalar()
        sizes = {name: math.prod(env_spec.observation[name].shape) for name in self.observation_keys}
        self.relation_places = np.linspace(action_horizon, 0, min(relation_steps, action_horizon), endpoint=False).astype(int)[::-1] - 1
        places = layout_of({**sizes, ACTION: env_spec.action.size})
        aimed = [pair for pair in relations if ACTION in pair]
        still = [pair for pair in relations if ACTION not in pair]
        carried = [pair for pair in still if tool in sizes and tool not in pair]
        self.state_relations, self.aimed, self.carried = (Relations(pairs, places, wavelengths) for pairs in (still, aimed, carried))
        self._tool, self._target = (places[name][0] + np.arange(3) for name in ((tool or ACTION) if carried else ACTION, ACTION))
        self._observed = sum(sizes.values())
        self._read = all_but(distractors, sizes)
        state_size = len(self._read) + self.state_relations.size
        self.action_size = action_horizon * env_spec.action.size
        chunk_size = self.action_size + len(self.relation_places) * (self.aimed.size + self.carried.size)
        self.register_buffer("feature_map", torch.zeros(state_size, self.action_size))
        self.register_buffer("feature_bias", torch.zeros(self.action_size))
        self.register_buffer("feature_scale", torch.ones(self.action_size))
        self.q = ChunkEnsemble(members, state_size, chunk_size, tuple(hidden), self.head.size)
        self.v = ChunkEnsemble(1, state_size, 1, tuple(hidden), 1)

    def state_features(self, observation: Observation) -> Tensor:
        """Normalised observation, and relations within it: ``{name: (B, ...)} -> (B, S)``."""
        parts = [self.normalizer.forward(name, observation[name]).reshape(len(observation[name]), -1) for name in self.observation_keys]
        plain = np.clip(np.concatenate(parts, 1)[:, self._read], -FEATURE_LIMIT, FEATURE_LIMIT)
        related = self.state_relations.encode(self._stacked(observation))
        return torch.from_numpy(np.concatenate([plain, related], 1)).to(self.feature_bias.device)

    def chunk_features(self, observation: Observation, chunks: NDArray[Any]) -> Tensor:
        """What will be executed, normalised, and its relations: ``{name: (B, ...)}, (B, K, h, A) -> (B, K, F)``."""
        executed = executed_chunks(chunks, self.env_spec.action)
        rows, candidates = chunks.shape[:2]
        parts = [self.normalizer.forward(ACTION, executed).reshape(rows, candidates, -1)]
        if self.aimed.size + self.carried.size:
            compared = executed[:, :, self.relation_places]  # (B, K, P, A)
            stacked = np.broadcast_to(self._stacked(observation)[:, None, None], (*compared.shape[:3], self._observed))
            both = np.concatenate([stacked, compared], -1).reshape(-1, self._observed + compared.shape[-1])
            moved = both[:, self._target] - both[:, self._tool]
            related = np.concatenate([self.aimed.encode(both), self.carried.encode(both, moved)], 1)
            parts.append(related.reshape(rows, candidates, -1))
        return torch.from_numpy(np.concatenate(parts, 2)).to(self.feature_bias.device)

    def _stacked(self, observation: Observation) -> NDArray[np.float32]:
        parts = [np.asarray(observation[name], np.float32).reshape(len(observation[name]), -1) for name in self.observation_keys]
        return np.concatenate(parts, 1)

    @torch.no_grad()
    def fit_features(self, state: Tensor, chunks: Tensor, ridge: float = 1e-3) -> None:
        """Learn what a chunk's actions are expected to be in a state: ``(B, S), (B, F)``, by ridge regression."""
        actions = chunks[:, : self.action_size]
        inputs = torch.cat([state, torch.ones(len(state), 1)], 1).double()
        gram = inputs.T @ inputs + ridge * len(state) * torch.eye(inputs.shape[1], dtype=torch.float64)
        solution = torch.linalg.solve(gram, inputs.T @ actions.double())  # (S + 1, h * A)
        residual = actions - (inputs @ solution).float()
        self.feature_map.copy_(solution[:-1])
        self.feature_bias.copy_(solution[-1])
        self.feature_scale.copy_(residual.std(0).clamp_min(1e-3))

    def forward(self, state: Tensor, chunks: Tensor) -> Tensor:
        """Head outputs of features: ``(B, S), (B, K, F) -> (E, B, K, m)``."""
        expected = state @ self.feature_map + self.feature_bias
        added = ((chunks[:, :, : self.action_size] - expected[:, None]) / self.feature_scale).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)
        features = torch.cat([added, chunks[:, :, self.action_size :]], 2)
        if self.state_only:
            features = torch.zeros_like(features)
        outputs: Tensor = self.q(state, features)
        return outputs

    def values(self, outputs: Tensor) -> Tensor:
        """Head outputs to values: ``(E, B, K, m) -> (E, B, K)``."""
        return self.head.value(outputs)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Per-entry loss: ``(E, B, K, m), (E or 1, B, K) -> (E, B, K)``."""
        return self.head.loss(outputs, targets)

    def state_value(self, state: Tensor) -> Tensor:
        """V(s) of IQL: ``(B, S) -> (B,)``."""
        outputs: Tensor = self.v(state, torch.zeros(len(state), 1, 1, device=state.device))
        return outputs[0, :, 0, 0]

    @torch.inference_mode()
    def score(self, observation: Observation, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Value of each candidate by each member: ``{name: (B, ...)}, (B, K, h, A) -> (E, B, K)``."""
        outputs = self(self.state_features(observation), self.chunk_features(observation, chunks))
        scores: NDArray[np.float32] = self.values(outputs).cpu().numpy()
        return scores
