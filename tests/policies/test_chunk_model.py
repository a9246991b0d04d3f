"""One path from observations to a network's input and from its output to actions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robolearn.checkpoint import build, load_model, save_checkpoint
from robolearn.errors import UserError
from robolearn.normalize import Affine, Normalizer
from robolearn.policies.chunk_model import orthonormal_actions
from robolearn.rotation import orthonormalize_rot6d
from tests.fakes import POINT_REACH_SPEC
from tests.policies.small import KEYS, WORDS, numbers, observations, random_batch, small_diffusion, small_mlp


def test_what_is_trained_on_is_what_is_acted_on() -> None:
    policy = small_diffusion(observation_horizon=3)
    seen = observations(4, horizon=3)
    encoded = policy.encode_numpy(seen)
    expected = np.concatenate([policy.normalizer.forward(name, seen[name]) for name in KEYS], -1).reshape(4, -1)
    np.testing.assert_allclose(encoded, expected, rtol=1e-6)
    torch.testing.assert_close(encoded, policy.encode({name: torch.from_numpy(values) for name, values in seen.items()}))


def test_observations_far_outside_the_demonstrations_are_clipped() -> None:
    encoded = small_diffusion(clamp=3.0).encode_numpy({name: 100 * values for name, values in observations(4).items()})
    assert float(encoded.abs().max()) == 3.0


def test_actions_go_there_and_back() -> None:
    policy, actions = small_mlp(), torch.from_numpy(random_batch(4).actions)
    torch.testing.assert_close(policy.denormalise_actions(policy.normalise_actions(actions)), actions, atol=1e-6, rtol=1e-6)


def test_rotations_are_made_orthonormal_as_everywhere_else() -> None:
    actions = torch.randn(5, 7, 10)
    changed = orthonormal_actions(actions, POINT_REACH_SPEC.action)
    np.testing.assert_allclose(changed[..., 3:9], orthonormalize_rot6d(actions[..., 3:9].numpy()), atol=1e-5)
    assert torch.equal(changed[..., :3], actions[..., :3]) and torch.equal(changed[..., 9:], actions[..., 9:])


def test_the_weights_hold_no_copy_of_the_normaliser() -> None:
    assert all(name.startswith("network.") for name in small_diffusion().state_dict())


def test_a_normaliser_that_does_not_know_a_key_is_refused() -> None:
    known = Normalizer({name: part for name, part in WORDS["normalizer"].parts.items() if name != "goal"})
    with pytest.raises(UserError, match="fitted without 'goal'"):
        type(small_mlp())(**{**WORDS, "normalizer": known})


def test_a_normaliser_of_another_width_is_refused() -> None:
    wide = Affine(np.zeros(7, np.float32), np.ones(7, np.float32))
    with pytest.raises(UserError, match="7 numbers of 'goal', the task has 3"):
        type(small_mlp())(**{**WORDS, "normalizer": Normalizer({**WORDS["normalizer"].parts, "goal": wide})})


def test_distractors_change_no_chunk_and_take_no_input() -> None:
    policy = small_diffusion(observation_horizon=2, distractors=["tcp_pos:1:3"])
    seen = observations(4, horizon=2)
    before = policy.sample(seen, *numbers(4))
    seen["tcp_pos"][..., 1:] += 0.1
    np.testing.assert_array_equal(policy.sample(seen, *numbers(4)), before)
    seen["tcp_pos"][..., :1] += 0.1
    assert not np.array_equal(policy.sample(seen, *numbers(4)), before)
    assert policy.observation_size == 2 * (6 - 2)


def test_a_distractor_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match=r"no numbers at 'legs:0:3'.*tcp_pos:0:3, goal:0:3"):
        small_diffusion(distractors=["legs:0:3"])


def test_loss_weights_shift_the_loss_between_channels_and_leave_its_size() -> None:
    padding = torch.zeros(2, 8, dtype=torch.bool)
    position, gripper = torch.zeros(2, 8, 10), torch.zeros(2, 8, 10)
    position[..., 0], gripper[..., 9] = 1.0, 1.0
    plain, weighted = small_diffusion(), small_diffusion(loss_weights={"m": 20, "rot6d": 3})
    assert float(plain.masked_mean(position, padding)) == float(plain.masked_mean(gripper, padding))
    ratio = weighted.masked_mean(position, padding) / weighted.masked_mean(gripper, padding)
    torch.testing.assert_close(ratio, torch.tensor(20.0))
    everything = torch.ones(2, 8, 10)
    torch.testing.assert_close(weighted.masked_mean(everything, padding), plain.masked_mean(everything, padding))


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"mm": 2}, "no channels of 'mm' to weigh in an action of m, rot6d, gripper; did you mean 'm'"),
        ({"m": 0}, "loss_weights.m takes a number above 0, got 0"),
        ({"m": float("inf")}, "got inf"),
        ({"m": True}, "got True"),
        ({"m": "many"}, "got 'many'"),
        (["m"], "is a mapping from units to weights"),
    ],
)
def test_loss_weights_that_weigh_nothing_are_refused(weights: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        small_diffusion(loss_weights=weights)


def test_an_action_without_units_has_no_loss_weights() -> None:
    spec = replace(POINT_REACH_SPEC, action=replace(POINT_REACH_SPEC.action, units=""))
    with pytest.raises(UserError, match=r"action of 10 numbers it has no units; policy.loss_weights=null"):
        type(small_diffusion())(**{**WORDS, "env_spec": spec}, loss_weights={"m": 2})


def test_a_policy_with_distractors_and_weights_is_the_same_from_its_checkpoint(tmp_path: Path) -> None:
    options = {
        "distractors": ["tcp_pos:1:3"],
        "loss_weights": {"m": 20},
        "prediction_horizon": 8,
        "hidden": 32,
        "blocks": 2,
        "step_size": 16,
    }
    node = {"_target_": "robolearn.policies.diffusion.DiffusionPolicy", "observation_keys": list(KEYS), **options}
    policy = build(node, POINT_REACH_SPEC, WORDS["normalizer"], "cpu")
    save_checkpoint(tmp_path, 1, config=node, env_spec=POINT_REACH_SPEC, normalizer=policy.normalizer, tensors={"ema": policy.state_dict()})
    np.testing.assert_array_equal(load_model(tmp_path).sample(observations(3), *numbers(3)), policy.sample(observations(3), *numbers(3)))


def test_distractors_leave_something_to_read() -> None:
    with pytest.raises(UserError, match="leave nothing of the state to read"):
        small_diffusion(distractors=["tcp_pos:0:3", "goal:0:3"])
