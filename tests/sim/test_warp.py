"""MuJoCo Warp behind the engine protocol: what the processor's engine computes, to float32's rounding."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from robolearn import cli
from robolearn.errors import UserError
from robolearn.rotation import matrix_from_quaternion, matrix_from_rotvec, quaternion_from_matrix
from robolearn.sim.engines import make_engine
from robolearn.sim.headless import mujoco

N, SUBSTEPS = 3, 10
# Each thing that a task's scene has, once: a servo of the tool's pose, a free part on a table, a mocap body, a weld that is switched on.
SCENE = """
<mujoco>
  <option timestep=".005" integrator="implicitfast" cone="elliptic" impratio="10" iterations="20" ls_iterations="20">
    <flag sleep="enable" autoreset="disable"/>
  </option>
  <worldbody>
    <site name="base"/>
    <geom name="table" type="plane" size="1 1 .1"/>
    <body name="hand" pos="0 0 .5" gravcomp="1">
      <joint name="x" type="slide" axis="1 0 0"/><joint name="y" type="slide" axis="0 1 0"/><joint name="z" type="slide" axis="0 0 1"/>
      <joint name="turn" type="ball"/>
      <geom type="box" size=".03 .04 .05" mass="1" contype="0" conaffinity="0"/>
      <site name="tcp" pos="0 0 .02" quat="0 1 0 0"/>
    </body>
    <body name="part" pos=".3 0 .021"><freejoint/><geom type="sphere" size=".02" mass=".1"/><site name="part"/></body>
    <body name="fence" mocap="true" pos=".4 .2 .02"><geom type="sphere" size=".02"/></body>
  </worldbody>
  <equality><weld name="grip" site1="tcp" site2="part" active="false" solref=".02 1"/></equality>
  <actuator>
    <position name="tx" site="tcp" refsite="base" gear="1 0 0 0 0 0" kp="300" kv="40"/>
    <orientation name="rotation" site="tcp" refsite="base" kp="3" kv=".1" input="quat"/>
    <position name="ty" site="tcp" refsite="base" gear="0 1 0 0 0 0" kp="300" kv="40"/>
    <position name="tz" site="tcp" refsite="base" gear="0 0 1 0 0 0" kp="300" kv="40"/>
  </actuator>
  <sensor><framelinvel objtype="site" objname="tcp"/><frameangvel objtype="site" objname="tcp"/></sensor>
</mujoco>
"""
OUTPUTS = ("site_xpos", "site_xmat", "sensordata")


def engines() -> tuple[Any, Any]:
    pytest.importorskip("mujoco_warp", reason="needs the extra warp")
    model = mujoco.MjModel.from_xml_string(SCENE)
    return tuple(make_engine(name, model, lambda: ET.fromstring(SCENE), N, 1) for name in ("mujoco", "warp:cpu"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def both() -> tuple[Any, Any]:
    return engines()


def begin(engine: Any) -> None:
    """Another command in every row; the tool holds its own pose otherwise."""
    every = np.ones(N, bool)
    engine.load(every, np.repeat(engine.state[:1] * 0.0, N, 0) + fresh(engine))
    engine.view("qpos")[:, 7:10] += np.array([[0.0, 0.0, 0.0], [0.01, 0.0, 0.0], [0.0, 0.02, 0.01]])
    engine.view("mocap_pos")[1, 0] = [0.3, 0.035, 0.02]  # into the part of row 1
    engine.forward(every)
    ctrl = engine.view("ctrl")
    ctrl[:, [0, 5, 6]] = engine.view("site_xpos")[:, 1] + [[0.05, 0.0, 0.0], [0.0, 0.05, 0.0], [0.0, 0.0, -0.05]]
    here = engine.view("site_xmat")[:, 1].reshape(N, 3, 3)
    turns = matrix_from_rotvec(np.array([[0.3, 0.0, 0.0], [0.0, -0.5, 0.4], [0.2, 0.1, 2.9]]))
    ctrl[:, 1:5] = quaternion_from_matrix(turns @ here) * [[1.0], [-1.0], [2.0]]  # a quaternion's sign and length mean nothing


def fresh(engine: Any) -> np.ndarray[Any, Any]:
    data = mujoco.MjData(engine.model)
    state = np.empty(engine.state.shape[1])
    mujoco.mj_getState(engine.model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    return state


def difference(both: tuple[Any, Any], name: str) -> float:
    one, other = (engine.view(name) for engine in both)
    assert one.shape == other.shape
    return float(np.abs(one - other).max())


def test_a_pose_servo_a_falling_part_and_a_pushing_fence_are_those_of_the_processor(both: tuple[Any, Any]) -> None:
    for engine in both:
        begin(engine)
    assert max(difference(both, name) for name in OUTPUTS) < 1e-6
    for _ in range(4):
        for engine in both:
            engine.step(SUBSTEPS)
        # float32 carries 7 digits; 40 substeps of contact and of a servo of 20 /s multiply its rounding by less than a hundred
        assert difference(both, "qpos") < 1e-5
        assert difference(both, "qvel") < 1e-3
        assert max(difference(both, name) for name in OUTPUTS) < 1e-3
    turned = matrix_from_quaternion(both[1].view("qpos")[:, 3:7])
    assert np.abs(turned - np.eye(3)).max() > 0.3  # the servo has turned the tool
    assert not both[1].diverged().any()
