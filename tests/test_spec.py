"""Specs and episodes: what travels is checked at the border."""

import dataclasses
import json

import numpy as np
import pytest

from robolearn.episode import Episode
from robolearn.spec import ActionSpec, ArraySpec, EnvSpec, SpecError, tool_pose_action
from robolearn.tasks import env_spec_of

SPEC = EnvSpec(
    "reach",
    {"tcp_pos": ArraySpec((3,), units="m", frame="base"), "width": ArraySpec((1,))},
    tool_pose_action((-1, -1, 0), (1, 1, 1)),
    10.0,
    ("near", "done"),
)


def episode(steps=4, **changes):
    observations = {"tcp_pos": np.zeros((steps, 3), np.float32), "width": np.zeros((steps, 1), np.float32)}
    values = {
        "observations": observations,
        "actions": np.zeros((steps, 10), np.float32),
        "rewards": np.zeros(steps, np.float32),
        "terminated": True,
        "truncated": False,
        "success": True,
    }
    return Episode(**{**values, **changes})


def test_a_spec_survives_json():
    assert EnvSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC


def test_the_canonical_action_is_position_rot6d_gripper():
    assert SPEC.action.size == 10
    assert SPEC.action.names == ("x", "y", "z", "r11", "r12", "r13", "r21", "r22", "r23", "gripper")
    assert SPEC.action.low[:4] == (-1, -1, 0, -1.0)


@pytest.mark.parametrize("broken", [{}, {"task": "x"}, {**SPEC.to_dict(), "observation": {"a": {}}}, {**SPEC.to_dict(), "action": None}])
def test_what_is_no_spec_is_refused(broken):
    with pytest.raises(SpecError, match="no env spec"):
        EnvSpec.from_dict(broken)


def test_limits_and_names_of_an_action_have_one_length():
    with pytest.raises(SpecError, match="2 channels"):
        ActionSpec(("x", "y"), (0.0,), (1.0, 1.0))


def test_a_good_episode_passes():
    episode().check(SPEC)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"actions": np.zeros((4, 9))}, "actions have shape"),
        ({"actions": np.full((4, 10), np.nan)}, "first at step 0"),
        ({"rewards": np.zeros(3)}, "rewards have shape"),
        ({"observations": {"tcp_pos": np.zeros((4, 3))}}, "'width' is missing"),
        ({"observations": {"tcp_pos": np.zeros((4, 2)), "width": np.zeros((4, 1))}}, r"shape \(2,\), expected \(3,\)"),
        ({"observations": {"tcp_pos": np.full((4, 3), np.inf), "width": np.zeros((4, 1))}}, "NaN or infinity"),
        ({"observations": {"tcp_pos": np.zeros((5, 3)), "width": np.zeros((4, 1))}}, "5 rows for 4 actions"),
        ({"sim_state": np.zeros((3, 2))}, "sim_state has 3 rows"),
        ({"sim_state": np.zeros(4)}, r"sim_state has shape \(4,\), expected \(4, S\)"),
        ({"sim_state": np.full((4, 2), np.nan)}, "sim_state holds NaN"),
        ({"rewards": np.array([0, np.nan, 0, 0])}, "rewards hold NaN or infinity, first at step 1"),
        ({"rewards": np.array([0, "1", 0, 0], object)}, "rewards: expected an array of numbers, got object"),
        ({"actions": [[0.0] * 10] * 4}, "actions: expected an array of numbers, got list"),
        ({"provenance": {"source": "martian"}}, "no source 'martian'"),
        ({"actions": np.zeros((0, 10))}, "at least one step"),
    ],
)
def test_a_broken_episode_is_refused_and_the_error_says_where(changes, says):
    with pytest.raises(SpecError, match=says):
        episode(**changes).check(SPEC)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"control_hz": 20.0}, "trained at 20.0 Hz"),
        ({"observation": {"tcp_poss": ArraySpec((3,))}}, "did you mean 'tcp_pos'"),
        ({"observation": {"tcp_pos": ArraySpec((7,))}}, r"shape \(7,\)"),
        ({"action": ActionSpec(("dx",), (-1.0,), (1.0,))}, "acts on"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(changes, says):
    SPEC.check_serves(SPEC)
    with pytest.raises(SpecError, match=says):
        SPEC.check_serves(dataclasses.replace(SPEC, **changes))
    with pytest.raises(SpecError, match=r"^the store") as caught:  # where episodes are played again, there is no policy
        SPEC.check_serves(dataclasses.replace(SPEC, **changes), recorded=True)
    assert "policy" not in str(caught.value)


def test_episodes_of_one_task_are_not_those_of_another_with_the_same_shapes():
    peg, mug = env_spec_of("peg_hole"), env_spec_of("mug_rack")
    with pytest.raises(SpecError, match="episodes of task 'mug_rack', this is task 'peg_hole'; give task=mug_rack"):
        peg.check_serves(mug, recorded=True)
    peg.check_serves(dataclasses.replace(mug, task="another project's"), recorded=True)
    peg.check_serves(mug)  # a policy may be tried elsewhere


def test_only_the_keys_that_a_policy_reads_need_to_fit():
    wider = dataclasses.replace(SPEC, observation={**SPEC.observation, "camera": ArraySpec((64, 64, 3))})
    SPEC.check_serves(wider, ("tcp_pos",))


@pytest.mark.parametrize(("path", "value"), [(["control_hz"], 0), (["control_hz"], float("nan")), (["action", "low"], [None, -1.0])])
def test_a_spec_with_numbers_that_are_none_is_refused(path, value):
    data = EnvSpec("toy", {}, ActionSpec(("x", "y"), (-1.0, -1.0), (1.0, 1.0)), 10.0).to_dict()
    node = data["action"] if len(path) > 1 else data
    node[path[-1]] = value
    with pytest.raises(SpecError, match="this is no env spec"):
        EnvSpec.from_dict(data)
