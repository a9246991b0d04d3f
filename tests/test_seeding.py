"""Randomness by address."""

import numpy as np
import pytest
from scipy import stats

from robolearn.errors import UserError
from robolearn.seeding import SPLITS, addressed_normal, addressed_uniform, split_seeds, training_seeds


def test_splits_never_meet():
    heads = {split: set(split_seeds(split, 1000).tolist()) | set(split_seeds(split, 10, (1 << 40) - 10).tolist()) for split in SPLITS}
    everything = [seed for seeds in heads.values() for seed in seeds]
    assert len(everything) == len(set(everything))


@pytest.mark.parametrize(("split", "count", "offset"), [("test", 1, 0), ("train", 2, (1 << 40) - 1), ("train", -1, 0)])
def test_seeds_outside_a_split_are_refused(split, count, offset):
    with pytest.raises(ValueError, match="seed"):
        split_seeds(split, count, offset)


def test_a_number_depends_on_its_own_address_alone():
    seeds, counters = np.array([5, 9, 7]), np.array([0, 3, 3])
    together = addressed_normal("test", seeds, counters, (4, 2))
    for row in range(3):
        np.testing.assert_array_equal(
            together[row : row + 1], addressed_normal("test", seeds[row : row + 1], counters[row : row + 1], (4, 2))
        )


def test_more_candidates_leave_the_first_as_it_was():
    seeds, counters = np.arange(3), np.zeros(3, np.int64)
    np.testing.assert_array_equal(
        addressed_normal("test", seeds, counters, (16, 5))[:, :1], addressed_normal("test", seeds, counters, (1, 5))
    )


def test_neighbouring_addresses_give_independent_standard_normals():
    samples = addressed_normal("test", np.arange(2000), np.zeros(2000, np.int64), (4,))
    assert stats.kstest(samples.ravel(), "norm").pvalue > 0.01
    assert np.abs(np.corrcoef(samples, rowvar=False) - np.eye(4)).max() < 0.08
    later = addressed_normal("test", np.arange(2000), np.ones(2000, np.int64), (4,))
    assert abs(np.corrcoef(samples.ravel(), later.ravel())[0, 1]) < 0.04


def test_uniform_numbers_stay_inside_the_open_interval_and_fill_it():
    samples = addressed_uniform("test", np.arange(5000), np.zeros(5000, np.int64), 3)
    assert samples.min() > 0
    assert samples.max() < 1
    assert stats.kstest(samples.ravel(), "uniform").pvalue > 0.01


def test_what_is_drawn_for_two_purposes_is_independent():
    """A policy's noise knows nothing of the start that it meets, though both belong to one episode's seed."""
    seeds, first = np.arange(4000), np.zeros(4000, np.int64)
    starts, noise = addressed_uniform("start", seeds, first, 24), addressed_normal("policy", seeds, first, (20,))
    for kind in (noise, noise**2):
        assert np.abs(np.corrcoef(starts, kind, rowvar=False)[:24, 24:]).max() < 0.08


def test_training_seeds_are_distinct_whole_numbers():
    assert training_seeds([2, 0]) == [2, 0]
    for wrong in ([], [0, 0], [0.5], [-1], [True]):
        with pytest.raises(UserError, match="different whole numbers"):
            training_seeds(wrong)
