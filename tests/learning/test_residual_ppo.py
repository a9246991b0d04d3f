"""Residual PPO on a world of points: it learns, it is braked, it bootstraps what was cut, and it resumes to the bit."""

import numpy as np
import pytest
import torch

from robolearn.errors import UserError
from robolearn.learning.collector import Collector
from robolearn.learning.ppo import PPO, Samples, gaussian_kl, gaussian_log_prob
from robolearn.learning.residual_ppo import PPOLearner, ResidualPPO
from robolearn.learning.reward_scale import RewardScale
from robolearn.learning.rollout import rollout
from robolearn.policies.residual import ResidualModel, residual_policy
from robolearn.seeding import split_seeds
from tests.fake_sampler import ScriptedSampler
from tests.fakes import POINT_REACH_SPEC, PointReach, point_reach_normalizer

QUICK = {"horizon": 32, "minibatch": 512, "epochs": 6, "critic_iterations": 1, "actor_lr": 1e-3, "gamma": 0.97}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_model(seed: int = 0, **options) -> ResidualModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        base = ScriptedSampler(**options.pop("base", {}))
        return ResidualModel(env_spec=POINT_REACH_SPEC, normalizer=point_reach_normalizer(), base=base, hidden=(64, 64), **options)


def make_learner(rows: int = 64, seed: int = 0, *, model=None, env=None, **settings) -> PPOLearner:
    policy = residual_policy(model or make_model(seed), rows)
    return ResidualPPO(**{**QUICK, **settings}).begin(env or PointReach(rows), policy, seed)


def success_of(model: ResidualModel, env: PointReach) -> float:
    return rollout(env, residual_policy(model, env.num_envs), split_seeds("search", 256)).success_rate


def samples_of(learner: PPOLearner) -> Samples:
    return learner._samples(learner.collector.play(learner.settings.horizon, learner._explorer())[0])


def test_ppo_lifts_a_biased_base_from_a_third_to_nearly_always():
    model = make_model()
    env = PointReach(64)
    assert success_of(model, env) < 0.45
    before = {name: value.clone() for name, value in model.base.state_dict().items()}
    learner = make_learner(model=model)
    for _ in range(15):
        metrics = learner.iterate()
    assert success_of(model, env) > 0.9
    assert metrics["train/success"] > 0.9
    assert all(torch.equal(before[name], value) for name, value in model.base.state_dict().items())


def test_ppo_learns_to_veto_the_gripper():
    """The base opens where the task asks for a closed hand: only a residual that flips the command succeeds."""
    model = make_model(base={"bias": 0.0, "gripper": -1.0}, gripper_log_std=-0.3)
    env = PointReach(64, needs_grip=True)
    assert success_of(model, env) == 0.0
    learner = make_learner(model=model, env=PointReach(64, needs_grip=True))
    for _ in range(25):
        learner.iterate()
    assert success_of(model, env) > 0.9


def test_the_first_iterations_train_the_critic_alone():
    learner = make_learner(critic_iterations=2)
    model = learner.collector.policy.model
    critic = model.critic[0].weight.detach().clone()
    learner.iterate()
    learner.iterate()
    assert not model.actor[-1].weight.any()
    assert not torch.equal(critic, model.critic[0].weight)
    learner.iterate()
    assert model.actor[-1].weight.any()


def test_a_learned_noise_moves_and_a_fixed_one_stays():
    for learn_std in (False, True):
        learner = make_learner(model=make_model(learn_std=learn_std), entropy_weight=0.01)
        model = learner.collector.policy.model
        before = model.log_std.detach().clone()
        for _ in range(3):
            learner.iterate()
        assert torch.equal(before, model.log_std.detach()) is not learn_std


def test_kl_and_density_agree_with_torch():
    generator = torch.Generator().manual_seed(0)
    old, new, x = (torch.randn(5, 3, generator=generator) for _ in range(3))
    a, b = torch.tensor([-1.0, 0.2, 0.0]), torch.tensor([-0.5, 0.0, 0.3])
    first, second = torch.distributions.Normal(old, a.exp()), torch.distributions.Normal(new, b.exp())
    torch.testing.assert_close(gaussian_kl(old, a, new, b), torch.distributions.kl_divergence(first, second).sum(-1))
    torch.testing.assert_close(gaussian_log_prob(x, old, a), first.log_prob(x).sum(-1))


def test_the_update_stops_the_actor_once_the_target_kl_is_passed():
    free, braked = make_learner(target_kl=None, actor_lr=0.01), make_learner(target_kl=0.01, actor_lr=0.01)
    for learner in (free, braked):
        learner.iterate()
    update_free, update_braked = free.iterate(), braked.iterate()
    assert update_free["ppo/actor_epochs"] == 6 and "ppo/kl_at_stop" not in update_free
    assert update_braked["ppo/actor_epochs"] < 6 and update_braked["ppo/kl_at_stop"] > 0.01


