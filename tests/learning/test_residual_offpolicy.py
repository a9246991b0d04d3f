"""Off-policy residual learning: transitions by hand, demonstrations in residual terms, and learning from little experience."""

import numpy as np
import pytest
import torch

from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning.collector import Experience
from robolearn.learning.q_ensemble import QEnsemble
from robolearn.learning.residual_offpolicy import ResidualOffPolicy, label_demonstrations
from robolearn.learning.rollout import rollout
from robolearn.learning.transition_buffer import TransitionBuffer, Transitions, n_step_transitions
from robolearn.policies.residual import ResidualModel, residual_policy
from robolearn.seeding import split_seeds
from tests.fake_sampler import ScriptedSampler
from tests.fakes import POINT_REACH_SPEC, PointReach, point_reach_normalizer

QUICK = {
    "warmup_steps": 3000,
    "updates_per_step": 0.05,
    "hidden": (128, 128),
    "gamma": 0.97,
    "n_step": 3,
    "capacity": 20_000,
    "polyak": 0.01,
    "actor_lr": 3e-4,
    "critic_lr": 1e-3,
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_model(**options) -> ResidualModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = ScriptedSampler(**options.pop("base", {}))
        options = {"hidden": (64, 64), "residual_limit": 1.5, **options}
        return ResidualModel(env_spec=POINT_REACH_SPEC, normalizer=point_reach_normalizer(), base=base, **options)


class Store:
    """A store of episodes that the unbiased script played."""

    env_spec = POINT_REACH_SPEC

    def __init__(self) -> None:
        model = make_model(base={"bias": 0.0, "noise": 0.0})
        self.episodes: list[Episode] = []
        rollout(PointReach(8), residual_policy(model, 8).base, split_seeds("train", 16), record=self.episodes.append)

    @classmethod
    def open(cls, path: str) -> "Store":
        return cls()

    @property
    def num_episodes(self) -> int:
        return len(self.episodes)

    def episode(self, index: int) -> Episode:
        return self.episodes[index]


def test_n_step_transitions_by_hand():
    """One row, five steps, up to two at a time, gamma 1/2: success ends step 1, a time limit ends step 3."""
    features = torch.arange(6.0)[:, None, None]  # (T + 1, N, F): the step's number
    ends = torch.zeros(2, 5, 1, dtype=torch.bool)
    ends[0, 1], ends[1, 3] = True, True
    rewards = torch.tensor([8.0, 4.0, 2.0, 6.0, 10.0])[:, None]
    cut = torch.tensor([[99.0]])
    found = n_step_transitions(Experience(features, torch.zeros(5, 1, 1), rewards, ends[0], ends[1], cut), 2, 0.5)
    # step 0: 8 + .5 * 4, then it is over; step 1: 4, over; step 2: 2 + .5 * 6, worth V(99) / 4; step 3: 6, worth V(99) / 2;
    # step 4: 10, the experience ends: worth V(5) / 2.
    assert found.rewards.tolist() == [10.0, 4.0, 5.0, 6.0, 10.0]
    assert found.discounts.tolist() == [0.0, 0.0, 0.25, 0.5, 0.5]
    assert found.next_features[2:, 0].tolist() == [99.0, 99.0, 5.0]
    assert found.features[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def transitions(*numbers: float) -> Transitions:
    values = torch.tensor(numbers, dtype=torch.float32)
    return Transitions(values[:, None], values[:, None], values, values, values[:, None])


def test_the_buffer_forgets_the_oldest_and_comes_back_from_its_tensors():
    buffer = TransitionBuffer(4, 1, 1)
    buffer.add(transitions(1, 2, 3))
    buffer.add(transitions(4, 5))
    generator = torch.Generator().manual_seed(0)
    assert set(buffer.sample(200, generator).rewards.tolist()) == {2.0, 3.0, 4.0, 5.0}
    other = TransitionBuffer(4, 1, 1)
    other.load_tensors(buffer.tensors())
    other.add(transitions(6))
    assert set(other.sample(200, generator).rewards.tolist()) == {3.0, 4.0, 5.0, 6.0}
    buffer.add(transitions(*range(10, 20)))
    assert set(buffer.sample(200, generator).rewards.tolist()) == {16.0, 17.0, 18.0, 19.0}


def test_ensemble_members_are_independent_networks():
    torch.manual_seed(0)
    ensemble = QEnsemble(3, 4, 2, (8,))
    features, residuals = torch.randn(5, 4), torch.randn(5, 2)
    values = ensemble(features, residuals)
    assert values.shape == (3, 5)
    linear, norm, _, last = ensemble.layers
    hidden = torch.cat([features, residuals], 1) @ linear.weight[1] + linear.bias[1]
    hidden = torch.relu(torch.nn.functional.layer_norm(hidden, (8,), norm.scale[1, 0], norm.shift[1, 0]))
    torch.testing.assert_close(values[1], (hidden @ last.weight[1] + last.bias[1])[:, 0])
    values[1].sum().backward()
    assert not linear.weight.grad[[0, 2]].any() and linear.weight.grad[1].any()


def test_labelled_demonstrations_are_the_base_plus_their_residual():
    episodes = Store().episodes[:5]
    model = make_model()
    experiences = label_demonstrations(residual_policy(model, 4), episodes, 4)
    assert [len(part.rewards) for part in experiences] == [len(episode) for episode in episodes]
    for experience, episode in zip(experiences, episodes, strict=True):
        base_action = experience.features[:-1, 0, -10:].numpy() * model.normalizer["action"].scale
        executed = model.merge(base_action, experience.residuals[:, 0].numpy())
        np.testing.assert_allclose(executed, episode.actions, atol=1e-6)
        assert experience.rewards.sum() == 1 and bool(experience.terminated[-1])


@pytest.mark.parametrize("demonstrations", [None, "any"])
def test_it_lifts_a_biased_base_to_nearly_always_within_ten_thousand_steps(demonstrations):
    model, env = make_model(), PointReach(64)
    evaluation = residual_policy(model, 64)
    assert rollout(env, evaluation, split_seeds("search", 256)).success_rate < 0.45
    store = f"{Store.__module__}.{Store.__qualname__}"
    recipe = ResidualOffPolicy(**QUICK, demonstrations=demonstrations, demonstration_store=store)
    learner = recipe.begin(PointReach(64), residual_policy(model, 64), 0)
    while learner.env_steps < 8000:
        metrics = learner.iterate()
    assert rollout(env, evaluation, split_seeds("search", 256)).success_rate > 0.9
    assert 0 < metrics["offpolicy/value"] < 1


def test_the_actor_waits_for_the_warm_up_and_the_critics_do_not():
    learner = ResidualOffPolicy(**QUICK).begin(PointReach(64), residual_policy(make_model(), 64), 0)
    learner.iterate()
    metrics = learner.iterate()
    assert learner.updates > 0 and "residual_norm" not in metrics
    assert not learner.model.actor[-2].weight.any()


def test_the_residual_comes_in_progressively():
    learner = ResidualOffPolicy(**QUICK, progressive_steps=1000).begin(PointReach(64), residual_policy(make_model(log_std=-20.0), 64), 0)
    with torch.no_grad():
        learner.model.actor[-2].weight.fill_(10.0)
        learner.model.log_std.fill_(-20.0)
        features = torch.ones(400, learner.collector.features.shape[1])
        shares = []
        for learner.env_steps in (0, 500, 1000):
            shares.append(float((learner._explore(0, features)[:, 0].abs() > 0.1).float().mean()))
    assert shares[0] == 0.0 and 0.4 < shares[1] < 0.6 and shares[2] == 1.0


def test_resume_with_a_saved_buffer_is_exact():
    settings = {**QUICK, "save_buffer": True}

    def begin(model):
        return ResidualOffPolicy(**settings).begin(PointReach(16), residual_policy(model, 16), 0)

    through, first = begin(make_model()), begin(make_model())
    for _ in range(14):
        through.iterate()
    for _ in range(9):
        first.iterate()
    second = begin(make_model())
    second.model.load_state_dict(first.model.state_dict())
    second.load_tensors({name: dict(group) for name, group in first.tensors().items()}.__getitem__)
    for _ in range(5):
        second.iterate()
    weights, resumed = through.model.state_dict(), second.model.state_dict()
    assert weights["actor.4.weight"].any()
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)


def test_an_unbounded_residual_is_refused():
    with pytest.raises(UserError, match="residual_limit"):
        ResidualOffPolicy().begin(PointReach(8), residual_policy(make_model(residual_limit=None), 8), 0)


@pytest.mark.parametrize("name", ["horizon", "batch", "n_step", "actor_delay"])
def test_a_count_of_nothing_is_refused(name):
    with pytest.raises(UserError, match="at least 1"):
        ResidualOffPolicy(**{name: 0})
