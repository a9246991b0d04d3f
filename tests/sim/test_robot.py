"""The arm: its inverse kinematics, and the way from an action to its servo and back."""

import mujoco
import numpy as np
import pytest

from robolearn.rotation import matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix
from robolearn.sim.controllers import action_from_control, control_from_action
from robolearn.sim.kinematics import solve_ik
from robolearn.sim.panda import HOME
from robolearn.sim.scene import build_model
from robolearn.sim.tasks.one_leg import OneLeg
from robolearn.tasks import one_leg_spec

SPEC = one_leg_spec().action


def tool_pose(model, joints):
    data = mujoco.MjData(model)
    data.qpos[:7] = joints
    mujoco.mj_kinematics(model, data)
    site = model.site("tcp").id
    return data.site_xpos[site].copy(), data.site_xmat[site].reshape(3, 3).copy()


def test_inverse_kinematics_reaches_poses_over_the_table_to_a_millimetre_and_half_a_degree():
    model = build_model(OneLeg())
    rng = np.random.default_rng(0)
    position = rng.uniform((0.4, -0.25, 0.02), (0.65, 0.25, 0.25), (20, 3))
    rotation = matrix_from_rotvec(rng.uniform(-0.4, 0.4, (20, 3))) @ np.diag([1.0, -1.0, -1.0])
    joints = solve_ik(model, position, rotation)
    low, high = model.jnt_range[:7].T
    assert ((joints >= low) & (joints <= high)).all()
    for row in range(20):
        reached, turned = tool_pose(model, joints[row])
        assert np.linalg.norm(reached - position[row]) < 1e-3
        assert np.degrees(np.linalg.norm(rotvec_from_matrix(turned @ rotation[row].T))) < 0.5


def test_inverse_kinematics_of_the_home_pose_is_home():
    model = build_model(OneLeg())
    position, rotation = tool_pose(model, HOME)
    np.testing.assert_allclose(solve_ik(model, position[None], rotation[None])[0], HOME, atol=1e-3)


def actions(rows=50):
    rng = np.random.default_rng(1)
    position = rng.uniform(SPEC.low[:3], SPEC.high[:3], (rows, 3))
    rotation = matrix_from_rotvec(rng.normal(0, 2, (rows, 3)))
    gripper = rng.choice([-1.0, 1.0], (rows, 1))
    return np.concatenate([position, rot6d_from_matrix(rotation), gripper], 1).astype(np.float32)


def test_an_action_survives_the_way_to_the_servo_and_back():
    action = actions()
    np.testing.assert_allclose(action_from_control(control_from_action(action, SPEC)), action, atol=1e-6)


def test_positions_are_clipped_to_the_limits_and_rotations_made_orthonormal():
    action = actions()
    wild = action.copy()
    wild[:, :3] += 5.0
    wild[:, 3:9] *= 3.0
    control = control_from_action(wild, SPEC)
    np.testing.assert_allclose(control[:, :3], np.tile(SPEC.high[:3], (50, 1)), atol=1e-6)
    np.testing.assert_allclose(control[:, 3:7], control_from_action(action, SPEC)[:, 3:7], atol=1e-6)


@pytest.mark.parametrize(("gripper", "width"), [(-1.0, 0.065), (0.0, 0.065), (0.01, 0.007), (1.0, 0.007)])
def test_the_gripper_closes_above_zero(gripper, width):
    action = actions(1)
    action[:, 9] = gripper
    control = control_from_action(action, SPEC)
    assert control[0, 7] - control[0, 8] == pytest.approx(width)
