"""Each kind of arm sends what its controller takes, and says what keeps it from following."""

import numpy as np
import pytest

from robolearn.deploy.arms.controllers import activate
from robolearn.deploy.arms.equilibrium_pose import EquilibriumPoseArm
from robolearn.deploy.arms.forward_position import ForwardPositionArm
from robolearn.deploy.arms.joint_trajectory import JointTrajectoryArm
from robolearn.deploy.arms.servo import ServoArm
from robolearn.deploy.arms.watch import BoolWatch, UrWatch
from robolearn.deploy.robot import Robot
from robolearn.deploy.robots.franka import franka_limits
from robolearn.deploy.transport.base import LATCHED, TransportError
from robolearn.deploy.transport.in_process import Bus, InProcess, ManualClock
from robolearn.errors import UserError
from robolearn.rotation import matrix_from_quaternion
from tests.deploy.arms_for_tests import CHAIN, HOME, TICK, WORKSPACE, action, at_home, generator
from tests.deploy.transport.conftest import until

JOINTS = tuple(f"fr3_joint{index}" for index in range(1, 8))


@pytest.fixture
def driver():
    """A participant that plays the driver."""
    bus = Bus(clock=ManualClock(5_000_000_000), threaded=False)
    with InProcess(bus) as transport:
        yield transport


@pytest.fixture
def ours(driver):
    with InProcess(driver.bus) as transport:
        yield transport


def robot(arm):
    return Robot("test", JOINTS, CHAIN, franka_limits("panda"), HOME, WORKSPACE, arm, joint_states="/joint_states")


def listen(driver, topic, type):
    heard = []
    driver.subscribe(topic, type, lambda received: heard.append(received.message))
    return heard


def moving(**options):
    """A set point amid a motion."""
    motion = generator(**options)
    position, rotation = at_home()
    for tick in range(25):
        point = motion.follow(action(position + np.array((0.0, 0.05, 0.05)), rotation), tick * TICK)
    return point


def test_a_trajectory_begins_with_its_tick_and_ends_at_rest(driver, ours):
    arm, point = JointTrajectoryArm("/fr3_arm_controller"), moving()
    heard = listen(driver, "/fr3_arm_controller/joint_trajectory", "trajectory_msgs/msg/JointTrajectory")
    arm.open(ours, robot(arm))
    raw = arm.send(point)
    assert ours.messages.decode("trajectory_msgs/msg/JointTrajectory", raw).joint_names == list(JOINTS)
    message = heard[0]
    assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == point.stamp
    times = [each.time_from_start.sec + each.time_from_start.nanosec * 1e-9 for each in message.points]
    np.testing.assert_allclose(times, point.times, atol=1e-9)
    for field in ("positions", "velocities", "accelerations"):
        np.testing.assert_array_equal([getattr(each, field) for each in message.points], getattr(point, field))
    assert times[0] == 0 and (np.diff(times) > 0).all()
    assert not message.points[-1].velocities.any() and message.points[0].velocities.any()
    assert arm.problems() == []


def test_an_unstamped_trajectory_begins_when_it_arrives(driver, ours):
    arm = JointTrajectoryArm(topic="/arm/command", stamped=False)
    heard = listen(driver, "/arm/command", "trajectory_msgs/msg/JointTrajectory")
    arm.open(ours, robot(arm))
    arm.send(moving())
    assert (heard[0].header.stamp.sec, heard[0].header.stamp.nanosec) == (0, 0)


def test_nobody_listening_is_a_problem(ours):
    arm = JointTrajectoryArm()
    arm.open(ours, robot(arm))
    assert arm.problems() == ["nobody listens to /joint_trajectory_controller/joint_trajectory: is the controller active?"]


def test_a_controller_that_cannot_hear_for_its_qos_is_told_with_the_policy(driver, ours):
    arm = JointTrajectoryArm("/x")
    driver.subscribe("/x/joint_trajectory", "trajectory_msgs/msg/JointTrajectory", print, LATCHED)
    arm.open(ours, robot(arm))
    until(lambda: "policy durability" in arm.problems()[0])
    (said,) = arm.problems()
    assert said.startswith("nobody listens to /x/joint_trajectory: incompatible QoS, policy durability (the publisher offers volatile")


