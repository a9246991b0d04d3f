"""Arms are compared on the same starts and noise, every episode has its row, and what cannot work fails before anything runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.learning import evaluation, players
from robolearn.learning.comparison import Arm, ArmResult, as_text, read_episodes, summarize, write_episodes
from robolearn.learning.rollout import Outcome, RolloutResult, outcomes
from robolearn.policies.chunking import ChunkedPolicy
from robolearn.protocols import Observation
from robolearn.run import read_result
from robolearn.seeding import SPLITS, split_seeds
from robolearn.significance import mcnemar, wilson
from robolearn.spec import ActionSpec
from tests.fakes import POINT_REACH_SPEC
from tests.learning.two_modes import save_two_modes, verb_config


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    save_two_modes(folder / "base")
    save_two_modes(folder / "worse", bias=0.014)
    return folder


class Homing:
    """An expert: goes a share of the way to the goal."""

    env_spec = POINT_REACH_SPEC

    def __init__(self, num_envs: int, share: float = 1.0) -> None:
        self._share = share

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        pass

    def act(self, observation: Observation) -> NDArray[np.float32]:
        position = self._share * observation["goal"]
        return np.concatenate([position, np.tile([1, 0, 0, 0, 1, 0, -1], (len(position), 1))], 1).astype(np.float32)


def evaluate(out: Path, arms: list[dict[str, Any]], **values: Any) -> dict[str, Any]:
    values = {"n": 37, "num_envs": 8, "videos": 0, "runs": []} | values
    assert evaluation.main(verb_config("evaluate", arms=arms, out=str(out), **values)) == 0
    result = read_result(out)
    assert result is not None and result == json.loads((out / "results.json").read_text())
    return result


@pytest.fixture(scope="module")
def compared(bases: Path) -> Path:
    out = bases / "compared"
    arms = [{"name": "base", "checkpoint": f"{bases}/base"}, {"name": "again", "checkpoint": f"{bases}/base"}]
    evaluate(out, [*arms, {"name": "worse", "checkpoint": f"{bases}/worse"}], videos=1)
    return out


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "episodes.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_two_identical_arms_have_no_discordant_pair(compared: Path) -> None:
    result = json.loads((compared / "results.json").read_text())
    again = result["arms"][1]["against_first"]
    assert (again["gained"], again["lost"], again["difference"], again["p_value"]) == (0, 0, 0, 1)


def test_the_table_of_episodes_has_a_row_per_arm_and_seed_and_gives_the_figures(compared: Path) -> None:
    rows = rows_of(compared)
    result = json.loads((compared / "results.json").read_text())
    success = {}
    for arm in result["arms"]:
        own = [row for row in rows if row["arm"] == arm["name"]]
        assert [int(row["seed"]) for row in own] == split_seeds("evaluation", 37).tolist()
        success[arm["name"]] = np.array([row["success"] == "1" for row in own])
        assert arm["success"] == vars(wilson(int(success[arm["name"]].sum()), 37))
        assert arm["steps"]["mean"] == np.mean([int(row["steps"]) for row in own])
        assert arm["stages"] == {name: np.mean([row[name] == "1" for row in own]) for name in ("near", "reached")}
        assert all((row["reward"] == "1.0") == (row["success"] == row["reached"] == "1") for row in own)
        assert 0 < arm["latency_ms"]["p50"] <= arm["latency_ms"]["p99"]
    assert result["arms"][2]["against_first"] == vars(mcnemar(success["base"], success["worse"]))
    assert 0.2 < success["base"].mean() < 0.8


def test_successes_and_failures_are_filmed_and_the_report_shows_them(compared: Path) -> None:
    clips = json.loads((compared / "videos" / "clips.json").read_text())
    assert {(clip["arm"], clip["success"]) for clip in clips} >= {("base", True), ("base", False)}
    page = (compared / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") == len(clips) == len(list((compared / "videos").glob("*.mp4")))


def test_a_resumed_evaluation_plays_only_the_arms_that_are_missing(bases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = [{"name": name, "checkpoint": f"{bases}/{name}"} for name in ("base", "worse")]
    evaluate(tmp_path / "whole", arms)
    played = 0

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Outcome]:
        nonlocal played
        played += 1
        if played == 2:  # Ctrl-C in the second arm
            raise KeyboardInterrupt
        return outcomes(*arguments, **options)

    monkeypatch.setattr(players, "outcomes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path / "half", arms)
    evaluate(tmp_path / "half", arms, resume=True)
    assert played == 3
    assert (tmp_path / "whole" / "episodes.csv").read_text() == (tmp_path / "half" / "episodes.csv").read_text()


@pytest.mark.parametrize("change", ["world", "policy", "checkpoint"])
def test_a_finished_arm_of_another_world_policy_or_checkpoint_is_refused_by_name(bases: Path, tmp_path: Path, change: str) -> None:
    save_two_modes(tmp_path / "trained")
    arms = [{"name": "trained", "checkpoint": str(tmp_path / "trained")}]
    evaluate(tmp_path / "out", arms)
    rows = rows_of(tmp_path / "out")
    values: dict[str, Any] = {"world": {"task__env__max_episode_steps": 5}, "policy": {"policy__device": "cpu"}}.get(change, {})
    says = {
        "world": r"task.env.max_episode_steps=6, now 5",
        "policy": "policy.device=None, now cpu",
        "checkpoint": r"checkpoint=step_0000001 \w+, now",
    }
    evaluate(tmp_path / "out", arms, resume=True)
    if change == "checkpoint":
        save_two_modes(tmp_path / "trained", bias=0.01)  # trained anew at the same path
    with pytest.raises(UserError, match=rf"arm 'trained' .*{says[change]}.*overwrite=true"):
        evaluate(tmp_path / "out", arms, resume=True, **values)
    assert rows_of(tmp_path / "out") == rows
    evaluate(tmp_path / "out", arms, overwrite=True, **values)


@pytest.mark.parametrize(
    ("file", "text"), [("arms/base.json", '{"options": '), ("arms/base.csv", "arm,seed\nbase,\n"), ("arms/base.json", "[]")]
)
def test_a_torn_arm_is_named(bases: Path, tmp_path: Path, file: str, text: str) -> None:
    arms = [{"name": "base", "checkpoint": f"{bases}/base"}]
    evaluate(tmp_path / "out", arms)
    (tmp_path / "out" / file).write_text(text)
    with pytest.raises(UserError, match=r"arms/base\.(json|csv)"):
        evaluate(tmp_path / "out", arms, resume=True)


def test_the_time_of_a_decision_comes_from_many_on_what_an_arm_really_sees(
    bases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    act = ChunkedPolicy.act

    def watched(self: ChunkedPolicy, observation: Any) -> Any:
        seen.extend([observation] if self.num_envs == 1 else [])
        return act(self, observation)

    monkeypatch.setattr(ChunkedPolicy, "act", watched)
    evaluate(tmp_path / "out", [{"checkpoint": f"{bases}/base"}])
    assert len(seen) >= 200 and all(np.abs(seen[0][name]).max() > 0 and len(seen[0][name]) == 1 for name in ("tcp_pos", "goal"))


def test_methods_are_told_beside_their_arms_and_may_be_named_later(
    bases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"base": "good", "worse": "bad"}
    arms = [{"name": f"{name} {seed}", "checkpoint": f"{bases}/{name}"} for name in names for seed in (0, 1)]
    assert "methods" not in evaluate(tmp_path / "out", arms)
    monkeypatch.setattr(players, "outcomes", None)  # arms that are done are not played again
    named = [{**arm, "method": names[arm["name"].split()[0]]} for arm in arms]
    result = evaluate(tmp_path / "out", named, resume=True)
    assert [method["name"] for method in result["methods"]] == ["good", "bad"]
    rates = [arm["success"]["rate"] for arm in result["arms"]]
    assert [method["rates"] for method in result["methods"]] == [rates[:2], rates[2:]]
    assert "pp on good, p = " in capsys.readouterr().out
    with pytest.raises(UserError, match="all or none"):
        evaluate(tmp_path / "other", [*named, {"name": "free", "checkpoint": f"{bases}/base"}])


def test_splits_never_share_a_seed() -> None:
    seeds = {split: set(split_seeds(split, 2000).tolist()) for split in SPLITS}
    for one in SPLITS:
        assert all(not seeds[one] & seeds[other] for other in SPLITS if other != one)


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ([], "give the policies to compare"),
        ([{"name": "base"}], "this is neither"),
        ([{"checkpoint": "{0}/base"}, {"checkpoint": "{0}/base"}], "two arms are called base"),
        ([{"checkpoint": "{0}/base"}, {"checkpoint": "{0}/bsae"}], "no checkpoint at"),
        (
            [{"checkpoint": "{0}/base"}, {"name": "a b", "checkpoint": "{0}/base"}, {"name": "a_b", "checkpoint": "{0}/base"}],
            "'a b' and 'a_b'",
        ),
        *(
            ([{"checkpoint": "{0}/base"}, {"name": "second", "checkpoint": "{0}/base", **options}], f"arm 'second'.*{says}")
            for options, says in (
                ({"candidate": 4}, "did you mean 'candidates'"),
                ({"num_envs": 3}, "unknown option 'num_envs'"),
                ({"critic": "{0}/worse"}, "is no critic"),
                ({"candidates": "many"}, "candidates takes a whole number or null; got 'many'"),
                ({"candidates": 16}, "steer by a critic"),
                ({"inference_steps": "two"}, "inference_steps takes a whole number or null; got 'two'"),
                ({"action_horizon": 0}, "action_horizon is 0; give 1 to 6"),
                ({"strength": 5}, "no residual"),
                ({"strength": float("nan")}, "strength takes a number; got nan"),
                ({"device": "warp"}, "no device 'warp'"),
            )
        ),
    ],
)
def test_what_cannot_work_is_said_before_anything_runs(bases: Path, tmp_path: Path, arms: list[dict[str, Any]], message: str) -> None:
    arms = [{key: value.format(bases) if isinstance(value, str) else value for key, value in arm.items()} for arm in arms]
    with pytest.raises(UserError, match=message):
        evaluate(tmp_path / "out", arms)
    assert not (tmp_path / "out").exists()


def test_a_report_of_a_run_that_is_none_is_refused_before_anything_runs(bases: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nope is no run folder"):
        evaluate(tmp_path / "out", [{"checkpoint": f"{bases}/base"}], runs=[str(tmp_path / "nope")])
    assert not (tmp_path / "out").exists()


def test_a_policy_for_another_task_is_refused_before_anything_runs(bases: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "checkpoint.json").write_text(
        (bases / "base" / "last" / "checkpoint.json").read_text().replace('"control_hz": 10.0', '"control_hz": 20.0')
    )
    with pytest.raises(UserError, match=r"arm 'other'.*20.0 Hz"):
        evaluate(tmp_path / "out", [{"checkpoint": f"{bases}/base"}, {"checkpoint": str(other)}])
    assert not (tmp_path / "out").exists()


def test_an_arm_may_be_the_tasks_own_expert_with_options_of_its(tmp_path: Path) -> None:
    node = {"_target_": "tests.learning.test_evaluation.Homing"}
    arms = [{"name": "expert", "expert": True}, {"name": "slow", "expert": True, "share": 0.5}]
    result = evaluate(tmp_path / "out", arms, n=8, task__expert=node)
    expert, slow = result["arms"]
    assert expert["success"]["rate"] == 1.0
    assert slow["stages"]["near"] < 1.0
    with pytest.raises(UserError, match=r"'slow' has an unknown option 'shar'; did you mean 'share'"):
        evaluate(tmp_path / "other", [{"name": "slow", "expert": True, "shar": 0.2}], task__expert=node)


class OtherHands(Homing):
    env_spec = replace(POINT_REACH_SPEC, action=ActionSpec(("x", "grip"), (-1.0, -1.0), (1.0, 1.0)))


class OtherTask(Homing):
    env_spec = replace(POINT_REACH_SPEC, task="point_leave")


@pytest.mark.parametrize(
    ("expert", "message"),
    [
        (
            "OtherHands",
            r"arm 'expert': the expert of task 'point_reach' acts on x, grip, this world takes x, y, z, .* task\.env says of actions",
        ),
        ("OtherTask", r"arm 'expert': the expert plays task 'point_leave', this world is task 'point_reach'; give task=point_reach"),
    ],
)
def test_an_expert_of_another_task_or_other_actions_is_refused_before_anything_runs(tmp_path: Path, expert: str, message: str) -> None:
    node = {"_target_": f"tests.learning.test_evaluation.{expert}"}
    with pytest.raises(UserError, match=message):
        evaluate(tmp_path / "out", [{"name": "expert", "expert": True}], n=8, task__expert=node)
    assert not (tmp_path / "out").exists()


def test_a_task_without_an_expert_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no scripted expert; give a policy's checkpoint"):
        evaluate(tmp_path / "out", [{"name": "expert", "expert": True}], task__expert=None)


def test_why_episodes_were_lost_is_counted_and_kept(tmp_path: Path) -> None:
    stages, n = ("near", "reached"), 3
    played = RolloutResult(
        np.arange(n), np.zeros(n, bool), np.ones(n, np.int64), np.zeros((n, 2), bool), np.zeros(n), {0: "it fell", 2: "it fell"}
    )
    result = ArmResult(Arm("base", {}), played)
    write_episodes(tmp_path / "episodes.csv", [result], stages)
    assert read_episodes(tmp_path / "episodes.csv", stages).lost == played.lost
    document = summarize([result], stages, {"task": "reach", "split": "search", "n": n})
    assert document["arms"][0]["lost"] == {"it fell": 2}
    assert "2 lost: it fell" in as_text(document)
