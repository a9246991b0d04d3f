"""Who acts in test_ray_players.py, in processes of Ray's."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.checkpoint import save_checkpoint
from robolearn.protocols import Observation
from tests.fakes import POINT_REACH_SPEC, point_reach_normalizer
from tests.learning.test_collect import MoodyExpert
from tests.policies.small import HORIZON, KEYS, small_mlp


class MortalExpert(MoodyExpert):
    """Takes its process along at its twentieth step, as long as there are fewer graves than it is to die."""

    def __init__(self, num_envs: int, graves: str, deaths: int) -> None:
        super().__init__(num_envs)
        self.graves, self.deaths, self.steps = Path(graves), deaths, 0

    def act(self, observation: Observation) -> NDArray[np.float32]:
        self.steps += 1
        if self.steps == 20 and len(list(self.graves.iterdir())) < self.deaths:
            (self.graves / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        actions: NDArray[np.float32] = super().act(observation)
        return actions


class LostExpert(MoodyExpert):
    """Does not know what to do."""

    def act(self, observation: Observation) -> NDArray[np.float32]:
        return np.full((len(self.shares), 10), np.nan, np.float32)


def save_network(folder: Path) -> Path:
    """A checkpoint of a small network, whose last bits depend on which rows it serves together."""
    model = small_mlp(sizes=(64, 64))
    config: dict[str, Any] = {
        "_target_": "robolearn.policies.mlp.MlpPolicy",
        "observation_keys": list(KEYS),
        "prediction_horizon": HORIZON,
        "sizes": [64, 64],
        "precision": "float32",
    }
    tensors = {"model": model.state_dict()}
    save_checkpoint(folder, 1, config=config, env_spec=POINT_REACH_SPEC, normalizer=point_reach_normalizer(), tensors=tensors)
    return folder
