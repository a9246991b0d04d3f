"""A simulated robot's world: the same episodes as an environment's, a physics step at a time, by poses or by joints."""

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.rotation import matrix_from_quaternion, matrix_from_rotvec, quaternion_from_matrix, rotvec_from_matrix
from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly
from robolearn.sim.controllers import control_from_action
from robolearn.sim.experts.one_leg import OneLegExpert
from robolearn.sim.headless import mujoco
from robolearn.sim.robot import TaskRobot

SEED = int(split_seeds("search", 1)[0])
STEP = 0.005


@pytest.fixture(scope="module")
def robot():
    made = TaskRobot("one_leg")
    yield made
    made.close()


def steps(robot, count=20):
    for _ in range(count):
        robot.step()


def follow(robot, action):
    """What a driver makes of a canonical action ``(1, 10)``, held for a control step."""
    control = control_from_action(action, robot.env_spec.action)[0]
    robot.command_pose(control[:3], control[3:7])
    robot.command_fingers(2 * control[7])
    steps(robot)


def expert():
    made = OneLegExpert(1)
    made.reset(np.ones(1, bool), np.array([SEED]))
    return made


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_poses_set_once_a_control_step_play_an_environments_episode_to_the_bit(robot):
    env, acts = Assembly("one_leg", 1, threads=1), expert()
    observation, _ = env.reset(seed=[SEED])
    robot.use("pose")
    robot.reset(SEED)
    assert same(observation, robot.observation())
    for step in range(200):
        action = acts.act(observation)
        observation, _, terminated, _, info = env.step(action)
        follow(robot, action)
        assert same(observation, robot.observation()), f"step {step}"
        assert list(robot.verdict().stages.values()) == info["stages"][0].tolist()
        if terminated[0]:
            break
    assert robot.verdict().success
    assert (robot.verdict().steps, robot.verdict().seed) == (step + 1, SEED)


def test_dynamics_that_differ_between_episodes_are_those_of_the_seed():
    ranges = {"dynamics": {"mass": [0.5, 2.0], "friction": [0.5, 2.0], "gains": [0.5, 1.0]}}
    env, robot, acts = Assembly("one_leg", 1, threads=1, randomize=ranges), TaskRobot("one_leg", randomize=ranges), expert()
    observation, _ = env.reset(seed=[SEED])
    robot.use("pose")
    robot.reset(SEED)
    for _ in range(30):
        action = acts.act(observation)
        observation = env.step(action)[0]
        follow(robot, action)
        assert same(observation, robot.observation())
    robot.close()


@pytest.mark.parametrize(("task", "level"), [("peg_hole", "med"), ("one_leg", "high"), ("stack_blocks", "low")])
def test_every_seed_and_level_begins_as_an_environments_episode_does(task, level):
    env, robot = Assembly(task, 1, threads=1, randomness=level), TaskRobot(task)
    for seed in (3, 4):
        robot.reset(seed, level)
        assert same(env.reset(seed=[seed])[0], robot.observation())
    assert robot.verdict().level == level
    robot.close()


def test_a_reset_forgets_what_was_commanded_and_judged(robot):
    robot.use("joints")
    robot.reset(5)
    start = robot.state()
    robot.command_joints(start.position + 0.3, np.zeros(7))
    robot.command_fingers(0.0)
    steps(robot, 100)
    robot.reset(5)
    np.testing.assert_array_equal(robot.state().position, start.position)
    np.testing.assert_array_equal(robot.state().parts, start.parts)
    assert robot.verdict().steps == 0
    steps(robot, 100)
    np.testing.assert_allclose(robot.state().position, start.position, atol=1e-4)
    assert robot.state().fingers.sum() == pytest.approx(0.065, abs=1e-4)


def test_what_is_shown_is_what_an_environment_observes(robot):
    robot.reset(6)
    steps(robot, 7)
    state, seen = robot.state(), robot.observation()
    np.testing.assert_allclose(state.tool_position, seen["tcp_pos"][0], atol=1e-6)
    rotation = matrix_from_quaternion(state.tool_quaternion)
    np.testing.assert_allclose(rotation[:2].ravel(), seen["tcp_rot6d"][0], atol=1e-6)
    np.testing.assert_allclose(state.tool_twist, np.concatenate([seen["tcp_linvel"], seen["tcp_angvel"]], 1)[0], atol=1e-6)
    assert state.fingers.sum() == pytest.approx(seen["gripper_width"].item(), abs=1e-6)
    poses = seen["parts_poses"].reshape(-1, 9)
    np.testing.assert_allclose(state.parts[:, :3], poses[:, :3], atol=1e-6)
    np.testing.assert_allclose(matrix_from_quaternion(state.parts[:, 3:])[:, :2].reshape(-1, 6), poses[:, 3:], atol=1e-6)


