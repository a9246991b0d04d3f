"""Generalised advantages against hand computation."""

import torch

from robolearn.learning.gae import generalized_advantages


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]  # (T, 1)


def advantages(rewards, values, final_values, terminated, truncated, last, gamma=0.5, lam=0.5):
    found, returns = generalized_advantages(
        column(*rewards),
        column(*values),
        column(*final_values),
        column(*terminated).bool(),
        column(*truncated).bool(),
        torch.tensor([last]),
        gamma,
        lam,
    )
    torch.testing.assert_close(returns, found + column(*values))
    return found[:, 0].tolist()


def test_an_episode_that_goes_on_is_bootstrapped_with_the_last_value():
    # gamma = lam = 1/2, so errors are carried back by 1/4.
    # d2 = 1 + .5 * 8 - 2 = 3            A2 = 3
    # d1 = 0 + .5 * 2 - 4 = -3           A1 = -3 + .25 * 3    = -2.25
    # d0 = 2 + .5 * 4 - 1 = 3            A0 = 3 + .25 * -2.25 = 2.4375
    assert advantages([2, 0, 1], [1, 4, 2], [0, 0, 0], [0, 0, 0], [0, 0, 0], last=8.0) == [2.4375, -2.25, 3.0]


def test_a_terminated_step_is_worth_its_reward_alone_and_cuts_the_next_episode_off():
    # d2 = 1 + .5 * 8 - 2 = 3            A2 = 3
    # d1 = 1 + 0 - 4 = -3                A1 = -3, whatever follows
    # d0 = 0 + .5 * 4 - 1 = 1            A0 = 1 + .25 * -3 = .25
    assert advantages([0, 1, 1], [1, 4, 2], [0, 100, 0], [0, 1, 0], [0, 0, 0], last=8.0) == [0.25, -3.0, 3.0]


def test_a_truncated_step_is_bootstrapped_with_the_value_it_was_cut_at_and_cuts_the_next_episode_off():
    # d1 = 1 + .5 * 6 - 4 = 0            A1 = 0: V = 6 where it was cut, not the next episode's 2
    # d0 = 0 + .5 * 4 - 1 = 1            A0 = 1 + .25 * 0 = 1
    assert advantages([0, 1, 1], [1, 4, 2], [0, 6, 0], [0, 0, 0], [0, 1, 0], last=8.0) == [1.0, 0.0, 3.0]


def test_success_on_the_last_allowed_step_counts_as_terminated():
    # d0 = 1 + 0 - 1 = 0
    assert advantages([1], [1], [6], [1], [1], last=8.0) == [0.0]


def test_rows_do_not_mix():
    zeros = torch.zeros(2, 2)
    rewards = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    found, _ = generalized_advantages(rewards, zeros, zeros, zeros.bool(), zeros.bool(), torch.zeros(2), 0.5, 0.5)
    assert found.tolist() == [[0.25, 0.0], [1.0, 0.0]]
