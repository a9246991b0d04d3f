"""Shares and weights: exact in every batch and epoch, whatever the data hold, and the same however they are cut up."""

import json

import numpy as np
import pytest

from robolearn.datasets.sampler import WindowSampler
from robolearn.errors import UserError

# Four episodes of 50, 400, 20 and 10 windows.
LABELS = {
    "source": np.array(["expert", "augmentation", "rollout", "rollout"]),
    "outcome": np.array(["success", "success", "timeout", "success"]),
    "task": np.array(["lamp", "lamp", "lamp", "table"]),
    "store": np.array(["a.zarr", "b.zarr", "a.zarr", "a.zarr"]),
}
EPISODE_OF = np.repeat(np.arange(4), [50, 400, 20, 10])
WINDOWS = len(EPISODE_OF)
SOURCES = LABELS["source"][EPISODE_OF]


def sampler(shares=None, weights=None, **options):
    return WindowSampler(WINDOWS, 40, 3, labels=LABELS, episode_of=EPISODE_OF, shares=shares, weights=weights, **options)


def counts(stream, batches):
    return np.bincount(np.concatenate([next(stream) for _ in range(batches)]), minlength=WINDOWS)


@pytest.mark.parametrize("shares", [{"augmentation": 0.2}, {"source": {"augmentation": 0.2}}, {"store": {"b.zarr": 0.2}}])
def test_every_batch_holds_the_same_share_and_all_windows_are_seen(shares):
    stream = sampler(shares)
    drawn = [next(stream) for _ in range(60)]
    for batch in drawn:
        assert (SOURCES[batch] == "augmentation").sum() == 8
    seen = np.bincount(np.concatenate(drawn), minlength=WINDOWS)
    assert set(seen[SOURCES == "augmentation"]) <= {1, 2}  # 480 draws of 400
    assert set(seen[SOURCES != "augmentation"]) <= {24, 25}  # 1920 draws of 80


def test_shares_may_be_of_sources_stores_tasks_and_outcomes_at_once():
    batch = next(sampler({"augmentation": 0.25, "outcome": {"timeout": 0.5}, "task": {"table": 0.1}}))
    assert np.bincount(EPISODE_OF[batch]).tolist() == [6, 10, 20, 4]


def test_parts_are_mixed_within_a_batch_so_that_ranks_get_alike_parts():
    ranks = [sampler({"augmentation": 0.5}, rank=rank, world_size=2) for rank in range(2)]
    whole = sampler({"augmentation": 0.5})
    for _ in range(5):
        parts = [next(rank) for rank in ranks]
        np.testing.assert_array_equal(np.concatenate(parts), next(whole))
        assert all(5 <= (SOURCES[part] == "augmentation").sum() <= 15 for part in parts)


