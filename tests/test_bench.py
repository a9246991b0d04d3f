"""Bench: every part prints well-formed figures, beside a peer in the same state, and a peer that is not there is left out."""

import json
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from robolearn import cli
from robolearn.bench.figures import Figure, in_turns
from robolearn.bench.peer import Peer, PeerError
from robolearn.bench.sim import _Lockstep, _Remembering
from robolearn.errors import UserError
from robolearn.sim import robosuite_compat
from robolearn.sim.assembly import Assembly
from robolearn.sim.bare import BareAssembly
from robolearn.sim.experts.one_leg import OneLegExpert
from tests.fakes import PointReach

LEROBOT = Path(__file__).parent.parent / ".venv-lerobot/bin/python"
ROBOMIMIC = Path(__file__).parent.parent / ".venv-robomimic/bin/python"
TINY = [
    "rounds=2",
    *("sim.num_envs=2", "sim.steps=1", "sim.envpool.num_envs=2", "sim.tasks=[pick_cube]"),
    *("sim.ppo.num_envs=2", "sim.ppo.horizon=2", "sim.ppo.iterations=1"),
    *("sim.robosuite_tasks.names=[lift]", "sim.robosuite_tasks.num_envs=2", "sim.robosuite_tasks.peer_steps=1"),
    *("sim.pictures.num_envs=1", "sim.pictures.steps=1"),
    *("train.steps=1", "train.batch_size=4"),
    *("infer.draws=2", "infer.batches=[1,2]", "infer.candidates=[1,2]"),
    *("data.episodes=2", "data.steps=20", "data.batches=2", "data.recording.seconds=0.2"),
    *("data.pictures.steps=4", "data.pictures.batch_size=2", "data.pictures.batches=1", "data.pictures.video=[h264]"),
]
EXPECTED = {
    "sim": {
        *(f"sim/one_leg_{what}" for what in ("steps", "simulated_time", "pictures_84", "pictures_224")),
        *(f"sim/pick_cube_{what}" for what in ("steps", "steps_beside_envpool")),
        *(f"sim/robosuite_{what}" for what in ("lift", "lift_asleep")),
        "sim/ppo_env_steps",
    },
    "train": {"train/diffusion_unet", "train/diffusion_mlp"},
    "infer": {
        *(f"infer/{policy}_b{rows}_p{p}" for policy in ("diffusion_unet", "diffusion_mlp") for rows in (1, 2) for p in (50, 99)),
        *(f"infer/steered_diffusion_mlp_k{k}_p{p}" for k in (1, 2) for p in (50, 99)),
    },
    "data": {
        *(f"data/{what}" for what in ("append_episode", "load_store", "window_batches", "state_windows", "state_windows_history_16")),
        *(f"data/size_{what}" for what in ("jpeg", "jpegxl", "zstd", "robomimic_gzip", "lerobot_h264")),
        *(f"data/{what}" for what in ("picture_windows", "picture_windows_as_floats", "stream_epoch_memory")),
        *(f"data/record_jpeg_{what}" for what in ("overrun_p99", "late_p99", "add_p99")),
        *(f"data/record_jpeg_{what}" for what in ("commit", "deepest_queue", "frames_busy", "size")),
    },
}


def bench(capsys, *words):
    assert cli.main(["bench", *words[:1], *TINY, *words[1:], "--json"]) == 0
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


@pytest.mark.parametrize("part", EXPECTED)
def test_each_part_prints_a_json_object_a_line_and_leaves_out_an_absent_peer(part, capsys):
    figures, err = bench(capsys, part, "peer_python=/nowhere/python", "robomimic_python=/nowhere/python")
    assert {figure["name"] for figure in figures} == EXPECTED[part]
    for figure in figures:
        assert list(figure) == ["name", "value", "unit", "peer", "peer_value", "ratio", "n"]
        assert figure["value"] > 0 or "overrun" in figure["name"]  # no step was late
        assert figure["n"] >= 1
        assert (figure["peer"] is None) == (figure["peer_value"] is None)
        assert (figure["ratio"] is None) == (not figure["peer_value"] or not figure["value"])
        assert not any(peer in (figure["peer"] or "") for peer in ("LeRobot", "robomimic"))
    assert ("LeRobot skipped: /nowhere/python is not there" in err) == (part in ("train", "infer", "data"))
    assert ("robomimic skipped: /nowhere/python is not there" in err) == (part == "data")


