"""Critics learn from rollouts that the command collects, go on exactly where they stopped, and make a policy better."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robolearn.checkpoint import load_model, open_checkpoint, save_checkpoint
from robolearn.datasets.store import DemoStore
from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning import value_learning
from robolearn.learning.rollout import rollout
from robolearn.learning.value_data import branch_points
from robolearn.learning.value_metrics import auc, calibration_error, reliability, within_group_order
from robolearn.learning.value_objectives import CalibratedQ, CriticBatch, ImplicitQ, LookAhead
from robolearn.learning.value_trainer import CriticTrainer
from robolearn.policies.loading import load_policy
from robolearn.policies.residual import ResidualModel
from robolearn.seeding import split_seeds
from tests.fakes import POINT_REACH_SPEC, point_reach_normalizer
from tests.learning.two_modes import HORIZON, DrawnReach, save_two_modes, verb_config

SMALL: dict[str, Any] = {
    "critic__hidden": [32, 32],
    "critic__members": 3,
    "training__steps": 300,
    "training__every": 150,
    "training__batch_size": 128,
    "training__lr": 1e-2,
    "training__polyak": 0.05,
    "rollouts__num_envs": 16,
    "tensorboard": False,
}


def train(folder: Path, **values: Any) -> Path:
    base = folder / "base"
    if not base.exists():
        save_two_modes(base)
    assert value_learning.main(verb_config("value", checkpoint=str(base), **(SMALL | values))) == 0
    return Path(values["out"])


@pytest.fixture(scope="module")
def critic_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("value")
    return train(
        folder, out=str(folder / "critic"), rollouts__n=150, rollouts__branch_states=24, rollouts__branch_candidates=4, seeds=[0, 1]
    )


def success(base: Path, **options: Any) -> np.ndarray[Any, Any]:
    env = DrawnReach(32, max_episode_steps=HORIZON)
    return rollout(env, load_policy(base, 32, **options), split_seeds("search", 96)).success


def test_steering_by_the_trained_critic_improves_a_two_minded_policy_and_random_picks_do_not(critic_run: Path) -> None:
    base = critic_run.parent / "base"
    plain, steered = success(base), success(base, critic=critic_run, candidates=8)
    assert 0.3 < plain.mean() < 0.7
    assert steered.mean() > plain.mean() + 0.25
    assert abs(success(base, critic=critic_run, candidates=8, pick="random").mean() - plain.mean()) < 0.15
    np.testing.assert_array_equal(success(base, critic=critic_run, candidates=8, guidance=0.0), plain)


def test_a_critic_steers_the_base_under_a_residual(critic_run: Path, tmp_path: Path) -> None:
    base = critic_run.parent / "base"
    model = ResidualModel(env_spec=POINT_REACH_SPEC, normalizer=point_reach_normalizer(), base=load_model(base))
    config = {"_target_": "robolearn.policies.residual.ResidualModel", "base": open_checkpoint(base).config}
    tensors = {"model": model.state_dict()}
    save_checkpoint(tmp_path, 1, config=config, env_spec=POINT_REACH_SPEC, normalizer=point_reach_normalizer(), tensors=tensors)
    steered = {"critic": critic_run, "candidates": 8}
    # An untrained residual is its base, so the two arms must agree to the bit.
    np.testing.assert_array_equal(success(tmp_path, **steered), success(base, **steered))
    np.testing.assert_array_equal(success(tmp_path, **steered, strength=0.0), success(base, **steered))


def test_a_critic_for_another_execution_horizon_is_refused(critic_run: Path) -> None:
    with pytest.raises(UserError, match=f"judges {HORIZON} actions, the policy executes 3"):
        load_policy(critic_run.parent / "base", 1, critic=critic_run, action_horizon=3)


def test_the_run_holds_rollouts_branches_figures_and_a_critic_a_seed(critic_run: Path) -> None:
    store = DemoStore.open(critic_run / "rollouts.zarr")
    branches = [store.provenance(index).get("branch") for index in range(store.num_episodes)]
    assert branches.count(None) == 150 and len(branches) == 150 + 24 * 4
    assert 0 < store.column("success").sum() < store.num_episodes
    result = json.loads((critic_run / "result.json").read_text())
    for seed in ("0", "1"):
        figures = result["seeds"][seed]
        assert figures["auc"] > 0.9 and figures["branch_order"] > 0.8 and figures["calibration_error"] < 0.15
        assert load_model(critic_run / f"seed_{seed}").action_horizon == HORIZON
    first, second = (open_checkpoint(critic_run / f"seed_{seed}").tensors("ema")["q.state.weight"] for seed in (0, 1))
    assert not torch.equal(first, second)


def test_branches_of_a_state_start_there_and_differ_in_the_policy_noise_alone(critic_run: Path) -> None:
    store = DemoStore.open(critic_run / "rollouts.zarr")
    groups: dict[str, list[int]] = {}
    for index in range(store.num_episodes):
        if branch := store.provenance(index).get("branch"):
            groups.setdefault(branch, []).append(index)
    roots = {store.provenance(index)["seed"]: index for index in range(store.num_episodes) if "branch" not in store.provenance(index)}
    for name, members in groups.items():
        seed, step = (int(part) for part in name.split("@"))
        root, episodes = store.episode(roots[seed]), [store.episode(index) for index in members]
        for key, seen in root.observations.items():
            assert all(np.array_equal(episode.observations[key][0], seen[step]) for episode in episodes)
        assert len({episode.actions[0].tobytes() for episode in episodes}) == len(episodes)


def test_branch_points_are_decisions_of_successes_and_failures_in_turn_while_there_is_hope() -> None:
    def episode(length: int, success: bool) -> Episode:
        rows = np.zeros((length, 3))
        return Episode({"x": rows}, rows, np.zeros(length), success, not success, success, sim_state=rows)

    episodes = [episode(9, True), episode(30, False), episode(25, False), episode(30, False)]
    points = branch_points(episodes, 40, 4, 0)
    assert [episodes[index].success for index, _ in points] == [True, False] * 20
    assert {index for index, _ in points} == {0, 1, 2, 3}
    for kind in (True, False):  # failures too no later than successes are over
        assert {step for index, step in points if episodes[index].success == kind} == {0, 4, 8}


@pytest.mark.parametrize("algorithm", ["ahead", "mc", "iql", "calql"])
def test_half_a_training_and_its_resumption_equal_a_whole_one_to_the_bit(tmp_path: Path, algorithm: str) -> None:
    options = {"algorithm": algorithm, "rollouts__n": 24, "training__every": 10, "proposals": 2}
    whole = train(tmp_path, out=str(tmp_path / "whole"), training__steps=20, **options)
    half = tmp_path / "half"
    with pytest.MonkeyPatch.context() as patch:  # stopped by Ctrl-C after the first checkpoint
        original = CriticTrainer._keep

        def keep_and_stop(self: Any, *arguments: Any) -> None:
            original(self, *arguments)
            raise KeyboardInterrupt

        patch.setattr(CriticTrainer, "_keep", keep_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, out=str(half), training__steps=20, **options)
    train(tmp_path, out=str(half), training__steps=20, resume=True, **options)
    for group in ("model", "ema", "optimizer"):
        expected, got = (open_checkpoint(run / "checkpoints" / "last").tensors(group) for run in (whole, half))
        assert expected.keys() == got.keys() and all(torch.equal(expected[name], got[name]) for name in expected)


def test_data_of_one_kind_is_refused(tmp_path: Path) -> None:
    base = save_two_modes(tmp_path / "base", bias=0.3)
    config = verb_config("value", checkpoint=str(base), out=str(tmp_path / "out"), **(SMALL | {"rollouts__n": 8}))
    with pytest.raises(UserError, match="of 8 episodes 0 are successes"):
        value_learning.main(config)


def test_a_loss_that_explodes_stops_the_run_and_says_what_to_try(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"at step \d+; try a lower training.lr"):
        train(tmp_path, out=str(tmp_path / "out"), rollouts__n=24, critic__head="mse", training__lr=float("inf"))


class TableCritic:
    """One member's Q looked up in a table, for losses worked by hand: features are indices."""

    def __init__(self, q: dict[tuple[int, int], float], v: dict[int, float]) -> None:
        self.q, self.v = q, v

    def __call__(self, state: torch.Tensor, chunks: torch.Tensor) -> torch.Tensor:
        rows = [[self.q[int(s), int(a)] for a in actions[:, 0]] for s, actions in zip(state[:, 0], chunks, strict=True)]
        return torch.tensor(rows)[None, :, :, None]

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs[..., 0]

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs[..., 0] - targets).square()

    def state_value(self, state: torch.Tensor) -> torch.Tensor:
        return torch.tensor([self.v[int(s)] for s in state[:, 0]])


