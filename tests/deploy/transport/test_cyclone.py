"""What is Cyclone DDS's own: names, configuration, the wire of services, hostile participants, and speed."""

import os
import struct
import sys
import time

import numpy as np
import pytest

pytest.importorskip("cyclonedds")

from cyclonedds.builtin import BuiltinDataReader, BuiltinTopicDcpsPublication
from cyclonedds.qos import Policy

from robolearn.deploy.messages import MalformedError, Messages
from robolearn.deploy.transport.base import LATCHED, TransportError
from robolearn.deploy.transport.cyclone import Cyclone
from robolearn.deploy.transport.cyclone_config import RANGES, Network, read_network
from robolearn.deploy.transport.cyclone_services import identity, unwrapped, wrapped
from robolearn.deploy.transport.cyclone_types import TypeMaker, topic_name, type_name
from tests.deploy.messages.samples import random_message, spoilt
from tests.deploy.transport.conftest import own_domain, until
from tests.deploy.transport.hostile import TOPIC, TYPE, Forger
from tests.deploy.transport.processes import end_peer, start_peer

INPUTS = int(os.environ.get("ROBOLEARN_FUZZ", "1000"))


def test_names_are_those_of_ros_2():
    assert topic_name("/joint_states") == topic_name("joint_states") == "rt/joint_states"
    assert topic_name("/arm/home", "rq", "Request") == "rq/arm/homeRequest"
    assert (
        type_name("control_msgs/action/GripperCommand_SendGoal_Request") == "control_msgs::action::dds_::GripperCommand_SendGoal_Request_"
    )


def test_types_serialise_as_the_messages_do():
    messages, random = Messages(), np.random.default_rng(8)
    types = TypeMaker(messages)
    for type in ("sensor_msgs/msg/JointState", "trajectory_msgs/msg/JointTrajectory", "sensor_msgs/msg/CameraInfo", "std_msgs/msg/Empty"):
        message = random_message(messages, type, random)
        theirs = types.message(type).deserialize(messages.encode(message))
        assert theirs.serialize(use_version_2=False) == messages.encode(message)


def test_requests_carry_who_asks_and_a_number_before_their_body():
    raw = Messages().encode(Messages().new("std_srvs/srv/SetBool_Request", data=True))
    sent = wrapped(0x1122334455667788, 5, raw)
    assert sent == b"\x00\x01\x00\x00" + bytes.fromhex("8877665544332211") + struct.pack("<q", 5) + b"\x01"
    assert unwrapped(sent) == (0x1122334455667788, 5, raw)
    for short in (b"", sent[:19], b"\x07" + sent[1:]):
        with pytest.raises(MalformedError):
            unwrapped(short)
    assert identity("client").startswith("clientid=") and identity("client").count(".") == 15


