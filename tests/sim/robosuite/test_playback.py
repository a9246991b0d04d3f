"""robosuite's own recordings and descriptions of tasks: played back by states and by actions, built from robomimic's words."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robolearn import cli
from robolearn.errors import UserError
from robolearn.learning.recordings import Recording
from robolearn.learning.replay import replay
from robolearn.sim.experts.pick_and_place import LiftExpert
from robolearn.sim.robosuite.env import inputs_of
from robolearn.sim.robosuite.env_args import environment_of
from robolearn.sim.robosuite.playback import worlds

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


def two_arms(**second):
    return env_args([OLD, {**OLD, **second}], "TwoArmTransport", ["Panda", "Panda"])


def imported(source, out):
    assert cli.main(["data", "import", f"source={source}", f"out={out}"]) == 0
    return out


def replayed(store, capsys, *words):
    capsys.readouterr()
    assert cli.main(["data", "replay", f"store={store}", "worlds.threads=1", "json=true", *words]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.skipif(not FIXTURES, reason="ROBOLEARN_FIXTURES is not set: no recordings to play back")
@pytest.mark.parametrize("task", ["lift", "stack"])
def test_a_persons_recording_succeeds_by_states_and_by_its_actions_as_goals(task, tmp_path, capsys):
    pytest.importorskip("h5py")
    store = imported(Path(str(FIXTURES)) / "robosuite_v1" / task, tmp_path / "store.zarr")
    by_states, by_actions = (replayed(store, capsys, f"by={by}") for by in ("states", "actions"))
    for facts in (by_states, by_actions):
        assert (facts["task"], facts["success"], facts["episodes"]) == (task.capitalize(), 1, 1)
    (seen,), (played,) = by_states["per_episode"], by_actions["per_episode"]
    assert seen["name"] == played["name"] == "demo_1"
    assert seen["reached_success"] > seen["steps"] / 2  # not solved from the start
    assert abs(seen["reached_success"] - played["reached_success"]) < 5
    assert by_actions["median_rms"]["tcp_pos"] < 0.01


class Lifted:
    """A demonstration of Lift in robosuite's words: the expert's, its goals written as deltas; and one that stays where it is."""

    def __init__(self, cube=(0.02, 0.03, 0.021)):
        self.env = environment_of(env_args(OLD, "Lift"), 2, threads=1, recorded=self.with_cube(cube))
        env, expert = self.env, LiftExpert(2)
        wanted = inputs_of("lift", "canonical", env.view)
        observation, _ = env.reset(seed=[3, 4])
        expert.reset(np.ones(2, bool), np.array([3, 4]))
        states, actions = [], []
        for _ in range(90):
            states.append(self.states())
            here = env.view.here()
            actions.append(env.inputs.actions(wanted.goals(expert.act(observation).astype(float), here), here))
            actions[-1][1] = 0.0
            observation, *_, info = env.step(actions[-1])
        assert info["success"].tolist() == [True, False]
        self.states_of_rows, self.actions_of_rows = np.stack(states, 1), np.stack(actions, 1)
        self.model = self.with_cube(cube)

    @staticmethod
    def with_cube(size):
        geom = f'<geom name="cube" size="{" ".join(map(str, size))}" type="box"/>'
        return f'<mujoco><worldbody><body name="cube">{geom}<joint type="free"/></body></worldbody></mujoco>'

    def states(self):
        """Time, positions and velocities in robosuite's order, ``(2, 1 + nq + nv)``."""
        env, model = self.env, self.env.host.sim.model._model
        qpos, qvel = np.zeros((2, model.nq)), np.zeros((2, model.nv))
        qpos[:, env._positions], qvel[:, env._velocities] = env.view.qpos, env.view.qvel
        return np.concatenate([np.zeros((2, 1)), qpos, qvel], 1)

    def write(self, path, described):
        with pytest.importorskip("h5py").File(path, "w") as file:
            data = file.create_group("data")
            data.attrs["env_args"] = described
            for row in range(2):
                demo = data.create_group(f"demo_{row}")
                demo.attrs["num_samples"], demo.attrs["model_file"] = 90, self.model
                demo["states"], demo["actions"] = self.states_of_rows[row], self.actions_of_rows[row]
        return path


@pytest.fixture(scope="module")
def lifted():
    made = Lifted()
    yield made
    made.env.close()


