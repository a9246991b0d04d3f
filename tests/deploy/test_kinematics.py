"""Chains agree with MuJoCo, with published poses and with finite differences, and joints are found for poses."""

import xml.etree.ElementTree as ET

import mujoco
import numpy as np
import pytest

from robolearn.deploy.kinematics import Chain, Unreachable, pose
from robolearn.deploy.robots.franka import franka_chain, robosuite_panda_chain
from robolearn.deploy.robots.universal import ur_chain
from robolearn.errors import UserError
from robolearn.rotation import rotvec_from_matrix
from robolearn.sim.assembly import Assembly
from robolearn.sim.panda import HOME, Arm, ServoGains, add_panda

LOWER = (-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973)
UPPER = (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973)
CHAINS = {"franka": franka_chain(), "simulated": robosuite_panda_chain(), "ur3e": ur_chain("ur3e"), "ur10e": ur_chain("ur10e", tool=0.1)}


@pytest.fixture(scope="module")
def panda():
    """The simulation's arm alone, with the servo's gains: the model and its data."""
    root = ET.Element("mujoco")
    ET.SubElement(ET.SubElement(root, "worldbody"), "site", name="base_frame")
    defaults = ET.SubElement(root, "default")
    for name in ("pad", "finger"):
        ET.SubElement(defaults, "default", {"class": name})
    add_panda(root, ServoGains(), None, Arm())
    model = mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))
    return model, mujoco.MjData(model)


def test_the_simulated_arm_is_where_mujoco_has_it_and_moves_as_there(panda):
    model, data = panda
    chain, generator = robosuite_panda_chain(ServoGains().tool_offset), np.random.default_rng(0)
    jacobian = np.zeros((6, model.nv))
    for joints in generator.uniform(LOWER, UPPER, (50, 7)):
        data.qpos[:7] = joints
        mujoco.mj_forward(model, data)
        position, rotation = chain.forward(joints)
        np.testing.assert_allclose(position, data.site("tcp").xpos, atol=1e-9)
        np.testing.assert_allclose(rotation, data.site("tcp").xmat.reshape(3, 3), atol=1e-9)
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], model.site("tcp").id)
        np.testing.assert_allclose(chain.jacobian(joints), jacobian[:, :7], atol=1e-9)


def test_the_tool_is_where_the_task_observes_it():
    world, generator = Assembly("one_leg", 1, threads=1), np.random.default_rng(5)
    try:
        world.reset(seed=[3])
        view = world._view
        for joints in generator.uniform(LOWER, UPPER, (10, 7)):
            view.qpos[0, view.arm.joints] = joints
            world._engine.forward(np.ones(1, bool))
            position, rotation = robosuite_panda_chain().forward(joints)
            np.testing.assert_allclose(position, view.arm.tcp_position[0], atol=1e-6)
            np.testing.assert_allclose(rotation, view.arm.tcp_rotation[0], atol=1e-6)
    finally:
        world.close()


def test_published_poses_of_stretched_arms():
    # All angles 0, by hand: the Panda's arm stands up and its hand hangs 88 mm in front; a UR lies along -x, its wrist hangs down.
    position, rotation = franka_chain(tool=0.0, turned=0.0).forward(np.zeros(7))
    np.testing.assert_allclose(position, (0.088, 0.0, 0.333 + 0.316 + 0.384 - 0.107), atol=1e-12)
    np.testing.assert_allclose(rotation, np.diag((1.0, -1.0, -1.0)), atol=1e-12)
    position, _ = ur_chain("ur5e").forward(np.zeros(6))
    np.testing.assert_allclose(position, (-0.425 - 0.3922, -0.1333 - 0.0996, 0.1625 - 0.0997), atol=1e-12)
    turned, _ = ur_chain("ur5e", frame="base_link").forward(np.zeros(6))
    np.testing.assert_allclose(turned, position * (-1, -1, 1), atol=1e-12)


