"""A run's parts are what its robot and policy ask for."""

from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from robolearn.deploy.drills.rig import options_of
from robolearn.deploy.runner import parts as module
from robolearn.deploy.runner.parts import Parts
from robolearn.errors import UserError
from robolearn.nodes import instantiate
from tests.deploy.runner.doubles import ACTION


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, 0), (0.04, 0), (0.06, 1), (0.23, 2)])
def test_a_slow_gripper_is_told_ahead_in_whole_policy_steps(seconds, steps):
    parts = object.__new__(Parts)
    parts._options = {"execution": {"action_horizon": None, "mode": "receding", "grace_ms": 20, "refine_ms": 50}}
    parts._robot, parts.inference = SimpleNamespace(gripper_response=seconds), object()
    policy = {"prediction_horizon": 8, "action_horizon": 4, "observation_horizon": 1, "control_hz": 10.0, "residual": False}
    parts.welcome = SimpleNamespace(spec=SimpleNamespace(action=ACTION), **policy)
    assert parts._autonomy()._gripper_ahead == steps


def test_a_transport_that_is_not_there_is_refused_before_a_policy_is_loaded(monkeypatch):
    monkeypatch.setattr(module, "spawn_server", lambda options: pytest.fail("loaded"))
    options = {"simulate": None, "control_hz": 10.0, "checkpoint": "policy", "server": None, "task_name": None, "policy": {}}
    options["transport"] = {"_target_": "robolearn.deploy.transport.choose.open_transport", "kind": "pigeons"}
    with ExitStack() as stack, pytest.raises(UserError, match="pigeons"):
        Parts(options, instantiate(options_of("sim_franka")), None, stack)
