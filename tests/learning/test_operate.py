"""Collecting from an operator: what is labelled is in the store, what is undone never was, and a policy that is corrected is tagged."""

import json

import numpy as np
import pytest

from robolearn import cli
from robolearn.datasets.store import DemoStore
from robolearn.errors import UserError
from robolearn.learning.session import NO_ANSWER
from robolearn.seeding import split_seeds
from tests.fakes import PointReach
from tests.learning import operated
from tests.learning.operated import PastTheGoal, PosedPoint, Scripted

HERE, GONE = ((), True), ((), False)


def on(*events):
    return (events, True)


@pytest.fixture
def operate(tmp_path, monkeypatch):
    conf = tmp_path / "conf"
    (conf / "task").mkdir(parents=True)
    scripted = "devices:\n  scripted: {_target_: tests.learning.operated.Scripted}  "
    (conf / "collect.yaml").write_text((cli.CONF / "collect.yaml").read_text().replace("devices:   ", scripted))
    world = "{_target_: tests.learning.operated.PosedPoint, max_episode_steps: 25}"
    (conf / "task" / "one_leg.yaml").write_text(f"name: one_leg\nenv: {world}\n")
    monkeypatch.setattr("robolearn.config.CONF", conf)
    monkeypatch.setattr(PosedPoint, "given", [])
    monkeypatch.setattr("robolearn.learning.operation.time.sleep", lambda seconds: None)

    def run(script, *overrides, goal=True):
        monkeypatch.setattr(Scripted, "script", script)
        original = Scripted.poll

        def poll(device, now_ns, tool):
            if goal:
                seed = int(split_seeds("train", 1)[0]) + len(stored(tmp_path)) + resets(script, device.polls)
                device.target = goal_of(seed)
            return original(device, now_ns, tool)

        monkeypatch.setattr(Scripted, "poll", poll)
        words = ["collect", "source=operator", "device=scripted", f"store={tmp_path / 'demos.zarr'}", "operator.undo=3", *overrides]
        return cli.main([word for word in words if word])

    return run


def resets(script, polls):
    return sum("reset" in events for events, _ in script[:polls])


def goal_of(seed):
    world = PointReach(1)
    world.reset(seed=[seed])
    return np.concatenate([world.get_state()[0, 3:6], operated.IDENTITY_ROT6D, [-1.0]])


def stored(tmp_path):
    if not (tmp_path / "demos.zarr").exists():
        return []
    with DemoStore.open(tmp_path / "demos.zarr") as store:
        return [store.episode(index) for index in range(store.num_episodes)]


def test_a_solved_episode_is_in_the_store_once_it_is_labelled(operate, tmp_path, capsys):
    assert operate([on("record"), *[HERE] * 10, on("success")], "episodes=1", "--json") == 0
    (episode,) = stored(tmp_path)
    assert (episode.success, episode.terminated, episode.truncated) == (True, True, False)
    assert (episode.provenance["source"], episode.provenance["seed"]) == ("teleop", int(split_seeds("train", 1)[0]))
    assert episode.provenance["made_by"]["_target_"].endswith("Scripted")
    assert len(episode.sim_state) == len(episode)
    np.testing.assert_array_equal(np.stack(PosedPoint.given), episode.actions)
    assert json.loads(capsys.readouterr().out)["episodes"] == 1
    assert Scripted.last.closed


def test_the_same_actions_from_the_same_seed_give_the_same_observations(operate, tmp_path):
    operate([HERE, HERE, on("record"), *[HERE] * 10, on("success")], "episodes=1")  # some steps of practice, which are not recorded
    (episode,) = stored(tmp_path)
    world = PosedPoint(1)
    seen, _ = world.reset(seed=[episode.provenance["seed"]])
    for step in range(len(episode)):
        np.testing.assert_array_equal(seen["tcp_pos"][0], episode.observations["tcp_pos"][step])
        seen = world.step(episode.actions[step][None])[0]


def test_what_is_undone_never_was(operate, tmp_path):
    script = [on("record"), HERE, HERE, on("undo"), *[HERE] * 10, on("success")]
    operate(script, "episodes=1")
    (episode,) = stored(tmp_path)
    assert episode.provenance["undone_steps"] == 3
    world = PosedPoint(1)
    seen, _ = world.reset(seed=[episode.provenance["seed"]])
    np.testing.assert_array_equal(seen["tcp_pos"][0], episode.observations["tcp_pos"][0])
    assert episode.sim_state[0, 7] == 0  # the world's own clock went back as well


def test_undo_after_the_end_goes_on_with_the_episode(operate, tmp_path):
    script = [on("record"), *[HERE] * 10, on("undo"), *[HERE] * 10, on("success")]
    operate(script, "episodes=1")
    (episode,) = stored(tmp_path)
    assert episode.success
    assert episode.provenance["undone_steps"] == 3
    np.testing.assert_allclose(np.diff(episode.sim_state[:, 7]), 1)


def test_a_discarded_episode_is_begun_again_from_the_same_start_and_a_reset_goes_to_the_next(operate, tmp_path):
    first = int(split_seeds("train", 1)[0])
    script = [on("record"), HERE, on("discard"), on("record"), *[HERE] * 10, on("success")]
    operate(script, "episodes=1")
    assert stored(tmp_path)[0].provenance["seed"] == first
    script = [on("record"), HERE, on("reset"), on("record"), *[HERE] * 10, on("success")]
    operate(script, "episodes=1", "overwrite=true")
    assert stored(tmp_path)[0].provenance["seed"] == first + 1