@pytest.mark.parametrize("name", CHAINS)
def test_the_jacobian_is_the_finite_difference(name):
    chain, generator, step = CHAINS[name], np.random.default_rng(1), 1e-6
    for joints in generator.uniform(-2, 2, (5, chain.size)):
        jacobian = chain.jacobian(joints)
        for index in range(chain.size):
            ahead, behind = joints.copy(), joints.copy()
            ahead[index] += step
            behind[index] -= step
            (p1, r1), (p0, r0) = chain.forward(ahead), chain.forward(behind)
            np.testing.assert_allclose(jacobian[:3, index], (p1 - p0) / (2 * step), atol=1e-8)
            np.testing.assert_allclose(jacobian[3:, index], rotvec_from_matrix(r1 @ r0.T) / (2 * step), atol=1e-7)


def test_many_poses_at_once_are_those_one_by_one():
    chain, joints = CHAINS["franka"], np.random.default_rng(2).uniform(-2, 2, (4, 5, 7))
    positions, rotations = chain.forward(joints)
    assert positions.shape == (4, 5, 3) and rotations.shape == (4, 5, 3, 3)
    one_position, one_rotation = chain.forward(joints[2, 3])
    np.testing.assert_allclose(positions[2, 3], one_position, atol=1e-14)
    np.testing.assert_allclose(rotations[2, 3], one_rotation, atol=1e-14)


def test_a_turning_axis_may_point_anywhere():
    # Rodrigues by hand: half a turn about (1, 1, 0) exchanges x and y and turns z over.
    chain = Chain(np.eye(4)[None], np.array([(2.0, 2.0, 0.0)]), pose((0.0, 0.0, 1.0)))
    position, rotation = chain.forward(np.array([np.pi]))
    np.testing.assert_allclose(rotation, ((0, 1, 0), (1, 0, 0), (0, 0, -1)), atol=1e-12)
    np.testing.assert_allclose(position, (0, 0, -1), atol=1e-12)


def within(name, lower, upper):
    chain = CHAINS[name]
    return Chain(chain.origins, chain.axes, chain.tool, lower=lower, upper=upper)


def test_joints_are_found_for_poses_within_the_limits():
    chain, generator = within("simulated", LOWER, UPPER), np.random.default_rng(3)
    for _ in range(20):
        joints = np.clip(np.array(HOME) + generator.normal(size=7) * 0.4, chain.lower, chain.upper)
        position, rotation = chain.forward(joints)
        found = chain.solve(position, rotation, np.array(HOME))
        assert (found >= chain.lower).all() and (found <= chain.upper).all()
        reached, facing = chain.forward(found)
        np.testing.assert_allclose(reached, position, atol=1e-5)
        np.testing.assert_allclose(facing, rotation, atol=2e-5)


def test_a_pose_out_of_reach_is_said_to_be_with_what_is_left():
    with pytest.raises(Unreachable, match=r"no joints within the limits.*mm and .* degrees are left"):
        within("simulated", LOWER, UPPER).solve(np.array((2.0, 0.0, 0.5)), np.eye(3), np.array(HOME))
    narrow = within("simulated", np.array(HOME) - 0.01, np.array(HOME) + 0.01)
    with pytest.raises(Unreachable):
        narrow.solve(np.array((0.5, 0.2, 0.3)), np.eye(3), np.array(HOME))


def test_a_chain_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"origins \(J, 4, 4\)"):
        Chain(np.eye(4), np.array([(0.0, 0.0, 1.0)]))
    with pytest.raises(UserError, match="axis with a direction"):
        Chain(np.eye(4)[None], np.zeros((1, 3)))
    with pytest.raises(UserError, match="1 lower and upper limits"):
        Chain(np.eye(4)[None], np.array([(0.0, 0.0, 1.0)]), lower=(0.0, 0.0))
    with pytest.raises(UserError, match="finite"):
        Chain(np.full((1, 4, 4), np.nan), np.array([(0.0, 0.0, 1.0)]))
    with pytest.raises(UserError, match=r"no model 'ur5'.*did you mean 'ur5e'"):
        ur_chain("ur5")
