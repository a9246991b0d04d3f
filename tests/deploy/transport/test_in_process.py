"""The middleware within one process: what it does beyond what all do."""

import threading

import pytest

from robolearn.deploy.transport.base import QoS, TransportError
from robolearn.deploy.transport.in_process import Bus, InProcess, ManualClock
from tests.deploy.transport.conftest import until

NUMBER = "std_msgs/msg/Float64"


@pytest.fixture
def inline():
    bus = Bus(ManualClock(5), threaded=False)
    return InProcess(bus), InProcess(bus)


def test_without_threads_everything_has_happened_when_the_call_returns(inline):
    one, other = inline
    came = []
    other.subscribe("/numbers", NUMBER, came.append)
    publisher = one.publisher("/numbers", NUMBER)
    publisher.publish(one.messages.new(NUMBER, data=1.0))
    assert came[0].received == 5
    other.serve("/home", "std_srvs/srv/Trigger", lambda _: other.messages.new("std_srvs/srv/Trigger_Response", success=True))
    assert one.client("/home", "std_srvs/srv/Trigger").call(one.messages.new("std_srvs/srv/Trigger_Request"), timeout=0).success


def test_without_threads_a_callback_is_not_interrupted_by_what_it_causes(inline):
    one, other = inline
    order = []

    def on_first(_):
        order.append("first begins")
        back.publish(other.messages.new(NUMBER))
        order.append("first ends")

    def on_back(_):
        order.append("answer")
        if len(order) < 4:
            there.publish(one.messages.new(NUMBER))

    other.subscribe("/there", NUMBER, on_first)
    one.subscribe("/back", NUMBER, on_back)
    there, back = one.publisher("/there", NUMBER), other.publisher("/back", NUMBER)
    there.publish(one.messages.new(NUMBER))
    assert order == ["first begins", "answer", "first ends", "first begins", "answer", "first ends"]


def test_without_threads_what_has_not_happened_by_itself_is_not_waited_for(inline):
    one, other = inline
    goals = []
    other.serve_action("/gripper", "control_msgs/action/GripperCommand", lambda _: True, goals.append)
    client = one.action_client("/gripper", "control_msgs/action/GripperCommand")
    goal = client.send(one.messages.new("control_msgs/action/GripperCommand_Goal"))
    with pytest.raises(TransportError, match="no result"):
        goal.result(timeout=1000)
    goals[0].finish("succeeded", other.messages.new("control_msgs/action/GripperCommand_Result"))
    assert goal.result(timeout=0)[0] == "succeeded"


def test_bytes_that_are_no_message_are_counted_and_reach_no_callback(inline):
    one, other = inline
    came = []
    subscription = other.subscribe("/numbers", NUMBER, came.append)
    publisher = one.publisher("/numbers", NUMBER)
    for raw in (b"", b"\x00\x01\x00\x00", b"\x00\x01\x00\x00" + bytes(100), b"\xff" * 12):
        publisher.send(raw)
    publisher.publish(one.messages.new(NUMBER, data=2.0))
    assert (subscription.malformed, [received.message.data for received in came]) == (4, [2.0])
    assert "/numbers: 4 malformed messages" in other.diagnostics()


def test_a_subscription_that_lags_loses_the_oldest():
    bus = Bus()
    one, other = InProcess(bus), InProcess(bus)
    go, came = threading.Event(), []

    def callback(received):
        go.wait(5)
        came.append(received.message.data)

    other.subscribe("/numbers", NUMBER, callback, QoS(depth=2))
    publisher = one.publisher("/numbers", NUMBER)
    publisher.publish(one.messages.new(NUMBER, data=0.0))
    for number in range(1, 6):
        publisher.publish(one.messages.new(NUMBER, data=float(number)))
    go.set()
    until(lambda: came[-2:] == [4.0, 5.0])
    assert len(came) <= 3
    one.close()
    other.close()


def test_two_types_on_one_topic_are_told_and_a_service_is_served_once(inline):
    one, other = inline
    one.publisher("/numbers", NUMBER)
    subscription = other.subscribe("/numbers", "std_msgs/msg/String", print)
    assert subscription.writers == 0
    assert "/numbers: this subscription has std_msgs/msg/String, another participant std_msgs/msg/Float64" in other.diagnostics()
    one.serve("/home", "std_srvs/srv/Trigger", print)
    with pytest.raises(TransportError, match="/home is served already"):
        other.serve("/home", "std_srvs/srv/Trigger", print)
