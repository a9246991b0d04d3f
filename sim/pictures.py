"""Pictures of a task's stored states, drawn without stepping the physics, from any camera of the scene."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.sim.appearance import Appearance, dress
from robolearn.sim.catalog import find_task
from robolearn.sim.headless import mujoco
from robolearn.sim.looks import CAMERA, cameras_of, find_quality
from robolearn.sim.randomize import find_ranges
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
        appearance: seed of other colours, light and cameras; none: as usual.
        randomize: ranges of these, see :func:`robolearn.sim.randomize.find_ranges`.
        quality: ``fine`` for people, ``fast`` as an environment's observations are.

    Attributes:
        cameras: their names, the usual one first.

    Raises:
        UserError: the picture is too large, or this machine draws none.
    """

    def __init__(
        self,
        task: str | Task,
        width: int = 320,
        height: int = 240,
        appearance: int | None = None,
        randomize: str | Mapping[str, Any] = "wide",
        quality: str = "fine",
    ) -> None:
        task = find_task(task)
        self.cameras = cameras_of(task.arms)
        self._model, self._memory = build_model(task, visual=True, quality=quality), task.memory
        if appearance is not None:
            self._model = copy.copy(self._model)
            looks = Appearance(self._model, task.parts, find_ranges(randomize).looks).draw(np.array([appearance]))
            dress(self._model, {name: values[0] for name, values in looks.items()})
        self._data = mujoco.MjData(self._model)
        self._renderer = SceneRenderer(self._model, width, height, quality=find_quality(quality))

    def draw(self, state: NDArray[np.float64], camera: str = CAMERA) -> NDArray[np.uint8]:
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
