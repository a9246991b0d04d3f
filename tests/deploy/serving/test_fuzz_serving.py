"""Strangers on the wire: whatever they send, the server goes on serving and the client gives out no action that is none."""

from __future__ import annotations

import queue
import socket
import struct
import time

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from robolearn.deploy.client import Answer, InferenceError, PolicyClient
from robolearn.deploy.serving import server as server_module
from robolearn.deploy.serving import session as session_module
from robolearn.deploy.serving.model import ServedModel
from robolearn.deploy.serving.protocol import ARRAY, FIELDS, VERSION, Message, ProtocolError, _pack_array, decode, encode
from robolearn.errors import UserError
from tests.datasets.formats.fuzzing import damage, fuzz_settings
from tests.deploy.serving.houses import misbehaving, refined, replied, running, seen, steered
from tests.fakes import POINT_REACH_SPEC

pytestmark = pytest.mark.fuzz
LIMIT_MB = 0.2
HELLO = {"client": "test", "spec": POINT_REACH_SPEC.to_dict()}
REQUESTS = {
    "hello": HELLO,
    "sample": {"observation": seen(1), "seed": 3, "decision": 1, "task": None},
    "refine": {"observation": seen(), "base_action": np.zeros(10, np.float32), "phase": 1},
    "dial": {"name": "residual", "value": 1.0},
    "ping": {},
}
GOOD = {kind: encode(Message(kind, 7, body)) for kind, body in REQUESTS.items()}


@st.composite
def arrays_that_lie(draw):
    """An array whose bytes, axes or dtype are not what it says."""
    shape = draw(st.lists(st.sampled_from((0, 1, 3, 10, 2**16, 2**31, 2**32 - 1)), max_size=8))
    head = struct.pack("<BB", draw(st.integers(0, 255)), draw(st.sampled_from((len(shape), 0, 255))))
    return msgpack.ExtType(
        draw(st.sampled_from((ARRAY, 0, 5, 127))), head + struct.pack(f"<{len(shape)}I", *shape) + draw(st.binary(max_size=64))
    )


def values():
    plain = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=9), st.binary(max_size=9))
    leaves = st.one_of(plain, arrays_that_lie(), st.sampled_from((*REQUESTS, *FIELDS["sample"], "tcp_pos", "goal")))
    keys = st.one_of(st.text(max_size=5), st.sampled_from(sorted({name for fields in FIELDS.values() for name in fields})))
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12)


@st.composite
def frames_of_the_right_form(draw):
    """``[version, kind, id, fields]`` with the kind's field names, and anything in them."""
    kind = draw(st.sampled_from(sorted(FIELDS)))
    body = {name: draw(st.one_of(values(), st.just(REQUESTS.get(kind, {}).get(name)))) for name in FIELDS[kind]}
    content = [draw(st.sampled_from((VERSION, VERSION, 0, 2, "1"))), kind, draw(st.one_of(st.integers(-1, 2**64 - 1), values())), body]
    return msgpack.packb(content, default=_pack_array)


