"""Plain regression of action chunks: the MLP baselines of ResiP (arXiv:2407.16677), MLP-C with chunks and MLP-S without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.batch import WindowBatch
from robolearn.learning.parallel import Shard
from robolearn.normalize import Normalizer
from robolearn.policies.chunk_model import ChunkModel
from robolearn.policies.encoders import Encoder
from robolearn.protocols import Observation
from robolearn.seeding import addressed_normal
from robolearn.spec import EnvSpec

SMOOTHING = 4.0  # exploration noise is a random walk's low frequencies: correlated over about this many steps


class ResidualBlock(nn.Module):
    """``h + W2 dropout(relu(W1 layer_norm(h)))``."""

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(size, size))

    def forward(self, hidden: Tensor) -> Tensor:
        """``(B, H) -> (B, H)``."""
        updated: Tensor = hidden + self.layers(hidden)
        return updated


class MlpNetwork(nn.Module):
    """Observation to chunk by residual blocks; a change of width is a linear layer."""

    def __init__(self, inputs: int, outputs: int, sizes: Sequence[int], dropout: float) -> None:
        super().__init__()
        widths = list(sizes)
        layers: list[nn.Module] = [nn.Linear(inputs, widths[0])]
        for before, width in zip([widths[0], *widths[:-1]], widths, strict=True):
            layers += [ResidualBlock(width, dropout)] if before == width else [nn.Linear(before, width), ResidualBlock(width, dropout)]
        self.layers = nn.Sequential(*layers, nn.LayerNorm(widths[-1]), nn.ReLU(), nn.Linear(widths[-1], outputs))

    def forward(self, condition: Tensor) -> Tensor:
        """``(B, C) -> (B, outputs)``."""
        predicted: Tensor = self.layers(condition)
        return predicted


class MlpPolicy(ChunkModel):
    """Chunk sampler that predicts one chunk; further candidates are that chunk plus smooth noise.

    Args:
        env_spec: observations and actions of the task.
        normalizer: fitted on the demonstrations.
        observation_keys: arrays it reads.
        prediction_horizon: actions predicted: 8 is MLP-C, 1 is MLP-S.
        action_horizon: actions meant to be executed of each chunk.
        sizes: width of each residual block.
        dropout: within the blocks, while training.
        exploration_std: standard deviation of the candidates' noise, in normalised units; candidate 0 has none.
        **shared: see :class:`ChunkModel`.
    """

    def __init__(
        self,
        *,
        env_spec: EnvSpec,
        normalizer: Normalizer,
        observation_keys: Sequence[str],
        prediction_horizon: int = 8,
        action_horizon: int = 8,
        sizes: Sequence[int] = (1024,) * 5,
        dropout: float = 0.1,
        exploration_std: float = 0.05,
        observation_horizon: int = 1,
        observation_noise: float = 0.0,
        clamp: float = 3.0,
        action_clamp: float = 1.0,
        mask_padding: bool = True,
        precision: str = "auto",
        actions: str = "absolute",
        encoder: Encoder | None = None,
        task_embedding: int = 0,
        tasks: Sequence[str] = (),
    ) -> None:
        super().__init__(
            env_spec=env_spec,
            normalizer=normalizer,
            observation_keys=observation_keys,
            observation_horizon=observation_horizon,
            prediction_horizon=prediction_horizon,
            action_horizon=action_horizon,
            observation_noise=observation_noise,
            clamp=clamp,
            action_clamp=action_clamp,
            mask_padding=mask_padding,
            precision=precision,
            actions=actions,
            encoder=encoder,
            task_embedding=task_embedding,
            tasks=tasks,
        )
        self.exploration_std = exploration_std
        self.network = MlpNetwork(self.observation_size, prediction_horizon * env_spec.action.size, sizes, dropout)
        self._smooth = torch.from_numpy(smoothing_matrix(prediction_horizon))

    def loss(self, batch: WindowBatch, generator: torch.Generator, shard: Shard | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of a batch of tensors, in normalised units: a scalar, and metrics by name."""
        condition = self.noisy_condition(batch, generator, shard)
        with self.autocast():
            predicted = self.network(condition).float().view(batch.actions.shape)
        target = self.normalise_actions(batch.actions, batch.observations)
        loss = self.masked_mean((predicted - target).square(), batch.is_pad)
        return loss, {"loss": loss.detach()}

    @torch.inference_mode()
    def sample(
        self, observation: Observation, seeds: NDArray[np.int64], decisions: NDArray[np.int64], candidates: int = 1
    ) -> NDArray[np.float32]:
        """``{name: (B, To, ...)} -> (B, K, Tp, A)`` in environment units; candidate 0 is the prediction itself."""
        shape = (self.prediction_horizon, self.env_spec.action.size)
        network, _ = self.serving_network()
        with self.autocast():
            mean = network(self.encode_numpy(observation)).float().view(-1, 1, *shape)  # (B, 1, Tp, A)
        chunks = mean.expand(-1, candidates, -1, -1)
        if candidates > 1:
            noise = torch.from_numpy(addressed_normal("policy", seeds, decisions, (candidates, *shape)))
            noise[:, 0] = 0.0
            chunks = mean + self.exploration_std * (self._smooth @ noise).to(mean)
        return self.chunks_numpy(chunks, observation)


def smoothing_matrix(horizon: int, width: float = SMOOTHING) -> NDArray[np.float32]:
    """Gaussian weights over time that keep white noise's variance 1 at every step: ``(Tp, Tp)``."""
    steps = np.arange(horizon)
    weights = np.exp(-0.5 * ((steps[:, None] - steps[None]) / (width / 2)) ** 2)
    unit: NDArray[np.float32] = (weights / np.sqrt((weights**2).sum(1, keepdims=True))).astype(np.float32)
    return unit
