"""What every backend promises."""

import threading
import time

import numpy as np
import pytest

from robolearn.deploy.transport.base import LATCHED, QoS, TransportError
from robolearn.errors import UserError
from tests.deploy.transport.conftest import until

JOINTS = "sensor_msgs/msg/JointState"
NUMBER = "std_msgs/msg/Float64"
TRIGGER = "std_srvs/srv/Trigger"
GRIPPER = "control_msgs/action/GripperCommand"
ALL = QoS("reliable", depth=100)


def joint_state(transport, position):
    names = [f"joint{number}" for number in range(len(position))]
    header = {"stamp": {"sec": 12, "nanosec": 345}, "frame_id": "base"}
    return transport.messages.new(JOINTS, header=header, name=names, position=position)


def connect(writer, reader, topic="/numbers", type=NUMBER, offered=ALL, asked=ALL):
    """A publisher, a subscription that have found each other, and the list that the messages come into."""
    came = []
    subscription = reader.subscribe(topic, type, came.append, asked)
    publisher = writer.publisher(topic, type, offered)
    until(lambda: publisher.readers and subscription.writers)
    return publisher, subscription, came


def send(writer, publisher, *numbers):
    for number in numbers:
        publisher.publish(writer.messages.new(NUMBER, data=float(number)))


def test_a_message_arrives_whole_with_its_bytes_and_the_time_it_came(pair):
    one, other = pair
    publisher, _, came = connect(one, other, "/joint_states", JOINTS)
    before = other.now()
    raw = publisher.publish(joint_state(one, [0.5, float("nan"), -1.25]))
    until(lambda: came)
    (received,) = came
    assert (received.topic, received.type) == ("/joint_states", JOINTS)
    assert received.message.name == ["joint0", "joint1", "joint2"]
    np.testing.assert_array_equal(received.message.position, [0.5, np.nan, -1.25])
    assert (received.message.header.stamp.sec, received.message.header.stamp.nanosec) == (12, 345)
    assert received.raw[: len(raw)] == raw
    assert before <= received.received <= other.now()


def test_messages_arrive_in_the_order_they_were_sent(pair):
    one, other = pair
    publisher, _, came = connect(one, other)
    for number in range(50):
        send(one, publisher, number)
        time.sleep(0.001)
    until(lambda: len(came) == 50)
    assert [received.message.data for received in came] == list(range(50))


def test_a_picture_arrives_whole(pair):
    one, other = pair
    publisher, _, came = connect(one, other, "/camera/image_raw", "sensor_msgs/msg/Image")
    pixels = np.random.default_rng(0).integers(0, 256, 480 * 640 * 3, np.uint8)
    publisher.publish(one.messages.new("sensor_msgs/msg/Image", height=480, width=640, step=1920, encoding="rgb8", data=pixels))
    until(lambda: came)
    np.testing.assert_array_equal(came[0].message.data, pixels)


def test_both_ends_see_each_other_come_and_go(pair):
    one, other = pair
    publisher, subscription, _ = connect(one, other)
    assert (publisher.readers, subscription.writers) == (1, 1)
    one.close()
    until(lambda: subscription.writers == 0)


def test_a_late_subscription_gets_the_latched_message_and_only_that(pair):
    one, other = pair
    latched, volatile = one.publisher("/latched", NUMBER, LATCHED), one.publisher("/volatile", NUMBER)
    send(one, latched, 1, 2)
    send(one, volatile, 3)
    came = []
    other.subscribe("/latched", NUMBER, came.append, LATCHED)
    later = other.subscribe("/volatile", NUMBER, came.append)
    until(lambda: came and later.writers)
    time.sleep(0.05)
    assert [received.message.data for received in came] == [2.0]


def test_a_message_of_another_type_is_refused_before_it_is_sent(pair):
    one, other = pair
    publisher, _, came = connect(one, other)
    with pytest.raises(TransportError, match=r"/numbers carries std_msgs/msg/Float64, not sensor_msgs/msg/JointState"):
        publisher.publish(joint_state(one, [0.0]))
    with pytest.raises(UserError, match=r"no message type 'std_msgs/msg/Flot64'.*did you mean 'std_msgs/msg/Float64'"):
        one.publisher("/other", "std_msgs/msg/Flot64")
    assert not came


def test_an_exception_in_a_callback_is_told_and_the_next_message_still_comes(pair):
    one, other = pair
    came = []

    def callback(received):
        came.append(received.message.data)
        if received.message.data == 0:
            raise RuntimeError("spilt the coffee")

    other.subscribe("/numbers", NUMBER, callback, ALL)
    publisher = one.publisher("/numbers", NUMBER, ALL)
    until(lambda: publisher.readers)
    send(one, publisher, 0, 1)
    until(lambda: len(came) == 2)
    assert any("spilt the coffee" in line for line in other.diagnostics())


