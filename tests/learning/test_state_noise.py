"""State noise displaces in metres and radians, whatever the normaliser; rotations stay rotations and actions what they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from robolearn.batch import WindowBatch
from robolearn.errors import UserError
from robolearn.learning.parallel import Shard
from robolearn.learning.state_noise import StateNoise
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix
from robolearn.spec import ArraySpec
from robolearn.tasks import one_leg_spec

SPEC = one_leg_spec()
READ = ("tcp_pos", "tcp_rot6d", "gripper_width", "parts_poses")


def batch_of(rows: int, horizon: int = 2, seed: int = 0) -> WindowBatch:
    rng = np.random.default_rng(seed)

    def rotations(*shape: int) -> np.ndarray[Any, Any]:
        return rot6d_from_matrix(matrix_from_rotvec(rng.normal(size=(*shape, 3))))

    poses = np.concatenate([rng.uniform(-0.3, 0.3, (rows, horizon, 6, 3)), rotations(rows, horizon, 6)], -1)
    seen = {
        "tcp_pos": rng.uniform(-0.3, 0.3, (rows, horizon, 3)),
        "tcp_rot6d": rotations(rows, horizon),
        "gripper_width": rng.uniform(0, 0.08, (rows, horizon, 1)),
        "parts_poses": poses.reshape(rows, horizon, 54),
    }
    actions = rng.normal(size=(rows, 8, 10)).astype(np.float32)
    return WindowBatch({name: values.astype(np.float32) for name, values in seen.items()}, actions, np.zeros((rows, 8), bool)).torch()


def displaced(rows: int = 4000, seed: int = 0, **options: Any) -> tuple[WindowBatch, WindowBatch]:
    batch = batch_of(rows)
    return batch, StateNoise(SPEC, READ, **options)(batch, torch.Generator().manual_seed(seed))


def turn(before: torch.Tensor, after: torch.Tensor) -> np.ndarray[Any, Any]:
    """Rotation vectors from one rot6d to another, [rad]."""
    first, second = (matrix_from_rot6d(values.double().numpy()) for values in (before, after))
    return rotvec_from_matrix(second @ np.swapaxes(first, -1, -2))


def test_a_share_of_the_windows_moves_by_centimetres_and_tenths_of_a_radian_and_their_actions_do_not() -> None:
    before, after = displaced(share=0.2)
    moved = (after.observations["tcp_pos"] - before.observations["tcp_pos"]).numpy()
    hit = np.abs(moved).sum((1, 2)) > 0
    assert hit.mean() == pytest.approx(0.2, abs=0.03)
    turned = turn(before.observations["tcp_rot6d"], after.observations["tcp_rot6d"])
    assert (np.abs(turned[~hit]) < 1e-5).all()
    assert moved[hit].std() == pytest.approx(0.01, rel=0.06)  # metres, whatever any normaliser says
    assert turned[hit].std() == pytest.approx(0.1, rel=0.06)
    assert torch.equal(after.actions, before.actions)
    for name in ("gripper_width", "parts_poses"):
        assert torch.equal(after.observations[name], before.observations[name])
    assert torch.equal(after.observations["tcp_rot6d"][~torch.from_numpy(hit)], before.observations["tcp_rot6d"][~torch.from_numpy(hit)])


def test_displaced_rotations_are_rotations() -> None:
    _, after = displaced(share=1.0, rotation=1.0)
    rows = after.observations["tcp_rot6d"].unflatten(-1, (2, 3))
    torch.testing.assert_close(rows @ rows.mT, torch.eye(2).expand(*rows.shape[:2], 2, 2), atol=1e-5, rtol=0)


def test_a_windows_history_is_displaced_as_a_whole() -> None:
    before, after = displaced(share=1.0, rows=50)
    moved = after.observations["tcp_pos"] - before.observations["tcp_pos"]
    torch.testing.assert_close(moved[:, 0], moved[:, 1], atol=1e-6, rtol=0)
    turned = turn(before.observations["tcp_rot6d"], after.observations["tcp_rot6d"])
    np.testing.assert_allclose(turned[:, 0], turned[:, 1], atol=1e-5)


def test_every_part_is_displaced_by_itself_and_other_arrays_in_their_own_units() -> None:
    before, after = displaced(share=1.0, keys=["parts_poses"], others={"gripper_width": 0.002})
    poses = [batch.observations["parts_poses"].unflatten(-1, (6, 9)) for batch in (before, after)]
    moved = (poses[1] - poses[0])[..., :3].numpy()[:, 0]  # (B, 6, 3)
    assert moved.std() == pytest.approx(0.01, rel=0.05)
    assert abs(np.corrcoef(moved[:, 0, 0], moved[:, 1, 0])[0, 1]) < 0.1
    assert turn(poses[0][..., 3:], poses[1][..., 3:]).std() == pytest.approx(0.1, rel=0.05)
    assert (after.observations["gripper_width"] - before.observations["gripper_width"]).std() == pytest.approx(0.002, rel=0.05)
    assert torch.equal(after.observations["tcp_pos"], before.observations["tcp_pos"])


def test_shards_of_a_batch_are_displaced_as_the_batch_is() -> None:
    batch, noise = batch_of(12), StateNoise(SPEC, READ, share=0.5, keys=["tcp_pos", "tcp_rot6d", "parts_poses"])
    whole = noise(batch, torch.Generator().manual_seed(3))
    for start in (0, 6):
        rows = slice(start, start + 6)
        part = WindowBatch({name: values[rows] for name, values in batch.observations.items()}, batch.actions[rows], batch.is_pad[rows])
        mine = noise(part, torch.Generator().manual_seed(3), Shard(start, 6, 12))
        for name, values in mine.observations.items():
            torch.testing.assert_close(values, whole.observations[name][rows], atol=1e-6, rtol=0)
    assert not torch.equal(whole.observations["tcp_pos"], batch.observations["tcp_pos"])


def test_a_share_of_zero_draws_nothing() -> None:
    generator, batch = torch.Generator().manual_seed(1), batch_of(4)
    state = generator.get_state()
    assert StateNoise(SPEC, READ, share=0.0)(batch, generator) is batch
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keys": ["tcp_po"]}, "does not read.*did you mean 'tcp_pos'"),
        ({"keys": ["strain"]}, "no size for 'strain'.*units={strain: m}"),
        ({"share": 1.5}, "share must be from 0 to 1"),
        ({"position": -1.0}, "position must be at least 0"),
        ({"keys": []}, "displaces tcp_pos and tcp_rot6d unless keys says what"),
    ],
)
def test_a_mistake_names_what_would_have_worked(options: dict[str, Any], message: str) -> None:
    spec = replace(SPEC, observation={**SPEC.observation, "strain": ArraySpec((4,), units="V")})
    with pytest.raises(UserError, match=message):
        StateNoise(spec, (*READ, "strain"), **options)


def test_what_the_spec_does_not_say_can_be_declared() -> None:
    spec = replace(SPEC, observation={**SPEC.observation, "tcp_pos": ArraySpec((3,))})
    with pytest.raises(UserError, match="unknown units"):
        StateNoise(spec, READ)
    assert StateNoise(spec, READ, units={"tcp_pos": "m"}).pieces == {"tcp_pos": ["m"], "tcp_rot6d": ["rot6d"]}
