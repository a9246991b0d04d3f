"""The compiled drag is MuJoCo's, to the bit, and rows continue alike under either."""

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.sim.headless import mujoco
from robolearn.sim.robosuite import callbacks, drag
from robolearn.sim.robosuite.env import RobosuiteEnv

AIR = {"density": 1.2, "viscosity": 2e-5}  # robosuite's


@pytest.mark.parametrize("task", ["lift", "tool_hang", "transport"])
def test_the_air_drags_as_mujocos_does_to_the_bit(task):
    env = RobosuiteEnv(task, 1, threads=1)
    model, rng = env.engine.model, np.random.default_rng(0)
    airless, aired = mujoco.MjData(model), mujoco.MjData(model)
    env.reset(seed=0)
    for scale in 10.0 ** rng.uniform(-6, 1, 300):
        airless.qpos = aired.qpos = env.view.qpos[0] + rng.uniform(-0.5, 0.5, model.nq)
        airless.qvel = aired.qvel = scale * rng.normal(size=model.nv)
        with callbacks.installed():
            mujoco.set_mjcb_control(None)
            mujoco.mj_step1(model, airless)
        model.opt.density, model.opt.viscosity = AIR.values()
        mujoco.mj_step1(model, aired)
        model.opt.density = model.opt.viscosity = 0.0
        assert np.abs(aired.qfrc_fluid).max() > 0
        np.testing.assert_array_equal(airless.qfrc_fluid, aired.qfrc_fluid)
        np.testing.assert_array_equal(airless.qfrc_passive, aired.qfrc_passive)
    env.close()


def test_a_body_moved_by_a_tree_of_joints_is_refused():
    fingers = '<body><joint name="{}"/><geom size=".1"/>{}</body>'
    inner = fingers.format("a", fingers.format("b", "") + fingers.format("c", fingers.format("d", "") + fingers.format("e", "")))
    model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{inner}</worldbody></mujoco>")
    with pytest.raises(UserError, match="3 separate runs of joints"):
        drag.rows_of(model)