def by_hand_batch() -> CriticBatch:
    def column(*values: float) -> torch.Tensor:
        return torch.tensor(values)[:, None]

    return CriticBatch(
        state=column(0, 1),
        chunk=column(0, 0),
        reward=torch.tensor([0.0, 0.9]),
        discount=torch.tensor([0.5, 0.0]),
        returns=torch.tensor([0.45, 0.9]),
        next_state=column(1, 1),
        proposals=torch.tensor([[[0.0], [1.0]], [[0.0], [1.0]]]),
        next_proposals=torch.tensor([[[0.0], [1.0]], [[0.0], [1.0]]]),
    )


def test_look_ahead_by_hand() -> None:
    critic = TableCritic({(0, 0): 0.3, (1, 0): 0.7}, {0: 0.2, 1: 0.8})
    loss, metrics = LookAhead(blend=0.75).loss(critic, critic, by_hand_batch(), torch.Generator())
    # V: 0.2 and 0.8 against the returns 0.45 and 0.9. Q: 0.3 against three quarters of 0.5 * 0.8 and a quarter of 0.45; 0.7 against 0.9.
    value_loss, q_loss = (0.25**2 + 0.1**2) / 2, ((0.3 - 0.4125) ** 2 + 0.2**2) / 2
    assert float(metrics["value_loss"]) == pytest.approx(value_loss) and float(loss) == pytest.approx(value_loss + q_loss)


