"""Without OpenGL, or with the wrong one, worlds run, and pictures say what is in the way and what helps."""

import os
import subprocess
import sys

import pytest

# Processes that read this when they begin have none of OpenGL's libraries.
NO_LIBRARIES = """
import ctypes
load = ctypes.CDLL.__init__
def missing(self, name, *args, **kwargs):
    if name and any(library in name for library in ("libEGL", "libGL", "libOpenGL", "libOSMesa")):
        raise OSError(f"{name}: cannot open shared object file")
    load(self, name, *args, **kwargs)
ctypes.CDLL.__init__ = missing
"""
STEP = """
from robolearn.sim.assembly import Assembly
env = Assembly("pick_cube", 1, threads=1)
env.reset(seed=0)
env.step(env.action_space.sample())
print("stepped")
env.render(0)
"""
DRAW = """
from robolearn.sim.render import SceneRenderer, mujoco
model = mujoco.MjModel.from_xml_string("<mujoco/>")
mujoco.mj_step(model, mujoco.MjData(model))
print("stepped")
SceneRenderer(model, 8, 8)
"""


def run(script, folder=None, **environment):
    """What a fresh process without a screen prints, and the last line it ends in."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "MUJOCO_GL", "PYOPENGL_PLATFORM")}
    path = os.pathsep.join([*([str(folder)] if folder else []), os.environ.get("PYTHONPATH", "")])
    environment = {**inherited, "PYTHONPATH": path, **environment}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    return done.stdout, done.stderr.strip().rpartition("\n")[2]


@pytest.mark.skipif(sys.platform != "linux", reason="EGL and OSMesa are Linux's")
@pytest.mark.parametrize(
    ("script", "backend", "packages"),
    [(STEP, {}, "libegl1 and libgl1-mesa-dri"), (DRAW, {"MUJOCO_GL": "egl"}, "libegl1 and"), (DRAW, {"MUJOCO_GL": "osmesa"}, "libosmesa6")],
)
def test_without_opengls_libraries_worlds_run_and_pictures_name_the_package(tmp_path, script, backend, packages):
    (tmp_path / "sitecustomize.py").write_text(NO_LIBRARIES)
    printed, error = run(script, tmp_path, **backend)
    assert printed == "stepped\n"
    assert error.startswith("robolearn.errors.UserError: this machine draws no pictures") and f"install {packages}" in error


@pytest.mark.skipif(sys.platform != "linux", reason="EGL and OSMesa are Linux's")
@pytest.mark.parametrize(
    ("script", "environment", "help_"),
    [
        (DRAW, {"MUJOCO_GL": "disable"}, "MUJOCO_GL turned them off when MuJoCo was imported): set MUJOCO_GL=egl"),
        (DRAW, {"MUJOCO_GL": "glfw"}, "set to draw on a screen; set MUJOCO_GL=egl"),
        (DRAW, {"PYOPENGL_PLATFORM": "x11"}, "leave PYOPENGL_PLATFORM unset"),
        ("import mujoco\n" + DRAW, {}, "set to draw on a screen; set MUJOCO_GL=egl, or import robolearn.sim before mujoco"),
    ],
)
def test_where_a_setting_is_in_the_way_no_package_is_asked_for(script, environment, help_):
    printed, error = run(script, **environment)
    assert printed == "stepped\n"
    assert help_ in error and "libegl1" not in error


@pytest.mark.skipif(sys.platform != "linux", reason="EGL and OSMesa are Linux's")
def test_a_backend_that_there_is_not_is_refused_with_those_that_there_are():
    assert "UserError: there is no MUJOCO_GL=foo; set egl or osmesa" in run("import robolearn.sim.headless", MUJOCO_GL="foo")[1]


def test_without_opengls_libraries_the_doctor_does_not_ask_for_another_mujoco(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NO_LIBRARIES)
    printed, _ = run("from robolearn import doctor; print(doctor._mujoco_batch().status)", tmp_path, MUJOCO_GL="egl")
    assert printed == "ok\n"
