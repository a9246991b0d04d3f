"""N copies of one MuJoCo model stepped by native threads: what every world here is driven by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.counted import Counted
from robolearn.sim.headless import mujoco

_CURRENT = mujoco.mjtStage.mjSTAGE_VEL.value  # positions, velocities and sensors belong to the state just reached
_LARGEST = 1e6  # [m, rad, m/s, rad/s] beyond it a state is as good as infinite


class Engine:
    """A batch of simulations with live views of their state and outputs.

    Rows advance independently and bit-identically at any thread count. A view returned by :meth:`view` is written to
    change a row (state fields) or read after a call (derived fields).

    Args:
        model: the compiled scene.
        num_envs: number of rows N.
        threads: native threads; 0 takes every core.
    """

    def __init__(self, model: mujoco.MjModel, num_envs: int, threads: int = 0) -> None:
        self.model = model
        self._sleeps = bool(model.opt.enableflags & mujoco.mjtEnableBit.mjENBL_SLEEP.value)
        # What sleeps is no part of a state, so each row keeps its own MjData; otherwise one a thread, which stays in the cache.
        self._batch = mujoco.batch.Batch(model, num_envs, threads, persistent=self._sleeps)
        self._failed = np.zeros(num_envs, bool)
        self.view("site_xpos")
        self.view("site_xmat")
        self.view("sensordata")

    @property
    def num_envs(self) -> int:
        """Number of rows N."""
        return int(self._batch.nsim)

    @property
    def state(self) -> NDArray[np.float64]:
        """Live integration states, ``(N, S)``: positions, velocities, controls, warm start, equality flags, mocap poses."""
        state: NDArray[np.float64] = self._batch.state
        return state

    def view(self, name: str) -> NDArray[Any]:
        """A live ``(N, ...)`` view of an MjData field."""
        view: NDArray[Any] = self._batch.bind(name)
        return view

    def offset(self, name: str) -> int:
        """Column of :attr:`state` at which a state field begins."""
        view = self.view(name)
        return int((view.ctypes.data - self.state.ctypes.data) // self.state.itemsize)

    def expand(self, name: str) -> NDArray[Any]:
        """Per-row values of a model field, ``(N, ...)``, writable: masses, frictions, gains, colours."""
        values: NDArray[Any] = self._batch.expand(name)
        return values

    def set_const(self, rows: NDArray[np.bool_]) -> None:
        """Bring what follows from the model fields of ``rows``, such as masses, up to date after they were written."""
        self._batch.set_const(np.flatnonzero(rows))

    def step(self, substeps: int, rows: NDArray[np.bool_] | None = None) -> None:
        """Advance every row, or only ``rows (N,)``, by ``substeps`` physics steps in native code, and refresh their outputs."""
        ids = None if rows is None or rows.all() else np.flatnonzero(rows)
        if ids is None or len(ids):
            self._failed[:] = False
            try:
                with _quiet.on():
                    self._batch.step(ids, nstep=substeps, stage=_CURRENT)
            except mujoco.batch.SimulationError as error:  # an error of MuJoCo's in some rows, such as no memory for so many contacts
                self._failed[error.ids] = True

    def forward(self, rows: NDArray[np.bool_]) -> None:
        """Recompute the outputs of ``rows`` after their state was written; the state itself stays as written, to the bit."""
        if rows.any():
            written = self.state[rows]
            with _quiet.on():
                self._batch.forward(np.flatnonzero(rows))
            self.state[rows] = written  # forward leaves its own warm start behind

    def load(self, rows: NDArray[np.bool_], state: NDArray[np.float64]) -> None:
        """Put ``rows`` into whole states ``(n, S)``, every part awake; :meth:`forward` then refreshes their outputs.

        Which parts sleep is no part of MuJoCo's integration state, so a row continues bit-identically from a snapshot only
        where the row it was taken from was itself loaded with it.
        """
        if rows.any():
            self._batch.reset(np.flatnonzero(rows), stage=mujoco.mjtStage.mjSTAGE_NONE.value)
            self.state[rows] = state
            self._failed[rows] = False

    def diverged(self) -> NDArray[np.bool_]:
        """Rows whose state is no longer finite, or absurdly large, or that MuJoCo could not step, ``(N,)``."""
        sound: NDArray[np.bool_] = (np.abs(self.view("qpos")) < _LARGEST).all(1) & (np.abs(self.view("qvel")) < _LARGEST).all(1)
        unsound: NDArray[np.bool_] = ~sound | self._failed
        return unsound

    def data(self, row: int) -> mujoco.MjData:
        """One row as an MjData, to draw it or to ask MuJoCo anything."""
        data = self._batch.get_data(row)
        if not self._sleeps:  # rows share one: all but the state is to be computed
            mujoco.mj_forward(self._batch.get_model(row), data)
        return data


def _silence() -> Any:
    before, silent = mujoco.MjLogConfig.get(), mujoco.MjLogConfig.get()
    silent.logto_console = silent.logto_file = False
    silent.set()
    return before


# Keeps MuJoCo's warnings off the screen and out of MUJOCO_LOG.TXT: rows that diverge are found by :meth:`Engine.diverged`. The switch
# is MuJoCo's own and native, of the whole process; a Python callback would be called from the batch's threads.
_quiet = Counted(_silence, lambda before: before.set())
