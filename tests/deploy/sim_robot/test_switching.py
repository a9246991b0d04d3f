"""Controllers change places: one has the arm, or none."""

import numpy as np
import pytest

from robolearn.deploy.arms.controllers import activate
from robolearn.deploy.sim_robot.follow import TYPE
from robolearn.deploy.sim_robot.main import make_controllers
from robolearn.deploy.sim_robot.manager import SWITCH, ControllerManager
from robolearn.deploy.transport.base import TransportError
from robolearn.deploy.transport.in_process import Bus, InProcess
from robolearn.errors import UserError
from tests.deploy.sim_robot.sim_fakes import HOME, JOINTS, Stage, trajectory

ARM, POSE, FORWARD = "fr3_arm_controller", "cartesian_impedance_controller", "forward_position_controller"
BEST_EFFORT, STRICT = 1, 2


def switch(stage, on=(), off=(), strictness=STRICT):
    request = stage.new(f"{SWITCH}_Request", activate_controllers=list(on), deactivate_controllers=list(off), strictness=strictness)
    return stage.outside.client("/controller_manager/switch_controller", SWITCH).call(request, 0).ok


def test_another_controller_takes_over_where_the_arm_is():
    with Stage() as stage:
        stage.go(HOME + 0.1)
        stage.run(0.25)
        assert switch(stage, [FORWARD], [ARM])
        stage.run(0.01)
        stood = stage.world.q.copy()
        stage.go(HOME)  # to one that is not active
        stage.run(0.5)
        np.testing.assert_array_equal(stage.world.q, stood)
        stage.send(f"/{FORWARD}/commands", "std_msgs/msg/Float64MultiArray", data=stood + 0.01)
        stage.run(0.05)
        np.testing.assert_allclose(stage.world.q, stood + 0.01)
        assert (stage.status["controller"], stage.status["ignored"], stage.status["fault"]) == (f"/{FORWARD}", 1, "")


def test_a_controller_of_poses_gets_the_servo_of_poses_and_back():
    with Stage() as stage:
        assert stage.world.servo == "joints"
        assert switch(stage, [POSE], [ARM])
        stage.run(0.01)
        assert stage.world.servo == "pose"
        assert switch(stage, [f"/{ARM}"], [f"/{POSE}"])
        stage.run(0.01)
        assert stage.world.servo == "joints"
        stage.go(HOME + 0.1)
        stage.run(0.6)
        np.testing.assert_allclose(stage.world.q, HOME + 0.1)


def test_without_any_controller_the_arm_holds():
    with Stage(waits=False) as stage:
        stage.go(HOME + 0.1)
        stage.run(0.25)
        assert switch(stage, [], [ARM])
        stage.run(0.01)
        stood = stage.world.q.copy()
        stage.run(0.5)
        np.testing.assert_array_equal(stage.world.q, stood)
        assert (stage.said("robot_mode"), stage.status["controller"]) == ("idle", "")


def test_a_switch_aborts_a_goal_but_no_fault():
    with Stage() as stage:
        goal = stage.outside.action_client(f"/{ARM}/follow_joint_trajectory", TYPE).send(
            stage.new(f"{TYPE}_Goal", trajectory=trajectory(HOME + 0.1))
        )
        stage.run(0.1)
        assert switch(stage, [POSE], [ARM])
        stage.run(0.01)
        assert goal.result(0)[1].error_string == "another controller has the arm"
        assert switch(stage, [ARM], [POSE])
        stage.go(HOME + 2.0, times=(0.01,))
        stage.run(0.05)
        assert stage.status["fault"]
        assert switch(stage, [POSE], [ARM])
        stage.run(0.1)
        assert stage.said("fault")


@pytest.mark.parametrize(
    ("on", "off", "strictness", "well"),
    [
        ([POSE], [], STRICT, False),  # two for the same joints
        ([POSE], [], BEST_EFFORT, False),
        ([POSE, FORWARD], [ARM], BEST_EFFORT, False),
        (["nobody"], [ARM], STRICT, False),
        (["nobody"], [ARM], BEST_EFFORT, False),
        ([ARM], [], STRICT, False),  # it is active
        ([ARM], [], BEST_EFFORT, True),
        ([POSE], [ARM, "nobody"], BEST_EFFORT, True),
        ([POSE], [ARM, FORWARD], BEST_EFFORT, True),
        ([POSE], [ARM, FORWARD], STRICT, False),
        ([ARM], [ARM], BEST_EFFORT, True),
        ([], [], STRICT, True),
    ],
)
def test_a_switch_is_done_as_a_whole_or_not_at_all(on, off, strictness, well):
    with Stage() as stage:
        assert switch(stage, on, off, strictness) is well
        stage.run(0.06)
        assert stage.status["controller"].strip("/") == (on[0] if well and on else ARM)


def test_an_arm_interface_activates_its_controller():
    with Stage() as stage:
        activate(stage.outside, f"/{POSE}", [f"/{ARM}"], timeout=0.0)
        stage.run(0.06)
        assert stage.status["controller"] == f"/{POSE}"
        with pytest.raises(TransportError, match=f"does not activate /{ARM}"):
            activate(stage.outside, f"/{ARM}", timeout=0.0)


def test_older_names_of_the_fields_work():
    with InProcess(Bus(threaded=False)) as transport:
        manager = ControllerManager(transport, list(make_controllers(JOINTS, ARM).values()), ARM)
        request = transport.messages.new(f"{SWITCH}_Request", start_controllers=[POSE], stop_controllers=[ARM], strictness=STRICT)
        assert transport.client("/controller_manager/switch_controller", SWITCH).call(request, 0).ok
        assert manager.active.name == f"/{POSE}"


def test_a_controller_that_nobody_has_is_named():
    with InProcess(Bus(threaded=False)) as transport, pytest.raises(UserError, match="no controller 'arm'; there are fr3_arm_controller"):
        ControllerManager(transport, list(make_controllers(JOINTS, ARM).values()), "arm")
