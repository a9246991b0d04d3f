"""Who may stop a robot is heard whatever the clock does, and whenever it was said."""

import pytest

from robolearn.deploy.runner.judges import OperatorJudge
from robolearn.deploy.runner.stops import Stops
from robolearn.deploy.safety import ESTOP
from robolearn.deploy.transport.base import LATCHED, WRITE, QoS, Received
from robolearn.deploy.transport.in_process import Bus, InProcess, ManualClock

BOOL = "std_msgs/msg/Bool"


def test_a_deadman_is_not_held_for_as_long_as_the_clock_went_back():
    clock = ManualClock(100_000_000_000)
    bus = Bus(clock, threaded=False)
    with InProcess(bus) as ours, InProcess(bus) as person:
        stops = Stops(ours, deadman=True)
        hand = person.publisher("/robolearn/deadman", "std_msgs/msg/Bool")
        held = person.messages.new("std_msgs/msg/Bool", data=True)
        hand.publish(held)
        assert stops.problems(clock.now) == []
        clock.advance(-20.0)
        assert [problem.cause for problem in stops.problems(clock.now)] == ["deadman"]
        hand.publish(held)
        assert stops.problems(clock.now - 50_000_000) == []  # a tick that is taken late


@pytest.mark.parametrize("topic", ["/robolearn/estop", "/cell/estop"])
@pytest.mark.parametrize("offered", [LATCHED, WRITE, QoS()])
def test_an_estop_is_heard_whatever_its_qos_and_from_before_the_run_where_it_is_latched(topic, offered):
    bus = Bus(ManualClock(100_000_000_000), threaded=False)
    with InProcess(bus) as ours, InProcess(bus) as person:
        button = person.publisher(topic, BOOL, offered)
        pressed, released = (person.messages.new(BOOL, data=data) for data in (True, False))
        button.publish(pressed)
        stops = Stops(ours, estop="/cell/estop")
        assert bool(stops.problems(1)) is (offered is LATCHED)
        for _ in range(2):
            button.publish(pressed)
            assert {problem.cause for problem in stops.problems(1)} == {ESTOP}
            button.publish(released)
            assert not stops.problems(1)


def test_what_is_said_now_releases_what_was_said_long_ago_and_not_the_other_way_round():
    bus = Bus(ManualClock(100_000_000_000), threaded=False)
    with InProcess(bus) as ours, InProcess(bus) as person:
        pressed, released = (person.messages.new(BOOL, data=data) for data in (True, False))
        person.publisher("/robolearn/estop", BOOL, LATCHED).publish(pressed)
        stops = Stops(ours)
        assert stops.problems(1)
        button = person.publisher("/robolearn/estop", BOOL)
        button.publish(released)
        assert not stops.problems(1)
        button.publish(pressed)
        assert stops.problems(1)
        stops._on_retained(Received("/robolearn/estop", BOOL, released, b"", 0))  # of a publisher that was found late
        assert stops.problems(1)


def test_a_button_that_was_let_go_before_the_run_is_not_pressed_and_one_that_was_tapped_since_has_to_be_rearmed():
    bus = Bus(ManualClock(100_000_000_000), threaded=False)
    with InProcess(bus) as ours, InProcess(bus) as person:
        button = person.publisher("/robolearn/estop", BOOL, QoS("reliable", "transient_local", 10))

        def tap():
            for data in (True, False):
                button.publish(person.messages.new(BOOL, data=data))

        tap()
        stops = Stops(ours)
        assert not stops.problems(1)
        tap()
        assert [problem.cause for problem in stops.problems(1)] == [ESTOP]
        stops.note("rearm")
        assert stops.events() == ["rearm"]
        assert not stops.problems(1)


def test_an_episodes_beginning_is_asked_for_by_topic_service_and_key_and_heard_once():
    bus = Bus(ManualClock(100_000_000_000), threaded=False)
    with InProcess(bus) as ours, InProcess(bus) as person:
        stops = Stops(ours)
        assert not stops.begins()
        word, begin = person.publisher("/robolearn/begin", BOOL), person.client("/robolearn/begin", "std_srvs/srv/Trigger")
        word.publish(person.messages.new(BOOL, data=False))
        assert not stops.begins()
        for ask in (
            lambda: word.publish(person.messages.new(BOOL, data=True)),
            lambda: begin.call(person.messages.new("std_srvs/srv/Trigger_Request"), 1.0),
            lambda: stops.note("begin"),
        ):
            ask()
            assert stops.begins()
            assert not stops.begins()
        assert stops.events() == []  # to whoever plays it is no event


def test_a_scene_is_set_when_a_person_says_so_and_what_was_said_before_is_of_another():
    said, asked = [True], []
    judge = OperatorJudge(lambda: bool(said and said.pop()), lambda: asked.append(True))
    judge.prepare(1)
    assert (judge.ready, asked) == (False, [True])
    said.append(True)
    assert judge.ready
    assert judge.ready
    judge.prepare(2)
    assert not judge.ready
