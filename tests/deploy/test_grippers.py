"""Grippers get a command where it changes, once somebody is there; robots are brought out of their faults."""

import pytest

from robolearn.deploy.grippers import FrankaGripper, GripperCommand, ParallelGripperCommand, TopicGripper
from robolearn.deploy.recovery import FrankaRecovery, TriggerRecovery
from robolearn.deploy.transport.base import TransportError
from robolearn.deploy.transport.in_process import Bus, InProcess
from robolearn.errors import UserError
from tests.deploy.transport.conftest import until


@pytest.fixture
def bus():
    return Bus(threaded=False)


@pytest.fixture
def driver(bus):
    with InProcess(bus) as transport:
        yield transport


@pytest.fixture
def ours(bus):
    with InProcess(bus) as transport:
        yield transport


def serve(driver, name, type, finish=None):
    """An action server that keeps its goals, and ends them as ``finish`` says."""
    handles = []

    def execute(handle):
        handles.append(handle)
        if finish is not None:
            handle.finish(finish, driver.messages.new(f"{type}_Result"))

    driver.serve_action(name, type, lambda goal: True, execute)
    return handles


def test_a_franka_hand_grasps_whatever_is_there_and_moves_open(driver, ours):
    grasps = serve(driver, "/franka_gripper/grasp", "franka_msgs/action/Grasp")
    moves = serve(driver, "/franka_gripper/move", "franka_msgs/action/Move")
    gripper = FrankaGripper(force=30.0)
    gripper.open(ours)
    assert gripper.problems() == []
    for closed in (True, True, True, False, False, True):
        gripper.command(closed)
    assert [len(grasps), len(moves)] == [2, 1]
    goal = grasps[0].goal
    assert (goal.width, goal.force) == (0.0, 30.0)
    assert goal.epsilon.outer == pytest.approx(0.08)
    assert moves[0].goal.width == pytest.approx(0.08)
    assert grasps[0].cancel_requested  # the next command ended it


def test_a_command_waits_for_its_server_without_making_the_tick_wait(driver, ours):
    gripper = GripperCommand("/g", opened=0.08, closed=0.0, effort=10.0)
    gripper.open(ours)
    gripper.command(True)
    assert gripper.problems() == ["nobody serves the action /g"]
    goals = serve(driver, "/g", "control_msgs/action/GripperCommand", "succeeded")
    gripper.command(True)
    gripper.command(True)
    assert [(goal.goal.command.position, goal.goal.command.max_effort) for goal in goals] == [(0.0, 10.0)]
    gripper.forget()
    gripper.command(True)
    assert len(goals) == 2


def test_newer_drivers_take_a_joints_position(driver, ours):
    goals = serve(driver, "/robotiq_gripper_controller/gripper_cmd", "control_msgs/action/ParallelGripperCommand", "succeeded")
    gripper = ParallelGripperCommand()
    gripper.open(ours)
    gripper.command(True)
    command = goals[0].goal.command
    assert list(command.name) == ["robotiq_85_left_knuckle_joint"] and list(command.position) == [0.8] and len(command.effort) == 0


@pytest.mark.parametrize("type", ["std_msgs/msg/Float64", "std_msgs/msg/Float64MultiArray"])
def test_a_gripper_may_be_a_topic(driver, ours, type):
    gripper, heard = TopicGripper("/width", type=type, opened=0.1, closed=0.01), []
    gripper.open(ours)
    gripper.command(False)
    assert gripper.problems() == ["nobody listens to /width"]
    driver.subscribe("/width", type, lambda received: heard.append(received.message.data))
    for closed in (False, False, True):
        gripper.command(closed)
    assert [float(data if type.endswith("64") else data[0]) for data in heard] == [0.1, 0.01]


def test_a_gripper_of_another_type_is_told(driver, ours):
    gripper = TopicGripper("/width")
    gripper.open(ours)
    driver.subscribe("/width", "std_msgs/msg/Float64", print)
    until(lambda: gripper.problems()[0].endswith("another participant std_msgs/msg/Float64"))
    assert gripper.problems()[0].startswith("nobody listens to /width: this publisher has std_msgs/msg/Float64MultiArray")


def test_a_gripper_without_force_is_refused():
    with pytest.raises(UserError, match="force must be above 0"):
        FrankaGripper(force=0.0)


def test_a_franka_is_brought_out_of_its_reflex(driver, ours):
    serve(driver, "/action_server/error_recovery", "franka_msgs/action/ErrorRecovery", "succeeded")
    FrankaRecovery(timeout=1.0).recover(ours)
    serve(driver, "/broken", "franka_msgs/action/ErrorRecovery", "aborted")
    with pytest.raises(TransportError, match="ended as aborted"):
        FrankaRecovery("/broken", timeout=1.0).recover(ours)
    with pytest.raises(TransportError):
        FrankaRecovery("/nobody", timeout=0.1).recover(ours)


def test_a_ur_is_unlocked_by_its_services(driver, ours):
    called = []

    def answer(name, success):
        def serve(request):
            called.append(name)
            return driver.messages.new("std_srvs/srv/Trigger_Response", success=success, message="protected")

        driver.serve(name, "std_srvs/srv/Trigger", serve)

    answer("/close", True)
    answer("/unlock", False)
    TriggerRecovery(["/unlock", "/close"]).recover(ours)
    assert called == ["/unlock", "/close"]
    with pytest.raises(TransportError, match="/unlock says: protected"):
        TriggerRecovery(["/close", "/unlock"]).recover(ours)