def hostile_frames(good):
    spoiled = st.builds(lambda frame, spoil: spoil(frame), st.sampled_from(good), damage())
    deep = st.builds(lambda mark, count: mark * count, st.sampled_from((b"\x91", b"\x81\xa1a", b"\xdc\x0f\xff")), st.integers(1, 30_000))
    promise = st.builds(
        lambda mark, count: mark + b"\xff" * count, st.sampled_from((b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9")), st.integers(0, 9)
    )
    return st.one_of(
        spoiled,
        spoiled,
        st.binary(max_size=300),
        values().map(msgpack.packb),
        frames_of_the_right_form(),
        deep,
        promise,
        st.text(max_size=30),
        st.builds(bytes, st.just(int(LIMIT_MB * 1e6) + 1)),
    )


@pytest.fixture(scope="module")
def house():
    with pytest.MonkeyPatch.context() as patch:
        # Pings draw from Python's global generator, which hypothesis does not allow while it generates.
        patch.setattr(server_module, "ALIVE_S", None)
        with running(lambda: refined(steered()), max_message_mb=LIMIT_MB) as house:
            house.good = PolicyClient(house.url)
            house.good.hello(POINT_REACH_SPEC)
            house.expected = house.good.sample(seen(1), 3, 1).value
            yield house
            still_serves(house)


def still_serves(house):
    """A client that was there all along, on the connection it always had, gets what it always got."""
    assert house.good.connected
    np.testing.assert_array_equal(house.good.sample(seen(1), 3, 1).value, house.expected)
    assert house.good.refine(seen(), house.expected[0], 0).value.shape == (10,)


@fuzz_settings
@given(hostile_frames(list(GOOD.values())), st.booleans(), st.integers(0, 20))
def test_the_server_answers_a_hostile_message_by_an_error_or_by_closing(house, frame, greet, look):
    with connect(house.url, compression=None, proxy=None, close_timeout=1, ping_interval=None) as connection:
        if greet:
            connection.send(encode(Message("hello", 1, HELLO)))
            assert decode(connection.recv(10)).kind == "welcome"
        try:
            connection.send(frame)
            answer = decode(connection.recv(10))  # a TimeoutError fails the test
        except ConnectionClosed:
            answer = None
    if answer is not None and answer.kind != "error":
        asked = decode(frame)  # it must have been sound after all
        assert (answer.kind, answer.id) == ("welcome" if asked.kind == "hello" else "reply", asked.id)
        assert greet or asked.kind == "hello"
        if asked.kind == "dial":
            house.good.dial(asked.body["name"], 1.0)
    if look == 0:
        still_serves(house)


@fuzz_settings
@given(
    st.one_of(st.binary(max_size=200), damage().map(lambda spoil: spoil(HANDSHAKE)), damage().map(lambda spoil: spoil(HANDSHAKE + MASKED)))
)
def test_the_server_survives_what_is_not_even_a_websocket(house, data):
    with socket.create_connection(("127.0.0.1", int(house.url.rpartition(":")[2])), timeout=10) as stranger:
        stranger.sendall(data)
        stranger.shutdown(socket.SHUT_WR)
        try:
            while stranger.recv(65536):
                pass
        except ConnectionResetError:
            pass


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MASKED = b"\x82\xfe" + struct.pack(">H", len(GOOD["ping"]) + 500) + b"\0\0\0\0" + GOOD["ping"]  # a frame that says it is longer than it is


def test_connections_that_say_nothing_or_never_come_to_an_end_are_closed_and_hold_nobody_up(monkeypatch):
    monkeypatch.setattr(server_module, "OPEN_S", 0.5)
    monkeypatch.setattr(session_module, "HELLO_S", 0.5)
    with running(max_connections=40) as house:
        port = int(house.url.rpartition(":")[2])
        strangers = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(30)]
        for index, stranger in enumerate(strangers):
            stranger.sendall((HANDSHAKE + MASKED)[: (20, len(HANDSHAKE), len(HANDSHAKE) + 12)[index % 3]])
        good = PolicyClient(house.url)
        good.hello(POINT_REACH_SPEC)
        assert good.sample(seen(1), 0, 0).value.shape == (8, 10)
        begun = time.monotonic()
        for stranger in strangers:
            try:
                while stranger.recv(65536):
                    pass
            except ConnectionResetError:
                pass
            stranger.close()
        while house.server.health()["connections"] > 1 and time.monotonic() - begun < 8:
            time.sleep(0.02)
        assert house.server.health()["connections"] == 1
        good.close()


@pytest.fixture(scope="module")
def liar():
    """A client, and what the server behind it will say next."""
    lies: queue.SimpleQueue[bytes | str] = queue.SimpleQueue()
    with misbehaving(lambda connection, message: connection.send(lies.get(timeout=10))) as url:
        client = PolicyClient(url, timeout=5)
        client.hello(POINT_REACH_SPEC)
        client.lies = lies
        yield client
        client.close()


CHUNK = np.linspace(-1, 1, 80, dtype=np.float32).reshape(8, 10)
REPLIES = [
    replied(Message("sample", 1), CHUNK),
    replied(Message("sample", 1), np.zeros(3, np.float32)),
    encode(Message("error", 1, {"code": "busy", "message": "x"})),
]


@fuzz_settings
@given(hostile_frames([*REPLIES, *GOOD.values()]), st.booleans())
def test_the_client_gives_out_a_finite_chunk_or_an_error_whatever_the_server_says(liar, frame, right_number):
    if right_number and isinstance(frame, bytes):  # the number that the client waits for, where there is one to exchange
        frame = renumbered(frame, next_number(liar))
    liar.lies.put(frame)
    try:
        answer = liar.sample(seen(1), 0, 0)
    except InferenceError as error:
        assert str(error).strip()
        assert len(str(error)) < 3000
        if liar.connected:  # nothing of an earlier request may be left to read
            assert error.code not in ("timeout", "malformed", "lost")
        return
    assert isinstance(answer, Answer)
    assert (answer.value.shape, answer.value.dtype) == ((8, 10), np.float32)
    assert np.isfinite(answer.value).all()
    assert decode(frame).kind == "reply"


def next_number(client):
    """The number of the client's next request: two later where it has to say hello first."""
    number = next(client._numbers) + 1
    return number if client.connected else number + 1


def renumbered(frame, number):
    try:
        message = decode(frame)
        return encode(Message(message.kind, number, message.body))
    except ProtocolError:
        return frame


@fuzz_settings
@given(damage())
def test_the_client_believes_no_spoiled_welcome(welcome_body, spoil):
    client = PolicyClient("ws://nowhere")
    try:
        message = decode(spoil(encode(Message("welcome", 1, welcome_body))))
        if message.kind != "welcome":
            return
        welcome = client._read_welcome(message.body, POINT_REACH_SPEC)
    except UserError:
        return
    POINT_REACH_SPEC.check_serves(welcome.spec, welcome.observation_keys)


@pytest.fixture(scope="module")
def welcome_body():
    return ServedModel(refined(), "tiny").welcome()