def test_the_adaptive_schedule_slows_down_after_an_overshoot_and_speeds_up_after_timidity():
    for actor_lr, expected in ((0.03, -1), (1e-7, 1)):
        learner = make_learner(schedule="adaptive", target_kl=0.02, actor_lr=actor_lr, critic_iterations=0)
        learner.iterate()
        assert np.sign(learner.ppo.actor_lr_factor - 1) == expected


def test_the_cosine_schedule_ends_at_zero():
    learner = make_learner(schedule="cosine")
    assert learner.iterate(progress=0.5)["ppo/actor_lr"] == pytest.approx(0.5e-3)
    assert learner.iterate(progress=1.0)["ppo/actor_lr"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("penalty", ["residual_l1", "residual_l2", "base_kl"])
def test_penalties_hold_the_residual_back(penalty):
    norms = []
    for weight in (0.0, 10.0):
        learner = make_learner(**{penalty: weight})
        for _ in range(6):
            metrics = learner.iterate()
        norms.append(metrics["ppo/residual_norm"])
    assert norms[1] < 0.5 * norms[0]


def constant_critic(model: ResidualModel, value: float) -> None:
    with torch.no_grad():
        model.critic[-1].weight.zero_()
        model.critic[-1].bias.fill_(value)


def test_time_limits_are_bootstrapped_and_success_is_not():
    """With V = 2 everywhere, one step an episode and gamma .5: a step that was cut returns 0 + .5 * 2, a success 1."""
    model = make_model()
    constant_critic(model, 2.0)
    learner = make_learner(rows=32, model=model, env=PointReach(32, max_episode_steps=1), gamma=0.5, lam=0.9)
    returns = samples_of(learner).returns
    assert set(returns.unique().tolist()) <= {1.0, 2 * 0.5}
    assert (returns == 1.0).all()
    constant_critic(model, 8.0)
    returns = samples_of(learner).returns
    successes = int((returns == 1.0).sum())
    assert int((returns == 4.0).sum()) == len(returns) - successes


def test_the_value_of_a_cut_episode_is_read_at_its_last_observation_with_the_next_queued_action():
    model = make_model()
    policy = residual_policy(model, 4)
    env = PointReach(4, max_episode_steps=1)
    collector = Collector(env, policy, seed=0)
    chunk = np.random.default_rng(0).uniform(-0.5, 0.5, policy.base.chunk.shape).astype(np.float32)
    policy.base.chunk = chunk.copy()
    foreseen = []
    foresee = policy.foresee
    policy.foresee = lambda observation: foreseen.append((observation["tcp_pos"], foresee(observation))) or foresee(observation)
    collector.play(1, lambda step, features: torch.zeros(4, 10))
    ((last_position, features),) = foreseen
    assert not np.allclose(last_position, env.get_state()[:, :3])  # the rows have begun their next episodes
    np.testing.assert_allclose(features[:, :3], last_position / 0.5, rtol=1e-6)
    np.testing.assert_allclose(features[:, 7:10], chunk[:, 1, :3] / 0.5, rtol=1e-6)  # action 0 was executed


def test_rows_keep_their_own_chunk_phase_after_resets_at_different_times():
    learner = make_learner(rows=16)
    learner.iterate()
    assert len(np.unique(learner.collector.policy.base.phase)) > 1
    clock, phase = learner.collector.clock, learner.collector.policy.base.phase
    np.testing.assert_array_equal(clock % 4 + 1, phase)  # chunks of 4 begin with the episode, in every row


def test_no_step_after_a_success_is_played_and_no_episode_twice():
    env = PointReach(16)
    begun, played = [], []
    reset, step = env.reset, env.step

    def spy_reset(*, seed=None, options=None):
        mask = np.ones(16, bool) if options is None else options["reset_mask"]
        begun.extend(np.asarray(seed)[mask].tolist())
        return reset(seed=seed, options=options)

    def spy_step(actions):
        played.append(bool((env.get_state()[:, 9] > 0).any()))
        return step(actions)

    env.reset, env.step = spy_reset, spy_step
    learner = make_learner(rows=16, env=env)
    metrics = [learner.iterate() for _ in range(3)]
    assert sum(part["train/success"] * part["train/episodes"] for part in metrics) > 0
    assert not any(played)
    assert len(set(begun)) == len(begun) > 16


def test_stage_rewards_are_paid_once_an_episode():
    env = PointReach(8, max_episode_steps=10)
    learner = make_learner(rows=8, model=make_model(base={"bias": 0.0}), env=env, stage_reward=0.25, gamma=1.0, lam=1.0, horizon=10)
    rewards = []
    shaped = learner.collector._shaped

    def spy(*arguments):
        rewards.append(shaped(*arguments))
        return rewards[-1]

    learner.collector._shaped = spy
    metrics = learner.collector.play(10, learner._explorer())[1]
    assert metrics["train/success"] == 1.0
    # Each success brings 1 and two stages of .25; an episode under way at the end may have brought its first stage.
    assert 0 <= np.sum(rewards) - 1.5 * metrics["train/episodes"] <= 8 * 0.25


def test_restarts_begin_where_earlier_episodes_have_been_and_are_reported_apart():
    env = PointReach(16)
    learner = make_learner(rows=16, env=env, restart_share=0.5)
    metrics = [learner.iterate() for _ in range(8)]
    bank = learner.collector.bank
    assert bank.counts[0] > 0 and bank.counts[1] > 0  # states of both: nothing reached yet, and near the goal
    assert sum(part.get("train/restart_episodes", 0) for part in metrics) > 10
    seeds = split_seeds("train", 4000)
    chosen, states, stages = bank.draw(seeds)
    assert 0.45 < chosen.mean() < 0.55
    assert 0.45 < stages[:, 0].mean() < 0.55  # each ring equally often
    known = {state.tobytes() for state in bank.states.reshape(-1, 12)}
    assert all(state.tobytes() in known for state in states)
    again = bank.draw(seeds[::-1])
    np.testing.assert_array_equal(again[1][::-1], states)  # by address, in any order


def test_a_restarted_row_is_in_the_state_it_was_moved_to():
    env = PointReach(8)
    learner = make_learner(rows=8, env=env, restart_share=1.0)
    learner.iterate()
    collector = learner.collector
    known = {state.tobytes() for ring, count in zip(collector.bank.states, collector.bank.counts, strict=True) for state in ring[:count]}
    observation = collector._restart(np.ones(8, bool))
    assert all(state.tobytes() in known for state in env.get_state())
    np.testing.assert_array_equal(observation["tcp_pos"], env.get_state()[:, :3].astype(np.float32))
    np.testing.assert_array_equal(collector.stages, env.get_state()[:, 8:10] > 0)


def test_the_reward_scale_divides_by_the_deviation_of_the_discounted_return():
    scale = RewardScale(1, gamma=0.5)
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=4000)
    returns, discounted = [], 0.0
    for reward in rewards:
        discounted = 0.5 * discounted + reward
        returns.append(discounted)
        scaled = scale(np.array([reward]), np.array([False]))
    assert scaled[0] == pytest.approx(rewards[-1] / np.std(returns), rel=1e-3)


