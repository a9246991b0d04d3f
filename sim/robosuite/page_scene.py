"""A robosuite task's scene as an operator's page draws it, in the browser, with mjviser."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import quaternion_from_matrix
from robolearn.sim.headless import mujoco
from robolearn.sim.page_scene import PageScene, draw_model
from robolearn.sim.robosuite.env import TASKS
from robolearn.sim.robosuite.host import make_host
from robolearn.sim.robosuite.scene import build_model, columns, robots_of


class RobosuitePageScene(PageScene):
    """One world in a ``viser.ViserServer``, with robosuite's meshes.

    Args:
        task: such as ``lift``.
        shadows: of the robot and the parts.

    Attributes:
        base: where the first robot's base frame stands in robosuite's world.

    Raises:
        UserError: no such task.
    """

    def __init__(self, task: str, shadows: bool = True) -> None:
        host, kind = make_host(task), TASKS.get(task)
        assert kind is not None  # make_host knows the same names
        host.reset()
        self._host, self._shadows = host, shadows
        self._model, self._data = host.sim.model._model, host.sim.data._data
        robots = robots_of(host)
        light = build_model(host, robots, kind.contacts, hidden=kind.hidden, sites=kind.sites)
        self._positions, _ = columns(host, light)
        self.base = np.array(robots[0].base_position), quaternion_from_matrix(np.asarray(robots[0].base_rotation, np.float64))
        self._scene, self._state = None, None

    def attach(self, server: Any) -> None:
        """Draw into a server.

        Raises:
            UserError: mjviser is not installed.
        """
        self._scene = draw_model(server, self._model, self._shadows)
        self._scene.geom_groups_visible[0] = False  # what only collides
        self._scene.site_groups_visible = [False] * len(self._scene.site_groups_visible)
        self._scene._sync_visibilities()
        if self._state is not None:
            self.show(self._state)

    def show(self, state: NDArray[np.float64]) -> None:
        """Bring the drawing up to a simulator's state ``(S,)``."""
        self._state = state
        if self._scene is None:
            return
        self._data.qpos[self._positions] = state[1 : 1 + len(self._positions)]  # behind the time
        mujoco.mj_kinematics(self._model, self._data)
        self._scene.update_from_mjdata(self._data)
