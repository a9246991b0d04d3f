"""MuJoCo, imported so that pictures can be drawn without a screen, and so that where none can be drawn all else works."""

from __future__ import annotations

import importlib
import os
import sys

from robolearn.errors import UserError
from robolearn.gl import GL_PACKAGES

_BINDINGS = {"egl": ("OpenGL.EGL",), "osmesa": ("OpenGL.GL", "OpenGL.osmesa")}  # what MuJoCo imports for each
_ON_SCREEN, _OFF = ("", "enable", "enabled", "on", "true", "1", "glfw", "glx"), ("disable", "disabled", "off", "false", "0")


def _choose() -> tuple[str, str]:
    """The backend that MuJoCo is to draw by, read once when it is first imported, and why that one cannot be loaded, or nothing.

    Raises:
        UserError: ``MUJOCO_GL`` is none that there is.
    """
    if not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    given = os.environ.get("MUJOCO_GL", "")
    backend = given.lower().strip()
    if backend not in (*_BINDINGS, *_ON_SCREEN, *_OFF):
        raise UserError(f"there is no MUJOCO_GL={given}; set egl or osmesa (no screen needed), glfw (a screen), or disable (no pictures)")
    platform = os.environ.get("PYOPENGL_PLATFORM", "")
    if backend not in _BINDINGS or platform.lower() not in ("", backend):
        return backend, ""
    os.environ["PYOPENGL_PLATFORM"] = backend  # as MuJoCo sets it
    try:
        for module in _BINDINGS[backend]:
            importlib.import_module(module)
    except Exception as error:  # without the library, bindings raise whatever they like, which would end the import of MuJoCo
        if not platform:
            del os.environ["PYOPENGL_PLATFORM"]
        return backend, f"{type(error).__name__}: {error}"
    return backend, ""


_EARLIER = "mujoco" in sys.modules  # it has chosen by itself
_BACKEND, _BROKEN = _choose() if sys.platform == "linux" and not _EARLIER else ("", "")
if _BROKEN:
    os.environ["MUJOCO_GL"] = "disable"

import mujoco  # noqa: E402
import mujoco.batch  # noqa: E402

if _BROKEN:
    os.environ["MUJOCO_GL"] = _BACKEND  # processes that are started from here find out for themselves


def no_pictures(error: Exception) -> UserError:
    """What to say where a renderer could not be made: what was in the way, and what helps."""
    said = " ".join((_BROKEN or f"{type(error).__name__}: {error}").split())[:160]
    drawn_by = getattr(getattr(mujoco, "GLContext", None), "__module__", "").rpartition(".")[2]
    if _BROKEN or drawn_by in GL_PACKAGES:
        packages = GL_PACKAGES[drawn_by or _BACKEND].replace(" ", " and ")
        help_ = f"install {packages} (Debian); `robolearn doctor` says what works"
    elif not drawn_by:
        said, help_ = "MUJOCO_GL turned them off when MuJoCo was imported", "set MUJOCO_GL=egl"
    elif drawn_by == "glfw":
        help_ = "MuJoCo is set to draw on a screen; set MUJOCO_GL=egl" + ", or import robolearn.sim before mujoco" * _EARLIER
    else:  # MuJoCo's own placeholder
        help_ = "leave PYOPENGL_PLATFORM unset, or pip install PyOpenGL glfw where one is missing"
    return UserError(f"this machine draws no pictures ({said}): {help_}")


__all__ = ["mujoco", "no_pictures"]
