"""Who may stop a robot is heard whatever the clock does."""

from robolearn.deploy.runner.stops import Stops
from robolearn.deploy.transport.in_process import Bus, InProcess, ManualClock


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
