"""The residual policy: what it adds, what it never touches, and how far it can reach."""

import numpy as np
import pytest
import torch

from robolearn.policies.residual import ResidualModel, ResidualPolicy, residual_policy
from robolearn.seeding import split_seeds
from robolearn.spec import SpecError
from tests.fake_sampler import ScriptedSampler
from tests.fakes import POINT_REACH_SPEC, PointReach, point_reach_normalizer

ROWS = 6


def make_model(**options) -> ResidualModel:
    return ResidualModel(env_spec=POINT_REACH_SPEC, normalizer=point_reach_normalizer(), base=ScriptedSampler(), hidden=(16,), **options)


def moved_model(**options) -> ResidualModel:
    """A model whose residual is far from zero."""
    model = make_model(**options)
    with torch.no_grad():
        model.actor[-1].weight.normal_(generator=torch.Generator().manual_seed(0))
    return model


def actions_of(policy, steps: int = 70) -> list[bytes]:
    """What a policy does, to the bit, in rows that are reset at different times."""
    env = PointReach(ROWS, max_episode_steps=9)
    everyone, seeds = np.ones(ROWS, bool), split_seeds("search", ROWS)
    observation, _ = env.reset(seed=seeds.tolist())
    policy.reset(everyone, seeds)
    done, taken = np.zeros(ROWS, bool), []
    for step in range(steps):
        action = policy.act(observation)
        taken.append(action.tobytes())
        observation, _, terminated, truncated, _ = env.step(action)
        done = terminated | truncated
        done[step % ROWS] = step % 5 == 0  # and rows out of step with each other
        if done.any():
            seeds = seeds + ROWS
            observation, _ = env.reset(seed=seeds.tolist(), options={"reset_mask": done})
            policy.reset(done, seeds)
    return taken


def test_an_untrained_residual_is_its_base_to_the_bit():
    model = make_model()
    assert actions_of(residual_policy(model, ROWS)) == actions_of(residual_policy(model, ROWS).base)


def test_strength_zero_is_the_base_to_the_bit_and_other_strengths_are_not():
    model = moved_model()
    base = actions_of(residual_policy(model, ROWS).base)
    assert actions_of(residual_policy(model, ROWS, strength=0.0)) == base
    assert actions_of(residual_policy(model, ROWS, strength=0.5)) != base


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_refining_the_bases_actions_from_outside_is_acting_to_the_bit(strength):
    model = moved_model(phase_input=True)

    class FromOutside(ResidualPolicy):
        def act(self, observation):
            base_action = self.base.act(observation)
            fresh = ResidualPolicy(None, model, strength)
            return fresh.refine(observation, base_action, self.base.phase - 1)

    policy = residual_policy(model, ROWS, strength)
    assert actions_of(FromOutside(policy.base, model, strength)) == actions_of(policy)


def test_strength_scales_the_mean_residual():
    model, base = make_model(), np.zeros((1, 10), np.float32)
    residual = np.linspace(-1, 1, 10, dtype=np.float32)[None]
    half, full = model.merge(base, residual, 0.5), model.merge(base, residual, 1.0)
    np.testing.assert_allclose(half, full / 2, rtol=1e-6)
    # One unit of residual is a tenth of a half-range of .5 m in position, of 1 in rot6d, and the whole of the gripper's.
    np.testing.assert_allclose(full[0, [0, 8, 9]], [-0.05, 0.1 * residual[0, 8], 1.0], rtol=1e-6)


def test_clipping_holds_the_residual_but_never_moves_the_base():
    model = make_model()
    base = np.zeros((1, 10), np.float32)
    base[0, :3] = [0.7, 0.48, -0.7]  # outside, near, outside of the limits +-0.5
    residual = np.full((1, 10), 1.0, np.float32)
    np.testing.assert_allclose(model.merge(base, residual)[0, :3], [0.7, 0.5, -0.65], rtol=1e-6)
    np.testing.assert_array_equal(model.merge(base, 0 * residual), base)


def test_a_residual_can_veto_the_gripper_at_scale_one_but_not_at_a_tenth():
    close = np.zeros((1, 10), np.float32)
    close[0, 9] = 1.0
    veto = np.zeros((1, 10), np.float32)
    veto[0, 9] = -1.5
    assert make_model().merge(close, veto)[0, 9] < 0
    assert make_model(gripper_scale=0.1).merge(close, veto)[0, 9] > 0
    assert make_model().merge(-close, -veto)[0, 9] > 0


def test_the_base_stays_in_eval_mode_and_gets_no_gradient():
    model = make_model().train()
    assert model.actor.training and not model.base.training
    mean, value = model(torch.randn(4, len(model._input_offset)))
    (mean.sum() + value.sum()).backward()
    assert model.base.bias.grad is None and not model.base.bias.requires_grad
    assert model.critic[-1].weight.grad is not None
    assert all(parameter is not model.base.bias for parameter in model.head_parameters())


def test_features_are_normalised_and_clipped():
    model = make_model(observation_keys=["tcp_pos"], input_clamp=2.0)
    action = np.zeros((1, 10), np.float32)
    features = model.features({"tcp_pos": np.float32([[0.25, -0.5, 9.0]])}, action)
    np.testing.assert_allclose(features[0, :3], [0.5, -1.0, 2.0])
    assert features.shape == (1, 13)


def test_the_phase_input_tells_where_in_its_chunk_each_row_is():
    model = make_model(phase_input=True)
    policy = residual_policy(model, 2)
    env = PointReach(2)
    observation, _ = env.reset(seed=[0, 1])
    policy.reset(np.array([True, True]), np.array([0, 1]))
    seen = []
    for step in range(6):
        if step == 2:
            policy.reset(np.array([False, True]), np.array([0, 9]))
        seen.append(policy.propose(observation)[1][:, -1])
    # Chunks of 4: phases 0..3 become -1, -.5, 0, .5; row 1 starts anew at step 2.
    np.testing.assert_allclose(np.stack(seen, 1), [[-1, -0.5, 0, 0.5, -1, -0.5], [-1, -0.5, -1, -0.5, 0, 0.5]])


def test_a_key_that_the_normaliser_does_not_know_is_named():
    with pytest.raises(SpecError, match="parts_poses"):
        make_model(observation_keys=["tcp_pos", "parts_poses"])


def test_a_residual_policy_wraps_any_base_policy():
    model = make_model()
    other = residual_policy(model, ROWS).base
    policy = ResidualPolicy(other, model)
    assert policy.base is other and policy.env_spec is POINT_REACH_SPEC
