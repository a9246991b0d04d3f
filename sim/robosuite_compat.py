"""robosuite 1.5.2 on MuJoCo 4.0: it was written for MuJoCo up to 3.9, and needs three names to mean what they meant."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import numpy as np

from robolearn.errors import UserError
from robolearn.sim.headless import mujoco

SUITED = {"robosuite": "1.5.2", "mujoco": "4.0."}
_WIDTHS = {"FREE": (7, 6), "BALL": (4, 3), "SLIDE": (1, 1), "HINGE": (1, 1)}  # numbers a joint has in qpos and in qvel


def require_versions() -> None:
    """Raise unless the installed versions are those that :func:`patch` was written for.

    Raises:
        UserError: another version is installed; it names both.
    """
    for package, version in SUITED.items():
        installed = metadata.version(package)
        if not f"{installed}.".startswith(version if version.endswith(".") else f"{version}."):
            raise UserError(f"robosuite's environments were made to run with {package} {version}*, {installed} is installed")


def missing_names() -> tuple[str, ...]:
    """Which of the three names that robosuite uses do not mean here what they did; what needs no bridge gets none."""
    number = np.int32(mujoco.mjtJoint.mjJNT_HINGE.value)
    found = {
        "mjtJoint": mujoco.mjtJoint.mjJNT_HINGE == number,  # a joint's kind is compared with an enum on its left
        "MjData.qM": hasattr(mujoco.MjData, "qM"),
        "mj_fullM": "MjData" not in (mujoco.mj_fullM.__doc__ or ""),  # takes the matrix, not the data
    }
    return tuple(name for name, there in found.items() if not there)


def patch() -> None:
    """Mend robosuite in memory, as far as it needs it; a second call changes nothing.

    Raises:
        UserError: other versions of robosuite or MuJoCo are installed.
    """
    require_versions()
    with quiet():
        from robosuite.controllers.parts import controller
        from robosuite.utils import binding_utils
    missing = missing_names()
    if "mjtJoint" in missing:
        model_class = binding_utils.MjModel
        model_class.get_joint_qpos_addr = lambda model, name: _address(model, name, model.jnt_qposadr, 0)
        model_class.get_joint_qvel_addr = lambda model, name: _address(model, name, model.jnt_dofadr, 1)
    # The dense mass matrix is now made from the data, no longer from its field qM, which is gone.
    if "MjData.qM" in missing:
        binding_utils.MjData.qM = property(lambda data: data._data)
    if "mj_fullM" in missing:
        controller.mujoco = SimpleNamespace(mj_fullM=_full_mass_matrix)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps back what robosuite says on import and on making a world: optional devices, optional settings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _address(model: Any, name: str, starts: Any, table: int) -> int | tuple[int, int]:
    """Where a joint's numbers are: the index of the only one, or begin and end."""
    joint = model.joint_name2id(name)
    kind = mujoco.mjtJoint(int(model.jnt_type[joint])).name.removeprefix("mjJNT_")
    start, width = int(starts[joint]), _WIDTHS[kind][table]
    return start if width == 1 else (start, start + width)


def _full_mass_matrix(model: Any, matrix: Any, data: Any) -> None:
    mujoco.mj_fullM(model, data, matrix)


def make(name: str, *, robot: str = "Panda", **options: Any) -> Any:
    """One of robosuite's environments, without pictures: ``reset()``, ``step(action)``, ``control_freq``.

    Args:
        name: such as ``NutAssemblySquare``.
        robot: which arm.
        options: further arguments of ``robosuite.make``.

    Raises:
        UserError: other versions of robosuite or MuJoCo are installed.
    """
    patch()
    with quiet():
        import robosuite

        settings = {"has_renderer": False, "has_offscreen_renderer": False, "use_camera_obs": False, "hard_reset": False}
        return robosuite.make(name, robots=robot, **{**settings, **options})
