"""One policy learns tasks that differ in nothing but what is right, and takes its task from the environment, or from who serves it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robolearn.checkpoint import load_model, open_checkpoint
from robolearn.config import compose
from robolearn.datasets.store import DemoStore
from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning import behavior_cloning
from robolearn.learning.behavior_cloning import build_trainer, training_settings
from robolearn.learning.evaluation import Arm, check_arms
from robolearn.learning.parallel import Workers
from robolearn.learning.rollout import rollout
from robolearn.learning.trainer import Trainer
from robolearn.nodes import to_dict
from robolearn.policies.chunking import ChunkedPolicy
from robolearn.policies.loading import load_policy
from tests.fakes import POINT_REACH_SPEC, PointReach
from tests.policies.small import HORIZON, KEYS, numbers, observations, random_batch, small_mlp

TASKS = ("reach", "avoid")
SIGNS = {"reach": 1.0, "avoid": -1.0}


class Reach(PointReach):
    """Points that should go to their goals; in another task, away from them."""

    def __init__(self, task: str, rows: int = 16) -> None:
        super().__init__(rows)
        self.env_spec = replace(POINT_REACH_SPEC, task=task)


def episodes(kind: str, **provenance: Any) -> list[Episode]:
    made = []
    for number in range(6):
        seen = {name: 1.35 * values[:, 0] for name, values in observations(60, seed=number).items()}  # as far as starts lie
        actions = random_batch(60).actions[:, 0].copy()
        actions[:, :3] = SIGNS[kind] * seen["goal"]
        width = {"gripper_width": np.full((60, 1), 0.08, np.float32)}
        made.append(Episode(seen | width, actions, np.zeros(60, np.float32), True, False, True, provenance=provenance))
    return made


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("data")
    for task in TASKS:
        with DemoStore.create(folder / f"{task}.zarr", replace(POINT_REACH_SPEC, task=task)) as store:
            store.extend(episodes(task))
    return [folder / f"{task}.zarr" for task in TASKS]


def words(stores: list[Path], out: Path, *more: str) -> list[str]:
    policy = ["policy=mlp_chunk", "policy.sizes=[64,64]", "policy.dropout=0", "policy.precision=float32", "policy.prediction_horizon=1"]
    keys = ["policy.action_horizon=1", "policy.observation_keys=[tcp_pos,goal]", "policy.task_embedding=8"]
    run = ["training.batch_size=64", "training.lr=0.003", "training.warmup_steps=10", "training.ema_decay=0.9", "evaluation.every=0"]
    listed = f"store=[{','.join(map(str, stores))}]"
    return [listed, f"out={out}", *policy, *keys, *run, "training.steps=400", "tensorboard=false", "threads=1", *more]


@pytest.fixture(scope="module")
def trained(stores: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "both"
    assert behavior_cloning.main(compose("train", words(stores, out))) == 0
    return out


def drawn(model: Any, seen: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    actions: NDArray[np.float32] = model.sample(seen, *numbers(20))[:, 0, 0, :3]
    return actions


def test_what_is_right_depends_on_the_task_alone(trained: Path) -> None:
    model, seen = load_model(trained), observations(20, seed=99)
    assert model.tasks.tasks == TASKS == tuple(open_checkpoint(trained).config["tasks"])
    for task in TASKS:
        model.take_task(task)
        error = np.abs(drawn(model, seen) - SIGNS[task] * seen["goal"][:, 0])
        assert np.median(error) < 0.03  # [m]; the other task's are 0.3 away


def test_a_policy_takes_its_task_from_the_environment_unless_it_is_told(trained: Path) -> None:
    policy = ChunkedPolicy(load_model(trained), 1, 16)
    assert rollout(Reach("reach"), policy, np.arange(16)).success_rate > 0.7
    assert rollout(Reach("avoid"), policy, np.arange(16)).success_rate < 0.2
    told = load_policy(trained, 16, task="reach")
    assert rollout(Reach("avoid"), told, np.arange(16)).success_rate > 0.7


def test_an_unknown_task_is_answered_with_the_nearest(trained: Path) -> None:
    with pytest.raises(UserError, match=r"trained on the tasks reach, avoid, not on 'reech'; did you mean 'reach'.*task="):
        rollout(Reach("reech"), load_policy(trained, 16), np.arange(2))
    with pytest.raises(UserError, match="did you mean 'avoid'"):
        load_policy(trained, 1, task="avoide")
    with pytest.raises(UserError, match=r"several tasks: say task=\.\.\., one of reach, avoid"):
        drawn(load_model(trained), observations(20))
    with pytest.raises(UserError, match="without a task embedding"):
        small_mlp().set_task("reach")
    node = {"_target_": "robolearn.policies.loading.load_policy", "checkpoint": None}
    with pytest.raises(UserError, match="not on 'point_reach'"):
        check_arms([Arm("both", {"checkpoint": str(trained)})], POINT_REACH_SPEC, {"policy": node})
    check_arms([Arm("both", {"checkpoint": str(trained), "task": "reach"})], POINT_REACH_SPEC, {"policy": node})


def test_the_episodes_own_tasks_count_where_a_store_holds_several(tmp_path: Path) -> None:
    with DemoStore.create(tmp_path / "both.zarr", POINT_REACH_SPEC) as store:
        store.extend([episode for task in TASKS for episode in episodes(task, task=task)])
    document = to_dict(compose("train", words([tmp_path / "both.zarr"], tmp_path / "run", "split.fraction=0")))
    trainer, _ = build_trainer(document, training_settings(document["training"]), Workers())
    assert trainer.config["tasks"] == list(TASKS)
    batch = trainer.data.batch(np.arange(len(trainer.data)))
    sign = np.where(batch.task == 0, 1.0, -1.0)[:, None]
    np.testing.assert_allclose(batch.actions[:, 0, :3], sign * batch.observations["goal"][:, 0])


def test_half_and_a_resumed_half_equal_the_whole_to_the_bit(stores: list[Path], tmp_path: Path) -> None:
    def trainer() -> Trainer:
        torch.manual_seed(0)
        document = to_dict(compose("train", words(stores, tmp_path, "augmentation.state.share=0.3")))
        return build_trainer(document, training_settings(document["training"]), Workers())[0]

    whole, half, rest = trainer(), trainer(), trainer()
    losses = [whole.step()["loss"] for _ in range(6)]
    for _ in range(3):
        half.step()
    half.save(tmp_path)
    rest.load(open_checkpoint(tmp_path))
    assert [rest.step()["loss"] for _ in range(3)] == losses[3:]
    assert json.loads((tmp_path / "last" / "checkpoint.json").read_text())["config"]["tasks"] == list(TASKS)


def test_tasks_that_were_not_named_are_refused(stores: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the store holds the task 'avoid'; policy\.tasks names reach"):
        behavior_cloning.main(compose("train", words(stores, tmp_path / "run", "policy.tasks=[reach]")))
    with pytest.raises(UserError, match="a size of at least 1 and tasks with different names"):
        small_mlp(tasks=["reach", "reach"], task_embedding=4)


def test_a_policy_for_one_task_is_what_it_was() -> None:
    """No embedding: no weights, no draws, the same numbers."""
    plain, single = small_mlp(), small_mlp(task_embedding=0)
    assert plain.state_dict().keys() == single.state_dict().keys()
    assert plain.observation_size == len(KEYS) * 3
    seen = observations(5)
    plain.take_task("anything")
    assert np.array_equal(plain.eval().sample(seen, *numbers(5)), single.eval().sample(seen, *numbers(5)))
    assert plain.sample(seen, *numbers(5)).shape == (5, 1, HORIZON, 10)
