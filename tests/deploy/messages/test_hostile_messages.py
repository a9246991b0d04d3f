"""Bytes of an enemy: decoding refuses them in words, at once, and takes no memory for what they only claim to hold."""

import contextlib
import os
import struct
import time
import tracemalloc

import numpy as np
import pytest

from robolearn.deploy.messages import MalformedError, Messages
from robolearn.errors import UserError
from tests.deploy.messages.samples import random_message, spoilt

INPUTS = int(os.environ.get("ROBOLEARN_FUZZ", "1000"))  # of each test, shared among the types
JOINTS = "sensor_msgs/msg/JointState"


def ros1_types(messages):
    """Types that ROS 1 has too, with the same kinds of fields."""
    for type in messages.store.types:
        with contextlib.suppress(UserError):
            messages.encode_ros1(random_message(messages, type, np.random.default_rng(7)))
            yield type


@pytest.mark.fuzz
@pytest.mark.parametrize("distro", ["humble", "lyrical"])
def test_spoilt_bytes_of_every_type_are_a_message_or_malformed(distro):
    messages, random = Messages(distro), np.random.default_rng(5)
    types = list(messages.store.types)
    refused = 0
    for number in range(max(INPUTS, len(types))):
        type = types[number % len(types)]
        raw = spoilt(messages.encode(random_message(messages, type, random)), random)
        began = time.monotonic()
        try:
            messages.encode(messages.decode(type, raw))
        except MalformedError:
            refused += 1
        assert time.monotonic() - began < 2, type
    assert refused > INPUTS / 4


@pytest.mark.fuzz
def test_spoilt_bytes_of_ros_1_are_a_message_or_malformed():
    messages, random = Messages(), np.random.default_rng(6)
    types = list(ros1_types(messages))
    assert len(types) > 150
    refused = 0
    for number in range(max(INPUTS, len(types))):
        type = types[number % len(types)]
        raw = spoilt(messages.encode_ros1(random_message(messages, type, random)), random)
        try:
            messages.decode_ros1(type, raw)
        except MalformedError:
            refused += 1
    assert refused > INPUTS / 4


@pytest.mark.parametrize(
    ("type", "offset"),
    [(JOINTS, 12), ("trajectory_msgs/msg/JointTrajectory", 20), ("sensor_msgs/msg/Image", 12), ("tf2_msgs/msg/TFMessage", 4)],
)
@pytest.mark.parametrize("claimed", [2**32 - 1, 2**31, 10**6])
def test_a_claimed_length_takes_no_memory(type, offset, claimed):
    messages = Messages()
    raw = bytearray(messages.encode(messages.new(type)) + bytes(64))
    raw[offset : offset + 4] = struct.pack("<I", claimed)
    with pytest.raises(MalformedError):
        messages.decode(type, bytes(raw))  # compiled here, so that what follows is only the decoding
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError):
            messages.decode(type, bytes(raw))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "header", [b"\x00\x02\x00\x00", b"\x00\x06\x00\x00", b"\x00\x09\x00\x00", b"\xff\xff\xff\xff", b"\x01\x00\x00\x00"]
)
def test_another_encoding_is_malformed(header):
    messages = Messages()
    raw = messages.encode(messages.new(JOINTS, name=["a"], position=[1.0]))
    with pytest.raises(MalformedError, match="no sensor_msgs/msg/JointState"):
        messages.decode(JOINTS, header + raw[4:])


@pytest.mark.parametrize("length", [0, 1, 3, 4, 7])
def test_too_few_bytes_are_malformed(length):
    with pytest.raises(MalformedError, match=f"{length} bytes are no"):
        Messages().decode(JOINTS, (b"\x00\x01\x00\x00" * 2)[:length])


def test_bytes_left_over_are_malformed_but_padding_is_not():
    messages = Messages()
    raw = messages.encode(messages.new("std_msgs/msg/Float64", data=1.5))
    assert messages.decode("std_msgs/msg/Float64", raw + bytes(3)).data == 1.5
    with pytest.raises(MalformedError, match="size mismatch"):
        messages.decode("std_msgs/msg/Float64", raw + bytes(4))


def test_text_that_is_no_text_is_malformed():
    messages = Messages()
    raw = messages.encode(messages.new("std_msgs/msg/String", data="abcd")).replace(b"abcd", b"\xff\xfe\xfd\xfc")
    with pytest.raises(MalformedError):
        messages.decode("std_msgs/msg/String", raw)


def test_more_bytes_than_any_such_message_has_are_not_read():
    messages = Messages()
    with pytest.raises(MalformedError, match="at most 1048576 are read"):
        messages.decode(JOINTS, b"\x00\x01\x00\x00" + bytes(2 << 20))


@pytest.mark.parametrize("decode", ["decode", "decode_ros1"])
def test_nan_is_no_malformed_message(decode):
    messages = Messages()
    message = messages.new(JOINTS, position=[np.nan, np.inf])
    raw = messages.encode(message) if decode == "decode" else messages.encode_ros1(message)
    np.testing.assert_array_equal(getattr(messages, decode)(JOINTS, raw).position, [np.nan, np.inf])
