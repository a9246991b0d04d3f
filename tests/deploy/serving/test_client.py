"""The client and the thread around it, against servers that are late, lie, vanish or are replaced."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from robolearn.deploy.client import InferenceError, PolicyClient
from robolearn.deploy.serving.inference import Inference
from robolearn.deploy.serving.protocol import Message, encode
from tests.deploy.serving.houses import HORIZON, Running, chunked, falling_silent, misbehaving, refined, replied, running, seen, steered
from tests.fakes import POINT_REACH_SPEC

ROOT = Path(__file__).parents[3]
CHUNK, ACTION = np.zeros((8, 10), np.float32), np.zeros(10, np.float32)


def greeted(url, timeout=5.0):
    client = PolicyClient(url, timeout=timeout)
    client.hello(POINT_REACH_SPEC)
    return client


def opened(url, **options):
    inference = Inference(url, POINT_REACH_SPEC, **options)
    inference.open()
    return inference


def outcomes(inference, count, timeout=10.0):
    """The next ``count`` outcomes, by id."""
    found, until = {}, time.monotonic() + timeout
    while len(found) < count:
        assert time.monotonic() < until, f"only {found}"
        found |= {outcome.id: outcome for outcome in inference.poll()}
        time.sleep(0.002)
    return found


def test_a_late_reply_is_never_taken_for_that_of_the_next_request():
    """positronic#459: a request that timed out, whose answer the reused socket then gives to the next."""
    times = iter([0.4, 0.0, 0.0])

    def late(connection, message):
        time.sleep(next(times))
        connection.send(replied(message, CHUNK + message.body["seed"]))

    with misbehaving(late) as url:
        client = greeted(url, timeout=0.15)
        with pytest.raises(InferenceError, match="did not answer sample within") as caught:
            client.sample(seen(1), 1, 0)
        assert caught.value.code == "timeout"
        assert not client.connected
        time.sleep(0.5)  # by now the first answer has been sent
        assert client.sample(seen(1), 2, 0).value[0, 0] == 2
        client.close()


