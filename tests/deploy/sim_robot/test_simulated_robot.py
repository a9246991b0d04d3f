"""The simulated robot around a world: resets, waiting, faults, topics and lateness, on a clock that the test moves."""

import numpy as np
import pytest

from robolearn.deploy.robots.franka import PUBLISHED
from robolearn.deploy.sim_robot.controllers import PoseController
from robolearn.deploy.sim_robot.main import find_controller, make_controllers
from robolearn.deploy.sim_robot.node import SimulatedRobot
from robolearn.deploy.transport.base import LATCHED
from robolearn.deploy.transport.in_process import Bus, InProcess
from robolearn.errors import UserError
from tests.deploy.sim_robot.sim_fakes import HOME, JOINTS, MS, STRING, TRAJECTORY, Stage, World

STATE = "sensor_msgs/msg/JointState"
VELOCITY = "joint_velocity_violation"
NEAR = HOME + 0.1
RECOVERY, TRIGGER = "franka_msgs/action/ErrorRecovery", "std_srvs/srv/Trigger"


def seconds(message):
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


def test_it_waits_for_the_first_command_with_fresh_stamps():
    with Stage() as stage:
        heard = stage.listen("/joint_states", STATE)
        stage.run(0.5)
        assert stage.world.steps == 0
        assert len(heard) == 100
        assert seconds(heard[-1]) == pytest.approx(stage.clock.now * 1e-9, abs=0.011)
        assert (stage.said("robot_mode"), stage.status["running"]) == ("idle", False)
        stage.go(NEAR)
        stage.run(0.6)
        assert stage.world.steps == 119  # the first turn takes the command, time passes from there
        np.testing.assert_allclose(stage.world.q, NEAR, atol=1e-12)
        assert (stage.said("robot_mode"), stage.status["running"]) == ("move", True)


def test_it_does_not_wait_unless_told():
    with Stage(waits=False) as stage:
        stage.run(0.1)
        assert stage.world.steps == 20


def test_the_arm_moves_as_the_trajectory_says():
    with Stage() as stage:
        stage.go(NEAR)
        stage.run(0.005)
        path = []
        for _ in range(100):
            stage.run(0.005)
            path.append(stage.world.q[0])
        share = np.arange(1, 101) / 100
        np.testing.assert_allclose(path, HOME[0] + 0.1 * (3 * share**2 - 2 * share**3), atol=1e-9)


def test_a_reset_begins_the_episode_of_its_seed_and_echoes_the_token():
    with Stage(seed=3) as stage:
        assert (stage.status["seed"], stage.status["token"], stage.status["episode"]) == (3, "", 1)
        stage.go(NEAR)
        stage.run(0.6)
        stage.say("/sim/reset", seed=7, level="high", token="abc")
        stage.run(0.01)
        said = stage.status
        assert (said["seed"], said["level"], said["token"], said["episode"], said["running"]) == (7, "high", "abc", 2, False)
        np.testing.assert_array_equal(stage.world.q, HOME)
        stage.run(0.2)
        assert stage.world.steps == 0
        stage.go(NEAR)
        stage.run(0.1)
        assert stage.world.steps > 0


@pytest.mark.parametrize(
    "asked",
    ["", "{}", '{"seed": "x"}', '{"seed": null}', "[1]", '{"seed": 1e999}', "[" * 100_000, '{"seed": 1, "level": "none"}', '"seed"'],
)
def test_a_reset_that_is_none_is_complained_about_and_changes_nothing(asked):
    with Stage() as stage:
        stage.send("/sim/reset", STRING, data=asked)
        stage.run(0.06)
        assert stage.said("complaint").startswith("not reset")
        assert stage.status["episode"] == 1


def test_a_jump_is_a_fault_that_stops_the_arm_and_stays():
    with Stage() as stage:
        stage.go(NEAR)
        stage.run(0.3)
        stage.go(NEAR + 1.0, times=(0.01,))
        stage.run(0.05)
        assert stage.said("fault") == stage.status["fault"] == VELOCITY
        assert stage.said("robot_mode") == "reflex"
        assert stage.status["counts"][VELOCITY] > 0
        stood = stage.world.q.copy()
        stage.go(NEAR)
        stage.run(0.6)
        np.testing.assert_array_equal(stage.world.q, stood)
        assert stage.said("fault") == VELOCITY


