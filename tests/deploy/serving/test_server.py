"""The policy server and its client: the same actions as in simulation, nobody served by mistake, nothing late taken for new."""

import http.client
import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from robolearn.deploy.client import InferenceError, PolicyClient
from robolearn.deploy.serving.server import PolicyServer, Settings
from robolearn.errors import UserError
from robolearn.spec import ArraySpec
from tests.deploy.serving.houses import HORIZON, Running, chunked, critic, free_port, refined, running, seen, steered
from tests.fakes import POINT_REACH_SPEC, PointReach

EVERYONE, SEED = np.ones(1, bool), 7


def client_of(house, spec=POINT_REACH_SPEC, **options):
    client = PolicyClient(house.url, timeout=10, **options)
    client.hello(spec)
    return client


def get(house, path="/healthz"):
    host = house.url.removeprefix("ws://")
    connection = http.client.HTTPConnection(host, timeout=5)
    connection.request("GET", path)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def acted_here(policy, steps):
    env = PointReach(1)
    observation, _ = env.reset(seed=[SEED])
    policy.reset(EVERYONE, np.array([SEED]))
    actions = []
    for _ in range(steps):
        actions.append(policy.act(observation))
        observation = env.step(actions[-1])[0]
    return np.concatenate(actions)


def acted_there(client, steps, horizon):
    """What a runner does with a server: it holds history, phase and count of decisions itself."""
    env = PointReach(1)
    observation, _ = env.reset(seed=[SEED])
    now = {name: array[0] for name, array in observation.items()}
    history = {name: np.repeat(array[None], horizon, 0) for name, array in now.items()}
    actions = []
    for step in range(steps):
        if step:
            history = {name: np.concatenate([history[name][1:], now[name][None]]) for name in now}
        if step % HORIZON == 0:
            chunk = client.sample(history, SEED, step // HORIZON).value
        action = chunk[step % HORIZON]
        if client.welcome.residual:
            action = client.refine(now, action, step % HORIZON).value
        actions.append(action)
        now = {name: array[0] for name, array in env.step(action[None])[0].items()}
    return np.stack(actions)


@pytest.mark.parametrize(
    "make",
    [chunked, lambda: chunked(observation_horizon=2), refined, steered, lambda: refined(steered(temperature=0.5))],
    ids=["base", "history", "residual", "steered", "both"],
)
def test_the_server_gives_the_actions_of_simulation_to_the_bit(make):
    with running(make) as house:
        client = client_of(house)
        there = acted_there(client, 14, client.welcome.observation_horizon)
        client.close()
    np.testing.assert_array_equal(there, acted_here(make(), 14))


def test_a_welcome_says_what_is_served():
    with running(lambda: refined(steered())) as house:
        welcome = PolicyClient(house.url).hello(POINT_REACH_SPEC)
    assert welcome.spec == POINT_REACH_SPEC
    assert welcome.observation_keys == ("tcp_pos", "goal")
    assert set(welcome.refine_keys) == set(POINT_REACH_SPEC.observation)
    horizons = (welcome.observation_horizon, welcome.prediction_horizon, welcome.action_horizon)
    assert horizons == (1, 8, 4)
    assert (welcome.residual, welcome.critic, welcome.candidates, welcome.control_hz) == (True, True, 8, 10.0)
    assert welcome.dials == {"residual": 1.0, "guidance": 1.0}


def other_names(spec):
    return replace(spec, action=replace(spec.action, names=tuple(f"joint{index}" for index in range(10))))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda spec: replace(spec, observation={name.replace("goal", "gaol"): entry for name, entry in spec.observation.items()}),
            "the policy reads 'goal', which task 'point_reach' does not give (it gives ['gaol', 'gripper_width', 'tcp_pos'])",
        ),
        (
            lambda spec: replace(spec, observation={**spec.observation, "goal": ArraySpec((2,))}),
            r"shape (3,), task 'point_reach' gives (2,)",
        ),
        (other_names, "'joint0'"),
        (lambda spec: replace(spec, control_hz=20.0), "trained at 10.0 Hz, task 'point_reach' runs at 20.0 Hz"),
    ],
    ids=["name", "shape", "action", "rate"],
)
def test_a_robot_that_the_policy_is_not_for_is_refused_naming_both_sides(change, says):
    with running() as house:
        client = PolicyClient(house.url)
        with pytest.raises(InferenceError) as caught:
            client.hello(change(POINT_REACH_SPEC))
    assert says in str(caught.value)
    assert caught.value.code == "refused"