def test_what_is_shown_does_not_change_afterwards(robot):
    robot.reset(6)
    state = robot.state()
    before = state.position.copy(), state.tool_position.copy(), state.parts.copy()
    robot.command_joints(state.position + 0.1, np.zeros(7))
    steps(robot)
    for then, now in zip(before, (state.position, state.tool_position, state.parts), strict=True):
        np.testing.assert_array_equal(then, now)


def test_joints_follow_a_sine_within_millimetres(robot):
    robot.use("joints")
    robot.reset(7)
    home = robot.state().position
    size, rate = np.array([0.1, 0.1, -0.1, 0.1, 0.1, 0.1, 0.2]), np.pi
    model = robot._world.engine.model
    data, site = mujoco.MjData(model), model.site("tcp").id
    apart = []
    for step in range(400):
        middle, end = (step + 0.5) * STEP, (step + 1) * STEP
        robot.command_joints(home + size * (1 - np.cos(rate * middle)) / 2, size * rate * np.sin(rate * middle) / 2)
        robot.step()
        data.qpos[:7] = home + size * (1 - np.cos(rate * end)) / 2
        mujoco.mj_kinematics(model, data)
        apart.append(np.linalg.norm(robot.state().tool_position - data.site_xpos[site]))
    assert max(apart) < 0.003
    np.testing.assert_allclose(robot.state().position, home, atol=0.01)


def test_joints_press_about_as_hard_as_poses_do(robot):
    """A set point 10 mm below what holds the tool: the force that either servo answers with."""
    forces = {}
    for servo in ("pose", "joints"):
        robot.use(servo)
        robot.reset(8)
        state = robot.state()
        model = robot._world.engine.model
        data, site = mujoco.MjData(model), model.site("tcp").id
        data.qpos[:7] = state.position
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        jacobian = np.zeros((6, model.nv))
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], site)
        arm = jacobian[:, :7]
        robot.command_pose(state.tool_position - np.array([0, 0, 0.01]), state.tool_quaternion)
        robot.command_joints(state.position + np.linalg.pinv(arm) @ (0, 0, -0.01, 0, 0, 0), np.zeros(7))
        robot.step()
        forces[servo] = -np.linalg.lstsq(arm.T, robot.state().effort, rcond=None)[0][2]
    assert forces["pose"] == pytest.approx(30.0, rel=0.2)
    assert forces["pose"] / 3 < forces["joints"] < 3 * forces["pose"]


def test_switching_servos_moves_nothing(robot):
    robot.use("pose")
    robot.reset(9)
    robot.command_pose(robot.state().tool_position + np.array([0.0, 0.05, 0.0]), robot.state().tool_quaternion)
    steps(robot, 200)
    before = robot.state()
    robot.use("joints")
    steps(robot)
    np.testing.assert_allclose(robot.state().position, before.position, atol=5e-3)
    assert np.abs(robot.state().velocity).max() < 0.05
    robot.use("pose")
    robot.command_joints(before.position + 1.0, np.zeros(7))  # that servo is off
    steps(robot)
    np.testing.assert_allclose(robot.state().tool_position, before.tool_position, atol=5e-3)


def test_holding_brakes_a_moving_arm(robot):
    robot.use("joints")
    robot.reset(10)
    home = robot.state().position
    for step in range(40):
        robot.command_joints(home + 0.5 * STEP * step, np.full(7, 0.5))
        robot.step()
    assert np.abs(robot.state().velocity).min() > 0.3
    robot.hold()
    there = robot.state().position
    steps(robot, 100)
    assert np.abs(robot.state().velocity).max() < 1e-2
    np.testing.assert_allclose(robot.state().position, there, atol=0.05)


def test_fingers_go_as_far_as_they_go(robot):
    robot.use("pose")
    robot.reset(11)
    for wanted, reached in ((0.0, 0.007), (0.08, 0.065), (0.04, 0.04)):
        robot.command_fingers(wanted)
        steps(robot, 100)
        assert robot.state().fingers.sum() == pytest.approx(reached, abs=1e-3)


def test_a_part_that_left_the_table_is_told_and_the_arm_goes_on(robot):
    robot.use("joints")
    robot.reset(12)
    qpos = robot._world.engine.view("qpos")
    model = robot._world.engine.model
    at = int(model.joint("leg4").qposadr[0])
    qpos[0, at] = 2.0
    steps(robot)
    assert robot.verdict().lost == "a part left the table"
    home = robot.state().position
    robot.command_joints(home + 0.02, np.zeros(7))
    steps(robot, 100)
    np.testing.assert_allclose(robot.state().position, home + 0.02, atol=2e-3)
    robot.reset(12)
    assert robot.verdict().lost == ""


