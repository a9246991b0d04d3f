import numpy as np

from robolearn.deploy.limits import Workspace
from robolearn.deploy.motion import MotionGenerator
from robolearn.deploy.robots.franka import franka_limits
from robolearn.deploy.runner.contact import Contact
from robolearn.deploy.safety import Problem, State, Supervisor
from tests.deploy.runner.doubles import CHAIN, HOME, MS, here

STILL = np.zeros(7)


def setpoint(now):
    motion = MotionGenerator(CHAIN, franka_limits("panda"), Workspace((0.2, -0.35, -0.02), (0.8, 0.35, 0.45)), 100.0)
    motion.start(HOME, now - 10 * MS)
    return motion.follow(here(), now)


def causes(contact):
    return [(problem.cause, problem.reaction) for problem in contact.problems]


def test_an_arm_that_is_not_heard_any_more_is_waited_for_until_nothing_sent_can_move_it():
    contact, now = Contact(), 5_000 * MS
    contact.sent(setpoint(now))
    contact.look(now + 100 * MS, (now, HOME, STILL), resting=False)
    assert not contact.lost
    contact.look(now + 200 * MS, (now, HOME, STILL), resting=False)
    assert causes(contact) == [("contact", "hold")]
    assert not contact.again(now + 200 * MS, (now, HOME, STILL))  # still not heard
    late = now + 1000 * MS
    assert not contact.again(late, (late, HOME, STILL + 0.1))  # still moves
    assert contact.again(late, (late, HOME, STILL))
    just = setpoint(late)
    contact.sent(just)
    assert not contact.again(late, (late, HOME, STILL))  # what was just sent may still come


def test_silence_is_told_by_what_comes_and_not_by_stamps():
    contact, now, behind = Contact(silent_s=0.04), 5_000 * MS, 120 * MS  # the robot's clock is behind, its stamps with it
    contact.sent(setpoint(now))
    for after in range(0, 100, 10):
        contact.look(now + after * MS, (now + after * MS - behind, HOME, STILL), resting=False)
    assert not contact.lost
    last = now + 90 * MS
    for after in (10, 20, 30, 40):
        assert not contact.lost
        contact.look(last + after * MS, (last - behind, HOME, STILL), resting=False)
    assert contact.lost == "the arm is not heard"


def test_an_arm_that_is_heard_but_elsewhere_stops_for_good():
    contact, now = Contact(), 5_000 * MS
    contact.sent(setpoint(now))
    for after in (0, 50, 100):
        contact.look(now + after * MS, (now + after * MS, HOME + 0.2, STILL), resting=False)
        assert bool(contact.lost) == (after == 100)
    assert causes(contact) == [("contact", "stop")]


def test_a_clock_that_jumps_loses_contact_at_once():
    contact, now = Contact(), 5_000 * MS
    contact.sent(setpoint(now))
    contact.look(now, (now, HOME, STILL), resting=False, clock=True)
    assert "clock" in contact.lost


def test_an_arm_that_moves_though_it_was_told_to_stand_is_told_of():
    contact = Contact()
    for after in (0, 500, 1500):
        contact.look(after * MS, (after * MS, HOME, STILL + 0.2), resting=True)
    assert causes(contact) == [("moving", "stop")]


def test_holding_again_and_again_ends_in_a_stop():
    supervisor, stale = Supervisor(holds=3), Problem("stale", "the camera is stale")
    supervisor.arm(0)
    for number in range(4):
        supervisor.update(number * 1000 * MS, [stale], True)
        supervisor.update((number * 1000 + 500) * MS, [], True)
    assert "held more than 3 times within 10 s, the last time for: the camera is stale" in supervisor.fault
    assert supervisor.state in (State.STOPPING, State.FAULT)