def test_a_wrong_robot_is_refused_before_the_weights_are_there():
    loading, listening = threading.Event(), threading.Event()

    def slowly():
        listening.set()
        assert loading.wait(20)
        return chunked()

    house = Running(slowly, check=lambda robot: robot.check_serves(POINT_REACH_SPEC), port=free_port()).start(wait=False)
    try:
        assert listening.wait(10)
        house.url = f"ws://127.0.0.1:{house.server.settings.port}"
        assert get(house)[0] == 503
        with pytest.raises(InferenceError, match=r"20\.0 Hz"):
            PolicyClient(house.url).hello(replace(POINT_REACH_SPEC, control_hz=20.0))
        assert house.server.model is None
        loading.set()
        assert PolicyClient(house.url).hello(POINT_REACH_SPEC).model == "tiny"  # waits for the weights
    finally:
        loading.set()
        house.stop()


@pytest.mark.parametrize(
    ("observation", "says"),
    [
        ({name: array for name, array in seen(1).items() if name != "goal"}, "reads 'goal'"),
        (seen(2), r"shape (2, 3), expected (1, 3)"),
        ({**seen(1), "goal": np.full((1, 3), np.nan, np.float32)}, "holds NaN"),
        ({**seen(1), "goal": np.zeros((1, 3), np.uint8)}, "is uint8, expected float32"),
        ({**seen(1), "goal": np.array([["a", "b", "c"]], object)}, "goal"),
    ],
    ids=["missing", "shape", "nan", "kind", "objects"],
)
def test_an_observation_that_does_not_fit_is_refused_and_the_next_one_served(observation, says):
    with running() as house:
        client = client_of(house)
        with pytest.raises((InferenceError, ValueError)) as caught:
            client.sample(observation, 0, 0)
        assert says in str(caught.value) or "could not convert" in str(caught.value)
        assert client.sample(seen(1), 0, 0).value.shape == (8, 10)


def test_a_base_has_nothing_to_refine_with():
    with running() as house:
        client = client_of(house)
        assert not client.welcome.residual
        with pytest.raises(InferenceError, match="no residual"):
            client.refine(seen(), np.zeros(10), 0)


def test_a_refinement_does_not_wait_for_a_sample():
    begun, release = threading.Event(), threading.Event()
    policy = refined()
    draw = policy.base.sampler.sample

    def slow(*arguments):
        if arguments[1][0] == 99:  # not while warming up
            begun.set()
            assert release.wait(20)
        return draw(*arguments)

    policy.base.sampler.sample = slow
    with running(lambda: policy) as house:
        one, other = client_of(house), client_of(house)
        sampling = threading.Thread(target=lambda: one.sample(seen(1), 99, 0))
        sampling.start()
        assert begun.wait(10)
        assert other.refine(seen(), np.zeros(10), 0).value.shape == (10,)
        assert sampling.is_alive()
        release.set()
        sampling.join(10)


def test_dials_turn_residual_and_guidance_while_running():
    with running(lambda: refined(steered())) as house:
        client = client_of(house)
        base = np.linspace(-0.2, 0.2, 10, dtype=np.float32)
        assert (client.refine(seen(), base, 0).value != base).any()
        assert client.dial("residual", 0.0) == {"residual": 0.0, "guidance": 1.0}
        np.testing.assert_array_equal(client.refine(seen(), base, 0).value, base)
        moved = next(decision for decision in range(20) if client.sample(seen(1), 0, decision).info["moved"])
        client.dial("guidance", 0)
        unsteered = client.sample(seen(1), 0, moved)
        assert not unsteered.info["moved"]
        expected = chunked().sampler.sample({name: array[None] for name, array in seen(1).items()}, np.array([0]), np.array([moved]))
        np.testing.assert_array_equal(unsteered.value, expected[0, 0])


