"""A world that can be drawn and branched, and a policy that half of the time goes somewhere else: what critics are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from robolearn.checkpoint import save_checkpoint
from robolearn.config import CONF
from robolearn.protocols import Observation
from robolearn.seeding import addressed_uniform
from tests.fake_sampler import ScriptedSampler
from tests.fakes import HALF_EXTENT, POINT_REACH_SPEC, PointReach, point_reach_normalizer

HERE = "tests.learning.two_modes"
HORIZON = 6  # one decision an episode, or two


class DrawnReach(PointReach):
    """Points that can be drawn, with the observation at hand."""

    def observation(self) -> dict[str, NDArray[np.float32]]:
        return self._observation()

    def render(self, row: int = 0) -> NDArray[np.uint8]:  # type: ignore[override]
        picture = np.full((64, 96, 3), 230, np.uint8)
        for position, colour in ((self._state[row, 3:6], (40, 160, 60)), (self._state[row, :3], (200, 40, 40))):
            x, y = (int((value / HALF_EXTENT + 1) / 2 * size) for value, size in zip(position[:2], (95, 63), strict=True))
            picture[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = colour
        return picture


class TwoModes(ScriptedSampler):
    """Goes to the goal or, half of the time, 0.3 m beside it."""

    @torch.inference_mode()
    def sample(
        self, observation: Observation, seeds: NDArray[np.int64], decisions: NDArray[np.int64], candidates: int = 1
    ) -> NDArray[np.float32]:
        chunks = super().sample(observation, seeds, decisions, candidates)
        astray = addressed_uniform("astray", seeds, decisions, candidates) < 0.5  # (B, K)
        chunks[..., 0] += np.where(astray, np.where(chunks[:, :, 0, 0] > 0, -0.3, 0.3), 0.0)[:, :, None]
        return chunks


def save_two_modes(folder: Path, bias: float = 0.0) -> Path:
    """A checkpoint of :class:`TwoModes`."""
    config = {"_target_": f"{HERE}.TwoModes", "prediction_horizon": HORIZON, "action_horizon": HORIZON, "bias": bias}
    model = TwoModes(prediction_horizon=HORIZON, action_horizon=HORIZON, bias=bias)
    save_checkpoint(
        folder, 1, config=config, env_spec=POINT_REACH_SPEC, normalizer=point_reach_normalizer(), tensors={"model": model.state_dict()}
    )
    return folder


def verb_config(verb: str, **values: Any) -> DictConfig:
    """The config of a verb on :class:`DrawnReach`; ``a__b=value`` sets a nested one."""
    config = OmegaConf.load(CONF / f"{verb}.yaml")
    assert isinstance(config, DictConfig)
    config.pop("defaults", None)
    env = {"_target_": f"{HERE}.DrawnReach", "max_episode_steps": HORIZON}
    relations = [["action", "goal"], ["tcp_pos", "goal"]]
    config.task = {"name": "point_reach", "env": env, "relations": relations, "distractors": []}
    for key, value in values.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    return config
