"""The sweep of drills as a policy that ``robolearn serve`` serves: nothing was trained, and nothing is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.drills.policy import HORIZON, Sweep
from robolearn.nodes import find_target
from robolearn.protocols import Observation
from robolearn.tasks import one_leg_spec


class SweepSampler:
    """A :class:`robolearn.protocols.ChunkSampler` of one row, for one_leg's robot."""

    def __init__(self) -> None:
        self.env_spec = one_leg_spec()
        self.normalizer: Any = None  # nothing is normalised
        self.observation_keys: tuple[str, ...] = ("tcp_pos", "tcp_rot6d")
        self.observation_horizon, self.prediction_horizon = 1, HORIZON
        self._sweep = Sweep()

    def sample(
        self, observation: Observation, seeds: NDArray[np.int64], decisions: NDArray[np.int64], candidates: int = 1
    ) -> NDArray[np.float32]:
        """``{name: (1, 1, ...)} -> (1, K, 8, 10)``, all alike."""
        chunk = self._sweep.chunk(observation["tcp_pos"][0, -1], observation["tcp_rot6d"][0, -1])
        return np.tile(chunk, (1, candidates, 1, 1))


def load(num_envs: int, **_: Any) -> Any:
    """For ``policy._target_``; half a chunk is executed."""
    return find_target("robolearn.policies.chunking.ChunkedPolicy")(SweepSampler(), HORIZON // 2, num_envs)