@pytest.mark.parametrize("how", ["action", "service", "reset"])
def test_a_fault_is_recovered_from(how):
    with Stage() as stage:
        stage.go(NEAR + 1.0, times=(0.01,))
        stage.run(0.05)
        assert stage.said("fault") == VELOCITY
        if how == "action":
            goal = stage.outside.action_client("/action_server/error_recovery", RECOVERY).send(stage.new(f"{RECOVERY}_Goal"))
            assert goal.result(0)[0] == "succeeded"
        elif how == "service":
            client = stage.outside.client("/franka_control/error_recovery_service", TRIGGER)
            assert client.call(stage.new(f"{TRIGGER}_Request"), 0).success
        else:
            stage.say("/sim/reset", seed=1)
        stage.run(0.01)
        assert stage.said("fault") == stage.status["fault"] == ""
        stood = stage.world.q.copy()
        stage.run(0.1)
        np.testing.assert_array_equal(stage.world.q, stood)
        stage.go(stood + 0.05)
        stage.run(0.6)
        np.testing.assert_allclose(stage.world.q, stood + 0.05, atol=1e-12)
        assert stage.status["fault"] == ""


def test_a_refused_trajectory_changes_nothing_and_the_status_says_why():
    with Stage() as stage:
        stage.send("/fr3_arm_controller/joint_trajectory", TRAJECTORY)
        stage.run(0.1)
        assert "no joints" in stage.status["rejected"]
        assert stage.world.steps == 0


def test_topics_come_at_their_rates():
    with Stage(waits=False) as stage:
        listened = {
            "/joint_states": (STATE, 200),
            "/franka_gripper/joint_states": (STATE, 100),
            "/parts_poses": ("geometry_msgs/msg/PoseArray", 200),
            "/franka_robot_state_broadcaster/current_pose": ("geometry_msgs/msg/PoseStamped", 50),
            "/sim/tool_twist": ("geometry_msgs/msg/TwistStamped", 50),
            "/fr3_arm_controller/controller_state": ("control_msgs/msg/JointTrajectoryControllerState", 50),
        }
        heard = {topic: stage.listen(topic, type) for topic, (type, _) in listened.items()}
        stage.robot._topics._tool._looked = stage.robot._topics._twist._looked = stage.robot._topics._controller._looked = -1e9
        stage.run(1.0)
        for topic, (_, hz) in listened.items():
            stamps = [seconds(message) for message in heard[topic]]
            assert len(stamps) == hz, topic
            np.testing.assert_allclose(np.diff(stamps), 1 / hz, atol=1e-9)
        assert 0 < len(stage.heard["/sim/status"]) <= 21
        twist = heard["/sim/tool_twist"][0].twist
        assert (twist.linear.x, twist.linear.z, twist.angular.x) == (0, 2, 3)


def test_the_controller_tells_what_it_desires_and_what_the_arm_does():
    with Stage() as stage:
        heard = stage.listen("/fr3_arm_controller/controller_state", "control_msgs/msg/JointTrajectoryControllerState")
        stage.robot._topics._controller._looked = -1e9
        stage.world.behind = 0.01
        stage.go(NEAR)
        stage.run(0.3)
        told = heard[-1]
        np.testing.assert_allclose(told.error.positions, 0.01, atol=1e-9)
        np.testing.assert_allclose(told.feedback.positions, stage.world.q)
        np.testing.assert_allclose(told.reference.positions - told.feedback.positions, told.error.positions)
        assert told.reference.velocities.all()


def test_the_state_is_worked_out_once_a_step():
    with Stage(waits=False) as stage:
        stage.run(0.1)
        stage.world.looks = 0
        stage.run(1.0)
        assert stage.world.looks == pytest.approx(200, abs=5)


def test_a_loop_that_was_held_up_catches_up_and_takes_messages_in_their_time():
    with Stage() as late, Stage() as punctual:
        for stage in (late, punctual):
            stage.go(HOME + 0.05, times=(0.2,))
            stage.run(0.1)
        for number in range(30):
            for stage in (late, punctual):
                stamp = stage.clock.now
                stage.go(HOME + 0.05 + 0.002 * number, times=(0.2,), stamp=stamp)
                stage.clock.advance(0.01)
            punctual.robot.turn()
        for stage in (late, punctual):
            for _ in range(6):
                stage.robot.turn()
        assert late.status["fault"] == punctual.status["fault"] == ""
        assert late.world.steps == punctual.world.steps
        np.testing.assert_allclose(late.world.q, punctual.world.q, atol=1e-12)


