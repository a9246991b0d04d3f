"""``robolearn serve`` as a process, with real checkpoints: base, residual and critic."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from robolearn import cli
from robolearn.checkpoint import save_checkpoint
from robolearn.deploy.client import InferenceError, PolicyClient
from robolearn.deploy.serving.child import spawn_server
from robolearn.deploy.serving.inference import Inference
from robolearn.errors import UserError
from robolearn.policies.loading import load_policy
from robolearn.policies.residual import ResidualModel
from tests.deploy.serving.houses import critic, free_port
from tests.fakes import POINT_REACH_SPEC, PointReach, point_reach_normalizer
from tests.policies.small import KEYS, WORDS, small_mlp

ROOT = Path(__file__).parents[3]
HORIZON = 4
STEERING = {"candidates": 8, "policy.caution": 0.0, "policy.temperature": 0.5}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A small network under a residual, and a critic: paths of both checkpoints."""
    folder = tmp_path_factory.mktemp("checkpoints")
    options = {"observation_keys": list(KEYS), "prediction_horizon": 8, "action_horizon": HORIZON, "observation_horizon": 2}
    base = small_mlp(observation_horizon=2, action_horizon=HORIZON)
    node = {"_target_": "robolearn.policies.mlp.MlpPolicy", **options, "precision": "float32", "sizes": [32, 32]}
    model = ResidualModel(env_spec=POINT_REACH_SPEC, normalizer=WORDS["normalizer"], base=base, hidden=(16,), phase_input=True)
    with torch.no_grad():
        model.actor[-1].weight.normal_(generator=torch.Generator().manual_seed(0))
    words = {"env_spec": POINT_REACH_SPEC, "normalizer": point_reach_normalizer()}
    config = {"_target_": "robolearn.policies.residual.ResidualModel", "base": node, "hidden": [16], "phase_input": True}
    residual = save_checkpoint(folder / "residual", 1, config=config, tensors={"model": model.state_dict()}, **words)
    judge = {"_target_": "robolearn.policies.critics.ChunkCritic", "observation_keys": list(KEYS), "action_horizon": HORIZON}
    judge |= {"members": 2, "hidden": [8]}
    value = save_checkpoint(folder / "critic", 1, config=judge, tensors={"model": critic().state_dict()}, **words)
    return str(residual), str(value)


@pytest.fixture(scope="module")
def child(checkpoints):
    residual, value = checkpoints
    child = spawn_server({"checkpoint": residual, "critic": value, "steering_budget_ms": None, **STEERING})
    yield child
    child.close()


def simulated(checkpoints, seed, steps):
    residual, value = checkpoints
    policy = load_policy(residual, 1, critic=value, candidates=8, caution=0.0, temperature=0.5)
    env = PointReach(1)
    observation, _ = env.reset(seed=[seed])
    policy.reset(np.ones(1, bool), np.array([seed]))
    actions, observations = [], []
    for _ in range(steps):
        observations.append({name: array[0] for name, array in observation.items()})
        actions.append(policy.act(observation)[0])
        observation = env.step(actions[-1][None])[0]
    return np.stack(actions), observations


def test_a_real_checkpoint_gives_the_actions_of_simulation_to_the_bit(child, checkpoints):
    expected, observations = simulated(checkpoints, 11, 10)
    client = PolicyClient(child.url, child.token)
    welcome = client.hello(POINT_REACH_SPEC)
    assert (welcome.residual, welcome.critic, welcome.candidates, welcome.observation_horizon) == (True, True, 8, 2)
    for step, now in enumerate(observations):
        if step % HORIZON == 0:
            before = observations[max(step - 1, 0)]
            history = {name: np.stack([before[name], now[name]]) for name in now}
            chunk = client.sample(history, 11, step // HORIZON).value
        action = client.refine(now, chunk[step % HORIZON], step % HORIZON).value
        np.testing.assert_array_equal(action, expected[step])
    client.close()


def test_the_child_asks_for_its_token(child):
    with pytest.raises(InferenceError, match="401"):
        PolicyClient(child.url).hello(POINT_REACH_SPEC)


def test_a_thread_beside_a_loop_gets_answers_from_it(child, checkpoints):
    _, observations = simulated(checkpoints, 1, 1)
    inference = Inference(child.url, POINT_REACH_SPEC, child.token)
    inference.open()
    history = {name: np.stack([array, array]) for name, array in observations[0].items()}
    numbers = {inference.submit_sample(history, 1, 0), inference.submit_refine(observations[0], np.zeros(10), 0)}
    until, found = time.monotonic() + 20, []
    while len(found) < 2 and time.monotonic() < until:
        found += inference.poll()
        time.sleep(0.002)
    inference.close()
    assert {outcome.id for outcome in found} == numbers
    assert not any(outcome.error for outcome in found)


def test_sigterm_ends_it_cleanly(child):
    """The last test of the child: it ends it."""
    client = PolicyClient(child.url, child.token)
    client.hello(POINT_REACH_SPEC)
    child.process.send_signal(signal.SIGTERM)
    assert child.process.wait(10) == 143
    with pytest.raises(InferenceError):
        client.ping()


def test_a_child_that_cannot_start_says_why(tmp_path):
    with pytest.raises(UserError, match="no checkpoint at"):
        spawn_server({"checkpoint": tmp_path / "nothing here"})


CHILD = """
import sys, time
from robolearn.deploy.serving.main import follow
follow(int(sys.argv[1]))
print("ready", flush=True)
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_child_does_not_outlive_a_parent_that_was_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        number = int(parent.stdout.readline())
        assert _lives(number)
        parent.kill()
    until = time.monotonic() + 10
    while _lives(number) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _lives(number)


def _lives(number):
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["checkpoint=/nowhere"], "no checkpoint at /nowhere"),
        ([], "checkpoint=..."),
        (["checkpoint=x", "prot=1"], "did you mean 'port'?"),
        (["checkpoint=x", "threads=0"], "threads must be above 0"),
        (["checkpoint=x", "steering_budget_ms=-1"], "steering_budget_ms"),
        (["checkpoint=x", "host=0.0.0.0"], "insecure=true"),
        (["checkpoint=x", "policy.candidats=3"], "did you mean 'candidates'?"),
    ],
)
def test_a_mistake_is_one_line(words, says, capsys, monkeypatch):
    monkeypatch.delenv("ROBOLEARN_TOKEN", raising=False)
    assert cli.main(["serve", *words]) == 1
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_wrong_option_of_the_policy_is_one_line_too(checkpoints, capsys):
    assert cli.main(["serve", f"checkpoint={checkpoints[0]}", "candidates=4", "port=0"]) == 1
    assert "give critic=" in capsys.readouterr().err


@pytest.fixture
def as_before():
    """What serving changes of its process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    gc.unfreeze()


def test_ctrl_c_ends_it_after_a_line_that_says_where_it_was(checkpoints, capsys, as_before):
    port = free_port()

    def interrupt():
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                PolicyClient(f"ws://127.0.0.1:{port}").hello(POINT_REACH_SPEC)
                break
            except InferenceError:
                time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert cli.main(["serve", f"checkpoint={checkpoints[0]}", "strength=0", f"port={port}", "--json"]) == 130
    thread.join()
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["url"], told["healthz"]) == (f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}/healthz")
    assert told["model"].startswith("step_0000001 ")
    assert err == "interrupted\n"