def test_a_peer_that_cannot_be_imported_is_left_out_saying_why(capsys):
    figures, err = bench(capsys, "train", f"peer_python={sys.executable}", "train.policies=[diffusion_mlp]")
    assert [figure["peer"] for figure in figures] == [None]
    assert "LeRobot skipped: ModuleNotFoundError: No module named 'lerobot'" in err


def test_streaming_keeps_within_its_bound_and_windows_stand_beside_peers_that_are_there(capsys):
    peers = [f"peer_python={LEROBOT}", f"robomimic_python={ROBOMIMIC}", "data.pictures.steps=12", "data.pictures.codecs=[jpeg]"]
    figures = {figure["name"]: figure for figure in bench(capsys, "data", *peers)[0]}
    assert figures["data/stream_epoch_memory"]["ratio"] > 0.98  # beside the cache and a batch, some kB of indices
    if LEROBOT.is_file():
        assert "LeRobot 0.4.4 LeRobotDataset" in figures["data/picture_windows"]["peer"]
    if ROBOMIMIC.is_file():
        assert figures["data/state_windows"]["peer"] == "robomimic 0.3.0 SequenceDataset"


@pytest.mark.skipif(not LEROBOT.is_file(), reason=f"LeRobot's environment {LEROBOT} is not there")
def test_figures_stand_beside_lerobots_policy_of_the_same_size(capsys):
    figures, _ = bench(capsys, "infer", f"peer_python={LEROBOT}", "infer.policies=[diffusion_unet]", "infer.batches=[1]")
    beside = [figure for figure in figures if figure["peer"] == "LeRobot 0.4.4 DiffusionPolicy"]
    assert [figure["name"] for figure in beside] == ["infer/diffusion_unet_b1_p50", "infer/diffusion_unet_b1_p99"]
    assert all(figure["peer_value"] > 0 for figure in beside)


@pytest.mark.long
@pytest.mark.alone
def test_the_default_run_plays_to_its_end_on_the_simulated_robot(capsys):
    figures, _ = bench(capsys, "run", "run.seconds=3", "run.budget_ms=50")
    found = {figure["name"]: figure for figure in figures}
    assert found["run/lateness_p99"]["n"] >= 250  # ticks, 100 a second
    assert found["run/late_critic/lateness_p99"]["n"] >= 250
    assert found["run/late_critic_fallbacks"]["value"] >= 2


@pytest.mark.parametrize(
    ("steps", "code", "says"), [(149, 1, "149 of 300 steps, too few"), (150, 0, "measured until it ended after 150 of 300 steps")]
)
def test_a_run_that_ends_by_a_fault_says_so_and_is_measured_where_it_was_half_over(tmp_path, monkeypatch, capsys, steps, code, says):
    series = {name: {"p50": 1.0, "p99": 2.0, "count": 10 * steps} for name in ("tick lateness", "observation to command")}
    cadence = {"series_ms": series, "missed": 0, "ticks": 10 * steps, "counts": {}}

    def play(argv, **_):
        (out,) = (Path(word.removeprefix("out=")) for word in argv if word.startswith("out="))
        out.mkdir(parents=True)
        (out / "result.json").write_text(json.dumps({"episodes": [{"steps": steps, "reason": "fault: too far"}]}))
        (out / "cadence.json").write_text(json.dumps(cadence))
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr("robolearn.bench.run.subprocess.run", play)
    assert cli.main(["bench", "run", f"run.checkpoint={tmp_path}"]) == code
    said = capsys.readouterr().err
    assert says in said
    assert "too far" in said


