"""Collect-and-infer: stages in the right order on the right data, as one command that can be gone on with."""

import json

import pytest

from robolearn import cli
from robolearn.config import compose
from robolearn.datasets.store import DemoStore
from robolearn.learning.augment_infer import stages_of
from robolearn.nodes import to_dict


def test_each_round_learns_from_all_successes_before_it_on_starts_of_its_own():
    options = to_dict(compose("augment_infer", ["stores=[a.zarr,b.zarr]", "rounds=2", "episodes=5", "max_attempts=40", "first_seed=100"]))
    stages = stages_of(options)
    assert [stage.verb for stage in stages] == ["train", "collect", "train", "collect", "train"]
    assert [word for stage in stages for word in stage.options if word.startswith("store=[")] == [
        "store=[a.zarr,b.zarr]",
        "store=[a.zarr,b.zarr,{run}/round_0/rollouts.zarr]",
        "store=[a.zarr,b.zarr,{run}/round_0/rollouts.zarr,{run}/round_1/rollouts.zarr]",
    ]
    assert [word for stage in stages for word in stage.options if word.startswith("first_seed=")] == ["first_seed=100", "first_seed=140"]
    assert stages[-1].makes == "policy"
    for stage in stages:
        compose(stage.verb, [word.replace("{run}", "x") for word in stage.options])  # every command is understood


def test_rollouts_are_played_on_what_scale_names_and_trainings_are_not():
    words = ["scale=ray", "scale.actors=3"]
    options = to_dict(compose("augment_infer", ["stores=a.zarr", "rounds=1", *words]))
    assert [set(words) <= set(stage.options) for stage in stages_of(options, words)] == [False, True, False]


@pytest.mark.parametrize("option", ["rounds=0", "episodes=0"])
def test_counts_below_one_are_refused(tmp_path, capsys, option):
    assert cli.main(["augment", "infer", "stores=a.zarr", f"out={tmp_path / 'run'}", option]) == 1
    assert "at least 1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_one_command_trains_rolls_out_and_goes_on_where_it_stopped(tmp_path, capfd):
    store, out = tmp_path / "expert.zarr", tmp_path / "run"
    assert cli.main(["collect", "episodes=2", "num_envs=2", f"store={store}"]) == 0
    train = (
        'train=["training.steps=3","evaluation.every=0","policy=mlp_chunk","policy.sizes=[16]","training.batch_size=8","tensorboard=false"]'
    )
    collect = 'collect=["num_envs=2","task.env.max_episode_steps=5"]'
    words = ["augment", "infer", f"out={out}", f"stores={store}", "rounds=1", "episodes=2", "max_attempts=2", train, collect]
    assert cli.main(words) == 0
    assert DemoStore.open(out / "round_0" / "rollouts.zarr").num_episodes == 0  # nothing is solved in five steps, and that is no error
    assert (out / "policy" / "checkpoints" / "last").exists()
    (out / "result.json").unlink()
    capfd.readouterr()
    assert cli.main(["augment", "infer", f"out={out}", "resume=true", "--json"]) == 0
    told = capfd.readouterr()
    assert told.err.count("done already") == 3
    assert json.loads(told.out)["policy"] == str(out / "policy")
