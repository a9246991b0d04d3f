"""What Gymnasium asks of a world beside its methods, from its spec: spaces and metadata."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from robolearn.spec import EnvSpec

RENDER_MODES = ("rgb_array",)


def give_spaces(env: gymnasium.vector.VectorEnv[Any, Any, Any], spec: EnvSpec, mode: AutoresetMode) -> None:
    """Set the spaces of one row and of all ``env.num_envs``: numbers without bounds, pictures, actions within their limits; metadata."""
    env.single_observation_space = gymnasium.spaces.Dict(
        {
            name: Box(0, 255, entry.shape, np.uint8) if entry.is_image else Box(-np.inf, np.inf, entry.shape, np.float32)
            for name, entry in spec.observation.items()
        }
    )
    env.single_action_space = Box(np.array(spec.action.low, np.float32), np.array(spec.action.high, np.float32))
    env.observation_space = batch_space(env.single_observation_space, env.num_envs)
    env.action_space = batch_space(env.single_action_space, env.num_envs)
    env.metadata = {"autoreset_mode": mode, "render_modes": list(RENDER_MODES), "render_fps": round(spec.control_hz)}