def test_callbacks_come_one_at_a_time(pair):
    one, other = pair
    inside, most = [], []

    def callback(_):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        inside.pop()

    publishers = []
    for topic in ("/a", "/b"):
        other.subscribe(topic, NUMBER, callback, ALL)
        publishers.append(one.publisher(topic, NUMBER, ALL))
    until(lambda: all(publisher.readers for publisher in publishers))
    threads = [threading.Thread(target=send, args=(one, publisher, *range(10))) for publisher in publishers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(most) == 20)
    assert max(most) == 1


@pytest.mark.parametrize(
    ("offered", "asked", "policy"),
    [(QoS("best_effort"), QoS("reliable"), "reliability"), (QoS("reliable"), LATCHED, "durability")],
)
def test_quality_of_service_that_does_not_match_is_named_on_both_sides(pair, offered, asked, policy):
    one, other = pair
    if one.name.startswith("rospy"):
        pytest.skip("ROS 1 has no quality of service that could fail to match")
    came = []
    subscription = other.subscribe("/numbers", NUMBER, came.append, asked)
    publisher = one.publisher("/numbers", NUMBER, offered)
    wanted = f"/numbers: incompatible QoS, policy {policy}"
    until(lambda: all(any(line.startswith(wanted) for line in side.diagnostics()) for side in pair))
    send(one, publisher, 1)
    assert (publisher.readers, subscription.writers, came) == (0, 0, [])


def test_a_topic_without_counterpart_is_told(pair):
    one, _ = pair
    one.subscribe("/nobody", NUMBER, print)
    assert "/nobody: no publisher for this subscription" in one.diagnostics()


def test_a_service_answers(pair):
    one, other = pair
    other.serve(
        "/home", "std_srvs/srv/SetBool", lambda request: other.messages.new("std_srvs/srv/SetBool_Response", success=not request.data)
    )
    client = one.client("/home", "std_srvs/srv/SetBool")
    until(lambda: client.ready)
    for asked in (True, False):
        answer = client.call(one.messages.new("std_srvs/srv/SetBool_Request", data=asked), timeout=5)
        assert answer.success is not asked


def test_an_answer_is_not_lost_among_those_to_others_while_this_process_is_busy(pair):
    one, other = pair
    other.serve("/echo", TRIGGER, lambda _: other.messages.new(f"{TRIGGER}_Response", message="here"))
    mine, theirs = one.client("/echo", TRIGGER), other.client("/echo", TRIGGER)
    busy = threading.Event()
    one.subscribe("/busy", "std_msgs/msg/Bool", lambda _: (busy.set(), time.sleep(0.5)))
    publisher = other.publisher("/busy", "std_msgs/msg/Bool")
    until(lambda: mine.ready and theirs.ready and publisher.readers)
    publisher.publish(other.messages.new("std_msgs/msg/Bool"))
    assert busy.wait(5)
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(mine.call(one.messages.new(f"{TRIGGER}_Request"), timeout=5).message), daemon=True
    )
    thread.start()
    time.sleep(0.05)
    for _ in range(30):
        theirs.call(other.messages.new(f"{TRIGGER}_Request"), timeout=5)
    thread.join()
    assert answers == ["here"]


def test_each_of_many_clients_gets_the_answer_to_its_own_request(pair):
    one, other = pair
    other.serve("/echo", TRIGGER, lambda _: other.messages.new(f"{TRIGGER}_Response", message=str(time.time_ns())))
    clients = [one.client("/echo", TRIGGER), other.client("/echo", TRIGGER)]
    until(lambda: all(client.ready for client in clients))
    answers = []

    def ask(client):
        for _ in range(20):
            answers.append(client.call(one.messages.new(f"{TRIGGER}_Request"), timeout=5).message)

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 40


def test_a_service_that_nobody_has_or_that_does_not_answer_is_an_error_in_time(pair):
    one, other = pair
    client = one.client("/broken", TRIGGER)
    with pytest.raises(TransportError, match="nobody serves /broken"):
        client.call(one.messages.new(f"{TRIGGER}_Request"), timeout=5)
    other.serve("/broken", TRIGGER, lambda _: 1 / 0)
    until(lambda: client.ready)
    began = time.monotonic()
    with pytest.raises(TransportError, match=r"/broken (did not answer within 0\.2 s|.*its handler failed)"):
        client.call(one.messages.new(f"{TRIGGER}_Request"), timeout=0.2)
    assert time.monotonic() - began < 2


