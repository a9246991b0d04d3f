"""Chunk transitions against a brute-force reading of the definition."""

from __future__ import annotations

import numpy as np
import pytest

from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning.transitions import build_transitions, held_out

GAMMA = 0.9


def random_episode(generator: np.random.Generator, number: int) -> Episode:
    length = int(generator.integers(1, 40))
    success = bool(generator.integers(2))
    solved = int(generator.integers(length))
    rewards = np.zeros(length, np.float32)
    rewards[solved] = float(success)
    # An observation that says which step of which episode it is: any crossing would show.
    place = np.stack([np.full(length, number), np.arange(length)], 1).astype(np.float32)
    return Episode({"place": place}, np.concatenate([place, place], 1), rewards, success, not success, success)


@pytest.mark.parametrize("seed", range(20))
def test_every_transition_is_what_the_definition_says_and_stays_in_its_episode(seed: int) -> None:
    generator = np.random.default_rng(seed)
    episodes = [random_episode(generator, number) for number in range(7)]
    horizon, history, stride = (int(value) for value in generator.integers(1, 7, 3))
    timeout = ("failure", "bootstrap")[seed % 2]
    made = build_transitions(episodes, horizon, GAMMA, keys=["place"], observation_horizon=history, stride=stride, timeout=timeout)
    expected = []
    for number, episode in enumerate(episodes):
        end = int(np.argmax(episode.rewards)) + 1 if episode.success else len(episode)
        for t in range(0, end, stride):
            past_end = t + horizon >= end
            if past_end and not episode.success and timeout == "bootstrap":
                continue
            reward = sum(GAMMA**i * episode.rewards[t + i] for i in range(min(horizon, end - t)))
            returns = sum(GAMMA**i * episode.rewards[t + i] for i in range(end - t))
            chunk = [min(t + i, end - 1) for i in range(horizon)]
            expected.append((number, t, reward, returns, 0.0 if past_end else GAMMA**horizon, t if past_end else t + horizon, chunk))
    assert len(made) == len(expected)
    place = made.observations["place"]
    for m, (number, t, reward, returns, discount, after, chunk) in enumerate(expected):
        np.testing.assert_array_equal(place[made.start[m]], [number, t])
        np.testing.assert_array_equal(place[made.after[m]], [number, after])
        np.testing.assert_array_equal(made.actions[made.chunk[m]], [[number, i, number, i] for i in chunk])
        np.testing.assert_array_equal(place[made.history[m]], [[number, max(t - i, 0)] for i in reversed(range(history))])
        np.testing.assert_allclose([made.reward[m], made.returns[m], made.discount[m]], [reward, returns, discount], rtol=1e-6)
        assert (made.episode[m], made.step[m]) == (number, t)


def test_bootstrapping_along_an_episode_gives_its_return() -> None:
    generator = np.random.default_rng(0)
    made = build_transitions([random_episode(generator, i) for i in range(5)], 3, GAMMA, keys=["place"])
    by_start = dict(zip(made.start, made.returns, strict=True))
    backed_up = made.reward + made.discount * np.array([by_start[index] for index in made.after])
    np.testing.assert_allclose(backed_up, made.returns, rtol=1e-5)


def test_a_held_out_group_is_held_out_whole() -> None:
    groups = np.repeat(np.arange(10), 7)
    mask = held_out(groups, 0.2, np.random.default_rng(0))
    assert len(np.unique(groups[mask])) == 2 and not set(groups[mask]) & set(groups[~mask])


def test_no_episodes_is_an_error() -> None:
    with pytest.raises(UserError, match="none"):
        build_transitions([], 4, GAMMA, keys=["place"])