@pytest.mark.parametrize(
    ("environment", "domain", "reach", "peers"),
    [
        ({}, 0, "LOCALHOST", ()),
        ({"ROS_DOMAIN_ID": "42", "ROS_LOCALHOST_ONLY": "1"}, 42, "LOCALHOST", ()),
        ({"ROS_LOCALHOST_ONLY": "0"}, 0, "SUBNET", ()),
        ({"ROS_LOCALHOST_ONLY": "1", "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, 0, "LOCALHOST", ()),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "subnet", "ROS_STATIC_PEERS": "robot;10.0.0.2"}, 0, "SUBNET", ("robot", "10.0.0.2")),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, 0, "OFF", ()),
    ],
)
def test_ros_environment_says_domain_and_reach(environment, domain, reach, peers):
    assert read_network(environment) == Network(domain, reach, peers)


@pytest.mark.parametrize(
    "environment",
    [
        {"ROS_DOMAIN_ID": "233"},
        {"ROS_DOMAIN_ID": "one"},
        {"ROS_DOMAIN_ID": "-1"},
        {"ROS_LOCALHOST_ONLY": "yes"},
        {"ROS_AUTOMATIC_DISCOVERY_RANGE": "EVERYWHERE"},
    ],
)
def test_ros_environment_that_means_nothing_is_refused_by_name(environment):
    ((name, value),) = environment.items()
    with pytest.raises(TransportError, match=f"{name} must be .*'{value}'"):
        read_network(environment)


def test_localhost_means_the_loopback_interface_without_multicast():
    xml = read_network({}).xml
    assert 'NetworkInterface name="lo"' in xml and "<AllowMulticast>false<" in xml and 'Peer address="127.0.0.1"' in xml


@pytest.mark.parametrize("reach", RANGES)
def test_every_reach_is_a_configuration_that_cyclone_dds_takes(reach, capfd):
    Cyclone("reach", network=Network(own_domain(), reach, ("127.0.0.1",))).close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("uri", "reason"),
    [("<CycloneDDS><Domain><Genral/></Domain></CycloneDDS>", "Genral: unknown element"), ("file:///nope.xml", "can't open")],
)
def test_the_users_own_configuration_counts_and_its_fault_is_told(monkeypatch, uri, reason):
    monkeypatch.setenv("CYCLONEDDS_URI", uri)
    network = read_network({"CYCLONEDDS_URI": uri, "ROS_DOMAIN_ID": str(own_domain())})
    assert network.xml is None
    with pytest.raises(TransportError, match=reason):
        Cyclone("wrong", network=network)


def test_one_process_has_one_configuration_of_a_domain():
    other = Network(own_domain(), "OFF")
    refused = pytest.raises(TransportError, match="with another network configuration")
    with Cyclone("first", network=Network(own_domain(), "LOCALHOST")), refused:
        Cyclone("second", network=other)
    Cyclone("second", network=other).close()


def test_a_node_and_its_types_can_be_seen_by_ros():
    with Cyclone("seen", network=Network(own_domain(), "LOCALHOST")) as transport:
        told = []
        transport.subscribe("/x", "std_msgs/msg/Float64", print)
        info = "rmw_dds_common/msg/ParticipantEntitiesInfo"
        transport.reader("ros_discovery_info", transport.types.message(info), LATCHED, "", told.append)
        transport.publisher("/joint_states", "sensor_msgs/msg/JointState")
        until(lambda: told and len(transport.messages.decode(info, told[-1]).node_entities_info_seq[0].writer_gid_seq) == 1)
        node = transport.messages.decode(info, told[-1]).node_entities_info_seq[0]
        assert (node.node_name, len(node.reader_gid_seq)) == ("seen", 2)
        reader = BuiltinDataReader(transport.participant, BuiltinTopicDcpsPublication)
        (found,) = [sample for sample in reader.take(N=20) if sample.topic_name == "rt/joint_states"]
        assert found.type_name == "sensor_msgs::msg::dds_::JointState_"
        assert found.qos[Policy.Userdata].data == b"typehash=RIHS01_a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e;"


@pytest.fixture
def attacked():
    """A subscription, what it got, and somebody who forges samples of its publisher's."""
    domain = own_domain() + 115
    with Cyclone("attacked", network=Network(domain, "LOCALHOST")) as transport:
        came = []
        subscription = transport.subscribe(TOPIC, TYPE, came.append)
        peer = start_peer(sys.executable, "-m", "tests.deploy.transport.hostile", domain=domain)
        forger = Forger(peer.stdout.readline().strip(), domain)
        try:
            until(lambda: subscription.writers)
            yield transport, subscription, came, forger
        finally:
            forger.close()
            end_peer(peer)


def honest(messages):
    raw = messages.encode(messages.new(TYPE, name=["abcd"], position=[1.5]))
    return raw + bytes(-len(raw) % 4)


def still_lives(came, forger, raw):
    before = len(came)
    until(lambda: forger.sample(raw) or len(came) > before)


def test_a_forged_sample_that_is_no_message_is_counted_and_reaches_no_callback(attacked):
    transport, subscription, came, forger = attacked
    raw = honest(transport.messages)
    still_lives(came, forger, raw)
    for number, wrong in enumerate((raw.replace(b"abcd", b"\xff\xfe\xfd\xfc"), raw + bytes(64))):  # these pass Cyclone DDS's own check
        forger.sample(wrong)
        until(lambda number=number: subscription.malformed > number)
    assert any(line.startswith(f"{TOPIC}: ") and line.endswith(" malformed messages") for line in transport.diagnostics())
    still_lives(came, forger, raw)
    assert {received.raw for received in came} == {raw}


@pytest.mark.fuzz
def test_forged_samples_and_packets_neither_end_the_transport_nor_reach_a_callback_unwell(attacked):
    transport, subscription, came, forger = attacked
    raw, random = honest(transport.messages), np.random.default_rng(9)
    for number in range(INPUTS):
        hostile = spoilt(raw, random)
        [forger.sample, forger.packet, forger.protocol][number % 3](hostile)
        if number % 50 == 0:
            time.sleep(0.005)  # or the socket's buffer drops most of them
    still_lives(came, forger, raw)
    assert all(len(received.message.name) < 20 and transport.messages.decode(TYPE, received.raw) for received in came)
    assert subscription.writers == 1
    assert not [line for line in transport.diagnostics() if "raised" in line]


def test_a_vga_picture_is_serialised_and_read_in_two_milliseconds():
    messages = Messages()
    picture = messages.new("sensor_msgs/msg/Image", height=480, width=640, step=1920, encoding="rgb8", data=np.zeros(921600, np.uint8))
    raw = messages.encode(picture)
    took = []
    for _ in range(20):
        began = time.perf_counter()
        messages.encode(picture)
        messages.decode("sensor_msgs/msg/Image", raw)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.002  # cyclonedds's own way takes 60