def test_a_callback_that_would_wait_for_its_own_transport_is_told_so(pair):
    one, other = pair
    if one.name == "rospy":
        pytest.skip("callbacks are not on the transport's own thread here: its process tests this by itself")
    other.serve("/home", TRIGGER, lambda _: other.messages.new(f"{TRIGGER}_Response"))
    client, told = one.client("/home", TRIGGER), []

    def callback(_):
        try:
            client.call(one.messages.new(f"{TRIGGER}_Request"), timeout=5)
        except TransportError as error:
            told.append(str(error))

    until(lambda: client.ready)
    one.subscribe("/go", NUMBER, callback, ALL)
    go = other.publisher("/go", NUMBER, ALL)
    until(lambda: go.readers)
    send(other, go, 1)
    until(lambda: told)
    assert "a callback cannot wait" in told[0]


class Gripper:
    """A server that takes goals within 0.1 m and does nothing by itself."""

    def __init__(self, transport):
        self.new, self.goals = transport.messages.new, []
        transport.serve_action("/gripper", GRIPPER, lambda goal: goal.command.position <= 0.1, self.goals.append)

    def result(self, position):
        return self.new(f"{GRIPPER}_Result", position=position)


@pytest.fixture
def gripper(pair):
    one, other = pair
    server = Gripper(other)
    client = one.action_client("/gripper", GRIPPER)
    until(lambda: client.ready)
    goal = one.messages.new(f"{GRIPPER}_Goal", command={"position": 0.04, "max_effort": 20.0})
    return server, client, goal


@pytest.mark.parametrize("ending", ["succeeded", "aborted"])
def test_an_action_takes_a_goal_tells_how_it_goes_and_how_it_ended(gripper, ending):
    server, client, goal = gripper
    told = []
    sent = client.send(goal, told.append)
    assert sent.accepted(5)
    until(lambda: server.goals)
    (handle,) = server.goals
    assert handle.goal.command.max_effort == 20.0
    for position in (0.08, 0.06):
        handle.feedback(server.new(f"{GRIPPER}_Feedback", position=position))
    until(lambda: len(told) == 2)
    handle.finish(ending, server.result(0.041))
    status, result = sent.result(5)
    assert (status, result.position, [feedback.position for feedback in told]) == (ending, 0.041, [0.08, 0.06])


def test_a_goal_is_canceled_when_the_client_asks(gripper):
    server, client, goal = gripper
    first, second = client.send(goal), client.send(goal)
    assert first.accepted(5) and second.accepted(5)
    until(lambda: len(server.goals) == 2)
    first.cancel()
    until(lambda: any(handle.cancel_requested for handle in server.goals))
    assert [handle.cancel_requested for handle in server.goals] == [True, False]
    server.goals[0].finish("canceled", server.result(0.05))
    assert first.result(5)[0] == "canceled"
    with pytest.raises(TransportError, match=r"had no result within 0\.05 s"):
        second.result(0.05)


def test_a_rejected_goal_has_no_result(gripper, pair):
    server, client, _ = gripper
    sent = client.send(pair[0].messages.new(f"{GRIPPER}_Goal", command={"position": 0.5}))
    assert not sent.accepted(5)
    with pytest.raises(TransportError, match="rejected"):
        sent.result(1)
    assert not server.goals


def test_a_goal_ends_once(gripper):
    server, client, goal = gripper
    client.send(goal)
    until(lambda: server.goals)
    server.goals[0].finish("succeeded", server.result(0.04))
    with pytest.raises(TransportError, match="ended already"):
        server.goals[0].finish("aborted", server.result(0.04))


def test_an_action_that_nobody_serves_is_an_error(pair):
    one, _ = pair
    client = one.action_client("/nobody", GRIPPER)
    assert not client.ready
    with pytest.raises(TransportError, match="nobody serves the action /nobody"):
        client.send(one.messages.new(f"{GRIPPER}_Goal"))


def test_a_closed_transport_has_no_thread_left_and_sends_nothing(pair):
    one, other = pair
    publisher, _, came = connect(one, other)
    one.close()
    one.close()
    with pytest.raises(TransportError, match="closed"):
        send(one, publisher, 1)
    other.close()
    assert not [thread.name for thread in threading.enumerate() if "in-process" in thread.name or "cyclonedds" in thread.name]
    assert not came


def test_a_publisher_knows_of_others_who_publish_the_same_topic(pair):
    one, other = pair
    mine = one.publisher("/commands", NUMBER, ALL)
    assert mine.rivals == 0
    theirs = other.publisher("/commands", NUMBER, ALL)
    until(lambda: mine.rivals == 1 and theirs.rivals == 1)