def test_positions_go_out_one_set_a_tick_and_stopping_plays_the_rest(driver, ours):
    slept = []
    arm, point = ForwardPositionArm(sleep=slept.append), moving()
    heard = listen(driver, "/forward_position_controller/commands", "std_msgs/msg/Float64MultiArray")
    arm.open(ours, robot(arm))
    arm.send(point)
    np.testing.assert_array_equal(heard[0].data, point.positions[0])
    arm.stop()
    path = np.array([message.data for message in heard])
    np.testing.assert_allclose(path[-1], point.positions[-1], atol=1e-12)
    assert len(slept) == len(path) - 1 and set(slept) == {0.01}
    accelerations = np.abs(np.diff(path, n=2, axis=0)) / 0.01**2
    assert (accelerations <= np.array(franka_limits("panda").acceleration) + 1e-6).all()
    arm.stop()
    assert len(heard) == len(path)  # it stands


def test_poses_are_of_the_tool_in_the_base_frame(driver, ours):
    arm, point = EquilibriumPoseArm("/pose"), moving(robot_lag=(4.86, 9.16))
    heard = listen(driver, "/pose", "geometry_msgs/msg/PoseStamped")
    arm.open(ours, robot(arm))
    arm.send(point)
    at, turned = heard[0].pose.position, heard[0].pose.orientation
    np.testing.assert_allclose((at.x, at.y, at.z), point.position)
    np.testing.assert_allclose(matrix_from_quaternion(np.array((turned.w, turned.x, turned.y, turned.z))), point.rotation, atol=1e-9)
    assert heard[0].header.frame_id == "base" and heard[0].header.stamp.sec == 5


class Servo:
    """A MoveIt Servo node."""

    def __init__(self, driver, takes=True):
        self.kinds, self.paused = [], []
        new = driver.messages.new

        def switch(request):
            self.kinds.append(request.command_type)
            return new("moveit_msgs/srv/ServoCommandType_Response", success=takes)

        def pause(request):
            self.paused.append(request.data)
            return new("std_srvs/srv/SetBool_Response", success=True)

        driver.serve("/servo_node/switch_command_type", "moveit_msgs/srv/ServoCommandType", switch)
        driver.serve("/servo_node/pause_servo", "std_srvs/srv/SetBool", pause)


def test_servo_is_told_what_comes_and_gets_stamped_twists(driver, ours):
    servo, arm, point = Servo(driver), ServoArm(), moving()
    heard = listen(driver, "/servo_node/delta_twist_cmds", "geometry_msgs/msg/TwistStamped")
    arm.open(ours, robot(arm))
    assert servo.kinds == [1] and servo.paused == [False]
    arm.send(point)
    linear = heard[0].twist.linear
    expected = CHAIN.jacobian(point.positions[0]) @ point.velocities[0]
    np.testing.assert_allclose((linear.x, linear.y, linear.z), expected[:3], atol=1e-12)
    assert heard[0].header.stamp.sec == 5 and heard[0].header.frame_id == "base"
    arm.stop()
    assert heard[-1].twist.linear.y == 0.0


def test_a_twist_brings_the_tool_back_to_the_plan(driver, ours):
    Servo(driver)
    arm, point = ServoArm(gain=2.0, largest=0.1), moving()
    heard = listen(driver, "/servo_node/delta_twist_cmds", "geometry_msgs/msg/TwistStamped")
    arm.open(ours, robot(arm))
    measured = dict(zip(JOINTS, point.positions[0], strict=True))
    state = driver.publisher("/joint_states", "sensor_msgs/msg/JointState")
    names = ["finger", *reversed(JOINTS)]  # another order, and more
    state.publish(driver.messages.new("sensor_msgs/msg/JointState", name=names, position=[0.0, *(measured[name] for name in names[1:])]))
    arm.send(point)
    on_the_plan = heard[-1].twist.linear
    away = CHAIN.solve(CHAIN.forward(point.positions[0])[0] - (0.01, 0, 0), CHAIN.forward(point.positions[0])[1], point.positions[0])
    state.publish(driver.messages.new("sensor_msgs/msg/JointState", name=list(JOINTS), position=away))
    arm.send(point)
    assert heard[-1].twist.linear.x - on_the_plan.x == pytest.approx(0.02, abs=1e-4)
    np.testing.assert_allclose(on_the_plan.y, (CHAIN.jacobian(point.positions[0]) @ point.velocities[0])[1], atol=1e-9)
    before = heard[-1].twist.linear.x
    state.publish(driver.messages.new("sensor_msgs/msg/JointState", name=list(JOINTS), position=away * np.nan))
    arm.send(point)
    assert heard[-1].twist.linear.x == before  # what is no number moves nothing


