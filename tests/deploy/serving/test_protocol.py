"""The wire: what is sent arrives to the bit, and nothing else is taken for it."""

import struct

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from robolearn.deploy.serving.protocol import ARRAY, CODES, FIELDS, MAX_ITEMS, VERSION, Message, ProtocolError, decode, encode
from tests.deploy.serving.houses import seen

SAMPLE = {"observation": seen(2), "seed": -5, "decision": 3, "task": None}


def arrays():
    shapes = st_numpy.array_shapes(min_dims=0, max_dims=6, max_side=3)
    return st.sampled_from(sorted(CODES, key=str)).flatmap(lambda dtype: st_numpy.arrays(dtype, shapes))


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), arrays(), max_size=4), st.integers(-(2**63), 2**63 - 1), st.text(max_size=5))
def test_what_is_sent_arrives_to_the_bit(observation, seed, task):
    message = decode(encode(Message("sample", 12, {"observation": observation, "seed": seed, "decision": 0, "task": task})))
    assert (message.kind, message.id, message.body["seed"], message.body["task"]) == ("sample", 12, seed, task)
    assert message.body["observation"].keys() == observation.keys()
    for name, array in message.body["observation"].items():
        assert (array.dtype, array.shape) == (observation[name].dtype, observation[name].shape)
        assert array.tobytes() == observation[name].tobytes()


def test_an_array_of_another_byte_order_or_stride_arrives_as_the_same_numbers():
    given_array = np.arange(12, dtype=">f4").reshape(3, 4).T
    got = decode(encode(Message("reply", 1, {"result": given_array, "info": {}, "timings": {}}))).body["result"]
    np.testing.assert_array_equal(got, given_array)
    assert got.dtype == np.dtype("<f4")


@pytest.mark.parametrize("value", [np.array(["a"]), np.array([{}], object), np.zeros(3, bool), np.zeros((0, 3)), np.zeros((1,) * 7), {1}])
def test_what_cannot_travel_is_refused_by_the_sender(value):
    with pytest.raises(ProtocolError):
        encode(Message("sample", 1, {**SAMPLE, "observation": {"x": value}}))


def frame(*content):
    return msgpack.packb(list(content))


def array_of(kind, shape, data, axes=None):
    head = struct.pack("<BB", kind, len(shape) if axes is None else axes) + struct.pack(f"<{len(shape)}I", *shape)
    return msgpack.packb([VERSION, "reply", 1, {"result": msgpack.ExtType(ARRAY, head + data), "info": {}, "timings": {}}])


HOSTILE = {
    "nothing": b"",
    "noise": b"\xc1\xff\x00",
    "cut off": encode(Message("sample", 1, SAMPLE))[:-3],
    "more behind it": encode(Message("ping", 1, {})) + b"\x00",
    "a number": frame()[:0] + msgpack.packb(5),
    "too few": frame(VERSION, "ping", 1),
    "another version": frame(VERSION + 1, "ping", 1, {}),
    "true as version": frame(True, "ping", 1, {}),
    "unknown kind": frame(VERSION, "shutdown", 1, {}),
    "kind that is no text": frame(VERSION, ["ping"], 1, {}),
    "negative id": frame(VERSION, "ping", -1, {}),
    "id that is no number": frame(VERSION, "ping", "1", {}),
    "true as id": frame(VERSION, "ping", True, {}),
    "fields that are none": frame(VERSION, "ping", 1, []),
    "missing field": frame(VERSION, "sample", 1, {"observation": {}, "seed": 0, "decision": 0}),
    "extra field": frame(VERSION, "ping", 1, {"run": "rm"}),
    "wrong type": frame(VERSION, "dial", 1, {"name": "residual", "value": "1"}),
    "infinite": frame(VERSION, "dial", 1, {"name": "residual", "value": float("inf")}),
    "true as a number": frame(VERSION, "dial", 1, {"name": "residual", "value": True}),
    "seed beyond 64 bits": frame(VERSION, "sample", 1, {"observation": {}, "seed": 2**63, "decision": 0, "task": None}),
    "list for an array": frame(VERSION, "refine", 1, {"observation": {}, "base_action": [0.0] * 10, "phase": 0}),
    "bytes for an array": frame(VERSION, "refine", 1, {"observation": {}, "base_action": b"0000", "phase": 0}),
    "bytes as a key": frame(VERSION, "ping", 1, {b"a": 1}),
    "a key twice": b"\x94\x01\xa4ping\x01\x82\xa1a\x01\xa1a\x02",
    "not UTF-8": b"\x94\x01\xa4p\xffng\x01\x80",
    "huge shape, few bytes": array_of(1, (2**32 - 1,) * 4, b"0000"),
    "shape beyond 64 bits": array_of(1, (2**32 - 1,) * 6, b""),
    "empty shape with a huge side": array_of(1, (0, 2**32 - 1), b""),
    "more bytes than the shape": array_of(1, (1,), b"00000000"),
    "unknown dtype": array_of(99, (1,), b"0000"),
    "axes beyond the data": array_of(1, (), b"", axes=6),
    "too many axes": array_of(1, (1,) * 7, b"0000"),
    "another extension": msgpack.packb([VERSION, "ping", 1, {"a": msgpack.ExtType(42, b"x")}]),
    "an empty extension": msgpack.packb([VERSION, "ping", 1, {"a": msgpack.ExtType(ARRAY, b"")}]),
    "deep lists": b"\x91" * 100_000,
    "deep maps": b"\x81\xa1a" * 100_000,
    "lists that promise billions": b"\xdd\xff\xff\xff\xff" * 1000,
    "maps that promise billions": b"\xdf\xff\xff\xff\xff" * 1000,
    "text that promises gigabytes": b"\xdb\xff\xff\xff\xff",
    "array that promises gigabytes": b"\xc9\xff\xff\xff\xff\x01",
    "deep lists of thousands": b"\xdc\x0f\xff" * 500,
    "a long list": msgpack.packb([0] * (MAX_ITEMS + 1)),
    "millions of empty lists": b"\xdc\x10\x00" + (b"\xdc\x10\x00" + b"\x90" * 4096) * 1000,
    "text frame": "hello",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_else_comes_is_refused_in_one_line(name):
    with pytest.raises(ProtocolError) as caught:
        decode(HOSTILE[name])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_small_frame_does_not_grow_in_memory():
    import tracemalloc

    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decode(HOSTILE["millions of empty lists"])
        assert tracemalloc.get_traced_memory()[1] < 8 << 20  # of 4 MB on the wire
    finally:
        tracemalloc.stop()


def test_every_kind_has_its_fields_tested():
    assert set(FIELDS) == {"hello", "welcome", "sample", "refine", "dial", "ping", "reply", "error"}
    for kind in FIELDS:
        with pytest.raises(ProtocolError):
            decode(frame(VERSION, kind, 1, {"something": "else"}))
