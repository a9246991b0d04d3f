import pytest

from robolearn.deploy.safety import Problem, State, Supervisor
from robolearn.errors import UserError

S = 1_000_000_000
STALE = Problem("stale camera", "camera front is 0.6 s old")
BLOCKED = Problem("tracking", "a joint is blocked", "stop")
ESTOP = Problem("e-stop", "e-stop pressed", "stop")
DEADMAN = Problem("deadman", "deadman let go", "wait")


def running(**options):
    supervisor = Supervisor(**options)
    supervisor.arm(0)
    return supervisor


def test_nothing_moves_before_it_is_armed():
    supervisor = Supervisor()
    assert supervisor.update(S, [], at_rest=True) is State.IDLE
    assert not supervisor.moves
    assert supervisor.scale(S) == 0


def test_the_speed_ramps_up_from_nothing_whenever_motion_begins():
    supervisor = running(ramp_s=0.5)
    assert [supervisor.scale(int(at * S)) for at in (0, 0.25, 0.5, 9)] == [0, 0.5, 1, 1]
    supervisor.update(9 * S, [STALE], at_rest=False)
    assert supervisor.scale(9 * S) == 0
    supervisor.update(int(9.5 * S), [], at_rest=True)
    assert supervisor.scale(int(9.75 * S)) == 0.5


def test_a_problem_that_passes_only_holds():
    supervisor = running(hold_s=1.0)
    assert supervisor.update(S, [STALE], at_rest=False) is State.HOLD
    assert supervisor.update(int(1.9 * S), [STALE], at_rest=True) is State.HOLD
    assert supervisor.update(2 * S, [], at_rest=True) is State.RUNNING


def test_a_problem_that_lasts_is_latched_once_the_robot_rests():
    supervisor = running(hold_s=1.0)
    supervisor.update(S, [STALE], at_rest=False)
    assert supervisor.update(int(2.1 * S), [STALE], at_rest=False) is State.STOPPING
    assert supervisor.update(int(2.2 * S), [], at_rest=False) is State.STOPPING  # that it passed comes too late
    assert supervisor.update(int(2.3 * S), [], at_rest=True) is State.FAULT
    assert supervisor.update(99 * S, [], at_rest=True) is State.FAULT
    assert supervisor.fault == "camera front is 0.6 s old for more than 1 s"


def test_an_emergency_stop_does_not_wait():
    supervisor = running()
    assert supervisor.update(1, [STALE, ESTOP], at_rest=False) is State.STOPPING
    assert supervisor.fault == "e-stop pressed"


def test_an_emergency_stop_between_episodes_is_latched_and_other_stops_are_not():
    supervisor = Supervisor()
    assert supervisor.update(1, [BLOCKED], at_rest=True) is State.IDLE
    assert supervisor.update(2, [BLOCKED, ESTOP], at_rest=True) is State.STOPPING
    assert supervisor.update(3, [], at_rest=True) is State.FAULT
    with pytest.raises(UserError, match="e-stop pressed"):
        supervisor.arm(4)


def test_an_emergency_stop_is_heard_while_holding():
    supervisor = running()
    supervisor.update(1, [STALE], at_rest=False)
    assert supervisor.update(2, [STALE, ESTOP], at_rest=False) is State.STOPPING


def test_a_deadman_that_is_let_go_holds_for_as_long_as_it_takes():
    supervisor = running(hold_s=1.0)
    for second in range(1, 100):
        assert supervisor.update(second * S, [DEADMAN], at_rest=True) is State.HOLD
    assert supervisor.update(100 * S, [], at_rest=True) is State.RUNNING


def test_a_problem_beside_a_deadman_is_given_its_own_time():
    supervisor = running(hold_s=1.0)
    supervisor.update(S, [DEADMAN], at_rest=True)
    supervisor.update(50 * S, [DEADMAN], at_rest=True)
    assert supervisor.update(int(50.5 * S), [DEADMAN, STALE], at_rest=True) is State.HOLD
    assert supervisor.update(int(51.1 * S), [DEADMAN, STALE], at_rest=True) is State.STOPPING


def test_a_fault_ends_by_rearming_alone_and_only_when_nothing_is_wrong():
    supervisor = running()
    supervisor.update(1, [ESTOP], at_rest=False)
    supervisor.update(2, [ESTOP], at_rest=True)
    with pytest.raises(UserError, match="a fault is latched \\(e-stop pressed\\)"):
        supervisor.arm(3)
    supervisor.disarm(3)
    assert supervisor.state is State.FAULT
    with pytest.raises(UserError, match="not re-armed: e-stop pressed"):
        supervisor.rearm(3, [ESTOP])
    supervisor.rearm(4, [DEADMAN])
    assert supervisor.state is State.IDLE
    supervisor.arm(5)
    assert supervisor.state is State.RUNNING


def test_a_robot_is_not_armed_while_something_is_wrong():
    with pytest.raises(UserError, match=r"not armed: camera front is 0\.6 s old"):
        Supervisor().arm(0, [STALE])


def test_rearming_what_has_no_fault_says_so():
    with pytest.raises(UserError, match="no latched fault; the robot is idle"):
        Supervisor().rearm(0)


def test_disarming_while_stopping_leaves_the_fault_to_come():
    supervisor = running()
    supervisor.update(1, [ESTOP], at_rest=False)
    supervisor.disarm(2)
    assert supervisor.update(3, [], at_rest=True) is State.FAULT


def test_every_change_is_in_the_log_with_its_reason():
    supervisor = running()
    supervisor.update(1, [ESTOP], at_rest=False)
    supervisor.update(2, [], at_rest=True)
    assert [(entry.after.value, entry.why) for entry in supervisor.log] == [
        ("running", "armed"),
        ("stopping", "e-stop pressed"),
        ("fault", "e-stop pressed"),
    ]


def test_an_emergency_stop_takes_the_place_of_another_fault_and_says_so():
    supervisor = Supervisor()
    supervisor.arm(0)
    supervisor.update(1, [BLOCKED], at_rest=False)
    supervisor.update(2, [BLOCKED], at_rest=True)
    assert supervisor.emergency(3, [BLOCKED, ESTOP])
    assert not supervisor.emergency(4, [ESTOP])
    assert (supervisor.fault, supervisor.cause, supervisor.log[-1].why) == (ESTOP.words, ESTOP.cause, ESTOP.words)
    assert supervisor.log[-1].before is supervisor.log[-1].after is State.FAULT
