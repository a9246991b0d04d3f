"""Relative and delta actions come back as they went, see the same whatever place the scene stands at, and can be learned and played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robolearn import rotation, rotation_torch
from robolearn.checkpoint import load_model
from robolearn.config import compose
from robolearn.datasets.store import DemoStore
from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning import behavior_cloning
from robolearn.learning.representation import check_representation, from_representation, to_representation
from robolearn.learning.rollout import rollout
from robolearn.normalize import ACTION, Affine, Normalizer
from robolearn.policies.chunking import ChunkedPolicy
from robolearn.policies.mlp import MlpPolicy
from robolearn.policies.residual import ResidualModel, residual_policy
from robolearn.spec import ArraySpec, EnvSpec
from robolearn.tasks import one_leg_spec
from tests.fakes import HALF_EXTENT, IDENTITY_ROT6D, POINT_REACH_SPEC, PointReach, point_reach_normalizer

OTHERS = ("relative", "delta")


def random_chunks(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Absolute targets (B, 16, 10), and the tool's pose (B, 3), (B, 6)."""
    rng = np.random.default_rng(seed)
    turns = rotation.rot6d_from_matrix(rotation.matrix_from_rotvec(rng.normal(size=(rows, 17, 3))))
    places = rng.uniform(-0.5, 0.5, (rows, 17, 3))
    gripper = rng.choice([-1.0, 1.0], (rows, 17, 1))
    poses = torch.from_numpy(np.concatenate([places, turns, gripper], -1).astype(np.float32))
    return poses[:, 1:], poses[:, 0, :3], poses[:, 0, 3:9]


def test_tensor_rotations_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(size=(50, 3)), 1e-9 * rng.normal(size=(5, 3)), np.zeros((1, 3))])
    rot6d = rng.normal(size=(50, 6))
    for name, values in (("matrix_from_rotvec", vectors), ("matrix_from_rot6d", rot6d)):
        ours = getattr(rotation_torch, name)(torch.from_numpy(values)).numpy()
        np.testing.assert_allclose(ours, getattr(rotation, name)(values), atol=1e-12)


@pytest.mark.parametrize("representation", OTHERS)
def test_actions_come_back_as_they_went(representation: str) -> None:
    actions, position, turn = random_chunks(200)
    there = to_representation(representation, actions, position, turn)
    assert (there - actions).abs().max() > 0.5
    torch.testing.assert_close(from_representation(representation, there, position, turn), actions, atol=1e-6, rtol=0)


