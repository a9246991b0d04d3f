"""The loop plays each seed once, the same way every time, and files what happened under it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning.rollout import RolloutResult, outcomes, rollout
from robolearn.protocols import Observation
from robolearn.seeding import addressed_normal, split_seeds
from tests.fakes import POINT_REACH_SPEC, PointReach

SEEDS = split_seeds("search", 11)


class NoisyReach:
    """Goes to the goal with noise addressed by the episode's seed and step, so that episodes differ in length and outcome."""

    env_spec = POINT_REACH_SPEC

    def __init__(self, num_envs: int, noise: float = 0.08) -> None:
        self.noise = noise
        self.seeds, self.clock = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.int64)

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        self.seeds, self.clock = np.where(rows, seeds, self.seeds), np.where(rows, 0, self.clock)

    def act(self, observation: Observation) -> NDArray[np.float32]:
        actions = np.tile(np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, 1], np.float32), (len(self.seeds), 1))
        actions[:, :3] = observation["goal"] + self.noise * addressed_normal("test", self.seeds, self.clock, (3,))
        self.clock += 1
        return actions


def play(num_envs: int, seeds: NDArray[np.int64] = SEEDS, **options: Any) -> RolloutResult:
    env = PointReach(num_envs, max_episode_steps=12)
    return rollout(env, NoisyReach(num_envs), seeds, **options)


