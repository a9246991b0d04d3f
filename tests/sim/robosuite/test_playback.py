"""robosuite's own recordings and descriptions of tasks: played back by states and by actions, built from robomimic's words."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.sim.robosuite.env import RobosuiteEnv
from robolearn.sim.robosuite.env_args import environment_of
from robolearn.sim.robosuite.host import make_host
from robolearn.sim.robosuite.playback import canonical_actions, solved_in, with_sizes_of

FIXTURES = os.environ.get("ROBOLEARN_FIXTURES")
OLD = {  # as robomimic's data sets of robosuite 1.4 have it
    "type": "OSC_POSE", "input_max": 1, "input_min": -1, "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
    "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5], "kp": 150, "damping": 1, "impedance_mode": "fixed", "kp_limits": [0, 300],
    "damping_limits": [0, 10], "position_limits": None, "orientation_limits": None, "uncouple_pos_ori": True, "control_delta": True,
    "interpolation": None, "ramp_ratio": 0.2,
}  # fmt: skip
NEW = {  # and of 1.5
    "type": "BASIC",
    "body_parts": {
        "right": {
            **{key: value for key, value in OLD.items() if key not in ("damping", "damping_limits", "control_delta")},
            "damping_ratio": 1, "input_type": "delta", "input_ref_frame": "world", "gripper": {"type": "GRIP"},
        }
    },
}  # fmt: skip
DRAWING = {"has_renderer": False, "has_offscreen_renderer": False, "ignore_done": True, "use_object_obs": True, "use_camera_obs": False}


def env_args(controller, name="PickPlaceCan", robots="Panda", **kwargs):
    described = {**DRAWING, "control_freq": 20, "controller_configs": controller, "robots": robots, "reward_shaping": False, **kwargs}
    return json.dumps({"env_name": name, "env_version": "1.4.1", "type": 1, "env_kwargs": described})


@pytest.mark.skipif(not FIXTURES, reason="ROBOLEARN_FIXTURES is not set: no recordings to play back")
@pytest.mark.parametrize("task", ["lift", "stack"])
def test_a_persons_recording_succeeds_by_states_and_by_its_actions_as_goals(task):
    h5py = pytest.importorskip("h5py")
    folder = Path(str(FIXTURES)) / "robosuite_v1" / task
    with h5py.File(folder / "demo.hdf5") as file:
        demo = file["data/demo_1"]
        states, actions, model = demo["states"][:], demo["actions"][:], demo.attrs["model_file"]
    host = make_host(task)
    xml = with_sizes_of(host, (folder / "models" / model).read_text())
    many, one = (RobosuiteEnv(task, rows, threads=1, xml=xml, max_episode_steps=1000) for rows in (64, 1))
    solved = solved_in(many, states)
    assert not solved[: len(solved) // 2].any()
    assert solved[-1]
    goals = canonical_actions(many, states, actions)
    positions = host.sim.model._model.nq
    one.place(np.ones(1, bool), states[:1, 1 : 1 + positions], states[:1, 1 + positions :])
    assert any(one.step(goal[None])[-1]["success"][0] for goal in goals)


def test_a_recordings_sizes_are_the_worlds():
    host = make_host("lift")
    cube = '<body name="cube"><geom name="cube" size=".03 .01 .02" type="box"/><joint type="free"/></body>'
    recorded = f"<mujoco><worldbody>{cube}</worldbody></mujoco>"
    env = RobosuiteEnv("lift", 1, threads=1, xml=with_sizes_of(host, recorded))
    np.testing.assert_allclose(env.engine.model.geom("cube_g0").size, [0.03, 0.01, 0.02])
    with pytest.raises(ValueError, match="0 free objects, the task 1"):
        with_sizes_of(host, "<mujoco/>")


@pytest.mark.parametrize("rows", [2])
def test_env_args_of_either_version_build_the_same_world(rows):
    old, new = environment_of(env_args(OLD), rows, threads=1), environment_of(env_args([NEW]), rows, threads=1)
    assert old.env_spec == new.env_spec
    assert (old.env_spec.action.frame, old.env_spec.action.size) == ("world", 7)
    rng = np.random.default_rng(0)
    for env in (old, new):
        env.reset(seed=1)
    for _ in range(3):
        action = rng.uniform(-1, 1, (rows, 7))
        shown = [env.step(action)[0]["object"] for env in (old, new)]
        np.testing.assert_array_equal(*shown)


def test_env_args_say_whether_actions_are_absolute_and_can_be_overruled():
    absolute = env_args({**OLD, "control_delta": False}, "TwoArmTransport", ["Panda", "Panda"])
    env = environment_of(absolute, 1, threads=1)
    assert type(env.inputs).__name__ == "AbsoluteInputs"
    assert env.env_spec.action.size == 14
    env = environment_of(absolute, 1, threads=1, input_type="canonical")
    assert env.env_spec.action.size == 20


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ("{", "env_args are JSON with env_name"),
        (json.dumps({"env_name": "Lift", "type": 2}), "type 2 are not robosuite's"),
        (env_args(OLD, "Lifts"), "no batched robosuite task 'Lifts'.*did you mean 'Lift'"),
        (env_args(OLD, "Lift", "Sawyer"), "has 1 of the robot Panda, not Sawyer"),
        (env_args({**OLD, "impedance_mode": "variable"}), "impedance_mode='fixed', not 'variable'"),
        (env_args({**OLD, "type": "JOINT_VELOCITY"}), "type='OSC_POSE', not 'JOINT_VELOCITY'"),
    ],
)
def test_what_batches_cannot_be_is_said(described, message):
    with pytest.raises(UserError, match=message):
        environment_of(described, 1)
