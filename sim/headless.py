"""MuJoCo, imported so that pictures can be drawn without a screen."""

import os
import sys

if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    os.environ.setdefault("MUJOCO_GL", "egl")  # read once, when mujoco is first imported

import mujoco
import mujoco.batch

__all__ = ["mujoco"]
