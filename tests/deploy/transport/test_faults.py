"""Injected faults: each does what it says, by the generator handed in, and ends when it is told to."""

import math
import threading
import time

import numpy as np
import pytest

from robolearn.deploy.transport.base import QoS, TransportError
from robolearn.deploy.transport.faults import Faults, FaultyTransport
from robolearn.deploy.transport.in_process import Bus, InProcess, ManualClock
from robolearn.errors import UserError
from tests.deploy.transport.conftest import until

NUMBER = "std_msgs/msg/Float64"
STEP = 0.1  # between messages [s]


class Line:
    """One participant sends numbers, another with faults hears them, both by a clock that is moved by hand."""

    def __init__(self, seed=0):
        self.clock = ManualClock()
        bus = Bus(self.clock, threaded=False)
        self.near = FaultyTransport(InProcess(bus), np.random.default_rng(seed), threaded=False)
        self.far = InProcess(bus)
        self.came = []
        self.near.subscribe("/heard", NUMBER, self._hear)
        self.sender = self.far.publisher("/heard", NUMBER)
        self.told = []
        self.far.subscribe("/told", NUMBER, lambda received: self.told.append(received.message.data))
        self.teller = self.near.publisher("/told", NUMBER)

    def _hear(self, received):
        assert math.isnan(received.message.data) == math.isnan(self.near.messages.decode(NUMBER, received.raw).data)
        self.came.append((round((self.clock.now - 1e9) / 1e9, 3), received.message.data))

    def send(self, count):
        for number in range(count):
            self.sender.publish(self.far.messages.new(NUMBER, data=float(number)))
            self.teller.publish(self.far.messages.new(NUMBER, data=float(number)))
            self.wait(STEP)

    def wait(self, seconds):
        self.clock.advance(seconds)
        self.near.release()

    @property
    def numbers(self):
        return [number for _, number in self.came]


def test_without_faults_nothing_changes():
    line = Line()
    line.send(5)
    assert line.came == [(pytest.approx(STEP * number), float(number)) for number in range(5)]
    assert line.told == line.numbers


def test_messages_are_lost_in_the_share_that_was_asked_both_ways():
    line = Line()
    line.near.set(Faults(drop=0.3))
    line.send(1000)
    assert len(line.came) == pytest.approx(700, abs=50)
    assert len(line.told) == pytest.approx(700, abs=50)


def test_no_more_are_lost_in_a_row_than_was_asked():
    line = Line()
    line.near.set(Faults(drop=0.8, in_a_row=2))
    line.send(1000)
    assert set(np.diff(line.numbers)) == {1, 2, 3}


def test_the_same_generator_gives_the_same_faults_and_another_gives_others():
    def heard(seed):
        line = Line(seed)
        line.near.set(Faults(drop=0.3, reorder=0.2, duplicate=0.2))
        line.send(100)
        return line.numbers

    assert heard(1) == heard(1) != heard(2)


def test_messages_are_late_by_the_delay():
    line = Line()
    line.near.set(Faults(delay=(0.25, 0.25)), "/heard")
    line.send(3)
    line.wait(1.0)
    assert [number for _, number in line.came] == [0.0, 1.0, 2.0]
    assert line.came[0][0] == pytest.approx(0.3)  # the first look at the clock after 0.25 s
    assert line.told == [0.0, 1.0, 2.0]  # another topic is not late


def test_a_message_that_is_held_back_comes_after_the_next():
    line = Line()
    line.near.set(Faults(reorder=1.0), "/heard")
    line.send(4)
    assert line.numbers == [1.0, 0.0, 3.0, 2.0]


def test_messages_come_twice():
    line = Line()
    line.near.set(Faults(duplicate=1.0), "/heard")
    line.send(2)
    assert line.numbers == [0.0, 0.0, 1.0, 1.0]


def test_numbers_become_nan_and_so_do_their_bytes():
    line = Line()
    line.near.set(Faults(nan=1.0))
    line.send(3)
    assert all(math.isnan(number) for number in line.numbers + line.told)


