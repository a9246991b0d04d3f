"""Collecting: successes in the order of their seeds, a store that can be gone on with, plain words when it fails."""

import json
from dataclasses import replace

import numpy as np
import pytest

from robolearn import cli
from robolearn.datasets.store import DemoStore
from robolearn.learning.players import TRY
from robolearn.seeding import addressed_uniform, split_seeds
from robolearn.spec import ActionSpec
from tests.fakes import POINT_REACH_SPEC, MoodyExpert


class StoppedExpert(MoodyExpert):
    """Ctrl-C after some steps."""

    steps = 0

    def act(self, observation):
        self.steps += 1
        if self.steps > 25:
            raise KeyboardInterrupt
        return super().act(observation)


@pytest.fixture
def collect(tmp_path, monkeypatch):
    conf = tmp_path / "conf"
    (conf / "task").mkdir(parents=True)
    (conf / "collect.yaml").write_text((cli.CONF / "collect.yaml").read_text())
    (conf / "task" / "one_leg.yaml").write_text(
        "name: one_leg\nenv: {_target_: tests.fakes.PointReach, max_episode_steps: 25}\nexpert: {_target_: tests.fakes.MoodyExpert}\n"
    )
    monkeypatch.setattr("robolearn.config.CONF", conf)

    def run(*overrides, store="demos.zarr"):
        return cli.main(["collect", f"store={tmp_path / store}", "episodes=6", "num_envs=3", *overrides])

    return run


def stored_seeds(path):
    with DemoStore.open(path) as store:
        return [store.provenance(index)["seed"] for index in range(store.num_episodes)]


def successes(count):
    seeds = split_seeds("train", 100)
    return seeds[addressed_uniform("test", seeds, np.zeros_like(seeds), 2)[:, 0] < 0.5][:count].tolist()


def test_an_experts_successes_are_kept_in_the_order_of_their_seeds(collect, tmp_path):
    assert collect() == 0
    assert stored_seeds(tmp_path / "demos.zarr") == successes(6)
    with DemoStore.open(tmp_path / "demos.zarr") as store:
        episode = store.episode(0)
        assert set(store.outcomes()) == {"success"}
    assert episode.provenance["source"] == "expert"
    assert episode.provenance["made_by"]["_target_"].endswith("MoodyExpert")
    assert episode.sim_state.shape == (len(episode), 12)


def test_the_number_of_worlds_changes_nothing(collect, tmp_path):
    collect("num_envs=1", store="one.zarr")
    collect("num_envs=5", store="five.zarr")
    with DemoStore.open(tmp_path / "one.zarr") as one, DemoStore.open(tmp_path / "five.zarr") as five:
        np.testing.assert_array_equal(one.array("action"), five.array("action"))


def test_keep_all_keeps_failures_too(collect, tmp_path):
    collect("keep=all")
    assert stored_seeds(tmp_path / "demos.zarr") == split_seeds("train", 6).tolist()


def test_an_interrupted_collection_is_gone_on_with_to_the_same_store(collect, tmp_path, capsys):
    assert collect("task.expert._target_=tests.learning.test_collect.StoppedExpert") == 130
    assert "resume=true" in capsys.readouterr().err
    stored = stored_seeds(tmp_path / "demos.zarr")
    assert 0 < len(stored) < 6
    assert collect("resume=true") == 0
    assert stored_seeds(tmp_path / "demos.zarr") == successes(6)


class OtherHands(MoodyExpert):
    env_spec = replace(POINT_REACH_SPEC, action=ActionSpec(("x", "grip"), (-1.0, -1.0), (1.0, 1.0)))


def test_an_expert_of_other_actions_is_refused_in_one_line_before_a_store_is_made(collect, tmp_path, capsys):
    assert collect("task.expert._target_=tests.learning.test_collect.OtherHands") == 1
    err = capsys.readouterr().err
    assert "acts on x, grip, this world takes x, y, z, " in err
    assert err.count("\n") == 1
    assert not (tmp_path / "demos.zarr").exists()


def test_a_store_is_gone_on_with_only_in_the_world_it_was_begun_in(collect, tmp_path, capsys):
    collect("episodes=2")
    assert collect("resume=true", "task.env.max_episode_steps=20") == 1
    err = capsys.readouterr().err
    assert "collected with task.env.max_episode_steps=25, not task.env.max_episode_steps=20" in err
    assert err.count("\n") == 1
    assert collect("resume=true", "seeds=search") == 1
    assert "collected with seeds=train, not seeds=search" in capsys.readouterr().err
    assert collect("resume=true") == 0
    assert stored_seeds(tmp_path / "demos.zarr") == successes(6)


def test_imported_episodes_are_not_gone_on_with(collect, tmp_path, capsys):
    collect("episodes=1")
    with DemoStore.open(tmp_path / "demos.zarr", mode="a") as store:
        store.append(replace(store.episode(0), provenance={"source": "teleop"}))
    assert collect("resume=true") == 1
    assert "episodes that were not collected (source teleop)" in capsys.readouterr().err


def test_a_start_is_tried_again_with_other_noise_until_it_succeeds(collect, tmp_path, capsys):
    starts = split_seeds("train", 8)
    noise = np.stack([addressed_uniform("test", starts + number * TRY, np.zeros_like(starts), 2)[:, 0] < 0.5 for number in range(3)])
    expected = [int(seed) for number in range(3) for seed in starts[noise[number] & ~noise[:number].any(0)]]
    assert sorted(expected) != sorted(starts[noise[0]].tolist())  # some need more than one try
    assert collect("tries=3", "max_attempts=8", "episodes=8", "at_least=0") == 0
    assert stored_seeds(tmp_path / "demos.zarr") == expected
    tries = sum(8 - int(noise[:number].any(0).sum()) for number in range(3))
    assert f"{len(expected)} of {tries} attempts succeeded" in capsys.readouterr().out
    assert collect("tries=3", "keep=all", store="all.zarr") == 1


def test_a_collection_with_tries_is_gone_on_with_where_no_episode_is(collect, tmp_path):
    collect("tries=3", "max_attempts=8", "episodes=3")
    assert collect("tries=3", "max_attempts=8", "episodes=8", "at_least=0", "resume=true") == 0
    stored = stored_seeds(tmp_path / "demos.zarr")
    assert len(stored) == len(set(stored))
    collect("tries=3", "max_attempts=8", "episodes=8", "at_least=0", store="whole.zarr")
    assert set(stored) == set(stored_seeds(tmp_path / "whole.zarr"))


def test_an_existing_store_is_not_touched_unless_told(collect, tmp_path, capsys):
    collect()
    assert collect("seeds=search") == 1
    assert "overwrite=true" in capsys.readouterr().err
    assert stored_seeds(tmp_path / "demos.zarr") == successes(6)


def test_too_few_successes_is_an_error_that_says_how_to_go_on(collect, capsys):
    assert collect("max_attempts=4") == 1
    assert "max_attempts=" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("source=human", "no source 'human'"),
        ("source=policy", "needs checkpoint="),
        ("keep=some", "no keep='some'"),
        ("episodes=0", "episodes must be"),
        ("seeds=test", "no seed split 'test'"),
        ("first_seed=-4", "first_seed takes a whole number, at least 0"),
        ("hold=-4", "hold takes a whole number, at least 0"),
    ],
)
def test_bad_options_are_one_line(collect, capsys, override, says):
    assert collect(override) == 1
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_json_tells_the_outcome(collect, capsys):
    collect("json=true")
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["episodes"], outcome["successes"]) == (6, 6)
