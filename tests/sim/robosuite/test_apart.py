"""The compiled filter of contacts leaves out none, and leaves other models what MuJoCo's own leaves them."""

import numpy as np
import pytest

from robolearn.sim.headless import mujoco
from robolearn.sim.robosuite import callbacks
from robolearn.sim.robosuite.env import RobosuiteEnv

SEARCHED = (mujoco.mjtGeom.mjGEOM_MESH.value, mujoco.mjtGeom.mjGEOM_CYLINDER.value)


def contacts(model, data):
    mujoco.mj_fwdPosition(model, data)
    return np.column_stack([data.contact.geom, data.contact.dist, data.contact.pos, data.contact.frame])


@pytest.mark.parametrize("task", ["lift", "can", "tool_hang", "transport"])
def test_contacts_of_random_poses_are_mujocos(task):
    env = RobosuiteEnv(task, 1, threads=1)
    model, rng, searched = env.engine.model, np.random.default_rng(0), 0
    env.reset(seed=0)
    data = mujoco.MjData(model)
    for _ in range(400):
        data.qpos = env.view.qpos[0] + 0.01 * rng.normal(size=model.nq)
        data.qpos[env.view.arm_qpos[0]] = rng.uniform(*model.jnt_range[env.view.arm_qpos[0]].T)
        expected = contacts(model, data)
        with callbacks.installed():
            np.testing.assert_array_equal(contacts(model, data), expected)
        searched += np.isin(model.geom_type[data.contact.geom], SEARCHED).any(1).sum()
    assert searched > 100
    env.close()


def test_geoms_that_do_not_concern_each_other_stay_so_in_other_models():
    balls = "".join(
        f'<body><freejoint/><geom size=".1" contype="{kind}" conaffinity="{other}"/></body>' for kind, other in ((1, 2), (1, 2), (2, 0))
    )
    model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{balls}</worldbody></mujoco>")
    data = mujoco.MjData(model)
    with callbacks.installed():
        mujoco.mj_forward(model, data)
    assert data.contact.geom.tolist() == [[0, 2], [1, 2]]
