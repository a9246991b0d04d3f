"""MuJoCo Warp behind the engine protocol: what the processor's engine computes, to float32's rounding."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path
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
    <body name="part" pos=".3 0 .021"><freejoint/><geom type="sphere" size=".02" mass=".1"/><site name="part" quat="0 1 0 0"/></body>
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
EVERY = np.ones(N, bool)


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def both(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """The processor's engine, and Warp's: on the processor, and on a GPU where there is one."""
    pytest.importorskip("mujoco_warp", reason="needs the extra warp")
    import warp

    if request.param == "cuda" and not warp.is_cuda_available():
        pytest.skip("no CUDA device")
    warp.config.optimization_level = 0  # its kernels compile in half the time
    model = mujoco.MjModel.from_xml_string(SCENE)
    names = ("mujoco", f"warp:{request.param}")
    one, other = (make_engine(name, model, lambda: ET.fromstring(SCENE), N, 1) for name in names)
    return one, other


def begin(engine: Any) -> None:
    """The same scene in every row but for the part's and the fence's places, and a pose of the tool to go to."""
    data, state = mujoco.MjData(engine.model), np.empty(engine.state.shape[1])
    mujoco.mj_getState(engine.model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    engine.load(EVERY, np.tile(state, (N, 1)))
    engine.view("qpos")[:, 7:10] += np.array([[0.0, 0.0, 0.0], [0.01, 0.0, 0.0], [0.0, 0.02, 0.01]])
    engine.view("mocap_pos")[1, 0] = [0.3, 0.035, 0.02]  # into the part of row 1
    engine.forward(EVERY)
    ctrl = engine.view("ctrl")
    ctrl[:, [0, 5, 6]] = engine.view("site_xpos")[:, 1] + [[0.05, 0.0, 0.0], [0.0, 0.05, 0.0], [0.0, 0.0, -0.05]]
    here = engine.view("site_xmat")[:, 1].reshape(N, 3, 3)
    turns = matrix_from_rotvec(np.array([[0.3, 0.0, 0.0], [0.0, -0.5, 0.4], [0.2, 0.1, 2.9]]))
    ctrl[:, 1:5] = quaternion_from_matrix(turns @ here) * [[1.0], [-1.0], [2.0]]  # a quaternion's sign and length mean nothing


def difference(both: tuple[Any, Any], *names: str) -> float:
    return max(float(np.abs(both[0].view(name) - both[1].view(name)).max()) for name in names)


def test_a_servo_a_falling_part_and_a_pushing_fence_are_those_of_the_processor(both: tuple[Any, Any]) -> None:
    for engine in both:
        begin(engine)
    assert difference(both, *OUTPUTS) < 1e-6
    for _ in range(4):
        for engine in both:
            engine.step(SUBSTEPS)
        # A float32 has 7 digits; a contact of 20 ms and a servo turn a rounding of position into one of velocity a hundred times as large.
        assert difference(both, "qpos", "site_xpos", "site_xmat") < 1e-5
        assert difference(both, "qvel", "sensordata") < 1e-3
    turned = matrix_from_quaternion(both[1].view("qpos")[:, 3:7])
    assert np.abs(turned - np.eye(3)).max((1, 2)).min() > 0.2  # the servo has turned every tool
    assert not both[1].diverged().any()


def test_a_weld_that_is_switched_on_holds_as_on_the_processor(both: tuple[Any, Any]) -> None:
    for engine in both:
        begin(engine)
        engine.view("qpos")[1, 7:10] = engine.view("site_xpos")[1, 1] + [0.0, 0.005, 0.0]
        engine.view("eq_active")[1, 0] = 1.0
        engine.forward(EVERY)
        engine.step(3 * SUBSTEPS)
    assert difference(both, "qpos") < 1e-4
    assert both[1].view("eq_active")[:, 0].tolist() == [0.0, 1.0, 0.0]
    assert np.linalg.norm(both[1].view("site_xpos")[1, 1] - both[1].view("qpos")[1, 7:10]) < 2e-3


def test_rows_that_are_not_stepped_stay_as_they_are(both: tuple[Any, Any]) -> None:
    warp = both[1]
    begin(warp)
    before, seen = warp.state.copy(), warp.view("site_xpos").copy()
    rows = np.array([True, False, True])
    warp.step(SUBSTEPS, rows)
    assert (warp.state != before).any(1).tolist() == rows.tolist()
    np.testing.assert_array_equal(warp.view("site_xpos")[1], seen[1])
    warp.step(SUBSTEPS)
    begin(both[0])
    both[0].step(SUBSTEPS, rows)
    both[0].step(SUBSTEPS)
    assert difference(both, "qpos", "site_xpos") < 1e-5


def test_the_same_start_comes_to_the_same_state_to_the_bit(both: tuple[Any, Any]) -> None:
    ends = []
    for _ in range(2):
        begin(both[1])
        both[1].step(SUBSTEPS)
        both[1].step(SUBSTEPS)
        ends.append(both[1].state.copy())
    np.testing.assert_array_equal(*ends)


def test_forward_leaves_the_state_as_written_to_the_bit(both: tuple[Any, Any]) -> None:
    warp = both[1]
    begin(warp)
    warp.view("qpos")[0, 0] = 0.1 + 1e-12  # no float32
    before = warp.state.copy()
    warp.forward(EVERY)
    np.testing.assert_array_equal(warp.state, before)
    assert abs(warp.view("site_xpos")[0, 1, 0] - 0.1) < 1e-6


def test_a_row_that_diverges_is_found_and_harms_no_other(both: tuple[Any, Any]) -> None:
    for engine in both:
        begin(engine)
        engine.view("qvel")[1, 0] = np.nan
        engine.step(SUBSTEPS)
        assert engine.diverged().tolist() == [False, True, False]
    others = [0, 2]
    assert np.abs(both[0].view("qpos")[others] - both[1].view("qpos")[others]).max() < 1e-5
    begin(both[1])
    both[1].step(SUBSTEPS)
    assert not both[1].diverged().any()


def test_a_row_may_have_a_friction_of_its_own(both: tuple[Any, Any]) -> None:
    for engine in both:
        begin(engine)
        engine.expand("geom_friction")[1, 1:] = [0.0, 0.0, 0.0]
        engine.view("qvel")[:, 7] = 0.5  # the part slides along x
        engine.step(SUBSTEPS)
    assert difference(both, "qpos") < 1e-5
    with pytest.raises(UserError, match="no 'geom_type' for each row"):
        both[1].expand("geom_type")


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ("wrap", "no engine 'wrap'; there are mujoco, warp (warp:cpu, warp:cuda:1); did you mean 'warp'?"),
        ("mujoco:cpu", "no engine 'mujoco:cpu'"),
        ("warp:tpu", "no device 'tpu' for Warp; there are warp:cpu"),
    ],
)
def test_a_bad_engine_is_one_line(engine: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if engine.startswith("warp"):
        pytest.importorskip("mujoco_warp", reason="needs the extra warp")
    assert cli.main(["collect", f"store={tmp_path}/never.zarr", f"task.env.engine='{engine}'"]) == 1
    assert says in capsys.readouterr().err


def test_without_warp_the_extra_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    monkeypatch.delitem(sys.modules, "robolearn.sim.warp_engine", raising=False)
    assert cli.main(["collect", f"store={tmp_path}/never.zarr", "task.env.engine=warp"]) == 1
    assert "pip install 'robolearn[warp]'" in capsys.readouterr().err
