"""What drives N copies of a scene: the protocol that a task is written against, and the engines there are."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.sim.engine import Engine
from robolearn.sim.headless import mujoco

ENGINES = ("mujoco", "warp")


class PhysicsEngine(Protocol):
    """N rows of one compiled scene that advance independently.

    What a task reads and writes are arrays in the host's memory, in MuJoCo's own layout and float64 whatever the engine computes
    with, so that states go from one engine to another and into a store.
    """

    model: mujoco.MjModel

    @property
    def num_envs(self) -> int:
        """Number of rows N."""
        ...

    @property
    def state(self) -> NDArray[np.float64]:
        """MuJoCo's integration states, ``(N, S)``: what is written here is where the row goes on from."""
        ...

    def view(self, name: str) -> NDArray[Any]:
        """A live ``(N, ...)`` view of an MjData field: part of :attr:`state`, or an output, current after every call."""
        ...

    def offset(self, name: str) -> int:
        """Column of :attr:`state` at which a state field begins."""
        ...

    def expand(self, name: str) -> NDArray[Any]:
        """Per-row values of a model field, ``(N, ...)``, writable; they count from the next call on."""
        ...

    def set_const(self, rows: NDArray[np.bool_]) -> None:
        """Bring what follows from the model fields of ``rows``, such as masses, up to date after they were written."""
        ...

    def step(self, substeps: int, rows: NDArray[np.bool_] | None = None) -> None:
        """Advance every row, or only ``rows (N,)``, and refresh their outputs; the others stay as they are."""
        ...

    def forward(self, rows: NDArray[np.bool_]) -> None:
        """Refresh the outputs of ``rows`` after their state was written; the state stays as written, to the bit."""
        ...

    def load(self, rows: NDArray[np.bool_], state: NDArray[np.float64]) -> None:
        """Put ``rows`` into whole states ``(n, S)``, every part awake."""
        ...

    def diverged(self) -> NDArray[np.bool_]:
        """Rows whose state is no longer sound, ``(N,)``."""
        ...

    def data(self, row: int) -> mujoco.MjData:
        """One row as an MjData, to draw it or to ask MuJoCo anything."""
        ...


def step_soundly(engine: PhysicsEngine, substeps: int, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Advance ``rows (N,)``; those that diverge are put back where they were, so that they show what was last sound. Which, ``(N,)``."""
    before = engine.state.copy()
    engine.step(substeps, rows)
    diverged = engine.diverged() & rows
    if diverged.any():
        engine.load(diverged, before[diverged])
        engine.forward(diverged)
    return diverged


def make_engine(name: str, model: mujoco.MjModel, mjcf: Callable[[], ET.Element], num_envs: int, threads: int = 0) -> PhysicsEngine:
    """An engine by its name, a :class:`PhysicsEngine`.

    Args:
        name: ``mujoco``, native threads on the processor; or ``warp``, a GPU where there is one (``warp:cpu``, ``warp:cuda:1`` choose).
        model: the compiled scene.
        mjcf: makes the document that it was compiled from; Warp needs another actuator in it.
        num_envs: rows N.
        threads: of ``mujoco``.

    Raises:
        UserError: no such engine or device, or Warp is not installed.
    """
    kind, _, device = name.partition(":")
    if kind not in ENGINES or (device and kind != "warp"):
        raise UserError(f"no engine {name!r}; there are {', '.join(ENGINES)} (warp:cpu, warp:cuda:1){nearest(kind, ENGINES)}")
    if kind == "mujoco":
        return Engine(model, num_envs, threads)
    try:
        from robolearn.sim.warp_engine import WarpEngine
    except ModuleNotFoundError as error:
        if error.name not in ("warp", "mujoco_warp"):
            raise
        raise UserError("engine=warp needs MuJoCo Warp, which is not installed: pip install 'robolearn[warp]'; or engine=mujoco") from error
    return WarpEngine(model, mjcf(), num_envs, device)
