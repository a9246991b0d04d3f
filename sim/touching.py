"""Which parts touch in a task's stored states."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.sim.catalog import find_task
from robolearn.sim.headless import mujoco
from robolearn.sim.scene import build_model
from robolearn.sim.states import load_state
from robolearn.sim.task import Task


class PartsTouching:
    """Looks for contacts in stored states, without stepping.

    Args:
        task: whose scene it is: its name, or a task.
        near: [m] parts nearer than this touch: a pin that enters its hole well has a millimetre all around.
    """

    def __init__(self, task: str | Task, near: float = 0.002) -> None:
        self._near, self._memory = near, find_task(task).memory
        self._model = copy.copy(build_model(find_task(task)))
        self._model.geom_margin[:] = near
        self._data = mujoco.MjData(self._model)

    def __call__(self, states: NDArray[np.float64], pairs: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
        """Whether each of k pairs of bodies touches in each state: ``(T, S) -> (T, k)``.

        Raises:
            UserError: no such body, a pair that is none, or states of another scene.
        """
        model, data = self._model, self._data
        names = [model.body(index).name for index in range(model.nbody)]
        wanted = []
        for pair in pairs:
            if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
                raise UserError(f"a pair is two bodies, such as [leg4, top]; got {pair!r}")
            for name in pair:
                if name not in names:
                    raise UserError(f"no body {name!r} in the scene; there are {', '.join(names)}{nearest(str(name), names)}")
            wanted.append({names.index(name) for name in pair})
        touching = np.zeros((len(states), len(wanted)), bool)
        for step, state in enumerate(states):
            load_state(model, data, state, self._memory)
            mujoco.mj_fwdPosition(model, data)
            bodies = model.geom_bodyid[data.contact.geom[data.contact.dist <= self._near]]  # (contacts, 2)
            there = [set(pair.tolist()) for pair in bodies]
            touching[step] = [pair in there for pair in wanted]
        return touching