@pytest.mark.parametrize("controller", [OLD, NEW])
def test_robomimics_data_of_either_version_play_in_the_world_that_they_name(controller, lifted, tmp_path, capsys):
    store = imported(lifted.write(tmp_path / "low_dim.hdf5", env_args(controller, "Lift")), tmp_path / "store.zarr")
    for by in ("states", "actions"):
        facts = replayed(store, capsys, f"by={by}")
        assert [(row["name"], row["success"]) for row in facts["per_episode"]] == [("demo_0", True), ("demo_1", False)]
    assert cli.main(["data", "replay", f"store={store}", "by=states"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["demo_0", "solves", "Lift", "at", "step", str(facts["per_episode"][0]["reached_success"])], ["demo_1", "fails"]
    ]  # fmt: skip


def test_recordings_whose_objects_have_other_sizes_have_worlds_of_their_own(lifted):
    recording = Recording("one", lifted.states_of_rows[0], lifted.actions_of_rows[0], lifted.model)
    other = replace(recording, model=Lifted.with_cube((0.03, 0.01, 0.02)))
    found = []
    for indices, world in worlds(json.loads(env_args(OLD, "Lift")), [recording, other, recording], 8, threads=1):
        assert world.env.num_envs == len(indices)
        found.append((indices, world.env.engine.model.geom("cube_g0").size.tolist()))
    assert found == [([0, 2], [0.02, 0.03, 0.021]), ([1], [0.03, 0.01, 0.02])]


def test_a_replay_leaves_nothing_to_the_next_in_its_world(lifted):
    recordings = [Recording(str(row), lifted.states_of_rows[row], lifted.actions_of_rows[row], lifted.model) for row in range(2)]
    for _, world in worlds(json.loads(env_args(OLD, "Lift")), recordings, 1, threads=1):
        reached = [replay(world.env, [world.episode(recording)[0]], hold=0).reached[0] for recording in recordings]
    assert (reached[0] > 1).all()
    assert (reached[1] == -1).all()


@pytest.mark.parametrize(
    ("different", "message"),
    [
        ({"model": "<mujoco/>"}, "0 free objects, the task 1"),
        ({"model": "<mujoco"}, "no XML"),
        ({"states": np.zeros((9, 59))}, "one of Lift: states have 59 numbers a step, those of the task here 32"),
        ({"actions": np.zeros((9, 8))}, "one of Lift: actions have 8 numbers a step, those of the task here 7"),
    ],
)
def test_a_recording_of_another_world_is_said(different, message, lifted):
    recording = replace(Recording("one", lifted.states_of_rows[0], lifted.actions_of_rows[0], None), **different)
    with pytest.raises(UserError, match=message):
        for _, world in worlds(json.loads(env_args(OLD, "Lift")), [recording], 1, threads=1):
            world.episode(recording)


def test_a_store_of_a_task_that_is_not_batched_names_it(lifted, tmp_path, capsys):
    store = imported(lifted.write(tmp_path / "low_dim.hdf5", env_args(OLD, "NutAssembly")), tmp_path / "store.zarr")
    assert cli.main(["data", "replay", f"store={store}"]) == 1
    assert "no batched robosuite task 'NutAssembly'; there are Lift, NutAssemblySquare" in capsys.readouterr().err


def test_recordings_of_a_world_that_cannot_be_are_refused_in_one_line(lifted, tmp_path, capsys):
    store = imported(lifted.write(tmp_path / "low_dim.hdf5", env_args("OSC_POSE", "Lift")), tmp_path / "store.zarr")
    capsys.readouterr()
    assert cli.main(["data", "replay", f"store={store}", "worlds.threads=1"]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert "got 'OSC_POSE'" in told[0]


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
        (env_args(OLD, "Lift", "Sawyer"), "has 1 of the robot Panda, robots='Panda', not 'Sawyer'"),
        (env_args(OLD, "Lift", None), "has 1 of the robot Panda, robots='Panda', not None"),
        (json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": [1]}), r"env_kwargs .* such as {'robots': 'Panda'}; got '\[1\]'"),
        *(
            (env_args(controller), r"controller_configs are .* such as {'type': 'OSC_POSE', .*; got \S")
            for controller in (
                "OSC_POSE",
                [1],
                {"type": "LOST"},
                *({"body_parts": parts} for parts in ({}, [1], {"arms": 3}, {"right": "OSC"})),
            )
        ),
        (env_args({**OLD, "kp": "high"}, "Lift"), "robosuite cannot make Lift with .* Only numeric inputs are supported"),
        (env_args({**OLD, "output_max": [1, 2]}, "Lift"), r"output_max is one number or 6, a step's and a turn's, not \[1, 2\]"),
        (env_args({**OLD, "impedance_mode": "variable"}), "impedance_mode='fixed', not 'variable'"),
        (env_args({**OLD, "type": "JOINT_VELOCITY"}), "type='OSC_POSE', not 'JOINT_VELOCITY'"),
        (env_args({**OLD, "position_limits": [[-1, -1, 0], [1, 1, 1]]}), "position_limits=None, not"),
        (env_args({**OLD, "orientation_limits": [-1, 1]}), "orientation_limits=None, not"),
        (env_args(OLD, reward_scale=2.25), "reward_scale=1.0, not 2.25; leave it out"),
        (env_args(OLD, reward_scale=None), "reward_scale=1.0, not None"),
        (env_args(OLD, control_frequ=20), "PickPlaceCan has no option 'control_frequ'; did you mean 'control_freq'"),
        (two_arms(input_ref_frame="base"), "input_ref_frame='world' and input_ref_frame='base'"),
        (two_arms(output_max=0.1), "output_max=0.1"),
    ],
)
def test_what_batches_cannot_be_is_said(described, message):
    with pytest.raises(UserError, match=message):
        environment_of(described, 1)
