"""A task's physics without its environment: what ``robolearn bench sim`` holds an environment's speed against."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.controllers import control_from_action
from robolearn.sim.headless import mujoco
from robolearn.sim.scene import SUBSTEPS, SceneConfig, build_model
from robolearn.tasks import one_leg_spec


class BareOneLeg:
    """one_leg's scene in a bare ``mujoco.batch.Batch``: no observation, reward, thread or reset, and no output is bound.

    Args:
        num_envs: rows N.
        threads: native threads.
    """

    def __init__(self, num_envs: int, threads: int) -> None:
        self._batch: Any = mujoco.batch.Batch(build_model(SceneConfig()), num_envs, threads, persistent=True)
        self._ctrl = self._batch.bind("ctrl")
        self._action = one_leg_spec().action

    def follow(self, state: NDArray[np.float64], restarted: NDArray[np.bool_]) -> None:
        """Go where an environment is, ``get_state (N, S)``; rows that ``restarted (N,)`` are all awake there, as after a reset."""
        state = state[:, : self._batch.state.shape[1]]
        if restarted.any():
            self._batch.reset(np.flatnonzero(restarted), stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        elsewhere = (self._batch.state != state).any(1)
        self._batch.state[elsewhere] = state[elsewhere]

    def step(self, actions: NDArray[Any]) -> float:
        """One control step of the environment's ``(N, 10)`` actions; the seconds that the physics alone took."""
        self._ctrl[:] = control_from_action(actions, self._action)
        begun = time.perf_counter()
        self._batch.step(nstep=SUBSTEPS)
        return time.perf_counter() - begun
