"""Pictures of the scene, drawn off screen from a row's positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.headless import mujoco
from robolearn.sim.looks import CAMERA, LARGEST_PICTURE

FINER = 2  # each pixel is the mean of FINER x FINER drawn ones


class SceneRenderer:
    """One off-screen context, re-used for every row of the same scene; bound to the thread that made it.

    Args:
        model: a scene built with ``visual=True``.
        width: pixels.
        height: pixels.
        camera: a camera of the scene.

    Raises:
        UserError: the picture is larger than the scene's frame buffer.
    """

    def __init__(self, model: mujoco.MjModel, width: int = 320, height: int = 240, camera: str = CAMERA) -> None:
        if width * FINER > LARGEST_PICTURE[0] or height * FINER > LARGEST_PICTURE[1]:
            most = f"{LARGEST_PICTURE[0] // FINER} x {LARGEST_PICTURE[1] // FINER}"
            raise UserError(f"a picture of {width} x {height} pixels is too large; the largest is {most}")
        self._data = mujoco.MjData(model)
        self._model, self._camera, self._size = model, camera, (height, width)
        self._renderer: Any = mujoco.Renderer(model, height * FINER, width * FINER)
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0

    def draw(self, qpos: NDArray[Any], mocap_pos: NDArray[Any], mocap_quat: NDArray[Any], camera: str | None = None) -> NDArray[np.uint8]:
        """RGB, ``(height, width, 3)``, of ``qpos (nq,)`` and fixtures ``(F, 3), (F, 4)``; ``camera`` instead of the usual one."""
        self._data.qpos[:] = qpos
        self._data.mocap_pos[:], self._data.mocap_quat[:] = mocap_pos, mocap_quat
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, camera or self._camera)
        height, width = self._size
        fine = self._renderer.render().reshape(height, FINER, width, FINER, 3)
        total = sum(fine[:, row, :, column].astype(np.uint16) for row in range(FINER) for column in range(FINER))
        picture: NDArray[np.uint8] = (total // FINER**2).astype(np.uint8)
        return picture

    def close(self) -> None:
        """Free the context."""
        self._renderer.close()