def test_a_loop_that_was_held_up_for_long_leaves_time_out_and_says_so():
    with Stage() as stage:
        heard = stage.listen("/joint_states", STATE)
        stage.go(NEAR, times=(5.0,))
        stage.run(1.0)
        steps = stage.world.steps
        stage.run(3.0, every=3.0)
        assert stage.world.steps <= steps + 1
        assert seconds(heard[-1]) == pytest.approx(stage.clock.now * 1e-9, abs=0.011)
        stage.run(0.05)
        assert (stage.status["slips"], stage.status["fault"]) == (1, "communication_constraints_violation")
        assert stage.status["slipped"] == pytest.approx(3.0, abs=0.01)


def test_an_arm_at_rest_has_no_fault_of_lateness():
    with Stage(waits=False) as stage:
        stage.run(0.1)
        stage.run(3.0, every=3.0)
        stage.run(0.1)
        assert (stage.status["slips"], stage.status["fault"]) == (1, "")
        stage.go(NEAR)
        stage.run(0.6)
        np.testing.assert_allclose(stage.world.q, NEAR, atol=1e-12)


def test_a_clock_that_is_put_back_does_not_stop_the_robot():
    with Stage(waits=False) as stage:
        stage.run(1.0)
        stage.clock.advance(-0.9)
        steps = stage.world.steps
        stage.run(0.5)
        assert stage.world.steps >= steps + 99
        assert stage.status["slips"] == 1


def test_the_hand_opens_while_the_arm_is_commanded():
    with Stage(waits=False) as stage:
        type = "franka_msgs/action/Grasp"
        fields = {"width": 0.0, "epsilon": {"inner": 0.08, "outer": 0.08}, "speed": 0.1, "force": 40.0}
        goal = stage.outside.action_client("/franka_gripper/grasp", type).send(stage.new(f"{type}_Goal", **fields))
        stage.run(0.6)
        assert goal.result(0)[0] == "succeeded"
        assert stage.world.width < 0.003


def test_poses_are_handed_on_and_a_joint_that_is_too_fast_is_a_fault():
    with Stage(active="equilibrium_pose", speed_fault=1.0) as stage:
        assert stage.world.servo == "pose"
        pose = {"position": {"x": 0.4}, "orientation": {"x": 1.0, "w": 0.0}}
        stage.send("/cartesian_impedance_controller/equilibrium_pose", "geometry_msgs/msg/PoseStamped", pose=pose)
        stage.run(0.1)
        np.testing.assert_array_equal(stage.world.poses[-1][0], [0.4, 0, 0])
        assert stage.status["fault"] == ""
        stage.world.command_joints(HOME + 0.05, None)  # 10 rad/s
        stage.robot.world.step = lambda: None
        stage.world.qd = np.full(7, 2.7)
        stage.run(0.05)
        assert stage.status["fault"] == VELOCITY


def test_positions_are_handed_on_unless_they_are_no_numbers():
    with Stage(active="forward_position") as stage:
        topic, type = "/forward_position_controller/commands", "std_msgs/msg/Float64MultiArray"
        stage.send(topic, type, data=HOME + 0.01)
        stage.run(0.05)
        np.testing.assert_allclose(stage.world.q, HOME + 0.01)
        stage.send(topic, type, data=np.full(7, np.nan))
        stage.run(0.05)
        assert stage.status["fault"] == "joint_motion_generator_start_pose_invalid"
        np.testing.assert_allclose(stage.world.q, HOME + 0.01)


def test_a_path_tolerance_aborts_a_trajectory_that_the_arm_does_not_follow():
    with Stage(path_tolerance=0.02) as stage:
        stage.world.behind = 0.03
        stage.go(NEAR)
        stage.run(0.6)
        assert stage.robot.controller.aborted > 0
        assert np.abs(stage.world.q - NEAR).max() > 0.1


def test_words_are_latched():
    with Stage() as stage:
        late = stage.listen("/sim/robot_mode", STRING, LATCHED)
        assert [message.data for message in late] == ["idle"]


def test_a_controller_that_is_none_is_named():
    with pytest.raises(UserError, match=r"no controller 'joint_trajectories'; .* did you mean"):
        find_controller(make_controllers(JOINTS, "/arm"), "joint_trajectories")
    with InProcess(Bus(threaded=False)) as transport, pytest.raises(UserError, match="has a trajectory controller"):
        SimulatedRobot(World(), [PoseController()], transport, PUBLISHED["panda"], JOINTS)


def test_nothing_is_stepped_faster_than_time():
    with Stage(waits=False) as stage:
        for _ in range(50):
            stage.robot.turn()
        assert stage.world.steps == 0
        stage.clock.now += 4 * MS
        stage.robot.turn()
        assert stage.world.steps == 0
        stage.clock.now += MS
        stage.robot.turn()
        assert stage.world.steps == 1
