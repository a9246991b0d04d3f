"""Pictures of stored states of robosuite's tasks, with robosuite's meshes, from its cameras."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.sim.headless import mujoco, no_pictures
from robolearn.sim.robosuite.env import TASKS
from robolearn.sim.robosuite.host import make_host
from robolearn.sim.robosuite.scene import build_model, columns, robots_of

_COLLISION_GROUP = 0


class StatePictures:
    """Draws states of :meth:`robolearn.sim.robosuite.env.RobosuiteEnv.get_state`; bound to the thread that made it.

    Args:
        task: such as ``can``.
        width: pixels.
        height: pixels.
        appearance: seed of other looks, of which robosuite's scenes have none: None.

    Attributes:
        cameras: robosuite's, the usual one first.

    Raises:
        UserError: no such task, other looks are asked for, or this machine draws no pictures.
    """

    def __init__(self, task: str, width: int = 320, height: int = 240, appearance: int | None = None) -> None:
        if appearance is not None:
            raise UserError(f"{task} has robosuite's looks and no others; leave appearance={appearance} out")
        host, kind = make_host(task), TASKS.get(task)
        assert kind is not None  # make_host knows the same names
        self._host = host
        host.reset()
        self._model, self._data = host.sim.model._model, host.sim.data._data
        light = build_model(host, robots_of(host), kind.contacts, hidden=kind.hidden, sites=kind.sites)
        self._positions, _ = columns(host, light)
        self._size = mujoco.mj_stateSize(light, mujoco.mjtState.mjSTATE_INTEGRATION)
        names = [self._model.camera(index).name for index in range(self._model.ncam)]
        self.cameras = tuple(sorted(names, key=lambda name: name != "agentview"))
        self._options = mujoco.MjvOption()
        self._options.geomgroup[_COLLISION_GROUP] = 0
        try:
            self._renderer = mujoco.Renderer(self._model, height, width)
        except Exception as error:  # OpenGL bindings raise whatever they like
            host.close()
            raise no_pictures(error) from error

    def draw(self, state: NDArray[np.float64], camera: str = "agentview") -> NDArray[np.uint8]:
        """One stored state ``(S,)`` as RGB, ``(height, width, 3)``.

        Raises:
            UserError: no such camera, or a state of another world.
        """
        if camera not in self.cameras:
            raise UserError(f"no camera {camera!r}; there are {', '.join(self.cameras)}{nearest(camera, self.cameras)}")
        if len(state) < self._size:
            raise UserError(f"a state of this task has at least {self._size} numbers, this one has {len(state)}")
        self._data.qpos[self._positions] = state[1 : 1 + len(self._positions)]  # behind the time
        mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, camera, self._options)
        picture: NDArray[np.uint8] = self._renderer.render().copy()
        return picture

    def close(self) -> None:
        """Free the renderer, and robosuite's environment."""
        self._renderer.close()
        self._host.close()
