"""Robots are what their YAML says, and refuse what does not fit them."""

from dataclasses import replace

import numpy as np
import pytest
from omegaconf import OmegaConf

from robolearn.config import choices, compose
from robolearn.deploy.arms.joint_trajectory import JointTrajectoryArm
from robolearn.deploy.limits import JointLimits, ToolLimits, Workspace
from robolearn.deploy.robot import Robot
from robolearn.errors import UserError
from robolearn.nodes import instantiate
from robolearn.spec import ActionSpec, ArraySpec, SpecError
from robolearn.tasks import bimanual_insertion_spec, env_spec_of
from tests.deploy.arms_for_tests import CHAIN, HOME, WORKSPACE, action

KEYS = ("tcp_pos", "tcp_rot6d", "gripper_width", "parts_poses")
JOINTS = tuple(f"fr3_joint{index}" for index in range(1, 8))
LIMITS = JointLimits((-3.0,) * 7, (3.0,) * 7, (1.0,) * 7, (5.0,) * 7, (500.0,) * 7)
ARM = JointTrajectoryArm()
URDF = ("ros2_control", "servo")  # which ask for a URDF


def robot(**changes):
    return Robot(
        **{"name": "test", "joints": JOINTS, "chain": CHAIN, "limits": LIMITS, "home": HOME, "workspace": WORKSPACE, "arm": ARM} | changes
    )


def described(name, *overrides):
    return instantiate(compose("run", [f"robot={name}", *overrides]).robot)


@pytest.mark.parametrize("name", [name for name in choices("robot") if name not in URDF])
def test_every_robot_moves_from_home_where_it_may_be(name):
    found = described(name)
    assert found.name == name
    position, rotation = found.chain.forward(np.array(found.home))
    assert (position > found.workspace.low).all() and (position < found.workspace.high).all()
    assert rotation[2, 2] < -0.95  # the tool looks down
    motion = found.motion()
    motion.start(np.array(found.home), 0)
    point = motion.follow(action(position, rotation), 0)
    np.testing.assert_allclose(point.positions, np.tile(found.home, (len(point.times), 1)), atol=1e-6)
    assert motion.latency < 0.08


@pytest.mark.parametrize("name", URDF)
def test_any_arm_comes_from_its_description(name, tmp_path):
    joint = '<joint name="j{0}" type="revolute"><origin xyz="0 0 0.3"/><parent link="l{0}"/><child link="l{1}"/>'
    joint += '<axis xyz="0 {2} {3}"/><limit lower="-2" upper="2" velocity="2" effort="1"/></joint>'
    arm = "".join(joint.format(index, index + 1, index % 2, 1 - index % 2) for index in range(6))
    (tmp_path / "arm.urdf").write_text(f'<robot name="a">{arm}</robot>')
    given = [f"robot.path={tmp_path}/arm.urdf", "robot.base=l0", "robot.tip=l6", "robot.home=[0,0,0,0,0,0]"]
    found = described(name, *given, "robot.workspace.low=[-1,-1,0]", "robot.workspace.high=[1,1,2]")
    assert found.joints == tuple(f"j{index}" for index in range(6))
    assert found.base_frame == "l0"
    np.testing.assert_allclose(found.chain.forward(np.zeros(6))[0], (0, 0, 1.8))
    with pytest.raises(UserError, match=r"missing value.*robot.path=\.\.\."):
        described(name)


def test_an_argument_that_no_robot_takes_names_the_nearest():
    with pytest.raises(UserError, match=r"takes no 'hoem'.*did you mean 'home'"):
        instantiate(
            OmegaConf.create({"_target_": "robolearn.deploy.robots.generic.robot_of_urdf", "path": "", "base": "", "tip": "", "hoem": 1})
        )


def test_the_simulated_robot_serves_the_policies_of_its_task():
    spec = env_spec_of("one_leg")
    for name in ("sim_franka", "sim_franka_pose"):
        described(name).check_serves(spec, KEYS)
        described(name).check_serves(spec)
    described("sim_franka", "robot.sensors.parts_poses.shape=[18]").check_serves(env_spec_of("peg_hole"), KEYS)


