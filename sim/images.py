"""Pictures as observations: N rows drawn one after the other by one renderer, each in the looks of its episode."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.appearance import Appearance, Looks
from robolearn.sim.looks import find_quality
from robolearn.sim.randomize import LooksRanges
from robolearn.sim.render import SceneRenderer, check_size
from robolearn.sim.scene import build_model
from robolearn.sim.task import Task
from robolearn.sim.view import View
from robolearn.spec import ArraySpec


class Images:
    """Pictures of the rows by camera, drawn when they are asked for and only where something has changed.

    The renderer is made with the first picture, in the thread that asks for it, to which it is bound.

    Args:
        cameras: names of the scene's.
        size: width and height [pixels].
        quality: ``fast`` or ``fine``.
        task: whose scene it is.
        view: N rows of it.
        ranges: how looks differ between episodes.

    Raises:
        UserError: the size is none, or too large, or there is no such quality.
    """

    def __init__(self, cameras: Sequence[str], size: Sequence[int], quality: str, task: Task, view: View, ranges: LooksRanges) -> None:
        if np.shape(size) != (2,) or not all(isinstance(pixels, int | np.integer) for pixels in size):
            raise UserError(f"pictures have a width and a height, such as image_size=[84,84]; got {size}")
        check_size(size[0], size[1], find_quality(quality))
        self._cameras, self._size, self._quality, self._view = tuple(cameras), (size[0], size[1]), quality, view
        self.specs = {camera: ArraySpec((size[1], size[0], 3), "uint8") for camera in cameras}
        rows = len(view.qpos)
        self._pictures = {camera: np.zeros((rows, *entry.shape), np.uint8) for camera, entry in self.specs.items()}
        self._stale = np.ones(rows, bool)
        self._model = copy.copy(build_model(task, visual=True, quality=quality)) if cameras else None
        self._appearance: Appearance | None = None
        if self._model is not None and ranges != LooksRanges():
            self._appearance = Appearance(self._model, task.parts, ranges)
        self._looks: list[Looks | None] = [None] * rows
        self._renderer: SceneRenderer | None = None

    def begin(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Give the masked rows the looks that belong to ``seeds (N,)``."""
        self._stale |= mask
        rows = np.flatnonzero(mask)
        if self._appearance is not None and len(rows):
            looks = self._appearance.draw(seeds[rows])
            for place, row in enumerate(rows):
                self._looks[row] = {name: values[place] for name, values in looks.items()}

    def outdate(self, mask: NDArray[np.bool_]) -> None:
        """Say that the masked rows have moved."""
        self._stale |= mask

    def observation(self) -> dict[str, NDArray[np.uint8]]:
        """``{camera: (N, height, width, 3)}``.

        Raises:
            UserError: this machine draws no pictures.
        """
        if self._model is None:
            return {}
        if self._renderer is None:
            self._renderer = SceneRenderer(self._model, *self._size, quality=find_quality(self._quality))
        view = self._view
        for row in np.flatnonzero(self._stale):
            for place, camera in enumerate(self._cameras):
                looks = None if place else self._looks[row]  # a row is dressed once for all its cameras
                pose = (view.qpos[row], view.mocap_position[row], view.mocap_quaternion[row])
                self._pictures[camera][row] = self._renderer.draw(*pose, camera, looks)
        self._stale[:] = False
        return {camera: pictures.copy() for camera, pictures in self._pictures.items()}

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
            self._stale[:] = True
