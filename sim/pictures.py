"""Pictures of a task's stored states, drawn without stepping the physics, from any camera of the scene."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.sim.catalog import find_task
from robolearn.sim.headless import mujoco
from robolearn.sim.looks import CAMERAS, vary
from robolearn.sim.render import SceneRenderer
from robolearn.sim.scene import build_model
from robolearn.sim.states import load_state
from robolearn.sim.task import Task


class StatePictures:
    """Draws stored states; bound to the thread that made it.

    Args:
        task: whose scene it is: its name, or a task.
        width: pixels.
        height: pixels.
        appearance: seed of other colours and another light; none: as usual.

    Attributes:
        cameras: their names, the usual one first.

    Raises:
        UserError: the picture is too large, or this machine draws none.
    """

    cameras = CAMERAS

    def __init__(self, task: str | Task, width: int = 320, height: int = 240, appearance: int | None = None) -> None:
        self._model, self._memory = build_model(find_task(task), visual=True), find_task(task).memory
        if appearance is not None:
            self._model = vary(self._model, appearance)
        self._data = mujoco.MjData(self._model)
        try:
            self._renderer = SceneRenderer(self._model, width, height)
        except UserError:
            raise
        except Exception as error:  # OpenGL bindings raise whatever they like
            said = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            raise UserError(
                f"this machine draws no pictures ({said}): install libegl1 and libgl1-mesa-dri (Debian); `robolearn doctor` says what works"
            ) from error

    def draw(self, state: NDArray[np.float64], camera: str = CAMERAS[0]) -> NDArray[np.uint8]:
        """One stored state ``(S,)`` as RGB, ``(height, width, 3)``.

        Raises:
            UserError: no such camera, or a state of another scene.
        """
        if camera not in self.cameras:
            raise UserError(f"no camera {camera!r}; there are {', '.join(self.cameras)}{nearest(camera, self.cameras)}")
        load_state(self._model, self._data, state, self._memory)
        return self._renderer.draw(self._data.qpos, self._data.mocap_pos, self._data.mocap_quat, camera)

    def close(self) -> None:
        """Free the context."""
        self._renderer.close()