def test_a_policy_for_something_else_is_refused_with_both_sides_named():
    found, spec = described("sim_franka"), env_spec_of("one_leg")
    with pytest.raises(SpecError, match=r"acts on \('left_x'.*robot 'sim_franka' takes \('x'"):
        found.check_serves(bimanual_insertion_spec())
    joints = replace(spec, action=ActionSpec(("j1",), (-1.0,), (1.0,)))
    with pytest.raises(SpecError, match=r"acts on \('j1',\)"):
        found.check_serves(joints)
    with pytest.raises(SpecError, match=r"reads 'parts_poses' with shape \(18,\), robot 'sim_franka' gives \(54,\)"):
        found.check_serves(env_spec_of("peg_hole"), KEYS)
    seeing = replace(spec, observation={**spec.observation, "wrist": ArraySpec((84, 84, 3), "uint8")})
    with pytest.raises(SpecError, match=r"reads 'wrist', robot 'sim_franka' gives .*tcp_pos.*\+robot.cameras.wrist=.*\[84, 84, 3\]"):
        found.check_serves(seeing)
    with pytest.raises(SpecError, match=r"steps at 60 Hz, robot 'sim_franka' takes commands at 100 Hz"):
        found.check_serves(replace(spec, control_hz=60.0), KEYS)
    elsewhere = replace(found, workspace=Workspace((-0.8, -0.3, 0.0), (-0.2, 0.3, 0.5)))
    with pytest.raises(SpecError, match=r"targets are from \[0.2.*reaches from \[-0.8"):
        elsewhere.check_serves(spec, KEYS)


def test_a_camera_is_an_observation():
    found = robot(cameras={"wrist": {"topic": "/camera/color/image_raw", "shape": [84, 84, 3]}}, fingers=("a", "b"))
    assert found.observation["wrist"] == ArraySpec((84, 84, 3), "uint8")
    assert found.observation["gripper_width"].shape == (1,)
    assert "gripper_width" not in robot().observation
    assert found.spec("pick", 10.0).action.low[:3] == WORKSPACE.low


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": JOINTS[:6]}, "joints 6, chain 7, limits 7, home 7"),
        ({"home": (0.0,) * 3}, "home 3"),
        ({"joints": (JOINTS[0],) * 7}, "names a joint twice"),
        ({"home": (0, 0, 0, 0, 0, 0, 4.0)}, "home outside of its limits.*fr3_joint7 at 4 in"),
        ({"limits": replace(LIMITS, lower=(-173.0,) * 7, upper=(173.0,) * 7)}, "radians, not degrees"),
        ({"rate_hz": 0.0}, "rate_hz must be above 0"),
        ({"lead": -1.0}, "lead must be"),
        ({"deaf": 0.0}, "deaf must be above 0"),
        ({"gripper_response": 1.5}, "gripper_response must be"),
        ({"cameras": {"wrist": {"topic": "/a"}}}, "needs a topic and a shape"),
        ({"cameras": {"wrist": {"topic": "/a", "shap": [1]}}}, "takes no 'shap'.*did you mean 'shape'"),
        ({"cameras": {"wrist": 5}}, "'wrist' is no source.*got 5"),
        ({"cameras": {"wrist": {"topic": "/a", "shape": [3], "type": "std_msgs/msg/Float64MultiArray"}}}, "gives std_msgs.*no pictures"),
        ({"sensors": {"tcp_pos": {"topic": "/a", "shape": [3]}}}, "tcp_pos would be observed twice"),
    ],
)
def test_a_robot_that_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        robot(**changes)


def test_margins_are_taken_off_the_ends_and_never_put_on():
    assert LIMITS.scaled(inset=0.5).upper == (2.5,) * 7
    with pytest.raises(UserError, match="inset must be at least 0"):
        LIMITS.scaled(inset=-0.5)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (JointLimits, [(0.0,), (1.0, 2.0), (1.0,), (1.0,), (1.0,)], "1 lower, 2 upper"),
        (JointLimits, [(1.0,), (0.0,), (1.0,), (1.0,), (1.0,)], "below the upper"),
        (JointLimits, [(0.0,), (1.0,), (0.0,), (1.0,), (1.0,)], "every velocity must be above 0"),
        (JointLimits, [(0.0,), (1.0,), (1.0,), (1.0,), (1.0,), (2.0,)], "cannot brake more"),
        (Workspace, [(0, 0, 0), (1, 1, 0)], "low x, y, z below high"),
        (Workspace, [(0, 0, 0), (1, 1, 1), 0.0, ((0, 0),)], "three numbers each"),
        (ToolLimits, [0.0], "speed must be above 0"),
    ],
)
def test_limits_that_are_none_are_refused(kind, arguments, message):
    with pytest.raises(UserError, match=message):
        kind(*arguments)
