"""A stored state of a task as MuJoCo's data: the integration state, behind which the world keeps its own numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.headless import mujoco
from robolearn.sim.randomize import MOST_LATENCY

_INTEGRATION = mujoco.mjtState.mjSTATE_INTEGRATION


def load_state(model: mujoco.MjModel, data: mujoco.MjData, state: NDArray[np.float64], memory: int) -> None:
    """Put a state ``(S,)`` into ``data``, behind which come the world's own ``memory`` numbers; what follows from it is not computed.

    Controls that are still on their way in a world with latency may come last.

    Raises:
        UserError: it is of another scene.
    """
    size = mujoco.mj_stateSize(model, _INTEGRATION)
    late = [count * model.nu for count in range(MOST_LATENCY + 1)]
    if state.ndim != 1 or len(state) - size - memory not in late:
        raise UserError(
            f"the stored simulator state has {state.size} numbers, this scene's has {size + memory}: the store was made with another"
            " task, scene or version"
        )
    mujoco.mj_setState(model, data, np.ascontiguousarray(state[:size]), _INTEGRATION)
