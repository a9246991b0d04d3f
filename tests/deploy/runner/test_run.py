"""``robolearn run`` against ``robolearn sim-robot``: a policy plays a simulated Franka, each in its own process, over real DDS."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from robolearn.checkpoint import save_checkpoint
from robolearn.config import compose
from robolearn.datasets.store import DemoStore
from robolearn.nodes import instantiate, to_dict
from robolearn.normalize import ACTION, Affine, Normalizer
from robolearn.policies.mlp import MlpPolicy
from robolearn.report import read_evaluation
from robolearn.robot_run import read_run
from robolearn.rotation import rot6d_from_matrix
from robolearn.run import start_run
from robolearn.spec import ArraySpec
from robolearn.tasks import one_leg_spec
from tests.deploy.transport.conftest import own_domain

pytest.importorskip("cyclonedds")
ROOT = Path(__file__).parents[3]
KEYS = ("tcp_pos", "tcp_rot6d")
MOVED = np.array([0.0, 0.08, 0.0])  # [m] from above the home pose
STEPS = 30


def robot():
    return instantiate(to_dict(compose("run", ["robot=sim_franka_pose"]))["robot"])


def target():
    """A canonical action: the home pose, moved aside."""
    franka = robot()
    position, rotation = franka.chain.forward(np.array(franka.home))
    return np.concatenate([position + MOVED, rot6d_from_matrix(rotation), [-1.0]]).astype(np.float32)


def save_policy(folder, spec, keys=KEYS):
    """A checkpoint of a network that always draws the same action."""
    parts = {
        name: Affine(np.zeros(spec.observation[name].shape, np.float32), np.ones(spec.observation[name].shape, np.float32)) for name in keys
    }
    normalizer = Normalizer({**parts, ACTION: Affine(target(), np.ones(10, np.float32))})
    words = {"observation_keys": list(keys), "prediction_horizon": 8, "action_horizon": 4, "sizes": [8]}
    model = MlpPolicy(env_spec=spec, normalizer=normalizer, precision="float32", **words)
    with torch.no_grad():
        for values in model.parameters():
            values.zero_()
    config = {"_target_": "robolearn.policies.mlp.MlpPolicy", "precision": "float32", **words}
    return str(save_checkpoint(folder, 1, env_spec=spec, normalizer=normalizer, config=config, tensors={"model": model.state_dict()}))


def run(folder, *options):
    """``robolearn run`` in a DDS domain of this test's own: exit code, what it printed, what it complained."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ROS_", "CYCLONEDDS"))}
    environment |= {"ROS_DOMAIN_ID": str(own_domain() + 100), "PYTHONPATH": str(ROOT)}
    words = ["run", "transport.kind=cyclonedds", f"out={folder}", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "robolearn", *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        said, complained = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
    return process.returncode, said, complained


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """One episode of three seconds: the run's folder and the printed document."""
    folder = tmp_path_factory.mktemp("run")
    policy = save_policy(folder / "policy", one_leg_spec())
    with start_run(OmegaConf.create({"out": str(folder / "out")}), "run", log=False) as old:
        (old.dir / "old.mcap").touch()
    patient = (
        "safety.late_steps=20",
        "safety.hold_s=5",
        "safety.deaf_s=1",
        "safety.holds=99",
    )  # with a machine that has other things to do
    simulated = ("robot=sim_franka_pose", "simulate={task: one_leg, controller: equilibrium_pose}", "on_fault=end")
    words = (f"checkpoint={policy}", *simulated, f"steps={STEPS}", "json=true", "overwrite=true", *patient)
    code, said, complained = run(folder / "out", *words)
    assert code == 0, complained
    return folder / "out", json.loads(said.splitlines()[-1])


pytestmark = pytest.mark.alone  # it plays in real time


def test_the_episode_is_in_the_store_with_what_was_seen_and_done(played):
    folder, told = played
    store = DemoStore.open(folder / "episodes.zarr")
    episode = store.episode(0)
    assert (store.num_episodes, told["episodes"][0]["steps"], told["episodes"][0]["reason"]) == (1, STEPS, "time limit")
    assert STEPS - 5 <= len(episode.actions) <= STEPS
    np.testing.assert_allclose(episode.actions[-1], target(), atol=1e-5)
    assert store.env_spec.task == "one_leg"


def test_the_run_that_was_there_is_gone(played):
    assert not [place.name for place in played[0].iterdir() if place.name == "old.mcap" or place.name.startswith(".robolearn")]
    assert played[1]["lost_recordings"] == []


def test_the_tool_went_where_the_policy_said(played):
    seen = DemoStore.open(played[0] / "episodes.zarr").episode(0).observations["tcp_pos"]
    first, last = (np.linalg.norm(seen[index] - target()[:3]) for index in (0, -1))
    assert last < 0.02 < first


def test_joints_stayed_within_their_limits_and_the_robot_had_no_fault(played):
    told, limits = read_run(played[0]), robot().limits
    assert {"running", "idle"} <= {event["event"] for event in told.events}
    assert not [event for event in told.events if event["event"] in ("stopping", "fault")]
    setpoints = told.trace["commanded"][np.isfinite(told.trace["commanded"]).all(axis=1)]
    assert len(setpoints) > 100
    assert (setpoints > np.array(limits.lower)).all()
    assert (setpoints < np.array(limits.upper)).all()


def test_the_log_of_messages_is_read_by_the_library_that_others_use(played):
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    heard, commands = [], []
    with (played[0] / "run.mcap").open("rb") as file:
        topics = ["/joint_states", "/cartesian_impedance_controller/equilibrium_pose"]  # beside them there are events, in JSON
        for _, channel, _, message in make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages(topics):
            if channel.topic == "/joint_states":
                heard.append(message.position[0])
            elif channel.topic == "/cartesian_impedance_controller/equilibrium_pose":
                commands.append(message)
    assert len(heard) > 100
    assert len(commands) > 100
    last = commands[-1].pose.position
    np.testing.assert_allclose([last.x, last.y, last.z], target()[:3], atol=0.02)


def test_how_punctual_it_was_is_kept(played):
    cadence = json.loads((played[0] / "cadence.json").read_text())
    assert "tick lateness" in json.dumps(cadence)
    results = read_evaluation(played[0] / "results.json")
    assert (results["episodes"], results["split"]) == (played[1]["episodes"], "evaluation")


ONE_LEG = one_leg_spec()
FORCE = {**ONE_LEG.observation, "wrist_force": ArraySpec((3,))}


@pytest.mark.parametrize(
    ("spec", "keys", "words"),
    [
        (replace(ONE_LEG, action=replace(ONE_LEG.action, names=tuple("abcdefghij"))), KEYS, ["('a', 'b'", "('x', 'y'"]),
        (replace(ONE_LEG, control_hz=20.0), KEYS, ["20", "10"]),
        (replace(ONE_LEG, observation=FORCE), (*KEYS, "wrist_force"), ["'wrist_force'", "gripper_width"]),
    ],
    ids=["another action space", "another rate", "a sensor that is not there"],
)
def test_a_policy_for_another_robot_is_refused_in_one_line_that_names_both_before_anything_moves(spec, keys, words, tmp_path):
    policy = save_policy(tmp_path / "policy", spec, keys)
    code, _, complained = run(tmp_path / "out", f"checkpoint={policy}")
    assert (code, complained.count("\n")) == (1, 1), complained
    assert all(word in complained for word in words), complained
    assert not (tmp_path / "out").exists()
