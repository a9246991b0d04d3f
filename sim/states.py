"""A stored state of one_leg as MuJoCo's data: the integration state, behind which the task keeps its own numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.headless import mujoco
from robolearn.tasks import one_leg_spec

_INTEGRATION = mujoco.mjtState.mjSTATE_INTEGRATION
_BEHIND = 2 + len(one_leg_spec().stages)  # steps, seed, stages; see OneLeg.get_state


def load_state(model: mujoco.MjModel, data: mujoco.MjData, state: NDArray[np.float64]) -> None:
    """Put a state ``(S,)`` into ``data``; what follows from it is not computed.

    Raises:
        UserError: it is of another scene.
    """
    size = mujoco.mj_stateSize(model, _INTEGRATION)
    if state.shape != (size + _BEHIND,):
        raise UserError(
            f"the stored simulator state has {state.size} numbers, this scene's has {size + _BEHIND}: the store was made with another"
            " task, scene or version"
        )
    mujoco.mj_setState(model, data, np.ascontiguousarray(state[:size]), _INTEGRATION)
