"""A stored state of a task as MuJoCo's data: the integration state, behind which the world keeps its own numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.headless import mujoco

_INTEGRATION = mujoco.mjtState.mjSTATE_INTEGRATION


def load_state(model: mujoco.MjModel, data: mujoco.MjData, state: NDArray[np.float64], memory: int) -> None:
    """Put a state ``(S,)`` into ``data``, its last ``memory`` numbers being the world's own; what follows from it is not computed.

    Raises:
        UserError: it is of another scene.
    """
    size = mujoco.mj_stateSize(model, _INTEGRATION)
    if state.shape != (size + memory,):
        raise UserError(
            f"the stored simulator state has {state.size} numbers, this scene's has {size + memory}: the store was made with another"
            " task, scene or version"
        )
    mujoco.mj_setState(model, data, np.ascontiguousarray(state[:size]), _INTEGRATION)