def test_the_operators_label_wins_and_what_the_task_says_is_noted(operate, tmp_path):
    operate([on("record"), *[HERE] * 10, on("failure"), on("record"), HERE, on("success")], "episodes=2")
    solved, early = stored(tmp_path)
    assert (solved.success, solved.terminated, solved.provenance["task_success"]) == (False, True, True)
    assert (early.success, early.terminated, early.provenance["task_success"]) == (True, False, False)


def test_a_page_that_dies_pauses_the_simulation_until_it_is_resumed(operate, tmp_path):
    script = [on("record"), GONE, *[HERE] * 5, on("resume"), *[HERE] * 10, on("success")]
    operate(script, "episodes=1")
    paused = [status.paused for status in Scripted.last.shown]
    assert paused[1:7] == [NO_ANSWER] * 6
    steps = [status.steps for status in Scripted.last.shown]
    assert steps[0] == steps[6] == 1
    assert len(stored(tmp_path)) == 1


def test_time_waits_for_an_operator_who_asks_for_nothing(operate, tmp_path):
    still = [on("record"), *[HERE] * 60, on("failure")]
    operate(still, "episodes=1", goal=False)
    (waited,) = stored(tmp_path)
    assert len(waited) < 15
    operate(still, "episodes=1", "overwrite=true", "operator.wait=false", goal=False)
    (played,) = stored(tmp_path)
    assert len(played) == 61


def test_the_time_limit_of_the_task_is_not_a_persons(operate, tmp_path):
    operate([on("record"), *[HERE] * 60, on("failure")], "episodes=1", "operator.wait=false", goal=False)
    (episode,) = stored(tmp_path)
    assert len(episode) > 25
    assert not episode.truncated


def test_a_session_is_gone_on_with(operate, tmp_path, capsys):
    assert operate([on("record"), *[HERE] * 10, on("success"), on("quit")], "episodes=3") == 0
    assert operate([on("record"), *[HERE] * 10, on("success"), on("quit")], "episodes=3", "resume=true") == 0
    first = int(split_seeds("train", 1)[0])
    assert [episode.provenance["seed"] for episode in stored(tmp_path)] == [first, first + 1]
    assert operate([on("quit")], "episodes=3") == 1
    assert "resume=true" in capsys.readouterr().err


POLICY = ["checkpoint=somewhere", "policy._target_=tests.learning.operated.PastTheGoal"]


def test_who_acted_is_stored_at_every_step_of_a_policy_that_is_corrected(operate, tmp_path):
    script = [on("record"), HERE, HERE, on("takeover"), HERE, on("release"), HERE, on("takeover"), *[HERE] * 10, on("success")]
    operate(script, "episodes=1", *POLICY)
    (episode,) = stored(tmp_path)
    assert episode.success
    assert episode.provenance["checkpoint"] == "somewhere"
    tags = episode.extras["intervention"]
    assert tags[:8].tolist() == [False, False, False, True, True, False, False, True]
    assert tags[8:].all()
    by_policy = np.isclose(episode.actions[:, 0], 0.4) & np.isclose(episode.actions[:, 1], 0.4)
    np.testing.assert_array_equal(by_policy, ~tags)
    assert PastTheGoal.resets == 2  # at the beginning, and when the policy was handed back to


def test_undo_takes_back_who_acted_too(operate, tmp_path):
    operate([on("record"), *[HERE] * 4, on("undo", "takeover"), *[HERE] * 10, on("success")], "episodes=1", *POLICY)
    tags = stored(tmp_path)[0].extras["intervention"]
    assert tags[:2].tolist() == [False, False]
    assert tags[2:].all()


def test_without_a_policy_a_store_is_like_an_experts(operate, tmp_path):
    operate([on("record"), *[HERE] * 10, on("success")], "episodes=1")
    with DemoStore.open(tmp_path / "demos.zarr") as store:
        assert store.env_spec == operated.SPEC


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["device=scripte"], "did you mean 'scripted'?"),
        (["task.env._target_=tests.fakes.PointReach"], "does not show tcp_rot6d"),
        (["checkpoint=[a,b]"], "one checkpoint="),
        (["operator.undo=0"], "undo must be above 0"),
        (["operator.pace=0"], "pace must be above 0"),
        (["operator.speed=2"], "operator"),
    ],
)
def test_a_mistake_is_one_line(operate, capsys, overrides, said):
    assert operate([on("quit")], "episodes=1", *overrides) == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.strip().count("\n") == 0


def test_a_device_that_is_not_there_costs_no_store(operate, tmp_path, monkeypatch, capsys):
    assert operate([on("record"), *[HERE] * 10, on("success")], "episodes=1") == 0

    def absent(device):
        raise UserError("no such device")

    monkeypatch.setattr(Scripted, "open", absent)
    assert operate([], "episodes=1", "overwrite=true") == 1
    assert "no such device" in capsys.readouterr().err
    assert len(stored(tmp_path)) == 1
    assert operate([], "episodes=1", f"store={tmp_path / 'other.zarr'}") == 1
    assert not (tmp_path / "other.zarr").exists()