LIES = {
    "another id": lambda message: replied(Message("sample", message.id + 1), CHUNK),
    "an old id": lambda message: replied(Message("sample", message.id - 1), CHUNK),
    "one action too few": lambda message: replied(message, CHUNK[:-1]),
    "one number too many": lambda message: replied(message, np.zeros((8, 11), np.float32)),
    "a batch": lambda message: replied(message, CHUNK[None]),
    "doubles": lambda message: replied(message, CHUNK.astype(np.float64)),
    "whole numbers": lambda message: replied(message, CHUNK.astype(np.int64)),
    "NaN": lambda message: replied(message, CHUNK * np.nan),
    "infinity": lambda message: replied(message, CHUNK + np.inf),
    "nothing": lambda message: replied(message, None),
    "a question": lambda message: encode(Message("ping", message.id, {})),
    "noise": lambda message: b"\xc1" * 50,
    "nothing at all": lambda message: b"",
    "text": lambda message: "hello",
    "half a reply": lambda message: replied(message, CHUNK)[:-40],
    "too much": lambda message: bytes(5 << 20),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_no_chunk_is_never_given_out_and_the_connection_not_used_again(lie):
    honest = []

    def answer(connection, message):
        connection.send(replied(message, CHUNK) if honest else LIES[lie](message))
        honest.append(message.id)

    with misbehaving(answer) as url:
        client = greeted(url)
        with pytest.raises(InferenceError) as caught:
            client.sample(seen(1), 0, 0)
        assert caught.value.code in ("malformed", "lost")
        assert not client.connected
        np.testing.assert_array_equal(client.sample(seen(1), 0, 0).value, CHUNK)
        client.close()


def test_a_server_that_reads_nothing_holds_nobody_up():
    import socket

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        begun = time.monotonic()
        with pytest.raises(InferenceError) as caught:
            PolicyClient(f"ws://127.0.0.1:{deaf.getsockname()[1]}").hello(POINT_REACH_SPEC, timeout=0.3)
        assert caught.value.code == "lost"
        assert time.monotonic() - begun < 3


def test_a_large_message_to_a_server_that_stops_reading_ends_in_time():
    with falling_silent() as url:
        client = greeted(url, timeout=0.3)
        begun = time.monotonic()
        with pytest.raises(InferenceError) as caught:
            client.sample({"tcp_pos": seen(1)["tcp_pos"], "goal": np.zeros((1, 5 << 20), np.float32)}, 0, 0)
        assert time.monotonic() - begun < 3
        assert caught.value.code == "lost"
        assert not client.connected


def test_another_model_behind_the_same_address_is_refused():
    house = Running(chunked).start()
    port = int(house.url.rpartition(":")[2])
    client = greeted(house.url)
    house.stop()
    with pytest.raises(InferenceError) as caught:
        client.sample(seen(1), 0, 0)
    assert caught.value.code == "lost"
    with running(steered, port=port), pytest.raises(InferenceError, match="now serves tiny, not tiny as before"):
        client.sample(seen(1), 0, 0)
    with running(chunked, port=port):
        assert client.sample(seen(1), 0, 0).value.shape == (8, 10)
    client.close()


def test_no_server_says_how_to_start_one():
    with pytest.raises(InferenceError, match="robolearn serve"):
        PolicyClient("ws://127.0.0.1:9").hello(POINT_REACH_SPEC)


def test_asking_before_hello_says_so():
    with pytest.raises(InferenceError, match="say hello"):
        PolicyClient("ws://127.0.0.1:9").sample(seen(1), 0, 0)


def test_questions_are_answered_each_under_its_own_number():
    with running(lambda: refined(steered())) as house:
        inference = opened(house.url)
        sample, refine, dial = (
            inference.submit_sample(seen(1), 5, 0),
            inference.submit_refine(seen(), ACTION, 0),
            inference.submit_dial("residual", 0.5),
        )
        found = outcomes(inference, 3)
        inference.close()
    assert (found[sample].kind, found[sample].value.shape) == ("sample", (8, 10))
    assert found[sample].info["candidates"] == 8
    assert found[sample].timings.keys() == {"queue", "inference", "steering", "round_trip"}
    assert (found[refine].kind, found[refine].value.shape) == ("refine", (10,))
    assert found[dial].info == {"residual": 0.5, "guidance": 1.0}
    assert all(outcome.error == "" and outcome.finished >= outcome.submitted for outcome in found.values())


def test_handing_over_and_fetching_never_wait_for_a_silent_server():
    with misbehaving(lambda connection, message: None) as url:
        inference = opened(url, timeout=3.0, refine_timeout=3.0)
        longest = 0.0
        for _ in range(100):
            begun = time.monotonic()
            inference.submit_sample(seen(1), 0, 0)
            inference.submit_refine(seen(), ACTION, 0)
            inference.poll()
            longest = max(longest, time.monotonic() - begun)
            time.sleep(0.001)
        assert longest < 1.0  # far from one timeout
        inference.close()


def test_a_newer_question_takes_the_place_of_one_that_waits_and_each_gets_one_outcome():
    release = threading.Event()

    def slow(connection, message):
        release.wait(10)
        connection.send(replied(message, CHUNK + message.body["seed"]))

    with misbehaving(slow) as url:
        inference = opened(url)
        first = inference.submit_sample(seen(1), 1, 0)
        time.sleep(0.1)  # it is on its way
        waiting = [inference.submit_sample(seen(1), seed, 0) for seed in (2, 3, 4)]
        superseded = outcomes(inference, 2)
        assert {outcome.code for outcome in superseded.values()} == {"superseded"}
        assert set(superseded) == set(waiting[:2])
        release.set()
        found = outcomes(inference, 2)
        assert {number: outcome.value[0, 0] for number, outcome in found.items()} == {first: 1, waiting[2]: 4}
        assert inference.poll() == []
        inference.close()


def test_an_observation_that_is_no_array_fails_alone():
    with running() as house:
        inference = opened(house.url)
        number = inference.submit_sample({**seen(1), "goal": np.array([["a", "b", "c"]], object)}, 0, 0)
        assert "ValueError" in outcomes(inference, 1)[number].error
        number = inference.submit_sample(seen(1), 0, 0)
        assert outcomes(inference, 1)[number].error == ""
        inference.close()


def test_it_connects_again_by_itself_and_meanwhile_fails_at_once():
    house = Running(chunked).start()
    port = int(house.url.rpartition(":")[2])
    inference = opened(house.url, timeout=2.0)
    house.stop()
    number = inference.submit_sample(seen(1), 0, 0)
    assert outcomes(inference, 1)[number].code == "lost"
    begun = time.monotonic()
    numbers = [inference.submit_sample(seen(1), 0, 0) for _ in range(3)]
    assert {outcome.code for outcome in outcomes(inference, len(numbers)).values()} <= {"lost", "superseded"}
    assert time.monotonic() - begun < 1.5  # less than one timeout
    with running(chunked, port=port):
        until = time.monotonic() + 10
        while not inference._samples.client.connected and time.monotonic() < until:
            time.sleep(0.01)
        number = inference.submit_sample(seen(1), 0, 0)
        assert outcomes(inference, 1)[number].error == ""
        assert inference.statistics()["reconnects"] >= 1
        assert inference.statistics()["errors"]["lost"] >= 1
        inference.close()


def test_the_first_answer_of_a_connection_is_left_out_of_the_latencies():
    seconds = iter([1.0, 0.0, 0.0, 0.0])

    def answer(connection, message):
        time.sleep(next(seconds))
        connection.send(replied(message, CHUNK))

    with misbehaving(answer) as url:
        inference = opened(url)
        for _ in range(4):
            inference.submit_sample(seen(1), 0, 0)
            outcomes(inference, 1)
        latencies, told = inference.latencies("sample"), inference.statistics()["sample"]
        inference.close()
    assert len(latencies) == told["count"] == 3
    assert told["latency"]["max"] == latencies.max() < 0.9
    assert told["round_trip"]["p50"] <= told["latency"]["p50"]


def test_a_server_for_another_robot_is_refused_at_the_start():
    from dataclasses import replace

    with running() as house, pytest.raises(InferenceError, match=r"20\.0 Hz"):
        Inference(house.url, replace(POINT_REACH_SPEC, control_hz=20.0)).open()


ALONE = """
import importlib.abc, sys
LIGHT = {"numpy", "msgpack", "websockets", "robolearn"}
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        root = name.split(".")[0]
        if root not in LIGHT and root not in sys.stdlib_module_names and not root.startswith("_"):
            raise ModuleNotFoundError(name + " is blocked", name=name)
sys.meta_path.insert(0, Blocked())
for name in ("zarr", "hydra", "omegaconf", "rich", "torch", "scipy"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(name + " is not blocked")
import json
import numpy as np
from robolearn.deploy.client import PolicyClient
from robolearn.deploy.serving.inference import Inference
from robolearn.spec import EnvSpec
spec = EnvSpec.from_dict(json.loads(sys.argv[2]))
client = PolicyClient(sys.argv[1])
client.hello(spec)
print(client.sample({name: np.zeros((1, *entry.shape), np.float32) for name, entry in spec.observation.items()}, 0, 0).value.tolist())
"""


def test_the_client_works_with_numpy_msgpack_and_websockets_alone():
    import json

    with running() as house:
        words = [sys.executable, "-c", ALONE, house.url, json.dumps(POINT_REACH_SPEC.to_dict())]
        result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    still = {name: np.zeros((1, 1, 3), np.float32) for name in ("tcp_pos", "goal")}
    expected = chunked().sampler.sample(still, np.zeros(1, np.int64), np.zeros(1, np.int64))[0, 0]
    np.testing.assert_array_equal(np.float32(json.loads(result.stdout)), expected)
    assert expected.shape == (2 * HORIZON, 10)
