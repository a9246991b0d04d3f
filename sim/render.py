"""Pictures of the scene, drawn off screen from a row's positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.appearance import Looks, dress
from robolearn.sim.headless import mujoco, no_pictures
from robolearn.sim.looks import CAMERA, LARGEST_PICTURE, Quality, find_quality

FINE = find_quality("fine")


def check_size(width: int, height: int, quality: Quality) -> None:
    """Raise ``UserError`` for a picture that does not fit into the scene's frame buffer."""
    most = LARGEST_PICTURE[0] // quality.finer, LARGEST_PICTURE[1] // quality.finer
    if not (0 < width <= most[0] and 0 < height <= most[1]):
        wrong = "small" if width < 1 or height < 1 else "large"
        raise UserError(f"a picture of {width} x {height} pixels is too {wrong}; the largest is {most[0]} x {most[1]}")


class SceneRenderer:
    """One off-screen context, re-used for every row of the same scene; bound to the thread that made it.

    Args:
        model: a scene built with ``visual=True``; its own where looks are drawn that differ.
        width: pixels.
        height: pixels.
        camera: a camera of the scene.
        quality: of the pictures; the scene is built for it.

    Raises:
        UserError: the picture is larger than the scene's frame buffer, or this machine draws none.
    """

    def __init__(self, model: mujoco.MjModel, width: int = 320, height: int = 240, camera: str = CAMERA, quality: Quality = FINE) -> None:
        check_size(width, height, quality)
        finer = quality.finer
        self._data = mujoco.MjData(model)
        self._model, self._camera, self._size, self._finer = model, camera, (height, width), finer
        try:
            self._renderer: Any = mujoco.Renderer(model, height * finer, width * finer)
        except Exception as error:  # OpenGL bindings raise whatever they like
            raise no_pictures(error) from error
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = quality.shadows

    def draw(
        self,
        qpos: NDArray[Any],
        mocap_pos: NDArray[Any],
        mocap_quat: NDArray[Any],
        camera: str | None = None,
        looks: Looks | None = None,
    ) -> NDArray[np.uint8]:
        """RGB, ``(height, width, 3)``, of ``qpos (nq,)`` and fixtures ``(F, 3), (F, 4)``; ``camera`` instead of the usual one."""
        if looks is not None:
            dress(self._model, looks)
        self._data.qpos[:] = qpos
        self._data.mocap_pos[:], self._data.mocap_quat[:] = mocap_pos, mocap_quat
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, camera or self._camera)
        picture: NDArray[np.uint8] = self._renderer.render()
        return picture if self._finer == 1 else self._mean(picture)

    def _mean(self, drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = self._size
        fine = drawn.reshape(height, self._finer, width, self._finer, 3)
        total = np.zeros((height, width, 3), np.uint16)
        for row in range(self._finer):
            for column in range(self._finer):
                total += fine[:, row, :, column]
        picture: NDArray[np.uint8] = (total // self._finer**2).astype(np.uint8)
        return picture

    def close(self) -> None:
        """Free the context."""
        self._renderer.close()