def test_resuming_after_half_equals_training_through_to_the_bit():
    settings = {"normalize_rewards": True, "schedule": "adaptive", "stage_reward": 0.1, "restart_share": 0.3}
    through, first = (make_learner(rows=16, **settings) for _ in range(2))
    for _ in range(6):
        metrics = through.iterate()
    for _ in range(3):
        first.iterate()
    saved = {name: {key: value.clone() for key, value in group.items()} for name, group in first.tensors().items()}
    second = make_learner(rows=16, model=make_model(seed=5), **settings)
    second.collector.policy.model.load_state_dict(first.collector.policy.model.state_dict())
    second.load_tensors(saved.__getitem__)
    for _ in range(3):
        resumed = second.iterate()
    weights, others = through.collector.policy.model.state_dict(), second.collector.policy.model.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert {name: value for name, value in resumed.items() if "time" not in name} == {
        name: value for name, value in metrics.items() if "time" not in name
    }


def test_resuming_with_another_number_of_rows_is_refused():
    saved = make_learner(rows=16).tensors()
    with pytest.raises(UserError, match="begun with 16"):
        make_learner(rows=8).load_tensors(saved.__getitem__)


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched():
    model = make_model()
    ppo = PPO(model, ResidualPPO(**QUICK), torch.Generator())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    size = len(model._input_offset)
    bad = Samples(torch.zeros(8, size), torch.zeros(8, 10), torch.zeros(8, 10), torch.ones(8), torch.full((8,), float("nan")))
    with pytest.raises(UserError, match="value loss is nan"):
        ppo.update(bad)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_an_action_that_is_not_finite_never_reaches_the_environment():
    learner = make_learner(rows=8)
    with torch.no_grad():
        learner.collector.policy.model.actor[-1].weight.fill_(float("nan"))
    with pytest.raises(UserError, match="NaN"):
        learner.iterate()


def test_an_environment_that_resets_itself_is_refused():
    with pytest.raises(UserError, match="disabled"):
        make_learner(env=PointReach(64, autoreset_mode="same_step"))


def test_seeds_of_different_runs_share_no_episode():
    first, second = make_learner(rows=8, seed=0), make_learner(rows=8, seed=1)
    assert not np.allclose(first.collector.env.get_state(), second.collector.env.get_state())


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(UserError, match="constant, cosine, adaptive"):
        ResidualPPO(schedule="linear")
    with pytest.raises(UserError, match="target_kl"):
        ResidualPPO(schedule="adaptive", target_kl=None)