def test_in_an_epoch_a_window_comes_as_often_as_its_weight_says_rounded_up_or_down():
    weights = {"outcome": {"timeout": 0.5}, "source": {"expert": 3}, "task": {"table": 0}}
    seen = counts(sampler(weights=weights), WINDOWS // 40)
    weight = np.array([3, 1, 0.5, 0])[EPISODE_OF]
    expected = WINDOWS * weight / weight.sum()
    assert seen.sum() == WINDOWS
    assert (seen >= np.floor(expected)).all() and (seen <= np.ceil(expected)).all()
    assert seen[EPISODE_OF == 2].max() == 1 and seen[EPISODE_OF == 2].min() == 0  # not always the same ones are left out
    many = counts(sampler(weights=weights), 50 * WINDOWS // 40)
    np.testing.assert_allclose(many[EPISODE_OF != 3], 50 * expected[EPISODE_OF != 3], rtol=0.35, atol=6)


def test_weights_act_within_a_share():
    seen = counts(sampler({"augmentation": 0.5}, {"expert": 2, "task": {"table": 0}}), 100)
    of_episode = np.bincount(EPISODE_OF, seen)
    assert of_episode[1] == 2000 and of_episode[3] == 0
    assert of_episode[0] / of_episode[2] == pytest.approx(2 * 50 / 20, rel=0.05)


def test_weights_that_are_all_the_same_draw_every_window_once():
    assert set(counts(sampler(weights={"task": {"lamp": 0.3, "table": 0.3}}), WINDOWS // 40)) == {1}


def test_a_stream_is_looked_at_without_moving_it():
    stream = sampler({"augmentation": 0.2})
    upcoming = stream.peek()
    np.testing.assert_array_equal(next(stream), upcoming)
    assert (stream.peek() != upcoming).any()


@pytest.mark.parametrize("weights", [None, {"outcome": {"timeout": 0.25}}])
@pytest.mark.parametrize("shares", [None, {"rollout": 0.1, "expert": 0.4}, {"store": {"b.zarr": 0.3}}])
def test_a_stream_goes_on_where_its_state_was_taken(shares, weights):
    whole = sampler(shares, weights)
    ahead = [next(whole) for _ in range(20)]
    half = sampler(shares, weights)
    for _ in range(7):
        next(half)
    resumed = sampler(shares, weights)
    resumed.load_state_dict(json.loads(json.dumps(half.state_dict())))
    for batch in ahead[7:]:
        np.testing.assert_array_equal(next(resumed), batch)
    with pytest.raises(UserError, match="shares was"):
        sampler({"rollout": 0.2}, weights).load_state_dict(half.state_dict())
    with pytest.raises(UserError, match="weights was"):
        sampler(shares, {"rollout": 0.2}).load_state_dict(half.state_dict())


def test_the_order_in_which_shares_are_named_changes_nothing():
    one, other = sampler({"rollout": 0.1, "expert": 0.4}), sampler({"source": {"expert": 0.4, "rollout": 0.1}})
    np.testing.assert_array_equal(next(one), next(other))
    one.load_state_dict({**other.state_dict(), "shares": {"rollout": 0.1, "expert": 0.4}})  # as states of earlier versions have it


def test_all_sources_may_be_named():
    batch = next(sampler({"augmentation": 0.25, "expert": 0.5, "rollout": 0.25}))
    assert [int((SOURCES[batch] == name).sum()) for name in ("augmentation", "expert", "rollout")] == [10, 20, 10]


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"augmentatio": 0.2}, "did you mean 'augmentation'"),
        ({"stores": {"b.zarr": 0.2}}, "no 'stores'; they have source, outcome, task, store; did you mean 'store'"),
        ({"store": {"c.zarr": 0.2}}, "no windows of store 'c.zarr'; there are a.zarr, b.zarr"),
        ({"augmentation": "much"}, "shares are numbers by word"),
        ({"augmentation": 0.0}, "above 0"),
        ({"augmentation": 1.5}, "at most 1"),
        ({"augmentation": 1.0}, "expected less than 1"),
        ({"augmentation": 0.6, "expert": 0.6}, "come to 1.2"),
        ({"augmentation": 0.2, "expert": 0.2, "rollout": 0.2}, "expected 1, as there are no other windows"),
        ({"rollout": 0.2, "outcome": {"success": 0.2}}, "some windows of source 'rollout' have another share already"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares, says):
    with pytest.raises(UserError, match=says):
        sampler(shares)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"outcome": {"sucess": 2}}, "did you mean 'success'"),
        ({"expert": -1}, "at least 0"),
        ({"expert": float("inf")}, "at least 0"),
        ({"outcome": {"success": 0, "timeout": 0}}, "leave no window"),
        ({"outcome": 2}, "there are no windows of source 'outcome'"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights, says):
    with pytest.raises(UserError, match=says):
        sampler(weights=weights)


def test_shares_without_labels_say_so():
    with pytest.raises(UserError, match="episodes have no 'source'"):
        WindowSampler(10, 2, 0, shares={"expert": 0.5})


@pytest.mark.parametrize("batch_size", [5, 7, 10])
def test_shares_that_come_to_one_fill_a_batch_of_any_size(batch_size):
    shares = {"augmentation": 0.25, "expert": 0.25, "rollout": 0.5}
    drawn = next(WindowSampler(WINDOWS, batch_size, 3, labels=LABELS, episode_of=EPISODE_OF, shares=shares))
    assert len(drawn) == batch_size
    counts = {word: int((LABELS["source"][EPISODE_OF[drawn]] == word).sum()) for word in shares}
    assert all(abs(counts[word] - share * batch_size) < 1 for word, share in shares.items())


def test_a_batch_without_a_place_for_a_share_says_so():
    with pytest.raises(UserError, match="batch of 2 is too small"):
        WindowSampler(WINDOWS, 2, 3, labels=LABELS, episode_of=EPISODE_OF, shares={"augmentation": 0.1})
