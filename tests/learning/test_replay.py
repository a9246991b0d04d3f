"""Replay plays what was stored from where it began, and counts what it reaches."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from robolearn.datasets.store import DemoStore
from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning import replay as replay_module
from robolearn.learning.replay import main, replay, summary
from robolearn.learning.rollout import rollout
from robolearn.seeding import split_seeds
from tests.fakes import POINT_REACH_SPEC, PointReach


class StartsAnywhere(PointReach):
    """A world that can also begin from an observation."""

    def reset_to_observation(self, observation, seeds=None):
        self._state[:] = 0
        self._state[:, :3], self._state[:, 3:6], self._state[:, 6] = (
            observation["tcp_pos"],
            observation["goal"],
            observation["gripper_width"][:, 0],
        )
        return self._observation(), self._info()


class GoesToTheGoal:
    """Succeeds with even seeds; with odd ones it stays where it is."""

    env_spec = POINT_REACH_SPEC

    def __init__(self, rows):
        self.even = np.zeros(rows, bool)

    def reset(self, rows, seeds):
        self.even[rows] = seeds[rows] % 2 == 0

    def act(self, observation):
        actions = np.zeros((len(self.even), 10), np.float32)
        actions[:, :3] = np.where(self.even[:, None], observation["goal"], observation["tcp_pos"])
        return actions


@pytest.fixture(scope="module")
def episodes():
    env = PointReach(4)
    recorded: list[Episode] = []
    rollout(env, GoesToTheGoal(4), split_seeds("search", 7), record=recorded.append, record_state=True)
    return recorded


def without_state(episode):
    return Episode(episode.observations, episode.actions, episode.rewards, episode.terminated, episode.truncated, episode.success)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_a_replay_reaches_what_the_recording_reached(episodes, exact, rows):
    stored = episodes if exact else [without_state(episode) for episode in episodes]
    result = replay(StartsAnywhere(rows), stored, hold=0)
    assert result.success.tolist() == [episode.success for episode in episodes]
    assert set(result.success.tolist()) == {True, False}
    lengths = [len(episode) for episode in episodes]
    assert result.steps.tolist() == lengths
    # An episode that succeeded ended on the step it reached the goal.
    assert result.reached[:, 1].tolist() == [len(episode) if episode.success else -1 for episode in episodes]
    assert max(values.max() for values in result.deviation.values()) < 1e-6


def test_episodes_with_and_without_state_may_mix(episodes):
    mixed = [episode if index % 2 else without_state(episode) for index, episode in enumerate(episodes)]
    assert replay(StartsAnywhere(3), mixed, hold=0).success.tolist() == [episode.success for episode in episodes]


@pytest.mark.parametrize("foreign", [-1, True, "7", None])
def test_a_recording_whose_seed_is_none_of_ours_is_replayed_with_a_usual_one(episodes, foreign):
    asked = []

    class Asks(StartsAnywhere):
        def reset(self, *, seed=None, options=None):
            asked.extend(seed)
            return super().reset(seed=seed, options=options)

    replay(Asks(1), [replace(episodes[0], provenance={"seed": foreign})], hold=0)
    assert asked == split_seeds("train", 1).tolist()


def test_the_last_action_is_held(episodes):
    winner = next(episode for episode in episodes if episode.success)
    cut = type(winner)(
        {name: values[:2] for name, values in winner.observations.items()}, winner.actions[:2], winner.rewards[:2], False, False, False
    )
    assert not replay(StartsAnywhere(1), [cut], hold=0).success[0]
    assert replay(StartsAnywhere(1), [cut], hold=20).success[0]


def test_a_hold_of_one_episode_gives_a_longer_one_beside_it_no_more_steps(episodes):
    cut = [type(e)({n: v[:1] for n, v in e.observations.items()}, e.actions[:1], e.rewards[:1], False, False, False) for e in episodes]
    longest = without_state(max(episodes, key=len))
    assert not replay(StartsAnywhere(8), [longest, *cut], hold=0).success[1:].any()


def test_an_environment_that_cannot_start_there_is_said(episodes):
    with pytest.raises(UserError, match="cannot start from an observation"):
        replay(PointReach(2), [without_state(episodes[0])])
    other = type(episodes[0])(**{**vars(episodes[0]), "sim_state": np.zeros((len(episodes[0]), 5))})
    with pytest.raises(UserError, match=r"5 numbers, this simulator's has 12.*exact=false"):
        replay(PointReach(2), [other])


def test_the_command_counts_stages_and_writes_a_row_per_episode(episodes, tmp_path, capsys, monkeypatch):
    path = tmp_path / "demos.zarr"
    with DemoStore.create(path, POINT_REACH_SPEC) as store:
        store.extend(episodes)
    monkeypatch.setattr(replay_module, "make_environment", lambda task, num_envs: StartsAnywhere(num_envs))
    from robolearn.config import compose

    table = tmp_path / "rows.csv"
    assert main(compose("data_replay", [f"store={path}", "json=true", f"csv={table}", "hold=0"])) == 0
    facts = json.loads(capsys.readouterr().out)
    wins = sum(episode.success for episode in episodes)
    assert (facts["episodes"], facts["success"], facts["stages"]["reached"]) == (len(episodes), wins, wins)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["success"] == "True" for row in rows] == [episode.success for episode in episodes]
    assert main(compose("data_replay", [f"store={path}", "episodes=[1,3]"])) == 0
    assert "2 episodes replayed" in capsys.readouterr().out
    for words, message in (("by=states", "by=states is for demonstrations imported from robosuite's"), ("by=force", "got 'force'")):
        with pytest.raises(UserError, match=message):
            main(compose("data_replay", [f"store={path}", words]))
    with pytest.raises(UserError, match="no episode 99"):
        main(compose("data_replay", [f"store={path}", "episodes=[99]"]))


def test_a_summary_counts_each_stage(episodes):
    result = replay(StartsAnywhere(4), episodes, hold=0)
    facts = summary(result, POINT_REACH_SPEC.stages, range(len(episodes)))
    assert facts["stages"]["near"] >= facts["stages"]["reached"] == facts["success"]
    json.dumps(facts)