def test_iql_by_hand() -> None:
    critic = TableCritic({(0, 0): 0.3, (1, 0): 0.7}, {0: 0.2, 1: 0.8})
    loss, metrics = ImplicitQ(expectile=0.9, subset=1).loss(critic, critic, by_hand_batch(), torch.Generator())
    # V: errors Q - V are +0.1 (weight 0.9) and -0.1 (weight 0.1). Q: 0.3 against 0.5 * 0.8, 0.7 against 0.9.
    value_loss, q_loss = (0.9 * 0.01 + 0.1 * 0.01) / 2, (0.1**2 + 0.2**2) / 2
    assert float(metrics["value_loss"]) == pytest.approx(value_loss) and float(loss) == pytest.approx(value_loss + q_loss)


@pytest.mark.parametrize(("backup", "ahead"), [("mean", 0.6), ("max", 0.7)])
def test_cal_ql_by_hand(backup: str, ahead: float) -> None:
    critic = TableCritic({(0, 0): 0.3, (0, 1): 0.6, (1, 0): 0.7, (1, 1): 0.5}, {})
    loss, metrics = CalibratedQ(alpha=2.0, temperature=0.1, subset=1, backup=backup).loss(
        critic, critic, by_hand_batch(), torch.Generator()
    )
    q_loss = ((0.3 - 0.5 * ahead) ** 2 + (0.7 - 0.9) ** 2) / 2
    # No proposal is pushed below the return: 0.45 and 0.6 in state 0, 0.9 and 0.9 in state 1.
    soft = [0.1 * np.log((np.exp(4.5) + np.exp(6.0)) / 2), 0.9]
    gap = ((soft[0] - 0.3) + (soft[1] - 0.7)) / 2
    assert float(metrics["conservative_gap"]) == pytest.approx(gap, rel=1e-5)
    assert float(loss) == pytest.approx(q_loss + 2.0 * gap, rel=1e-5)


