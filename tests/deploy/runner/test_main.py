"""However a run ends, the robot stands before anything else is done."""

import contextlib
import json
from types import SimpleNamespace

import pytest

from robolearn.deploy.runner import main as module
from robolearn.deploy.runner.outcome import write_results
from robolearn.errors import UserError


@pytest.fixture
def staged(monkeypatch):
    """``main`` with doubles around it: what they did, in order, and their parts."""
    did = []
    parts = SimpleNamespace(about=dict, stages=(), command=SimpleNamespace(stop=lambda: did.append("stop")))
    parts.episodes = SimpleNamespace(results=[])
    parts.recorder = SimpleNamespace(close=lambda: did.append("close"), lost=[], problems=list)
    parts.cadence = SimpleNamespace(summary=dict, arrays=dict)
    parts.trace = SimpleNamespace(arrays=dict)
    run = SimpleNamespace(dir=None, begin=lambda: did.append("begin"), finish=lambda document: None)
    options = {"robot": {}, "json": True}
    replaced = {"to_dict": lambda cfg: options, "checked": lambda options: [7], "check_beside": lambda *given: None}
    replaced |= {"instantiate": lambda given: SimpleNamespace(name="arm", rate_hz=100.0), "Parts": lambda *given: parts}
    replaced |= {"start_run": lambda *given, **named: contextlib.nullcontext(run), "write_run": lambda *given: None}
    replaced |= {"play": lambda *given: did.append("play"), "write_statistics": lambda *given, **named: None}
    for name, value in replaced.items():
        monkeypatch.setattr(module, name, value)
    return did, parts


def test_the_robot_is_stopped_before_anything_is_written(staged, monkeypatch):
    did, _ = staged

    def play(*given):
        raise UserError("the joints are gone")

    def write(*given, **named):
        did.append("write")
        raise OSError("the disk is full")

    monkeypatch.setattr(module, "play", play)
    monkeypatch.setattr(module, "write_results", write)
    with pytest.raises(OSError, match="full"):
        module.main({})
    assert did == ["stop", "close", "write"]


def test_an_episode_that_the_recorder_loses_while_it_closes_is_told_and_the_run_fails(staged, monkeypatch, tmp_path, capsys):
    did, parts = staged
    parts.recorder.close = lambda: parts.recorder.lost.append("episode 0 is lost: the recorder was killed")
    monkeypatch.setattr(module, "write_results", lambda folder, *given: write_results(tmp_path, *given))
    monkeypatch.setattr(module, "as_text", lambda *given: "")
    assert module.main({}) == 1
    said = capsys.readouterr()
    assert said.err == "error: not in the store: episode 0 is lost: the recorder was killed\n"
    assert json.loads(said.out)["lost_recordings"] == ["episode 0 is lost: the recorder was killed"]
    assert json.loads((tmp_path / "results.json").read_text())["lost_recordings"] == ["episode 0 is lost: the recorder was killed"]
    assert did == ["play", "stop"]


def test_a_run_whose_episodes_are_all_in_the_store_succeeds(staged, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(module, "write_results", lambda folder, *given: write_results(tmp_path, *given))
    assert module.main({}) == 0
    assert json.loads(capsys.readouterr().out)["lost_recordings"] == []