def assert_same(left: RolloutResult, right: RolloutResult) -> None:
    for name in ("seeds", "success", "steps", "stages", "rewards"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


@pytest.mark.parametrize("num_envs", [1, 3, 4, 11, 16])
def test_an_episode_depends_on_its_seed_and_not_on_the_number_of_rows(num_envs: int) -> None:
    alone = [play(1, SEEDS[i : i + 1]) for i in range(len(SEEDS))]
    together = play(num_envs)
    np.testing.assert_array_equal(together.success, [result.success[0] for result in alone])
    np.testing.assert_array_equal(together.steps, [result.steps[0] for result in alone])
    assert 0 < together.success.sum() < len(SEEDS)


def test_the_same_seeds_give_the_same_episodes() -> None:
    assert_same(play(4), play(4))


def test_row_i_plays_every_nth_seed_so_short_episodes_are_not_favoured() -> None:
    rows: dict[int, list[int]] = {}
    env = PointReach(3, max_episode_steps=12)
    reset = env.reset

    def spying_reset(*, seed: Any = None, options: Any = None) -> Any:
        for row in np.flatnonzero((options or {}).get("reset_mask", np.ones(3, bool))):
            rows.setdefault(int(row), []).append(seed[row])
        return reset(seed=seed, options=options)

    env.reset = spying_reset  # type: ignore[method-assign]
    rollout(env, NoisyReach(3), SEEDS)
    assert rows == {row: SEEDS[row::3].tolist() for row in range(3)}


def test_recorded_episodes_hold_what_was_seen_done_and_rewarded() -> None:
    episodes: list[Episode] = []
    result = play(4, record=episodes.append, record_state=True, provenance={"policy": "noisy"})
    by_seed = {episode.provenance["seed"]: episode for episode in episodes}
    assert sorted(by_seed) == SEEDS.tolist()
    env = PointReach(1, max_episode_steps=12)
    for i, seed in enumerate(SEEDS.tolist()):
        episode = by_seed[seed]
        episode.check(POINT_REACH_SPEC)
        assert len(episode) == result.steps[i] and episode.success == result.success[i] == episode.terminated != episode.truncated
        assert episode.rewards.sum() == result.rewards[i] == float(episode.success)
        assert episode.provenance == {"source": "rollout", "policy": "noisy", "seed": seed}
        observation, _ = env.reset(seed=[seed])
        for step in range(len(episode)):  # played again open loop, it is the same episode
            np.testing.assert_array_equal(observation["tcp_pos"][0], episode.observations["tcp_pos"][step])
            np.testing.assert_array_equal(env.get_state()[0], np.asarray(episode.sim_state)[step])
            observation, *_ = env.step(episode.actions[step][None])


def test_holding_lengthens_the_recording_and_changes_no_result() -> None:
    episodes: list[Episode] = []
    held = play(4, record=episodes.append, hold=3)
    assert_same(held, play(4))
    assert sorted(len(episode) - 3 for episode in episodes) == sorted(held.steps)
    assert sum(episode.rewards.sum() for episode in episodes) == held.rewards.sum()


def test_progress_ends_at_n_and_an_empty_list_of_seeds_is_no_episode() -> None:
    seen: list[tuple[int, int]] = []
    play(4, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (11, 11) and [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert play(4, SEEDS[:0]).steps.shape == (0,)


def test_a_policy_that_gives_nan_is_stopped_with_its_seed_and_step() -> None:
    with pytest.raises(UserError, match=rf"NaN.*seed {SEEDS[0]} at step 0"):
        rollout(PointReach(2), NoisyReach(2, noise=np.nan), SEEDS)


def test_an_environment_that_resets_by_itself_is_refused() -> None:
    with pytest.raises(UserError, match="autoreset_mode"):
        rollout(PointReach(2, autoreset_mode="same_step"), NoisyReach(2), SEEDS)


class ParkedReach(PointReach):
    """Counts how often each row was told to stand still."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs, max_episode_steps=12)
        self.parked = np.zeros(num_envs, np.int64)

    def park(self, rows: NDArray[np.bool_]) -> None:
        self.parked += rows
        self._state[rows] = 0.0


def test_rows_that_play_no_more_are_parked_once_which_changes_nothing() -> None:
    for num_envs in (4, len(SEEDS) + 2):
        env = ParkedReach(num_envs)
        assert_same(rollout(env, NoisyReach(num_envs), SEEDS), play(num_envs))
        assert env.parked.tolist() == num_envs * [1]


class ShyReach(ParkedReach):
    """Says which seeds it was stepped for."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs)
        self.seeds, self.stepped = np.zeros(num_envs, np.int64), np.zeros((0, num_envs), np.int64)
        self.still = np.zeros(num_envs, bool)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        mask = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        self.seeds, self.still = np.where(mask, seed, self.seeds), self.still & ~mask
        return super().reset(seed=seed, options=options)

    def park(self, rows: NDArray[np.bool_]) -> None:
        super().park(rows)
        self.still |= rows

    def step(self, actions: NDArray[Any]) -> Any:
        self.stepped = np.concatenate([self.stepped, np.where(self.still, -1, self.seeds)[None]])
        return super().step(actions)


@pytest.mark.parametrize("hold", [0, 2])
@pytest.mark.parametrize("had", [{0}, {1, 2, 6}, set(range(10)), {7, 10}])
def test_what_is_had_already_is_not_played_and_the_others_are_played_when_they_were(had: set[int], hold: int) -> None:
    worlds = ShyReach(4), ShyReach(4)
    whole = {outcome.index: outcome for outcome in outcomes(worlds[0], NoisyReach(4), SEEDS, hold=hold)}
    steps = {index: whole[index].steps for index in had}
    rest = {outcome.index: outcome for outcome in outcomes(worlds[1], NoisyReach(4), SEEDS, hold=hold, had=steps)}
    assert set(rest) == set(range(len(SEEDS))) - had
    for index, outcome in rest.items():
        assert (outcome.success, outcome.steps, outcome.reward) == (whole[index].success, whole[index].steps, whole[index].reward)
    before, after = (world.stepped for world in worlds)
    assert set(np.unique(after)) - {-1} == {int(SEEDS[index]) for index in rest}
    wanted = np.where(np.isin(before, SEEDS[sorted(had)]), -1, before)
    np.testing.assert_array_equal(after, wanted[: len(after)])
    assert (wanted[len(after) :] == -1).all()


class Losing(PointReach):
    """Loses row 1 at its third step."""

    def step(self, actions: NDArray[Any]) -> Any:
        observation, reward, terminated, truncated, info = super().step(actions)
        lost = (np.arange(self.num_envs) == 1) & (self._state[:, 7] == 3)
        info |= {"lost": lost, "reason": np.where(lost, "it fell", "")} if lost.any() else {}
        return observation, reward, terminated, truncated | lost, info


def test_an_episode_that_was_lost_says_why_and_the_others_say_nothing() -> None:
    result = rollout(Losing(4), NoisyReach(4, noise=0.3), SEEDS)
    assert set(result.lost) == {1, 5, 9} & {index for index in range(len(SEEDS)) if result.steps[index] == 3}
    assert result.lost and set(result.lost.values()) == {"it fell"}
