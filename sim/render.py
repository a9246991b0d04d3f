"""Pictures of the scene, drawn off screen from a row's positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.headless import mujoco


class SceneRenderer:
    """One off-screen context, re-used for every row of the same scene; bound to the thread that made it."""

    def __init__(self, model: mujoco.MjModel, width: int = 640, height: int = 480, camera: str = "front") -> None:
        self._data = mujoco.MjData(model)
        self._model, self._camera = model, camera
        self._renderer: Any = mujoco.Renderer(model, height, width)

    def draw(self, qpos: NDArray[Any], mocap_pos: NDArray[Any], mocap_quat: NDArray[Any]) -> NDArray[np.uint8]:
        """RGB, ``(height, width, 3)``."""
        self._data.qpos[:] = qpos
        self._data.mocap_pos[0], self._data.mocap_quat[0] = mocap_pos, mocap_quat
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, self._camera)
        picture: NDArray[np.uint8] = self._renderer.render()
        return picture

    def close(self) -> None:
        """Free the context."""
        self._renderer.close()
