"""Shares of a batch by source: exact in every batch, whatever the data hold, and the same however they are cut up."""

import json

import numpy as np
import pytest

from robolearn.datasets.sampler import WindowSampler
from robolearn.errors import UserError

SOURCES = np.array(["expert"] * 50 + ["augmentation"] * 400 + ["rollout"] * 30)


def sampler(shares, **options):
    return WindowSampler(len(SOURCES), 40, 3, sources=SOURCES, shares=shares, **options)


def test_every_batch_holds_the_same_share_of_each_source_and_all_windows_are_seen():
    drawn = [next(stream) for stream in [sampler({"augmentation": 0.2})] for _ in range(60)]
    for batch in drawn:
        assert (SOURCES[batch] == "augmentation").sum() == 8
    counts = np.bincount(np.concatenate(drawn), minlength=len(SOURCES))
    assert set(counts[SOURCES == "augmentation"]) <= {1, 2}  # 480 draws of 400
    assert set(counts[SOURCES != "augmentation"]) <= {24, 25}  # 1920 draws of 80


def test_sources_are_mixed_within_a_batch_so_that_ranks_get_alike_parts():
    ranks = [sampler({"augmentation": 0.5}, rank=rank, world_size=2) for rank in range(2)]
    whole = sampler({"augmentation": 0.5})
    for _ in range(5):
        parts = [next(rank) for rank in ranks]
        np.testing.assert_array_equal(np.concatenate(parts), next(whole))
        assert all(5 <= (SOURCES[part] == "augmentation").sum() <= 15 for part in parts)


def test_a_stream_goes_on_where_its_state_was_taken():
    whole = sampler({"rollout": 0.1, "expert": 0.4})
    ahead = [next(whole) for _ in range(20)]
    half = sampler({"rollout": 0.1, "expert": 0.4})
    for _ in range(7):
        next(half)
    resumed = sampler({"rollout": 0.1, "expert": 0.4})
    resumed.load_state_dict(json.loads(json.dumps(half.state_dict())))
    for batch in ahead[7:]:
        np.testing.assert_array_equal(next(resumed), batch)
    with pytest.raises(UserError, match="shares was"):
        sampler({"rollout": 0.2}).load_state_dict(half.state_dict())


def test_all_sources_may_be_named():
    batch = next(sampler({"augmentation": 0.25, "expert": 0.5, "rollout": 0.25}))
    assert [int((SOURCES[batch] == name).sum()) for name in ("augmentation", "expert", "rollout")] == [10, 20, 10]


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"augmentatio": 0.2}, "did you mean 'augmentation'"),
        ({"augmentation": 0.0}, "above 0"),
        ({"augmentation": 1.5}, "at most 1"),
        ({"augmentation": 1.0}, "expected less than 1"),
        ({"augmentation": 0.6, "expert": 0.6}, "come to 1.2"),
        ({"augmentation": 0.2, "expert": 0.2, "rollout": 0.2}, "expected 1, as there are no other sources"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares, says):
    with pytest.raises(UserError, match=says):
        sampler(shares)
