"""Latency estimates follow what is measured, not what happens once; early targets reach slow actuators in time."""

import numpy as np
import pytest

from robolearn.deploy.latency import DelayEstimator, early_target
from robolearn.errors import UserError
from tests.deploy.chunk_fakes import H, Line, executor


def measured(*seconds, **options):
    delay = DelayEstimator(0.1, warmup=0, **options)
    for latency in seconds:
        delay.add(latency)
    return delay


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, 0), (0.001, 1), (0.1, 1), (0.1001, 2), (0.3, 3), (0.25, 3)])
def test_a_latency_takes_all_steps_that_it_touches(seconds, steps):
    assert measured(seconds, seconds).steps == steps


def test_a_reply_within_the_grace_is_in_time_for_its_own_step():
    assert measured(0.015, 0.015, grace=0.02).steps == 0
    assert measured(0.125, 0.125, grace=0.02).steps == 2
    assert measured(0.115, 0.115, grace=0.02).steps == 1


def test_warm_up_never_counts():
    delay = DelayEstimator(0.1, warmup=2, initial=0.15)
    assert delay.steps == 2
    for cold in (30.0, 8.0):
        delay.add(cold)
        assert delay.steps == 2
    delay.add(0.05)
    assert delay.steps == 1


def test_one_outlier_does_not_count_and_two_do():
    assert measured(*[0.05] * 10, 2.0, *[0.05] * 5).steps == 1
    assert measured(*[0.05] * 10, 2.0, 0.05, 0.35).steps == 4


def test_what_was_long_ago_is_forgotten():
    assert measured(1.0, 1.0, *[0.05] * 19, window=20).steps == 1  # one of the two is left
    assert measured(1.0, 1.0, *[0.05] * 18, window=20).steps == 10


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.1])
def test_what_is_no_latency_is_refused(wrong):
    with pytest.raises(UserError, match="at least 0"):
        measured(wrong)


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="period must be above 0"):
        DelayEstimator(0.0)


def test_an_early_target_is_the_one_planned_for_then_or_the_farthest_planned():
    line = Line(executor("receding"))
    action = line.step(0).action
    places = [early_target(action.target, steps, line.executor.ahead)[2] for steps in range(8)]
    assert places == [*range(H), H - 1, H - 1, H - 1]
    assert np.shares_memory(early_target(action.target, 0, line.executor.ahead), action.target)
