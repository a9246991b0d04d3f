"""Physics that differs between episodes: masses, frictions and gains of each row, and actions that come late."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.engines import PhysicsEngine
from robolearn.sim.randomize import Draws, DynamicsRanges
from robolearn.sim.task import Task


class Dynamics:
    """Gives each row of a batch the dynamics that belong to its episode's seed.

    Args:
        engine: N rows of the task's scene; not yet loaded, as only what differs gets values of its own here.
        task: its parts.
        ranges: what differs, and how much.
    """

    def __init__(self, engine: PhysicsEngine, task: Task, ranges: DynamicsRanges) -> None:
        model, usual = engine.model, DynamicsRanges()
        self._engine, self._ranges = engine, ranges
        self._parts = np.array([model.body(name).id for name in task.parts])
        self._nominal: dict[str, NDArray[np.float64]] = {}
        for which, names in (
            ("mass", ("body_mass", "body_inertia")),
            ("friction", ("geom_friction",)),
            ("gains", ("actuator_gainprm", "actuator_biasprm")),
        ):
            if getattr(ranges, which) != getattr(usual, which):
                self._nominal |= {name: np.array(getattr(model, name)) for name in names}
        self._fields = {name: engine.expand(name) for name in self._nominal}
        rows, self._most = engine.num_envs, ranges.latency[1]
        self._late = np.zeros(rows, np.int64)
        self._controls = model.nu
        self.pending = np.zeros((rows, self._most * model.nu))  # on their way, the oldest first: a part of the world's state

    def draw(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Set the dynamics of the masked rows by ``seeds (N,)``, before their outputs are computed."""
        rows = np.flatnonzero(mask)
        if not len(rows):
            return
        draws, model, ranges = Draws(seeds[rows]), self._engine.model, self._ranges
        factors = {
            "mass": draws.uniform("mass", *ranges.mass, (len(self._parts),))[..., None],  # (n, P, 1)
            "friction": draws.uniform("friction", *ranges.friction)[:, None],
            "gains": draws.uniform("gains", *ranges.gains, (len(model.actuator_gainprm),))[..., None],
        }
        for name, values in self._fields.items():
            value = np.broadcast_to(self._nominal[name], values[rows].shape).copy()
            if name == "body_mass":
                value[:, self._parts] *= factors["mass"][..., 0]
            elif name == "body_inertia":
                value[:, self._parts] *= factors["mass"]
            elif name == "geom_friction":
                value[..., 0] *= factors["friction"]
            else:
                value *= factors["gains"]
            values[rows] = value
        if "body_mass" in self._fields:
            self._engine.set_const(mask)
        least, most = ranges.latency
        self._late[rows] = least + draws.uniform("latency", 0, most - least + 1).astype(np.int64)

    def hold(self, mask: NDArray[np.bool_], controls: NDArray[np.float64]) -> None:
        """Begin an episode: nothing but the controls held now ``(N, U)`` is on its way."""
        self.pending[mask] = np.tile(controls[mask], (1, self._most))

    def delay(self, controls: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take in the newest controls ``(N, U)``; give those that arrive now."""
        line = np.concatenate([self.pending, controls], 1).reshape(len(controls), -1, self._controls)  # (N, most + 1, U)
        self.pending[:] = line[:, 1:].reshape(len(controls), -1)
        arrived: NDArray[np.float64] = line[np.arange(len(line)), self._most - self._late]
        return arrived
