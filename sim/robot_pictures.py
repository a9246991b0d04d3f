"""Pictures for a simulated robot's cameras: scenes copied by one thread, drawn by another, as an environment's pictures are."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.appearance import Appearance, Looks
from robolearn.sim.looks import find_quality
from robolearn.sim.randomize import LooksRanges
from robolearn.sim.render import SceneRenderer, check_size
from robolearn.sim.scene import build_model
from robolearn.sim.task import Task


@dataclass(frozen=True)
class Scene:
    """An instant to draw.

    Args:
        qpos: ``(nq,)``.
        mocap_position: of the fixtures, ``(F, 3)``.
        mocap_quaternion: ``(F, 4)``.
        seed: of the episode, whose looks it has.
    """

    qpos: NDArray[np.float64]
    mocap_position: NDArray[np.float64]
    mocap_quaternion: NDArray[np.float64]
    seed: int


class RobotPictures:
    """Draws scenes; the renderer is made with the first picture, in the thread that asks for it, to which it is bound.

    Args:
        task: whose scene it is.
        size: width and height [pixels].
        quality: ``fast`` or ``fine``.
        ranges: how looks differ between episodes.

    Raises:
        UserError: the size is none, or too large, or there is no such quality.
    """

    def __init__(self, task: Task, size: Sequence[int], quality: str, ranges: LooksRanges) -> None:
        if np.shape(size) != (2,) or not all(isinstance(pixels, int | np.integer) for pixels in size):
            raise UserError(f"pictures have a width and a height, such as image_size=[84,84]; got {size}")
        check_size(size[0], size[1], find_quality(quality))
        self._task, self._size, self._quality, self._ranges = task, (int(size[0]), int(size[1])), find_quality(quality), ranges
        self._name = quality
        self._renderer: SceneRenderer | None = None
        self._appearance: Appearance | None = None
        self._dressed: int | None = None

    def draw(self, scene: Scene, camera: str) -> NDArray[np.uint8]:
        """RGB, ``(height, width, 3)``.

        Raises:
            UserError: this machine draws no pictures.
        """
        if self._renderer is None:
            model = copy.copy(build_model(self._task, visual=True, quality=self._name))
            if self._ranges != LooksRanges():
                self._appearance = Appearance(model, self._task.parts, self._ranges)
            self._renderer = SceneRenderer(model, *self._size, quality=self._quality)
        looks = None if self._dressed == scene.seed else self._looks(scene.seed)  # a scene stays dressed
        self._dressed = scene.seed
        return self._renderer.draw(scene.qpos, scene.mocap_position, scene.mocap_quaternion, camera, looks)

    def _looks(self, seed: int) -> Looks | None:
        if self._appearance is None:
            return None
        return {name: values[0] for name, values in self._appearance.draw(np.array([seed])).items()}

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
