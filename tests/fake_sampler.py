"""A stand-in for a trained policy: a chunk sampler that is good but biased, in the world of ``tests.fakes``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from robolearn.normalize import Normalizer
from robolearn.protocols import Observation
from robolearn.seeding import addressed_normal
from robolearn.spec import EnvSpec
from tests.fakes import HALF_EXTENT, IDENTITY_ROT6D, POINT_REACH_SPEC, point_reach_normalizer


class ScriptedSampler(torch.nn.Module):
    """A chunk sampler for :class:`PointReach` that goes to the goal plus a constant bias and a little noise.

    About 30 % of its episodes succeed; a residual that takes the bias away reaches 95 % and more.

    Args:
        env_spec: the world's words; :data:`POINT_REACH_SPEC` unless given.
        normalizer: saved with the policy.
        observation_keys: what it reads.
        observation_horizon: To.
        prediction_horizon: Tp.
        action_horizon: how many of a chunk are meant to be executed.
        bias: constant error of each position channel [m].
        noise: standard deviation of the chunk's common position error [m].
        gripper: constant gripper command.
    """

    def __init__(
        self,
        *,
        env_spec: EnvSpec = POINT_REACH_SPEC,
        normalizer: Normalizer | None = None,
        observation_keys: Sequence[str] = ("tcp_pos", "goal"),
        observation_horizon: int = 1,
        prediction_horizon: int = 8,
        action_horizon: int = 4,
        bias: float = 0.025,
        noise: float = 0.008,
        gripper: float = 1.0,
    ) -> None:
        super().__init__()
        self.env_spec = env_spec
        self.normalizer = normalizer or point_reach_normalizer()
        self.observation_keys = tuple(observation_keys)
        self.observation_horizon = observation_horizon
        self.prediction_horizon = prediction_horizon
        self.action_horizon = action_horizon
        self.noise, self.gripper = noise, gripper
        self.bias = torch.nn.Parameter(torch.full((3,), bias))
        self.samples_drawn = 0

    @torch.inference_mode()
    def sample(
        self, observation: Observation, seeds: NDArray[np.int64], decisions: NDArray[np.int64], candidates: int = 1
    ) -> NDArray[np.float32]:
        """``{name: (B, To, ...)} -> (B, K, Tp, 10)``."""
        rows = len(seeds)
        self.samples_drawn += rows
        error = self.bias.numpy() + self.noise * addressed_normal("policy", seeds, decisions, (candidates, 3))
        target = observation["goal"][:, -1][:, None] + error  # (B, K, 3)
        chunk = np.empty((rows, candidates, self.prediction_horizon, 10), np.float32)
        chunk[..., :3] = np.clip(target, -HALF_EXTENT, HALF_EXTENT)[:, :, None]
        chunk[..., 3:9] = IDENTITY_ROT6D
        chunk[..., 9] = self.gripper
        return chunk