@pytest.mark.parametrize("representation", OTHERS)
def test_a_moved_scene_is_represented_alike(representation: str) -> None:
    actions, position, turn = random_chunks(50)
    moved = rotation_torch.matrix_from_rotvec(torch.tensor([0.3, -0.8, 1.1]))
    shift = torch.tensor([0.4, -0.2, 0.1])

    def elsewhere(places: torch.Tensor, turns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return places @ moved.mT + shift, rotation_torch.rot6d_from_matrix(moved @ rotation_torch.matrix_from_rot6d(turns))

    there = torch.cat([*elsewhere(actions[..., :3], actions[..., 3:9]), actions[..., 9:]], -1)
    torch.testing.assert_close(
        to_representation(representation, there, *elsewhere(position, turn)),
        to_representation(representation, actions, position, turn),
        atol=2e-6,
        rtol=0,
    )


def test_relative_is_what_the_tool_sees_and_delta_what_each_step_adds() -> None:
    quarter = rotation.rot6d_from_matrix(rotation.matrix_from_rotvec(np.array([0.0, 0.0, np.pi / 2])))
    pose = np.concatenate([[0.1, 0.0, 0.0], quarter, [1.0]])
    chunk = np.stack([pose, pose])
    chunk[0, :3] += [0.0, 0.2, 0.0]
    chunk[1, :3] += [-0.3, 0.2, 0.0]
    values = [torch.from_numpy(array) for array in (chunk, pose[:3], pose[3:9])]
    # A tool turned by 90 degrees about z looks along the base's y.
    still = [*IDENTITY_ROT6D, 1.0]
    relative, delta = (to_representation(name, *values).numpy() for name in OTHERS)
    np.testing.assert_allclose(relative, [[0.2, 0.0, 0.0, *still], [0.2, 0.3, 0.0, *still]], atol=1e-12)
    np.testing.assert_allclose(delta, [[0.2, 0.0, 0.0, *still], [0.0, 0.3, 0.0, *still]], atol=1e-12)


@pytest.mark.parametrize(
    ("representation", "spec", "keys", "message"),
    [
        ("realtive", one_leg_spec(), ("tcp_pos", "tcp_rot6d"), "did you mean 'relative'"),
        ("delta", one_leg_spec(), ("tcp_pos",), r"must read tcp_pos \(3,\) and tcp_rot6d \(6,\)"),
    ],
)
def test_a_mistake_names_what_would_have_worked(representation: str, spec: EnvSpec, keys: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_representation(representation, spec, keys)


class TurnedReach(PointReach):
    """Points whose tool is turned by a quarter about z, and that say so."""

    turn = np.float32([0, -1, 0, 1, 0, 0])
    env_spec = EnvSpec(
        task="turned_reach",
        observation={**POINT_REACH_SPEC.observation, "tcp_rot6d": ArraySpec((6,), units="rot6d", frame="base")},
        action=POINT_REACH_SPEC.action,
        control_hz=10.0,
        stages=POINT_REACH_SPEC.stages,
    )

    def _observation(self) -> dict[str, NDArray[np.float32]]:
        return {**super()._observation(), "tcp_rot6d": np.tile(self.turn, (self.num_envs, 1))}


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Steps towards the goal, about 0.1 m a step."""
    path, env, steps = tmp_path_factory.mktemp("data") / "reach.zarr", TurnedReach(24), 12
    seen, _ = env.reset(seed=list(range(24)))
    observed, actions = [], []
    for _ in range(steps):
        way = seen["goal"] - seen["tcp_pos"]
        target = seen["tcp_pos"] + 2 * way * np.minimum(1.0, 0.1 / (np.linalg.norm(way, axis=1, keepdims=True) + 1e-9))
        rest = np.tile([*TurnedReach.turn, 1.0], (24, 1))
        observed.append(seen)
        actions.append(np.concatenate([np.clip(target, -HALF_EXTENT, HALF_EXTENT), rest], 1).astype(np.float32))
        seen, *_ = env.step(actions[-1])
    with DemoStore.create(path, TurnedReach.env_spec) as store:
        store.extend(
            [
                Episode(
                    {name: np.stack([step[name][row] for step in observed]) for name in seen},
                    np.stack([step[row] for step in actions]),
                    np.zeros(steps, np.float32),
                    terminated=True,
                    truncated=False,
                    success=True,
                )
                for row in range(24)
            ]
        )
    return path


@pytest.mark.parametrize("representation", OTHERS)
def test_a_policy_of_each_representation_learns_and_plays(representation: str, demonstrations: Path, tmp_path: Path) -> None:
    words = [
        f"store={demonstrations}",
        f"out={tmp_path / 'run'}",
        "policy=mlp_chunk",
        "policy.observation_keys=[tcp_pos,tcp_rot6d,goal]",
        f"policy.actions={representation}",
        "policy.prediction_horizon=4",
        "policy.action_horizon=2",
        "policy.sizes=[64,64]",
        "policy.dropout=0",
        "policy.precision=float32",
        "training.steps=500",
        "training.warmup_steps=20",
        "training.lr=0.003",
        "training.batch_size=64",
        "training.ema_decay=0.98",
        "evaluation.every=0",
        "tensorboard=false",
        "threads=1",
    ]
    assert behavior_cloning.main(compose("train", words)) == 0
    model = load_model(tmp_path / "run")
    assert model.actions == representation
    own, shared = model.action_scale[:3].numpy(), model.normalizer[ACTION].scale[:3]  # everyone else sees environment units
    assert not np.allclose(own, shared, rtol=0.03)
    result = rollout(TurnedReach(16), ChunkedPolicy(model, 2, 16), np.arange(16) + 500)
    assert result.success_rate > 0.7  # by chance 0


def test_a_residual_on_a_relative_base_works_in_environment_units() -> None:
    rng, rows = np.random.default_rng(0), 6
    plain = point_reach_normalizer()
    turn = Affine(np.zeros(6, np.float32), np.ones(6, np.float32))
    small = Affine(np.zeros(10, np.float32), np.float32([0.1] * 3 + [1.0] * 7))
    normalizer = Normalizer({**plain.parts, "tcp_rot6d": turn, "action:relative": small})
    torch.manual_seed(0)
    words = {"env_spec": TurnedReach.env_spec, "normalizer": normalizer, "observation_keys": ("tcp_pos", "tcp_rot6d", "goal")}
    base = MlpPolicy(**words, sizes=(16,), actions="relative", precision="float32").eval()
    model = ResidualModel(env_spec=TurnedReach.env_spec, normalizer=normalizer, base=base)
    np.testing.assert_allclose(model.step_size[:3], 0.1 * plain[ACTION].scale[:3])
    seen = {name: rng.uniform(-0.3, 0.3, (rows, 3)).astype(np.float32) for name in ("tcp_pos", "goal")}
    seen |= {"tcp_rot6d": np.tile(TurnedReach.turn, (rows, 1)), "gripper_width": np.zeros((rows, 1), np.float32)}
    policies = [residual_policy(model, rows), ChunkedPolicy(base, base.action_horizon, rows)]
    for policy in policies:
        policy.reset(np.ones(rows, bool), np.arange(rows))
    acted, alone = (policy.act(seen) for policy in policies)
    assert np.array_equal(acted, alone)
    assert np.abs(alone[:, :3] - seen["tcp_pos"]).max() < 0.1 * 3**0.5 + 1e-6  # seen from the tool, a target is within the range


def test_a_source_that_is_left_out_does_not_set_the_range_of_represented_actions_either(demonstrations: Path, tmp_path: Path) -> None:
    far = DemoStore.open(demonstrations).episode(0)
    with DemoStore.create(tmp_path / "far.zarr", TurnedReach.env_spec) as store:
        moved = far.actions * np.float32([3, 3, 3, *np.ones(far.actions.shape[1] - 3)])
        store.append(replace(far, actions=moved.astype(np.float32), provenance={"source": "augmentation"}))
    scales = []
    for name, stores, words in (
        ("alone", f"[{demonstrations}]", []),
        ("without", f"[{demonstrations},{tmp_path / 'far.zarr'}]", ["normalizer.leave_out=[augmentation]"]),
        ("with", f"[{demonstrations},{tmp_path / 'far.zarr'}]", []),
    ):
        options = ["policy=mlp_chunk", "policy.sizes=[8]", "policy.observation_keys=[tcp_pos,tcp_rot6d,goal]", "policy.actions=relative"]
        training = ["training.steps=1", "training.batch_size=4", "evaluation.every=0", "tensorboard=false", "split.fraction=0", "threads=1"]
        out = tmp_path / name
        assert behavior_cloning.main(compose("train", [f"store={stores}", f"out={out}", *options, *training, *words])) == 0
        scales.append(load_model(out).action_scale.numpy())
    np.testing.assert_array_equal(scales[0], scales[1])
    assert not np.allclose(scales[0], scales[2])
