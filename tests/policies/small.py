"""Small policies and batches in the world of ``tests.fakes``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robolearn.batch import WindowBatch
from robolearn.policies.diffusion import DiffusionPolicy
from robolearn.policies.mlp import MlpPolicy
from tests.fakes import POINT_REACH_SPEC, point_reach_normalizer

KEYS = ("tcp_pos", "goal")
HORIZON = 8
WORDS: dict[str, Any] = {"env_spec": POINT_REACH_SPEC, "normalizer": point_reach_normalizer(), "observation_keys": KEYS}
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"network": "mlp", "hidden": 32, "blocks": 2, "step_size": 16},
    "unet": {"network": "unet", "down_dims": (16, 32), "groups": 4, "step_size": 16, "kernel": 3},
}


def small_diffusion(network: str = "mlp", seed: int = 0, **options: Any) -> DiffusionPolicy:
    torch.manual_seed(seed)
    arguments = {"prediction_horizon": HORIZON, "action_horizon": 4, "precision": "float32", **NETWORKS[network], **options}
    return DiffusionPolicy(**WORDS, **arguments)


def small_mlp(seed: int = 0, **options: Any) -> MlpPolicy:
    torch.manual_seed(seed)
    arguments = {"prediction_horizon": HORIZON, "sizes": (32, 32), "precision": "float32", **options}
    return MlpPolicy(**WORDS, **arguments)


def observations(rows: int, seed: int = 0, horizon: int = 1) -> dict[str, NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    return {name: generator.uniform(-0.3, 0.3, (rows, horizon, 3)).astype(np.float32) for name in KEYS}


def random_batch(rows: int, seed: int = 0, pad: int = 0) -> WindowBatch:
    """Valid windows; the last ``pad`` actions lie beyond their episodes."""
    generator = np.random.default_rng(seed)
    actions = np.tile(np.float32([0, 0, 0, 1, 0, 0, 0, 1, 0, 1]), (rows, HORIZON, 1))
    actions[..., :3] = generator.uniform(-0.3, 0.3, (rows, HORIZON, 3))
    is_pad = np.zeros((rows, HORIZON), bool)
    is_pad[:, HORIZON - pad :] = pad > 0
    return WindowBatch(observations(rows, seed), actions, is_pad)


def numbers(rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Episode seeds and decision counts."""
    return np.arange(rows) + 100, np.arange(rows) % 3
