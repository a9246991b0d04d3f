"""The simulated hand's actions, over a transport."""

import pytest

from robolearn.deploy.sim_robot.hand import PATIENCE, FrankaHand
from robolearn.deploy.transport.in_process import Bus, InProcess, ManualClock

MS = 1_000_000


class Fingers:
    """A hand whose fingers a test moves."""

    def __init__(self):
        bus = Bus(ManualClock(), threaded=False)
        self.inside, self.outside, self.told, self.now = InProcess(bus), InProcess(bus), [], 0
        self.hand = FrankaHand(self.inside, self.told.append)

    def ask(self, name, type, **fields):
        goal = self.outside.action_client(f"/franka_gripper/{name}", type).send(self.outside.messages.new(f"{type}_Goal", **fields))
        return goal

    def at(self, width, speed=0.05, after=0.02):
        self.now += round(after * 1e9)
        self.hand.step(width, speed, self.now)


@pytest.fixture
def fingers():
    made = Fingers()
    yield made
    made.outside.close()
    made.inside.close()


def move(fingers, width=0.08):
    return fingers.ask("move", "franka_msgs/action/Move", width=width, speed=0.1)


def grasp(fingers, width=0.03, inner=0.005, outer=0.005):
    return fingers.ask("grasp", "franka_msgs/action/Grasp", width=width, epsilon={"inner": inner, "outer": outer}, speed=0.1, force=40.0)


def ended(goal):
    assert goal.accepted(0)
    status, result = goal.result(0)
    return status, getattr(result, "success", None), getattr(result, "error", None)


def test_a_move_succeeds_when_the_fingers_are_there(fingers):
    goal = move(fingers)
    assert fingers.hand.busy
    for width in (0.02, 0.05, 0.07):
        fingers.at(width)
    assert fingers.told == [0.08]
    assert fingers.hand.busy
    fingers.at(0.079)
    assert ended(goal) == ("succeeded", True, "")
    assert not fingers.hand.busy


def test_a_grasp_that_stops_within_its_tolerance_holds_something(fingers):
    goal = grasp(fingers)
    for width in (0.06, 0.04):
        fingers.at(width)
    for _ in range(20):
        fingers.at(0.026, speed=0.0)
    assert ended(goal) == ("succeeded", True, "")


@pytest.mark.parametrize("width", [0.024, 0.036])
def test_a_grasp_that_stops_outside_of_its_tolerance_has_failed(fingers, width):
    goal = grasp(fingers)
    for _ in range(20):
        fingers.at(width, speed=0.0)
    assert ended(goal) == ("aborted", False, f"the fingers stand at {width:.3f} m")


def test_a_goal_that_comes_to_nothing_ends_after_its_patience(fingers):
    goal = grasp(fingers)
    for _ in range(round(PATIENCE / 0.02) + 2):
        fingers.at(0.06)
    assert ended(goal)[0] == "aborted"


def test_the_newest_goal_wins(fingers):
    first, second = move(fingers, 0.08), move(fingers, 0.01)
    fingers.at(0.04)
    assert fingers.told == [0.01]
    assert ended(first) == ("aborted", False, "another goal came")
    fingers.at(0.01)
    assert ended(second)[0] == "succeeded"


def test_a_goal_is_canceled(fingers):
    goal = move(fingers)
    fingers.at(0.04)
    goal.cancel()
    fingers.at(0.05)
    assert ended(goal) == ("canceled", False, "canceled")


def test_homing_opens(fingers):
    goal = fingers.ask("homing", "franka_msgs/action/Homing")
    fingers.at(0.04)
    fingers.at(0.08)
    assert fingers.told == [0.08]
    assert ended(goal)[0] == "succeeded"


def test_a_gripper_command_says_whether_it_got_there_or_stalled(fingers):
    command = "control_msgs/action/GripperCommand"
    there = fingers.ask("gripper_action", command, command={"position": 0.01})
    fingers.at(0.02)
    result = there.result(0)[1]
    assert (result.position, result.stalled, result.reached_goal) == (0.01, False, True)
    stalled = fingers.ask("gripper_action", command, command={"position": 0.0})
    for _ in range(20):
        fingers.at(0.02, speed=0.0)
    status, result = stalled.result(0)
    assert (status, result.position, result.stalled, result.reached_goal) == ("succeeded", 0.01, True, False)


@pytest.mark.parametrize("width", [-0.01, float("nan"), float("inf"), 1e5])
def test_a_width_that_is_none_is_refused(fingers, width):
    assert not move(fingers, width).accepted(0)
    assert not fingers.hand.busy


def test_a_reset_aborts_what_is_under_way(fingers):
    goal = grasp(fingers)
    fingers.at(0.05)
    fingers.hand.forget()
    assert ended(goal) == ("aborted", False, "the scene was reset")
