"""However a run ends, the robot stands before anything else is done."""

import contextlib
from types import SimpleNamespace

import pytest

from robolearn.deploy.runner import main as module
from robolearn.errors import UserError


def test_the_robot_is_stopped_before_anything_is_written(monkeypatch):
    did = []
    parts = SimpleNamespace(about=dict, stages=(), command=SimpleNamespace(stop=lambda: did.append("stop")))
    parts.episodes = SimpleNamespace(results=[])

    def play(*given):
        raise UserError("the joints are gone")

    def write(*given, **named):
        did.append("write")
        raise OSError("the disk is full")

    replaced = {"to_dict": lambda cfg: {"robot": {}}, "checked": lambda options: [7], "check_beside": lambda *given: None}
    replaced |= {"instantiate": lambda given: SimpleNamespace(name="arm", rate_hz=100.0), "Parts": lambda *given: parts}
    replaced |= {"start_run": lambda *given, **named: contextlib.nullcontext(SimpleNamespace(dir=None)), "write_run": lambda *given: None}
    for name, value in {**replaced, "play": play, "write_results": write}.items():
        monkeypatch.setattr(module, name, value)
    with pytest.raises(OSError, match="full"):
        module.main({})
    assert did == ["stop", "write"]
