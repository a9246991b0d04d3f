"""A task's physics without its environment: what ``robolearn bench sim`` holds an environment's speed against."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.catalog import find_task
from robolearn.sim.controllers import control_from_action
from robolearn.sim.headless import mujoco
from robolearn.sim.scene import build_model
from robolearn.sim.task import Task


class BareAssembly:
    """A task's scene in a bare ``mujoco.batch.Batch``: no observation, reward, thread or reset, and no output is bound.

    Args:
        task: its name, or a task.
        num_envs: rows N.
        threads: native threads.
    """

    def __init__(self, task: str | Task, num_envs: int, threads: int) -> None:
        task = find_task(task)
        self._batch: Any = mujoco.batch.Batch(build_model(task), num_envs, threads, persistent=True)
        self._ctrl = self._batch.bind("ctrl")
        self._action, self._substeps = task.spec().action, task.physics.substeps

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
        self._batch.step(nstep=self._substeps)
        return time.perf_counter() - begun