def test_one_number_of_a_message_becomes_nan_and_the_senders_own_stays():
    line = Line()
    came = []
    line.far.subscribe("/joints", "sensor_msgs/msg/JointState", came.append)
    publisher = line.near.publisher("/joints", "sensor_msgs/msg/JointState")
    line.near.set(Faults(nan=1.0))
    message = line.near.messages.new("sensor_msgs/msg/JointState", name=["a"] * 7, position=np.arange(7.0), velocity=np.arange(7.0))
    publisher.publish(message)
    assert np.isnan(np.concatenate([came[0].message.position, came[0].message.velocity])).sum() == 1
    assert not np.isnan(message.position).any()


def test_what_a_stall_holds_back_comes_at_once_in_order():
    line = Line()
    line.near.stall(0.35)
    line.send(3)
    assert not line.came and not line.told
    line.wait(STEP)
    assert line.numbers == line.told == [0.0, 1.0, 2.0]
    assert len({when for when, _ in line.came}) == 1


def test_faults_end_when_they_are_cleared():
    line = Line()
    line.near.set(Faults(drop=1.0))
    line.send(2)
    line.near.clear()
    line.send(2)
    assert line.numbers == line.told == [0.0, 1.0]


def test_a_topics_own_faults_go_before_those_of_all():
    line = Line()
    line.near.set(Faults(drop=1.0))
    line.near.set(Faults(), "/heard")
    line.send(2)
    assert (line.numbers, line.told) == ([0.0, 1.0], [])


def test_a_clock_jumps_there_and_back_and_the_messages_stamps_with_it():
    line = Line()
    stamps = []
    line.near.subscribe("/heard", NUMBER, lambda received: stamps.append(received.received))
    before = line.near.now()
    line.near.jump(-3600)
    assert line.near.now() == before - 3600 * 10**9
    line.send(1)
    assert stamps == [before - 3600 * 10**9]
    line.near.jump(3600)
    assert line.near.now() == line.clock.now


def test_a_call_waits_for_the_end_of_a_stall_and_no_longer_than_its_timeout():
    bus = Bus()
    with InProcess(bus) as far, FaultyTransport(InProcess(bus), np.random.default_rng(0)) as near:
        far.serve("/home", "std_srvs/srv/Trigger", lambda _: far.messages.new("std_srvs/srv/Trigger_Response", success=True))
        client, request = near.client("/home", "std_srvs/srv/Trigger"), near.messages.new("std_srvs/srv/Trigger_Request")
        near.stall(0.2)
        with pytest.raises(TransportError, match=r"/home did not answer within 0\.05 s"):
            client.call(request, timeout=0.05)
        began = time.monotonic()
        assert client.call(request, timeout=5).success
        assert 0.05 < time.monotonic() - began < 2


def test_late_messages_come_by_themselves_one_at_a_time_and_none_after_closing():
    bus = Bus()
    came, inside = [], threading.Lock()

    def callback(received):
        assert inside.acquire(blocking=False)
        time.sleep(0.001)
        came.append(received.message.data)
        inside.release()

    far = InProcess(bus)
    near = FaultyTransport(InProcess(bus), np.random.default_rng(0))
    near.subscribe("/late", NUMBER, callback, QoS("reliable", depth=100))
    near.subscribe("/now", NUMBER, callback, QoS("reliable", depth=100))
    near.set(Faults(delay=(0.01, 0.02)), "/late")
    publishers = [far.publisher(topic, NUMBER) for topic in ("/late", "/now")]
    for number in range(20):
        for publisher in publishers:
            publisher.publish(far.messages.new(NUMBER, data=float(number)))
    until(lambda: len(came) == 40)
    near.stall(0.1)
    publishers[0].publish(far.messages.new(NUMBER, data=99.0))
    near.close()
    time.sleep(0.15)
    assert 99.0 not in came and not near.inner.diagnostics()
    far.close()


@pytest.mark.parametrize("wrong", [{"drop": 1.5}, {"nan": -0.1}, {"delay": (-1.0, 0.0)}])
def test_shares_and_delays_that_mean_nothing_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Faults(**wrong)
