"""A critic that is late, broken or undecided never holds up the robot, and never piles up."""

import threading
import time

import numpy as np

from robolearn.deploy.serving.budget import BudgetedCritic
from robolearn.policies.steering import SteeredSampler
from tests.deploy.serving.houses import HORIZON, critic, seen
from tests.fake_sampler import ScriptedSampler
from tests.fakes import POINT_REACH_SPEC

CHUNKS = np.zeros((1, 5, HORIZON, 10), np.float32)


class Judge:
    """Does what it is told; counts how often it is asked, and from how many threads at a time."""

    env_spec, action_horizon, observation_keys = POINT_REACH_SPEC, HORIZON, ("goal",)

    def __init__(self, do):
        self.do, self.asked, self.inside, self.most = do, 0, 0, 0

    def score(self, observation, chunks):
        self.asked += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            return self.do()
        finally:
            self.inside -= 1


def row():
    return {name: array[None] for name, array in seen().items()}


def test_scores_in_time_are_the_critics_own():
    judge = critic()
    budgeted = BudgetedCritic(judge, 5.0)
    np.testing.assert_array_equal(budgeted.score(row(), CHUNKS), judge.score(row(), CHUNKS))
    assert (budgeted.outcome, budgeted.counts) == ("", {"scored": 1, "overrun": 0, "failed": 0, "not finite": 0})


def fail():
    raise RuntimeError("out of memory")


def test_an_exception_and_a_wrong_shape_are_nan_and_counted():
    for do, says in ((fail, "RuntimeError: out of memory"), (lambda: np.zeros((2, 1, 4)), "shape (2, 1, 4)")):
        budgeted = BudgetedCritic(Judge(do), 5.0)
        scores = budgeted.score(row(), CHUNKS)
        assert scores.shape == (1, 1, 5)
        assert np.isnan(scores).all()
        assert (budgeted.outcome, budgeted.counts["failed"]) == ("failed", 1)
        assert says in budgeted.error


def test_scores_that_are_not_finite_are_counted():
    scores = np.zeros((2, 1, 5), np.float32)
    scores[1, 0, 3] = np.nan
    budgeted = BudgetedCritic(Judge(lambda: scores), 5.0)
    np.testing.assert_array_equal(budgeted.score(row(), CHUNKS), scores)
    assert (budgeted.outcome, budgeted.counts["not finite"]) == ("not finite", 1)


def test_a_critic_that_hangs_holds_one_thread_and_is_asked_again_when_it_is_back():
    release = threading.Event()
    judge = Judge(lambda: release.wait(20) and np.zeros((2, 1, 5), np.float32))
    budgeted = BudgetedCritic(judge, 0.1)
    before = threading.active_count()
    begun = time.monotonic()
    for _ in range(50):
        assert np.isnan(budgeted.score(row(), CHUNKS)).all()
    assert time.monotonic() - begun < 2.5  # one budget, not fifty
    assert (budgeted.counts["overrun"], judge.asked, judge.most) == (50, 1, 1)
    assert threading.active_count() <= before
    release.set()
    deadline = time.monotonic() + 5
    while np.isnan(budgeted.score(row(), CHUNKS)).any() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert budgeted.outcome == ""
    assert judge.most == 1


def test_a_sampler_steered_by_a_critic_that_falls_out_is_its_base_to_the_bit():
    base, numbers = ScriptedSampler(), (np.array([4]), np.array([2]))
    history = {name: array[None] for name, array in seen(1).items()}
    wanted = base.sample(history, *numbers)
    for do in (fail, lambda: time.sleep(0.2), lambda: np.full((2, 1, 16), np.nan, np.float32)):
        steered = SteeredSampler(ScriptedSampler(), critic(), candidates=16, threshold=-1.0)
        steered.wrap_critic(lambda inner, do=do: BudgetedCritic(Judge(do), 0.05))
        np.testing.assert_array_equal(steered.sample(history, *numbers), wanted)


def test_a_wrapped_critic_that_is_in_time_picks_as_before():
    history = {name: array[None] for name, array in seen(1).items()}
    plain, wrapped = (SteeredSampler(ScriptedSampler(), critic(), candidates=16, caution=0.0) for _ in range(2))
    wrapped.wrap_critic(lambda inner: BudgetedCritic(inner, None))
    picks = [
        (plain.sample(history, *numbers), wrapped.sample(history, *numbers))
        for numbers in ((np.array([n]), np.array([0])) for n in range(8))
    ]
    for one, other in picks:
        np.testing.assert_array_equal(one, other)
    assert plain.statistics == wrapped.statistics
    assert plain.statistics["abstained"] < 1