def test_a_world_that_diverges_stands_still_and_says_so(robot):
    robot.reset(13)
    robot._world.engine.view("qvel")[0, 10] = np.inf
    robot.step()
    assert robot.verdict().lost == "the simulation diverged"
    robot.reset(13)
    steps(robot)
    assert robot.verdict().lost == ""
    assert np.isfinite(robot.state().position).all()


def test_one_leg_is_solved_by_joints_that_lag_behind_the_experts_targets_as_the_tool_would():
    """A driver with inverse kinematics in small: the servo's own lag, resolved into joints."""
    robot, acts = TaskRobot("one_leg"), expert()
    robot.reset(SEED)
    model = robot._world.engine.model
    data, site, jacobian = mujoco.MjData(model), model.site("tcp").id, np.zeros((6, model.nv))
    joints = robot.state().position
    for _ in range(300):
        control = control_from_action(acts.act(robot.observation()), robot.env_spec.action)[0]
        robot.command_fingers(2 * control[7])
        for _ in range(20):
            data.qpos[:7] = joints
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], site)
            turn = rotvec_from_matrix(matrix_from_quaternion(control[3:7]) @ data.site_xmat[site].reshape(3, 3).T)
            twist = np.concatenate([4.86 * (control[:3] - data.site_xpos[site]), 9.16 * turn])
            arm = jacobian[:, :7]
            rates = arm.T @ np.linalg.solve(arm @ arm.T + 1e-4 * np.eye(6), twist)
            joints = np.clip(joints + STEP * rates, *model.jnt_range[:7].T)
            robot.command_joints(joints, rates)
            robot.step()
        if robot.verdict().success:
            break
    assert robot.verdict().success
    robot.close()


def test_pictures_are_an_environments(robot):
    env = Assembly("one_leg", 1, threads=1, extras=["front", "wrist"])
    observation, _ = env.reset(seed=[14])
    shown = TaskRobot("one_leg", cameras=["front", "wrist"])
    shown.reset(14)
    for camera in shown.cameras:
        np.testing.assert_array_equal(shown.draw(shown.scene(), camera), observation[camera][0])
    shown.close()
    env.close()


def test_looks_are_those_of_the_seed_also_after_another():
    looks = {"looks": {"light_intensity": [0.3, 1.5], "table_color": 0.2}}
    env = Assembly("one_leg", 1, threads=1, extras=["front"], randomize=looks)
    shown = TaskRobot("one_leg", cameras=["front"], randomize=looks)
    for seed in (14, 15, 14):
        shown.reset(seed)
        np.testing.assert_array_equal(shown.draw(shown.scene(), "front"), env.reset(seed=[seed])[0]["front"][0])
    shown.close()
    env.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "bimanual_insertion"}, "has one arm"),
        ({"task": "one_legg"}, "did you mean 'one_leg'"),
        ({"task": "one_leg", "cameras": ["fron"]}, "did you mean 'front'"),
        ({"task": "one_leg", "randomness": "lo"}, "low"),
        ({"task": "one_leg", "randomize": {"dynamics": {"latency": [1, 2]}}}, "latency"),
        ({"task": "one_leg", "image_size": [0, 84]}, "too small"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(options, words):
    with pytest.raises(UserError, match=words):
        TaskRobot(**options)


def test_a_level_that_is_none_leaves_the_episode_as_it_is(robot):
    robot.reset(16)
    with pytest.raises(UserError, match="no randomness level"):
        robot.reset(17, "huge")
    assert robot.verdict().seed == 16


def test_a_servo_that_is_none_is_refused(robot):
    with pytest.raises(UserError, match="there are pose, joints"):
        robot.use("torque")


def test_rotations_of_the_tool_are_turned_about_the_base(robot):
    robot.use("pose")
    robot.reset(18)
    state = robot.state()
    turned = matrix_from_rotvec(np.array([0.0, 0.0, 0.2])) @ matrix_from_quaternion(state.tool_quaternion)
    robot.command_pose(state.tool_position, quaternion_from_matrix(turned[None])[0])
    steps(robot, 300)
    reached = matrix_from_quaternion(robot.state().tool_quaternion) @ matrix_from_quaternion(state.tool_quaternion).T
    np.testing.assert_allclose(rotvec_from_matrix(reached), (0, 0, 0.2), atol=0.01)