@pytest.mark.parametrize(("name", "value", "says"), [("guidance", 1.0, "no dial 'guidance'"), ("residual", -1.0, "or more")])
def test_a_dial_that_is_not_there_or_below_zero_is_refused(name, value, says):
    with running(refined) as house, pytest.raises(InferenceError, match=says):
        client_of(house).dial(name, value)


class SlowCritic:
    """Judges as another does, but not in time, once ``seconds`` are set."""

    def __init__(self):
        self.judge, self.seconds = critic(), 0.0
        self.env_spec, self.action_horizon, self.observation_keys = self.judge.env_spec, HORIZON, self.judge.observation_keys

    def score(self, observation, chunks):
        time.sleep(self.seconds)
        return self.judge.score(observation, chunks)


def test_a_critic_that_overruns_its_budget_costs_the_budget_and_leaves_the_bases_own_draw():
    judge = SlowCritic()
    with running(lambda: steered(judge), budget=0.1) as house:
        judge.seconds = 2.0
        answer = client_of(house).sample(seen(1), 3, 1)
        status = json.loads(get(house)[1])
    expected = chunked().sampler.sample({name: array[None] for name, array in seen(1).items()}, np.array([3]), np.array([1]))
    np.testing.assert_array_equal(answer.value, expected[0, 0])
    assert (answer.info["fallback"], answer.info["moved"]) == ("overrun", False)
    assert 0.1 <= answer.timings["steering"] < 1.5
    assert (status["steering"]["scored"], status["steering"]["overrun"]) == (1, 1)  # warming up is not counted


def test_health_tells_what_happened_without_a_token():
    with running(token="secret") as house:
        client = client_of(house, token="secret")
        client.sample(seen(1), 0, 0)
        with pytest.raises(InferenceError):
            client.sample(seen(2), 0, 0)
        client.ping()
        status, text = get(house)
    told = json.loads(text)
    assert status == 200
    assert told["ready"]
    assert (told["model"], told["errors"], told["connections"]) == ("tiny", 1, 1)
    assert told["requests"] == {"sample": 1, "refine": 0, "dial": 0, "ping": 1}


def test_other_paths_are_not_found():
    with running() as house:
        assert get(house, "/etc/passwd")[0] == 404


@pytest.mark.parametrize("token", [None, "wrong", "secre", "secrets", "sécret"])
def test_a_client_without_the_token_never_gets_to_speak(token):
    with running(token="secret") as house:
        with pytest.raises(InferenceError) as caught:
            client_of(house, token=token)
        assert caught.value.code in ("refused", "lost")
        assert house.server.health()["connections"] == 0


def test_a_page_in_a_browser_is_turned_away():
    with running() as house, pytest.raises(InvalidStatus, match="403"):
        connect(house.url, origin="http://evil.example", proxy=None)


def test_one_client_too_many_is_told_so():
    with running(max_connections=1) as house:
        first = client_of(house)
        with pytest.raises(InferenceError, match="1 clients are here already"):
            client_of(house)
        first.close()
        deadline = time.monotonic() + 5
        while house.server.health()["connections"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert client_of(house).connected


def test_a_message_beyond_the_limit_ends_its_connection_alone():
    with running(max_message_mb=0.1) as house:
        client, other = client_of(house), client_of(house)
        with pytest.raises(InferenceError) as caught:
            client.sample({**seen(1), "goal": np.zeros((1, 100_000), np.float32)}, 0, 0)
        assert caught.value.code == "lost"
        assert other.sample(seen(1), 0, 0).value.shape == (8, 10)
        assert client.sample(seen(1), 0, 0).value.shape == (8, 10)  # on a new connection


def test_a_limit_below_an_observation_is_refused_at_the_start():
    with pytest.raises(UserError, match="max_message_mb="), running(max_message_mb=0.001):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "robot.local", "::"])
