"""A task's scene as an operator's page draws it, in the browser, with mjviser."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.catalog import find_task
from robolearn.sim.headless import mujoco
from robolearn.sim.scene import build_model
from robolearn.sim.states import load_state
from robolearn.sim.task import Task


class PageScene:
    """One world of an assembly task in a ``viser.ViserServer``.

    Args:
        task: whose scene it is: its name, or a task.
        quality: of the meshes: ``fast`` and no shadows suit a browser that draws without a GPU.
        shadows: of the robot and the parts.

    Attributes:
        base: the robot's base frame in what is drawn: the same.

    Raises:
        UserError: no such task or quality.
    """

    base: tuple[NDArray[np.float64], NDArray[np.float64]] = (np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))

    def __init__(self, task: str | Task, quality: str = "fine", shadows: bool = True) -> None:
        task = find_task(task)
        self._model = copy.copy(build_model(task, visual=True, quality=quality))  # mjviser changes how it looks
        self._shadows = shadows
        self._memory, self._data = task.memory, mujoco.MjData(self._model)
        self._scene: Any = None
        self._state: NDArray[np.float64] | None = None

    def attach(self, server: Any) -> None:
        """Draw into a server.

        Raises:
            UserError: mjviser is not installed.
        """
        self._scene = draw_model(server, self._model, self._shadows)
        lay_table(server)
        if self._state is not None:
            self.show(self._state)

    def show(self, state: NDArray[np.float64]) -> None:
        """Bring the drawing up to a simulator's state ``(S,)``.

        Raises:
            UserError: it is of another scene.
        """
        self._state = state
        if self._scene is None:
            return
        load_state(self._model, self._data, state, self._memory)
        mujoco.mj_kinematics(self._model, self._data)
        self._scene.update_from_mjdata(self._data)


def draw_model(server: Any, model: mujoco.MjModel, shadows: bool) -> Any:
    """A ``ViserMujocoScene`` of a model in a server, before a plain background.

    Raises:
        UserError: mjviser is not installed.
    """
    try:
        from mjviser import ViserMujocoScene
    except ImportError as error:
        raise UserError(f"the page draws a MuJoCo scene with mjviser ({error}): pip install 'robolearn[teleop]'") from error
    scene = ViserMujocoScene(server, model, num_envs=1)
    scene.camera_tracking_enabled = False
    server.scene.configure_default_lights(cast_shadow=shadows)
    sky = np.linspace((238, 241, 245), (206, 214, 224), 64)[:, None].repeat(2, 1).astype(np.uint8)  # (64, 2, 3)
    server.scene.set_background_image(sky, format="png")
    return scene


def lay_table(server: Any) -> None:
    """Lines of 10 cm on a table instead of mjviser's endless ground."""
    server.scene.remove_by_name("/fixed_bodies/world/table")
    lines: dict[str, Any] = {"cell_size": 0.1, "section_size": 0.5, "cell_color": (196, 203, 212), "section_color": (164, 174, 188)}
    look: dict[str, Any] = {"plane_color": (222, 227, 234), "plane_opacity": 1.0, "shadow_opacity": 0.25}
    server.scene.add_grid("/table", width=2.0, height=2.0, position=(0.4, 0.0, -0.0005), **lines, **look)


def page_scene(task: str, quality: str = "fine", shadows: bool = True) -> PageScene:
    """What the page draws of an assembly task or of one of robosuite's, whose meshes have one quality.

    Raises:
        UserError: no such task or quality.
    """
    from robolearn.tasks_robosuite import ROBOSUITE

    if task not in ROBOSUITE:
        return PageScene(task, quality, shadows)
    from robolearn.sim.robosuite.page_scene import RobosuitePageScene

    return RobosuitePageScene(task, shadows)