def test_servo_takes_poses_and_says_when_it_halts(driver, ours):
    servo, arm = Servo(driver), ServoArm(command="pose")
    heard = listen(driver, "/servo_node/pose_target_cmds", "geometry_msgs/msg/PoseStamped")
    arm.open(ours, robot(arm))
    arm.send(moving())
    assert servo.kinds == [2] and len(heard) == 1
    status = driver.publisher("/servo_node/status", "moveit_msgs/msg/ServoStatus")
    status.publish(driver.messages.new("moveit_msgs/msg/ServoStatus", code=2, message="close"))
    assert arm.problems() == ["Servo halts for a singularity: close"]
    status.publish(driver.messages.new("moveit_msgs/msg/ServoStatus", code=0))
    assert arm.problems() == []


def test_a_servo_that_refuses_or_is_older_is_dealt_with(driver, ours):
    Servo(driver, takes=False)
    arm = ServoArm()
    with pytest.raises(UserError, match="does not take commands of kind twist"):
        arm.open(ours, robot(arm))
    with pytest.raises(UserError, match="twist or pose, got 'joints'"):
        ServoArm(command="joints")
    started = []

    def start(request):
        started.append(request)
        return driver.messages.new("std_srvs/srv/Trigger_Response", success=True)

    driver.serve("/old/start_servo", "std_srvs/srv/Trigger", start)
    arm = ServoArm("/old", timeout=0.1)
    arm.open(ours, robot(arm))
    assert len(started) == 1
    with pytest.raises(UserError, match="Humble takes twists alone"):
        ServoArm("/old", command="pose", timeout=0.1).open(ours, robot(arm))


def test_a_controller_is_activated_and_the_others_let_go(driver, ours):
    asked = []

    def switch(request):
        asked.append(request)
        return driver.messages.new("controller_manager_msgs/srv/SwitchController_Response", ok=len(asked) == 1)

    driver.serve("/controller_manager/switch_controller", "controller_manager_msgs/srv/SwitchController", switch)
    arm = JointTrajectoryArm("/scaled", switch=True, instead_of=["forward"])
    arm.open(ours, robot(arm))
    assert list(asked[0].activate_controllers) == ["scaled"] and list(asked[0].deactivate_controllers) == ["forward"]
    with pytest.raises(TransportError, match="does not activate /scaled"):
        activate(ours, "/scaled", timeout=0.1)


def test_a_ur_that_does_not_run_its_program_says_why(driver, ours):
    arm = JointTrajectoryArm(watch=UrWatch())
    listen(driver, "/joint_trajectory_controller/joint_trajectory", "trajectory_msgs/msg/JointTrajectory")
    new = driver.messages.new
    program = driver.publisher("/io_and_status_controller/robot_program_running", "std_msgs/msg/Bool", LATCHED)
    program.publish(new("std_msgs/msg/Bool", data=False))  # before we listen: it is latched
    arm.open(ours, robot(arm))
    assert len(arm.problems()) == 1 and "resend_robot_program" in arm.problems()[0]
    program.publish(new("std_msgs/msg/Bool", data=True))
    assert arm.problems() == []
    safety = driver.publisher("/io_and_status_controller/safety_mode", "ur_dashboard_msgs/msg/SafetyMode", LATCHED)
    safety.publish(new("ur_dashboard_msgs/msg/SafetyMode", mode=3))
    speed = driver.publisher("/speed_scaling_state_broadcaster/speed_scaling", "std_msgs/msg/Float64")
    speed.publish(new("std_msgs/msg/Float64", data=0.5))
    assert arm.problems() == [
        "the robot's safety mode is protective stop, not normal",
        "the robot runs at 50 % of its speed: put the pendant's slider to 100 %",
    ]
    speed.publish(new("std_msgs/msg/Float64", data=100.0))
    safety.publish(new("ur_dashboard_msgs/msg/SafetyMode", mode=1))
    assert arm.problems() == []


def test_a_truth_that_is_not_is_a_problem(driver, ours):
    watch = BoolWatch("/ready", "the robot is not ready")
    watch.open(ours)
    ready = driver.publisher("/ready", "std_msgs/msg/Bool", LATCHED)
    assert watch.problems() == []
    ready.publish(driver.messages.new("std_msgs/msg/Bool", data=False))
    assert watch.problems() == ["the robot is not ready"]