def test_an_address_that_others_reach_needs_a_token(host):
    with pytest.raises(UserError, match="token"):
        Settings(host=host)
    assert Settings(host=host, token="x").host == Settings(host=host, insecure=True).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_this_machine_alone_needs_none(host):
    assert Settings(host=host).host == host


def test_a_taken_port_says_what_to_do():
    with running() as house:
        port = int(house.url.rpartition(":")[2])
        with pytest.raises(UserError, match="port="), running(port=port):
            pass


def test_a_policy_that_draws_no_chunks_is_refused():
    class Other:
        env_spec = POINT_REACH_SPEC

    with pytest.raises(UserError, match="draws no chunks"), running(Other):
        pass


def test_a_policy_that_gives_nan_or_raises_is_an_error_and_not_an_action():
    policy = chunked()
    draw = policy.sampler.sample

    def broken(observation, seeds, decisions, *rest):
        chunks = draw(observation, seeds, decisions, *rest)
        if seeds[0] == 1:
            chunks[..., 3] = np.nan
        if seeds[0] == 2:
            raise ZeroDivisionError("a defect")
        return chunks

    policy.sampler.sample = broken
    with running(lambda: policy) as house:
        client = client_of(house)
        for seed, says in ((1, "not finite"), (2, "a defect")):
            with pytest.raises(InferenceError, match=says) as caught:
                client.sample(seen(1), seed, 0)
            assert caught.value.code == "failed"
        assert client.sample(seen(1), 3, 0).value.shape == (8, 10)


def test_a_server_stops_while_it_is_asked_and_while_it_loads():
    release = threading.Event()

    def forever():
        release.wait(20)
        return chunked()

    house = Running(forever, port=free_port()).start(wait=False)
    while house._loop is None:
        time.sleep(0.01)
    url = f"ws://127.0.0.1:{house.server.settings.port}"
    errors = []

    def ask():
        try:
            PolicyClient(url).hello(POINT_REACH_SPEC)
        except InferenceError as error:
            errors.append(error.code)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.2)
    house.stop()
    release.set()
    asking.join(10)
    assert errors == ["lost"]


def test_requests_beyond_a_few_at_a_time_are_refused_as_busy():
    from robolearn.deploy.serving.protocol import Message, decode, encode

    release = threading.Event()
    policy = chunked()
    draw = policy.sampler.sample

    def slow(*arguments):
        assert arguments[1][0] != 99 or release.wait(20)
        return draw(*arguments)

    policy.sampler.sample = slow
    body = {"observation": {name: array for name, array in seen(1).items()}, "seed": 99, "decision": 0, "task": None}
    with running(lambda: policy) as house, connect(house.url, proxy=None, compression=None) as connection:
        connection.send(encode(Message("hello", 1, {"client": "test", "spec": POINT_REACH_SPEC.to_dict()})))
        assert decode(connection.recv(10)).kind == "welcome"
        for number in range(10, 16):
            connection.send(encode(Message("sample", number, body)))
        refused = [decode(connection.recv(10)) for _ in range(2)]
        assert {(message.id, message.body["code"]) for message in refused} == {(14, "busy"), (15, "busy")}
        release.set()
        assert [decode(connection.recv(10)).id for _ in range(4)] == [10, 11, 12, 13]


def test_a_request_that_takes_too_long_is_given_up():
    policy = chunked()
    draw = policy.sampler.sample

    def slow(*arguments):
        if arguments[1][0] == 99:
            time.sleep(0.5)
        return draw(*arguments)

    policy.sampler.sample = slow
    with running(lambda: policy, request_timeout=0.1) as house:
        client = client_of(house)
        with pytest.raises(InferenceError, match="not done within") as caught:
            client.sample(seen(1), 99, 0)
        assert caught.value.code == "late"


def test_a_server_is_made_without_a_loop():
    assert PolicyServer(Settings(), lambda robot: None, chunked).health()["ready"] is False