def test_several_parts_are_measured_in_the_order_given_and_shown_as_a_table(capsys):
    small = ["train.policies=[diffusion_mlp]", "infer.policies=[diffusion_mlp]"]
    assert cli.main(["bench", "infer", "train", "peer_python=/nowhere/python", *small, *TINY]) == 0
    out = capsys.readouterr().out
    assert 0 < out.index("infer/diffusion_mlp") < out.index("train/diffusion_mlp")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian"], "did you mean 'train'"),
        (["parts=[data,smi]"], "there are sim, train"),
        (["rounds=0"], "at least 1"),
        (["data", "data.episodes=0"], "data.episodes must be at least 1"),
        (["data", "sim", "task=lift"], "task takes one_leg, square_table"),
        (["sim", "task=lift"], "got 'lift'; lift is measured by sim.robosuite_tasks.names"),
        (["sim", "sim.tasks=[can]"], "sim.tasks takes one_leg"),
        (["sim", "sim.tasks=lamp"], "sim.tasks takes a list"),
        (["sim", "sim.tasks=[lmap]"], "got 'lmap'; did you mean 'lamp'?"),
        (["sim", "sim.robosuite_tasks.names=[one_leg]"], "sim.robosuite_tasks.names takes lift, stack"),
        (["sim", "sim.ppo.base=/nowhere"], "/nowhere"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_measured(words, says, capsys):
    assert cli.main(["bench", *words, "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert says in errors[0]


@pytest.mark.parametrize(("unit", "ratio"), [("steps/s", 2.0), ("ms", 0.5)])
def test_a_ratio_above_one_is_faster_than_the_peer_in_rates_and_in_durations(unit, ratio):
    assert Figure("x", 10.0, unit, 1, "peer", 5.0).ratio == ratio


def test_tasks_take_turns_and_the_order_alternates():
    played = []

    def task(name, seconds):
        def play():
            played.append(name)
            return seconds

        return play

    first, second = in_turns(3, task("a", 1.0), task("b", [2.0, 3.0]))
    assert "".join(played) == "abbaab"
    assert first.tolist() == [1.0] * 3
    assert second.tolist() == [2.0, 3.0] * 3


def script(folder, text):
    path = folder / "peer.py"
    path.write_text(textwrap.dedent(text))
    return path


def test_a_peer_answers_requests_and_what_it_said_last_explains_its_end(tmp_path):
    echo = """
        import json, sys
        print(json.dumps({"name": sys.argv[1]}), flush=True)
        for line in sys.stdin:
            print(line, end="", flush=True)
            if json.loads(line)["draws"] > 1:
                sys.exit("too many")
    """
    peer = Peer(Path(sys.executable), script(tmp_path, echo), {"threads": 1})
    try:
        assert peer.name == '{"threads": 1}'
        assert peer.ask(draws=1) == {"draws": 1}
        peer.ask(draws=2)
        with pytest.raises(PeerError, match="too many"):
            peer.ask(draws=1)
    finally:
        peer.close()


def test_the_bare_physics_goes_where_the_environment_goes_to_the_bit():
    env, bare = Assembly("one_leg", 2, threads=1), BareAssembly("one_leg", 2, 1)
    lockstep = _Lockstep(env, bare, OneLegExpert(2))
    followed = []
    bare.follow = lambda state, restarted: followed.append(np.abs(bare._batch.state - state[:, : bare._batch.state.shape[1]]).max())
    lockstep.play(4)
    assert followed == [0.0] * 4
    env.close()


def test_what_was_asked_of_an_environment_is_done_again_to_the_same_end():
    env = _Remembering(PointReach(3))
    env.reset(seed=[1, 2, 3])
    start = env.get_state()
    env.set_state(start)
    for step in range(3):
        env.step(np.full((3, 10), 0.1 * step, np.float32))
    end = env.get_state()
    assert (end != start).any()
    assert env.replay() > 0
    np.testing.assert_array_equal(env.get_state(), end)
    assert env.calls == []


def test_robosuite_runs_on_this_mujoco():
    world = robosuite_compat.make("NutAssemblySquare")
    world.reset()
    observation, *_ = world.step(np.zeros(world.action_dim))
    assert np.isfinite(observation["robot0_proprio-state"]).all()
    arm = world.robots[0].part_controllers["right"]
    np.testing.assert_allclose(arm.mass_matrix, arm.mass_matrix.T, atol=1e-9)
    assert np.linalg.eigvalsh(arm.mass_matrix).min() > 0
    nut = world.sim.model.get_joint_qpos_addr(world.nuts[0].joints[0])
    assert nut[1] - nut[0] == 7
    assert np.linalg.norm(world.sim.data.qpos[nut[0] + 3 : nut[1]]) == pytest.approx(1.0)
    world.close()


def test_the_robosuite_patch_bridges_only_what_is_broken(monkeypatch):
    assert set(robosuite_compat.missing_names()) == {"mjtJoint", "MjData.qM", "mj_fullM"}
    monkeypatch.setattr(robosuite_compat.mujoco.MjData, "qM", None, raising=False)
    assert "MjData.qM" not in robosuite_compat.missing_names()


def test_the_robosuite_patch_refuses_versions_it_was_not_written_for(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda package: {"robosuite": "1.5.20", "mujoco": "4.0.0"}[package])
    with pytest.raises(UserError, match=r"robosuite 1\.5\.2\*, 1\.5\.20 is installed"):
        robosuite_compat.patch()