def test_figures_by_hand() -> None:
    assert auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True])) == pytest.approx(3.5 / 4)
    assert np.isnan(auc(np.array([0.1]), np.array([True])))
    predicted, observed = np.array([0.05, 0.05, 0.95]), np.array([0.0, 1.0, 1.0])
    np.testing.assert_allclose(reliability(predicted, observed), [[0.05, 0.5, 2], [0.95, 1.0, 1]])
    assert calibration_error(predicted, observed) == pytest.approx((0.45 * 2 + 0.05) / 3)
    order, pairs = within_group_order(np.array([1.0, 0.0, 5.0, 6.0, 2.0]), np.array([1.0, 0.0, 1.0, 0.0, 0.0]), np.array([0, 0, 1, 1, 1]))
    assert order == pytest.approx(2 / 3) and pairs == 3


def test_a_finished_critic_is_not_trained_again(critic_run: Path, tmp_path: Path) -> None:
    """Neither where its steps are spent nor where its minutes are."""
    for name, budget in {"steps": {}, "minutes": {"training__minutes": 1e-9}}.items():
        place = {"out": str(tmp_path / name), "stores": [str(critic_run / "rollouts.zarr")], "rollouts__n": 0, "training__steps": 40}
        out = train(critic_run.parent, **place, **budget)
        before = json.loads((out / "result.json").read_text())
        train(critic_run.parent, **place, **budget, resume=True)
        assert json.loads((out / "result.json").read_text()) == before


def test_a_critic_is_not_gone_on_with_on_another_base_or_other_stores(critic_run: Path, tmp_path: Path) -> None:
    place = {"out": str(tmp_path / "run"), "stores": [str(critic_run / "rollouts.zarr")], "rollouts__n": 0, "training__steps": 20}
    train(critic_run.parent, **place)
    save_two_modes(tmp_path / "base", bias=0.01)
    with pytest.raises(UserError, match=r"begun with another checkpoint="):
        train(tmp_path, **place, resume=True)
    with pytest.raises(UserError, match=r"begun with another stores="):
        train(critic_run.parent, **{**place, "stores": [], "rollouts__n": 8}, resume=True)
    kept, relabelled = DemoStore.open(critic_run / "rollouts.zarr"), tmp_path / "relabelled.zarr"
    with DemoStore.create(relabelled, kept.env_spec) as store:
        store.extend([replace(episode, success=not episode.success) for episode in kept])
    assert store.fingerprint() == kept.fingerprint()
    with pytest.raises(UserError, match=r"begun with another stores="):
        train(critic_run.parent, **{**place, "stores": [str(relabelled)]}, resume=True)


def test_what_the_held_out_episodes_cannot_tell_is_left_out(critic_run: Path, tmp_path: Path) -> None:
    kept = DemoStore.open(critic_run / "rollouts.zarr")
    with DemoStore.create(tmp_path / "roots.zarr", kept.env_spec) as store:
        store.extend([kept.episode(index) for index in range(kept.num_episodes) if "branch" not in kept.provenance(index)])
    out = train(critic_run.parent, out=str(tmp_path / "run"), stores=[str(tmp_path / "roots.zarr")], rollouts__n=0, training__steps=20)
    assert "NaN" not in (out / "result.json").read_text()
    assert "branch_order" not in json.loads((out / "result.json").read_text())["seeds"]["0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training__steps": 0}, "training.steps must be positive"),
        ({"training__every": 0}, "training.every must be positive"),
        ({"timeout": "abc"}, "there are failure, bootstrap"),
        ({"algorithm": "calql", "proposals": 0}, "proposals must be at least 1"),
        ({"algorithm": "iql", "iql__subset": 0}, "subset is a number of ensemble members"),
        ({"algorithm": "calql", "calql__backup": "min"}, "there are mean, max"),
        ({"critic__hidden": []}, "hidden layers"),
        ({"critic__members": 0}, "members"),
        ({"held_out": 1.0}, "below 1"),
        ({"training__polyak": 5.0}, "training.polyak must be from 0 to 1"),
        ({"training__weight_decay": -1.0}, "training.weight_decay must be at least 0"),
        ({"critic__discount": 2.0}, "critic.discount must be from 0 to 1"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_played(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    save_two_modes(tmp_path / "base")
    with pytest.raises(UserError, match=message):
        value_learning.main(verb_config("value", checkpoint=str(tmp_path / "base"), out=str(tmp_path / "out"), **(SMALL | options)))
    assert not (tmp_path / "out").exists()
